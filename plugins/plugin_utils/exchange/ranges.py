# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ranges of addresses and bindings, as Exchange writes and shows them."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, NamedTuple

from ...module_utils.values.addresses import Address
from ...module_utils.values.sentences import Unfit


class Range(NamedTuple):
    """A range of addresses of one family, both ends included; link-local ones may be those of one adapter alone."""

    version: int
    first: int
    last: int
    zone: str = ""

    @property
    def size(self) -> int:
        """How many addresses it holds."""
        return self.last - self.first + 1

    @property
    def rank(self) -> tuple[int, int, int]:
        """The place of the range in a list: IPv4 before IPv6, lower before higher, wider before narrower."""
        return self.version, self.first, -self.last

    @property
    def whole(self) -> bool:
        """Whether it is every address of its family."""
        return self.size == 1 << (32 if self.version == 4 else 128)

    def holds(self, other: Range) -> bool:
        """Whether the other range lies in this one, on whichever adapter."""
        return self.version == other.version and self.first <= other.first and other.last <= self.last

    def meets(self, other: Range) -> bool:
        """Whether the two have an address in common."""
        return self.version == other.version and self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        first, last = address_of(self.version, self.first), address_of(self.version, self.last)
        if self.size == 1:
            return f"{first}{self.zone}"
        if self.zone:
            return f"{first}{self.zone}-{last}{self.zone}"
        networks = list(ipaddress.summarize_address_range(first, last))
        return str(networks[0]) if len(networks) == 1 and not self.whole else f"{first}-{last}"


_LINK_LOCAL = Range(6, 0xFE80 << 112, (0xFEC0 << 112) - 1)
EVERYBODY = (Range(4, 0, (1 << 32) - 1), Range(6, 0, (1 << 128) - 1))


def address_of(version: int, number: int) -> Address:
    """The address with this number."""
    return ipaddress.IPv4Address(number) if version == 4 else ipaddress.IPv6Address(number)


def one_address(address: Address) -> Range:
    """The range of one address."""
    return Range(address.version, int(address), int(address))


def read_range(value: Any) -> Range:
    """A range: an address, a network with prefix or netmask, two addresses with a hyphen; the whole Internet."""
    if isinstance(value, str):
        try:
            return _range(value.strip())
        except ValueError:
            pass
    raise Unfit("but must be an address, a network such as 10.0.0.0/24, or a range such as 10.0.0.1-10.0.0.9")


# A link-local address as Windows shows it, with the number of its adapter.
_ZONE = re.compile(r"(?<=[0-9a-f:])%[0-9]{1,10}", re.ASCII | re.IGNORECASE)


def read_shown_range(value: Any) -> Range:
    """A range as a server shows it: with the adapter behind link-local addresses."""
    zones = set(_ZONE.findall(value)) if isinstance(value, str) else set()
    if len(zones) != 1:
        return read_range(value)
    found = read_range(_ZONE.sub("", value))
    if not _LINK_LOCAL.holds(found):
        raise Unfit("but only link-local addresses have an adapter")
    return found._replace(zone=zones.pop())


def _range(text: str) -> Range:
    first, hyphen, last = text.partition("-")
    if hyphen:
        low, high = _address(first.strip()), _address(last.strip())
        if low.version != high.version or int(low) > int(high):
            raise ValueError(text)
        return Range(low.version, int(low), int(high))
    # Exchange shows a range that was given with a netmask as 10.0.0.0(255.255.255.0).
    if found := re.fullmatch(r"([^()]+)\(([^()]+)\)", text):
        text = f"{found[1]}/{found[2]}"
    address, slash, prefix = text.partition("/")
    if not slash:
        return one_address(_address(text))
    network = ipaddress.ip_network(f"{_address(address.strip())}/{prefix.strip()}", strict=False)
    return Range(network.version, int(network.network_address), int(network.broadcast_address))


def _address(text: str) -> Address:
    address = ipaddress.ip_address(text)
    if getattr(address, "scope_id", None):
        raise ValueError(text)
    return address


class Binding(NamedTuple):
    """An address (the unspecified one is all of its family) and a port."""

    version: int
    address: int
    port: int
    zone: str = ""

    @property
    def everywhere(self) -> bool:
        """Whether it is on all addresses of its family."""
        return self.address == 0

    def __str__(self) -> str:
        address = address_of(self.version, self.address)
        return f"{address}:{self.port}" if self.version == 4 else f"[{address}{self.zone}]:{self.port}"


def read_binding(value: Any) -> Binding:
    """An address and a port: ``0.0.0.0:25``, ``[::]:25``."""
    if isinstance(value, str):
        host, _unused, port = value.strip().rpartition(":")
        if host.startswith("[") == host.endswith("]") and re.fullmatch(r"[0-9]{1,5}", port, re.ASCII):
            try:
                address = _address(host.strip("[]"))
            except ValueError:
                pass
            else:
                if 0 < int(port) < 65536 and (address.version == 6) == host.startswith("["):
                    return Binding(address.version, int(address), int(port))
    raise Unfit("but must be an address with a port, such as 0.0.0.0:25 or [::]:25")


def read_shown_binding(value: Any) -> Binding:
    """An address and a port as a server shows them: with the adapter behind a link-local address."""
    zones = _ZONE.findall(value) if isinstance(value, str) else []
    if len(zones) != 1:
        return read_binding(value)
    return read_binding(_ZONE.sub("", value))._replace(zone=zones[0])
