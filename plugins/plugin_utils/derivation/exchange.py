# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the declaration to the variables of the role exchange: the far side of what the gateways publish."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..addresses import Address, in_order
from ..declaration import schema
from ..declaration.declaration import DeclarationError, check
from ..declaration.rules import Site, relay_networks
from ..declaration.tree import Inventory, Node, Problems, read_server
from ..exchange.kinds import ANONYMOUS, ANY_RECIPIENT

# What a server allows one source is meant for one client; a gateway is all of them.
_FOR_MANY = {"MaxInboundConnectionPerSource": "Unlimited", "MaxInboundConnectionPercentagePerSource": 100}


def derive_exchange(
    declaration: Any, host: str, inventory: Inventory, gateways: Sequence[str] | None = None
) -> dict[str, Any]:
    """The role's variables for one server. A host of the group of older servers gets its part, which is smaller.

    Raises DeclarationError with every problem when the declaration isn't sound; the files that it names aren't looked
    at. ``gateways`` are the hosts that the declaration is for; without it, all of the group ``gateways``.
    """
    return _variables(_site(declaration, inventory, gateways), host)


def derive_servers(
    declaration: Any, inventory: Inventory, gateways: Sequence[str] | None = None
) -> dict[str, dict[str, Any]]:
    """The role's variables for each server that is set up from here, by its name in the inventory; see above."""
    site = _site(declaration, inventory, gateways)
    exchange = site.tree["exchange"]
    if not exchange["managed"].value:
        return {}
    groups = (exchange[name].value for name in ("group", "legacy_group"))
    return {host: _variables(site, host) for group in groups for host in inventory.group(group)}


def _site(declaration: Any, inventory: Inventory, gateways: Sequence[str] | None) -> Site:
    checked = check(declaration, inventory, gateways)
    if checked.problems:
        raise DeclarationError(checked.problems)
    return checked.site


def _variables(site: Site, host: str) -> dict[str, Any]:
    older = host in site.inventory.group(site.tree["exchange"]["legacy_group"].value)
    return {
        "exchange_receive_connectors": _older_connectors(site) if older else _connectors(site),
        "exchange_transport": {} if older else _logging(site),
        "exchange_frontend_transport": {} if older else _logging(site),
        "exchange_imap": {} if older else _imap(site.tree),
        "exchange_pop": {} if older else _pop(site.tree),
        "exchange_edge_traversal_ports": [] if older else _edge_traversal_ports(site.tree),
        "exchange_server_addresses": in_order({*_servers(site), *_older_servers(site)}),
        "exchange_gateway_addresses": in_order({*_egress(site), *_reached(site)}),
        "exchange_relay_addresses": in_order(_relays(site)),
    }


def _servers(site: Site) -> list[Address]:
    return [server.address for server in site.servers if not isinstance(server.address, str)]


def _older_servers(site: Site) -> list[Address]:
    names = site.inventory.group(site.tree["exchange"]["legacy_group"].value)
    servers = [read_server(name, site.inventory, Problems()) for name in names]
    return [server.address for server in servers if server is not None and not isinstance(server.address, str)]


def _egress(site: Site) -> list[Address]:
    return [gateway.egress for gateway in site.gateways if gateway.egress is not None]


def _reached(site: Site) -> list[Address]:
    """The addresses by which the gateways are known otherwise: without an egress address they may be it."""
    return [gateway.reached_at for gateway in site.gateways if gateway.reached_at is not None]


def _relays(site: Site) -> list[Address]:
    return (
        [gateway.relay for gateway in site.gateways if gateway.relay is not None] if relay_networks(site.tree) else []
    )


def _bindings(addresses: Iterable[Address], port: int) -> list[str]:
    versions = {address.version for address in addresses}
    return [text for version, text in ((4, f"0.0.0.0:{port}"), (6, f"[::]:{port}")) if version in versions]


def _connector(site: Site, name: str, addresses: list[Address], port: int, **properties: Any) -> dict[str, Any]:
    return {
        "name": name,
        "properties": {
            "TransportRole": "FrontendTransport",
            "Bindings": _bindings(addresses, port),
            "RemoteIPRanges": in_order(addresses),
            "Fqdn": site.tree["hostname"].value,
            "ProtocolLoggingLevel": "Verbose" if site.tree["exchange"]["protocol_logging"].value else "None",
            **_FOR_MANY,
            **properties,
        },
        "extended_rights": [],
    }


def _connectors(site: Site) -> list[dict[str, Any]]:
    """Everybody's mail, submission, and relay clients: a connector each, told apart by address and port."""
    smtp = site.tree["smtp"]
    if not smtp["enabled"].value:
        return []
    found = []
    egress, relays = _egress(site), _relays(site)
    if egress:
        anonymous = {"AuthMechanism": ["Tls"], "PermissionGroups": ["AnonymousUsers"]}
        found.append(_connector(site, "Mail gateway", egress, schema.SMTP.port, **anonymous))
    if egress and smtp["submission"].value:
        # As the connector of setup for this port has it.
        mechanisms = ["Tls", "Integrated", "BasicAuth", "BasicAuthRequireTLS"]
        users = {"AuthMechanism": mechanisms, "PermissionGroups": ["ExchangeUsers"], "EnableAuthGSSAPI": True}
        found.append(_connector(site, "Mail gateway submission", egress, schema.SUBMISSION.port, **users))
    if relays:
        relay = _connector(
            site,
            "Mail gateway relay",
            relays,
            schema.SMTP.port,
            AuthMechanism=["Tls"],
            PermissionGroups=["AnonymousUsers"],
        )
        found.append({**relay, "extended_rights": [{"user": ANONYMOUS, "rights": [ANY_RECIPIENT]}]})
    return found


def _older_connectors(site: Site) -> list[dict[str, Any]]:
    """Mail from new to old servers stuck until the old ones' default connectors named the new servers one by one."""
    return [{"default": True, "properties": {"RemoteIPRanges": {"add": in_order(_servers(site))}}}]


def _logging(site: Site) -> dict[str, Any]:
    if not site.tree["exchange"]["protocol_logging"].value:
        return {}
    return {"properties": {"IntraOrgConnectorProtocolLoggingLevel": "Verbose"}}


def _mail_access(tree: Node, ports: tuple[tuple[int, str], ...], more: dict[str, Any]) -> dict[str, Any]:
    hostname = tree["hostname"].value
    properties = {
        "ExternalConnectionSettings": [f"{hostname}:{port}:{encryption}" for port, encryption in ports],
        **more,
    }
    if tree["certificate"]["file"].value:
        # The servers hold the gateway's certificate. By its name a wildcard is bound as well.
        properties["X509CertificateName"] = hostname
    return {"enabled": True, "properties": properties}


def _imap(tree: Node) -> dict[str, Any]:
    if not tree["imap"]["enabled"].value:
        return {}
    ntlm = {"EnableGSSAPIAndNTLMAuth": tree["imap"]["ntlm"].value}
    return _mail_access(tree, ((993, "SSL"), (143, "TLS")), ntlm)


def _pop(tree: Node) -> dict[str, Any]:
    return _mail_access(tree, ((995, "SSL"), (110, "TLS")), {}) if tree["pop"]["enabled"].value else {}


def _edge_traversal_ports(tree: Node) -> list[int]:
    if not tree["exchange"]["edge_traversal"].value:
        return []
    services = [*(schema.IMAP if tree["imap"]["enabled"].value else ())]
    services += schema.POP if tree["pop"]["enabled"].value else ()
    return sorted(service.port for service in services)
