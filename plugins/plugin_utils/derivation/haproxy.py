# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the declaration to the variables of the role haproxy."""

from __future__ import annotations

from typing import Any

from ..addresses import in_order
from ..declaration import schema
from ..declaration.rules import (
    Site,
    certificate_names,
    exchange_hostnames,
    listens_on_ipv6,
    needs_servers,
    relay_networks,
    tcp_services,
)
from ..declaration.tree import Node

EXCHANGE_CERTIFICATE = schema.RESERVED_WEBSITE_NAMES[0]


def derive_haproxy(site: Site) -> dict[str, Any]:
    """The role's variables for the site's first gateway."""
    tree = site.tree
    https = tree["https"]
    relayed = relay_networks(tree)
    gateway = site.gateways[0]
    hostnames = exchange_hostnames(tree) if https["enabled"].value else []
    return {
        "haproxy_listen_addresses": _listen_addresses(tree),
        "haproxy_hostname": tree["hostname"].value,
        "haproxy_servers": _servers(site),
        "haproxy_egress_address": str(gateway.egress or ""),
        "haproxy_relay_address": str(gateway.relay or "") if relayed else "",
        "haproxy_relay_networks": in_order(relayed),
        "haproxy_admin_networks": in_order(tree["admin_networks"].values),
        "haproxy_monitoring_networks": in_order(tree["monitoring_networks"].values),
        "haproxy_metrics_port": tree["metrics_port"].value,
        "haproxy_exchange_hostnames": hostnames,
        "haproxy_exchange_certificate": EXCHANGE_CERTIFICATE if hostnames else "",
        "haproxy_exchange_ca_file": tree["exchange"]["ca_file"].value,
        "haproxy_virtual_directories": _virtual_directories(https),
        "haproxy_long_poll_timeout": https["long_poll_timeout"].value,
        "haproxy_limits": {name: node.value for name, node in https["limits"].value.items()},
        "haproxy_tcp_services": _tcp_services(tree),
        "haproxy_websites": [_website(site) for site in _by_name(tree["websites"])],
        "haproxy_certificates": haproxy_certificates(tree),
    }


def _listen_addresses(tree: Node) -> list[str]:
    addresses = tree["service_addresses"].values
    if addresses:
        return in_order(addresses)
    everywhere = ["0.0.0.0"]  # noqa: S104 (what no service address declared means)
    return [*everywhere, "::"] if listens_on_ipv6(tree) else everywhere


def _servers(site: Site) -> list[dict[str, Any]]:
    if not needs_servers(site.tree):
        return []
    return [{"name": server.name, "address": str(server.address), "weight": server.weight} for server in site.servers]


def _virtual_directories(https: Node) -> list[dict[str, Any]]:
    if not https["enabled"].value:
        return []
    published, closed = https["virtual_directories"].values, https["internal_only"].values
    return [
        {
            "name": directory.name,
            "path": directory.path,
            "health_path": directory.health_path,
            "closed": directory.name in closed,
        }
        for directory in schema.VIRTUAL_DIRECTORIES
        if directory.name in published
    ]


def _tcp_services(tree: Node) -> list[dict[str, Any]]:
    """Only port 25 knows relay clients: whoever uses submission, IMAP or POP logs on."""
    relayed = bool(relay_networks(tree))
    return [
        {
            "name": service.name,
            "port": service.port,
            "check": service.check,
            "relay": relayed and service is schema.SMTP,
        }
        for service in tcp_services(tree)
    ]


def _website(site: Node) -> dict[str, Any]:
    name = site["name"].value
    servers = sorted((str(server["address"].value), server["port"].value) for server in site["servers"].value)
    return {
        "name": name,
        "hostnames": sorted(site["hostnames"].values),
        "certificate": name,
        "http2": site["http2"].value,
        "servers": [
            {"name": f"{name}{number}", "address": address, "port": port}
            for number, (address, port) in enumerate(servers, 1)
        ],
    }


def haproxy_certificates(tree: Node) -> list[dict[str, Any]]:
    """The certificates that clients see: Exchange's first, then those of the web sites."""
    certificates = []
    if tree["https"]["enabled"].value:
        names = certificate_names(tree)
        certificates.append({"name": EXCHANGE_CERTIFICATE, "names": names, "file": tree["certificate"]["file"].value})
    certificates.extend(
        {
            "name": site["name"].value,
            "names": sorted(site["hostnames"].values),
            "file": site["certificate_file"].value,
        }
        for site in _by_name(tree["websites"])
    )
    return certificates


def _by_name(websites: Node) -> list[Node]:
    return sorted(websites.value, key=lambda site: str(site["name"].value))
