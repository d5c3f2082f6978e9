# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server's answer says."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...module_utils.values.sentences import show
from .accounts import Accounts
from .concepts import Kind
from .desired import Desired, version_of
from .grants import Grants, flag
from .kinds import KINDS
from .kinds.receive_connectors import RECEIVE_CONNECTOR
from .questions import (
    ADDRESSES,
    CERTIFICATES,
    COMPONENTS,
    FIREWALL,
    INTERFACES,
    PERMISSIONS,
    PRESSURE,
    SERVICES,
    is_read,
    queries,
)
from .refusals import Refused
from .values import Name

_ANSWER = re.compile(r'<<"postern">>(.*?)<<"end">>', re.DOTALL)

LOOPBACK_COMPONENT = "*msloop"


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
class Object:
    """An object as the server has it, and the extended rights of accounts on it.

    ``rights`` are those that were given on it one by one: what can be compared, given and withdrawn. ``standing`` are
    all that are given otherwise, by inheritance or in general, by the accounts' keys: they are only judged. ``doubts``
    say what of the rights isn't understood.
    """

    name: str
    identity: str
    raw: Mapping[str, Any]
    rights: Mapping[Name, frozenset[Name]] = field(default_factory=dict)
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
    """A server as it is; ``objects`` by the variables of their kinds. ``addresses`` is None where nobody asked."""

    name: str
    fqdn: str
    version: str
    build: str = ""
    objects: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)
    services: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    components: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    firewall: tuple[Mapping[str, Any], ...] = ()
    interfaces: tuple[Interface, ...] = ()
    pressure: str = ""
    accounts: Accounts = field(default_factory=Accounts)
    addresses: frozenset[tuple[int, int]] | None = None
    certificates: tuple[str, ...] = ()

    @property
    def connectors(self) -> tuple[Object, ...]:
        """Its receive connectors."""
        return self.objects.get(RECEIVE_CONNECTOR.variable, ())


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
    about, read = document["server"], document.get("read") or {}
    name, version = str(about.get("Name")), version_of(str(about.get("AdminDisplayVersion")))
    if version is None:
        raise Refused(
            [f"{name} says that it is {about.get('AdminDisplayVersion')!r}, not Exchange 2010 to SE; take it out."]
        )
    _check_answer(document, name, desired)
    accounts = Accounts(document.get("accounts"))
    return Server(
        name=name,
        fqdn=str(about.get("Fqdn")),
        version=version,
        build=str(about.get("AdminDisplayVersion")),
        objects={kind.variable: _of_kind(kind, desired, read, (name, accounts)) for kind in KINDS},
        services={str(entry["Name"]).lower(): entry for entry in _objects(read, SERVICES)},
        components={str(entry["Component"]).lower(): entry for entry in _objects(read, COMPONENTS)},
        firewall=tuple(_objects(read, FIREWALL)),
        interfaces=tuple(map(_interface, _objects(read, INTERFACES))),
        pressure=_pressure(_objects(read, PRESSURE)),
        accounts=accounts,
        certificates=tuple(str(entry.get("RawData") or "") for entry in _objects(read, CERTIFICATES)),
        addresses=_addresses(_objects(read, ADDRESSES)) if ADDRESSES in read else None,
    )


def _check_answer(document: Mapping[str, Any], name: str, desired: Desired) -> None:
    """Whether it is this host's own server, and everything that is needed could be read."""
    host = str(document.get("host") or name)
    if host.lower() != name.lower():
        text = "its Exchange would be set up, and this host's services and network"
        raise Refused([f"exchange_server leads to {name}, but this host is {host}: {text}; give the host's own name."])
    sentences = []
    for query in queries(desired):
        error = document["read"][query["name"]].get("error")
        # A server whose back pressure can't be read is configured all the same.
        if error and query["name"] != PRESSURE:
            sentences.append(
                f"{query['command']} can't be read on {name}: {error_sentence(error)}; nothing was changed."
            )
    if sentences:
        raise Refused(sentences)


def _objects(read: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    return list(read.get(name, {}).get("objects") or ())


def _of_kind(kind: Kind, desired: Desired, read: Mapping[str, Any], server: tuple[str, Accounts]) -> tuple[Object, ...]:
    name, accounts = server
    if not is_read(kind, desired):
        return tuple(Object("", name, {}) for _unused in desired.of(kind))
    found = _objects(read, kind.variable)
    if kind.key:
        return _several(kind, found, name, _grants(_objects(read, PERMISSIONS), accounts) if kind.parts else {})
    if len(found) != 1:
        raise Refused([f"{kind.get.name} found {len(found)} objects on {name}, not one; nothing was changed."])
    return (Object("", name, found[0]),)


def _several(
    kind: Kind, found: Iterable[Mapping[str, Any]], server: str, grants: Mapping[str, Grants]
) -> tuple[Object, ...]:
    objects: dict[str, Object] = {}
    for raw in found:
        name = str(raw["Name"])
        identity = str(raw.get("Identity") or f"{server}\\{name}")
        if name.lower() in objects:
            raise Refused(
                [f"{server} has two {kind.title}s {name!r}, so that neither can be meant; rename or remove one."]
            )
        given = grants.get(identity, Grants())
        objects[name.lower()] = Object(
            name, identity, raw, given.rights, given.standing, tuple(dict.fromkeys(given.doubts))
        )
    if strays := sorted(set(grants) - {one.identity for one in objects.values()}):
        whose = f"{server} shows rights of {show(strays[0])}, which is none of its {kind.title}s"
        raise Refused([f"{whose}, so that nobody can say who relays by them; nothing was changed, look at it there."])
    return tuple(objects.values())


def _grants(entries: Iterable[Mapping[str, Any]], accounts: Accounts) -> dict[str, Grants]:
    """The rights on each object, by its identity."""
    found: dict[str, Grants] = {}
    for entry in entries:
        found.setdefault(str(entry["Of"] or ""), Grants()).add(entry, accounts)
    return found


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
        disabled=flag(raw["Disabled"]),
        bindings=frozenset(raw["Bindings"]),
        metric=raw["InterfaceMetric"],
        automatic_metric=_enabled(raw["AutomaticMetric"]),
        dhcp=_enabled(raw["Dhcp"]),
        weak_send=_enabled(raw["WeakHostSend"]),
        weak_receive=_enabled(raw["WeakHostReceive"]),
        addresses=addresses,
        sources=frozenset(map(ipaddress.IPv4Address, raw["Sources"])),
        registers=flag(raw["DnsRegistration"]),
        netbios=raw["NetbiosOption"],
    )


def _enabled(value: Any) -> bool:
    return str(value).lower() == "enabled"


def _pressure(objects: list[dict[str, Any]]) -> str:
    """The transport service's own word for its load; empty where it said none."""
    text = str(objects[0].get("Result") or "") if objects else ""
    found = re.search(r"<AggregateUse>\s*(\w+)\s*</AggregateUse>", text)
    return found[1] if found else ""
