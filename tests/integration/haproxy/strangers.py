"""Clients that the gateways haven't seen before."""

from __future__ import annotations

from lab import Lab

# Behind the client: IPv4 addresses 10.SLOT.64.1 to 10.SLOT.65.255, and IPv6 networks, /64 each.
ADDRESSES = range(1, 0x200)
NETWORKS = range(0x1000, 0x1010)


class Strangers:
    """Addresses of the outside client, each handed out once: what one test has done counts for no other."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._hosts = iter(ADDRESSES)
        self._networks = iter(NETWORKS)

    def address(self) -> str:
        """Return an IPv4 address that nobody has used."""
        return f"10.{self.lab.slot}.{64 + (number := next(self._hosts)) // 256}.{number % 256}"

    def network(self) -> str:
        """Return the beginning of a fresh IPv6 /64; ``…1`` and ``…2`` in it are addresses of the client."""
        return f"fd77:{self.lab.slot}:2:{next(self._networks):x}::"
