# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a server, and what its answer says: the reading half of the conversation with the scripts."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..declaration.values import Unfit
from .accounts import Accounts, is_obscure
from .desired import Desired, Refused, own_bindings, version_of
from .kinds import ANY_RECIPIENT, CERTIFICATE_NAME, MAIL_ACCESS, RECEIVE_CONNECTOR, Kind
from .listeners import EVERY_RIGHT
from .values import Name, read_boolean, read_name

_ANSWER = re.compile(r'<<"postern">>(.*?)<<"end">>', re.DOTALL)

_IDENTITY = ("Name", "Identity", "DistinguishedName")
JUDGED_BY = (
    "Enabled",
    "TransportRole",
    "AuthMechanism",
    "PermissionGroups",
    "Fqdn",
    "Banner",
    "Bindings",
    "RemoteIPRanges",
    "Comment",
)
"""The properties of each connector that are always read: by them it is judged, and known to be ours."""

_INTERFACE = (
    "Name",
    "ComponentID",
    "PnPDeviceID",
    "Disabled",
    "Bindings",
    "InterfaceMetric",
    "AutomaticMetric",
    "Dhcp",
    "WeakHostSend",
    "WeakHostReceive",
    "Addresses",
    "Sources",
    "DnsRegistration",
    "NetbiosOption",
)
LOOPBACK_COMPONENT = "*msloop"

PERMISSIONS = "permissions"
SERVICES = "services"
COMPONENTS = "components"
FIREWALL = "firewall"
INTERFACES = "interfaces"
ADDRESSES = "addresses"
CERTIFICATES = "certificates"
PRESSURE = "pressure"


# --- the question ----------------------------------------------------------------------------------------------------


def queries(desired: Desired) -> list[dict[str, Any]]:
    """What a server is asked: everything that the variables are about, and all that decides on who may relay."""
    named = {name for one in desired.connectors for name in one.properties}
    found = [
        _query(RECEIVE_CONNECTOR.variable, RECEIVE_CONNECTOR, [*_IDENTITY, *sorted(named | set(JUDGED_BY))]),
        {
            **_empty(PERMISSIONS, "Get-ADPermission"),
            "properties": ["User", "AccessRights", "ExtendedRights", "Deny", "IsInherited"],
            "each": RECEIVE_CONNECTOR.variable,
        },
        {
            **_empty(PRESSURE, "Get-ExchangeDiagnosticInfo"),
            "parameters": {"Process": "EdgeTransport", "Component": "ResourceThrottling"},
            "server_parameter": "Server",
            "properties": ["Result"],
            "volatile": True,
        },
    ]
    if any(CERTIFICATE_NAME in settings.properties for settings in desired.settings):
        found.append(
            {
                **_empty(CERTIFICATES, "Get-ExchangeCertificate"),
                "server_parameter": "Server",
                # All else depends on the way in: a plain session brings nothing but this.
                "properties": ["RawData"],
            }
        )
    services: list[str] = []
    for settings in desired.settings:
        if settings.properties:
            found.append(_query(settings.kind.variable, settings.kind, list(settings.properties)))
        if settings.kind in MAIL_ACCESS:
            services += settings.kind.services
    if services:
        found.append(
            {
                **_empty(SERVICES, "Get-Service"),
                "parameters": {"Name": services},
                "properties": ["Name", "Status", "StartType"],
            }
        )
        found.append(
            {
                **_empty(COMPONENTS, "Get-ServerComponentState"),
                "server_parameter": "Identity",
                "properties": ["Component", "State", "ServerWideOfflineIsOffline", "LocalStates"],
            }
        )
    if desired.edge_traversal_ports:
        found.append(
            {
                **_empty(FIREWALL, "Get-LocalPortFirewallRule"),
                "parameters": {"LocalPort": sorted(map(str, desired.edge_traversal_ports))},
                "properties": [
                    "Name",
                    "DisplayName",
                    "Direction",
                    "LocalPort",
                    "Program",
                    "EdgeTraversalPolicy",
                    "PolicyStoreSourceType",
                ],
            }
        )
    if any(own_bindings(connector) for connector in desired.connectors):
        found.append({**_empty(ADDRESSES, "Get-HostAddress"), "properties": ["IPAddress"]})
    if desired.direct_return is not None:
        found.append({**_empty(INTERFACES, "Get-HostInterface"), "properties": list(_INTERFACE)})
    return found


def _query(name: str, kind: Kind, properties: list[str]) -> dict[str, Any]:
    return {**_empty(name, kind.get), "server_parameter": kind.get_by, "properties": properties}


def _empty(name: str, command: str) -> dict[str, Any]:
    return {
        "name": name,
        "command": command,
        "parameters": {},
        "server_parameter": "",
        "properties": [],
        "each": "",
        "volatile": False,
    }


def standard_input(scripts: Iterable[str], data: Mapping[str, Any], secrets: Iterable[str] = ()) -> str:
    """What the bootstrap reads: a document on one line, and a secret on each further one.

    In the document a secret is ``{"secret": its number}``: a command reads the document, and what a command gets may be
    logged. ASCII alone, whatever code page the host has.
    """
    document = json.dumps({"scripts": list(scripts), "data": data}, ensure_ascii=True)
    return "\n".join([document, *(base64.b64encode(secret.encode()).decode() for secret in secrets)])


# --- the answer ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """The document that came back."""

    document: Mapping[str, Any]

    @property
    def fatal(self) -> Mapping[str, Any] | None:
        """The error that ended the script, with the stage in ``command``."""
        return self.document.get("fatal")

    @property
    def digest(self) -> str:
        """What the server's state is known by."""
        return str(self.document["digest"])

    @property
    def controller(self) -> str:
        """The domain controller that was asked; empty where there is none."""
        return str(self.document.get("controller") or "")


def read_answer(output: str) -> Answer | None:
    """The one document in the script's output, whatever else stands there; None where there is none."""
    found = _ANSWER.findall(output)
    if not found:
        return None
    try:
        document = json.loads(found[-1])
    except ValueError:
        return None
    return Answer(document) if isinstance(document, dict) else None


@dataclass(frozen=True)
class Connector:
    """A receive connector as the server has it, and the extended rights of accounts on it.

    ``rights`` are those that were given on it one by one: what can be compared, given and withdrawn. ``standing`` are
    all that are given otherwise, by inheritance or in general, by the accounts' keys: they are only judged. ``doubts``
    say what of the rights isn't understood.
    """

    name: str
    identity: str
    distinguished_name: str
    raw: Mapping[str, Any]
    rights: Mapping[Name, frozenset[Name]]
    standing: Mapping[str, frozenset[str]] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Interface:
    """A network adapter with its IPv4 interface, or such an interface without an adapter.

    ``addresses`` has the length of each one's prefix, without loopback and link-local ones, which Windows itself puts
    where there is none; ``sources`` are those that the host may send from by itself.
    """

    name: str
    component: str
    device: str
    disabled: bool
    bindings: frozenset[str]
    metric: int | None
    automatic_metric: bool
    dhcp: bool
    weak_send: bool
    weak_receive: bool
    addresses: Mapping[ipaddress.IPv4Address, int]
    sources: frozenset[ipaddress.IPv4Address]
    registers: bool
    netbios: int | None

    @property
    def loopback(self) -> bool:
        """Whether it is the kind of adapter whose packets go nowhere."""
        return self.component.lower() == LOOPBACK_COMPONENT


@dataclass(frozen=True)
class Server:
    """A server as it is. ``addresses`` is None where nobody asked for them."""

    name: str
    fqdn: str
    version: str
    build: str
    connectors: tuple[Connector, ...]
    settings: Mapping[str, Mapping[str, Any]]
    services: Mapping[str, Mapping[str, Any]]
    components: Mapping[str, Mapping[str, Any]]
    firewall: tuple[Mapping[str, Any], ...]
    interfaces: tuple[Interface, ...]
    pressure: str
    accounts: Accounts = field(default_factory=Accounts)
    addresses: frozenset[tuple[int, int]] | None = None
    certificates: tuple[str, ...] = ()


def error_sentence(error: Mapping[str, Any]) -> str:
    """What a cmdlet says is wrong, as a part of a sentence."""
    message = " ".join(str(error.get("message", "")).split()).rstrip(".")
    if _is_unknown_command(error):
        return f"the account has no right to run {error['command']}, or the server has no such command"
    return message or str(error.get("id") or "no reason was given")


def _is_unknown_command(error: Mapping[str, Any]) -> bool:
    return "CommandNotFound" in f"{error.get('id')}{error.get('reason')}"


def read_server(answer: Answer, desired: Desired) -> Server:
    """The server in an answer.

    :raises Refused: where something that is needed couldn't be read, or isn't as it must be.
    """
    document = answer.document
    about = document["server"]
    version = version_of(str(about.get("AdminDisplayVersion")))
    name = str(about.get("Name"))
    if version is None:
        raise Refused(
            [f"{name} says that it is {about.get('AdminDisplayVersion')!r}, not Exchange 2010 to SE; take it out."]
        )
    host = str(document.get("host") or name)
    if host.lower() != name.lower():
        text = "its Exchange would be set up, and this host's services and network"
        raise Refused([f"exchange_server leads to {name}, but this host is {host}: {text}; give the host's own name."])
    read = document["read"]
    sentences = []
    for query in queries(desired):
        error = read[query["name"]].get("error")
        # A server whose back pressure can't be read is configured all the same.
        if error and query["name"] != PRESSURE:
            sentences.append(
                f"{query['command']} can't be read on {name}: {error_sentence(error)}; nothing was changed."
            )
    if sentences:
        raise Refused(sentences)
    accounts = Accounts(document.get("accounts"))
    settings = {}
    for one in desired.settings:
        objects = read[one.kind.variable]["objects"] if one.properties else [{}]
        if len(objects) != 1:
            raise Refused([f"{one.kind.get} found {len(objects)} objects on {name}, not one; nothing was changed."])
        settings[one.kind.variable] = objects[0]
    return Server(
        name=name,
        fqdn=str(about.get("Fqdn")),
        version=version,
        build=str(about.get("AdminDisplayVersion")),
        connectors=_connectors(read, name, accounts),
        settings=settings,
        services={str(entry["Name"]).lower(): entry for entry in _objects(read, SERVICES)},
        components={str(entry["Component"]).lower(): entry for entry in _objects(read, COMPONENTS)},
        firewall=tuple(_objects(read, FIREWALL)),
        interfaces=tuple(map(_interface, _objects(read, INTERFACES))),
        pressure=_pressure(_objects(read, PRESSURE)),
        accounts=accounts,
        certificates=tuple(str(entry.get("RawData") or "") for entry in _objects(read, CERTIFICATES)),
        addresses=_addresses(_objects(read, ADDRESSES)) if ADDRESSES in read else None,
    )


def _objects(read: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    return list(read.get(name, {}).get("objects") or ())


@dataclass
class _Grants:
    """The rights on one connector, while they are read; see ``Connector``."""

    rights: dict[Name, frozenset[Name]] = field(default_factory=dict)
    standing: dict[str, frozenset[str]] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)

    def add(self, entry: Mapping[str, Any], accounts: Accounts) -> None:
        """One entry of its access control list."""
        # An entry that denies takes nothing from what others may give: only what certainly denies is left out.
        if _flag(entry.get("Deny")):
            return
        user = accounts.find(str(entry.get("User")))
        granted = frozenset(read_name(right) for right in _texts(entry.get("ExtendedRights")))
        every = _is_general(_texts(entry.get("AccessRights")), bool(granted)) or any(
            re.fullmatch(r"[{(]?[0-9a-f-]{32,36}[)}]?|all-extended-rights", right.key) for right in granted
        )
        if granted and not _maybe(entry.get("IsInherited")):
            self.rights[user] = self.rights.get(user, frozenset()) | granted
        else:
            keys = frozenset(right.key for right in granted)
            self.standing[user.key] = self.standing.get(user.key, frozenset()) | keys
        if every:
            self.standing[user.key] = self.standing.get(user.key, frozenset()) | {EVERY_RIGHT}
        if is_obscure(user.key) and (every or ANY_RECIPIENT.lower() in {right.key for right in granted}):
            self.doubts.append(f"it lets {user.spelling!r} relay, an account that the server doesn't know")


# What an entry of an access control list may allow that says nothing about extended rights (ActiveDirectoryRights).
_OTHER_ACCESS = frozenset(
    (
        "createchild deletechild listchildren self readproperty writeproperty deletetree listobject delete readcontrol "
        "genericexecute genericwrite genericread writedacl writeowner synchronize accesssystemsecurity"
    ).split()
)


def _is_general(access: list[str], named: bool) -> bool:
    """Whether an entry gives all rights: GenericAll, ExtendedRight without a name, or what isn't known here."""
    given = {part.strip().lower() for text in access for part in text.split(",")}
    return bool(given - _OTHER_ACCESS - ({"extendedright"} if named else set())) or (not given and not named)


def _texts(value: Any) -> list[str]:
    if value is None or value == "":
        return []
    return [str(item) for item in (value if isinstance(value, list) else [value])]


def _maybe(value: Any) -> bool:
    """Whether a flag is set, or can't be read."""
    try:
        return value is not None and read_boolean(value)
    except Unfit:
        return True


def _connectors(read: Mapping[str, Any], server: str, accounts: Accounts) -> tuple[Connector, ...]:
    grants: dict[str, _Grants] = {}
    for entry in _objects(read, PERMISSIONS):
        grants.setdefault(entry["Of"], _Grants()).add(entry, accounts)
    connectors: dict[str, Connector] = {}
    for raw in _objects(read, RECEIVE_CONNECTOR.variable):
        name = str(raw["Name"])
        identity = str(raw.get("Identity") or f"{server}\\{name}")
        if name.lower() in connectors:
            raise Refused(
                [f"{server} has two receive connectors {name!r}, so that neither can be meant; rename or remove one."]
            )
        connectors[name.lower()] = Connector(
            name,
            identity,
            str(raw.get("DistinguishedName") or identity),
            raw,
            (given := grants.get(identity, _Grants())).rights,
            given.standing,
            tuple(dict.fromkeys(given.doubts)),
        )
    return tuple(connectors.values())


def _addresses(objects: Iterable[Mapping[str, Any]]) -> frozenset[tuple[int, int]]:
    """Family and number of each address that the host has; link-local ones come with their adapter."""
    found = [ipaddress.ip_address(str(entry["IPAddress"]).partition("%")[0]) for entry in objects]
    return frozenset((address.version, int(address)) for address in found)


def _interface(raw: Mapping[str, Any]) -> Interface:
    addresses = {}
    for text in raw["Addresses"]:
        entry = ipaddress.IPv4Interface(text)
        if not entry.ip.is_loopback and not entry.ip.is_link_local:
            addresses[entry.ip] = entry.network.prefixlen
    return Interface(
        name=str(raw["Name"]),
        component=str(raw["ComponentID"] or ""),
        device=str(raw["PnPDeviceID"] or ""),
        disabled=_flag(raw["Disabled"]),
        bindings=frozenset(raw["Bindings"]),
        metric=raw["InterfaceMetric"],
        automatic_metric=_enabled(raw["AutomaticMetric"]),
        dhcp=_enabled(raw["Dhcp"]),
        weak_send=_enabled(raw["WeakHostSend"]),
        weak_receive=_enabled(raw["WeakHostReceive"]),
        addresses=addresses,
        sources=frozenset(map(ipaddress.IPv4Address, raw["Sources"])),
        registers=_flag(raw["DnsRegistration"]),
        netbios=raw["NetbiosOption"],
    )


def _enabled(value: Any) -> bool:
    return str(value).lower() == "enabled"


def _flag(value: Any) -> bool:
    try:
        return read_boolean(value)
    except Unfit:
        return False


def _pressure(objects: list[dict[str, Any]]) -> str:
    """The transport service's own word for its load; empty where it said none."""
    text = str(objects[0].get("Result") or "") if objects else ""
    found = re.search(r"<AggregateUse>\s*(\w+)\s*</AggregateUse>", text)
    return found[1] if found else ""
