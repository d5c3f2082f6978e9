# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is new is off until its rights were seen: its container may give it some that no other object shows.

It is made with its switch off, and switched on at once where the server finds nothing but what was judged. Where it
finds anything else, that is judged first: when the run confirms, or by the next run, which knows it by its mark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .actual import Object, Server
from .changes import Change
from .concepts import Kind
from .grants import OTHER_ACCESS, relays
from .kinds.receive_connectors import GROUP_RIGHTS
from .marks import MARK, UNSEEN, is_unseen
from .operations import Foreseen
from .values import Name, Wanted


def born(kind: Kind, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that make a new object with its switch off, in place of its own; none where it is to be off."""
    if not kind.switch or parameters.get(kind.switch) is False:
        return {}
    assert kind.mark is not None, f"{kind.variable} has a switch, and so a mark that says who switched it."
    return {kind.switch: False, kind.mark.property: parameters[kind.mark.property].replace(MARK, UNSEEN)}


def grown(kind: Kind, wanted: Mapping[str, Wanted], existing: Object) -> Mapping[str, Wanted]:
    """The wanted properties, its switch among them if it is off because it is new."""
    if not kind.switch or not is_unseen(kind.mark, existing.raw):
        return wanted
    return {kind.switch: Wanted(kind.entry(kind.switch).type, True), **wanted}


def split(kind: Kind, existing: Object, changes: Sequence[Change]) -> tuple[list[Change], list[Change]]:
    """The changes of an object, and those that come when all else of it shows."""
    last = {kind.switch, kind.mark.property} if kind.mark and is_unseen(kind.mark, existing.raw) else set()
    return [one for one in changes if one.property.name not in last], [
        one for one in changes if one.property.name in last
    ]


def foreseen(identity: str, rights: Mapping[Name, Iterable[Name]], server: Server) -> Foreseen:
    """What a new object of ours may have for its judgement to hold."""
    seen = {right.key for one in server.connectors for given in one.rights.values() for right in given}
    seen |= {key for one in server.connectors for given in one.standing.values() for key in given}
    seen |= {right.lower() for _holder, given in GROUP_RIGHTS.values() for right in given}
    return Foreseen(
        object=identity,
        accounts=tuple(server.accounts.with_a_logon()),
        rights=tuple(sorted(right for right in seen | OTHER_ACCESS if not relays(right))),
        grants=tuple(sorted(f"{user.spelling}|{right.spelling}" for user, given in rights.items() for right in given)),
    )
