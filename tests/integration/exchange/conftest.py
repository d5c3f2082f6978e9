"""What the tests of the servers' half share: the gateways' two addresses, and servers that are given back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab
from lab.topology import EXCHANGE, GATEWAYS
from powershell import absence

sys.path.insert(0, str(Path(__file__).resolve().parent))

from servers import restore, state


@pytest.fixture(scope="session", autouse=True)
def _powershell(lab: Lab) -> None:
    # The gateways' half can be tested on a machine without one. What is skipped is counted, and fails in CI.
    if not lab.powershell:
        pytest.skip(absence())


@pytest.fixture(scope="session", autouse=True)
def _relay_addresses(lab: Lab) -> Iterator[None]:
    """The gateways are bare here, so somebody else puts their second address on them."""
    for gateway in GATEWAYS:
        lab.exec(gateway, ["ip", "address", "replace", f"{lab.relay_address(gateway)}/32", "dev", "inside"])
    yield
    for gateway in GATEWAYS:
        lab.exec(gateway, ["ip", "address", "delete", f"{lab.relay_address(gateway)}/32", "dev", "inside"])


@pytest.fixture(params=EXCHANGE)
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def given_back(lab: Lab) -> Iterator[None]:
    """Whatever the test does to the servers, afterwards they are as they were."""
    before = {server: state(lab, server) for server in EXCHANGE}
    yield
    for server in EXCHANGE:
        restore(lab, server, before[server])
