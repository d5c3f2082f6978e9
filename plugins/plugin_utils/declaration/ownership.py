# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to whom: one table of addresses over all hosts and sites, one of ports on a gateway."""

from __future__ import annotations

from collections.abc import Iterator

from ...module_utils.values.addresses import Address, as_network, is_public, read_address
from ...module_utils.values.sentences import Unfit, listed
from . import schema
from .site import Site
from .tree import Gateway, Node, Problems, Server

# --- addresses -------------------------------------------------------------------------------------------------------

Owned = tuple[Address, str, str, str]
"""An address, the host that it is of, what it is of that host, and how a sentence calls it."""


def _gateways(site: Site) -> Iterator[Owned]:
    """Every address of a gateway that this site may not have as well."""
    for gateway in sorted({*site.gateways, *site.neighbours}, key=lambda gateway: gateway.name):
        for variable, address in (*sources(gateway), ("ansible_host", gateway.reached_at)):
            if address is not None:
                yield address, gateway.name, variable, f"{variable} of {gateway.name}"


def _servers(site: Site) -> Iterator[Owned]:
    for servers, kind in (
        (site.servers, "server"),
        (site.older_servers, "older server"),
        (site.foreign_servers, "server"),
    ):
        for server in servers:
            if not isinstance(server.address, str):
                yield server.address, server.name, "", f"the address of the {kind} {server.name}"


def _others(site: Site) -> Iterator[Owned]:
    """Hosts of the inventory that are neither; which site a private address is of isn't known where there are more."""
    known = {gateway.name for gateway in site.neighbours} | site.server_hosts
    known |= {server.name for server in site.foreign_servers} | set(site.inventory.group(schema.GATEWAYS))
    for host in sorted(set(site.inventory.hosts) - known):
        try:
            address = read_address(site.inventory.variable(host, "ansible_host"))
        except Unfit:
            continue
        if not site.name or is_public(as_network(address)):
            yield address, host, "ansible_host", f"ansible_host of {host}"


def sources(gateway: Gateway) -> tuple[tuple[str, Address | None], ...]:
    """The addresses from which the gateway's connections come, by variable."""
    return (schema.EGRESS_ADDRESS.name, gateway.egress), (schema.RELAY_ADDRESS.name, gateway.relay)


def addresses_have_one_owner(site: Site, problems: Problems) -> None:
    """An egress, relay or service address is no other host's, and a server is no gateway."""
    gateways, servers, others = list(_gateways(site)), list(_servers(site)), list(_others(site))
    ours = {gateway.name for gateway in site.gateways}
    _gateways_differ(site, problems)
    for address, host, variable, path in gateways:
        if host not in ours or variable == "ansible_host":
            continue
        for owner in [one for one in (*servers, *others) if one[0] == address][:1]:
            problems.unfit(path, str(address), f"which is {owner[3]}; write the gateway's own")
    services = {node.value: node for node in site.tree["service_addresses"].value}
    for address, host, variable, path in gateways:
        if address in services and variable == schema.RELAY_ADDRESS.name and host in ours:
            text = f"which is {services[address].path} too; it must be an address that clients don't reach"
            problems.unfit(path, str(address), text)
        elif address in services and host not in ours:
            node = services[address]
            problems.unfit(node.path, node.raw, f"which is {path}; write the gateway's own")
    for address, _host, _what, path in (*servers, *others):
        if address in services:
            node = services[address]
            problems.unfit(node.path, node.raw, f"which is {path}; write the gateway's own")
    reached = {address: path for address, _host, variable, path in gateways if variable == "ansible_host"}
    _servers_differ(site, reached, problems)


def _gateways_differ(site: Site, problems: Problems) -> None:
    """What one gateway has no other one has; several may be reached at one address by ports of their own."""
    ours = {gateway.name for gateway in site.gateways}
    owners: dict[Address, tuple[str, str]] = {}
    for address, host, variable, path in sorted(_gateways(site), key=lambda one: one[2] == "ansible_host"):
        owner, its = owners.setdefault(address, (host, variable))
        if owner == host or not {host, owner} & ours:
            continue
        if variable == its == "ansible_host":
            ports = [gateway.ssh_port for gateway in site.neighbours if gateway.name in (owner, host)]
            if len(set(ports)) > 1:
                continue
        problems.unfit(path, str(address), f"which is {its} of {owner} too; give each gateway its own")


def _servers_differ(site: Site, reached: dict[Address, str], problems: Problems) -> None:
    """Each server, older ones too, has an address of its own, which is none of a gateway's."""
    seen: dict[Address | str, Server] = {}
    own_names = frozenset(site.exchange_hostnames)
    for server in (*site.servers, *site.older_servers):
        first = seen.setdefault(server.address, server)
        if first is not server and first.name != server.name:
            text = f"which is the address of {first.name} too; give each server its own"
            problems.unfit(server.path, str(server.address), text)
        if server.address in own_names:
            text = "which is a name of the gateway itself; write the server's own name or address"
            problems.unfit(server.path, str(server.address), text)
        if not isinstance(server.address, str) and server.address in reached:
            text = f"which is {reached[server.address]}; write the server's own"
            problems.unfit(server.path, str(server.address), text)


def gateways_know_each_other(site: Site, problems: Problems) -> None:
    """Gateways that hand certificates and challenges to each other have addresses; either all have an egress one."""
    if site.issued_certificates and len(site.gateways) > 1:
        for gateway in site.gateways:
            if gateway.peer_address is None:
                text = (
                    f"is missing, and neither ansible_host nor its name is an address; {site.tree.path}.certificate."
                    "authority needs one, by which the gateways hand certificates to each other"
                )
                problems.add(f"{schema.EGRESS_ADDRESS.name} of {gateway.name}", text)
    having = [gateway.name for gateway in site.gateways if gateway.egress is not None]
    for gateway in site.gateways if _has_connectors(site) and having and not site.relay_networks else ():
        path = f"{schema.EGRESS_ADDRESS.name} of {gateway.name}"
        if gateway.egress is None and not site.inventory.variable(gateway.name, schema.EGRESS_ADDRESS.name):
            text = f"is missing, but {listed(having)} {'has' if len(having) == 1 else 'have'} one; Exchange's"
            problems.add(path, f"{text} receive connectors would let in mail of {listed(having)} alone")


def connectors_are_meant_to_be_missing(site: Site, problems: Problems) -> None:
    """Without an egress address there is no receive connector for the gateways (doubtful, not wrong)."""
    if _has_connectors(site) and not any(gateway.egress for gateway in site.gateways):
        names = listed([gateway.name for gateway in site.gateways])
        text = (
            "is missing, so the servers get no receive connectors for the gateways: mail goes by the servers' own, "
            "with their limits for a single source; set it, unless that is meant"
        )
        problems.add(f"{schema.EGRESS_ADDRESS.name} of {names}", text)


def _has_connectors(site: Site) -> bool:
    return site.declaration.exchange.managed and site.declaration.smtp.enabled and bool(site.gateways)


# --- ports -----------------------------------------------------------------------------------------------------------


def _taken(site: Site, *, metrics: bool = True, ssh: bool = True) -> dict[int, str]:
    """The ports of a gateway that have an owner, each with what it is."""
    found = {schema.ACME_PORT: "the ACME client", **site.published_ports}
    if metrics:
        found.setdefault(site.tree["metrics_port"].value, "the metrics")
    if ssh:
        reached = [gateway.ssh_port for gateway in site.gateways if gateway.ssh_port]
        for port in (schema.SSH_PORT, *site.tree["ssh"]["ports"].values, *reached):
            found.setdefault(port, "ssh")
    return found


def ports_have_one_owner(site: Site, problems: Problems) -> None:
    """No port has two owners: what is published, the metrics, sshd wherever it listens, an ACME client."""
    node, taken = site.tree["metrics_port"], _taken(site, metrics=False)
    if node.value in taken:
        problems.unfit(node.path, node.raw, f"which is the port of {taken[node.value]}; choose another, such as 8404")
    taken = _taken(site, metrics=False, ssh=False)
    for port in site.tree["ssh"]["ports"].value:
        if port.value in taken:
            problems.unfit(port.path, port.raw, f"which is the port of {taken[port.value]}; choose another")
    for gateway in site.gateways:
        if gateway.ssh_port in taken:
            text = f"which is the port of {taken[gateway.ssh_port]}; sshd needs a port of its own"
            problems.unfit(f"ansible_port of {gateway.name}", gateway.ssh_port, text)


def openings_open_nothing_that_is_closed(site: Site, problems: Problems) -> None:
    """What is opened besides is no port of the gateway's own services: those have their own networks."""
    taken = _taken(site)
    places = {"ssh": "ssh.networks", "the metrics": "monitoring_networks"}
    for opening in site.tree["firewall"]["open"].value:
        for port in opening["ports"].value if opening["protocol"].value == "tcp" else ():
            if port.value in taken:
                what = taken[port.value]
                own = f"{site.tree.path}.{places[what]}" if what in places else "what is published"
                problems.unfit(port.path, port.raw, f"which is the port of {what}; {own} says who reaches it")


def website_server_is_free(site: Site, server: Node, problems: Problems) -> None:
    """A website's server is no Exchange server, and one on the gateway itself has no port that is somebody's."""
    address, port = server["address"], server["port"]
    exchange = {one.address: one.name for one in (*site.servers, *site.older_servers)}
    exchange |= dict.fromkeys(site.exchange_hostnames, "Exchange")
    if address.value in exchange:
        text = (
            f"which is {exchange[address.value]}: all of it would be open to everybody; a website needs another server"
        )
        problems.unfit(address.path, address.raw, text)
    own = {own for gateway in site.gateways for own in (gateway.egress, gateway.relay, gateway.reached_at)}
    own.update(site.tree["service_addresses"].values)
    here = address.value == "localhost" or getattr(address.value, "is_loopback", False) or address.value in own
    taken = _taken(site)
    if address.value is not None and here and port.value in taken:
        text = f"which is the port of {taken[port.value]} on the gateway itself ({address.value}); choose another"
        problems.unfit(port.path, port.raw, text)
