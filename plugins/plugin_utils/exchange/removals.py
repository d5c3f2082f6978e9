# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses that connectors name and nobody has any more: a host that the inventory lacks wasn't removed by that."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .actual import Server
from .judged import listener_of
from .kinds.receive_connectors import RECEIVE_CONNECTOR
from .listeners import Listener
from .marks import added, is_ours
from .ranges import Range


def leaving(server: Server, resulting: Iterable[Listener], removable: Collection[Range] | None) -> list[str]:
    """Sentences about addresses that go from connectors of ours, or that were added from here to others.

    ``removable`` are those that may: what hosts of the inventory have, and what was named. None stands for any.
    """
    if removable is None:
        return []
    after = [entry for one in resulting for entry in one.ranges if not entry.whole]
    sentences = []
    for connector in server.connectors:
        if is_ours(RECEIVE_CONNECTOR.mark, connector.raw):
            present = listener_of(connector).ranges
        else:
            present = added(RECEIVE_CONNECTOR, connector.raw)
        gone = [
            str(entry)
            for entry in sorted(present, key=lambda entry: entry.rank)
            if not any(other.holds(entry) for other in (*after, *removable))
        ]
        if gone:
            them = "it" if len(gone) == 1 else "them"
            sentences.append(
                f"The receive connector {server.name}\\{connector.name} names {', '.join(gone)}, and no host of the "
                f"inventory has {them}; put the host back or, where that is meant, name {them} once: "
                f"-e mail_gateway_removed={','.join(gone)}"
            )
    return sentences
