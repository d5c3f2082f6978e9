# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server is asked."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from .concepts import Call, Kind
from .desired import Desired
from .kinds import KINDS
from .kinds.mail_access import CERTIFICATE_NAME
from .kinds.receive_connectors import own_bindings
from .kinds.windows import DIRECT_RETURN, EDGE_TRAVERSAL

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

SERVICES = "services"
COMPONENTS = "components"
FIREWALL = "firewall"
INTERFACES = "interfaces"
ADDRESSES = "addresses"
CERTIFICATES = "certificates"
PRESSURE = "pressure"
PERMISSIONS = "permissions"


def queries(desired: Desired) -> list[dict[str, Any]]:
    """What a server is asked: everything that the variables are about, and all that decides on who may relay."""
    found = [query for kind in KINDS for query in _of_kind(kind, desired)]
    parameters = {"Process": "EdgeTransport", "Component": "ResourceThrottling"}
    found.append(_query(PRESSURE, "Get-ExchangeDiagnosticInfo", ["Result"], parameters, by="Server", volatile=True))
    if any(CERTIFICATE_NAME in one.properties for one in desired.objects):
        # All else depends on the way in: a plain session brings nothing but this.
        found.append(_query(CERTIFICATES, "Get-ExchangeCertificate", ["RawData"], by="Server"))
    services = [name for one in desired.objects if one.kind.services for name in one.kind.services.services]
    if services:
        found.append(_query(SERVICES, "Get-Service", ["Name", "Status", "StartType"], {"Name": services}))
        states = ["Component", "State", "ServerWideOfflineIsOffline", "LocalStates"]
        found.append(_query(COMPONENTS, "Get-ServerComponentState", states, by="Identity"))
    if desired.edge_traversal_ports:
        of_rules = ["Name", "DisplayName", "Direction", "LocalPort", "Program"]
        of_rules += ["EdgeTraversalPolicy", "PolicyStoreSourceType"]
        ports = {"LocalPort": sorted(map(str, desired.edge_traversal_ports))}
        found.append(_query(FIREWALL, EDGE_TRAVERSAL.get, of_rules, ports))
    if any(own_bindings(one) for one in desired.objects):
        found.append(_query(ADDRESSES, "Get-HostAddress", ["IPAddress"]))
    if desired.direct_return is not None:
        found.append(_query(INTERFACES, DIRECT_RETURN.get, list(_INTERFACE)))
    return found


def is_read(kind: Kind, desired: Desired) -> bool:
    """Whether objects of this kind are asked for: those that are named, and those of which some may be ours."""
    return kind.mark is not None or any(one.properties or kind.key for one in desired.of(kind))


def _of_kind(kind: Kind, desired: Desired) -> list[dict[str, Any]]:
    if not is_read(kind, desired):
        return []
    named = {name for one in desired.of(kind) for name in one.properties} | set(kind.read)
    properties = [*(("Name", "Identity") if kind.key else ()), *sorted(named)]
    found = [_query(kind.variable, kind.get, properties, by=kind.get.by)]
    found += [_query(PERMISSIONS, part.get, list(part.read), each=kind.variable) for part in kind.parts]
    return found


def _query(
    name: str,
    command: str | Call,
    properties: list[str],
    parameters: Mapping[str, Any] | None = None,
    by: str = "",
    each: str = "",
    volatile: bool = False,
) -> dict[str, Any]:
    """One question: a cmdlet with parameters, the one that names the server, and the properties that come back.

    ``each``: it is asked of each object that this other question found. ``volatile``: what comes back differs from one
    time to the next. ``former`` is what the cmdlet is called where its name isn't known yet: nobody knows the version
    before the answer.
    """
    names = command.names if isinstance(command, Call) else (command,)
    return {
        "name": name,
        "command": names[0],
        "former": names[-1],
        "parameters": dict(parameters or {}),
        "server_parameter": by,
        "properties": properties,
        "each": each,
        "volatile": volatile,
    }


def standard_input(scripts: Iterable[str], data: Mapping[str, Any], secrets: Iterable[str] = ()) -> str:
    """What the bootstrap reads: a document on one line, and a secret on each further one.

    In the document a secret is ``{"secret": its number}``: a command reads the document, and what a command gets may be
    logged. ASCII alone, whatever code page the host has.
    """
    document = json.dumps({"scripts": list(scripts), "data": data}, ensure_ascii=True)
    return "\n".join([document, *(base64.b64encode(secret.encode()).decode() for secret in secrets)])
