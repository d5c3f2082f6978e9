# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of a role that is used by itself, read before its first task touches the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ...module_utils.values.shapes import Problems, Shape, read
from ..declaration.tree import Unevaluated
from . import haproxy


class Role(NamedTuple):
    """What a role's variables may be, and the rules between them."""

    shapes: Mapping[str, Shape]
    check: Callable[[Mapping[str, Any], Problems], None]


ROLES = {"haproxy": Role(haproxy.SHAPES, haproxy.check)}


def read_variables(role: Role, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The variables in their exact form, and a sentence for each problem.

    :param given: the role's variables by name, evaluated; what couldn't be is ``Unevaluated``.
    """
    problems = Problems()
    found = {}
    for name, shape in role.shapes.items():
        if name not in given:
            problems.add(name, "is missing; call the role as roles are called, so that it has its defaults")
        elif unevaluated := _unevaluated(given[name]):
            problems.add(name, unevaluated.sentence_end())
        else:
            found[name] = read(shape, name, given[name], problems)
    if not problems.found:
        role.check(found, problems)
    return found, problems.found


def _unevaluated(value: Any) -> Unevaluated | None:
    """The first part of a value that couldn't be evaluated."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return next(filter(None, map(_unevaluated, value)), None)
    return value if isinstance(value, Unevaluated) else None
