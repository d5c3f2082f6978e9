# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has which rights on a receive connector, as its access control list says it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...module_utils.values.sentences import Unfit
from .accounts import Accounts, is_obscure
from .kinds.receive_connectors import ANY_RECIPIENT
from .listeners import EVERY_RIGHT
from .values import Name, read_boolean, read_name


@dataclass
class Grants:
    """The rights on one connector, while they are read; see ``Object``."""

    rights: dict[Name, frozenset[Name]] = field(default_factory=dict)
    standing: dict[str, frozenset[str]] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)

    def add(self, entry: Mapping[str, Any], accounts: Accounts) -> None:
        """Take in one entry of its access control list."""
        # An entry that denies takes nothing from what others may give: only what certainly denies is left out.
        if flag(entry.get("Deny")):
            return
        user = accounts.find(str(entry.get("User")))
        granted = frozenset(read_name(right) for right in texts(entry.get("ExtendedRights")))
        every = _is_general(texts(entry.get("AccessRights")), bool(granted)) or any(
            relays(right.key) and right.key != ANY_RECIPIENT.lower() for right in granted
        )
        if granted and not _maybe(entry.get("IsInherited")):
            self.rights[user] = self.rights.get(user, frozenset()) | granted
        else:
            keys = frozenset(right.key for right in granted)
            self.standing[user.key] = self.standing.get(user.key, frozenset()) | keys
        if every:
            self.standing[user.key] = self.standing.get(user.key, frozenset()) | {EVERY_RIGHT}
        if is_obscure(user.key) and (every or ANY_RECIPIENT.lower() in {right.key for right in granted}):
            self.doubts.append(f"it lets {user.spelling!r} relay, an account that the server doesn't know")


def relays(right: str) -> bool:
    """Whether a right, in lower case, is that to send to anybody, or may hold it: all of them, or one with no name."""
    return right in (ANY_RECIPIENT.lower(), EVERY_RIGHT) or _MANY.fullmatch(right) is not None


_MANY = re.compile(r"[{(]?[0-9a-f-]{32,36}[)}]?|all-extended-rights")

# What an entry of an access control list may allow that says nothing about extended rights (ActiveDirectoryRights).
OTHER_ACCESS = frozenset(
    (
        "createchild deletechild listchildren self readproperty writeproperty deletetree listobject delete readcontrol "
        "genericexecute genericwrite genericread writedacl writeowner synchronize accesssystemsecurity"
    ).split()
)


def _is_general(access: list[str], named: bool) -> bool:
    """Whether an entry gives all rights: GenericAll, ExtendedRight without a name, or what isn't known here."""
    given = {part.strip().lower() for text in access for part in text.split(",")}
    return bool(given - OTHER_ACCESS - ({"extendedright"} if named else set())) or (not given and not named)


def texts(value: Any) -> list[str]:
    """Several texts, of which a session shows one or none as such."""
    if value is None or value == "":
        return []
    return [str(item) for item in (value if isinstance(value, list) else [value])]


def _maybe(value: Any) -> bool:
    """Whether a flag is set, or can't be read."""
    try:
        return value is not None and read_boolean(value)
    except Unfit:
        return True


def flag(value: Any) -> bool:
    """Whether a flag is certainly set."""
    try:
        return read_boolean(value)
    except Unfit:
        return False
