# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses and networks. ``ipaddress`` reads their text, and nothing that it doesn't know passes."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, NamedTuple

from .sentences import Unfit
from .texts import read_text

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class _Span(NamedTuple):
    """A network as two numbers: a list of 50,000 is held against each of the tables below."""

    version: int
    first: int
    last: int

    def within(self, other: _Span) -> bool:
        return self.version == other.version and other.first <= self.first and self.last <= other.last


def as_network(item: Address | Network) -> Network:
    """The address as the network of one host; a network as it is."""
    return item if isinstance(item, (ipaddress.IPv4Network, ipaddress.IPv6Network)) else ipaddress.ip_network(item)


def _span(network: Network) -> _Span:
    first = int(network.network_address)
    return _Span(network.version, first, first | ((1 << (network.max_prefixlen - network.prefixlen)) - 1))


# What isn't the public Internet: RFC 1918, RFC 6598, RFC 4193, and the ranges for documentation and benchmarks
# (RFC 5737, RFC 3849, RFC 9637, RFC 2544), which stand for real ones in examples and laboratories.
_NOT_PUBLIC = tuple(
    _span(ipaddress.ip_network(network))
    for network in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "192.0.2.0/24",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "198.18.0.0/15",
        "fc00::/7",
        "2001:db8::/32",
        "3fff::/20",
    )
)


# What no other host can be reached by, or be known by, each with the end of the sentence about it.
_SPECIAL = tuple(
    (_span(ipaddress.ip_network(network)), text)
    for network, text in (
        ("0.0.0.0/32", "but must be a real address, not the unspecified one"),
        ("::/128", "but must be a real address, not the unspecified one"),
        ("0.0.0.0/8", "but must not be in 0.0.0.0/8, which is reserved"),
        ("127.0.0.0/8", "but must not be loopback, which is another host everywhere"),
        ("::1/128", "but must not be loopback, which is another host everywhere"),
        ("169.254.0.0/16", "but must not be link-local, which means nothing beyond one link"),
        ("fe80::/10", "but must not be link-local, which means nothing beyond one link"),
        ("224.0.0.0/4", "but must not be multicast"),
        ("ff00::/8", "but must not be multicast"),
        ("240.0.0.0/4", "but must not be in 240.0.0.0/4, which is reserved"),
    )
)
_MAPPED = _span(ipaddress.IPv6Network("::ffff:0:0/96"))
# IPv6 addresses that wrap an IPv4 one: compatible, mapped (RFC 4291 2.5.5), 6to4 (RFC 3056), NAT64 (RFC 6052). HAProxy
# takes some of them for that one in a list, and looks every IPv4 client up as a mapped one.
_WRAPPED = tuple(
    (network, _span(ipaddress.IPv6Network(network)))
    for network in ("::/96", "::ffff:0:0/96", "2002::/16", "64:ff9b::/96")
)


def is_public(network: Network) -> bool:
    """Whether the network holds any address of the public Internet."""
    return not any(map(_span(network).within, _NOT_PUBLIC))


def short(network: Network) -> str:
    """The network as a person writes it: an address alone for one host."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def read_address(value: Any, special: bool = False) -> Address:
    """One address that a host can have: no network, and unless ``special``, no loopback, multicast or the like."""
    expected = "an address such as 192.0.2.10 or 2001:db8::10"
    text = read_text(value, expected)
    address = parse_address(text)
    if address is None:
        if re.fullmatch(r"[^/]+/[0-9]+", text) and parse_address(text.partition("/")[0]):
            raise Unfit(f"but must be one address; write {text.partition('/')[0]}")
        if "-" in text and all(parse_address(part.strip()) for part in text.split("-", 1)):
            raise Unfit("but must be one address, not a range")
        raise Unfit(_why_no_address(text, expected))
    refuse_special(as_network(address), special)
    return address


def read_any_address(value: Any) -> Address:
    """One address, loopback, multicast and the unspecified one included, but none that stands for an IPv4 one."""
    return read_address(value, special=True)


def read_any_network(value: Any) -> Network:
    """A network as the kernel takes it: of any kind, without host bits, and IPv4 as such."""
    return read_network(value, special=True, wrapping=True)


def read_network(value: Any, special: bool = False, wrapping: bool = False) -> Network:
    """A network in CIDR notation without host bits, or one address. 0.0.0.0/0 passes: rules decide on that.

    :param special: loopback, link-local, multicast and reserved networks pass as well.
    :param wrapping: so do IPv6 ones whose addresses wrap IPv4 ones; HAProxy takes these for each other.
    """
    expected = "a network such as 192.0.2.0/24, or an address"
    text = read_text(value, expected)
    first, slash, prefix = text.partition("/")
    if not slash:
        address = parse_address(text)
        if address is None:
            raise Unfit(_why_no_address(text, expected))
        network = as_network(address)
    else:
        if parse_address(first) is None or re.search(r"[,;\s]", prefix):
            raise Unfit(_why_no_address(text, expected))
        if not re.fullmatch(r"[0-9]{1,3}", prefix, re.ASCII):
            raise Unfit(_why_no_prefix(first, prefix))
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            most = 32 if "." in first else 128
            raise Unfit(f"but the number after the slash must be from 0 to {most}") from None
        if str(network.network_address) != str(ipaddress.ip_address(first)):
            raise Unfit(
                f"which has host bits set; write {network} for the network or {ipaddress.ip_address(first)} for the "
                "one host"
            )
    refuse_special(network, special, wrapping)
    return network


def parse_address(text: str) -> Address | None:
    """The address, or None where the text is none. A zone may be any text to ``ipaddress``, so it never passes."""
    try:
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None


def refuse_special(network: Network, special: bool = False, wrapping: bool = False) -> None:
    """Raise Unfit for a network (of one host, for an address) that lies in a range for special use.

    :param special: only what wraps an IPv4 address is refused; loopback and the unspecified address aren't.
    :param wrapping: nor is that, but for mapped addresses, which no packet has.
    """
    span = _span(network)
    if span.within(_MAPPED):
        bits = int(network.network_address) & 0xFFFFFFFF
        meant = ipaddress.ip_network((bits, network.prefixlen - 96), strict=False)
        raise Unfit(f"but must be written as the IPv4 that it stands for; write {short(meant)}")
    for one, text in _SPECIAL:
        if span.within(one):
            if special:
                return
            raise Unfit(text)
    for name, wrapped in _WRAPPED if network.prefixlen and not wrapping else ():
        if span.within(wrapped):
            raise Unfit(f"but must not be in {name}, whose addresses wrap an IPv4 one; write the IPv4 that is meant")
        # (2000::/3 is all of the Internet, and a rule's to judge.)
        if wrapped.within(span) and name != "2002::/16":
            raise Unfit(f"but must not hold {name}, which stands for IPv4 addresses; write the networks that are meant")


def _why_no_address(text: str, expected: str) -> str:
    """Why a text that should be an address (or the first half of a network) isn't one."""
    if "%" in text and parse_address(text.partition("%")[0]):
        return "but must be without a zone (the part after %)"
    if re.search(r"[,;]|[^-\s]\s+[^-\s]", text):
        return "but must be one address or network, without a comma or space in it"
    first, dash, last = (part.strip() for part in text.partition("-"))
    low, high = parse_address(first), parse_address(last)
    if dash and low is not None and high is not None and low.version == high.version:
        if low <= high:  # type: ignore[operator]
            networks = [short(one) for one in ipaddress.summarize_address_range(low, high)]
            if len(networks) <= 8:
                return f"but must not be a range; write {', '.join(networks)}"
        return "but must not be a range; write networks"
    inner = re.fullmatch(r"\[(.*)\](:[0-9]+)?", text)
    if inner and parse_address(inner.group(1)):
        return f"but must be without brackets and port; write {inner.group(1)}"
    host, colon, port = text.partition(":")
    if colon and port.isdigit() and parse_address(host):
        return f"but must be without a port; write {host}"
    if re.fullmatch(r"[0-9]+(\.[0-9]+){3}", text, re.ASCII):
        parts = [str(int(part)) if len(part) < 10 else part for part in text.split(".")]
        if parse_address(".".join(parts)):
            return f"but must be without leading zeros; write {'.'.join(parts)}"
        return f"but must be {expected}; each of the four numbers is at most 255"
    if re.fullmatch(r"[0-9]+(\.[0-9]+){0,2}", text, re.ASCII):
        return f"but must be {expected}; an IPv4 address has four numbers"
    if re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?", text):
        return f"but must be {expected}, not a name"
    return f"but must be {expected}"


def _why_no_prefix(first: str, prefix: str) -> str:
    try:
        network = ipaddress.ip_network(f"{first}/{prefix}", strict=False)
    except ValueError:
        most = 32 if "." in first else 128
        return f"but the number after the slash must be from 0 to {most}"
    return f"but must have the number of bits after the slash; write {network}"
