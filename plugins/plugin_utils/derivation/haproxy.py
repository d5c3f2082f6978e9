# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a site to the variables of the role haproxy."""

from __future__ import annotations

from typing import Any

from ..addresses import in_order
from ..declaration import schema
from ..declaration.site import EXCHANGE_CERTIFICATE, Site, Website
from ..declaration.tree import Gateway
from .role import Derived, Opening, texts

_ANY_OF_FAMILY = {4: "0.0.0.0/0", 6: "::/0"}


def derive_haproxy(site: Site, gateway: Gateway) -> Derived:
    """The role's variables. What is published is open to everybody, the metrics to the monitoring networks."""
    declared = site.declaration
    hostnames = list(site.exchange_hostnames) if declared.https.enabled else []
    limits = declared.https.limits
    variables = {
        "haproxy_listen_addresses": _listen_addresses(site),
        "haproxy_hostname": declared.hostname,
        "haproxy_servers": _servers(site),
        "haproxy_egress_address": str(gateway.egress or ""),
        "haproxy_relay_address": str(gateway.relay or "") if site.relay_networks else "",
        "haproxy_relay_networks": site.relay_networks_in_order,
        "haproxy_admin_networks": in_order(declared.admin_networks),
        "haproxy_monitoring_networks": in_order(declared.monitoring_networks),
        "haproxy_metrics_port": declared.metrics_port,
        "haproxy_exchange_hostnames": hostnames,
        "haproxy_exchange_certificate": EXCHANGE_CERTIFICATE if hostnames else "",
        "haproxy_exchange_ca_file": declared.exchange.ca_file,
        "haproxy_virtual_directories": _virtual_directories(site),
        "haproxy_long_poll_timeout": declared.https.long_poll_timeout,
        "haproxy_limits": {
            "connections": limits.connections,
            "connection_rate": limits.connection_rate,
            "request_rate": limits.request_rate,
            "failed_logons": limits.failed_logons,
        },
        "haproxy_tcp_services": _tcp_services(site),
        "haproxy_websites": list(map(_website, site.websites)),
        "haproxy_certificates": [
            {"name": one.name, "names": list(one.names), "file": one.file} for one in site.certificates
        ],
        # Challenges are passed on to the client that asked for them.
        "haproxy_acme_port": schema.ACME_PORT if site.issued_certificates else 0,
        "haproxy_acme_peers": in_order(peer.peer_address for peer in site.peers(gateway) if peer.peer_address),
    }
    return Derived(variables, _openings(site))


def _openings(site: Site) -> tuple[Opening, ...]:
    where = _destinations(site)
    found = [Opening(name, (port,), destinations=where) for port, name in sorted(site.published_ports.items())]
    monitoring = [one for one in site.declaration.monitoring_networks if one.version in site.families]
    if monitoring:
        port = site.declaration.metrics_port
        found.append(Opening("metrics for monitoring", (port,), sources=texts(monitoring), destinations=where))
    return tuple(found)


def _destinations(site: Site) -> tuple[str, ...]:
    """The addresses that clients reach; where none are declared, any of a family that the gateway listens on."""
    addresses = [address for address in site.declaration.service_addresses if address.version in site.families]
    if addresses:
        return texts(addresses)
    return () if site.families == {4, 6} else tuple(_ANY_OF_FAMILY[family] for family in sorted(site.families))


def _listen_addresses(site: Site) -> list[str]:
    if site.declaration.service_addresses:
        return in_order(site.declaration.service_addresses)
    everywhere = ["0.0.0.0"]  # noqa: S104 (what no service address declared means)
    return [*everywhere, "::"] if site.listens_on_ipv6 else everywhere


def _servers(site: Site) -> list[dict[str, Any]]:
    if not site.needs_servers:
        return []
    return [{"name": server.name, "address": str(server.address), "weight": server.weight} for server in site.servers]


def _virtual_directories(site: Site) -> list[dict[str, Any]]:
    https = site.declaration.https
    if not https.enabled:
        return []
    return [
        {
            "name": directory.name,
            "path": directory.path,
            "health_path": directory.health_path,
            "closed": directory.name in https.internal_only,
        }
        for directory in schema.VIRTUAL_DIRECTORIES
        if directory.name in https.virtual_directories
    ]


def _tcp_services(site: Site) -> list[dict[str, Any]]:
    """Only port 25 knows relay clients: whoever uses submission, IMAP or POP logs on."""
    relayed = bool(site.relay_networks)
    return [
        {
            "name": service.name,
            "port": service.port,
            "check": service.check,
            "relay": relayed and service is schema.SMTP,
        }
        for service in site.tcp_services
    ]


def _website(website: Website) -> dict[str, Any]:
    servers = sorted((str(server.address), server.port) for server in website.servers)
    return {
        "name": website.name,
        "hostnames": sorted(website.hostnames),
        "certificate": website.name,
        "http2": website.http2,
        "servers": [
            {"name": f"{website.name}{number}", "address": address, "port": port}
            for number, (address, port) in enumerate(servers, 1)
        ],
    }
