# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's arguments, read by the parsers of ``values``."""

from __future__ import annotations

from collections.abc import Callable
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
