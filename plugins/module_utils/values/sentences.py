# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a value that isn't what it should be is spoken of: one sentence, without a secret in it."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable
from typing import Any

_SHOWN = 160  # characters of a value that a sentence quotes
# What begins like this is a private key or a vaulted text, wherever somebody pasted it.
_SECRET = re.compile(r"PRIVATE KEY|\$ANSIBLE_VAULT;")
NOT_SHOWN = "not shown, since it holds a secret"


class Unfit(ValueError):
    """A value that isn't what it should be; the text ends the sentence about it."""

    def __init__(self, text: str) -> None:
        # What it says to write comes from the value as well.
        self.text = printable(text)
        super().__init__(self.text)


class Hidden(Unfit):
    """A value that isn't what it should be, and must not be quoted."""


class Secret(str):
    """A text that was encrypted: it is never quoted."""

    __slots__ = ()


def show(value: Any) -> str:
    """The value as a person would recognise it from the YAML file, on one line, and not too long."""
    if isinstance(value, Secret):
        return NOT_SHOWN
    try:
        text = json.dumps(_public(value), ensure_ascii=False, default=_show_other)
    except (TypeError, ValueError, RecursionError):  # keys that aren't texts, a list that holds itself
        text = f"a {kind(value)}"
    if hides(text):
        return NOT_SHOWN
    return short(text)


def hides(text: str) -> bool:
    """Tell whether a private key or a vaulted text is in it."""
    return bool(_SECRET.search(text))


def short(text: str) -> str:
    """The text on one line, and not too long."""
    text = printable(text)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _public(value: Any, depth: int = 0) -> Any:
    """The value without the secrets in it."""
    if isinstance(value, Secret):
        return NOT_SHOWN
    if depth > 12 or not isinstance(value, (dict, list, tuple)):
        return value
    if isinstance(value, dict):
        return {key: _public(inner, depth + 1) for key, inner in value.items()}
    return [_public(inner, depth + 1) for inner in value]


def printable(text: str) -> str:
    """The text with escapes in the place of what isn't seen, or could end the line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _show_other(value: Any) -> str:
    """A value of a type that JSON doesn't know; YAML has one, the date."""
    return value.isoformat() if isinstance(value, dt.date) else f"<{type(value).__name__}>"


def kind(value: Any) -> str:
    """What a value is, in YAML's terms."""
    if value is None:
        return "null"
    for types, name in (
        (bool, "boolean"),
        ((int, float), "number"),
        (str, "text"),
        ((list, tuple), "list"),
        (dict, "dictionary"),
        (dt.date, "date"),
    ):
        if isinstance(value, types):
            return name
    return type(value).__name__


def listed(words: Iterable[str], conjunction: str = "and") -> str:
    """The words as a person lists them: a, b and c."""
    *most, last = words
    return f"{', '.join(most)} {conjunction} {last}" if most else last
