"""What the tests of the whole share."""

from __future__ import annotations

import pytest

from lab import Lab
from probes.connectors import make_by_hand


@pytest.fixture(scope="session", autouse=True)
def _connectors_without_powershell(lab: Lab) -> None:
    """Where the servers' half can't run, its receive connectors are made by hand, so that the gateways' can."""
    if not lab.powershell:
        make_by_hand(lab)
