# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true between the parts of the declaration.

Each rule looks at a ``Site`` and notes what is wrong. A rule may rely on every value being of its type; a value that
wasn't is its default here, or None where there is no default.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterable, Iterator

from ...module_utils.values.addresses import Address, Network, is_public
from ...module_utils.values.sentences import Unfit, listed, show
from ..addresses import Addresses
from . import files, schema
from .certificates import check_certificate
from .ownership import (
    addresses_have_one_owner,
    connectors_are_meant_to_be_missing,
    gateways_know_each_other,
    openings_open_nothing_that_is_closed,
    ports_have_one_owner,
    sources,
    website_server_is_free,
)
from .site import Site, covered
from .tree import Node, Problems, Server

# As most authorities have it; https://letsencrypt.org/docs/rate-limits/
MOST_NAMES = 100


def something_is_published(site: Site, problems: Problems) -> None:
    """Something is published: a service of Exchange, or a website."""
    if not site.needs_servers and not site.tree["websites"].value:
        problems.add(site.tree.path, "publishes nothing; enable https, smtp, imap or pop, or declare a website")


def the_servers_are_there(site: Site, problems: Problems) -> None:
    """The group of servers exists and has hosts, and no gateway is in it."""
    if not site.needs_servers:
        return
    node = site.tree["exchange"]["group"]
    if node.value not in site.inventory.groups:
        advice = _nearest(node.value, site) or "put the Exchange servers into it"
        problems.unfit(node.path, node.value, f"but the inventory has no such group; {advice}")
        return
    members = site.inventory.group(node.value)
    if not members:
        problems.unfit(node.path, node.value, "but that group has no hosts; put the Exchange servers into it")
    gateways = set(site.inventory.group(schema.GATEWAYS))
    both = [name for name in members if name in gateways]
    if both:
        text = f"but {listed(both)} in that group {_are(both)} in the group {schema.GATEWAYS} too"
        problems.unfit(node.path, node.value, f"{text}; a host is a gateway or a server, not both")
    unknown = [name for name in members if name not in site.inventory.hosts]
    if unknown:
        text = f"but the inventory doesn't know {listed(unknown)} in that group; take it out of the group"
        problems.unfit(node.path, node.value, text)


def a_server_has_a_weight(site: Site, problems: Problems) -> None:
    """One server at least has a weight above 0."""
    if site.servers and not any(server.weight for server in site.servers):
        path = f"{schema.SERVER_WEIGHT.name} of {listed([server.name for server in site.servers])}"
        problems.add(path, "is 0, so that no server would get a connection; give one of them a weight above 0")


def older_servers_are_others(site: Site, problems: Problems) -> None:
    """The group of older servers is another one, and none of its hosts is a gateway or a new server."""
    exchange = site.tree["exchange"]
    group, older = exchange["group"], exchange["legacy_group"]
    if older.value == group.value:
        text = f"which is {group.path} too; older servers are a group of their own"
        problems.unfit(older.path, older.value, text)
        return
    if older.value not in (schema.LEGACY_GROUP, *site.inventory.groups):  # the default need not exist
        advice = _nearest(older.value, site) or "make it, or leave the key out"
        problems.unfit(older.path, older.value, f"but the inventory has no such group; {advice}")
    for name in (schema.GATEWAYS, group.value):
        both = sorted(set(site.inventory.group(older.value)) & set(site.inventory.group(name)))
        if both:
            text = f"but {listed(both)} in that group {_are(both)} in the group {name} too"
            problems.unfit(older.path, older.value, f"{text}; a host is one or the other")


def _nearest(name: str, site: Site) -> str:
    """What to say of a group that isn't there and has a name much like that of another one."""
    known = sorted(set(site.inventory.groups) - {"all", "ungrouped", schema.GATEWAYS})
    close = difflib.get_close_matches(name, known, 1)
    return f"did you mean {show(close[0])}?" if close else ""


def older_servers_can_name_the_new_ones(site: Site, problems: Problems) -> None:
    """Beside older servers, each server's address is known: a receive connector takes addresses, not names."""
    older = site.inventory.group(site.tree["exchange"]["legacy_group"].value)
    for server in site.servers:
        if older and isinstance(server.address, str):
            text = f"a name, but {listed(older)} must name its address; set {schema.SERVER_ADDRESS.name} to it"
            problems.unfit(server.path, server.address, text)


def the_gateways_have_their_addresses(site: Site, problems: Problems) -> None:
    """With relay clients each gateway has an egress and a relay address, two of them, of the servers' family."""
    relayed = bool(site.relay_networks)
    clients = site.tree["smtp"]["relay_clients"]
    egress, relay = schema.EGRESS_ADDRESS.name, schema.RELAY_ADDRESS.name
    for gateway in site.gateways:
        for variable, address in sources(gateway):
            path = f"{variable} of {gateway.name}"
            if relayed and address is None and not site.inventory.variable(gateway.name, variable):
                who = "everybody else reaches" if variable == egress else "they reach"
                problems.add(path, f"is missing; {clients.path} needs it, as the address from which {who} Exchange")
            if address is not None and (relayed or variable == egress):
                _family(path, address, site.servers, problems)
        if gateway.egress is None or gateway.relay is None:
            continue
        path = f"{relay} of {gateway.name}"
        if gateway.egress == gateway.relay:
            text = f"which is {egress} too; it must be a second address, by which Exchange knows relay clients"
            problems.unfit(path, str(gateway.relay), text)
        elif gateway.egress.version != gateway.relay.version and all(isinstance(s.address, str) for s in site.servers):
            text = f"but {egress} ({gateway.egress}) is of the other family; both must be of the servers' family"
            problems.unfit(path, str(gateway.relay), text)


def _family(path: str, address: Address, servers: Iterable[Server], problems: Problems) -> None:
    """Connections from the address can reach every server whose address is known as such."""
    others = [s.name for s in servers if not isinstance(s.address, str) and s.address.version != address.version]
    if others:
        wrong, right = ("IPv4", "IPv6") if address.version == 4 else ("IPv6", "IPv4")
        text = f"an {wrong} address, but {listed(others)} {_has(others)} an {right} one; use one family for all"
        problems.unfit(path, str(address), text)


def relay_clients_make_no_open_relay(site: Site, problems: Problems) -> None:
    """No relay client is everybody, a public network, or an address of a gateway or of a server."""
    insiders = dict(_insiders(site))
    addresses = Addresses(insiders)
    for node in site.tree["smtp"]["relay_clients"].value:
        network: Network = node.value
        inside = [(address, insiders[address]) for address in addresses.within(network)]
        if not network.prefixlen:
            problems.unfit(node.path, node.raw, "which is everybody: an open relay; name the hosts that may relay")
        elif network.prefixlen < network.max_prefixlen and is_public(network):
            text = "a network of public addresses, which is too wide for relaying; name its hosts one by one"
            problems.unfit(node.path, node.raw, text)
        elif inside and network.prefixlen == network.max_prefixlen:
            problems.unfit(
                node.path, node.raw, f"which is {inside[0][1]}, where anybody's mail comes from; take it out"
            )
        elif inside:
            shown = [f"{address} ({who})" for address, who in inside[:3]]
            shown += [f"{len(inside) - 3} more"] if len(inside) > 3 else []
            text = f"which holds {listed(shown)}, where anybody's mail comes from; name the relay clients alone"
            problems.unfit(node.path, node.raw, text)


def _insiders(site: Site) -> Iterator[tuple[Address, str]]:
    """The addresses that must never count as relay clients, each with what it is."""
    for node in site.tree["service_addresses"].value:
        yield node.value, f"a service address of {listed([gateway.name for gateway in site.gateways])}"
    for server in site.servers:
        if not isinstance(server.address, str):
            yield server.address, f"the server {server.name}"
    for gateway in site.neighbours:
        if gateway.reached_at is not None:
            yield gateway.reached_at, f"ansible_host of {gateway.name}"
        if gateway.relay is not None:
            yield gateway.relay, f"the relay address of {gateway.name}"
        if gateway.egress is not None:
            yield gateway.egress, f"the egress address of {gateway.name}"


def networks_are_no_wider_than_meant(site: Site, problems: Problems) -> None:
    """The networks of the administrators and of the monitoring aren't the Internet, nor a large part of it."""
    tree = site.tree
    for networks, whose in (
        (tree["admin_networks"], "administrators"),
        (tree["monitoring_networks"], "monitoring"),
        (tree["ssh"]["networks"], "administrators"),
    ):
        for node in networks.value or ():
            network: Network = node.value
            if not network.prefixlen:
                problems.unfit(node.path, node.raw, f"which is everybody; name the networks of the {whose}")
            elif network.prefixlen < (8 if network.version == 4 else 16) and is_public(network):
                text = f"a large part of the Internet; name the networks of the {whose}"
                problems.unfit(node.path, node.raw, text)


def networks_can_reach_the_gateway(site: Site, problems: Problems) -> None:
    """On a list of networks, one at least is of a family (IPv4, IPv6) that the gateway listens on."""
    versions = site.families
    for node in (site.tree["admin_networks"], site.tree["smtp"]["relay_clients"], site.tree["monitoring_networks"]):
        networks: list[Network] = node.values
        if networks and versions and not any(network.version in versions for network in networks):
            there, here = ("IPv6", "IPv4") if versions == {4} else ("IPv4", "IPv6")
            problems.add(
                node.path, f"has only {there} networks, but the gateway listens on {here} only; add one of {here}"
            )


def ipv6_is_meant(site: Site, problems: Problems) -> None:
    """`ipv6` and `service_addresses` agree."""
    switch, addresses = site.tree["ipv6"], site.tree["service_addresses"]
    if switch.value is True and addresses.value and not any(address.version == 6 for address in addresses.values):
        problems.unfit(switch.path, switch.raw, f"but {addresses.path} has no IPv6 address; add one, or write false")
    for node in addresses.value:
        if switch.value is False and node.value.version == 6:
            problems.unfit(node.path, node.raw, f"an IPv6 address, but {switch.path} is false; take one of the two out")


def closed_directories_are_published(site: Site, problems: Problems) -> None:
    """A virtual directory on `internal_only` is one that is published."""
    https = site.tree["https"]
    published = https["virtual_directories"]
    if https["internal_only"].given:
        for node in https["internal_only"].value:
            if node.value not in published.values:
                text = f"but {published.path} doesn't have it; take it out here, or publish it there"
                problems.unfit(node.path, node.raw, text)


def the_certificate_is_for_the_hostname(site: Site, problems: Problems) -> None:
    """The certificate's names cover the hostname."""
    hostname, names = site.tree["hostname"], site.tree["certificate"]["names"]
    if hostname.value and names.value and not covered(hostname.value, names.values):
        problems.unfit(hostname.path, hostname.raw, f"but {names.path} doesn't cover it; add it there")


def certificates_can_be_issued(site: Site, problems: Problems) -> None:
    """What an authority is to issue is what it can: HTTP-01 proves no wildcard, and 100 names are the most."""
    certificate = site.tree["certificate"]
    if not certificate["authority"].value or certificate["file"].value or not site.tree["https"]["enabled"].value:
        return
    names = certificate["names"]
    for node in names.value or ():
        if str(node.value).startswith("*"):
            text = f"a wildcard, which {certificate['authority'].path} can't issue (HTTP-01); list the names one by one"
            problems.unfit(node.path, node.raw, text)
    count = len(site.certificate_names)
    if count > MOST_NAMES:
        problems.add(names.path, f"comes to {count} names, and a certificate holds {MOST_NAMES}; leave some out")


def external_accounts_are_whole(site: Site, problems: Problems) -> None:
    """A key identifier and its HMAC key come together."""
    key_id, variable = site.tree["certificate"]["external_account_key_id"], schema.EXTERNAL_ACCOUNT_HMAC_KEY.name
    for gateway in site.gateways:
        if key_id.value and not site.inventory.variable(gateway.name, variable):
            text = f"but {variable} of {gateway.name} is missing; set it to the key that the authority gave with it"
            problems.unfit(key_id.path, key_id.raw, text)
        elif gateway.has_hmac_key and not key_id.value:
            text = f"is set, but {key_id.path} isn't; declare the key identifier that it belongs to"
            problems.add(f"{variable} of {gateway.name}", text)


def websites_are_distinct(site: Site, problems: Problems) -> None:
    """A name belongs to one website and isn't Exchange's, and no website's server is a port of the gateway's own."""
    exchange = frozenset(site.exchange_hostnames if site.declaration.https.enabled else ())
    names: dict[str, Node] = {}
    hostnames: dict[str, Node] = {}
    for website in site.tree["websites"].value:
        name = website["name"]
        if name.value in schema.RESERVED_WEBSITE_NAMES:
            problems.unfit(name.path, name.raw, "which stands for Exchange's certificate; choose another name")
        if name.value and names.setdefault(name.value, name) is not name:
            problems.unfit(name.path, name.raw, f"which is {names[name.value].path} already; choose another name")
        for node in website["hostnames"].value:
            first = hostnames.setdefault(node.value, node)
            if first is not node:
                problems.unfit(node.path, node.raw, f"which is {first.path} already; a name belongs to one website")
            if node.value in exchange:
                problems.unfit(node.path, node.raw, "which is a name of Exchange already; a website needs another")
        for server in website["servers"].value:
            website_server_is_free(site, server, problems)


def keys_are_of_one_entry_each(site: Site, problems: Problems) -> None:
    """Each administrator's account is listed once."""
    seen: dict[str, Node] = {}
    for administrator in site.tree["ssh"]["administrators"].value:
        user = administrator["user"]
        if user.value and seen.setdefault(user.value, user) is not user:
            problems.unfit(user.path, user.raw, f"which is {seen[user.value].path} already; put its keys in one entry")


def bans_can_come(site: Site, problems: Problems) -> None:
    """The first ban isn't longer than the longest."""
    fail2ban = site.tree["fail2ban"]
    first, longest = fail2ban["ban_time"], fail2ban["max_ban_time"]
    if fail2ban["managed"].value and first.value > longest.value:
        text = f"which is more than {longest.path} ({longest.value}); write less, or more there"
        problems.unfit(first.path, first.raw or first.value, text)


def certificate_names_are_of_the_domains(site: Site, problems: Problems) -> None:
    """Each name of the certificate but the hostname is within one of the domains."""
    names, domains = site.tree["certificate"]["names"], site.tree["domains"]
    known = frozenset(domains.values)
    for node in names.value or ():
        labels = node.value.removeprefix("*.").split(".")
        if node.value != site.tree["hostname"].value and not any(
            ".".join(labels[place:]) in known for place in range(len(labels))
        ):
            text = f"which is in none of {domains.path} ({listed(domains.values)})"
            problems.unfit(node.path, node.raw, f"{text}; correct it, unless it is meant")


def groups_are_not_misspelt(site: Site, problems: Problems) -> None:
    """No group of the inventory is called nearly like one that is looked for and isn't there."""
    path = f"{site.tree.path}.exchange.legacy_group"
    name = site.declaration.exchange.legacy_group
    close = difflib.get_close_matches(name, sorted(site.inventory.groups), 1, cutoff=0.9)
    if close and name not in site.inventory.groups:
        problems.unfit(path, name, f"but the inventory has {show(close[0])}, which isn't looked at; did you mean that?")


RULES: tuple[Callable[[Site, Problems], None], ...] = (
    something_is_published,
    the_servers_are_there,
    a_server_has_a_weight,
    older_servers_are_others,
    older_servers_can_name_the_new_ones,
    the_gateways_have_their_addresses,
    addresses_have_one_owner,
    gateways_know_each_other,
    relay_clients_make_no_open_relay,
    networks_are_no_wider_than_meant,
    networks_can_reach_the_gateway,
    ipv6_is_meant,
    closed_directories_are_published,
    the_certificate_is_for_the_hostname,
    certificates_can_be_issued,
    external_accounts_are_whole,
    websites_are_distinct,
    ports_have_one_owner,
    keys_are_of_one_entry_each,
    openings_open_nothing_that_is_closed,
    bans_can_come,
)

DOUBTS: tuple[Callable[[Site, Problems], None], ...] = (
    certificate_names_are_of_the_domains,
    connectors_are_meant_to_be_missing,
    groups_are_not_misspelt,
)
"""Rules that a sound declaration may break: what they note is a warning."""


def files_are_good(site: Site, problems: Problems) -> None:
    """Every file that is named is on the controller and is what it should be; certificates are good for their names."""
    tree = site.tree
    for node in (tree["exchange"]["ca_file"], tree["certificate"]["authority_ca_file"]):
        _file_is_good(node, problems, files.check_authority_file)
    exchange = tree["certificate"]["file"], site.exchange_hostnames if site.declaration.https.enabled else ()
    websites = ((one["certificate_file"], tuple(one["hostnames"].values)) for one in tree["websites"].value)
    for node, names in (exchange, *websites):
        _file_is_good(
            node, problems, files.check_certificate_file, functools.partial(check_certificate, names=tuple(names))
        )


def _file_is_good(node: Node, problems: Problems, *checks: Callable[[str], None]) -> None:
    try:
        for check in checks if node.value else ():
            check(node.value)
    except Unfit as unfit:
        problems.unfit(node.path, node.raw, unfit.text)


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _has(names: list[str]) -> str:
    return "has" if len(names) == 1 else "have"
