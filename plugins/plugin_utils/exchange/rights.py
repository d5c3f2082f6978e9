# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The extended rights of accounts on receive connectors: which are to go and to come, and which result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...module_utils.values.sentences import listed, show
from .accounts import is_of_servers
from .actual import Object, Server
from .changes import Change
from .concepts import Call
from .desired import DesiredObject
from .judged import new_connector, read_judged
from .kinds.receive_connectors import EXTENDED_RIGHTS, GROUP_RIGHTS
from .operations import Operation, Phase
from .values import Name, read_name

Pairs = frozenset[tuple[Name, Name]]
"""Rights, each with the account that has it."""


@dataclass(frozen=True)
class Rights:
    """The rights on a connector that are to go and to come, and those that result."""

    withdraw: Pairs = frozenset()
    grant: Pairs = frozenset()
    resulting: Mapping[Name, frozenset[Name]] = field(default_factory=dict)


def _plan(
    desired: Mapping[Name, frozenset[Name]] | None, actual: Mapping[Name, frozenset[Name]], groups: frozenset[str]
) -> Rights:
    """What accounts may do beyond their groups. Rights of a group are the group's own business."""
    if desired is None:
        return Rights(frozenset(), frozenset(), actual)
    has = frozenset((user, right) for user, rights in actual.items() for right in rights)
    wanted = frozenset((user, right) for user, rights in desired.items() for right in rights)
    extra = frozenset(
        (user, right)
        for user, right in has - wanted - _group_pairs(groups)
        # What the groups of servers give differs from version to version; it is nobody's to take.
        if user in desired or not is_of_servers(user.spelling)
    )
    resulting: dict[Name, frozenset[Name]] = {}
    for user, right in (has - extra) | wanted:
        resulting[user] = resulting.get(user, frozenset()) | {right}
    return Rights(extra, wanted - has, resulting)


def withdrawal(pairs: Pairs, identity: str) -> list[Operation]:
    """An operation for each account that loses rights on this connector."""
    return _operations(EXTENDED_RIGHTS.remove, "isn't granted any more", pairs, identity, Phase.WITHDRAW)


def grant(pairs: Pairs, identity: str) -> list[Operation]:
    """An operation for each account that gets rights on this connector."""
    return _operations(EXTENDED_RIGHTS.add, "is granted", pairs, identity, Phase.GRANT)


def _operations(call: Call, verb: str, pairs: Pairs, identity: str, phase: Phase) -> list[Operation]:
    users: dict[Name, list[Name]] = {}
    for user, right in sorted(pairs, key=_by_spelling):
        users.setdefault(user, []).append(right)
    return [
        Operation(
            call.name,
            {"User": user.spelling, "ExtendedRights": [right.spelling for right in rights], "Confirm": False},
            f"{listed([right.spelling for right in rights])} {verb} to {user.spelling} on receive connector {identity}",
            connector=identity,
            phase=phase,
        )
        for user, rights in users.items()
    ]


def lines_of(pairs: Pairs) -> list[str]:
    """The rights for people, one a line."""
    return [f"right: {right.spelling} for {user.spelling}" for user, right in sorted(pairs, key=_by_spelling)]


def _by_spelling(pair: tuple[Name, Name]) -> tuple[str, str]:
    return pair[0].spelling.lower(), pair[1].key


def _group_pairs(groups: frozenset[str]) -> Pairs:
    return frozenset(
        (Name(holder.lower()), read_name(right))
        for group, (holder, rights) in GROUP_RIGHTS.items()
        if group in groups
        for right in rights
    )


def change_rights(
    desired: DesiredObject, existing: Object | None, changes: Sequence[Change], server: Server, problems: list[str]
) -> Rights:
    """The rights on a connector that changes so; ``existing`` is None for a new one."""
    before = read_judged(existing.raw) if existing else new_connector(server)
    after = before.changed(changes)
    wanted = _wanted(desired, server, problems)
    if existing is not None:
        return _plan(wanted, existing.rights, before.groups | after.groups)
    rights = _plan(wanted, {}, after.groups)
    return replace(rights, grant=rights.grant - _group_pairs(after.groups))


def _wanted(desired: DesiredObject, server: Server, problems: list[str]) -> Mapping[Name, frozenset[Name]] | None:
    """The desired rights, each with the account that the server knows."""
    if desired.rights is None:
        return None
    found: dict[Name, frozenset[Name]] = {}
    for user, rights in desired.rights.items():
        if server.accounts.lacks(user):
            problems.append(
                f"{desired.path}.extended_rights is for {show(user.spelling)}, but {server.name} knows no such "
                "account; give it as DOMAIN\\name, or its SID."
            )
        account = server.accounts.of(user)
        found[account] = found.get(account, frozenset()) | rights
    return found
