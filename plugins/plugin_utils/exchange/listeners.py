# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which receive connector takes a connection.

Addresses aren't sampled: the ends of all ranges cut the address space into pieces, and within a piece every address
gets the same connector.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from .accounts import is_anybody
from .kinds.receive_connectors import ANY_RECIPIENT
from .neighbourhood import Neighbourhood
from .ranges import EVERYBODY, Binding, Range

_RELAY = ANY_RECIPIENT.lower()
EVERY_RIGHT = "*"
"""Stands for all rights, which a general grant gives."""
EXTERNAL = "ExternalAuthoritative"
SERVER_MECHANISM, SERVER_GROUP = "ExchangeServer", "ExchangeServers"
SERVER_PORTS = (25, 2525)
"""The ports by which Exchange servers send to each other: the front end's, and the hub's behind it."""


@dataclass(frozen=True)
class Listener:
    """A receive connector, as far as it decides on who may do what.

    ``rights`` are those of accounts, ``standing`` ones (inherited, or given in general) among them. ``doubts`` are
    phrases that say what of it isn't understood, and so can't be judged; ``unbounded`` that its ranges are among that.
    ``unseen``: it is off because it is new.
    """

    name: str
    bindings: frozenset[Binding]
    ranges: frozenset[Range]
    role: str = ""
    enabled: bool = True
    mechanisms: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    fqdn: str = ""
    banner: str = ""
    rights: Mapping[str, frozenset[str]] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    unbounded: bool = False
    standing: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unseen: bool = False

    @property
    def anonymous_relay(self) -> bool:
        """Whether somebody without a logon may send to anybody by it."""
        return self.external or self.granted_to_anybody

    @property
    def granted_to_anybody(self) -> bool:
        """Whether the right to send to anybody is given to those without a logon."""
        return _relays(self.rights)

    @property
    def inherited_relay(self) -> bool:
        """Whether that comes of a right that isn't this connector's own."""
        return _relays(self.standing)

    @property
    def external(self) -> bool:
        """Whether whoever comes is taken for one who logged on elsewhere."""
        return EXTERNAL in self.mechanisms

    @property
    def for_servers(self) -> bool:
        """Whether Exchange servers can authenticate as such and send by it."""
        return SERVER_MECHANISM in self.mechanisms and SERVER_GROUP in self.groups


def _relays(rights: Mapping[str, frozenset[str]]) -> bool:
    return any(given & {_RELAY, EVERY_RIGHT} for user, given in rights.items() if is_anybody(user))


def choose(listeners: Iterable[Listener], version: int, local: int, port: int, remote: Range) -> Listener | None:
    """The connector that takes connections from a piece of the address space to an address and port.

    A binding to the very address goes before one to all addresses, and then the smallest range wins ("Receive
    connectors", on RemoteIPRanges). The piece lies in each range as a whole or not at all.
    """
    best: tuple[int, int, str] | None = None
    winner = None
    for listener in listeners:
        if not listener.enabled:
            continue
        near = [
            int(binding.everywhere)
            for binding in listener.bindings
            if binding.version == version and binding.port == port and binding.address in (0, local)
        ]
        if not near:
            continue
        for entry in listener.ranges:
            if entry.holds(remote):
                rank = (min(near), entry.size, listener.name.lower())
                if best is None or rank < best:
                    best, winner = rank, listener
    return winner


def own_address(listeners: Iterable[Listener], neighbourhood: Neighbourhood, version: int, port: int) -> int:
    """The server's own address by which it is reached, where a binding names it; 0 where none does."""
    bound = {
        binding.address
        for listener in listeners
        if listener.enabled
        for binding in listener.bindings
        if binding.version == version and binding.port == port and not binding.everywhere
    }
    own = sorted(bound & {entry.first for entry in neighbourhood.servers if entry.version == version})
    return own[0] if own else 0


def endpoints(listeners: Iterable[Listener]) -> list[tuple[int, int, int]]:
    """Every family, local address (0: any that no binding names) and port where somebody listens."""
    found: dict[tuple[int, int], set[int]] = {}
    for listener in listeners:
        if listener.enabled:
            for binding in listener.bindings:
                found.setdefault((binding.version, binding.port), set()).add(binding.address)
    return sorted((version, local, port) for (version, port), locals_ in found.items() for local in locals_)


def pieces(version: int, listeners: Iterable[Listener], others: Iterable[Range] = ()) -> Iterator[Range]:
    """The address space of a family, cut at the ends of all ranges."""
    everybody = EVERYBODY[0 if version == 4 else 1]
    cuts = {everybody.first, everybody.last + 1}
    ranges = [entry for listener in listeners for entry in listener.ranges]
    for entry in (*ranges, *others):
        if entry.version == version:
            cuts |= {entry.first, entry.last + 1}
    ordered = sorted(cuts)
    for first, following in itertools.pairwise(ordered):
        yield Range(version, first, following - 1)
