# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role's variables ask of a server, read into exact values before any server is asked anything."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...module_utils.values.sentences import Unfit, show
from .accounts import question, read_account
from .concepts import Kind, is_older
from .kinds import KINDS
from .neighbourhood import Neighbourhood, read_neighbourhood
from .refusals import Reader, Refused
from .service_addresses import DesiredDirectReturn, read_direct_return
from .values import Name, Wanted, read_boolean, read_name, read_wanted

SERVER_PLACE = "{server}"
"""Stands for the server's name in the name of an object: setup names its connectors after the server."""

_FORBIDDEN_IN_NAMES = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True)
class DesiredObject:
    """An object as it is to be.

    ``default`` is in place of a name. ``rights`` is None where rights are nobody's business here, ``enabled`` where
    services are to stay as they are.
    """

    kind: Kind
    path: str
    properties: Mapping[str, Wanted]
    name: str = ""
    default: bool = False
    present: bool = True
    rights: Mapping[Name, frozenset[Name]] | None = None
    enabled: bool | None = None

    def is_twin_of(self, other: DesiredObject) -> bool:
        """Whether both are about one object."""
        return self.kind is other.kind and self.default == other.default and self.name.lower() == other.name.lower()


@dataclass(frozen=True)
class Desired:
    """Everything that is asked of one server."""

    objects: tuple[DesiredObject, ...] = ()
    edge_traversal_ports: frozenset[int] = frozenset()
    direct_return: DesiredDirectReturn | None = None
    neighbourhood: Neighbourhood = field(default_factory=Neighbourhood)

    def of(self, kind: Kind) -> list[DesiredObject]:
        """The objects of one kind."""
        return [one for one in self.objects if one.kind is kind]


def accounts_of(desired: Desired) -> list[str]:
    """What the server is asked of the accounts that the variables name."""
    named = {user for one in desired.objects for user in one.rights or ()}
    return sorted({question(user) for user in named})


def read_desired(arguments: Mapping[str, Any]) -> Desired:
    """What the module's arguments ask for.

    :raises Refused: with a sentence for everything that is wrong.
    """
    reader = Reader()
    objects = [one for kind in KINDS for one in _objects(reader, kind, arguments.get(kind.argument))]
    if not arguments.get("organization_settings", True):  # another server sees to what they all share
        objects = [one for one in objects if not one.kind.shared]
    ports = frozenset(arguments.get("edge_traversal_ports") or ())
    for port in sorted(ports - {110, 143, 993, 995}):
        text = "but must be one of 110, 143, 993 and 995, the ports of IMAP and POP clients"
        reader.unfit("exchange_edge_traversal_ports", port, Unfit(text))
    neighbourhood = read_neighbourhood(reader, arguments)
    direct_return = read_direct_return(reader, arguments.get("direct_return") or {}, neighbourhood)
    if reader.sentences:
        raise Refused(reader.sentences)
    return Desired(tuple(objects), ports, direct_return, neighbourhood)


def _objects(reader: Reader, kind: Kind, value: Any) -> list[DesiredObject]:
    """Those of one kind; none where nothing is said about it."""
    if not kind.key:
        return [] if value is None else [_object(reader, kind, kind.variable, value)]
    desired: list[DesiredObject] = []
    for index, entry in enumerate(value or ()):
        path = f"{kind.variable}[{index}]"
        if not _is_named(reader, kind, path, entry):
            continue
        one = _object(reader, kind, path, entry)
        twin = next((known for known in desired if known.is_twin_of(one)), None)
        if twin is not None:
            what = "default" if one.default else f"name {show(one.name)}"
            reader.note(path, f"has the {what}, which {twin.path} has already; put both into one entry")
        desired.append(one)
    return desired


def _is_named(reader: Reader, kind: Kind, path: str, entry: Mapping[str, Any]) -> bool:
    """Whether it can be told which object an entry is about."""
    default, name = bool(entry.get("default")), entry.get("name") or ""
    if default == bool(name):
        reader.note(path, "must have either a name or default: true" if kind.default else "must have a name")
        return False
    if _FORBIDDEN_IN_NAMES.search(name) or name != name.strip() or len(name) > 64:
        text = "but must be at most 64 characters on one line, without backslash, and without spaces around it"
        reader.unfit(f"{path}.name", name, Unfit(text))
        return False
    if default and entry.get("state") == "absent":
        reader.note(path, "would remove the default connector, by which Exchange servers reach this one; take it out")
    return True


def _object(reader: Reader, kind: Kind, path: str, entry: Mapping[str, Any]) -> DesiredObject:
    rights = entry.get("extended_rights")
    return DesiredObject(
        kind,
        path,
        _properties(reader, kind, f"{path}.properties", entry.get("properties") or {}),
        name=entry.get("name") or "",
        default=bool(entry.get("default")),
        present=entry.get("state", "present") == "present",
        rights=None if rights is None else _rights(reader, path, rights),
        enabled=_enabled(reader, f"{path}.enabled", entry.get("enabled")),
    )


def _enabled(reader: Reader, path: str, value: Any) -> bool | None:
    try:
        return None if value is None else read_boolean(value)
    except Unfit as unfit:
        reader.unfit(path, value, unfit)
        return None


def _rights(reader: Reader, path: str, value: Any) -> dict[Name, frozenset[Name]]:
    found: dict[Name, frozenset[Name]] = {}
    for index, entry in enumerate(value):
        here = f"{path}.extended_rights[{index}]"
        rights = set()
        for right in entry.get("rights") or ():
            if not isinstance(right, str) or not re.fullmatch(r"ms-Exch-[A-Za-z-]+", right, re.ASCII | re.IGNORECASE):
                text = "but must be an extended right such as ms-Exch-SMTP-Accept-Any-Recipient"
                reader.unfit(f"{here}.rights", right, Unfit(text))
            else:
                rights.add(read_name(right))
        user = read_account(entry["user"])
        if not user.key or re.search(r"[\x00-\x1f]", user.key):
            reader.unfit(f"{here}.user", entry["user"], Unfit("but must be the name or SID of an account"))
        found[user] = found.get(user, frozenset()) | frozenset(rights)
    return found


def _properties(reader: Reader, kind: Kind, path: str, values: Mapping[str, Any]) -> dict[str, Wanted]:
    found: dict[str, Wanted] = {}
    for name, value in values.items():
        known = kind.known(str(name))
        if known is None:
            close = difflib.get_close_matches(str(name).lower(), [entry.name.lower() for entry in kind.properties], 1)
            right = kind.known(close[0]) if close else None
            missing = f"{kind.set.name} has no such parameter that can be set"
            ending = f"did you mean {right.name}?" if right else missing
            reader.note(f"{path}.{name}", f"isn't known; {ending}")
            continue
        if known.name in found:
            reader.note(f"{path}.{name}", f"is {known.name} once more; take one of them out")
            continue
        try:
            found[known.name] = read_wanted(known.type, value)
            if not known.fits(found[known.name].value):
                raise Unfit(f"but must be from {known.bounds[0]} to {known.bounds[1]}" if known.bounds else "")
        except Unfit as unfit:
            reader.unfit(f"{path}.{known.name}", value, unfit)
    return found


def check_version(desired: Desired, version: str) -> list[str]:
    """A sentence for each property (and kind) that this version of Exchange doesn't have."""
    sentences = []
    for one in desired.objects:
        if is_older(version, one.kind.since):
            text = f"is for Exchange {one.kind.since} and later, and this server is {version}; take it out"
            sentences.append(f"{one.path} {text}.")
            continue
        for name in one.properties:
            since = one.kind.entry(name).since
            if is_older(version, since):
                text = f"is known to Exchange from {since} on, and this server is {version}; take it out"
                sentences.append(f"{one.path}.properties.{name} {text}.")
    return sentences


def version_of(text: str) -> str | None:
    """Exchange's version, from "Version 15.2 (Build 1748.10)"; None for one that isn't known here.

    Builds of 15.2 from 2562 on are the Subscription Edition.
    """
    found = re.search(r"([0-9]+)\.([0-9]+)\s*\(Build ([0-9]+)\.", text)
    if not found:
        return None
    major, minor, build = map(int, found.groups())
    if major == 14:
        return "2010"
    if (major, minor) == (15, 2):
        return "SE" if build >= 2562 else "2019"
    return {(15, 0): "2013", (15, 1): "2016"}.get((major, minor))
