# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan is made of: operations, and the differences that people read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any

from .concepts import Call


class Phase(IntEnum):
    """When an operation of a kind has its turn.

    Rights and services go before an object changes and come after it, so that wherever a run ends nobody has rights and
    ranges, or settings in a service's memory, that weren't meant for each other. Removals free what others are to have.
    What is new is switched on when all of it is there.
    What comes after proof is for what must not go before the server was seen to have what takes its place: it is done
    when all else of the plan shows.
    """

    WITHDRAW = 1
    REMOVE = 2
    MAKE = 3
    GRANT = 4
    ENABLE = 5
    EFFECT = 6
    AFTER_PROOF = 7


@dataclass(frozen=True)
class Foreseen:
    """All that the access control list of an object may hold for what was judged to hold.

    ``accounts`` may have whatever they have, ``rights`` are harmless whoever has them, and ``grants`` are what was
    judged: an account and a right, with a bar between them.
    """

    object: str
    accounts: tuple[str, ...]
    rights: tuple[str, ...]
    grants: tuple[str, ...]


@dataclass(frozen=True)
class Operation:
    """One call of a cmdlet, and what is true after it.

    ``always``: it is made even if one before it failed. ``connector`` is the receive connector whose distinguished name
    the parameter Identity gets: permissions know no other name that means one connector alone. With ``foreseen`` it is
    withheld where something else is found.
    """

    command: str
    parameters: Mapping[str, Any]
    what: str
    always: bool = False
    connector: str = ""
    phase: Phase = Phase.MAKE
    foreseen: Foreseen | None = None

    def document(self) -> dict[str, Any]:
        """What a server is sent of it."""
        return {
            "command": self.command,
            "parameters": dict(self.parameters),
            "always": self.always,
            "connector": self.connector,
            "foreseen": None if self.foreseen is None else asdict(self.foreseen),
        }


def step(call: Call, of: str, parameters: Mapping[str, Any], what: str, phase: Phase = Phase.MAKE) -> Operation:
    """A call about something that has this name, with what it is always told."""
    return Operation(call.name, {call.by: of, **parameters, **dict(call.always)}, what, phase=phase)


@dataclass(frozen=True)
class Difference:
    """What changes about one object, a line each property or item; None where the object isn't there."""

    title: str
    before: tuple[str, ...] | None
    after: tuple[str, ...] | None


@dataclass
class Plan:
    """What is to be done, how that reads, and what else a person should know."""

    operations: list[Operation] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    connections: list[dict[str, object]] = field(default_factory=list)

    def add(self, operations: Iterable[Operation]) -> None:
        """The operations of one kind, each in its phase."""
        self.operations += sorted(operations, key=lambda operation: operation.phase)

    @property
    def due(self) -> list[Operation]:
        """What is done now: all but what waits for the proof, or that where nothing else is left."""
        return [entry for entry in self.operations if entry.phase is not Phase.AFTER_PROOF] or self.operations

    @property
    def waiting(self) -> list[Operation]:
        """What waits for the proof."""
        due = self.due
        return [entry for entry in self.operations if entry not in due]

    def diff(self) -> dict[str, str]:
        """The differences in Ansible's form."""
        return {
            "before": "".join(_part(entry.title, entry.before) for entry in self.differences),
            "after": "".join(_part(entry.title, entry.after) for entry in self.differences),
        }


def _part(title: str, lines: tuple[str, ...] | None) -> str:
    return "" if lines is None else "".join(f"{line}\n" for line in (title, *(f"  {line}" for line in lines)))
