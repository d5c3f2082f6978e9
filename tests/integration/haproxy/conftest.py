"""What the tests of the role share: clients that the gateways haven't seen before, and what HAProxy says of itself."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab

sys.path.insert(0, str(Path(__file__).resolve().parent))

# Client addresses on the outside network that no host of the lab has.
FIRST, LAST = 130, 229
# IPv6 networks behind the client, /64 each.
NETWORKS = range(0x1000, 0x1010)


class Strangers:
    """Addresses of the outside client, each handed out once: what one test has done counts for no other."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._hosts = itertools.cycle(range(FIRST, LAST + 1))
        self._networks = iter(NETWORKS)

    def address(self) -> str:
        """Return an IPv4 address that nobody has used for long."""
        return f"10.{self.lab.slot}.2.{next(self._hosts)}"

    def network(self) -> str:
        """Return the beginning of a fresh IPv6 /64; ``…1`` and ``…2`` in it are addresses of the client."""
        return f"fd77:{self.lab.slot}:2:{next(self._networks):x}::"


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
