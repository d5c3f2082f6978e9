"""What the tests of the servers' half share: the gateways' two addresses, and servers that are given back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import Lab
from lab.declaration import declaration as declared

sys.path.insert(0, str(Path(__file__).resolve().parent))

from servers import GATEWAYS, SERVERS, restore, state


@pytest.fixture(scope="session", autouse=True)
def _powershell(lab: Lab) -> None:
    if not lab.powershell:
        pytest.skip("NOT RUN, for lack of a PowerShell: put powershell or pwsh on the PATH and make the lab anew.")


@pytest.fixture(scope="session", autouse=True)
def _relay_addresses(lab: Lab) -> Iterator[None]:
    """The gateways are bare here, so somebody else puts their second address on them."""
    for gateway in GATEWAYS:
        lab.exec(gateway, ["ip", "address", "replace", f"{lab.relay_address(gateway)}/32", "dev", "inside"])
    yield
    for gateway in GATEWAYS:
        lab.exec(gateway, ["ip", "address", "delete", f"{lab.relay_address(gateway)}/32", "dev", "inside"])


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def declaration(lab: Lab) -> dict[str, Any]:
    return declared(lab)


@pytest.fixture
def given_back(lab: Lab) -> Iterator[None]:
    """Whatever the test does to the servers, afterwards they are as they were."""
    before = {server: state(lab, server) for server in SERVERS}
    yield
    for server in SERVERS:
        restore(lab, server, before[server])
