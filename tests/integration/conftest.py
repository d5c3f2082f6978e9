"""What the tests on the lab share. They are started by molecule, in the order of its scenario (see ``molecule/``)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import probes
from lab import Lab
from lab.declaration import declaration as declared
from lab.topology import GATEWAYS

Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab.load()


@pytest.fixture(params=GATEWAYS)
def gateway(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def declaration() -> dict[str, Any]:
    """What the lab's inventory declares, to be changed by a test."""
    return declared()


@pytest.fixture(scope="session")
def ask(lab: Lab) -> Ask:
    """``ask("client", probe, …)``: the answers of real clients on a host of the lab."""

    def asked(host: str, *questions: dict[str, Any], parallel: int = 1) -> list[dict[str, Any]]:
        return probes.ask(lab, host, *questions, parallel=parallel)

    return asked
