# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must never be: the *resulting* set of a server's receive connectors is judged, before anything is applied."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...module_utils.values.sentences import listed, show
from .kinds.receive_connectors import ANY_RECIPIENT, DEFAULT_CONNECTORS
from .listeners import EXTERNAL, SERVER_MECHANISM, SERVER_PORTS, Listener, choose, endpoints
from .neighbourhood import Neighbourhood, is_public
from .ranges import Binding, Range


def judge(
    before: Sequence[Listener],
    after: Sequence[Listener],
    neighbourhood: Neighbourhood,
    server: tuple[str, str],
    declared: Mapping[str, str],
) -> tuple[list[str], list[str]]:
    """A sentence for everything that mustn't be with the resulting connectors, and one for what was wrong and stays so.

    :param before: the server's connectors as they are.
    :param server: the server's short and full name.
    :param declared: the path in the variables of each connector that they are about, by its name in lower case.
    """
    judged = _Judgement(before, after, neighbourhood, server, declared)
    judged.doubts()
    judged.relays()
    judged.external()
    judged.servers()
    judged.names()
    judged.twins()
    judged.overlaps()
    judged.roles()
    return list(dict.fromkeys(judged.sentences)), list(dict.fromkeys(judged.cautions))


@dataclass
class _Judgement:
    before: Sequence[Listener]
    after: Sequence[Listener]
    neighbourhood: Neighbourhood
    server: tuple[str, str]
    declared: Mapping[str, str]
    sentences: list[str] = field(default_factory=list)
    cautions: list[str] = field(default_factory=list)

    def _who(self, listener: Listener) -> str:
        identity = f"receive connector {self.server[0]}\\{listener.name}"
        path = self.declared.get(listener.name.lower())
        return f"{path} ({identity})" if path else f"The {identity}, which the variables don't name,"

    def _note(self, listener: Listener, text: str) -> None:
        self.sentences.append(f"{self._who(listener)} {text}.")

    def _is_default(self, listener: Listener) -> bool:
        # "Client" is Exchange 2010's.
        titles = (*(default.title for default in DEFAULT_CONNECTORS), "Client")
        return listener.name.lower() in {f"{title} {self.server[0]}".lower() for title in titles}

    def _is_others(self, listener: Listener) -> bool:
        """Whether it is somebody else's, and stays as it is."""
        return listener.name.lower() not in self.declared and listener in self.before

    def doubts(self) -> None:
        """What can't be read is never taken for harmless: nothing is built on it, and of others' it is told."""
        for listener in self.after:
            for doubt in listener.doubts:
                text = f"can't be judged: {doubt}"
                if self._is_others(listener) and not (listener.unbounded and listener.anonymous_relay):
                    self.cautions.append(f"{self._who(listener)} {text}; see for yourself that it is no open relay.")
                else:
                    self._note(listener, f"{text}; correct it there, or give the property as it is to be")

    def relays(self) -> None:
        """Nobody relays without a logon but those that are meant to."""
        for listener in self.after:
            # One that is off now may be switched on by anybody's hand: it is judged as well.
            if not listener.anonymous_relay:
                continue
            if listener.external and listener.granted_to_anybody:
                self._note(
                    listener,
                    f"has both {EXTERNAL} and the right {ANY_RECIPIENT} for anonymous senders; use the right alone",
                )
            if self._is_default(listener):
                text = "would let anybody relay by a default connector; make a connector of its own for relay clients"
                self._note(listener, text)
            for entry in sorted(listener.ranges, key=lambda found: found.rank):
                why = self._why_open(entry)
                if why and listener.inherited_relay:
                    why += "; the right to relay is inherited or given in general, so take that off in Active Directory"
                if why and listener.unseen:
                    why += "; it is new, and stays off until then"
                if why:
                    self._note(listener, f"would be an open relay: its range {entry} {why}")

    def _why_open(self, entry: Range) -> str:
        if entry.whole:
            return "is everybody; name the hosts that may relay"
        if (
            is_public(entry)
            and entry.size > 1
            and not any(known.holds(entry) for known in self.neighbourhood.acknowledged)
        ):
            return "holds public addresses; name its hosts one by one, or it in exchange_acknowledged_relay_networks"
        held = [str(gateway) for gateway in self.neighbourhood.gateways if entry.holds(gateway)]
        if held:
            return f"holds {listed(held)}, by which anybody's mail comes from a gateway; name the relay address alone"
        return ""

    def external(self) -> None:
        """Nobody from outside is taken for one who logged on."""
        for listener in self.after:
            if not listener.external:
                continue
            reached = [entry for entry in listener.ranges if is_public(entry)]
            gates = (*self.neighbourhood.gateways, *self.neighbourhood.relays)
            reached += [entry for entry in listener.ranges if any(entry.holds(gate) for gate in gates)]
            if reached:
                ranges = listed([str(entry) for entry in sorted(set(reached), key=lambda found: found.rank)])
                text = f"has {EXTERNAL} and can be reached from outside, by {ranges}; every sender would be trusted"
                self._note(listener, f"{text}: take {EXTERNAL} off, or the range out")

    def servers(self) -> None:
        """Exchange servers reach each other as before, by a connector that knows them."""
        here = self.neighbourhood.servers
        for version, local, port in endpoints([*self.before, *self.after]):
            if port not in SERVER_PORTS:
                continue
            for address in here:
                if address.version != version:
                    continue
                old = choose(self.before, version, local, port, address)
                new = choose(self.after, version, local, port, address)
                if new is not None and new.for_servers:
                    continue
                if new is not None:
                    text = (
                        f"the mail that comes from the Exchange server {address} on port {port}, and isn't for servers "
                        "(ExchangeServer, ExchangeServers); take that address out of its range"
                    )
                    if old is not None and old.name == new.name and new.name.lower() not in self.declared:
                        # Somebody else's, and no worse than it was: nothing that a change must wait for.
                        self.cautions.append(f"{self._who(new)} takes {text}.")
                    else:
                        self._note(new, f"would take {text}")
                elif old is not None and old.for_servers:
                    self._note(
                        old,
                        f"would not take the mail of the Exchange server {address} on port {port} any more, and no "
                        "other connector does; leave its range and binding as they are",
                    )
        known = {listener.name.lower(): listener for listener in self.after}
        for listener in self.before:
            if not (listener.for_servers and self._is_default(listener)):
                continue
            left = known.get(listener.name.lower())
            if left is None:
                self._note(listener, "is a default connector, by which Exchange servers reach this one; leave it there")
            elif not left.for_servers or (listener.enabled and not left.enabled):
                text = (
                    "is a default connector and would not be for servers any more (enabled, ExchangeServer, "
                    "ExchangeServers); leave these as they are"
                )
                self._note(listener, text)

    def names(self) -> None:
        """Banner and name don't break mail."""
        short, full = (name.lower() for name in self.server)
        for listener in self.after:
            if listener.name.lower() not in self.declared:
                continue
            if listener.banner and not re.fullmatch(r"220 [\x20-\x7e]{0,506}", listener.banner):
                text = "but must begin with '220 ' and be one line of at most 510 plain ASCII characters (RFC 5321)"
                self._note(listener, f"has the Banner {show(listener.banner)}, {text}")
            if listener.fqdn and not re.fullmatch(
                r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*",
                listener.fqdn,
            ):
                text = "but must be a name of letters, digits, hyphens and dots, without a dot at its end"
                self._note(listener, f"has the Fqdn {show(listener.fqdn)}, {text}")
            elif (
                listener.fqdn and SERVER_MECHANISM in listener.mechanisms and listener.fqdn.lower() not in (short, full)
            ):
                text = f"but with {SERVER_MECHANISM} it must be {self.server[1]}, {self.server[0]} or none"
                self._note(listener, f"has the Fqdn {show(listener.fqdn)}, {text}")

    def twins(self) -> None:
        """A binding and range belongs to one connector."""
        owners: dict[tuple[Binding, Range], Listener] = {}
        for listener in sorted(self.after, key=lambda found: found.name.lower() in self.declared):
            # One that is off has them as well.
            for binding in listener.bindings:
                for entry in listener.ranges:
                    first = owners.setdefault((binding, entry), listener)
                    if first is not listener:
                        text = f"has the binding {binding} with the range {entry}, as has {first.name}"
                        self._note(listener, f"{text}; each such pair belongs to one connector: take it out of one")

    def overlaps(self) -> None:
        """Ranges of one binding lie in each other or apart, or Exchange's choice isn't what anybody meant."""
        by_binding: dict[Binding, list[tuple[Range, Listener]]] = {}
        for listener in self.after:
            for binding in listener.bindings:
                by_binding.setdefault(binding, []).extend((entry, listener) for entry in listener.ranges)
        for binding, pairs in by_binding.items():
            open_: list[tuple[Range, Listener]] = []
            for entry, listener in sorted(pairs, key=lambda pair: pair[0].rank):
                open_ = [pair for pair in open_ if pair[0].version == entry.version and pair[0].last >= entry.first]
                for wider, other in open_:
                    if other is not listener and wider.last < entry.last:
                        self._overlap(binding, (wider, other), (entry, listener))
                open_.append((entry, listener))

    def _overlap(self, binding: Binding, *pairs: tuple[Range, Listener]) -> None:
        """Blame the connector that is declared, or the second one."""
        (theirs, other), (own, listener) = sorted(pairs, key=lambda pair: not self._is_others(pair[1]))
        text = (
            f"has the range {own} on {binding}, which overlaps with {theirs} of {other.name} in part; Exchange wants "
            "one to lie in the other, so cut one of them"
        )
        if self._is_others(listener):
            self.cautions.append(f"{self._who(listener)} {text}.")
        else:
            self._note(listener, text)

    def roles(self) -> None:
        """A port belongs to one transport service."""
        owners: dict[int, Listener] = {}
        for listener in sorted(self.after, key=lambda found: found.name.lower() in self.declared):
            if not listener.role:
                continue
            for port in {binding.port for binding in listener.bindings}:
                first = owners.setdefault(port, listener)
                if first.role != listener.role:
                    text = f"is of {listener.role}, but port {port} is taken by {first.name} of {first.role}"
                    self._note(listener, f"{text}; a port belongs to one of them")
