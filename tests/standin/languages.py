# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What depends on the language of Windows: names of built-in accounts, and the way that numbers are written.

The state has accounts by their English names, as Active Directory has them by number.
"""

from __future__ import annotations

import re
from typing import Any

# SID -> the name that a state has, and what Windows in another language shows.
BUILT_IN: dict[str, dict[str, str]] = {
    "S-1-5-7": {
        "en": "NT AUTHORITY\\ANONYMOUS LOGON",
        "de": "NT-AUTORITÄT\\ANONYMOUS-ANMELDUNG",
        "fr": "AUTORITE NT\\ANONYMOUS LOGON",
    },
    "S-1-5-11": {
        "en": "NT AUTHORITY\\Authenticated Users",
        "de": "NT-AUTORITÄT\\Authentifizierte Benutzer",
        "fr": "AUTORITE NT\\Utilisateurs authentifiés",
    },
    "S-1-1-0": {"en": "Everyone", "de": "Jeder", "fr": "Tout le monde"},
    "S-1-5-2": {"en": "NT AUTHORITY\\NETWORK", "de": "NT-AUTORITÄT\\NETZWERK", "fr": "AUTORITE NT\\RESEAU"},
    "S-1-5-18": {"en": "NT AUTHORITY\\SYSTEM", "de": "NT-AUTORITÄT\\SYSTEM", "fr": "AUTORITE NT\\Système"},
}


def of_server(document: dict[str, Any]) -> str:
    """The language of a server's Windows: de, of de-DE."""
    return str(document.get("Culture", {}).get("Name", "en-US")).partition("-")[0].lower()


def shown(user: str, language: str) -> str:
    """An account of the state as Windows shows it."""
    for names in BUILT_IN.values():
        if names["en"].lower() == user.lower():
            return names.get(language, names["en"])
    return user


def meant(text: str, language: str) -> str | None:
    """The account of the state that Windows calls so, with its domain or without; None for no built-in one."""
    for names in BUILT_IN.values():
        local = names.get(language, names["en"]).lower()
        if text.lower() in (local, local.rpartition("\\")[2]):
            return names["en"]
    return None


def sid(user: str) -> str | None:
    """The number of a built-in account of the state."""
    return next((number for number, names in BUILT_IN.items() if names["en"].lower() == user.lower()), None)


def number_text(text: str, language: str) -> str:
    """A size such as `36 MB (37,748,736 bytes)` as the language writes it."""
    if language == "en" or not re.search(r"\([\d,]+ bytes\)", text):
        return text
    separator = {"de": ".", "fr": "\u202f"}.get(language, ",")
    return re.sub(r"\(([\d,]+) bytes\)", lambda found: f"({found[1].replace(',', separator)} bytes)", text)
