"""What the tests of the role share: clients that the gateways haven't seen before."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab

sys.path.insert(0, str(Path(__file__).resolve().parent))

from strangers import ADDRESSES, NETWORKS, Strangers


@pytest.fixture(scope="session")
def strangers(lab: Lab) -> Iterator[Strangers]:
    slot, client = lab.slot, {family: lab.address("client", "outside", family) for family in (4, 6)}
    routes = [(f"10.{slot}.64.0/23", client[4]), (f"fd77:{slot}:2:1000::/52", client[6])]
    batch = [f"address replace 10.{slot}.{64 + number // 256}.{number % 256}/32 dev outside" for number in ADDRESSES]
    batch += [
        f"address replace fd77:{slot}:2:{network:x}::{host}/64 dev outside nodad"
        for network in NETWORKS
        for host in (1, 2)
    ]
    lab.exec("client", ["ip", "-batch", "-"], input="\n".join(batch) + "\n")
    for gateway in ("gw1", "gw2"):
        for network, via in routes:
            lab.exec(gateway, ["ip", "route", "replace", network, "via", via])
    yield Strangers(lab)
    for gateway in ("gw1", "gw2"):
        for network, _ in routes:
            lab.exec(gateway, ["ip", "route", "delete", network], check=False)
