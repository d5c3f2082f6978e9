# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which receive connector takes whom, as people are told it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .listeners import SERVER_PORTS, Listener, choose, own_address, pieces
from .neighbourhood import Neighbourhood, is_public
from .ranges import Binding


def connections(listeners: Sequence[Listener], neighbourhood: Neighbourhood) -> list[dict[str, object]]:
    """For each server, gateway and relay address, and for the Internet, which connector takes it on port 25."""
    known = [
        *(("server", entry) for entry in neighbourhood.servers),
        *(("gateway", entry) for entry in neighbourhood.gateways),
        *(("relay clients", entry) for entry in neighbourhood.relays),
    ]
    rows: list[dict[str, object]] = []
    port = SERVER_PORTS[0]
    local = {version: own_address(listeners, neighbourhood, version, port) for version in (4, 6)}
    for who, entry in known:
        winner = choose(listeners, entry.version, local[entry.version], port, entry)
        rows.append({"who": who, "address": str(entry), **_allowed(winner)})
    others = [entry for _unused, entry in known]
    internet = {
        winner.name: winner
        for version in (4, 6)
        for piece in pieces(version, listeners, others)
        if is_public(piece) and piece not in others
        if (winner := choose(listeners, version, local[version], port, piece)) is not None
    }
    rows += [{"who": "internet", "address": "any", **_allowed(internet[name])} for name in sorted(internet)]
    return rows


def undecided(listeners: Sequence[Listener], neighbourhood: Neighbourhood) -> list[str]:
    """Phrases for each address of which nothing published says which connector takes it.

    It isn't published whether a binding to the very address goes before one to all of them, or the smaller range does.
    """
    found = []
    port = SERVER_PORTS[0]
    by_range = [replace(one, bindings=frozenset(map(_everywhere, one.bindings))) for one in listeners]
    for entry in (*neighbourhood.servers, *neighbourhood.gateways, *neighbourhood.relays):
        local = own_address(listeners, neighbourhood, entry.version, port)
        if not local:
            continue
        near = choose(listeners, entry.version, local, port, entry)
        small = choose(by_range, entry.version, local, port, entry)
        if near is not None and small is not None and near.name != small.name:
            found.append(
                f"Whether {near.name} (bound to the very address) or {small.name} (smaller range) takes connections "
                f"from {entry} isn't published; it is taken to be {near.name}, so bind both alike"
            )
    return found


def _everywhere(binding: Binding) -> Binding:
    return Binding(binding.version, 0, binding.port)


def _allowed(listener: Listener | None) -> dict[str, object]:
    if listener is None:
        return {"connector": "", "anonymous": False, "relay": False}
    anonymous = "AnonymousUsers" in listener.groups or listener.external
    return {"connector": listener.name, "anonymous": anonymous, "relay": listener.anonymous_relay}
