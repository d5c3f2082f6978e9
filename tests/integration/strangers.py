"""Clients that the gateways haven't seen before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lab import Lab

# Behind the client: IPv4 addresses 10.SLOT.64.1 to 10.SLOT.65.255, and IPv6 networks, /64 each.
ADDRESSES = range(1, 0x200)
NETWORKS = range(0x1000, 0x1040)
# IPv6 addresses on the outside network that no host of the lab has.
NEIGHBOURS = range(0x8001, 0x8011)


class Strangers:
    """Addresses of the outside client, each handed out once: what one test has done counts for no other."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._hosts = iter(ADDRESSES)
        self._networks = iter(NETWORKS)
        self._neighbours = iter(NEIGHBOURS)

    def address(self) -> str:
        """Return an IPv4 address that nobody has used."""
        return f"10.{self.lab.slot}.{64 + (number := next(self._hosts)) // 256}.{number % 256}"

    def network(self) -> str:
        """Return the beginning of a fresh IPv6 /64; ``…1`` and ``…2`` in it are addresses of the client."""
        return f"fd77:{self.lab.slot}:2:{next(self._networks):x}::"

    def neighbour(self) -> str:
        """Return a fresh IPv6 address in the network that the gateways themselves are in."""
        return f"fd77:{self.lab.slot}:2::{next(self._neighbours):x}"


@contextmanager
def among_strangers(lab: Lab) -> Iterator[Strangers]:
    """Give the client its addresses, and the gateways the way to them."""
    slot, client = lab.slot, {family: lab.address("client", "outside", family) for family in (4, 6)}
    routes = [(f"10.{slot}.64.0/23", client[4]), (f"fd77:{slot}:2:1000::/52", client[6])]
    batch = [f"address replace 10.{slot}.{64 + number // 256}.{number % 256}/32 dev outside" for number in ADDRESSES]
    batch += [f"address replace fd77:{slot}:2::{number:x}/64 dev outside nodad" for number in NEIGHBOURS]
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
