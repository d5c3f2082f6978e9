# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses that clients reach by direct server return, as the variables ask for them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...module_utils.values.addresses import read_address
from ...module_utils.values.sentences import Unfit
from .kinds.windows import DEFAULT_ADAPTER, DIRECT_RETURN
from .neighbourhood import Neighbourhood
from .ranges import one_address
from .refusals import Reader

# What Windows allows in no connection's name, and the brackets, which cmdlets take for a pattern.
_FORBIDDEN_IN_ADAPTERS = re.compile(r'[\x00-\x1f\x7f\\/:*?"<>|[\]]')


@dataclass(frozen=True)
class DesiredDirectReturn:
    """The loopback adapter that has the service addresses, each with its prefix, and the adapters by which mail comes.

    ``interfaces`` is empty where those are to be found on the host.
    """

    present: bool
    addresses: Mapping[ipaddress.IPv4Address, int]
    adapter: str = DEFAULT_ADAPTER
    interfaces: tuple[str, ...] = ()


def read_direct_return(
    reader: Reader, value: Mapping[str, Any], neighbourhood: Neighbourhood
) -> DesiredDirectReturn | None:
    """Direct server return; nothing where nothing is said about it."""
    if not value:
        return None
    present = value.get("state", "present") == "present"
    addresses: dict[ipaddress.IPv4Address, int] = {}
    entries = value.get("addresses") or ()
    for index, entry in enumerate(entries):
        try:
            address, prefix = _service_address(entry)
            if address in addresses:
                raise Unfit("which is on the list already; take one of them out")
            if one_address(address) in neighbourhood.servers:
                raise Unfit("which is in exchange_server_addresses too; a service address isn't a server's own")
            if one_address(address) in neighbourhood.gateways:
                text = "which is in exchange_gateway_addresses too; answers to the gateway would never leave the server"
                raise Unfit(text)
            addresses[address] = prefix
        except Unfit as unfit:
            reader.unfit(f"{DIRECT_RETURN.variable}.addresses[{index}]", entry, unfit)
    if present and not entries:
        reader.note(f"{DIRECT_RETURN.variable}.addresses", "is empty; name the service addresses, or say state: absent")
    adapter = value.get("adapter", DEFAULT_ADAPTER)
    if _FORBIDDEN_IN_ADAPTERS.search(adapter) or adapter != adapter.strip() or not 0 < len(adapter) <= 64:
        text = 'but must be 1 to 64 characters without any of \\ / : * ? " < > | [ ], and without spaces around it'
        reader.unfit(f"{DIRECT_RETURN.variable}.adapter", adapter, Unfit(text))
    return DesiredDirectReturn(present, addresses, adapter, _interfaces(reader, value.get("interfaces") or (), adapter))


def _service_address(entry: Any) -> tuple[ipaddress.IPv4Address, int]:
    """An IPv4 address that clients reach, and the length of its prefix, which is 32 where none is given."""
    text, slash, length = entry.partition("/") if isinstance(entry, str) else (entry, "", "")
    address = read_address(text)
    if not isinstance(address, ipaddress.IPv4Address):
        raise Unfit("but must be an IPv4 address: the loopback adapter has IPv4 alone")
    if not slash:
        return address, 32
    if not re.fullmatch(r"[0-9]{1,2}", length, re.ASCII) or not 1 <= int(length) <= 32:
        raise Unfit("but the number after the slash must be from 1 to 32")
    network = ipaddress.IPv4Network(f"{address}/{length}", strict=False)
    if int(length) < 31 and address in (network.network_address, network.broadcast_address):
        raise Unfit(f"which no host of {network} can have; give the address itself, with /32 or without a prefix")
    return address, int(length)


def _interfaces(reader: Reader, entries: Iterable[str], adapter: str) -> tuple[str, ...]:
    found: list[str] = []
    for index, entry in enumerate(entries):
        path = f"{DIRECT_RETURN.variable}.interfaces[{index}]"
        if not entry.strip():
            reader.unfit(path, entry, Unfit("but must be the name of a network adapter, such as Ethernet"))
        elif entry.lower() == adapter.lower():
            reader.unfit(path, entry, Unfit("but must be an adapter by which mail comes, not the loopback adapter"))
        elif entry.lower() in (name.lower() for name in found):
            reader.unfit(path, entry, Unfit("which is on the list already; take one of them out"))
        else:
            found.append(entry)
    return tuple(found)
