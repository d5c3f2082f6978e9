# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was made from here is marked where it is; no file of ours could say otherwise than the server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...module_utils.values.sentences import Unfit
from .changes import Unread, actual_value
from .concepts import Kind, Mark
from .values import Wanted

MARK = "[postern.mail_gateway]"
"""In an object that was made from here, so that it can go when it leaves the variables."""

UNSEEN = "[postern.mail_gateway: off until its rights were seen]"
"""In its place in an object that is new: nobody but us switched it off."""

_ADDED = re.compile(r" ?\[postern\.mail_gateway added (?P<items>[^\]]*)\]")
"""In an object of others: the items that were added to it from here, so that they can go as well."""

Raw = Mapping[str, Any]


def is_ours(mark: Mark | None, raw: Raw) -> bool:
    """Whether the object was made from here."""
    return mark is not None and any(text in _text(mark, raw) for text in (MARK, UNSEEN))


def is_unseen(mark: Mark | None, raw: Raw) -> bool:
    """Whether it is off because it is new."""
    return mark is not None and UNSEEN in _text(mark, raw)


def added(kind: Kind, raw: Raw) -> frozenset[Any]:
    """The items that were added from here to an object of others."""
    found = _ADDED.search(_text(kind.mark, raw)) if kind.mark else None
    if kind.mark is None or found is None:
        return frozenset()
    try:
        return kind.entry(kind.mark.added_to).type.read_many(found["items"].split(", "))
    except Unfit:
        return frozenset()  # somebody wrote something else there


def marked(kind: Kind, properties: Mapping[str, Wanted], raw: Raw | None) -> dict[str, Wanted]:
    """The wanted properties, with what is to be known of the object in it; ``raw`` is None for a new one."""
    if kind.mark is None:
        return dict(properties)
    if raw is None or is_ours(kind.mark, raw):
        return {**properties, kind.mark.property: _marking(kind, kind.mark, properties, "", MARK)}
    return _remembering(kind, kind.mark, properties, raw)


def _text(mark: Mark, raw: Raw) -> str:
    return str(raw.get(mark.property) or "")


def _marking(kind: Kind, mark: Mark, properties: Mapping[str, Wanted], text: str, ours: str) -> Wanted:
    """What the variables say, or else this text, and behind it what is ours."""
    if mark.property in properties:
        text = properties[mark.property].value or ""
    return Wanted(kind.entry(mark.property).type, " ".join(filter(None, (text, ours))))


def _remembering(kind: Kind, mark: Mark, properties: Mapping[str, Wanted], raw: Raw) -> dict[str, Wanted]:
    """The wanted properties of an object of others, to whose list items may be added.

    Those that were added from here and aren't wanted any more go. Those that were there before are others', even where
    they are wanted.
    """
    wanted = dict(properties)
    entry = kind.entry(mark.added_to)
    items = wanted.get(entry.name, Wanted(entry.type, partial=True))
    ours = added(kind, raw)
    if not items.partial or not (ours or items.add):
        return wanted
    actual = actual_value(entry, raw.get(entry.name))
    if isinstance(actual, Unread):
        return wanted
    without_stale = replace(items, remove=items.remove | (ours - items.add))
    if without_stale.resulting(actual):  # such a list may not be empty
        items = without_stale
    wanted[entry.name] = items
    kept = items.resulting(actual) & (ours | (items.add - actual))
    names = ", ".join(str(entry.type.write_one(item)) for item in sorted(kept))
    record = f"[postern.mail_gateway added {names}]" if kept else ""
    text = _text(mark, raw)
    if record or _ADDED.search(text):
        wanted[mark.property] = _marking(kind, mark, properties, _ADDED.sub("", text), record)
    return wanted
