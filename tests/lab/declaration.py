"""The lab's declaration as a value, for whoever declares something else for a while."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).resolve().parents[2] / "inventory" / "lab" / "group_vars" / "all.yml"


def declaration() -> dict[str, Any]:
    """Return what `mail_gateway` is in the lab's inventory; Ansible evaluates its templates as it does there."""
    found: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["mail_gateway"]
    return found
