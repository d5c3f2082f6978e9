# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is desired and what is there to a list of operations, which is the diff as well."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..declaration.values import Unfit, listed, show
from .accounts import is_of_servers
from .actual import Connector, Server
from .certificates import why_not
from .connections import connections, undecided
from .desired import SERVER_PLACE, Desired, DesiredConnector, DesiredSettings, Refused, check_version, own_bindings
from .direct_return import plan_direct_return
from .kinds import CERTIFICATE_NAME, GROUP_RIGHTS, MAIL_ACCESS, RECEIVE_CONNECTOR, Kind, Property
from .listeners import Listener
from .operations import Difference, Operation, Plan
from .ranges import Binding, Range
from .safety import judge
from .values import RANGES, Name, Wanted, read_name

MARK = "[postern.mail_gateway]"
"""In the comment of each connector that was made from here, so that it can go when it leaves the variables."""

_ADDED = re.compile(r" ?\[postern\.mail_gateway added (?P<ranges>[^\]]*)\]")
"""In the comment of a connector of others: the ranges that were added to it from here, so that they can go as well."""

REQUESTER = "HealthAPI"
"""In whose name a component is activated."""

CLIENT_PORTS = frozenset(("110", "143", "993", "995"))
_CLIENT_PROGRAMS = ("microsoft.exchange.imap4", "microsoft.exchange.pop3")


# --- properties ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """A property that is to have another value."""

    property: Property
    before: Any
    after: Any
    raw: Any

    def lines(self, exact: Any, raw: Any = None) -> list[str]:
        """The property for people, an item of several a line."""
        name = self.property.name
        if isinstance(exact, Unread):
            return [f"{name}: {show(raw)}"]
        items = self.property.type.lines(exact)
        return [f"{name}: {item}" for item in items] or [f"{name}: none"]


@dataclass(frozen=True)
class Unread:
    """Stands for a value on the server that isn't of the type that it should be."""

    text: str


def actual_value(entry: Property, raw: Any) -> Any:
    """The exact form of a server's value."""
    try:
        return entry.type.read_shown(raw)
    except Unfit:
        return Unread(str(raw))


def changes_of(
    kind: Kind, path: str, title: str, wanted: Mapping[str, Wanted], raw: Mapping[str, Any], problems: list[str]
) -> list[Change]:
    """The wanted properties that the object hasn't."""
    found = []
    for name, desired in wanted.items():
        entry = kind.known(name)
        assert entry is not None
        if name not in raw:
            problems.append(f"{path}.properties.{name} isn't among the properties of the {title}; take it out.")
            continue
        before = actual_value(entry, raw[name])
        if isinstance(before, Unread) and desired.partial:
            text = "which isn't understood, so that nothing can be added or removed; give the whole list"
            problems.append(f"{name} of the {title} is {show(before.text)}, {text}.")
            continue
        after = desired.resulting(before)
        if before != after and not (before in (None, frozenset()) and after in (None, frozenset())):
            found.append(Change(entry, before, after, raw[name]))
    return found


def _parameters(changes: Iterable[Change]) -> dict[str, Any]:
    """The values as parameters; null empties a property of several items."""
    return {change.property.name: _sent(change.property, change.after) for change in changes}


def _sent(entry: Property, exact: Any) -> Any:
    written = entry.type.write(exact)
    return None if written == [] else written


# --- receive connectors ----------------------------------------------------------------------------------------------


def default_name(server: Server) -> str:
    """The name that setup gives to the connector by which other servers reach this one."""
    return f"Default {server.name}" if server.version == "2010" else f"Default Frontend {server.name}"


def _name_of(desired: DesiredConnector, server: Server) -> str:
    return default_name(server) if desired.default else desired.name.replace(SERVER_PLACE, server.name)


def _comment_of(connector: Connector) -> str:
    return str(connector.raw.get("Comment") or "")


def _is_ours(connector: Connector) -> bool:
    return MARK in _comment_of(connector)


def _wanted_of(desired: DesiredConnector, existing: Connector | None) -> dict[str, Wanted]:
    """The wanted properties, with what is to be known of the connector in its comment."""
    if existing is None or _is_ours(existing):
        return {**desired.properties, "Comment": _comment(desired, "", MARK)}
    return _remembering_ranges(desired, existing)


def _comment(desired: DesiredConnector, text: str, ours: str) -> Wanted:
    """The comment: what the variables say, or else this text, and behind it what is ours."""
    entry = RECEIVE_CONNECTOR.known("Comment")
    assert entry is not None
    if "Comment" in desired.properties:
        text = desired.properties["Comment"].value or ""
    return Wanted(entry.type, " ".join(filter(None, (text, ours))))


def _added_ranges(connector: Connector) -> frozenset[Range]:
    """The ranges that were added from here to a connector of others."""
    found = _ADDED.search(_comment_of(connector))
    try:
        return RANGES.read_many(found["ranges"].split(", ")) if found else frozenset()
    except Unfit:
        return frozenset()  # somebody wrote something else there


def _remembering_ranges(desired: DesiredConnector, existing: Connector) -> dict[str, Wanted]:
    """The wanted properties of a connector of others, to which ranges may be added.

    Those that were added from here and aren't wanted any more go. Those that were there before are others', even where
    they are wanted.
    """
    wanted = dict(desired.properties)
    ranges = wanted.get("RemoteIPRanges", Wanted(RANGES, partial=True))
    added = _added_ranges(existing)
    if not ranges.partial or not (added or ranges.add):
        return wanted
    entry = RECEIVE_CONNECTOR.known("RemoteIPRanges")
    assert entry is not None
    actual = actual_value(entry, existing.raw.get("RemoteIPRanges"))
    if isinstance(actual, Unread):
        return wanted
    without_stale = replace(ranges, remove=ranges.remove | (added - ranges.add))
    if without_stale.resulting(actual):  # a connector without any range is refused
        ranges = without_stale
    wanted["RemoteIPRanges"] = ranges
    kept = ranges.resulting(actual) & (added | (ranges.add - actual))
    record = f"[postern.mail_gateway added {', '.join(str(item) for item in sorted(kept))}]" if kept else ""
    comment = _comment_of(existing)
    if record or _ADDED.search(comment):
        wanted["Comment"] = _comment(desired, _ADDED.sub("", comment), record)
    return wanted


class _Connectors:
    """Plans the receive connectors, and keeps the set that results."""

    def __init__(self, desired: Desired, server: Server, plan: Plan, problems: list[str]) -> None:
        self.server, self.plan, self.problems = server, plan, problems
        self.actual = {connector.name.lower(): connector for connector in server.connectors}
        self.resulting = {name: listener_of(connector) for name, connector in self.actual.items()}
        self.desired = {_name_of(one, server).lower(): one for one in desired.connectors}
        if len(self.desired) < len(desired.connectors):
            problems.append(
                f"Two entries of {RECEIVE_CONNECTOR.variable} mean one connector of {server.name}; make one of them."
            )

    def run(self) -> None:
        """Removals first, since they may free a binding and range that another connector is to have."""
        for name, connector in self.actual.items():
            desired = self.desired.get(name)
            if (desired is None and _is_ours(connector)) or (desired is not None and not desired.present):
                self._remove(connector)
            elif desired is None and _added_ranges(connector):
                nothing = DesiredConnector(
                    RECEIVE_CONNECTOR.variable, name, default=False, present=True, properties={}, rights=None
                )
                self._change(nothing, connector)
        for name, desired in self.desired.items():
            if desired.present and name not in self.actual:
                self._create(desired)
            elif desired.present:
                self._change(desired, self.actual[name])

    def _remove(self, connector: Connector) -> None:
        title = f"receive connector {connector.identity}"
        changes = [
            Change(entry, actual_value(entry, connector.raw[entry.name]), None, connector.raw[entry.name])
            for entry in RECEIVE_CONNECTOR.properties
            if entry.name in ("Bindings", "RemoteIPRanges", "AuthMechanism", "PermissionGroups")
            and entry.name in connector.raw
        ]
        self.plan.operations.append(
            Operation(RECEIVE_CONNECTOR.remove, {"Identity": connector.identity, "Confirm": False}, f"{title} is gone")
        )
        lines = tuple(line for change in changes for line in change.lines(change.before, change.raw))
        self.plan.differences.append(Difference(title, lines, None))
        del self.resulting[connector.name.lower()]

    def _create(self, desired: DesiredConnector) -> None:
        name = _name_of(desired, self.server)
        identity = f"{self.server.name}\\{name}"
        title = f"receive connector {identity}"
        if desired.default:
            self.problems.append(
                f"{desired.path} is about the default connector, but {self.server.name} has no connector {name!r}; "
                "name the one that takes mail from other Exchange servers."
            )
            return
        wanted = _wanted_of(desired, None)
        missing = [needed for needed in ("Bindings", "RemoteIPRanges") if needed not in wanted]
        if missing:
            self.problems.append(
                f"{desired.path}.properties has no {listed(missing)}, which a new connector needs, and "
                f"{self.server.name} has no receive connector {name!r} yet; add what is missing."
            )
            return
        raw = new_connector(self.server)
        changes = []
        for property_name, desired_value in wanted.items():
            entry = RECEIVE_CONNECTOR.known(property_name)
            assert entry is not None
            changes.append(Change(entry, None, desired_value.resulting(frozenset()), None))
        at_once = {
            "Name": name,
            "Server": self.server.name,
            "Usage": "Custom",
            **_parameters(change for change in changes if change.property.new),
        }
        if "TransportRole" not in at_once and self.server.version != "2010":
            at_once["TransportRole"] = raw["TransportRole"]
        self.plan.operations.append(
            Operation(RECEIVE_CONNECTOR.new, {**at_once, "Confirm": False}, f"{title} is created")
        )
        later = _parameters(change for change in changes if not change.property.new)
        if later:
            self._set(identity, later, title)
        lines = [line for change in changes for line in change.lines(change.after)]
        rights = _rights(self._accounts_of(desired), {}, _groups(changes, raw))
        granted = rights.grant - _group_pairs(_groups(changes, raw))
        self.plan.operations += _permissions("Add-ADPermission", "is granted", granted, identity)
        self.plan.differences.append(Difference(title, None, (*lines, *_right_lines(granted))))
        self.resulting[name.lower()] = _listener(name, _Judged(raw, {}).changed(changes), rights.resulting)

    def _change(self, desired: DesiredConnector, connector: Connector) -> None:
        title = f"receive connector {connector.identity}"
        wanted = _wanted_of(desired, connector)
        changes = changes_of(RECEIVE_CONNECTOR, desired.path, title, wanted, connector.raw, self.problems)
        judged = _judged(connector.raw)
        after = judged.changed(changes)
        groups = _flag_set(judged.values["PermissionGroups"]) | _flag_set(after.values["PermissionGroups"])
        rights = _rights(self._accounts_of(desired), connector.rights, groups)
        # Rights go before the connector changes and come after it, so that wherever this ends nobody has rights and
        # ranges that weren't meant for each other.
        self.plan.operations += _permissions(
            "Remove-ADPermission", "isn't granted any more", rights.withdraw, connector.identity
        )
        if changes:
            self._set(connector.identity, _parameters(changes), title)
        self.plan.operations += _permissions("Add-ADPermission", "is granted", rights.grant, connector.identity)
        before = [line for change in changes for line in change.lines(change.before, change.raw)]
        lines = [line for change in changes for line in change.lines(change.after)]
        if changes or rights.withdraw or rights.grant:
            self.plan.differences.append(
                Difference(title, (*before, *_right_lines(rights.withdraw)), (*lines, *_right_lines(rights.grant)))
            )
        self.resulting[connector.name.lower()] = _listener(connector.name, after, rights.resulting, connector)

    def _accounts_of(self, desired: DesiredConnector) -> Mapping[Name, frozenset[Name]] | None:
        """The desired rights, each with the account that the server knows."""
        if desired.rights is None:
            return None
        found: dict[Name, frozenset[Name]] = {}
        for user, rights in desired.rights.items():
            if self.server.accounts.lacks(user):
                self.problems.append(
                    f"{desired.path}.extended_rights is for {show(user.spelling)}, but {self.server.name} knows no "
                    "such account; give it as DOMAIN\\name, or its SID."
                )
            account = self.server.accounts.of(user)
            found[account] = found.get(account, frozenset()) | rights
        return found

    def _set(self, identity: str, parameters: Mapping[str, Any], title: str) -> None:
        what = f"{title} has its {listed(sorted(parameters))}"
        self.plan.operations.append(
            Operation(RECEIVE_CONNECTOR.set, {"Identity": identity, **parameters, "Confirm": False}, what)
        )


Pairs = frozenset[tuple[Name, Name]]
"""Rights, each with the account that has it."""


@dataclass(frozen=True)
class Rights:
    """The rights on a connector that are to go and to come, and those that result."""

    withdraw: Pairs
    grant: Pairs
    resulting: Mapping[Name, frozenset[Name]]


def _rights(
    desired: Mapping[Name, frozenset[Name]] | None, actual: Mapping[Name, frozenset[Name]], groups: frozenset[str]
) -> Rights:
    """What accounts may do beyond their groups. Rights of a group are the group's own business."""
    if desired is None:
        return Rights(frozenset(), frozenset(), actual)
    has = frozenset((user, right) for user, rights in actual.items() for right in rights)
    wanted = frozenset((user, right) for user, rights in desired.items() for right in rights)
    extra = frozenset(
        (user, right)
        for user, right in has - wanted - _group_pairs(groups)
        # What the groups of servers give differs from version to version; it is nobody's to take.
        if user in desired or not is_of_servers(user.spelling)
    )
    resulting: dict[Name, frozenset[Name]] = {}
    for user, right in (has - extra) | wanted:
        resulting[user] = resulting.get(user, frozenset()) | {right}
    return Rights(extra, wanted - has, resulting)


def _permissions(command: str, verb: str, pairs: Pairs, identity: str) -> list[Operation]:
    """One operation for each account."""
    users: dict[Name, list[Name]] = {}
    for user, right in sorted(pairs, key=_by_spelling):
        users.setdefault(user, []).append(right)
    return [
        Operation(
            command,
            {"User": user.spelling, "ExtendedRights": [right.spelling for right in rights], "Confirm": False},
            f"{listed([right.spelling for right in rights])} {verb} to {user.spelling} on receive connector {identity}",
            connector=identity,
        )
        for user, rights in users.items()
    ]


def _right_lines(pairs: Pairs) -> list[str]:
    return [f"right: {right.spelling} for {user.spelling}" for user, right in sorted(pairs, key=_by_spelling)]


def _by_spelling(pair: tuple[Name, Name]) -> tuple[str, str]:
    return pair[0].spelling.lower(), pair[1].key


def _group_pairs(groups: frozenset[str]) -> Pairs:
    return frozenset(
        (Name(holder.lower()), read_name(right))
        for group, (holder, rights) in GROUP_RIGHTS.items()
        if group in groups
        for right in rights
    )


def _flag_set(value: Any) -> frozenset[Any]:
    return value if isinstance(value, frozenset) else frozenset()


def _groups(changes: Iterable[Change], raw: Mapping[str, Any]) -> frozenset[str]:
    for change in changes:
        if change.property.name == "PermissionGroups":
            return _flag_set(change.after)
    return _flag_set(raw["PermissionGroups"])


def new_connector(server: Server) -> dict[str, Any]:
    """What New-ReceiveConnector -Usage Custom gives a connector that nobody said otherwise about, in exact form."""
    return {
        "Enabled": True,
        "TransportRole": None if server.version == "2010" else "FrontendTransport",
        "AuthMechanism": frozenset(("Tls",)),
        "PermissionGroups": frozenset(),
        "Fqdn": read_name(server.fqdn),
        "Banner": None,
    }


_RELAY_BY = ("RemoteIPRanges", "Bindings")


@dataclass(frozen=True)
class _Judged:
    """The properties by which safety is judged, as far as they are understood, and what of each isn't."""

    values: Mapping[str, Any]
    unread: Mapping[str, str]

    def changed(self, changes: Iterable[Change]) -> _Judged:
        """With the values that these properties get."""
        after = {change.property.name: change.after for change in changes}
        return _Judged(
            {**self.values, **after}, {name: text for name, text in self.unread.items() if name not in after}
        )


def _judged(raw: Mapping[str, Any]) -> _Judged:
    """Each item by itself: one that isn't understood hides no other."""
    values: dict[str, Any] = {}
    unread: dict[str, str] = {}
    for name in ("Enabled", "TransportRole", "AuthMechanism", "PermissionGroups", "Fqdn", "Banner", *_RELAY_BY):
        entry = RECEIVE_CONNECTOR.known(name)
        assert entry is not None
        if not entry.type.many:
            value = actual_value(entry, raw.get(name))
            values[name] = None if isinstance(value, Unread) else value
            continue
        values[name], strange = entry.type.read_known(raw.get(name))
        if strange:
            unread[name] = f"its {name} holds {listed(map(show, strange))}, which isn't understood"
    return _Judged(values, unread)


def listener_of(connector: Connector) -> Listener:
    """A connector that is there, as safety looks at it."""
    return _listener(connector.name, _judged(connector.raw), connector.rights, connector)


def _listener(
    name: str, judged: _Judged, rights: Mapping[Name, frozenset[Name]], existing: Connector | None = None
) -> Listener:
    exact = judged.values
    fqdn, banner = exact["Fqdn"], exact["Banner"]
    given = {user.key: frozenset(right.key for right in names) for user, names in rights.items()}
    for user, keys in (existing.standing if existing else {}).items():
        given[user] = given.get(user, frozenset()) | keys
    return Listener(
        name=name,
        # Whatever isn't plainly off is taken to be on.
        enabled=exact["Enabled"] is not False,
        role=exact["TransportRole"] or "",
        bindings=_flag_set(exact["Bindings"]),
        ranges=_flag_set(exact["RemoteIPRanges"]),
        mechanisms=_flag_set(exact["AuthMechanism"]),
        groups=_flag_set(exact["PermissionGroups"]),
        fqdn=fqdn.spelling if isinstance(fqdn, Name) else "",
        banner=banner if isinstance(banner, str) else "",
        rights=given,
        doubts=(*judged.unread.values(), *(existing.doubts if existing else ())),
        unbounded="RemoteIPRanges" in judged.unread,
        standing=existing.standing if existing else {},
    )


# --- settings, services, components ----------------------------------------------------------------------------------


def _settings(desired: DesiredSettings, server: Server, plan: Plan, problems: list[str]) -> None:
    kind = desired.kind
    title = f"{kind.title} of {server.name}"
    changes = changes_of(kind, desired.path, title, desired.properties, server.settings[kind.variable], problems)
    for change in changes:
        if change.property.name == CERTIFICATE_NAME and change.after is not None:
            name = change.after.spelling
            if why := why_not(name, server.certificates):
                text = f"{server.name} {why}; import it first, since {kind.title} with that name would offer no TLS"
                problems.append(f"{desired.path}.properties.{CERTIFICATE_NAME} is {show(name)}, but {text}.")
    services = [server.services.get(name.lower()) for name in kind.services] if kind in MAIL_ACCESS else []
    missing = [name for name, entry in zip(kind.services, services, strict=False) if entry is None]
    if missing:
        problems.append(
            f"{server.name} has no service {listed(missing)}, so that {desired.path} can't be applied; take it out."
        )
        return
    found = [entry for entry in services if entry is not None]
    running = [str(entry["Name"]) for entry in found if str(entry["Status"]).lower() == "running"]
    if changes:
        # Stopped, set, started: a service that reads its settings at its start is never left running with the old ones,
        # wherever the run is cut short, because a service that should run and doesn't is started by the next run.
        plan.operations += [Operation("Stop-Service", {"Name": name}, f"service {name} is stopped") for name in running]
        identity = {kind.set_by: server.name}
        plan.operations.append(
            Operation(
                kind.set,
                {**identity, **_parameters(changes), "Confirm": False},
                f"{title} have {listed(sorted(change.property.name for change in changes))}"
                if kind in MAIL_ACCESS
                else f"{title} has its {listed(sorted(change.property.name for change in changes))}",
            )
        )
        before = tuple(line for change in changes for line in change.lines(change.before, change.raw))
        plan.differences.append(
            Difference(title, before, tuple(line for change in changes for line in change.lines(change.after)))
        )
    # A service whose component is inactive would end at once, or serve nobody.
    offline = desired.enabled is True and kind in MAIL_ACCESS and not _component(kind, server, plan)
    for entry in reversed(found):  # the back end first: the front end hands its clients on to it
        _service(desired, entry, bool(changes), plan, offline)


def _service(desired: DesiredSettings, entry: Mapping[str, Any], stopped: bool, plan: Plan, offline: bool) -> None:
    """One service. ``stopped``: for a change, which is in the plan already; ``offline``: what is stopped stays so."""
    name = str(entry["Name"])
    start_type, status = str(entry["StartType"]), str(entry["Status"])
    automatic, running = start_type.lower() == "automatic", status.lower() == "running"
    before, after = [], []
    if desired.enabled is True and not automatic:
        plan.operations.append(
            Operation("Set-Service", {"Name": name, "StartupType": "Automatic"}, f"service {name} starts by itself")
        )
        before.append(f"start: {start_type}")
        after.append("start: Automatic")
    wanted = running if desired.enabled is None or offline else desired.enabled
    if wanted and (stopped or not running):
        plan.operations.append(Operation("Start-Service", {"Name": name}, f"service {name} runs", always=True))
        if not running:
            before.append(f"status: {status}")
            after.append("status: Running")
        else:
            before.append("settings: old")
            after.append("settings: new (restarted)")
    if desired.enabled is False:
        if running and not stopped:
            plan.operations.append(Operation("Stop-Service", {"Name": name}, f"service {name} is stopped"))
        if running:
            before.append(f"status: {status}")
            after.append("status: Stopped")
        if automatic:
            plan.operations.append(
                Operation("Set-Service", {"Name": name, "StartupType": "Manual"}, f"service {name} waits for a start")
            )
            before.append(f"start: {start_type}")
            after.append("start: Manual")
    if after:
        plan.differences.append(Difference(f"service {name}", tuple(before), tuple(after)))


def _holders(entry: Mapping[str, Any]) -> list[str]:
    """The requesters, other than the role's own, who hold a component in another state than active."""
    lines = entry.get("LocalStates") or ()
    states = dict(re.findall(r"Requestor:(\w+); State:(\w+)", "\n".join(map(str, lines))))
    return sorted(who for who, state in states.items() if state.lower() != "active" and who != REQUESTER)


def _component(kind: Kind, server: Server, plan: Plan) -> bool:
    """Activate the component; whether it is active afterwards."""
    entry = server.components.get(kind.component.lower())
    if entry is not None and str(entry.get("ServerWideOfflineIsOffline")).lower() == "true":
        plan.warnings.append(
            f"{server.name} is in maintenance (ServerWideOffline), so that {kind.component} stays {entry['State']}, "
            f"and {listed(kind.services)} aren't started."
        )
        return False
    if entry is None or str(entry["State"]).lower() == "active":
        return True
    holders = _holders(entry)
    if holders:
        # A component is active only if all who asked for a state say so, and each takes back its own word alone.
        plan.warnings.append(
            f"{kind.component} of {server.name} is held {entry['State']} by {listed(holders)}, so that "
            f"{listed(kind.services)} aren't started; activate it with Set-ServerComponentState -Requester "
            f"{holders[0]}."
        )
        return False
    parameters = {
        "Identity": server.name,
        "Component": kind.component,
        "State": "Active",
        "Requester": REQUESTER,
        "Confirm": False,
    }
    plan.operations.append(
        Operation("Set-ServerComponentState", parameters, f"component {kind.component} of {server.name} is active")
    )
    plan.differences.append(
        Difference(f"component {kind.component}", (f"state: {entry['State']}",), ("state: Active",))
    )
    return True


# --- Windows firewall ------------------------------------------------------------------------------------------------


def client_rules(server: Server, ports: frozenset[int]) -> list[Mapping[str, Any]]:
    """The inbound rules that are for these ports of clients alone, by port and program: names are localised."""
    wanted = {str(port) for port in ports}
    found = []
    for rule in server.firewall:
        local = rule.get("LocalPort")
        mine = {str(port) for port in (local if isinstance(local, list) else [local])}
        program = str(rule.get("Program") or "Any").lower()
        name = program.replace("/", "\\").rpartition("\\")[2]
        if (
            str(rule.get("Direction")).lower() == "inbound"
            and mine & wanted
            and mine <= CLIENT_PORTS
            and (program in ("any", "system") or name.startswith(_CLIENT_PROGRAMS))
        ):
            found.append(rule)
    return sorted(found, key=lambda rule: str(rule["Name"]))


def _edge_traversal(desired: Desired, server: Server, plan: Plan, problems: list[str]) -> None:
    rules = client_rules(server, desired.edge_traversal_ports)
    if desired.edge_traversal_ports and not rules:
        ports = listed(map(str, sorted(desired.edge_traversal_ports)))
        plan.warnings.append(f"{server.name} has no firewall rule of its own for the client ports {ports}.")
    for rule in rules:
        policy = str(rule["EdgeTraversalPolicy"])
        if policy.lower() == "allow":
            continue
        title = f"firewall rule {rule['Name']} ({rule['DisplayName']})"
        if str(rule.get("PolicyStoreSourceType")).lower() == "grouppolicy":
            problems.append(
                f"The {title} of {server.name} comes from group policy, where alone its edge traversal can be allowed; "
                "change it there, or empty exchange_edge_traversal_ports."
            )
            continue
        plan.operations.append(
            Operation(
                "Set-NetFirewallRule",
                {"Name": rule["Name"], "EdgeTraversalPolicy": "Allow"},
                f"{title} allows edge traversal",
            )
        )
        plan.differences.append(Difference(title, (f"edge traversal: {policy}",), ("edge traversal: Allow",)))


# --- local addresses -------------------------------------------------------------------------------------------------


def _own_addresses(desired: Desired, server: Server, problems: list[str]) -> None:
    """A connector that listens on an address that the server hasn't is one that Exchange can't start."""
    if server.addresses is None:
        return
    coming = desired.direct_return.addresses if desired.direct_return and desired.direct_return.present else ()
    there = server.addresses | {(4, int(address)) for address in coming}
    problems += [
        f"{connector.path}.properties.Bindings has {binding}, but {server.name} has no such address; give one of its "
        f"own, or {Binding(binding.version, 0, binding.port)} for all of them."
        for connector in desired.connectors
        for binding in own_bindings(connector)
        if (binding.version, binding.address) not in there
    ]


# --- the whole -------------------------------------------------------------------------------------------------------


def make_plan(desired: Desired, server: Server) -> Plan:
    """What is to be done on the server.

    :raises Refused: with a sentence for everything that can't or mustn't be done.
    """
    problems = check_version(desired, server.version)
    if problems:
        raise Refused(problems)
    plan = Plan()
    connectors = _Connectors(desired, server, plan, problems)
    connectors.run()
    for settings in desired.settings:
        _settings(settings, server, plan, problems)
    _edge_traversal(desired, server, plan, problems)
    _own_addresses(desired, server, problems)
    resulting = list(connectors.resulting.values())
    if desired.direct_return is not None:
        plan_direct_return(desired.direct_return, server, desired.neighbourhood, resulting, plan, problems)
    named = {_name_of(one, server).lower(): one.path for one in desired.connectors}
    refusals, cautions = judge(
        before=[listener_of(connector) for connector in server.connectors],
        after=resulting,
        neighbourhood=desired.neighbourhood,
        server=(server.name, server.fqdn),
        declared=named,
    )
    problems += refusals
    if problems:
        raise Refused(dict.fromkeys(problems))
    plan.warnings += cautions
    plan.warnings += [f"{phrase}." for phrase in undecided(resulting, desired.neighbourhood)]
    plan.connections = connections(resulting, desired.neighbourhood)
    plan.warnings += [
        f"{row['address']}, which only relay clients use, is taken by the receive connector "
        f"{server.name}\\{row['connector']}, which doesn't relay; give the relay connector this very address."
        for row in plan.connections
        if row["who"] == "relay clients" and row["connector"] and not row["relay"]
    ]
    if server.pressure and server.pressure.lower() not in ("low", "normal"):
        plan.warnings.append(
            f"{server.name} is under back pressure ({server.pressure}): it may refuse mail until its resources recover."
        )
    return plan
