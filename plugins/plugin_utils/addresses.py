# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arithmetic of addresses and networks, by netaddr: order, overlap, what holds what, what a range comes to.

Text is read by ``ipaddress`` (``module_utils/values``), since netaddr's parser takes too much: ``127.1``, ``0x7f.1``,
``10.0.0.0/0.0.0.255``. No function here compares every entry with every other one.
"""

from __future__ import annotations

import bisect
import ipaddress
import re
import sys
from collections.abc import Iterable, Sequence

try:
    import netaddr
except ImportError:  # needed() says so
    netaddr = None  # type: ignore[assignment]

from ..module_utils.values.addresses import Address, Network

_OLDEST = "1.0"


def needed() -> str:
    """The sentence for a controller without a netaddr that is recent enough; empty where there is one."""
    how = f"install it for {sys.executable}: pip install 'netaddr>={_OLDEST}'"
    if not hasattr(netaddr, "IPNetwork"):
        return f"The Python library netaddr is missing on the controller; {how}."
    version = str(netaddr.__version__)
    if int((re.match(r"\d+", version) or [0])[0]) < 1:
        return f"The Python library netaddr is {version} on the controller, but must be {_OLDEST} or later; {how}."
    return ""


def in_order(items: Iterable[Address | Network]) -> list[str]:
    """The addresses and networks as texts, IPv4 first, by number, a network before what it holds."""
    return [str(item) for item in sorted(items, key=lambda item: _calculable(item).sort_key())]


def overlapping(networks: Sequence[Network]) -> dict[int, int]:
    """The places of networks that have an address in common with an earlier one, each with the earliest such place."""
    entries = [_calculable(network) for network in networks]
    found: dict[int, int] = {}
    holders: list[int] = []  # the places of the networks around the current one: at most one for each prefix length
    for place in sorted(range(len(entries)), key=lambda place: (entries[place].sort_key(), place)):
        while holders and entries[place] not in entries[holders[-1]]:
            holders.pop()
        for holder in holders:
            earlier, later = sorted((place, holder))
            found[later] = min(earlier, found.get(later, earlier))
        holders.append(place)
    return found


def without_parts(networks: Iterable[Network]) -> list[Network]:
    """The networks, each once, without those that others of them hold, in order."""
    kept: list[Network] = []
    last: netaddr.IPNetwork | None = None
    for network in sorted(set(networks), key=lambda network: _calculable(network).sort_key()):
        entry = _calculable(network)
        if last is None or entry not in last:
            kept.append(network)
            last = entry
    return kept


class Addresses:
    """Addresses among which those of a network are found without looking at all of them."""

    def __init__(self, addresses: Iterable[Address]) -> None:
        self._by_version: dict[int, list[Address]] = {4: [], 6: []}
        for address in set(addresses):
            self._by_version[address.version].append(address)
        for known in self._by_version.values():
            known.sort(key=int)

    def within(self, network: Network) -> list[Address]:
        """Those that are in the network, by number."""
        known, entry = self._by_version[network.version], _calculable(network)
        low = bisect.bisect_left(known, entry.first, key=int)
        return known[low : bisect.bisect_right(known, entry.last, key=int, lo=low)]


def _calculable(item: Address | Network) -> netaddr.IPNetwork:
    """The same thing as netaddr's, by its number: no text is read again."""
    if isinstance(item, (ipaddress.IPv4Network, ipaddress.IPv6Network)):
        return netaddr.IPNetwork((int(item.network_address), item.prefixlen), version=item.version)
    return netaddr.IPNetwork((int(item), item.max_prefixlen), version=item.version)
