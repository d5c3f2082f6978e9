# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's arguments, read by the parsers of ``values``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..values.sentences import Hidden, Unfit, show
from .errors import HostError

T = TypeVar("T")


def parsed(path: str, value: Any, parser: Callable[[Any], T]) -> T:
    """Return what the parser makes of a value.

    :param path: the variable, for the sentence.
    :raises HostError: it isn't what it should be.
    """
    try:
        return parser(value)
    except Hidden as hidden:
        raise HostError(f"{path} is not shown, {hidden.text}.") from None
    except Unfit as unfit:
        raise HostError(f"{path} is {show(value)}, {unfit.text}.") from None


def arguments(params: Mapping[str, Any], parsers: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """Return a module's arguments, some of them read by parsers; of a list each entry is.

    :raises HostError: one isn't what it should be.
    """
    found = dict(params)
    for name, parser in parsers.items():
        if isinstance(value := params[name], list):
            found[name] = [parsed(f"{name}[{place}]", one, parser) for place, one in enumerate(value)]
        elif value is not None:
            found[name] = parsed(name, value, parser)
    return found
