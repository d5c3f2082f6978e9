# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts, numbers and names that Ansible's variables hold.

Each ``read_…`` function of this package takes what stands in a variable and returns the value in its exact form, or
raises ``Unfit``, whose text continues the sentence "<path> is <value>, " and says what is expected or what to do. They
run on the controller and on gateways.
"""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from .sentences import Hidden, Unfit, kind, listed, show

_IDENTIFIER = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?\Z")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z")
_URL_PATH = re.compile(r"(/[A-Za-z0-9_.-]+)+/?\Z")
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_.-]{0,31}\Z")
_UNIT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,200}\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,100}\Z")
_LONGEST = 1000  # characters of a value that is looked at closely


def read_text(value: Any, expected: str, longest: int = _LONGEST) -> str:
    """A text on one line, with something in it and no space around it.

    :param expected: what is expected, with its article.
    """
    if isinstance(value, bool):
        raise Unfit(
            f"but must be {expected}; YAML reads yes, no, on and off as true or false, so put such a text in quotes"
        )
    if isinstance(value, (int, float)):
        raise Unfit(f"but must be {expected}; YAML reads it as a number, so put it in quotes")
    if isinstance(value, dt.date):
        raise Unfit(f"but must be {expected}; YAML reads it as a date, so put it in quotes")
    if not isinstance(value, str):
        raise Unfit(f"but must be {expected}, not a {kind(value)}")
    # Whatever goes on to the roles has nothing in it that an older ansible-core would evaluate once more.
    if any(mark in value for mark in ("{{", "{%", "{#")):
        raise Unfit("a template that could not be evaluated; define what it refers to")
    if not value.strip():
        raise Unfit(f"but must be {expected}")
    if len(value) > longest:
        raise Unfit(f"but must be {expected}, and this is a text of {len(value)} characters")
    if value != value.strip():
        raise Unfit(f"with white space around it; write {show(value.strip())}")
    return str(value)  # without what Ansible adds to texts


def read_line(value: Any, expected: str, longest: int = _LONGEST) -> str:
    """A text on one line whose characters can all be seen: no line ends, controls, marks of direction, surrogates."""
    text = read_text(value, expected, longest)
    if odd := next((character for character in text if not character.isprintable()), ""):
        raise Unfit(f"but must be {expected}, without characters that can't be seen (U+{ord(odd):04X})")
    return text


def read_choice(value: Any, choices: Sequence[str], expected: str = "") -> str:
    """One of some words."""
    must = expected or listed(choices, "or")
    text = read_text(value, must)
    if text not in choices:
        close = difflib.get_close_matches(text.lower(), choices, 1) if len(choices) > 1 else []
        raise Unfit(f"but must be {must}{f'; did you mean {close[0]}?' if close else ''}")
    return text


_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def read_boolean(value: Any) -> bool:
    """True or false. A text that can't mean anything else is taken: that is what some ways in make of it."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in _BOOLEANS:
        raise Unfit("but must be true or false")
    return _BOOLEANS[word]


def read_integer(value: Any, minimum: int | None, maximum: int | None) -> int:
    """A whole number within the limits, both included, or a text of its digits."""
    if isinstance(value, str) and re.fullmatch(r"\s*(0|[1-9][0-9]{0,8})\s*", value, re.ASCII):
        value = int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e9:
        raise Unfit(f"but must be a whole number; write {int(value)}")
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unfit("but must be a whole number")
    if (minimum is not None and value < minimum) or (maximum is not None and value > maximum):
        raise Unfit(f"but must be from {minimum} to {maximum}")
    return value


def read_identifier(value: Any) -> str:
    """A name that may become part of names in HAProxy's configuration."""
    text = read_text(value, "a short name of the letters a-z, digits and hyphens")
    if len(text) > 32 or not _IDENTIFIER.match(text):
        raise Unfit(
            "but must be a name of at most 32 letters a-z, digits and hyphens, which begins with a letter and doesn't "
            "end with a hyphen"
        )
    return text


def read_label(value: Any) -> str:
    """A name that becomes one of a file's, or a label of a host's."""
    expected = "a name of at most 63 letters a-z, digits and hyphens"
    text = read_text(value, expected)
    if len(text) > 63 or not _LABEL.match(text):
        raise Unfit(f"but must be {expected}, without a hyphen at either end")
    return text


def read_url_path(value: Any) -> str:
    """A path of a URL: /owa, /owa/healthcheck.htm."""
    expected = "a path such as /owa"
    text = read_text(value, expected)
    if len(text) > 200 or not _URL_PATH.match(text):
        raise Unfit(f"but must be {expected}, of letters, digits, dots, hyphens and underscores between slashes")
    return text


def read_lines(value: Any, expected: str, longest: int) -> str:
    """A text of several lines. Tabs and line ends may be in it, and nothing else that can't be seen."""
    if not isinstance(value, str):
        raise Unfit(f"but must be {expected}, not a {kind(value)}")
    if len(value) > longest:
        raise Unfit(f"but must be {expected}, and this is a text of {len(value)} characters")
    if "PRIVATE KEY" in value:
        raise Hidden(f"but must be {expected}, and there is a private key in it; take it out, and use another one")
    if odd := next((one for one in value if not one.isprintable() and one not in "\n\t"), ""):
        raise Unfit(f"but must be {expected}, without characters that can't be seen (U+{ord(odd):04X})")
    return str(value)


def _read_name(value: Any, expected: str, pattern: re.Pattern[str], rule: str) -> str:
    text = read_text(value, expected)
    if not pattern.match(text):
        raise Unfit(f"but must be {expected}{rule}")
    return text


def read_account(value: Any) -> str:
    """The name of an account, as Debian's adduser takes it by default (adduser.conf(5), NAME_REGEX)."""
    rule = ": letters a-z, digits, hyphens, dots and underscores, a letter first"
    return _read_name(value, "the name of an account", _ACCOUNT, rule)


def read_comment(value: Any) -> str:
    """A few words that a firewall rule can carry: ufw takes no quotes in them."""
    expected = "a few words"
    text = read_text(value, expected)
    if len(text) > 60 or not text.isprintable() or set(text) & set("'\"\\`$"):
        raise Unfit(f"but must be {expected}: at most 60 characters, without quotes, backslashes and dollar signs")
    return text


def read_unit(value: Any) -> str:
    """The name of a unit of systemd, whose ending may be left out."""
    rule = ", of letters, digits, dots, hyphens, underscores and @"
    return _read_name(value, "the name of a unit such as haproxy", _UNIT, rule)


def read_variable(value: Any) -> str:
    """The name of a variable."""
    return _read_name(value, "the name of a variable", _VARIABLE, ", of letters, digits and underscores")


def read_host_path(value: Any) -> str:
    """An absolute path on the host."""
    expected = "an absolute path on the host"
    text = read_line(value, expected)
    if not PurePosixPath(text).is_absolute():
        raise Unfit(f"but must be {expected}")
    return text


def read_content(value: Any) -> str:
    """A text that is handed on as it is, as far as a program or a file can have it. It is never quoted."""
    if not isinstance(value, str):
        raise Unfit(f"but must be a text, not a {kind(value)}")
    if odd := next((one for one in value if one == "\0" or "\ud800" <= one <= "\udfff"), ""):
        raise Hidden(f"but has a character in it that nobody can read (U+{ord(odd):04X}); take it out")
    return str(value)


def read_path(value: Any) -> str:
    """An absolute path on the controller. Whether there is a file, and of what kind, is asked separately."""
    text = read_line(value, "the path of a file")
    if not PurePosixPath(text).is_absolute():
        name = PurePosixPath(text).name or "mail.pem"
        raise Unfit(f'but must be an absolute path on the controller, such as "{{{{ inventory_dir }}}}/files/{name}"')
    return text
