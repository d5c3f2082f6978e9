# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kind of settings is made of: calls, properties, parts and effects. ``kinds`` has the kinds themselves.

A kind is data. What it reads, makes, changes and removes is the same for all of them: ``questions``, ``desired``,
``actual`` and ``objects`` go by what stands in its entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .values import UNLIMITED, ValueType

if TYPE_CHECKING:
    from .actual import Server
    from .changes import Change
    from .desired import DesiredObject

VERSIONS = ("2010", "2013", "2016", "2019", "SE")
"""Exchange's versions, oldest first."""


def is_older(version: str, since: str) -> bool:
    """Whether a version came before another one."""
    return VERSIONS.index(version) < VERSIONS.index(since)


@dataclass(frozen=True)
class Call:
    """A cmdlet, the parameter that says what it is about (the server, or the object), and what it is always told.

    ``former`` is its name before a version, and that version.
    """

    name: str
    by: str = ""
    always: tuple[tuple[str, Any], ...] = ()
    former: tuple[str, str] | None = None

    def named(self, version: str) -> str:
        """Its name in this version."""
        return self.former[0] if self.former and is_older(version, self.former[1]) else self.name

    @property
    def names(self) -> tuple[str, ...]:
        """All of its names, the newest first."""
        return (self.name, self.former[0]) if self.former else (self.name,)


@dataclass(frozen=True)
class Property:
    """A property of a kind: its name, its type, the first version that knows it.

    ``new`` says that the cmdlet that creates the object takes it; otherwise it is set afterwards. ``first`` is what a
    new object gets where nobody says otherwise, in place of what Exchange would give it. ``bounds`` are the least and
    the greatest value that the help publishes, as variables have them.
    """

    name: str
    type: ValueType
    since: str = "2010"
    new: bool = True
    first: Any = None
    bounds: tuple[Any, Any] | None = None

    def fits(self, exact: Any) -> bool:
        """Whether an exact value is within the published bounds."""
        if self.bounds is None or exact in (None, UNLIMITED):
            return True
        least, most = map(self.type.read, self.bounds)
        return bool(least <= exact <= most)


@dataclass(frozen=True)
class Mark:
    """Where an object says that it was made from here, or what of it was.

    ``property`` is a text. In an object of others it has the items that were added to their list ``added_to``.
    """

    property: str
    added_to: str


@dataclass(frozen=True)
class Part:
    """A list that belongs to an object and has cmdlets of its own.

    ``argument`` is its name in the variables. ``read`` are the properties of its entries that are asked for.
    """

    argument: str
    get: Call
    add: Call
    remove: Call
    read: tuple[str, ...]


@dataclass(frozen=True)
class Effect:
    """What a change brings about.

    ``services`` read their settings when they start: they stop before a change and start after it. The first is the one
    that clients reach; ``component`` must be active for them to work. ``warning`` is what people should know when one
    of the properties ``of`` changes.
    """

    services: tuple[str, ...] = ()
    component: str = ""
    of: tuple[str, ...] = ()
    warning: str = ""


@dataclass(frozen=True)
class WindowsKind:
    """Something of Windows that is set step by step, each by a cmdlet of its own; it is planned in a file of its own.

    ``options`` are what the action takes for it.
    """

    variable: str
    get: Call
    steps: tuple[Call, ...]
    options: Mapping[str, Any]

    @property
    def argument(self) -> str:
        """The action's argument, which is the role's variable without the role's name."""
        return self.variable.removeprefix("exchange_")

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every cmdlet of it."""
        return (self.get, *self.steps)

    def specification(self) -> dict[str, Any]:
        """What the action takes for it."""
        return dict(self.options)


Rule = Callable[["DesiredObject", "Sequence[Change]", "Server"], "Iterable[str]"]
"""Says, a sentence each, what of an object that is desired can't be on this server."""


@dataclass(frozen=True)
class Kind:
    """A kind of objects: how they are got, created, set and removed, and what they have.

    Without a ``key`` there is one object, of each server or, if ``shared``, of the organisation; with one there are
    several, told apart by their names. What isn't to be made from here has no ``new``. A kind with a ``mark`` is read
    in any case, since what was made from here goes when it leaves the variables. ``default`` gives the name, for a
    server and a version, of what variables may mean by ``default``. ``read`` is asked for beside what is named,
    ``needed`` what an object can't be created without, ``shown`` what a removal shows. ``switch`` is the property by
    which a new one is off until what it was born with was seen; a mark says so meanwhile.
    """

    variable: str
    title: str
    get: Call
    set: Call
    properties: tuple[Property, ...]
    new: Call | None = None
    remove: Call | None = None
    since: str = "2010"
    key: str = ""
    shared: bool = False
    plural: bool = False
    mark: Mark | None = None
    switch: str = ""
    default: Callable[[str, str], str] | None = None
    read: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    effects: tuple[Effect, ...] = ()
    rules: tuple[Rule, ...] = ()

    def known(self, name: str) -> Property | None:
        """The property of this name, in any case."""
        return next((entry for entry in self.properties if entry.name.lower() == name.lower()), None)

    def entry(self, name: str) -> Property:
        """The property of this name, which there is."""
        return next(entry for entry in self.properties if entry.name == name)

    @property
    def argument(self) -> str:
        """The action's argument, which is the role's variable without the role's name."""
        return self.variable.removeprefix("exchange_")

    @property
    def services(self) -> Effect | None:
        """The effect by which services stop and start, which then can be switched on and off as well."""
        return next((effect for effect in self.effects if effect.services), None)

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every cmdlet of it."""
        parts = (call for part in self.parts for call in (part.get, part.add, part.remove))
        return tuple(call for call in (self.get, self.new, self.set, self.remove, *parts) if call is not None)

    def specification(self) -> dict[str, Any]:
        """What the action takes for it."""
        options: dict[str, Any] = {"properties": {"type": "dict", "default": {}}}
        if self.services:
            options["enabled"] = {"type": "bool"}
        if not self.key:
            return {"type": "dict", "options": options}
        options["name"] = {"type": "str", "default": ""} if self.default else {"type": "str", "required": True}
        if self.default:
            options["default"] = {"type": "bool", "default": False}
        if self.remove:
            options["state"] = {"type": "str", "choices": ["present", "absent"], "default": "present"}
        for part in self.parts:
            entry = {
                "user": {"type": "str", "required": True},
                "rights": {"type": "list", "elements": "str", "required": True},
            }
            options[part.argument] = {"type": "list", "elements": "dict", "options": entry}
        return {"type": "list", "elements": "dict", "default": [], "options": options}
