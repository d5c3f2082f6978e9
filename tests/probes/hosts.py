"""What a host of the lab is, as testinfra asks it."""

from __future__ import annotations

from typing import Any

import testinfra

from lab import Lab


def host(lab: Lab, name: str) -> Any:
    """Return testinfra's host: `host(lab, "gw1").service("ufw").is_enabled`."""
    return testinfra.get_host(f"podman://{lab.container(name)}")
