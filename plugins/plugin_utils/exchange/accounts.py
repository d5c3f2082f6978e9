# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts, told apart by their security identifiers: names of built-in ones depend on the language of Windows.

An account is a ``Name`` whose key is the SID in lower case, and whose spelling is the server's own name for it. Where
Windows can't translate a name (Exchange's own ``MS Exchange\\…`` are in no directory), the key is that name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .values import Name, read_name

ANONYMOUS_SID = "S-1-5-7"
AUTHENTICATED_SID = "S-1-5-11"

_SID = re.compile(r"s-1(-[0-9]+)+", re.ASCII)
_EXCHANGE = "ms exchange\\"

# Built-in accounts by their English names, as variables may have them ("Well-known SIDs").
_BUILT_IN = {
    "everyone": "S-1-1-0",
    "nt authority\\network": "S-1-5-2",
    "nt authority\\anonymous logon": ANONYMOUS_SID,
    "anonymous logon": ANONYMOUS_SID,
    "nt authority\\authenticated users": AUTHENTICATED_SID,
    "authenticated users": AUTHENTICATED_SID,
    "nt authority\\system": "S-1-5-18",
    "builtin\\administrators": "S-1-5-32-544",
    "builtin\\users": "S-1-5-32-545",
    "builtin\\guests": "S-1-5-32-546",
    "builtin\\pre-windows 2000 compatible access": "S-1-5-32-554",
}

# Who is, or may be, somebody without a logon: everyone, network, anonymous, guests, and the group for old clients,
# which may hold the first two.
_ANYBODY = frozenset(sid.lower() for sid in ("S-1-1-0", "S-1-5-2", ANONYMOUS_SID, "S-1-5-32-546", "S-1-5-32-554"))
_GUESTS = re.compile(r"s-1-5-21(-[0-9]+){3}-(501|514)", re.ASCII)


def read_account(value: Any) -> Name:
    """An account as variables name it: by its SID, by its English name if it is built in, or by its own name."""
    name = read_name(value)
    return Name(_BUILT_IN.get(name.key, name.key).lower(), name.spelling)


def is_sid(key: str) -> bool:
    """Whether this names an account by its number."""
    return _SID.fullmatch(key) is not None


def question(account: Name) -> str:
    """What the server is asked about the account that a variable names."""
    return account.key.upper() if is_sid(account.key) else account.spelling


def is_anybody(key: str) -> bool:
    """Whether an account is, or may hold, somebody who hasn't logged on."""
    return key in _ANYBODY or _GUESTS.fullmatch(key) is not None


def is_of_servers(name: str) -> bool:
    """Whether a name is that of one of Exchange's own groups of servers, which are the same in any language."""
    key = name.lower()
    return key.startswith(_EXCHANGE) or key.rpartition("\\")[2] in ("exchange servers", "exchangelegacyinterop")


def is_obscure(key: str) -> bool:
    """Whether it can't be told who that is."""
    return not is_sid(key) and not is_of_servers(key)


class Accounts:
    """The server's accounts, as far as it was asked about them: by text, their SIDs and local names."""

    def __init__(self, answer: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._known = {text.lower(): entry for text, entry in (answer or {}).items()}

    def find(self, text: str) -> Name:
        """The account that the server calls so."""
        found = self.of(read_name(text))
        return found if is_sid(found.key) else read_account(text)

    def of(self, account: Name) -> Name:
        """The account with its SID and local name, as far as the server knows them."""
        entry = self._known.get(account.key)
        if entry is None or not entry.get("sid"):
            return account
        return Name(str(entry["sid"]).lower(), str(entry.get("name") or account.spelling))

    def with_a_logon(self) -> list[str]:
        """What the server calls those who certainly have logged on."""
        found = ((text, self.find(text).key) for text in self._known)
        return sorted(text for text, key in found if not is_anybody(key) and not is_obscure(key))

    def lacks(self, account: Name) -> bool:
        """Whether the server was asked and knows no account of this name."""
        entry = self._known.get(account.key)
        return entry is not None and not entry.get("sid") and not account.key.startswith(_EXCHANGE)
