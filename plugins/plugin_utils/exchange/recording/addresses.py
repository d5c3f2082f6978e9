# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses in the place of addresses: none is left, and what lies in what, and in which order, stays the same.

A public address gets one that is reserved for documentation (RFC 5737, RFC 3849) or, where those don't suffice, for
benchmarks (RFC 2544). A private one stays private, since the judgement asks which it is, and a network stays a network
of its size. Ranges from public into private space are the exception: what they hold may differ afterwards.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field

from ....module_utils.values.addresses import Address, Network

_TRIES = 64


class Dense(ValueError):
    """The addresses leave no room for others of the same order."""


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(map(ipaddress.ip_network, texts))


# The same for everybody: unspecified, loopback, netmasks and the last addresses.
_FIXED = _networks("0.0.0.0/32", "127.0.0.1/32", "240.0.0.0/4", "::/128", "::1/128", f"{'ffff:' * 7}ffff/128")
# What isn't the public Internet stays what it is; mapped IPv4 addresses and multicast among that.
_KEPT = _networks(
    *("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/4"),
    *("fc00::/7", "fe80::/10", "ff00::/8", "::ffff:0:0/96"),
)
# The ends of the others beside them: "all but 10.0.0.0/8" says nothing about anybody.
_BESIDE = {
    (network.version, number)
    for network in _KEPT
    for number in (int(network.network_address) - 1, int(network.broadcast_address) + 1)
}
_ENOUGH = _networks("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
_MANY = _networks("192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24")
_SIX = _networks("2001:db8::/64")


def is_fixed(address: Address) -> bool:
    """Whether an address says nothing about anybody."""
    return (address.version, int(address)) in _BESIDE or any(address in network for network in _FIXED)


def _kept(address: Address) -> Network | None:
    return next((network for network in _KEPT if address in network), None)


@dataclass
class Addresses:
    """Collects addresses and networks, and gives each another one."""

    _seen: set[Address] = field(default_factory=set)
    _ends: dict[Address, int] = field(default_factory=dict)
    _new: dict[Address, Address] = field(default_factory=dict)

    def see(self, address: Address, prefix: int | None = None) -> None:
        """There is this address, or this one with the length of its network's prefix."""
        self._seen.add(address)
        if prefix is not None:
            for end in ends_of(address, prefix):
                self._seen.add(end)
                self._ends[end] = min(prefix, self._ends.get(end, prefix))
        network = _kept(address)
        if network is not None and address in (network.network_address, network.broadcast_address):
            self._ends[address] = min(network.prefixlen, self._ends.get(address, network.prefixlen))

    def choose(self) -> None:
        """Choose all the others.

        :raises Dense: where that can't be done.
        """
        public: dict[int, list[Address]] = {4: [], 6: []}
        kept: dict[Network, list[Address]] = {}
        for address in self._seen:
            if is_fixed(address):
                self._new[address] = address
            elif network := _kept(address):
                kept.setdefault(network, []).append(address)
            else:
                public[address.version].append(address)
        for version, found in public.items():
            self._new |= dict(zip(sorted(found, key=int), _documentation(version, set(found)), strict=False))
        for network, found in kept.items():
            self._new |= self._within(network, found)
        if len(self._new) < len(self._seen):
            raise Dense("there are too many public addresses")

    def new(self, address: Address) -> Address:
        """The address in the place of this one."""
        return self._new[address]

    def private(self) -> set[Address]:
        """The addresses of which none may be left."""
        return {address for address in self._seen if not self._says_nothing(address)}

    def _says_nothing(self, address: Address) -> bool:
        """Fixed ones, and the ends of a whole class such as 10.0.0.0/8."""
        network = _kept(address)
        end = network is not None and self._ends.get(address, 999) <= network.prefixlen
        return is_fixed(address) or end

    def _within(self, network: Network, found: list[Address]) -> dict[Address, Address]:
        """Others of the same class, of which none is among those that are there."""
        private = {address for address in found if not self._says_nothing(address)}
        make = type(found[0])
        for turn in range(_TRIES):
            new = {make(old): make(number) for old, number in self._turned(network, sorted(map(int, found)), turn)}
            if private.isdisjoint(new[address] for address in private):
                return new
        raise Dense(f"the addresses in {network} leave no room for others")

    def _turned(self, network: Network, numbers: list[int], turn: int) -> Iterator[tuple[int, int]]:
        """Each number, and one that branches off the others at the same bits.

        Where the numbers that begin alike go on alike, the next bit is anything: order and common beginnings stay. In
        the part of an end of a network that is all zeros or all ones it stays as well.
        """
        length = network.max_prefixlen
        ends = {int(end): prefix for end, prefix in self._ends.items() if end.version == network.version}
        base = int(network.network_address) >> (length - network.prefixlen)
        stack = [(network.prefixlen, base, numbers)]
        while stack:
            depth, made, group = stack.pop()
            if depth == length:
                yield group[0], made
                continue
            ones = [number for number in group if number >> (length - depth - 1) & 1]
            zeros = [number for number in group if not number >> (length - depth - 1) & 1]
            if ones and zeros:
                stack += [(depth + 1, made << 1, zeros), (depth + 1, made << 1 | 1, ones)]
                continue
            bound = any(ends.get(number, length) <= depth for number in group)
            bit = bool(ones) if bound else _bit(turn, depth, last=depth == length - 1)
            stack.append((depth + 1, made << 1 | bit, group))


def _bit(turn: int, depth: int, *, last: bool) -> bool:
    """Zeros with a one at the end first, which is easy to read; then something else each turn."""
    return last if turn == 0 else bool(hashlib.sha256(f"{turn}/{depth}".encode()).digest()[0] & 1)


def _documentation(version: int, taken: set[Address]) -> Iterator[Address]:
    """Addresses for documentation in their order, as far as they can be a host's in a network of any size."""
    networks = _SIX if version == 6 else _ENOUGH if len(taken) <= 300 else _MANY
    for network in networks:
        first, last = int(network.network_address), min(int(network.broadcast_address), int(network[0]) + (1 << 17))
        for number in range(first, last + 1):
            address = type(network.network_address)(number)
            if number % 4 in (1, 2) and address not in taken:
                yield address


def ends_of(address: Address, prefix: int) -> tuple[Address, Address]:
    """The first and the last address of an address's network."""
    network = ipaddress.ip_network((address, prefix), strict=False)
    return network.network_address, network.broadcast_address
