# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of an object isn't as it is desired."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...module_utils.values.sentences import Unfit, show
from .concepts import Kind, Property
from .values import Wanted


@dataclass(frozen=True)
class Change:
    """A property that is to have another value."""

    property: Property
    before: Any
    after: Any
    raw: Any

    def lines(self, exact: Any, raw: Any = None) -> list[str]:
        """The property for people, an item of several a line."""
        name = self.property.name
        if isinstance(exact, Unread):
            return [f"{name}: {show(raw)}"]
        items = self.property.type.lines(exact)
        return [f"{name}: {item}" for item in items] or [f"{name}: none"]


@dataclass(frozen=True)
class Unread:
    """Stands for a value on the server that isn't of the type that it should be."""

    text: str


def actual_value(entry: Property, raw: Any) -> Any:
    """The exact form of a server's value."""
    try:
        return entry.type.read_shown(raw)
    except Unfit:
        return Unread(str(raw))


def changes_of(
    kind: Kind, path: str, title: str, wanted: Mapping[str, Wanted], raw: Mapping[str, Any], problems: list[str]
) -> list[Change]:
    """The wanted properties that the object hasn't."""
    found = []
    for name, desired in wanted.items():
        entry = kind.entry(name)
        if name not in raw:
            problems.append(f"{path}.properties.{name} isn't among the properties of the {title}; take it out.")
            continue
        before = actual_value(entry, raw[name])
        if isinstance(before, Unread) and desired.partial:
            text = "which isn't understood, so that nothing can be added or removed; give the whole list"
            problems.append(f"{name} of the {title} is {show(before.text)}, {text}.")
            continue
        after = desired.resulting(before)
        if before != after and not (before in (None, frozenset()) and after in (None, frozenset())):
            found.append(Change(entry, before, after, raw[name]))
    return found


def parameters_of(changes: Iterable[Change]) -> dict[str, Any]:
    """The values as parameters; null empties a property of several items."""
    return {change.property.name: _sent(change.property, change.after) for change in changes}


def _sent(entry: Property, exact: Any) -> Any:
    written = entry.type.write(exact)
    return None if written == [] else written
