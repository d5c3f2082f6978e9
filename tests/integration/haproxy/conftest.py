"""What the tests of the role share: clients that the gateways haven't seen before."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab

sys.path.insert(0, str(Path(__file__).resolve().parent))

from strangers import FIRST, LAST, NETWORKS, Strangers


@pytest.fixture(scope="session")
def strangers(lab: Lab) -> Iterator[Strangers]:
    slot, client = lab.slot, lab.address("client", "outside", 6)
    batch = [f"address replace 10.{slot}.2.{number}/24 dev outside" for number in range(FIRST, LAST + 1)]
    batch += [
        f"address replace fd77:{slot}:2:{network:x}::{host}/64 dev outside nodad"
        for network in NETWORKS
        for host in (1, 2)
    ]
    lab.exec("client", ["ip", "-batch", "-"], input="\n".join(batch) + "\n")
    for gateway in ("gw1", "gw2"):
        lab.exec(gateway, ["ip", "route", "replace", f"fd77:{slot}:2:1000::/52", "via", client])
    yield Strangers(lab)
    for gateway in ("gw1", "gw2"):
        lab.exec(gateway, ["ip", "route", "delete", f"fd77:{slot}:2:1000::/52"], check=False)
