# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The far end of a management session: what Exchange's and Windows' cmdlets do to the servers' state.

PowerShell holds one such process (`python3 -m standin manage`) and talks to it in lines of CLIXML, one request and one
answer at a time.
"""

from __future__ import annotations

import binascii
import fnmatch
import json
import os
import re
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from . import bounds, clixml, controllers, defaults, languages, published, quantities, state, store
from . import values as v
from .clixml import Item, Scalar, Thing
from .journal import Journal

Parameters = dict[str, Any]
_TASKS = "Microsoft.Exchange.Management."
_BORN = datetime(2026, 1, 5, 8, 30, tzinfo=UTC)


class Refusal(Exception):
    """A cmdlet's error, as PowerShell shows one."""

    def __init__(self, message: str, kind: str, category: str = "NotSpecified", identifier: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.category = category
        self.identifier = identifier


class Died(Exception):
    """The process is to end in the middle, as a fault asks for."""


@dataclass
class Server:
    """A server of the organisation: its folder, and its state as it was read last."""

    directory: Path
    document: state.Document
    controller: str = controllers.CONTROLLERS[0]

    @property
    def name(self) -> str:
        return str(self.document["ExchangeServer"]["Name"])

    @property
    def fqdn(self) -> str:
        return str(self.document["ExchangeServer"]["Fqdn"])

    @property
    def version(self) -> str:
        return published.exchange_version(str(self.document["ExchangeServer"].get("AdminDisplayVersion", "")))

    @property
    def language(self) -> str:
        return languages.of_server(self.document)

    @property
    def domain(self) -> str:
        return self.fqdn.partition(".")[2]

    def called(self, name: str) -> bool:
        return name.lower() in (self.name.lower(), self.fqdn.lower())

    def items(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.document.setdefault(kind, [])
        return found


@dataclass
class Session:
    """A way in: `remote`, `shell` (the management shell) or `snapin`."""

    number: int
    way: str
    server: str
    controller: str = controllers.CONTROLLERS[0]
    identity: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass
class Call:
    """One cmdlet as it was called, and what it has to say."""

    management: Management
    name: str
    parameters: Parameters
    home: Server
    session: Session | None
    warnings: list[str] = field(default_factory=list)
    changed: bool = False

    def get(self, name: str, default: Any = None) -> Any:
        return self.parameters.get(name, default)

    def has(self, name: str) -> bool:
        return name in self.parameters

    def warn(self, text: str) -> None:
        self.warnings.append(text)


Cmdlet = Callable[[Call], list[Any]]
CMDLETS: dict[str, Cmdlet] = {}


def cmdlet(*names: str) -> Callable[[Cmdlet], Cmdlet]:
    def note(function: Cmdlet) -> Cmdlet:
        for name in names:
            CMDLETS[name] = function
        return function

    return note


def identity_of(value: Any) -> str:
    """What an Identity parameter means: a text, or an object from the pipeline."""
    if isinstance(value, Thing):
        for name in ("Identity", "Guid", "Name"):
            if value.properties.get(name):
                return str(value.properties[name])
    return "" if value is None else str(value)


class Management:
    """The cmdlets, on a server and its organisation.

    directory: the server's own folder; organisation: the folder that holds one folder for each server, and stands for
    Active Directory. Without one the server is alone.
    """

    def __init__(self, directory: Path, organisation: Path | None = None) -> None:
        self.directory = directory
        self.organisation = organisation
        self.sessions: dict[int, Session] = {}
        self._opened = 0
        self._calls: list[str] = []
        self._journal: Journal | None = None
        # Whom the cmdlet that runs asks, and tells.
        self.controller = controllers.CONTROLLERS[0]

    # The organisation

    def home(self) -> Server:
        return self._read(self.directory)

    def _read(self, folder: Path) -> Server:
        """A server as the domain controller knows it."""
        return Server(folder, controllers.seen(folder, store.read(folder), self.controller), self.controller)

    def servers(self) -> list[Server]:
        """Every server, this one first."""
        home = self.home()
        found = [home]
        for path in sorted(self.organisation.glob("*/state.json")) if self.organisation else []:
            try:
                other = self._read(path.parent)
            except store.StoreError:
                continue  # a server that is being made
            if other.document.get("ExchangeServer") and not other.called(home.name):
                found.append(other)
        return found

    def server(self, name: str) -> Server:
        """The server of that name. Raises Refusal as Exchange words it."""
        for found in self.servers():
            if found.called(name):
                return found
        raise not_found(name, self.home())

    @contextmanager
    def editing(self, server: Server) -> Iterator[Server]:
        """The server's state under its lock, written and in force afterwards if it was changed."""
        with store.locked(server.directory):
            now = Server(server.directory, store.read(server.directory), self.controller)
            before = repr(now.document)
            lags = controllers.lag(now.document) or state.lag_of_transport(now.document)
            known = json.loads(json.dumps(now.document)) if lags else {}
            yield now
            if repr(now.document) != before:
                _serve_later(now.document, known)
                try:
                    store.replace(now.directory, now.document)
                    controllers.written(now.directory, known, self.controller)
                except (state.StateError, store.StoreError) as problem:
                    raise Refusal(str(problem), "TransientException", "WriteError") from None

    # Requests

    def serve(self, requests: TextIO, answers: TextIO) -> None:
        """Answer until PowerShell is gone."""
        for line in requests:
            try:
                answer = self.answer(clixml.read(line))
            except Died:
                os.kill(os.getppid(), signal.SIGKILL)
                break
            except Refusal as problem:
                answer = {"Error": error(problem, "")}
            except (state.StateError, store.StoreError) as problem:
                answer = {"Error": error(Refusal(str(problem), "InvalidOperationException", "InvalidOperation"), "")}
            answers.write(clixml.write(answer) + "\n")
            answers.flush()
        for session in self.sessions.values():
            self.note("session_lost", way=session.way, target=session.server)

    def note(self, kind: str, **fields: Any) -> None:
        """Write into the journal of what was managed. Several processes may, one after the other."""
        with store.locked(self.directory / "management"):
            journal = Journal(self.directory / "management.jsonl")
            journal.write(kind, **fields)
            journal.close()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        what = request["What"]
        if what == "open":
            return self.open(request["Way"], str(request["Target"]), str(request.get("Authentication") or ""))
        if what == "home":
            return {"Fqdn": self.home().fqdn}
        if what == "close":
            return self.close(int(request["Session"]))
        if what == "account":
            return account(self.home(), str(request["Text"]))
        if what == "windows":
            return {"Module": published.module(published.of_windows())}
        session = self.sessions.get(int(request["Session"])) if request.get("Session") else None
        return self.run(request["Name"], request["Parameters"], session)

    def faults(self) -> dict[str, Any]:
        found: dict[str, Any] = self.home().document.get("Standin", {}).get("Faults") or {}
        return found

    def open(self, way: str, target: str, authentication: str) -> dict[str, Any]:
        """Open a session: its number, and the module with the cmdlets that it offers."""
        home, faults = self.home(), self.faults()
        wanted = home if not target else next((s for s in self.servers() if s.fqdn.lower() == target.lower()), None)
        reason = faults.get("SessionRefused")
        if way == "snapin":
            reason = None
        elif wanted is None:
            reason = (
                "WinRM cannot process the request. The following error with errorcode 0x80090322 occurred while using "
                "Kerberos authentication: An unknown security error occurred."
            )
        elif authentication.lower() not in ("", "default", "kerberos"):
            reason = "Access is denied."
        elif not all(_runs(wanted, service) for service in ("W3SVC", "WinRM")):
            reason = (
                "The client cannot connect to the destination specified in the request. Verify that the service on "
                "the destination is running and is accepting requests."
            )
        if reason:
            self.note("session_refused", way=way, target=target, reason=reason)
            kind = "AccessDenied" if "denied" in str(reason) else "CannotConnect"
            raise Refusal(str(reason), "PSRemotingTransportException", "OpenError", f"{kind},PSSessionOpenFailed")
        assert wanted is not None
        self._opened += 1
        with store.locked(self.directory / "management"):
            controller = controllers.next_controller(self.directory)
        session = Session(self._opened, way, wanted.name, controller)
        self.sessions[session.number] = session
        self.note("session_opened", way=way, target=wanted.name, open=len(self.sessions))
        gone = {name.lower() for name in faults.get("MissingCmdlets", [])} if way != "snapin" else set()
        names = [name for name in published.of_exchange(wanted.version) if name.lower() not in gone]
        missing = faults.get("MissingParameters", {}) if way != "snapin" else {}
        return {
            "Session": session.number,
            "Identity": session.identity,
            "Server": wanted.fqdn,
            "Module": published.module([name for name in names if name in CMDLETS], wanted.version, missing),
        }

    def close(self, number: int) -> dict[str, Any]:
        session = self.sessions.pop(number, None)
        if session is not None:
            self.note("session_closed", way=session.way, target=session.server, open=len(self.sessions))
        return {}

    def run(self, name: str, parameters: Parameters, session: Session | None) -> dict[str, Any]:
        """Run a cmdlet: its objects, warnings, noise, and its error if there is one."""
        facts = {p.lower(): p for p in published.cmdlets().get(name, {"parameters": parameters})["parameters"]}
        given = {facts.get(key.lower(), key): value for key, value in parameters.items()}
        self.controller = session.controller if session else controllers.CONTROLLERS[0]
        home = self.server(session.server) if session else self.home()
        named = str(given.get("DomainController") or "")
        if named:
            self.controller = named.partition(".")[0].lower()
        if self.controller not in controllers.CONTROLLERS:
            return {"Error": error(no_controller(named), name, home), "Objects": [], "Warnings": [], "Noise": []}
        fault = self._fault(name, home)
        home = self.server(session.server) if session else self.home()  # what the fault changed, too
        call = Call(self, name, given, home, session)
        answer: dict[str, Any] = {}
        try:
            if fault.get("Message"):
                raise Refusal(str(fault["Message"]), str(fault.get("Type", "ADTransientException")))
            objects = CMDLETS[name](call)
        except Refusal as problem:
            answer["Error"] = error(problem, name, home if session else None)
            objects = []
        # Noise and deserialized objects: what a session adds on its way.
        if session and session.way != "snapin":
            notes = {"PSComputerName": home.fqdn, "RunspaceId": Scalar("G", session.identity)}
            for item in objects:
                item.notes |= {**notes, "PSShowComputerName": False}
        answer |= {"Objects": objects, "Warnings": call.warnings, "Noise": list(fault.get("Noise", []))}
        self.note(
            "cmdlet",
            name=name,
            parameters={key: _journalled(value) for key, value in given.items()},
            session=session.number if session else None,
            changed=call.changed,
            objects=len(objects),
            error=answer["Error"]["Message"] if "Error" in answer else "",
        )
        return answer

    def _fault(self, name: str, home: Server) -> dict[str, Any]:
        """What the state's faults say about this call.

        Each has a Cmdlet (with wildcards) and counts the calls that match it: After (0) go well, Times (all) then
        don't. What it does: Message, Noise, Die, Change (pairs of path and value, set just before).
        """
        self._calls.append(name)
        result: dict[str, Any] = {}
        for fault in self.faults().get("Cmdlets", []):
            pattern = str(fault.get("Cmdlet", "*")).lower()
            if not fnmatch.fnmatchcase(name.lower(), pattern):
                continue
            turn = sum(fnmatch.fnmatchcase(call.lower(), pattern) for call in self._calls) - int(fault.get("After", 0))
            if turn < 1 or turn > int(fault.get("Times", 10**9)):
                continue
            for path, value in fault.get("Change", []):
                with self.editing(home) as server:
                    state.put(server.document, path, value)
            if fault.get("Die"):
                raise Died
            result |= fault
        return result


def _serve_later(document: state.Document, before: state.Document) -> None:
    """Note what transport goes on with for a while."""
    delay = state.lag_of_transport(document)
    kinds = [kind for kind in (_KIND, "ADPermission") if before and before.get(kind) != document.get(kind)]
    if not delay or not kinds:
        return
    kept = document.setdefault("SettingsInForce", {})
    former = kept.get("Transport") or {}
    if former.get("Until", 0) <= time.time():
        former = {kind: before.get(kind, []) for kind in (_KIND, "ADPermission")}
    kept["Transport"] = {**former, "Until": time.time() + delay}


def _journalled(value: Any) -> Any:
    if isinstance(value, Thing):
        return identity_of(value) or str(value)
    if isinstance(value, list):
        return [_journalled(item) for item in value]
    if isinstance(value, dict):
        return {key: _journalled(item) for key, item in value.items()}
    return value


def error(problem: Refusal, name: str, server: Server | None = None) -> dict[str, Any]:
    """What PowerShell makes an error record of."""
    identifier = problem.identifier.removesuffix(f",{name}")
    if not identifier and server is not None:
        # Exchange's own: where it happened, what kind it is, and a number for the place in its code.
        code = f"{binascii.crc32(f'{name} {problem.kind}'.encode()):X}"
        now = datetime.now(UTC).strftime("%-m/%-d/%Y %-I:%M:%S %p")
        identifier = (
            f"[Server={server.name},RequestId={uuid.uuid4()},TimeStamp={now}] "
            f"[FailureCategory=Cmdlet-{problem.kind}] {code}"
        )
    return {
        "Message": str(problem),
        "Type": problem.kind,
        "Category": problem.category,
        "Identifier": identifier or problem.kind,
    }


def not_found(identity: str, home: Server) -> Refusal:
    where = f"{home.controller}.{home.domain}"
    if home.language == "de":
        return Refusal(
            f"Der Vorgang konnte nicht ausgeführt werden, weil das Objekt '{identity}' nicht auf '{where}' "
            "gefunden wurde.",
            "ManagementObjectNotFoundException",
        )
    return Refusal(
        f"The operation couldn't be performed because object '{identity}' couldn't be found on '{where}'.",
        "ManagementObjectNotFoundException",
    )


def no_controller(name: str) -> Refusal:
    return Refusal(f"The domain controller '{name}' isn't available. Use another one.", "ADTransientException")


def unbound(parameter: str, value: Any, type_name: str, reason: object) -> Refusal:
    """A value that can't be bound to its parameter."""
    return Refusal(
        f"Cannot process argument transformation on parameter '{parameter}'. Cannot convert value \"{value}\" to type "
        f'"{type_name}". Error: "{reason}"',
        "ParameterBindingArgumentTransformationException",
        "InvalidData",
        "ParameterArgumentTransformationError",
    )


def invalid(message: str, kind: str = "DataValidationException") -> Refusal:
    return Refusal(message, kind, "InvalidData")


def _runs(server: Server, service: str) -> bool:
    return any(s["Name"].lower() == service.lower() and s["Status"] == "Running" for s in server.items("Service"))


def converted(call: Call, present: dict[str, Any], leave: tuple[str, ...] = ()) -> dict[str, Any]:
    """The properties that the parameters ask for, with the values that the object will show."""
    facts = published.parameters(call.name, call.home.version)
    result = {}
    other = call.home.document.get("Standin", {}).get("Bounds")
    for name, value in call.parameters.items():
        if name in ("Identity", "Server", "Confirm", "WhatIf", "DomainController", "Verbose", "Debug", *leave):
            continue
        if name not in facts:
            continue  # PowerShell's own, such as ErrorAction
        kind = facts[name]["type"]
        try:
            result[name] = quantities.convert(name, kind, value, present.get(name))
        except quantities.Unfit as problem:
            raise unbound(name, _journalled(value), quantities.full_type(kind), problem) from None
        if problem := bounds.violated(call.name, name, result[name], other):
            raise invalid(problem)
    return result


# Objects -----------------------------------------------------------------------------------------


def typed(kind: str, value: Any) -> Any:
    """A property's value as a session sends it."""
    if value is None:
        return None
    if kind == "Guid":
        return Scalar("G", str(value))
    if kind == "DateTime":
        return Scalar("DT", str(value))
    if "Valued" in kind or kind.endswith("[]") or kind.startswith("List<"):
        return list(value) if isinstance(value, list) else [value]
    if kind in ("Boolean", "Int32", "String"):
        return value
    return ", ".join(str(part) for part in value) if isinstance(value, list) else str(value)


def filled(value: Any, server: Server) -> Any:
    """A published value with the placeholders of names replaced by the server's own."""
    if isinstance(value, list):
        return [filled(item, server) for item in value]
    if not isinstance(value, str) or "{" not in value:
        return value
    organisation = server.domain.partition(".")[0].capitalize()
    for mark, text in (
        ("{SERVER}", server.name),
        ("{FQDN}", server.fqdn),
        ("{DOMAIN}", server.domain),
        ("{DC}", f"{server.controller}.{server.domain}"),
        ("{DN}", ",".join(f"DC={part}" for part in server.domain.split("."))),
        ("{ORGANIZATION}", organisation),
    ):
        value = value.replace(mark, text)
    return value


def presented(kind: str, raw: dict[str, Any], server: Server, identity: str) -> Item:
    """An object as its Get- cmdlet shows it: every property that a real one has, the state's values in them."""
    shape = published.shapes()[kind]
    defaults = _defaults(kind)
    properties = {}
    for name, (type_name, real) in shape["properties"].items():
        value = filled(real, server)
        if name in raw:
            value = raw[name]
        elif name in defaults:
            value = defaults[name]
        elif name in ("Identity", "Id"):
            value = identity
        elif name == "Guid":
            value = guid(kind, identity)
        elif name == "DistinguishedName":
            value = re.sub(r"^CN=[^,]*", f"CN={raw.get('Name', identity)}", str(value))
        elif name.startswith("When"):
            value = _BORN.strftime("%Y-%m-%dT%H:%M:%S") + ("Z" if name.endswith("UTC") else "+00:00")
        properties[name] = typed(type_name, value)
        if isinstance(properties[name], str):
            properties[name] = languages.number_text(properties[name], server.language)
    for name, value in raw.items():
        properties.setdefault(name, value)
    return Item(shape["type"], properties, identity)


def _defaults(kind: str) -> dict[str, Any]:
    """Exchange's texts for what the state leaves out, as the servers understand it."""
    known = state.KINDS.get(kind)
    if known is None:
        return {}
    return {name: value for name, (_, value) in known.acted.items() if value is not None}


def guid(kind: str, identity: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}/{identity}".lower()))


# Receive connectors ------------------------------------------------------------------------------

_KIND = "ReceiveConnector"
ANONYMOUS = "NT AUTHORITY\\ANONYMOUS LOGON"
AUTHENTICATED = "NT AUTHORITY\\Authenticated Users"
PARTNERS = "MS Exchange\\Partner Servers"
_SUBMIT = "ms-Exch-SMTP-Submit"
_RELAY = "ms-Exch-SMTP-Accept-Any-Recipient"
_SENDER = "ms-Exch-SMTP-Accept-Any-Sender"
_DOMAIN_SENDER = "ms-Exch-SMTP-Accept-Authoritative-Domain-Sender"
_ROUTING = "ms-Exch-Accept-Headers-Routing"
_SPAM = "ms-Exch-Bypass-Anti-Spam"
_FLAG = "ms-Exch-SMTP-Accept-Authentication-Flag"
_SERVERS = [
    *(
        _SPAM,
        "ms-Exch-Bypass-Message-Size-Limit",
        "ms-Exch-Accept-Headers-Forest",
        "ms-Exch-Accept-Headers-Organization",
    ),
    *(_ROUTING, "ms-Exch-SMTP-Accept-Exch50", _RELAY, _FLAG, _DOMAIN_SENDER, _SENDER, _SUBMIT),
]
# What the published table says that a permission group grants, and to whom. {DOMAIN} is the domain's short name.
GROUPS: dict[str, dict[str, list[str]]] = {
    "AnonymousUsers": {ANONYMOUS: [_ROUTING, _SENDER, _DOMAIN_SENDER, _SUBMIT]},
    "ExchangeUsers": {AUTHENTICATED: [_SPAM, _RELAY, _SUBMIT]},
    "ExchangeServers": {
        "{DOMAIN}\\Exchange Servers": _SERVERS,
        "MS Exchange\\Edge Transport Servers": [
            right for right in _SERVERS if right != "ms-Exch-Bypass-Message-Size-Limit"
        ],
        "MS Exchange\\Hub Transport Servers": _SERVERS,
        "MS Exchange\\Externally Secured Servers": [
            *(_SPAM, _ROUTING, "ms-Exch-SMTP-Accept-Exch50", _RELAY, _FLAG, _DOMAIN_SENDER, _SENDER, _SUBMIT),
        ],
    },
    "ExchangeLegacyServers": {
        "{DOMAIN}\\ExchangeLegacyInterop": [
            *(_SPAM, "ms-Exch-Bypass-Message-Size-Limit", _ROUTING, "ms-Exch-SMTP-Accept-Exch50"),
            *(_RELAY, _FLAG, _DOMAIN_SENDER, _SENDER, _SUBMIT),
        ]
    },
    "Partners": {PARTNERS: [_ROUTING, _SUBMIT]},
}
EXTENDED_RIGHTS = [
    *(_SERVERS),
    *("ms-Exch-SMTP-Accept-XShadow", "ms-Exch-SMTP-Accept-XProxyFrom", "ms-Exch-SMTP-Accept-XSessionParams"),
    *("ms-Exch-SMTP-Accept-XMessageContext-ADRecipientCache", "ms-Exch-SMTP-Accept-XMessageContext-ExtendedProperties"),
    *("ms-Exch-SMTP-Accept-XMessageContext-FastIndex", "ms-Exch-SMTP-Accept-XAttr", "ms-Exch-SMTP-Accept-XSysProbe"),
    *("ms-Exch-SMTP-Send-Exch50", "ms-Exch-SMTP-Send-XShadow", "ms-Exch-Send-Headers-Forest"),
    *("ms-Exch-Send-Headers-Organization", "ms-Exch-Send-Headers-Routing", "ms-Exch-Store-Admin", "Send-As"),
    *("Receive-As", "ms-Exch-SMTP-Accept-XOriginalFrom"),
]


def rights_of(permissions: list[dict[str, Any]], identity: str) -> list[dict[str, Any]]:
    name = identity.partition("\\")[2]
    return [entry for entry in permissions if entry["Identity"].lower() in (identity.lower(), name.lower())]


def connector_identity(server: Server, raw: dict[str, Any]) -> str:
    return f"{server.name}\\{raw['Name']}"


def show_connector(server: Server, raw: dict[str, Any]) -> Item:
    identity = connector_identity(server, raw)
    item = presented(_KIND, {**raw, "Identity": identity, "Id": identity, "Server": server.name}, server, identity)
    shown = item.properties
    groups = quantities.some_of(quantities.FLAGS["PermissionGroups"], raw.get("PermissionGroups", "None"))
    parts = [part for part in groups.split(", ") if part not in ("None", "Custom")]
    # Rights beyond those of the groups show as one more group.
    if rights_of(server.items("ADPermission"), identity):
        parts.append("Custom")
    shown["PermissionGroups"] = ", ".join(parts) or "None"
    shown["AuthMechanism"] = quantities.some_of(quantities.FLAGS["AuthMechanisms"], raw.get("AuthMechanism", "Tls"))
    for name in ("MaxMessageSize", "MaxHeaderSize"):
        text = quantities.size(raw.get(name) or _defaults(_KIND)[name])
        shown[name] = languages.number_text(text, server.language)
    if server.version == "2013":
        for name in list(shown):
            if name == "AuthTarpitInterval" or name.startswith("Reject"):
                del shown[name]
    return item


def find_connector(call: Call, value: Any) -> tuple[Server, dict[str, Any]]:
    """The one connector that an identity means. Raises Refusal."""
    identity = identity_of(value)
    found = [
        (server, raw)
        for server in call.management.servers()
        for raw in server.items(_KIND)
        if _means(server, raw, identity)
    ]
    if len(found) > 1:
        raise Refusal(
            f"The operation couldn't be performed because '{identity}' matches multiple entries.",
            "ManagementObjectAmbiguousException",
            "InvalidData",
        )
    if not found:
        raise not_found(identity, call.home)
    return found[0]


def _means(server: Server, raw: dict[str, Any], identity: str) -> bool:
    name = str(raw["Name"]).lower()
    wanted = identity.lower()
    if "\\" in wanted:
        host, _, title = wanted.partition("\\")
        return server.called(host) and title == name
    own = connector_identity(server, raw)
    return wanted in (name, str(raw.get("Guid", guid(_KIND, own))).lower()) or wanted.startswith(
        f"cn={name},cn=smtp receive connectors,cn=protocols,cn={server.name.lower()},"
    )


def check_connector(server: Server, raw: dict[str, Any]) -> None:
    """What Exchange checks before it stores a connector. Raises Refusal."""
    name, identity = raw["Name"], connector_identity(server, raw)
    if not str(name).strip() or len(name) > 64 or re.search(r'[\\"\x00-\x1f]', name):
        raise invalid(f'The name "{name}" isn\'t valid: it has to have 1 to 64 characters, and no backslash or quote.')
    for each in ("Bindings", "RemoteIPRanges"):
        if not raw.get(each):
            raise invalid(
                f'The property value is invalid. The {each} of Receive connector "{identity}" can\'t be empty.'
            )
    banner = raw.get("Banner") or ""
    if banner and not re.fullmatch(r"220[ -][ -~]*", banner):
        raise invalid(
            f'The SMTP banner "{banner}" is invalid. The banner must start with "220 ", and it can contain only '
            f"printable ASCII characters on one line."
        )
    if len(banner) > 2048:
        raise invalid("The property value exceeds the maximum length allowed. Property Name: Banner.")
    mechanisms = set(str(raw.get("AuthMechanism", "Tls")).split(", "))
    groups = set(str(raw.get("PermissionGroups", "None")).split(", "))
    if "ExternalAuthoritative" in mechanisms:
        if mechanisms - {"ExternalAuthoritative", "Tls"}:
            raise invalid(
                "The AuthMechanism parameter on a Receive connector can't have the value ExternalAuthoritative "
                "together with other values than Tls."
            )
        if "ExchangeServers" not in groups:
            raise invalid(
                "You must set the value for the PermissionGroups parameter on a Receive connector to ExchangeServers "
                "when you set the AuthMechanism parameter to a value of ExternalAuthoritative."
            )
    if "BasicAuthRequireTLS" in mechanisms and not {"Tls", "BasicAuth"} <= mechanisms:
        raise invalid(
            "When the AuthMechanism parameter on a Receive connector has the value BasicAuthRequireTLS, it must have "
            "the values BasicAuth and Tls as well."
        )
    for each in ("RequireTLS", "DomainSecureEnabled"):
        if raw.get(each) and "Tls" not in mechanisms:
            raise invalid(
                f"The {each} parameter on a Receive connector can be $true only when the AuthMechanism parameter has "
                f"the value Tls."
            )
    fqdn = raw.get("Fqdn")
    if "ExchangeServer" in mechanisms and fqdn and not server.called(fqdn):
        raise Refusal(
            f"When the AuthMechanism parameter on a Receive connector is set to the value ExchangeServer, you must set "
            f"the FQDN parameter on the Receive connector to one of the following values: the FQDN of the transport "
            f'server "{server.fqdn}", the NetBIOS name of the transport server "{server.name}", or $null.',
            "FqdnOnServerAuthException",
            "InvalidOperation",
        )
    if v.span(raw.get("ConnectionInactivityTimeout", "00:05:00")) > v.span(raw.get("ConnectionTimeout", "00:10:00")):
        raise invalid("The ConnectionTimeout value must be greater than the ConnectionInactivityTimeout value.")
    _check_neighbours(server, raw)


def _check_neighbours(server: Server, raw: dict[str, Any]) -> None:
    """No port for two transport roles, no binding and range twice."""
    own = {v.binding(text) for text in raw["Bindings"]}
    ranges = {v.remote_range(text) for text in raw["RemoteIPRanges"]}
    for other in server.items(_KIND):
        if other is raw:
            continue
        theirs = {v.binding(text) for text in other["Bindings"]}
        conflict = (
            f"The values that you specified for the Bindings and RemoteIPRanges parameters conflict with the settings "
            f'on Receive connector "{connector_identity(server, other)}". '
        )
        if raw["TransportRole"] != other.get("TransportRole", "FrontendTransport"):
            if {b.port for b in own} & {b.port for b in theirs}:
                raise Refusal(
                    f"{conflict}Receive connectors assigned to different Transport roles on a single server must "
                    f"listen on unique local IP address & port bindings.",
                    "ReceiveConnectorRoleConflictException",
                    "InvalidOperation",
                )
        elif own & theirs and ranges & {v.remote_range(text) for text in other["RemoteIPRanges"]}:
            raise Refusal(
                f"{conflict}Receive connectors must have a unique combination of local IP address, port, and remote "
                f"IP address ranges.",
                "ConnectorMappingConflictException",
                "InvalidOperation",
            )


@cmdlet("Get-ReceiveConnector")
def get_receive_connector(call: Call) -> list[Any]:
    servers = call.management.servers()
    if call.has("Server"):
        servers = [call.management.server(identity_of(call.get("Server")))]
    wanted = identity_of(call.get("Identity")) if call.has("Identity") else "*"
    found = []
    for server in servers:
        for raw in server.items(_KIND):
            names = (raw["Name"].lower(), connector_identity(server, raw).lower())
            if _means(server, raw, wanted) or any(fnmatch.fnmatchcase(name, _pattern(wanted)) for name in names):
                found.append(show_connector(server, raw))
    if not found and "*" not in wanted:
        raise not_found(wanted, call.home)
    return found


def _pattern(text: str) -> str:
    """Only * is a wildcard in an identity."""
    return re.sub(r"([?\[])", r"[\1]", text.lower())


def _no_custom(call: Call, wanted: dict[str, Any]) -> None:
    if "Custom" in str(wanted.get("PermissionGroups", "")):
        raise Refusal(
            "You can't use the value Custom with the PermissionGroups parameter. To set custom permissions, use the "
            "Add-ADPermission cmdlet.",
            "CustomCannotBeSetForPermissionGroupsException",
            "InvalidArgument",
        )


_USAGE: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "Custom": ("None", "Tls", ("Bindings", "RemoteIPRanges")),
    "Internet": ("AnonymousUsers", "Tls", ("Bindings",)),
    "Internal": ("ExchangeServers, ExchangeLegacyServers", "Tls, ExchangeServer", ("RemoteIPRanges",)),
    "Client": ("ExchangeUsers", "Tls, Integrated, BasicAuth, BasicAuthRequireTLS", ("RemoteIPRanges",)),
    "Partner": ("Partners", "Tls", ("RemoteIPRanges",)),
}


@cmdlet("New-ReceiveConnector")
def new_receive_connector(call: Call) -> list[Any]:
    usages = [name for name in _USAGE if call.get(name) is True]
    leave = (*_USAGE, "Usage")
    wanted = converted(call, {}, leave)
    if call.has("Usage"):
        try:
            usages.append(quantities.one_of(quantities.NAMES["UsageType"], call.get("Usage")))
        except quantities.Unfit as problem:
            raise unbound("Usage", call.get("Usage"), quantities.full_type("UsageType"), problem) from None
    if len(set(usages)) > 1:
        raise Refusal(
            "Parameter set cannot be resolved using the specified named parameters.",
            "ParameterBindingException",
            "InvalidArgument",
            "AmbiguousParameterSet",
        )
    groups, mechanisms, needed = _USAGE[usages[0] if usages else "Custom"]
    missing = [name for name in needed if not wanted.get(name)]
    if missing:
        raise Refusal(
            f"Cannot process command because of one or more missing mandatory parameters: {' '.join(missing)}.",
            "ParameterBindingException",
            "InvalidArgument",
            "MissingMandatoryParameter",
        )
    _no_custom(call, wanted)
    target = call.management.server(identity_of(call.get("Server"))) if call.has("Server") else call.home
    name = wanted["Name"]
    with call.management.editing(target) as server:
        if any(raw["Name"].lower() == name.lower() for raw in server.items(_KIND)):
            dn = str(
                show_connector(server, {"Name": name, "Bindings": [], "RemoteIPRanges": []}).properties[
                    "DistinguishedName"
                ]
            )
            raise Refusal(
                f"Active Directory operation failed on dc1.{server.domain}. The object '{dn}' already exists.",
                "ADObjectAlreadyExistsException",
            )
        raw: dict[str, Any] = {
            "Name": name,
            "Identity": f"{server.name}\\{name}",
            "Guid": str(uuid.uuid4()),
            "Server": server.name,
            "TransportRole": "HubTransport",
            "Bindings": ["0.0.0.0:25"],
            "RemoteIPRanges": ["0.0.0.0-255.255.255.255"],
            "Fqdn": server.fqdn,
            "AuthMechanism": mechanisms,
            "PermissionGroups": groups,
            "ProtocolLoggingLevel": "None",
            **({"DomainSecureEnabled": True} if usages == ["Partner"] else {}),
            **server.document.get("Standin", {}).get("Born", {}).get(_KIND, {}),
            **wanted,
        }
        raw["Banner"] = raw.get("Banner") or ""
        check_connector(server, raw)
        if not call.get("WhatIf"):
            server.items(_KIND).append(raw)
            given = server.document.get("Standin", {}).get("Inherited") or []
            inherited = {"Identity": raw["Identity"], "ExtendedRights": [], "Deny": False, "IsInherited": True}
            server.items("ADPermission").extend({**inherited, **entry} for entry in given)
            call.changed = True
    return [show_connector(call.management.server(target.name), raw)]


@cmdlet("Set-ReceiveConnector")
def set_receive_connector(call: Call) -> list[Any]:
    target, chosen = find_connector(call, call.get("Identity"))
    with call.management.editing(target) as server:
        raw = next(raw for raw in server.items(_KIND) if raw["Name"] == chosen["Name"])
        before = show_connector(server, raw).properties
        wanted = converted(call, {**before, **{key: raw[key] for key in ("Bindings", "RemoteIPRanges")}})
        _no_custom(call, wanted)
        if "Banner" in wanted:
            wanted["Banner"] = wanted["Banner"] or ""
        trial = {**raw, **wanted, "TransportRole": wanted.get("TransportRole", before["TransportRole"])}
        others = [trial if item is raw else item for item in server.items(_KIND)]
        check_connector(Server(server.directory, {**server.document, _KIND: others}), trial)
        name = wanted.get("Name", raw["Name"])
        if name != raw["Name"] and any(o["Name"].lower() == name.lower() for o in server.items(_KIND) if o is not raw):
            raise Refusal(
                f"Active Directory operation failed on dc1.{server.domain}. The object '{name}' already exists.",
                "ADObjectAlreadyExistsException",
            )
        changes = {key: value for key, value in wanted.items() if before.get(key) != value}
        if not changes:
            call.warn(
                f"The command completed successfully but no settings of '{before['Identity']}' have been modified."
            )
        elif not call.get("WhatIf"):
            for entry in rights_of(server.items("ADPermission"), connector_identity(server, raw)):
                entry["Identity"] = f"{server.name}\\{name}"
            raw |= {**wanted, "Identity": f"{server.name}\\{name}"}
            call.changed = True
    return []


@cmdlet("Remove-ReceiveConnector")
def remove_receive_connector(call: Call) -> list[Any]:
    target, found = find_connector(call, call.get("Identity"))
    with call.management.editing(target) as server:
        if not call.get("WhatIf"):
            identity = connector_identity(server, found)
            gone = rights_of(server.items("ADPermission"), identity)
            server.document["ADPermission"] = [e for e in server.items("ADPermission") if e not in gone]
            server.document[_KIND] = [raw for raw in server.items(_KIND) if raw["Name"] != found["Name"]]
            call.changed = True
    return []


# Permissions -------------------------------------------------------------------------------------

_KNOWN_SIDS = {number.lower(): names["en"] for number, names in languages.BUILT_IN.items()}
_KNOWN_USERS = {
    "anonymous logon": ANONYMOUS,
    "authenticated users": AUTHENTICATED,
    "partner servers": PARTNERS,
    "everyone": "Everyone",
    "system": "NT AUTHORITY\\SYSTEM",
}
_KNOWN_GROUPS = ("Exchange Servers", "ExchangeLegacyInterop", "Domain Admins", "Organization Management")


def account(server: Server, text: str) -> dict[str, Any]:
    """What Windows says about an account that is named or numbered; nothing where it knows none."""
    short = server.domain.partition(".")[0].upper()
    own = {f"{short}\\{group}": group for group in _KNOWN_GROUPS}
    for mailbox in server.document.get("Mailbox", []):
        name = mailbox.get("SamAccountName") or mailbox["PrimarySmtpAddress"].partition("@")[0]
        own[f"{short}\\{name}"] = name
    sids = {name: f"S-1-5-21-1004-2004-3004-{1100 + index}" for index, name in enumerate(own)}
    for name, number in sids.items():
        if text.lower() in (name.lower(), own[name].lower(), number.lower()):
            return {"Sid": number, "Name": name}
    user = _KNOWN_SIDS.get(text.lower()) or languages.meant(text, server.language)
    if user is None:
        return {"Sid": "", "Name": ""}
    return {"Sid": languages.sid(user), "Name": languages.shown(user, server.language)}


def principal(call: Call, value: Any) -> str:
    """The full name of a user or group. Raises Refusal."""
    text = identity_of(value)
    host, _, name = text.rpartition("\\")
    short = call.home.domain.partition(".")[0].upper()
    if host.lower() == "ms exchange" and name:
        known = {"edge transport servers", "hub transport servers", "externally secured servers", "partner servers"}
        if name.lower() in known:
            return f"MS Exchange\\{name.title()}"
    elif text.lower() in _KNOWN_SIDS:
        return _KNOWN_SIDS[text.lower()]
    elif languages.meant(text, call.home.language):
        return str(languages.meant(text, call.home.language))
    elif call.home.language == "en" and name.lower() in _KNOWN_USERS and host.lower() in ("", "nt authority"):
        return _KNOWN_USERS[name.lower()]
    elif host.lower() in ("", short.lower(), call.home.domain):
        for group in _KNOWN_GROUPS:
            if group.lower() == name.lower():
                return f"{short}\\{group}"
        for mailbox in call.home.document.get("Mailbox", []):
            account = mailbox.get("SamAccountName") or mailbox["PrimarySmtpAddress"].partition("@")[0]
            if name.lower() in (account.lower(), mailbox["PrimarySmtpAddress"].lower()):
                return f"{short}\\{account}"
    raise Refusal(
        f"User or group \"{text}\" wasn't found. Please make sure you've typed the user or group name correctly.",
        "ManagementObjectNotFoundException",
        "InvalidArgument",
    )


def right(call: Call, value: Any) -> str:
    """The extended right of that name, as the schema spells it. Raises Refusal."""
    text = identity_of(value)
    for known in EXTENDED_RIGHTS:
        if known.lower() == text.lower():
            return known
    raise Refusal(
        f"The extended right '{text}' couldn't be found. Please make sure you've typed it correctly.",
        "ManagementObjectNotFoundException",
        "InvalidArgument",
    )


def _ace(
    identity: str, user: str, rights: list[str], *, deny: bool, inherited: bool = False, access: str = "ExtendedRight"
) -> Item:
    return Item(
        f"{_TASKS}RecipientTasks.ADAcePresentationObject",
        {
            "AccessRights": [access],
            "ExtendedRights": rights or None,
            "ChildObjectTypes": None,
            "InheritedObjectType": None,
            "Properties": None,
            "Deny": deny,
            "InheritanceType": "All" if inherited else "None",
            "User": user,
            "IsInherited": inherited,
            "IsValid": True,
            "ObjectState": "Unchanged",
            "Identity": identity,
        },
        identity,
    )


def aces(server: Server, raw: dict[str, Any]) -> list[Item]:
    """Every entry of a connector's access control list: its groups', those added, those inherited."""
    identity = connector_identity(server, raw)
    short = server.domain.partition(".")[0].upper()
    result = []
    for group in str(raw.get("PermissionGroups", "None")).split(", "):
        for user, rights in GROUPS.get(group, {}).items():
            result += [_ace(identity, user.replace("{DOMAIN}", short), [one], deny=False) for one in rights]
    for entry in rights_of(server.items("ADPermission"), identity):
        more = {"deny": bool(entry.get("Deny")), "inherited": bool(entry.get("IsInherited"))}
        for one in entry["ExtendedRights"]:
            result.append(_ace(identity, entry["User"], [one], **more))
        access = entry.get("AccessRights", [])
        if access and not (access == ["ExtendedRight"] and entry["ExtendedRights"]):
            result.append(_ace(identity, entry["User"], [], **more, access=", ".join(access)))
    result.append(_ace(identity, AUTHENTICATED, [], deny=False, inherited=True, access="GenericRead"))
    result.append(
        _ace(identity, f"{short}\\Organization Management", [], deny=False, inherited=True, access="GenericAll")
    )
    for item in result:
        item.properties["User"] = languages.shown(item.properties["User"], server.language)
    return result


@cmdlet("Get-ADPermission")
def get_ad_permission(call: Call) -> list[Any]:
    server, raw = find_connector(call, call.get("Identity"))
    if call.get("Owner"):
        identity = connector_identity(server, raw)
        owner = f"{server.domain.partition('.')[0].upper()}\\Enterprise Admins"
        return [
            Item(f"{_TASKS}RecipientTasks.OwnerPresentationObject", {"Identity": identity, "Owner": owner}, identity)
        ]
    found = aces(server, raw)
    if call.has("User"):
        user = languages.shown(principal(call, call.get("User")), server.language)
        found = [item for item in found if item.properties["User"].lower() == user.lower()]
    return found


def _entry(call: Call) -> tuple[Server, dict[str, Any], str, list[str], bool]:
    """What Add- and Remove-ADPermission are told: connector, user, rights, denial."""
    given = call.parameters
    if isinstance(given.get("Instance"), Thing):
        told = given["Instance"].properties
        given = {**given, **{k: told.get(k) for k in ("Identity", "User", "ExtendedRights", "Deny") if k not in given}}
    server, raw = find_connector(call, given.get("Identity"))
    if not given.get("User"):
        raise Refusal(
            "Cannot process command because of one or more missing mandatory parameters: User.",
            "ParameterBindingException",
            "InvalidArgument",
            "MissingMandatoryParameter",
        )
    listed = given.get("ExtendedRights") or []
    rights = [right(call, one) for one in (listed if isinstance(listed, list) else [listed])]
    if not rights and not given.get("AccessRights"):
        raise Refusal(
            "You must specify at least one of the following parameters: AccessRights, ExtendedRights, Properties.",
            "ArgumentException",
            "InvalidArgument",
        )
    return server, raw, principal(call, given["User"]), rights, bool(given.get("Deny"))


@cmdlet("Add-ADPermission")
def add_ad_permission(call: Call) -> list[Any]:
    target, raw, user, rights, deny = _entry(call)
    identity = connector_identity(target, raw)
    result = []
    with call.management.editing(target) as server:
        present = {
            (item.properties["User"].lower(), one.lower(), item.properties["Deny"])
            for item in aces(server, raw)
            for one in item.properties["ExtendedRights"] or []
        }
        for one in rights:
            if (languages.shown(user, server.language).lower(), one.lower(), deny) in present:
                call.warn(
                    f'The appropriate access control entry is already present on the object "{identity}" for account '
                    f'"{user}".'
                )
            elif not call.get("WhatIf"):
                server.items("ADPermission").append(
                    {"Identity": identity, "User": user, "ExtendedRights": [one], "Deny": deny}
                )
                call.changed = True
            result.append(_ace(identity, languages.shown(user, server.language), [one], deny=deny))
    return result


@cmdlet("Remove-ADPermission")
def remove_ad_permission(call: Call) -> list[Any]:
    target, raw, user, rights, deny = _entry(call)
    identity = connector_identity(target, raw)
    with call.management.editing(target) as server:
        kept = next(item for item in server.items(_KIND) if item["Name"] == raw["Name"])
        for one in rights:
            if not _withdraw(server, kept, (user, one), deny=deny) or call.get("WhatIf"):
                call.warn(
                    f'Can\'t remove the access control entry on the object "{identity}" for account "{user}" because '
                    f"the ACE isn't present."
                )
            else:
                call.changed = True
    return []


def _withdraw(server: Server, raw: dict[str, Any], entry: tuple[str, str], *, deny: bool) -> bool:
    """Take a right away: one that was added, or one of a group, of which the others then stay as added ones."""
    user, one = entry
    identity = connector_identity(server, raw)
    found = False
    kept = []
    for item in server.items("ADPermission"):
        own = item in rights_of([item], identity) and not item.get("IsInherited")
        matches = own and item["User"].lower() == user.lower()
        if matches and bool(item.get("Deny")) == deny and one.lower() in (r.lower() for r in item["ExtendedRights"]):
            found = True
            item = {**item, "ExtendedRights": [r for r in item["ExtendedRights"] if r.lower() != one.lower()]}  # noqa: PLW2901
        if item["ExtendedRights"] or not matches:
            kept.append(item)
    server.document["ADPermission"] = kept
    short = server.domain.partition(".")[0].upper()
    groups = [g for g in str(raw.get("PermissionGroups", "None")).split(", ") if g in GROUPS]
    for group in list(groups) if not deny else []:
        members = {name.replace("{DOMAIN}", short): rights for name, rights in GROUPS[group].items()}
        if any(name.lower() == user.lower() and one in rights for name, rights in members.items()):
            found = True
            groups.remove(group)
            for name, rights in members.items():
                left = [r for r in rights if not (r == one and name.lower() == user.lower())]
                server.items("ADPermission").append(
                    {"Identity": identity, "User": name, "ExtendedRights": left, "Deny": False}
                )
    raw["PermissionGroups"] = ", ".join(groups) or "None"
    return found


# Servers and what exists once on each ------------------------------------------------------------


@cmdlet("Get-ExchangeServer")
def get_exchange_server(call: Call) -> list[Any]:
    servers = call.management.servers()
    if call.has("Identity"):
        wanted = identity_of(call.get("Identity"))
        chosen = [s for s in servers if any(fnmatch.fnmatchcase(n.lower(), _pattern(wanted)) for n in (s.name, s.fqdn))]
        if not chosen:
            raise not_found(wanted, call.home)
        servers = chosen
    return [presented("ExchangeServer", server.document["ExchangeServer"], server, server.name) for server in servers]


_MAIL_TYPES = {"ImapSettings": "Imap4AdConfiguration", "PopSettings": "Pop3AdConfiguration"}
_MAIL_COMMON: dict[str, Any] = {
    "AdminDisplayName": "",
    "ExchangeVersion": "0.10 (14.0.100.0)",
    "IsValid": True,
    "ObjectState": "Changed",
}
MAIL_SERVICES = {
    "ImapSettings": ("MSExchangeImap4", "MSExchangeIMAP4BE"),
    "PopSettings": ("MSExchangePop3", "MSExchangePOP3BE"),
}


def _mail_kind(call: Call) -> str:
    return call.name.partition("-")[2]


def _target(call: Call, parameter: str) -> Server:
    return call.management.server(identity_of(call.get(parameter))) if call.get(parameter) else call.home


def show_mail_settings(server: Server, kind: str) -> Item:
    identity = f"{server.name}\\1"
    raw = server.document.get(kind, {})
    properties = {**_MAIL_COMMON, **defaults.of_mail(kind, server.version)}
    properties |= {**_defaults(kind), **raw, "Identity": identity, "Id": identity, "Server": server.name, "Name": "1"}
    return Item(f"Microsoft.Exchange.Data.Directory.SystemConfiguration.{_MAIL_TYPES[kind]}", properties, identity)


@cmdlet("Get-ImapSettings", "Get-PopSettings")
def get_mail_settings(call: Call) -> list[Any]:
    return [show_mail_settings(_target(call, "Server"), _mail_kind(call))]


@cmdlet("Set-ImapSettings", "Set-PopSettings")
def set_mail_settings(call: Call) -> list[Any]:
    kind = _mail_kind(call)
    target = _target(call, "Server")
    title = "IMAP4" if kind == "ImapSettings" else "POP3"
    with call.management.editing(target) as server:
        before = show_mail_settings(server, kind).properties
        wanted = converted(call, before)
        for name in ("UnencryptedOrTLSBindings", "SSLBindings"):
            if name in wanted and not wanted[name] and not wanted.get("SSLBindings", before["SSLBindings"]):
                raise invalid(f"The {name} of {title} can't be empty.")
        if "X509CertificateName" in wanted and not quantities.HOST.fullmatch(
            str(wanted["X509CertificateName"] or "").removeprefix("*.")
        ):
            raise invalid(f'"{wanted["X509CertificateName"]}" isn\'t a valid certificate name.')
        changes = {key: value for key, value in wanted.items() if before.get(key) != value}
        if not changes:
            call.warn(
                f"The command completed successfully but no settings of '{before['Identity']}' have been modified."
            )
        elif not call.get("WhatIf"):
            running = [s for s in MAIL_SERVICES[kind] if _runs(server, s)]
            kept = server.document.setdefault("SettingsInForce", {})
            if running and kind not in kept:
                kept[kind] = {"Settings": dict(server.document.get(kind, {})), "Until": running}
            elif running:
                kept[kind]["Until"] = running
            server.document.setdefault(kind, {}).update(wanted)
            call.changed = True
            call.warn(
                f"Changes to {title} settings will only take effect after all Microsoft Exchange {title} services are "
                f"restarted on server {server.name}."
            )
    return []


_SERVICE_KINDS = {
    "TransportService": ("TransportServer", "Microsoft.Exchange.Data.Directory.Management.TransportServer"),
    "TransportServer": ("TransportServer", "Microsoft.Exchange.Data.Directory.Management.TransportServer"),
    "FrontendTransportService": (
        "FrontendTransportServer",
        "Microsoft.Exchange.Data.Directory.Management.FrontendTransportServerPresentationObject",
    ),
    "MailboxTransportService": (
        "MailboxTransportServer",
        "Microsoft.Exchange.Data.Directory.Management.MailboxTransportServerPresentationObject",
    ),
    "ClientAccessService": ("ClientAccessServer", "Microsoft.Exchange.Data.Directory.Management.ClientAccessServer"),
    "ClientAccessServer": ("ClientAccessServer", "Microsoft.Exchange.Data.Directory.Management.ClientAccessServer"),
}
_LOGS = "C:\\Program Files\\Microsoft\\Exchange Server\\V15\\TransportRoles\\Logs\\"
_LOG_FOLDERS = {"TransportService": "Hub", "FrontendTransportService": "FrontEnd", "MailboxTransportService": "Mailbox"}
_BY_TYPE: dict[str, Any] = {
    "Boolean": True,
    "Int32": 20,
    "EnhancedTimeSpan": "30.00:00:00",
    "ByteQuantifiedSize": "10 MB (10,485,760 bytes)",
    "ProtocolLoggingLevel": "None",
    "ProtocolOption": "Any",
    "MultiValuedProperty": [],
}


def show_service(server: Server, noun: str) -> Item:
    facts = published.parameters(f"Set-{noun}", server.version)
    folder = _LOG_FOLDERS.get(noun, "Hub")
    known = {} if noun.startswith("ClientAccess") else defaults.of_transport(noun)
    properties: dict[str, Any] = {"Name": server.name}
    for name, fact in facts.items():
        if name in ("Identity", "Confirm", "WhatIf", "DomainController") or fact["type"] == "SwitchParameter":
            continue
        kind = fact["type"]
        value = known.get(name, _BY_TYPE.get(kind))
        if name in known:
            pass
        elif kind == "Unlimited":
            value = "250 MB (262,144,000 bytes)" if "Directory" in name else "10 MB (10,485,760 bytes)"
        elif kind == "LocalLongFullPath" and name.endswith("Path"):
            value = _LOGS + f"{folder}\\{name.removesuffix('Path').removesuffix('Log')}"
        elif noun.startswith("ClientAccess"):
            value = {
                "AutoDiscoverServiceInternalUri": f"https://{server.fqdn.lower()}/Autodiscover/Autodiscover.xml",
                "AutoDiscoverSiteScope": ["Default-First-Site-Name"],
            }.get(name)
        properties[name] = value
    properties |= server.document.get(_stored(noun), {})
    properties |= {
        "Identity": server.name,
        "Id": server.name,
        "Guid": Scalar("G", guid("Server", server.name)),
        "IsValid": True,
        "ObjectState": "Unchanged",
        "ExchangeVersion": "0.1 (8.0.535.0)",
    }
    if noun.startswith("ClientAccess"):
        properties |= {"Fqdn": server.fqdn, "OutlookAnywhereEnabled": True}
    return Item(_SERVICE_KINDS[noun][1], properties, server.name)


def _stored(noun: str) -> str:
    return {"TransportServer": "TransportService", "ClientAccessServer": "ClientAccessService"}.get(noun, noun)


@cmdlet(*(f"Get-{noun}" for noun in _SERVICE_KINDS))
def get_service_settings(call: Call) -> list[Any]:
    noun = call.name.partition("-")[2]
    servers = [_target(call, "Identity")] if call.has("Identity") else call.management.servers()
    return [show_service(server, noun) for server in servers]


@cmdlet(*(f"Set-{noun}" for noun in _SERVICE_KINDS))
def set_service_settings(call: Call) -> list[Any]:
    noun = call.name.partition("-")[2]
    with call.management.editing(_target(call, "Identity")) as server:
        before = show_service(server, noun).properties
        wanted = converted(call, before)
        changes = {key: value for key, value in wanted.items() if before.get(key) != value}
        if not changes:
            call.warn(f"The command completed successfully but no settings of '{server.name}' have been modified.")
        elif not call.get("WhatIf"):
            server.document.setdefault(_stored(noun), {}).update(wanted)
            call.changed = True
    return []


@cmdlet("Get-ServerComponentState")
def get_component_state(call: Call) -> list[Any]:
    server = _target(call, "Identity")
    everything = state.load(server.document)
    found = []
    for raw in server.items("ServerComponentState"):
        if call.has("Component") and raw["Component"].lower() != str(call.get("Component")).lower():
            continue
        shown = {**raw, "State": everything.component(raw["Component"]), "ServerFqdn": server.fqdn}
        shown["ServerWideOfflineIsOffline"] = everything.component("ServerWideOffline") != "Active"
        shown.setdefault("LocalStates", [f"Requestor:Functional; State:{raw['State']}; Timestamp:1/5/2026 8:30:00 AM"])
        shown.setdefault("RemoteStates", list(shown["LocalStates"]))
        found.append(presented("ServerComponentState", shown, server, server.name))
    if call.has("Component") and not found:
        raise _no_component(call)
    return found


def _no_component(call: Call) -> Refusal:
    return Refusal(
        f"Component '{call.get('Component')}' isn't a valid component name for server '{call.home.name}'.",
        "ArgumentException",
        "InvalidArgument",
    )


_REQUESTERS = ("HealthAPI", "Maintenance", "Sidelined", "Functional", "Deployment")


@cmdlet("Set-ServerComponentState")
def set_component_state(call: Call) -> list[Any]:
    try:
        wanted = quantities.one_of(quantities.NAMES["ServiceState"], call.get("State"))
    except quantities.Unfit as problem:
        raise unbound("State", call.get("State"), quantities.full_type("ServiceState"), problem) from None
    requester = next((r for r in _REQUESTERS if r.lower() == str(call.get("Requester")).lower()), None)
    if requester is None:
        raise Refusal(
            f"The requester '{call.get('Requester')}' isn't valid. Valid values are: {', '.join(_REQUESTERS)}.",
            "ArgumentException",
            "InvalidArgument",
        )
    with call.management.editing(_target(call, "Identity")) as server:
        for raw in server.items("ServerComponentState"):
            if raw["Component"].lower() == str(call.get("Component")).lower():
                break
        else:
            raise _no_component(call)
        states = {}
        for text in raw.get("LocalStates", [f"Requestor:Functional; State:{raw['State']}; Timestamp:"]):
            found = re.match(r"Requestor:(\w+); State:(\w+)", text)
            if found:
                states[found[1]] = found[2]
        states[requester] = wanted
        now = datetime.now(UTC).strftime("%-m/%-d/%Y %-I:%M:%S %p")
        lines = [f"Requestor:{who}; State:{what}; Timestamp:{now}" for who, what in states.items()]
        # Active only if everybody who asked says so.
        total = (
            "Active"
            if set(states.values()) == {"Active"}
            else ("Inactive" if "Inactive" in states.values() else "Draining")
        )
        if not call.get("WhatIf"):
            raw |= {"State": total, "LocalStates": lines, "RemoteStates": lines}
            call.changed = True
    return []


_RESOURCES = {
    "PrivateBytes": (6, "MediumToHigh=75 HighToMedium=73 LowToMedium=72 MediumToLow=71"),
    "SystemMemory": (58, "MediumToHigh=94 HighToMedium=89 LowToMedium=88 MediumToLow=84"),
    "UsedDiskSpace[C:\\Program Files\\Microsoft\\Exchange Server\\V15\\TransportRoles\\data]": (
        31,
        "MediumToHigh=99 HighToMedium=90 LowToMedium=89 MediumToLow=80",
    ),
}


@cmdlet("Get-ExchangeDiagnosticInfo")
def get_diagnostic_info(call: Call) -> list[Any]:
    """Back pressure: what EdgeTransport's component ResourceThrottling tells."""
    server = _target(call, "Server")
    process, component = str(call.get("Process") or ""), str(call.get("Component") or "")
    inside = ""
    if process.lower() in ("edgetransport", "edgetransport.exe") and component.lower() == "resourcethrottling":
        tracker = (
            server.document.get("ExchangeDiagnosticInfo", {}).get("ResourceThrottling", {}).get("ResourceTracker", {})
        )
        use = tracker.get("AggregateUse", "Low")
        meters = "".join(
            f'        <ResourceMeter Resource="{name}">\r\n'
            f"          <CurrentResourceUse>{use if number == 0 else 'Low'}</CurrentResourceUse>\r\n"
            f"          <PreviousResourceUse>Low</PreviousResourceUse>\r\n"
            f"          <PressureTransitions>[PressureTransitions: {limits}]</PressureTransitions>\r\n"
            f"          <Pressure>{pressure}</Pressure>\r\n"
            f"        </ResourceMeter>\r\n"
            for number, (name, (pressure, limits)) in enumerate(_RESOURCES.items())
        )
        inside = (
            f"    <ResourceThrottling>\r\n      <ResourceTracker>\r\n        <AggregateUse>{use}</AggregateUse>\r\n"
            f"{meters}      </ResourceTracker>\r\n    </ResourceThrottling>\r\n"
        )
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.0000000Z")
    result = (
        f"<Diagnostics>\r\n  <ProcessInfo>\r\n    <id>2948</id>\r\n    <serverName>{server.name}</serverName>\r\n"
        f"    <startTime>{_BORN:%Y-%m-%dT%H:%M:%S}.0000000Z</startTime>\r\n    <currentTime>{now}</currentTime>\r\n"
        f"  </ProcessInfo>\r\n  <Components>\r\n{inside}  </Components>\r\n</Diagnostics>"
    )
    properties = {"Result": result, "Identity": None, "IsValid": True, "ObjectState": "New"}
    return [Item("Microsoft.Exchange.Diagnostics.Components.ExchangeDiagnosticInfoResult", properties)]


# Only read ---------------------------------------------------------------------------------------

_OTHERS = ("Ecp", "Mapi", "ActiveSync", "Oab", "Autodiscover", "PowerShell")


def _generic(server: Server, kind: str, raw: dict[str, Any]) -> Item:
    identity = str(raw.get("Identity") or raw.get("Name") or server.name)
    if kind in published.shapes():
        return presented(kind, raw, server, identity)
    properties = {**_defaults(kind), **raw, "Identity": identity, "Id": identity}
    properties |= {"Server": server.name, "Guid": Scalar("G", guid(kind, identity)), "IsValid": True}
    type_name = "ADRpcHttpVirtualDirectory" if kind == "OutlookAnywhere" else f"AD{kind}"
    if kind == "ActiveSyncVirtualDirectory":
        type_name = "ADMobileVirtualDirectory"
    return Item(f"Microsoft.Exchange.Data.Directory.SystemConfiguration.{type_name}", properties, identity)


@cmdlet(
    "Get-OwaVirtualDirectory",
    "Get-WebServicesVirtualDirectory",
    "Get-OutlookAnywhere",
    *(f"Get-{name}VirtualDirectory" for name in _OTHERS),
)
def get_virtual_directory(call: Call) -> list[Any]:
    kind = call.name.partition("-")[2]
    servers = [_target(call, "Server")] if call.has("Server") else call.management.servers()
    found = [_generic(server, kind, raw) for server in servers for raw in server.items(kind)]
    return chosen(call, found)


@cmdlet("Get-ExchangeCertificate")
def get_exchange_certificate(call: Call) -> list[Any]:
    """Those of the state, and that by which the servers here speak TLS. A session brings their raw data alone."""
    server = _target(call, "Server")
    whole = server.document.get("Standin", {}).get("WholeCertificates")
    raw = {str(item["RawData"]): item if whole else {} for item in server.items("ExchangeCertificate")}
    path = Path(os.environ.get("STANDIN_TLS", "/etc/standin/tls.pem"))
    if path.exists():
        found = re.search(r"-----BEGIN CERTIFICATE-----(.*?)-----END", path.read_text(), re.DOTALL)
        raw |= {"".join(found[1].split()): {}} if found else {}
    kind = f"{_TASKS}SystemConfigurationTasks.ExchangeCertificate"
    return [Item(kind, {**more, "RawData": Scalar("BA", each)}) for each, more in raw.items()]


@cmdlet("Get-AcceptedDomain", "Get-SendConnector")
def get_shared(call: Call) -> list[Any]:
    kind = call.name.partition("-")[2]
    found = []
    for raw in call.home.items(kind):
        item = _generic(
            call.home, kind, {**raw, "Identity": raw.get("Identity") or raw.get("Name", raw.get("DomainName"))}
        )
        item.properties.pop("Server", None)
        found.append(item)
    return chosen(call, found)


def chosen(call: Call, found: list[Item]) -> list[Item]:
    if not call.has("Identity"):
        return found
    wanted = identity_of(call.get("Identity"))
    matching = [
        item
        for item in found
        if any(
            fnmatch.fnmatchcase(str(item.properties.get(name, "")).lower(), _pattern(wanted))
            for name in ("Identity", "Name", "DomainName", "Thumbprint")
        )
    ]
    if not matching and "*" not in wanted:
        raise not_found(wanted, call.home)
    return matching


@cmdlet("Get-MailboxServer")
def get_mailbox_server(call: Call) -> list[Any]:
    servers = [_target(call, "Identity")] if call.has("Identity") else call.management.servers()
    return [
        presented("MailboxServer", {"Name": s.name, **s.document.get("MailboxServer", {})}, s, s.name) for s in servers
    ]
