# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validation of the declaration: everything that is wrong with it, at once, each thing in one sentence.

``validate`` is for people who are about to run a play, ``check`` for the derivation: it reads no file. Neither raises,
whatever stands in the declaration.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import schema
from .rules import DOUBTS, RULES, Site, files_are_good
from .tree import Inventory, Problem, Problems, read, read_gateway, read_server
from .values import listed


class DeclarationError(ValueError):
    """The declaration isn't sound. The text is every problem's sentence, one a line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Checked:
    """A declaration with its part of the inventory, and what is wrong with it."""

    site: Site
    problems: tuple[Problem, ...]


def check(declaration: Any, inventory: Inventory, gateways: Sequence[str] | None = None) -> Checked:
    """Read the declaration and its part of the inventory, and ask every rule. Nothing else is looked at.

    ``gateways`` are the hosts that the declaration is for; without it, all of the group ``gateways``.
    """
    problems = Problems()
    tree = read(schema.DECLARATION, schema.DECLARATION.name, declaration, problems)
    members = inventory.group(schema.GATEWAYS)
    if gateways is None and not members:
        problems.sentence(schema.GATEWAYS, no_gateways(inventory))
    ours = sorted(set(members if gateways is None else gateways))
    servers = inventory.group(tree["exchange"]["group"].value)
    site = Site(
        tree=tree,
        inventory=inventory,
        gateways=tuple(read_gateway(name, inventory, problems) for name in ours),
        neighbours=tuple(read_gateway(name, inventory, Problems()) for name in sorted({*ours, *members})),
        servers=tuple(server for name in servers if (server := read_server(name, inventory, problems)) is not None),
    )
    for rule in RULES:
        rule(site, problems)
    return Checked(site, tuple(problems.found))


def validate(declaration: Any, inventory: Inventory, gateways: Sequence[str] | None = None) -> list[Problem]:
    """Every problem of the declaration, those of the files that it names included."""
    checked = check(declaration, inventory, gateways)
    problems = Problems(checked.problems)
    files_are_good(checked.site.tree, problems)
    return problems.found


def doubts(declaration: Any, inventory: Inventory, gateways: Sequence[str] | None = None) -> list[Problem]:
    """What may not be meant in a sound declaration."""
    site, found = check(declaration, inventory, gateways).site, Problems()
    for rule in DOUBTS:
        rule(site, found)
    return found.found


def validate_all(declarations: Mapping[str, Any], inventory: Inventory) -> list[str]:
    """The sentences about all declarations of an inventory, each said once.

    ``declarations`` maps a gateway to its declaration; gateways of one site have the same one. Where there are several
    sites, a sentence that isn't about all of them says which gateways it is about.
    """
    if not inventory.group(schema.GATEWAYS):
        return [no_gateways(inventory)]
    return _about_all(declarations, inventory, validate)


def doubts_of_all(declarations: Mapping[str, Any], inventory: Inventory) -> list[str]:
    """The same of what may not be meant."""
    return _about_all(declarations, inventory, doubts)


def _about_all(
    declarations: Mapping[str, Any],
    inventory: Inventory,
    ask: Callable[[Any, Inventory, Sequence[str] | None], list[Problem]],
) -> list[str]:
    members = inventory.group(schema.GATEWAYS)
    found = sites({name: declarations[name] for name in members if name in declarations})
    about: dict[Problem, list[str]] = {}
    for declaration, gateways in found:
        for problem in ask(declaration, inventory, gateways):
            about.setdefault(problem, []).extend(gateways)
    everywhere = sum(len(gateways) for _, gateways in found)
    return [
        f"For {listed(gateways)}: {problem}" if len(gateways) < everywhere and _is_declared(problem) else str(problem)
        for problem, gateways in about.items()
    ]


def sites(declarations: Mapping[str, Any]) -> list[tuple[Any, list[str]]]:
    """The different declarations, each with its gateways."""
    found: list[tuple[Any, list[str]]] = []
    for name, declaration in declarations.items():
        for known, gateways in found:
            if known == declaration:
                gateways.append(name)
                break
        else:
            found.append((declaration, [name]))
    return found


def _is_declared(problem: Problem) -> bool:
    """Whether the problem is in the declaration; a host variable's path names its host anyway."""
    return re.split(r"[.\[]", problem.path)[0] == schema.DECLARATION.name


def misspelt(host: str, names: Iterable[str], declared: bool) -> list[str]:
    """Sentences about the host's variables that look like ours and aren't, and about a gateway's missing declaration.

    ``names`` are the names of all of the host's variables; ``declared`` tells whether it needs a declaration.
    """
    sentences = []
    known = (schema.DECLARATION.name, *schema.HOST_VARIABLES)
    strangers = [name for name in sorted(names) if name not in known]
    for name in strangers:
        close = difflib.get_close_matches(name, known, 1, cutoff=0.9)
        if close and close[0].startswith(schema.DECLARATION.name):
            sentences.append(f"{name} of {host} isn't known; did you mean {close[0]}?")
    if declared and schema.DECLARATION.name not in names:
        where = "the variables of the group all, or of a group for its site"
        sentences.append(
            f"{schema.DECLARATION.name} of {host} is missing; declare what the gateway publishes in {where}."
        )
    return sentences


def no_gateways(inventory: Inventory) -> str:
    """The sentence for an inventory without gateways."""
    if schema.GATEWAYS in inventory.groups:
        return f"The inventory's group {schema.GATEWAYS} has no hosts; put the hosts into it that are to be gateways."
    return f"The inventory has no group {schema.GATEWAYS}; make one of the hosts that are to be gateways."
