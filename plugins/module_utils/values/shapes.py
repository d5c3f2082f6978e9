# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole variables: lists and dictionaries of values, of which every problem is said at once.

A shape is a parser of one value, or ``Each`` entry of a list, or the ``Keys`` of a dictionary, or ``Maybe`` nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .sentences import Hidden, Unfit, kind, listed, printable, show
from .texts import read_integer

Parser = Callable[[Any], Any]


class Problems:
    """Collects sentences about variables, each once."""

    def __init__(self) -> None:
        self._found: dict[str, None] = {}

    @property
    def found(self) -> list[str]:
        """The sentences in the order in which they were found."""
        return list(self._found)

    def add(self, path: str, text: str) -> None:
        """A sentence that begins with the variable's path."""
        self._found[printable(f"{path} {text}.")] = None

    def unfit(self, path: str, value: Any, text: str) -> None:
        """A value that isn't right: "<path> is <value>, <text>."."""
        self.add(path, f"is {show(value)}, {text}")


@dataclass(frozen=True)
class Each:
    """A list of entries of one shape."""

    entry: Shape
    at_least: int = 0


@dataclass(frozen=True)
class Keys:
    """A dictionary. A key that isn't there, and that it doesn't need, stays away."""

    shapes: Mapping[str, Shape]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Maybe:
    """Something, or nothing: null and an empty text."""

    shape: Parser
    nothing: Any = ""


Shape = Parser | Each | Keys | Maybe


def read(shape: Shape, path: str, value: Any, problems: Problems) -> Any:
    """The value in its exact form and in plain types; what isn't sound is noted, and None or left out."""
    try:
        if isinstance(shape, Each):
            return _each(shape, path, value, problems)
        if isinstance(shape, Keys):
            return _keys(shape, path, value, problems)
        if isinstance(shape, Maybe):
            return shape.nothing if value is None or value == "" else _plain(shape.shape(value))
        return _plain(shape(value))
    except Hidden as hidden:
        problems.add(path, f"is not shown, {hidden.text}")
    except Unfit as unfit:
        problems.unfit(path, value, unfit.text)
    return None


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int)) else str(value)


def _each(shape: Each, path: str, value: Any, problems: Problems) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise Unfit(f"but must be a list, not a {kind(value)}")
    if len(value) < shape.at_least:
        raise Unfit("but must have at least one entry")
    found = [read(shape.entry, f"{path}[{place}]", entry, problems) for place, entry in enumerate(value)]
    return [entry for entry in found if entry is not None]


def _keys(shape: Keys, path: str, value: Any, problems: Problems) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Unfit(f"but must be a dictionary with the keys {listed(shape.shapes)}")
    for name in value:
        if name not in shape.shapes:
            problems.add(path, f"has the key {show(name)}, which isn't known; the keys are {listed(shape.shapes)}")
    for name in shape.needs:
        if value.get(name) is None:
            problems.add(f"{path}.{name}", "is missing")
    return {
        name: read(inner, f"{path}.{name}", value[name], problems)
        for name, inner in shape.shapes.items()
        if value.get(name) is not None
    }


def number(minimum: int, maximum: int) -> Parser:
    """A parser of whole numbers within the limits, also as a text: ansible-core before 2.19 makes texts of them."""

    def parse(value: Any) -> int:
        text = value.strip() if isinstance(value, str) else ""
        is_number = text.isascii() and text.isdigit() and len(text) <= 9
        return read_integer(int(text) if is_number else value, minimum, maximum)

    return parse


def flag(value: Any) -> bool:
    """True or false, also as a text, as Ansible's own boolean has it."""
    word = value.strip().lower() if isinstance(value, str) else value
    if isinstance(word, bool) or word in (0, 1):
        return bool(word)
    if word in ("true", "yes", "on", "y", "t", "1"):
        return True
    if word in ("false", "no", "off", "n", "f", "0"):
        return False
    raise Unfit("but must be true or false")
