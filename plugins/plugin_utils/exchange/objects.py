# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the objects of one kind as they are and as they are desired to operations. It goes by the kind's entry alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...module_utils.values.sentences import listed
from . import births, rights
from .actual import Object, Server
from .changes import Change, actual_value, changes_of, parameters_of
from .concepts import Call, Kind, is_older
from .desired import SERVER_PLACE, DesiredObject
from .marks import added, is_ours, marked
from .operations import Difference, Operation, Phase, Plan
from .services import missing_services, plan_services
from .values import Name


@dataclass(frozen=True)
class Outcome:
    """An object that there is afterwards: the one that is there (None for a new one), and what changes about it."""

    name: str
    existing: Object | None
    changes: tuple[Change, ...]
    rights: Mapping[Name, frozenset[Name]]


def name_of(desired: DesiredObject, server: Server) -> str:
    """The name that an object has on this server."""
    if desired.default and desired.kind.default:
        return desired.kind.default(server.name, server.version)
    return desired.name.replace(SERVER_PLACE, server.name)


def plan_objects(
    kind: Kind, desired: Sequence[DesiredObject], server: Server, plan: Plan, problems: list[str]
) -> list[Outcome]:
    """Add what is to be done to the plan, or to the problems why it can't be; the objects that there are then."""
    objects = _Objects(kind, server, plan, problems)
    outcomes = objects.plan_all({name_of(one, server).lower(): one for one in desired})
    if len({name_of(one, server).lower() for one in desired}) < len(desired):
        problems.append(f"Two entries of {kind.variable} mean one {_noun(kind)} of {server.name}; make one of them.")
    plan.add(objects.operations)
    return outcomes


def _noun(kind: Kind) -> str:
    return kind.title.split()[-1]


class _Objects:
    def __init__(self, kind: Kind, server: Server, plan: Plan, problems: list[str]) -> None:
        self.kind, self.server, self.plan, self.problems = kind, server, plan, problems
        self.operations: list[Operation] = []

    def plan_all(self, desired: Mapping[str, DesiredObject]) -> list[Outcome]:
        """Plan each object; names are in lower case."""
        actual = {entry.name.lower(): entry for entry in self.server.objects.get(self.kind.variable, ())}
        outcomes = {name: Outcome(entry.name, entry, (), entry.rights) for name, entry in actual.items()}
        for name, entry in actual.items():
            one = desired.get(name)
            if is_ours(self.kind.mark, entry.raw) if one is None else not one.present:
                self._remove(entry)
                del outcomes[name]
            elif one is None and added(self.kind, entry.raw):
                outcomes[name] = self._change(DesiredObject(self.kind, self.kind.variable, {}, name), entry)
        for name, one in desired.items():
            if one.present and name in actual:
                outcomes[name] = self._change(one, actual[name])
            elif one.present and (made := self._create(one)) is not None:
                outcomes[name] = made
        return list(outcomes.values())

    def _title(self, identity: str) -> str:
        if self.kind.key:
            return f"{self.kind.title} {identity}"
        return self.kind.title if self.kind.shared else f"{self.kind.title} of {self.server.name}"

    def _remove(self, existing: Object) -> None:
        call, title = self.kind.remove, self._title(existing.identity)
        assert call is not None, f"{self.kind.variable} has a state, and so a cmdlet that removes."
        changes = [
            Change(entry, actual_value(entry, existing.raw[entry.name]), None, existing.raw[entry.name])
            for entry in map(self.kind.entry, self.kind.shown)
            if entry.name in existing.raw
        ]
        parameters = {call.by: existing.identity, "Confirm": False}
        self._do(call, parameters, f"{title} is gone", Phase.REMOVE)
        lines = tuple(line for change in changes for line in change.lines(change.before, change.raw))
        self.plan.differences.append(Difference(title, lines, None))

    def _create(self, desired: DesiredObject) -> Outcome | None:
        name = name_of(desired, self.server)
        wanted = marked(self.kind, desired.properties, None)
        if self._cannot_create(desired, name, wanted) or self.kind.new is None:
            return None
        identity = name if self.kind.shared else f"{self.server.name}\\{name}"
        title = self._title(identity)
        changes = [
            Change(self.kind.entry(entry), None, value.resulting(frozenset()), None) for entry, value in wanted.items()
        ]
        call, switched = self.kind.new, self.kind.set
        parameters: dict[str, Any] = {self.kind.key: name, **({call.by: self.server.name} if call.by else {})}
        parameters |= {**dict(call.always), **parameters_of(change for change in changes if change.property.new)}
        for entry in self.kind.properties:
            if entry.first is not None and not is_older(self.server.version, entry.since):
                parameters.setdefault(entry.name, entry.first)
        off = births.born(self.kind, parameters)
        self._do(call, {**parameters, **off, "Confirm": False}, f"{title} is created")
        self._set(identity, [change for change in changes if not change.property.new], title)
        given = self._rights(desired, None, changes, identity)
        if off:
            on = {switched.by: identity, **{name: parameters.get(name, True) for name in off}, "Confirm": False}
            found = births.foreseen(identity, given.resulting, self.server)
            self.operations.append(Operation(switched.name, on, f"{title} is on", phase=Phase.ENABLE, foreseen=found))
        self.problems += [text for rule in self.kind.rules for text in rule(desired, changes, self.server)]
        lines = [line for change in changes for line in change.lines(change.after)]
        self.plan.differences.append(Difference(title, None, (*lines, *rights.lines_of(given.grant))))
        return Outcome(name, None, tuple(changes), given.resulting)

    def _cannot_create(self, desired: DesiredObject, name: str, wanted: Mapping[str, Any]) -> bool:
        """Whether there is no way to make it, which then is among the problems."""
        server = self.server.name
        if desired.default:
            self.problems.append(
                f"{desired.path} is about the default connector, but {server} has no connector {name!r}; "
                "name the one that takes mail from other Exchange servers."
            )
            return True
        if self.kind.new is None:
            names = listed(entry.name for entry in self.server.objects.get(self.kind.variable, ()))
            self.problems.append(
                f"{desired.path} is about the {self.kind.title} {name!r}, which {server} hasn't, and none is made from "
                f"here; name one of {names or 'those that there are'}, or take it out."
            )
            return True
        missing = [needed for needed in self.kind.needed if needed not in wanted]
        if missing:
            self.problems.append(
                f"{desired.path}.properties has no {listed(missing)}, which a new {_noun(self.kind)} needs, "
                f"and {server} has no {self.kind.title} {name!r} yet; add what is missing."
            )
        return bool(missing)

    def _change(self, desired: DesiredObject, existing: Object) -> Outcome:
        title = self._title(existing.identity)
        effect = self.kind.services
        if effect and (missing := missing_services(effect, desired, self.server)):
            self.problems.append(missing)
            return Outcome(existing.name, existing, (), existing.rights)
        wanted = births.grown(self.kind, marked(self.kind, desired.properties, existing.raw), existing)
        changes = changes_of(self.kind, desired.path, title, wanted, existing.raw, self.problems)
        self.problems += [text for rule in self.kind.rules for text in rule(desired, changes, self.server)]
        now, last = births.split(self.kind, existing, changes)
        self._set(existing.identity, now, title)
        self._set(existing.identity, last, title, Phase.AFTER_PROOF)
        given = self._rights(desired, existing, changes, existing.identity)
        if changes or given.withdraw or given.grant:
            before = [line for change in changes for line in change.lines(change.before, change.raw)]
            after = [line for change in changes for line in change.lines(change.after)]
            self.plan.differences.append(
                Difference(
                    title,
                    (*before, *rights.lines_of(given.withdraw)),
                    (*after, *rights.lines_of(given.grant)),
                )
            )
        if effect:
            self.operations += plan_services(effect, desired, bool(changes), self.server, self.plan)
        changed = {change.property.name for change in changes}
        self.plan.warnings += [entry.warning for entry in self.kind.effects if changed & set(entry.of)]
        return Outcome(existing.name, existing, tuple(changes), given.resulting)

    def _rights(
        self, desired: DesiredObject, existing: Object | None, changes: Sequence[Change], identity: str
    ) -> rights.Rights:
        if not self.kind.parts:
            return rights.Rights()
        found = rights.change_rights(desired, existing, changes, self.server, self.problems)
        self.operations += rights.withdrawal(found.withdraw, identity) + rights.grant(found.grant, identity)
        return found

    def _set(self, identity: str, changes: Sequence[Change], title: str, phase: Phase = Phase.MAKE) -> None:
        if not changes:
            return
        by = {self.kind.set.by: identity} if self.kind.set.by else {}
        names = listed(sorted(change.property.name for change in changes))
        what = f"{title} have {names}" if self.kind.plural else f"{title} has its {names}"
        self._do(self.kind.set, {**by, **parameters_of(changes), "Confirm": False}, what, phase)

    def _do(self, call: Call, parameters: Mapping[str, Any], what: str, phase: Phase = Phase.MAKE) -> None:
        self.operations.append(Operation(call.named(self.server.version), parameters, what, phase=phase))
