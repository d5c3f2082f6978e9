# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers for the texts in which Exchange shows its values.

Each reader takes a JSON value and returns a Python one, or raises ValueError whose text completes the
sentence "PATH is VALUE, but it has to be …".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Reader = Callable[[Any], Any]

_UNITS = {"B": 0, "KB": 10, "MB": 20, "GB": 30, "TB": 40}
_SIZE = re.compile(r"(?i)^\s*([0-9]+(?:\.[0-9]+)?)\s*(B|KB|MB|GB|TB)?\s*(?:\(([0-9,]+) bytes\))?\s*$")
_SPAN = re.compile(r"^(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})(?:\.(\d{1,7}))?$")


def text(value: Any) -> str:
    """Any text; null is the empty text, as Exchange shows it."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError("a text")
    return value


def some_text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that isn't empty")
    return value


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)) or not re.fullmatch(r"\d+", str(value)):
        raise ValueError("a whole number")
    return int(value)


def limit(value: Any) -> int | None:
    """A whole number, or None for `Unlimited`."""
    if isinstance(value, str) and value.lower() == "unlimited":
        return None
    try:
        return integer(value)
    except ValueError:
        raise ValueError("a whole number or Unlimited") from None


def size(value: Any) -> int:
    """Octets, from `36 MB (37,748,736 bytes)`, `36MB` or a number. The figure in brackets is the exact one."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _SIZE.match(value) if isinstance(value, str) else None
    if not found:
        raise ValueError("a size such as 36 MB (37,748,736 bytes)")
    if found[3]:
        return int(found[3].replace(",", ""))
    number = int(found[1]) if found[1].isdigit() else float(found[1])
    return int(number * (1 << _UNITS[(found[2] or "B").upper()]))


def size_text(octets: int) -> str:
    """The text that Exchange shows for a size: `36 MB (37,748,736 bytes)`."""
    unit, shift = next(((u, s) for u, s in reversed(_UNITS.items()) if octets >= 1 << s), ("B", 0))
    figure = f"{octets / (1 << shift):.4g}"
    return f"{figure} {unit} ({octets:,} bytes)"


def span(value: Any) -> float:
    """Seconds, from `[days.]hh:mm:ss[.fraction]`."""
    found = _SPAN.match(value) if isinstance(value, str) else None
    if not found or int(found[3]) > 59 or int(found[4]) > 59:
        raise ValueError("a time span such as 00:05:00")
    seconds = ((int(found[1] or 0) * 24 + int(found[2])) * 60 + int(found[3])) * 60 + int(found[4])
    return seconds + float(f"0.{found[5] or 0}")


def one_of(*names: str) -> Reader:
    """One of the names, in any case; returned as spelled here."""

    def read(value: Any) -> str:
        for name in names:
            if isinstance(value, str) and value.lower() == name.lower():
                return name
        raise ValueError("one of " + ", ".join(names))

    return read


def some_of(*names: str) -> Reader:
    """A set of flags, as Exchange shows it (`Tls, Integrated`) or as a list; `None` is the empty set."""
    single = one_of(*names)

    def read(value: Any) -> frozenset[str]:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise ValueError("None, or some of " + ", ".join(names))
        spelled = (part.strip() for part in parts)
        try:
            return frozenset(single(part) for part in spelled if part.lower() not in ("none", ""))
        except ValueError:
            raise ValueError("None, or some of " + ", ".join(names)) from None

    return read


def list_of(single: Reader, what: str) -> Reader:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(f"a list of {what}")
        result = []
        for item in value:
            try:
                result.append(single(item))
            except ValueError as problem:
                raise ValueError(f"a list of {what} (its item {item!r} is not {problem})") from None
        return tuple(result)

    return read


def anything(value: Any) -> Any:
    return value


@dataclass(frozen=True, order=True)
class Binding:
    """A local address and port, as in `0.0.0.0:25` and `[::]:25`."""

    address: str
    port: int

    @property
    def is_any(self) -> bool:
        return ipaddress.ip_address(self.address).is_unspecified

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def binding(value: Any) -> Binding:
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):(\d{1,5})", value) if isinstance(value, str) else None
    try:
        if found and 0 < int(found[3]) < 65536:
            return Binding(str(ipaddress.ip_address(found[1] or found[2])), int(found[3]))
    except ValueError:
        pass
    raise ValueError("an address and port such as 0.0.0.0:25 or [::]:25")


@dataclass(frozen=True)
class Range:
    """A range of remote addresses, both ends included."""

    first: Address
    last: Address

    def __contains__(self, address: Address) -> bool:
        return address.version == self.first.version and int(self.first) <= int(address) <= int(self.last)

    @property
    def count(self) -> int:
        return int(self.last) - int(self.first) + 1


def remote_range(value: Any) -> Range:
    """Any of Exchange's spellings: an address, address/prefix, address(mask), first-last; IPv4 and IPv6.

    A prefix on an address with host bits means the network around it, as in Exchange.
    """
    try:
        if not isinstance(value, str):
            raise ValueError
        # Windows shows a link-local address with the number of its adapter.
        spelled = re.sub(r"(?i)(?<=[0-9a-f:])%\d+", "", value.strip())
        masked = re.fullmatch(r"([0-9.]+)\s*\(([0-9.]+)\)", spelled)
        if masked:
            spelled = f"{masked[1]}/{masked[2]}"
        if "-" in spelled:
            first, last = (ipaddress.ip_address(part.strip()) for part in spelled.split("-", 1))
            if first.version != last.version or int(first) > int(last):
                raise ValueError
            return Range(first, last)
        network = ipaddress.ip_network(spelled, strict=False)
        return Range(network[0], network[-1])
    except ValueError:
        raise ValueError("an address range such as 10.1.1.25, 10.1.1.0/24, 10.1.1.1-10.1.1.9 or fd77::/64") from None
