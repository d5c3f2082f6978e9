# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network of a Windows host, as far as direct server return needs it, on the Linux host that we are.

An address of the loopback adapter is put on `lo`. Windows has strong hosts by default: a packet for it that comes in on
another adapter is dropped unless that adapter has WeakHostReceive, and one that goes out from it by another adapter is
dropped unless the loopback adapter has WeakHostSend. Nobody answers ARP for it (arp_ignore, set for the container).
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from .state import Document, StateError

_LABEL = "lo:standin"
_TABLE = "standin"


@dataclass(frozen=True)
class Loopback:
    """The addresses of the loopback adapters, and what may pass."""

    addresses: tuple[str, ...] = ()
    receive: bool = False
    send: bool = False


def wanted(document: Document) -> Loopback:
    """What the state asks for. Only IPv4: direct server return is for IPv4."""

    def items(kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = document.get(kind, [])
        return found

    adapters = {item["InterfaceIndex"]: item for item in items("NetAdapter")}
    bound = {
        item["Name"] for item in items("NetAdapterBinding") if item["ComponentID"] == "ms_tcpip" and item["Enabled"]
    }
    loopback = {
        index
        for index, item in adapters.items()
        if item["ComponentID"].lower() == "*msloop" and item["Status"] == "Up" and item["Name"] in bound
    }
    flags = {item["InterfaceIndex"]: item for item in items("NetIPInterface") if item["AddressFamily"] == "IPv4"}
    return Loopback(
        tuple(
            sorted(
                item["IPAddress"]
                for item in items("NetIPAddress")
                if item["InterfaceIndex"] in loopback and ":" not in item["IPAddress"]
            )
        ),
        receive=any(
            flags[index]["WeakHostReceive"] == "Enabled"
            for index in adapters
            if index not in loopback and index in flags
        ),
        send=any(flags[index]["WeakHostSend"] == "Enabled" for index in loopback if index in flags),
    )


def rules(loopback: Loopback) -> str:
    """The nftables table for it; replaced as a whole."""
    lines = [f"table inet {_TABLE}", f"delete table inet {_TABLE}"]
    if loopback.addresses:
        known = ", ".join(loopback.addresses)
        lines += [
            f"table inet {_TABLE} {{",
            "  chain input { type filter hook input priority 0; "
            + ("" if loopback.receive else f'iifname != "lo" ip daddr {{ {known} }} drop; ')
            + "}",
            "  chain output { type filter hook output priority 0; "
            + ("" if loopback.send else f'oifname != "lo" ip saddr {{ {known} }} drop; ')
            + "}",
            "}",
        ]
    return "\n".join(lines) + "\n"


def _run(*command: str, text: str = "") -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StateError(f"`{' '.join(command)}` failed: {done.stderr.strip() or 'no word'}.")
    return done.stdout


class Network:
    """The host's network as it was brought about last."""

    def __init__(self) -> None:
        self._in_force: Loopback | None = None

    def apply(self, document: Document) -> None:
        """Raises StateError."""
        wish = wanted(document)
        if wish == self._in_force or (self._in_force is None and not wish.addresses and not self._present()):
            self._in_force = wish
            return
        # The rules come before the addresses: nothing gets through in between.
        _run("nft", "-f", "-", text=rules(wish))
        present = self._present()
        for address in present - set(wish.addresses):
            _run("ip", "address", "delete", f"{address}/32", "dev", "lo")
        for address in set(wish.addresses) - present:
            _run("ip", "address", "add", f"{address}/32", "dev", "lo", "label", _LABEL)
        self._in_force = wish

    @staticmethod
    def _present() -> set[str]:
        listed = json.loads(_run("ip", "-json", "-4", "address", "show", "dev", "lo"))
        found = [info for device in listed for info in device.get("addr_info", [])]
        return {info["local"] for info in found if info.get("label") == _LABEL}
