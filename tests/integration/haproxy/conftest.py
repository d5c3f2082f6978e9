"""What the tests of the role share: clients that the gateways haven't seen before."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab
from lab.topology import GATEWAYS
from probes.checks import runtime
from probes.connectors import make_by_hand
from strangers import Strangers, among_strangers

sys.path.insert(0, str(Path(__file__).resolve().parent))


@pytest.fixture(scope="session", autouse=True)
def _servers_know_the_gateways(lab: Lab) -> None:
    """The role stands by itself here, so somebody else has made the servers' receive connectors."""
    make_by_hand(lab)


@pytest.fixture(scope="session")
def strangers(lab: Lab) -> Iterator[Strangers]:
    # Their addresses are those of an earlier session, which HAProxy remembers over reloads.
    for gateway in GATEWAYS:
        for table in re.findall(r"^# table: (\w+),", runtime(lab, gateway, "show table"), re.MULTILINE):
            runtime(lab, gateway, f"clear table {table}")
    with among_strangers(lab) as found:
        yield found
