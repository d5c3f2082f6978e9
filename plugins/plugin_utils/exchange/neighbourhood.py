# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is around a server, and which addresses anybody may have."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...module_utils.values.sentences import Unfit
from .ranges import Range, read_range
from .refusals import Reader


@dataclass(frozen=True)
class Neighbourhood:
    """Who is around the server: what the safety of its connectors is judged by.

    ``servers`` are the addresses of all Exchange servers, ``gateways`` those from which anybody's mail comes,
    ``relays`` those that only relay clients use. ``acknowledged`` are ranges of public addresses that may relay,
    ``removable`` the addresses that may leave connectors; None stands for any.
    """

    servers: tuple[Range, ...] = ()
    gateways: tuple[Range, ...] = ()
    relays: tuple[Range, ...] = ()
    acknowledged: tuple[Range, ...] = ()
    removable: tuple[Range, ...] | None = None


def read_neighbourhood(reader: Reader, arguments: Mapping[str, Any]) -> Neighbourhood:
    """What the variables say of it."""
    removable = arguments.get("removable_addresses")
    return Neighbourhood(
        servers=_ranges(reader, arguments, "server_addresses"),
        gateways=_ranges(reader, arguments, "gateway_addresses"),
        relays=_ranges(reader, arguments, "relay_addresses"),
        acknowledged=_ranges(reader, arguments, "acknowledged_relay_networks"),
        removable=None if removable is None or "*" in removable else _ranges(reader, arguments, "removable_addresses"),
    )


def _ranges(reader: Reader, arguments: Mapping[str, Any], name: str) -> tuple[Range, ...]:
    found = []
    for index, value in enumerate(arguments.get(name) or ()):
        try:
            entry = read_range(value)
            if name.endswith("_addresses") and entry.size > 1:
                raise Unfit("but must be one address")
            if entry.whole:
                raise Unfit("which is everybody")
            found.append(entry)
        except Unfit as unfit:
            reader.unfit(f"exchange_{name}[{index}]", value, unfit)
    for version, most in _MOST.items():
        if name.startswith("acknowledged_") and _together(found, version) > most:
            size = f"a /{(32 if version == 4 else 128) - most.bit_length() + 1}"
            reader.note(f"exchange_{name}", f"holds more IPv{version} addresses than {size}; name those that are meant")
    return tuple(found)


# A network of networks is nobody's own: together they would be the Internet.
_MOST = {4: 1 << 24, 6: 1 << 112}


def _together(ranges: Iterable[Range], version: int) -> int:
    """How many addresses of a family the ranges hold, each counted once."""
    count, end = 0, -1
    for entry in sorted((one for one in ranges if one.version == version), key=lambda one: one.rank):
        count += max(0, entry.last - max(entry.first, end + 1) + 1)
        end = max(end, entry.last)
    return count


def is_public(entry: Range) -> bool:
    """Whether the range holds any address of the public Internet (or of another special purpose)."""
    return not any(private.holds(entry) for private in _PRIVATE)


# RFC 1918, RFC 6598, RFC 4193; loopback and link-local addresses (RFC 1122, RFC 4291) never come from outside.
_PRIVATE = tuple(
    Range(network.version, int(network.network_address), int(network.broadcast_address))
    for network in map(
        ipaddress.ip_network,
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "fc00::/7",
            "fe80::/10",
            "::1/128",
        ),
    )
)
