# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of the role haproxy: what each may be, and what no two of them may be together.

Its templates print what comes out of here, and nothing else.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ...module_utils.values.addresses import is_public, read_address, read_network
from ...module_utils.values.names import read_host, read_inventory_name, read_name
from ...module_utils.values.shapes import Each, Keys, Maybe, Problems, Shape, flag, number
from ...module_utils.values.texts import (
    read_choice,
    read_identifier,
    read_label,
    read_line,
    read_lines,
    read_url_path,
)
from ..addresses import Addresses

Variables = Mapping[str, Any]

_PORT = number(1, 65535)
_COUNT = number(1, 10_000_000)
_FRONTENDS = ("http", "https", "metrics", "nothing", "acme", "clients", "credentials", "extra")
_LIMITS = ("connections", "connection_rate", "request_rate", "failed_logons")
_CHECKS = ("smtp", "submission", "imap", "imaps", "pop3", "pop3s")


def _own_address(value: Any) -> Any:
    return read_address(value, special=True)


def _network(value: Any) -> Any:
    return read_network(value, special=True)


def _server(value: Any) -> Any:
    return read_host(value, loopback=True)


SHAPES: dict[str, Shape] = {
    "haproxy_listen_addresses": Each(_own_address, at_least=1),
    "haproxy_hostname": Maybe(read_name),
    "haproxy_servers": Each(
        Keys(
            {
                "name": read_inventory_name,
                "address": _server,
                "weight": number(0, 256),
                "max_connections": number(0, 10_000_000),
            },
            needs=("name", "address"),
        )
    ),
    "haproxy_egress_address": Maybe(_own_address),
    "haproxy_relay_address": Maybe(_own_address),
    "haproxy_relay_networks": Each(_network),
    "haproxy_admin_networks": Each(_network),
    "haproxy_exchange_hostnames": Each(read_name),
    "haproxy_exchange_certificate": Maybe(read_label),
    "haproxy_exchange_ca_file": Maybe(lambda value: read_line(value, "the path of a file")),
    "haproxy_virtual_directories": Each(
        Keys(
            {"name": read_identifier, "path": read_url_path, "health_path": read_url_path, "closed": flag},
            needs=("name", "path", "health_path"),
        )
    ),
    "haproxy_long_poll_timeout": number(1, 86_400),
    "haproxy_tcp_services": Each(
        Keys(
            {
                "name": read_identifier,
                "port": _PORT,
                "check": lambda value: read_choice(value, _CHECKS),
                "relay": flag,
            },
            needs=("name", "port", "check"),
        )
    ),
    "haproxy_websites": Each(
        Keys(
            {
                "name": read_identifier,
                "hostnames": Each(read_name, at_least=1),
                "certificate": read_label,
                "http2": flag,
                "servers": Each(
                    Keys(
                        {"name": read_inventory_name, "address": _server, "port": _PORT},
                        needs=("name", "address", "port"),
                    ),
                    at_least=1,
                ),
            },
            needs=("name", "hostnames", "certificate", "servers"),
        )
    ),
    "haproxy_certificates": Each(
        Keys(
            {
                "name": read_label,
                "names": Each(lambda value: read_name(value, wildcard=True), at_least=1),
                "file": Maybe(lambda value: read_line(value, "the path of a file")),
            },
            needs=("name", "names"),
        )
    ),
    "haproxy_acme_port": number(0, 65535),
    "haproxy_acme_peers": Each(_server),
    "haproxy_limits": Keys(
        dict.fromkeys((*_LIMITS, "smtp_connections"), _COUNT),
        needs=_LIMITS,
    ),
    "haproxy_monitoring_networks": Each(_network),
    "haproxy_metrics_port": _PORT,
    "haproxy_max_connections": _COUNT,
    "haproxy_extra_configuration": Maybe(
        lambda value: read_lines(value, "sections in HAProxy's own language", 100_000)
    ),
}


def check(given: Variables, problems: Problems) -> None:
    """Note what can't be together. ``given`` is sound by itself (``SHAPES``)."""
    for rule in _RULES:
        rule(given, problems)


def _own(given: Variables) -> Iterator[tuple[str, str]]:
    """The addresses that anybody's mail may come from, each with what it is."""
    for name in ("haproxy_egress_address", "haproxy_relay_address"):
        if given[name]:
            yield given[name], name
    for place, address in enumerate(given["haproxy_listen_addresses"]):
        yield address, f"haproxy_listen_addresses[{place}]"
    for place, server in enumerate(given["haproxy_servers"]):
        yield server["address"], f"haproxy_servers[{place}].address"


def _as_address(text: str) -> Any:
    try:
        return ipaddress.ip_address(text)
    except ValueError:  # a name
        return None


def _relaying_is_for_few(given: Variables, problems: Problems) -> None:
    owners = {found: owner for text, owner in _own(given) if (found := _as_address(text)) is not None}
    own = Addresses(address for address in owners if not address.is_unspecified)
    for place, text in enumerate(given["haproxy_relay_networks"]):
        path, network = f"haproxy_relay_networks[{place}]", ipaddress.ip_network(text)
        inside = own.within(network)
        if not network.prefixlen:
            problems.unfit(path, text, "which is everybody: an open relay; name the hosts that may relay")
        elif network.prefixlen < network.max_prefixlen and is_public(network):
            wide = "a network of public addresses, which is too wide for relaying; name its hosts one by one"
            problems.unfit(path, text, wide)
        elif inside:
            whose = f"{inside[0]} ({owners[inside[0]]})"
            problems.unfit(path, text, f"which holds {whose}, where anybody's mail comes from; name others alone")


def _networks_are_no_wider_than_meant(given: Variables, problems: Problems) -> None:
    for name, whose in (("haproxy_admin_networks", "administrators"), ("haproxy_monitoring_networks", "monitoring")):
        for place, text in enumerate(given[name]):
            network = ipaddress.ip_network(text)
            if not network.prefixlen:
                problems.unfit(f"{name}[{place}]", text, f"which is everybody; name the networks of the {whose}")
            elif network.prefixlen < (8 if network.version == 4 else 16) and is_public(network):
                wide = f"a large part of the Internet; name the networks of the {whose}"
                problems.unfit(f"{name}[{place}]", text, wide)


def _source_addresses_differ(given: Variables, problems: Problems) -> None:
    relay = given["haproxy_relay_address"]
    if relay and relay == given["haproxy_egress_address"]:
        text = "which is haproxy_egress_address too, so that Exchange couldn't tell relay clients apart; take another"
        problems.unfit("haproxy_relay_address", relay, text)
    for name in ("haproxy_relay_address", "haproxy_egress_address"):
        address = _as_address(given[name])
        if address is not None and (address.is_unspecified or address.is_multicast):
            problems.unfit(name, given[name], "but must be an address of the host")


def _named_once(given: Variables, problems: Problems) -> None:
    for name, key in (
        ("haproxy_servers", "name"),
        ("haproxy_servers", "address"),
        ("haproxy_virtual_directories", "name"),
        ("haproxy_virtual_directories", "path"),
        ("haproxy_tcp_services", "name"),
        ("haproxy_websites", "name"),
        ("haproxy_certificates", "name"),
    ):
        found = ((f"{name}[{place}].{key}", entry[key]) for place, entry in enumerate(given[name]))
        _once(found, problems)
    for place, site in enumerate(given["haproxy_websites"]):
        path = f"haproxy_websites[{place}].servers"
        servers = ((f"{path}[{at}].name", server["name"]) for at, server in enumerate(site["servers"]))
        _once(servers, problems)
    names = [(f"haproxy_exchange_hostnames[{place}]", name) for place, name in _entries(given, "exchange_hostnames")]
    for place, site in enumerate(given["haproxy_websites"]):
        path = f"haproxy_websites[{place}].hostnames"
        names += [(f"{path}[{at}]", name) for at, name in enumerate(site["hostnames"])]
    _once(names, problems)
    services = {service["name"] for service in given["haproxy_tcp_services"]}
    for place, service in enumerate(given["haproxy_tcp_services"]):
        if service["name"] in _FRONTENDS:
            text = "which is the name of a frontend of the role; choose another"
            problems.unfit(f"haproxy_tcp_services[{place}].name", service["name"], text)
    for place, directory in enumerate(given["haproxy_virtual_directories"]):
        if directory["name"] in services:
            text = "which is the name of a service in haproxy_tcp_services, too; choose another"
            problems.unfit(f"haproxy_virtual_directories[{place}].name", directory["name"], text)


def _entries(given: Variables, name: str) -> Iterable[tuple[int, Any]]:
    return enumerate(given[f"haproxy_{name}"])


def _once(found: Iterable[tuple[str, str]], problems: Problems) -> None:
    seen: dict[str, str] = {}
    for path, value in found:
        first = seen.setdefault(value.lower().strip("/"), path)
        if first != path:
            problems.unfit(path, value, f"which is {first} already; choose another, or take one of them out")


def ports(given: Variables) -> dict[int, str]:
    """The ports that HAProxy listens on, each with what it is for."""
    web = bool(given["haproxy_exchange_hostnames"] or given["haproxy_websites"])
    found = {80: "HTTP", 443: "HTTPS"} if web else {}
    if given["haproxy_servers"]:
        for place, service in enumerate(given["haproxy_tcp_services"]):
            found.setdefault(service["port"], f"haproxy_tcp_services[{place}]")
    return found


def _ports_are_free(given: Variables, problems: Problems) -> None:
    taken = {80: "HTTP", 443: "HTTPS"} if given["haproxy_exchange_hostnames"] or given["haproxy_websites"] else {}
    wanted = [
        *((f"haproxy_tcp_services[{place}].port", one["port"]) for place, one in _entries(given, "tcp_services")),
        ("haproxy_metrics_port", given["haproxy_metrics_port"]),
        ("haproxy_acme_port", given["haproxy_acme_port"]),
    ]
    for path, port in wanted:
        if port and port in taken:
            problems.unfit(path, port, f"which is the port of {taken[port]} already; choose another")
        taken.setdefault(port, path)


def _websites_lead_elsewhere(given: Variables, problems: Problems) -> None:
    """No site's server is an Exchange server, or a port of the gateway's own."""
    exchange = {server["address"] for server in given["haproxy_servers"]} | set(given["haproxy_exchange_hostnames"])
    here = {given["haproxy_egress_address"], given["haproxy_relay_address"], *given["haproxy_listen_addresses"]} - {""}
    taken = {**ports(given), given["haproxy_metrics_port"]: "the metrics"}
    taken.setdefault(given["haproxy_acme_port"], "the ACME client")
    servers = (
        (f"haproxy_websites[{place}].servers[{at}]", server)
        for place, site in _entries(given, "websites")
        for at, server in enumerate(site["servers"])
    )
    for path, server in servers:
        address = server["address"]
        if address in exchange:
            text = "which is Exchange: all of it would be open to everybody; a web site needs another server"
            problems.unfit(f"{path}.address", address, text)
        own = _as_address(address)
        local = address == "localhost" or address in here or (own is not None and own.is_loopback)
        if local and server["port"] in taken:
            text = f"which is the port of {taken[server['port']]} on the gateway itself; choose another"
            problems.unfit(f"{path}.port", server["port"], text)


def _what_is_named_is_there(given: Variables, problems: Problems) -> None:
    if given["haproxy_servers"] and not given["haproxy_hostname"]:
        problems.add("haproxy_hostname", "is missing; servers are asked by it, so write a name of their certificate")
    known = [one["name"] for one in given["haproxy_certificates"]]
    wanted = [
        (f"haproxy_websites[{place}].certificate", one["certificate"]) for place, one in _entries(given, "websites")
    ]
    if given["haproxy_exchange_hostnames"]:
        wanted.append(("haproxy_exchange_certificate", given["haproxy_exchange_certificate"]))
    for path, name in wanted:
        if name not in known:
            problems.unfit(path, name, "but haproxy_certificates has none of that name; add it there")


_RULES: tuple[Callable[[Variables, Problems], None], ...] = (
    _relaying_is_for_few,
    _networks_are_no_wider_than_meant,
    _source_addresses_differ,
    _named_once,
    _ports_are_free,
    _websites_lead_elsewhere,
    _what_is_named_is_there,
)
