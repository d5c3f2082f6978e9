# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""netsh interface ipv4|ipv6 set interface: exit status 1 and a sentence for anything else than success."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import store

_FLAGS = {"weakhostsend": "WeakHostSend", "weakhostreceive": "WeakHostReceive", "forwarding": "Forwarding"}
_FLAGS |= {"advertise": "Advertising"}
_OTHERS = ("store", "dadtransmits", "retransmittime", "routerdiscovery", "managedaddress", "otherstateful", "siteid")


class _Wrong(Exception):
    """What netsh says."""


def _settings(words: list[str]) -> tuple[str, dict[str, Any]]:
    name, wanted = "", {}
    for number, word in enumerate(words):
        key, equals, value = word.partition("=")
        key = key.lower()
        if not equals:
            if number:
                raise _Wrong(f"Die Syntax ist falsch: {word}")
            name = word
        elif key == "interface":
            name = value
        elif key in _FLAGS:
            if value.lower() not in ("enabled", "disabled"):
                raise _Wrong(f"{value} ist kein annehmbarer Wert für {key}.")
            wanted[_FLAGS[key]] = value.capitalize()
        elif key == "metric":
            if not value.isdigit():
                raise _Wrong(f"{value} ist kein annehmbarer Wert für metric.")
            wanted |= {"InterfaceMetric": int(value), "AutomaticMetric": "Disabled" if int(value) else "Enabled"}
        elif key == "mtu" and value.isdigit():
            wanted["NlMtu"] = int(value)
        elif key not in _OTHERS:
            raise _Wrong(f"Die Syntax ist falsch: {word}")
    return name.strip('"'), wanted


def _family(words: list[str]) -> str:
    lower = [word.lower() for word in words]
    families = {"ipv4": "IPv4", "ip": "IPv4", "ipv6": "IPv6"}
    if (
        len(lower) < 5
        or lower[0] not in ("interface", "int")
        or lower[1] not in families
        or lower[2:4] != ["set", "interface"]
    ):
        raise _Wrong(f"Der folgende Befehl wurde nicht gefunden: {' '.join(words)}.")
    return families[lower[1]]


def main(words: list[str], directory: Path) -> int:
    """Do what the command line says; return its exit status."""
    try:
        family = _family(words)
        name, wanted = _settings(words[4:])
        with store.locked(directory):
            document = store.read(directory)
            found = [
                item
                for item in document.get("NetIPInterface", [])
                if item["AddressFamily"] == family
                and name.lower() in (str(item["InterfaceIndex"]), item["InterfaceAlias"].lower())
            ]
            if not found:
                raise _Wrong("Element nicht gefunden.")
            for item in found:
                item.update(wanted)
            store.replace(directory, document)
    except _Wrong as problem:
        print(f"{problem}\r\n")
        return 1
    print("OK.\r\n")
    return 0
