# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exchange's values, compared as Exchange means them.

A ``ValueType`` reads a value in any spelling (a person's YAML, an object of a local session, the text that a remote
session shows) into one exact form, and writes that form as a cmdlet's parameter. What isn't such a value raises
``Unfit``, whose text continues the sentence "<path> is <value>, ".

A type with ``many`` has values that hold several items; ``read`` gives a ``frozenset`` of them then, and ``write`` a
sorted list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ...module_utils.values.sentences import Unfit, listed, show
from .ranges import Range, read_binding, read_range, read_shown_binding, read_shown_range

UNLIMITED = "Unlimited"


@dataclass(frozen=True)
class ValueType:
    """How one type of values is read and written.

    ``read_one`` takes one item into its exact form, ``write_one`` gives it back as a parameter. ``joined`` says that
    several items are one text with commas (flags of an enumeration), not a list. ``read_shown_one`` reads what a server
    shows, where that has forms that nobody is to write. ``every`` is the one word for all of these flags together.
    """

    name: str
    read_one: Callable[[Any], Any]
    write_one: Callable[[Any], Any]
    many: bool = False
    joined: bool = False
    read_shown_one: Callable[[Any], Any] | None = None
    every: tuple[str, tuple[str, ...]] | None = None

    def read(self, value: Any) -> Any:
        """The exact form of a value; None for what means nothing: null, and the empty text."""
        if self.many:
            return self.read_many(value)
        return None if _is_nothing(value) else self.read_one(value)

    def read_many(self, value: Any) -> frozenset[Any]:
        """The exact forms of the items."""
        return frozenset(item for item in map(self.read_one, self.items(value)) if item is not None)

    def read_shown(self, value: Any) -> Any:
        """The exact form of a value that a server shows."""
        return replace(self, read_one=self.read_shown_one or self.read_one).read(value)

    def read_known(self, value: Any) -> tuple[frozenset[Any], list[Any]]:
        """The exact forms of those items that a server shows and that are understood, and the others as they are."""
        known, strange = set(), []
        for item in self.items(value):
            try:
                known.add((self.read_shown_one or self.read_one)(item))
            except Unfit:
                strange.append(item)
        return frozenset(known - {None}), strange

    def items(self, value: Any) -> list[Any]:
        """What a value says, item by item, unread: nothing where it is empty, or blank throughout."""
        if self.joined and isinstance(value, str):
            value = value.split(",")
        items = value if isinstance(value, (list, tuple)) else [value]
        if self.every and any(str(item).strip().lower() == self.every[0].lower() for item in items):
            items = self.every[1]
        return [item.strip() if isinstance(item, str) else item for item in items if not _is_nothing(item)]

    def write(self, exact: Any) -> Any:
        """The exact form as the value of a parameter."""
        if not self.many:
            return None if exact is None else self.write_one(exact)
        items = [self.write_one(item) for item in in_order(exact)]
        if self.every and set(items) == set(self.every[1]):
            return self.every[0]
        return (", ".join(items) if items else "None") if self.joined else items

    def lines(self, exact: Any) -> list[str]:
        """The value for people, an item a line."""
        if self.many:
            return [str(self.write_one(item)) for item in in_order(exact)]
        written = self.write(exact)
        return [] if written is None else [text_of(written)]


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def in_order(items: Iterable[Any]) -> list[Any]:
    """Items in an order that doesn't depend on where they came from."""
    return sorted(items, key=lambda item: item.rank if isinstance(item, Range) else item)


def text_of(value: Any) -> str:
    """A parameter's value as PowerShell shows it."""
    return str(value)


# --- texts and numbers -----------------------------------------------------------------------------------------------


def read_boolean(value: Any) -> bool:
    """True or false; a remote session shows a switch as text."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower().lstrip("$") in ("true", "false"):
        return value.strip().lower().endswith("true")
    raise Unfit("but must be true or false")


def read_integer(value: Any) -> int:
    """A whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,18}\s*", value, re.ASCII):
        return int(value)
    raise Unfit("but must be a whole number")


def read_text(value: Any) -> str:
    """A text as it is, on one line; .NET's strings know no difference between none and empty."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise Unfit("but must be a text")
    return str(value)


@dataclass(frozen=True, order=True)
class Name:
    """A text whose case doesn't matter, with the spelling that it came in."""

    key: str
    spelling: str = ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Name) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def read_name(value: Any) -> Name:
    """A text whose case doesn't matter: a name, a path, a certificate's name."""
    text = read_text(value).strip()
    return Name(text.lower(), text)


def read_path(value: Any) -> Name:
    """A local path of Windows: case and a backslash at the end don't matter."""
    text = read_text(value).strip()
    if not re.match(r"[A-Za-z]:\\", text):
        raise Unfit(r"but must be a local path such as D:\Logs, with its drive")
    return Name(text.lower().rstrip("\\"), text)


_URL = re.compile(r"(https?://[^/?#\s]+)([^\s]*)", re.ASCII | re.IGNORECASE)


def read_url(value: Any) -> Name:
    """The URL of a web service: the case of its host doesn't matter, that of its path does."""
    found = _URL.fullmatch(read_text(value).strip())
    if not found:
        raise Unfit("but must be a URL such as https://mail.example.com/path")
    return Name(found[1].lower() + found[2], found[0])


def _or_unlimited(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def reader(value: Any) -> Any:
        if isinstance(value, str) and value.strip().lower() == UNLIMITED.lower():
            return UNLIMITED
        try:
            return read(value)
        except Unfit as unfit:
            raise Unfit(f"{unfit.text}, or Unlimited") from None

    return reader


# --- sizes -----------------------------------------------------------------------------------------------------------

_UNITS = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
# "36 MB (37,748,736 bytes)": the number in brackets is exact; its separators are those of the server's language.
_WITH_BYTES = re.compile(r"[^(]*\(([0-9][0-9.,'\u2019\s]*)\s*\w+\)\s*", re.UNICODE)


def read_size(value: Any) -> int:
    """Bytes, from a number, ``25MB``, or ``36 MB (37,748,736 bytes)``."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str):
        if found := _WITH_BYTES.fullmatch(value):
            return int(re.sub(r"[^0-9]", "", found[1]))
        if found := re.fullmatch(r"\s*([0-9]{1,19})\s*([KMGT]?B?)\s*", value, re.ASCII | re.IGNORECASE):
            unit = found[2].upper()
            if unit in _UNITS:
                return int(found[1]) * _UNITS[unit]
    raise Unfit("but must be a size such as 25MB")


def write_size(size: Any) -> Any:
    """The size in the largest unit that it is a whole number of."""
    if size == UNLIMITED:
        return size
    for unit in ("TB", "GB", "MB", "KB"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return f"{size}B"


# --- time spans ------------------------------------------------------------------------------------------------------

_SPAN = re.compile(r"\s*(?:([0-9]{1,8})\.)?([0-9]{1,2}):([0-9]{1,2})(?::([0-9]{1,2})(?:\.([0-9]{1,7}))?)?\s*", re.ASCII)


def read_span(value: Any) -> int:
    """Units of 100 ns, from ``[days.]hours:minutes[:seconds]``. A bare number is days to .NET, and refused."""
    if isinstance(value, str) and (found := _SPAN.fullmatch(value)):
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups()[:4])
        if hours < 24 and minutes < 60 and seconds < 60:
            ticks = int((found[5] or "").ljust(7, "0"))
            return (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 10**7 + ticks
    if isinstance(value, int) and not isinstance(value, bool):
        # YAML 1.1 reads 0:10:00 without quotes as a number of base 60.
        raise Unfit('but must be a time span such as "00:10:00", in quotes')
    raise Unfit('but must be a time span such as "00:10:00" (hours, minutes, seconds) or "7.00:00:00" (with days)')


def write_span(ticks: Any) -> Any:
    """The span as .NET shows it."""
    if ticks == UNLIMITED:
        return ticks
    seconds, rest = divmod(ticks, 10**7)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    head = f"{days}." if days else ""
    tail = f".{rest:07}" if rest else ""
    return f"{head}{hours:02}:{minutes:02}:{seconds:02}{tail}"


# --- the types -------------------------------------------------------------------------------------------------------


def _as_it_is(value: Any) -> Any:
    return value


def _spelling(name: Name) -> str:
    return name.spelling


def choice(name: str, *values: str) -> ValueType:
    """An enumeration: one of the values, in any case."""
    return ValueType(name, _one_of(values), _as_it_is)


def flags(name: str, *values: str, nothing: tuple[str, ...] = (), every: str = "") -> ValueType:
    """An enumeration of which several values can be set at once; ``None`` is the empty set, ``nothing`` no value.

    ``every`` is how a server shows all of them together.
    """
    ignored = {"none", *(value.lower() for value in nothing)}
    read = _one_of(values)

    def read_flag(value: Any) -> Any:
        return None if isinstance(value, str) and value.strip().lower() in ignored else read(value)

    return ValueType(name, read_flag, _as_it_is, many=True, joined=True, every=(every, values) if every else None)


def _one_of(values: tuple[str, ...]) -> Callable[[Any], str]:
    known = {value.lower(): value for value in values}

    def reader(value: Any) -> str:
        found = known.get(value.strip().lower()) if isinstance(value, str) else None
        if found is None:
            raise Unfit(f"but must be {listed(values, 'or')}")
        return found

    return reader


BOOLEAN = ValueType("true or false", read_boolean, _as_it_is)
INTEGER = ValueType("whole number", read_integer, _as_it_is)
COUNT_OR_UNLIMITED = ValueType("whole number or Unlimited", _or_unlimited(read_integer), _as_it_is)
TEXT = ValueType("text", read_text, _as_it_is)
NAME = ValueType("name", read_name, _spelling)
NAMES = ValueType("list of texts", read_name, _spelling, many=True)
URL = ValueType("URL", read_url, _spelling)
PATH = ValueType("local path", read_path, _spelling)
SIZE = ValueType("size", read_size, write_size)
SIZE_OR_UNLIMITED = ValueType("size or Unlimited", _or_unlimited(read_size), write_size)
SPAN = ValueType("time span", read_span, write_span)
RANGES = ValueType("list of address ranges", read_range, str, many=True, read_shown_one=read_shown_range)
BINDINGS = ValueType("list of addresses with ports", read_binding, str, many=True, read_shown_one=read_shown_binding)


# --- wanted values of properties with several items -------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """What a person wants of a property: a value, or items that are to be in it and others that aren't."""

    type: ValueType
    value: Any = None
    add: frozenset[Any] = frozenset()
    remove: frozenset[Any] = frozenset()
    partial: bool = False

    def resulting(self, actual: Any) -> Any:
        """The exact value that the property has afterwards."""
        if not self.partial:
            return self.value
        return frozenset((actual or frozenset()) - self.remove) | self.add


def read_wanted(value_type: ValueType, value: Any) -> Wanted:
    """A wanted value; for several items a list, or a dictionary with ``set``, or with ``add`` and ``remove``."""
    if not isinstance(value, dict):
        return Wanted(value_type, value_type.read(value))
    keys = ("set", "add", "remove")
    if not value_type.many:
        raise Unfit(f"but must be one value, a {value_type.name}")
    if not value or not set(value) <= set(keys) or ("set" in value and len(value) > 1):
        raise Unfit("but must be a list, or a dictionary with set alone, or with add and remove")
    if "set" in value:
        return Wanted(value_type, value_type.read_many(value["set"]))
    add, remove = value_type.read_many(value.get("add")), value_type.read_many(value.get("remove"))
    if both := add & remove:
        items = listed([str(value_type.write_one(item)) for item in in_order(both)])
        raise Unfit(f"but can't both add and remove {items}")
    return Wanted(value_type, add=add, remove=remove, partial=True)


def shown(value: Any) -> str:
    """A value as a sentence quotes it."""
    return show(value)
