"""Clients that the gateways haven't seen before."""

from __future__ import annotations

import itertools

from lab import Lab

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
