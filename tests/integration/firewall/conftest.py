"""What the tests of the role share: something that listens on the gateways, open to the firewall or not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab
from lab.topology import GATEWAYS

sys.path.insert(0, str(Path(__file__).resolve().parent))

from firewalls import start_listeners, stop_listeners


@pytest.fixture
def listeners(lab: Lab) -> Iterator[None]:
    for gateway in GATEWAYS:
        start_listeners(lab, gateway)
    yield
    for gateway in GATEWAYS:
        stop_listeners(lab, gateway)
