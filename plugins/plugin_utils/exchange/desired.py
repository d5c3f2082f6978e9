# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role's variables ask of a server, read into exact values before any server is asked anything."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..declaration.values import Unfit, read_address, show
from .accounts import question, read_account
from .kinds import MAIL_ACCESS, RECEIVE_CONNECTOR, SETTINGS, VERSIONS, Kind
from .ranges import Binding, Range, one_address, read_range
from .values import Name, Wanted, read_boolean, read_name, read_wanted

SERVER_PLACE = "{server}"
"""Stands for the server's name in the name of a connector: setup names the default ones after the server."""

_FORBIDDEN_IN_NAMES = re.compile(r"[\x00-\x1f\x7f\\]")
# What Windows allows in no connection's name, and the brackets, which cmdlets take for a pattern.
_FORBIDDEN_IN_ADAPTERS = re.compile(r'[\x00-\x1f\x7f\\/:*?"<>|[\]]')

DIRECT_RETURN = "exchange_direct_return"
ADAPTER = "Direct server return"
"""The loopback adapter's name where nobody gives another one."""


class Refused(ValueError):
    """Something can't be done; ``sentences`` say what and why, one each."""

    def __init__(self, sentences: Iterable[str]) -> None:
        self.sentences = list(sentences)
        super().__init__("\n".join(self.sentences))


@dataclass(frozen=True)
class DesiredConnector:
    """A receive connector as it is to be. ``rights`` is None where rights are nobody's business here."""

    path: str
    name: str
    default: bool
    present: bool
    properties: Mapping[str, Wanted]
    rights: Mapping[Name, frozenset[Name]] | None


@dataclass(frozen=True)
class DesiredSettings:
    """Settings of which a server has one object, and whether its services are to run (None: as they are)."""

    kind: Kind
    path: str
    properties: Mapping[str, Wanted]
    enabled: bool | None = None


@dataclass(frozen=True)
class DesiredDirectReturn:
    """The loopback adapter that has the service addresses, each with its prefix, and the adapters by which mail comes.

    ``interfaces`` is empty where those are to be found on the host.
    """

    present: bool
    addresses: Mapping[ipaddress.IPv4Address, int]
    adapter: str = ADAPTER
    interfaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class Neighbourhood:
    """Who is around the server: what the safety of its connectors is judged by.

    ``servers`` are the addresses of all Exchange servers, ``gateways`` those from which anybody's mail comes,
    ``relays`` those that only relay clients use. ``acknowledged`` are ranges of public addresses that may relay.
    """

    servers: tuple[Range, ...] = ()
    gateways: tuple[Range, ...] = ()
    relays: tuple[Range, ...] = ()
    acknowledged: tuple[Range, ...] = ()


@dataclass(frozen=True)
class Desired:
    """Everything that is asked of one server."""

    connectors: tuple[DesiredConnector, ...] = ()
    settings: tuple[DesiredSettings, ...] = ()
    edge_traversal_ports: frozenset[int] = frozenset()
    direct_return: DesiredDirectReturn | None = None
    neighbourhood: Neighbourhood = field(default_factory=Neighbourhood)


def accounts_of(desired: Desired) -> list[str]:
    """What the server is asked of the accounts that the variables name."""
    named = {user for one in desired.connectors for user in one.rights or ()}
    return sorted({question(user) for user in named})


def own_bindings(connector: DesiredConnector) -> list[Binding]:
    """The bindings to one address that the connector is to have."""
    wanted = connector.properties.get("Bindings")
    if wanted is None or not connector.present:
        return []
    return sorted(item for item in (wanted.value or frozenset()) | wanted.add if not item.everywhere)


class _Reader:
    """Collects sentences while it reads."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def note(self, path: str, text: str) -> None:
        self.sentences.append(f"{path} {text}" if text.endswith("?") else f"{path} {text}.")

    def unfit(self, path: str, value: Any, unfit: Unfit) -> None:
        self.note(path, f"is {show(value)}, {unfit.text}")


def read_desired(arguments: Mapping[str, Any]) -> Desired:
    """What the module's arguments ask for.

    :raises Refused: with a sentence for everything that is wrong.
    """
    reader = _Reader()
    connectors = _connectors(reader, arguments.get("receive_connectors") or [])
    settings = []
    for kind in SETTINGS:
        value = arguments.get(kind.variable.removeprefix("exchange_"))
        if value is not None:
            settings.append(_settings(reader, kind, value))
    ports = frozenset(arguments.get("edge_traversal_ports") or ())
    for port in sorted(ports - {110, 143, 993, 995}):
        text = "but must be one of 110, 143, 993 and 995, the ports of IMAP and POP clients"
        reader.unfit("exchange_edge_traversal_ports", port, Unfit(text))
    neighbourhood = Neighbourhood(
        servers=_ranges(reader, arguments, "server_addresses"),
        gateways=_ranges(reader, arguments, "gateway_addresses"),
        relays=_ranges(reader, arguments, "relay_addresses"),
        acknowledged=_ranges(reader, arguments, "acknowledged_relay_networks"),
    )
    direct_return = _direct_return(reader, arguments.get("direct_return") or {}, neighbourhood)
    if reader.sentences:
        raise Refused(reader.sentences)
    return Desired(tuple(connectors), tuple(settings), ports, direct_return, neighbourhood)


def _ranges(reader: _Reader, arguments: Mapping[str, Any], name: str) -> tuple[Range, ...]:
    found = []
    for index, value in enumerate(arguments.get(name) or ()):
        try:
            entry = read_range(value)
            if name.endswith("_addresses") and entry.size > 1:
                raise Unfit("but must be one address")
            if entry.whole:
                raise Unfit("which is everybody")
            found.append(entry)
        except Unfit as unfit:
            reader.unfit(f"exchange_{name}[{index}]", value, unfit)
    return tuple(found)


def _connectors(reader: _Reader, value: Any) -> list[DesiredConnector]:
    desired: list[DesiredConnector] = []
    for index, entry in enumerate(value):
        connector = _connector(reader, f"{RECEIVE_CONNECTOR.variable}[{index}]", entry)
        if connector is None:
            continue
        twin = next((known for known in desired if _same(known, connector)), None)
        if twin is not None:
            what = "default" if connector.default else f"name {show(connector.name)}"
            reader.note(connector.path, f"has the {what}, which {twin.path} has already; put both into one entry")
        desired.append(connector)
    return desired


def _same(one: DesiredConnector, other: DesiredConnector) -> bool:
    return one.default == other.default and one.name.lower() == other.name.lower()


def _connector(reader: _Reader, path: str, entry: Mapping[str, Any]) -> DesiredConnector | None:
    default = bool(entry.get("default"))
    name = entry.get("name") or ""
    if default == bool(name):
        reader.note(path, "must have either a name or default: true")
        return None
    unknown = _FORBIDDEN_IN_NAMES.search(name)
    if unknown or name != name.strip() or len(name) > 64:
        text = "but must be at most 64 characters on one line, without backslash, and without spaces around it"
        reader.unfit(f"{path}.name", name, Unfit(text))
        return None
    present = entry.get("state", "present") == "present"
    if default and not present:
        reader.note(path, "would remove the default connector, by which Exchange servers reach this one; take it out")
    properties = _properties(reader, RECEIVE_CONNECTOR, f"{path}.properties", entry.get("properties") or {})
    rights = entry.get("extended_rights")
    return DesiredConnector(
        path, name, default, present, properties, None if rights is None else _rights(reader, path, rights)
    )


def _rights(reader: _Reader, path: str, value: Any) -> dict[Name, frozenset[Name]]:
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


def _properties(reader: _Reader, kind: Kind, path: str, values: Mapping[str, Any]) -> dict[str, Wanted]:
    found: dict[str, Wanted] = {}
    for name, value in values.items():
        known = kind.known(str(name))
        if known is None:
            close = difflib.get_close_matches(str(name).lower(), [entry.name.lower() for entry in kind.properties], 1)
            right = kind.known(close[0]) if close else None
            ending = f"did you mean {right.name}?" if right else f"{kind.set} has no such parameter that can be set"
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


def _settings(reader: _Reader, kind: Kind, value: Mapping[str, Any]) -> DesiredSettings:
    enabled = value.get("enabled")
    if enabled is not None and kind in MAIL_ACCESS:
        try:
            enabled = read_boolean(enabled)
        except Unfit as unfit:
            reader.unfit(f"{kind.variable}.enabled", enabled, unfit)
            enabled = None
    properties = _properties(reader, kind, f"{kind.variable}.properties", value.get("properties") or {})
    return DesiredSettings(kind, kind.variable, properties, enabled)


def _direct_return(
    reader: _Reader, value: Mapping[str, Any], neighbourhood: Neighbourhood
) -> DesiredDirectReturn | None:
    """Direct server return; nothing where nothing is said about it."""
    if not value:
        return None
    present = value.get("state", "present") == "present"
    addresses: dict[ipaddress.IPv4Address, int] = {}
    entries = value.get("addresses") or ()
    for index, entry in enumerate(entries):
        try:
            address, prefix = _service_address(entry)
            if address in addresses:
                raise Unfit("which is on the list already; take one of them out")
            if one_address(address) in neighbourhood.servers:
                raise Unfit("which is in exchange_server_addresses too; a service address isn't a server's own")
            if one_address(address) in neighbourhood.gateways:
                text = "which is in exchange_gateway_addresses too; answers to the gateway would never leave the server"
                raise Unfit(text)
            addresses[address] = prefix
        except Unfit as unfit:
            reader.unfit(f"{DIRECT_RETURN}.addresses[{index}]", entry, unfit)
    if present and not entries:
        reader.note(f"{DIRECT_RETURN}.addresses", "is empty; name the service addresses, or say state: absent")
    adapter = value.get("adapter", ADAPTER)
    if _FORBIDDEN_IN_ADAPTERS.search(adapter) or adapter != adapter.strip() or not 0 < len(adapter) <= 64:
        text = 'but must be 1 to 64 characters without any of \\ / : * ? " < > | [ ], and without spaces around it'
        reader.unfit(f"{DIRECT_RETURN}.adapter", adapter, Unfit(text))
    return DesiredDirectReturn(present, addresses, adapter, _interfaces(reader, value.get("interfaces") or (), adapter))


def _service_address(entry: Any) -> tuple[ipaddress.IPv4Address, int]:
    """An IPv4 address that clients reach, and the length of its prefix, which is 32 where none is given."""
    text, slash, length = entry.partition("/") if isinstance(entry, str) else (entry, "", "")
    address = read_address(text)
    if not isinstance(address, ipaddress.IPv4Address):
        raise Unfit("but must be an IPv4 address: the loopback adapter has IPv4 alone")
    if not slash:
        return address, 32
    if not re.fullmatch(r"[0-9]{1,2}", length, re.ASCII) or not 1 <= int(length) <= 32:
        raise Unfit("but the number after the slash must be from 1 to 32")
    network = ipaddress.IPv4Network(f"{address}/{length}", strict=False)
    if int(length) < 31 and address in (network.network_address, network.broadcast_address):
        raise Unfit(f"which no host of {network} can have; give the address itself, with /32 or without a prefix")
    return address, int(length)


def _interfaces(reader: _Reader, entries: Iterable[str], adapter: str) -> tuple[str, ...]:
    found: list[str] = []
    for index, entry in enumerate(entries):
        path = f"{DIRECT_RETURN}.interfaces[{index}]"
        if not entry.strip():
            reader.unfit(path, entry, Unfit("but must be the name of a network adapter, such as Ethernet"))
        elif entry.lower() == adapter.lower():
            reader.unfit(path, entry, Unfit("but must be an adapter by which mail comes, not the loopback adapter"))
        elif entry.lower() in (name.lower() for name in found):
            reader.unfit(path, entry, Unfit("which is on the list already; take one of them out"))
        else:
            found.append(entry)
    return tuple(found)


def check_version(desired: Desired, version: str) -> list[str]:
    """A sentence for each property (and kind) that this version of Exchange doesn't have."""
    sentences = []
    for path, kind, properties in _all_properties(desired):
        if _older(version, kind.since) and (properties or kind in SETTINGS):
            sentences.append(
                f"{path} is for Exchange {kind.since} and later, and this server is {version}; take it out."
            )
            continue
        for name in properties:
            known = kind.known(name)
            if known is not None and _older(version, known.since):
                text = f"is known to Exchange from {known.since} on, and this server is {version}; take it out"
                sentences.append(f"{path}.properties.{name} {text}.")
    return sentences


def _all_properties(desired: Desired) -> Iterable[tuple[str, Kind, Mapping[str, Wanted]]]:
    for connector in desired.connectors:
        yield connector.path, RECEIVE_CONNECTOR, connector.properties
    for settings in desired.settings:
        yield settings.path, settings.kind, settings.properties


def _older(version: str, since: str) -> bool:
    return VERSIONS.index(version) < VERSIONS.index(since)


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


def is_public(entry: Range) -> bool:
    """Whether the range holds any address of the public Internet (or of another special purpose)."""
    return not any(private.holds(entry) for private in _PRIVATE)


# RFC 1918, RFC 6598, RFC 4193; loopback and link-local addresses (RFC 1122, RFC 4291) never come from outside.
_PRIVATE = tuple(
    Range(network.version, int(network.network_address), int(network.broadcast_address))
    for network in map(
        ipaddress.ip_network,
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "fc00::/7",
            "fe80::/10",
            "::1/128",
        ),
    )
)
