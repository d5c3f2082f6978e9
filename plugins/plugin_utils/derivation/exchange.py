# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the declaration to the variables of the role exchange: the far side of what the gateways publish."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from ...module_utils.values.addresses import Address
from ..addresses import in_order
from ..declaration import schema
from ..declaration.site import Site
from ..declaration.tree import Server
from ..declaration.validation import Survey
from ..exchange.kinds.receive_connectors import ANONYMOUS, ANY_RECIPIENT

# What a server allows one source is meant for one client; a gateway is all of them.
_FOR_MANY = {"MaxInboundConnectionPerSource": "Unlimited", "MaxInboundConnectionPercentagePerSource": 100}


def derive_servers(found: Survey) -> dict[str, dict[str, Any]]:
    """The role's variables for each server that is set up from here, by its name in the inventory.

    Mail reaches a server from the gateways of every site that it is a server of.
    """
    derived = {}
    for host, site in found.site_of.items():
        if host in site.server_hosts and site.declaration.exchange.managed:
            senders = [gateway for one in found.sites if host in one.server_hosts for gateway in one.gateways]
            derived[host] = derive_exchange(dataclasses.replace(site, gateways=tuple(senders)), host)
    return derived


def derive_exchange(site: Site, host: str) -> dict[str, Any]:
    """The role's variables for one server of a sound site. One of the group of older servers gets its smaller part."""
    older = site.is_older(host)
    return {
        "exchange_receive_connectors": _older_connectors(site) if older else _connectors(site),
        "exchange_transport": {} if older else _logging(site),
        "exchange_frontend_transport": {} if older else _logging(site),
        "exchange_imap": {} if older else _imap(site),
        "exchange_pop": {} if older else _pop(site),
        "exchange_edge_traversal_ports": [] if older else _edge_traversal_ports(site),
        "exchange_server_addresses": in_order({*_known(site.servers), *_known(site.older_servers)}),
        "exchange_gateway_addresses": in_order({*_egress(site), *_reached(site)}),
        "exchange_relay_addresses": in_order(_relays(site)),
    }


def _known(servers: Iterable[Server]) -> list[Address]:
    return [server.address for server in servers if not isinstance(server.address, str)]


def _egress(site: Site) -> list[Address]:
    return [gateway.egress for gateway in site.gateways if gateway.egress is not None]


def _reached(site: Site) -> list[Address]:
    """The addresses by which the gateways are known otherwise: without an egress address they may be it."""
    return [gateway.reached_at for gateway in site.gateways if gateway.reached_at is not None]


def _relays(site: Site) -> list[Address]:
    return [gateway.relay for gateway in site.gateways if gateway.relay is not None] if site.relay_networks else []


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
            "Fqdn": site.declaration.hostname,
            "ProtocolLoggingLevel": "Verbose" if site.declaration.exchange.protocol_logging else "None",
            **_FOR_MANY,
            **properties,
        },
        "extended_rights": [],
    }


def _connectors(site: Site) -> list[dict[str, Any]]:
    """Everybody's mail, submission, and relay clients: a connector each, told apart by address and port."""
    smtp = site.declaration.smtp
    if not smtp.enabled:
        return []
    found = []
    egress, relays = _egress(site), _relays(site)
    if egress:
        anonymous = {"AuthMechanism": ["Tls"], "PermissionGroups": ["AnonymousUsers"]}
        found.append(_connector(site, "Mail gateway", egress, schema.SMTP.port, **anonymous))
    if egress and smtp.submission:
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
    return [{"default": True, "properties": {"RemoteIPRanges": {"add": in_order(_known(site.servers))}}}]


def _logging(site: Site) -> dict[str, Any]:
    if not site.declaration.exchange.protocol_logging:
        return {}
    return {"properties": {"IntraOrgConnectorProtocolLoggingLevel": "Verbose"}}


def _mail_access(site: Site, ports: tuple[tuple[int, str], ...], more: dict[str, Any]) -> dict[str, Any]:
    hostname = site.declaration.hostname
    properties = {
        "ExternalConnectionSettings": [f"{hostname}:{port}:{encryption}" for port, encryption in ports],
        **more,
    }
    if site.declaration.certificate.file:
        # The servers hold the gateway's certificate. By its name a wildcard is bound as well.
        properties["X509CertificateName"] = hostname
    return {"enabled": True, "properties": properties}


def _imap(site: Site) -> dict[str, Any]:
    imap = site.declaration.imap
    more = {"EnableGSSAPIAndNTLMAuth": imap.ntlm}
    return _mail_access(site, ((993, "SSL"), (143, "TLS")), more) if imap.enabled else {}


def _pop(site: Site) -> dict[str, Any]:
    return _mail_access(site, ((995, "SSL"), (110, "TLS")), {}) if site.declaration.pop.enabled else {}


def _edge_traversal_ports(site: Site) -> list[int]:
    if not site.declaration.exchange.edge_traversal:
        return []
    services = [service for service in site.tcp_services if service in (*schema.IMAP, *schema.POP)]
    return sorted(service.port for service in services)
