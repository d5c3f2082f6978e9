# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validation of declarations: everything that is wrong with them, at once, each thing in one sentence.

``survey`` makes the sites of an inventory; ``check`` and ``validate`` are about one declaration. None of them raises,
whatever stands in a declaration.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...module_utils.values.addresses import Address, as_network, is_public
from ...module_utils.values.sentences import listed
from . import schema
from .rules import DOUBTS, RULES, files_are_good
from .site import Site
from .tree import Gateway, Inventory, Node, Problem, Problems, Server, read, read_gateway, read_server


class DeclarationError(ValueError):
    """The declaration isn't sound. The text is every problem's sentence, one a line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


# --- one declaration -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Checked:
    """A site, and what is wrong with it."""

    site: Site
    problems: tuple[Problem, ...]


def check(declaration: Any, inventory: Inventory, gateways: Sequence[str] | None = None) -> Checked:
    """Read the declaration and its part of the inventory, and ask every rule. No file is looked at.

    ``gateways`` are the hosts that the declaration is for; without it, all of the group ``gateways``.
    """
    problems = Problems()
    tree = read(schema.DECLARATION, schema.DECLARATION.name, declaration, problems)
    members = inventory.group(schema.GATEWAYS)
    if gateways is None and not members:
        problems.sentence(schema.GATEWAYS, no_gateways(inventory))
    ours = sorted(set(members if gateways is None else gateways))
    return _ruled(_site(tree, inventory, ours, problems), problems)


def validate(declaration: Any, inventory: Inventory, gateways: Sequence[str] | None = None) -> list[Problem]:
    """Every problem of the declaration, those of the files that it names included."""
    checked = check(declaration, inventory, gateways)
    return _with_files(checked)


def doubts(site: Site) -> list[Problem]:
    """What may not be meant in a sound declaration."""
    found = Problems()
    for rule in DOUBTS:
        rule(site, found)
    return found.found


def _site(tree: Node, inventory: Inventory, gateways: Iterable[str], problems: Problems) -> Site:
    """The site with its own gateways for neighbours; what is wrong with host variables is noted."""
    exchange = tree["exchange"]
    servers = (read_server(name, inventory, problems) for name in inventory.group(exchange["group"].value))
    older = (read_server(name, inventory, Problems()) for name in inventory.group(exchange["legacy_group"].value))
    own = tuple(read_gateway(name, inventory, problems) for name in gateways)
    return Site(
        tree=tree,
        inventory=inventory,
        gateways=own,
        neighbours=own,
        servers=tuple(server for server in servers if server is not None),
        older_servers=tuple(server for server in older if server is not None),
    )


def _ruled(site: Site, problems: Problems) -> Checked:
    for rule in RULES:
        rule(site, problems)
    return Checked(site, tuple(problems.found))


def _with_files(checked: Checked) -> list[Problem]:
    problems = Problems(checked.problems)
    files_are_good(checked.site, problems)
    return problems.found


# --- all sites of an inventory ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Survey:
    """The sites of an inventory, and the sentences about them: what is wrong, and what may not be meant."""

    sites: tuple[Site, ...]
    problems: tuple[str, ...]
    doubts: tuple[str, ...]
    site_of: Mapping[str, Site]
    """Which site a host is of: a gateway by its declaration, a server by the site that sets it up."""


@dataclass(frozen=True)
class _Reading:
    """A declaration, and the hosts that have it word for word."""

    tree: Node
    problems: Problems
    meaning: Any
    hosts: list[str]

    @property
    def name(self) -> str:
        """The site's name."""
        return str(self.tree["site"].value or "")


def survey(declarations: Mapping[str, Any], inventory: Inventory) -> Survey:
    """The sites of the inventory.

    ``declarations`` maps hosts to what they have for a declaration: gateways, and servers as far as they have one.
    """
    members = inventory.group(schema.GATEWAYS)
    if not members:
        return Survey((), (no_gateways(inventory),), (), {})
    reader = _Reader()
    readings = reader.readings({name: declarations[name] for name in members if name in declarations})
    told = _sites_are_named(readings)
    checked = _apart(_checked(readings, inventory))
    sites = tuple(one.site for one in checked)
    told += _public_addresses_are_of_one_site(sites)
    wrong = _told([(one.site, _with_files(one)) for one in checked])
    doubtful = _told([(site, doubts(site)) for site in sites])
    site_of = {gateway.name: site for site in sites for gateway in site.gateways}
    servers, told_of_servers = _sites_of_servers(sites, reader.readings(declarations))
    # While something else is wrong there may be sites that aren't meant.
    problems = [*told, *wrong] or told_of_servers
    return Survey(sites, tuple(problems), tuple(doubtful), {**site_of, **servers})


class _Reader:
    """Reads each declaration once, however many hosts have it: a declaration may hold 50,000 entries."""

    def __init__(self) -> None:
        self._spellings: dict[int, str] = {}  # hosts of one group often share the very object
        self._read: dict[str, _Reading] = {}

    def readings(self, declarations: Mapping[str, Any]) -> list[_Reading]:
        """The declarations, those that are the same word for word together; 1 isn't true."""
        hosts: dict[str, list[str]] = {}
        for host, declaration in declarations.items():
            if id(declaration) not in self._spellings:
                self._spellings[id(declaration)] = _spelt(declaration)
            text = self._spellings[id(declaration)]
            if text not in self._read:
                problems = Problems()
                tree = read(schema.DECLARATION, schema.DECLARATION.name, declaration, problems)
                self._read[text] = _Reading(tree, problems, _meaning(tree), [])
            hosts.setdefault(text, []).append(host)
        return [dataclasses.replace(self._read[text], hosts=names) for text, names in hosts.items()]


def _spelt(value: Any, depth: int = 0) -> str:
    if isinstance(value, dict) and depth < 12:
        items = sorted((_spelt(key), _spelt(inner, depth + 1)) for key, inner in value.items())
        return f"{{{','.join(f'{key}:{inner}' for key, inner in items)}}}"
    if isinstance(value, (list, tuple)) and depth < 12:
        return f"[{','.join(_spelt(entry, depth + 1) for entry in value)}]"
    try:
        return f"{type(value).__name__} {value!r}"
    except ValueError:  # a number that Python refuses to print
        return f"{type(value).__name__} {hash(value)}"


def _meaning(node: Node) -> Any:
    """What is declared, whatever the order and the spelling."""
    if isinstance(node.value, dict):
        return tuple((name, _meaning(inner)) for name, inner in node.value.items())
    if isinstance(node.value, list):
        return frozenset(map(_meaning, node.value))
    return node.value


def _first_difference(one: Node, other: Node) -> str:
    """The path of the first key whose values mean different things."""
    if isinstance(one.value, dict) and isinstance(other.value, dict):
        for name, inner in one.value.items():
            if _meaning(inner) != _meaning(other[name]):
                return _first_difference(inner, other[name])
    return one.path


def _sites_are_named(readings: Sequence[_Reading]) -> list[str]:
    """Sentences about declarations that differ, and name no site or the same one."""
    told, first = [], readings[0] if readings else None
    path = f"{schema.DECLARATION.name}.site"
    by_name: dict[str, _Reading] = {}
    for reading in readings:
        known = by_name.setdefault(reading.name, reading)
        if reading.name and known.meaning != reading.meaning:
            where = _first_difference(known.tree, reading.tree)
            told.append(
                f"{where} of {listed(reading.hosts)} isn't that of {listed(known.hosts)}, but {path} is {reading.name} "
                "for both; declare it once for the site, or name two sites."
            )
    for reading in readings:
        other = next((one for one in readings if one.meaning != reading.meaning), None)
        if not reading.name and other is not None and first is not None:
            where = _first_difference(reading.tree, other.tree)
            text = (
                f"{schema.DECLARATION.name} isn't the same everywhere ({where} differs from that of {other.hosts[0]})"
            )
            told.append(f"{path} of {listed(reading.hosts)} is missing, and {text}; name the site in each declaration.")
    return told


def _checked(readings: Sequence[_Reading], inventory: Inventory) -> list[Checked]:
    """A site for each declaration that means something else; a wrong one stands for itself."""
    groups: list[tuple[_Reading, list[str]]] = []
    for reading in readings:
        for known, hosts in groups:
            if known.meaning == reading.meaning and not known.problems.found and not reading.problems.found:
                hosts.extend(reading.hosts)
                break
        else:
            groups.append((reading, list(reading.hosts)))
    return [
        Checked(_site(reading.tree, inventory, sorted(hosts), problems), tuple(problems.found))
        for reading, hosts in groups
        for problems in [Problems(reading.problems.found)]
    ]


def _apart(found: Sequence[Checked]) -> list[Checked]:
    """The sites after the rules, each with the gateways for neighbours that may not have its addresses."""
    ruled = []
    for one in found:
        neighbours = list(one.site.gateways)
        servers: dict[str, Server] = {}
        for other in found:
            if other is not one:
                shared = _share(one.site, other.site)
                neighbours += other.site.gateways if shared else map(_in_public, other.site.gateways)
                theirs = (*other.site.servers, *other.site.older_servers)
                servers |= {server.name: server for server in theirs if shared or _is_public(server.address)}
        site = dataclasses.replace(
            one.site,
            neighbours=tuple(sorted(neighbours, key=lambda gateway: gateway.name)),
            foreign_servers=tuple(server for name, server in servers.items() if name not in one.site.server_hosts),
        )
        ruled.append(_ruled(site, Problems(one.problems)))
    return ruled


def _share(one: Site, other: Site) -> bool:
    """Whether a private address of one site is the same host's in the other: they have servers in common."""
    return not (one.name and other.name) or not one.server_hosts.isdisjoint(other.server_hosts)


def _is_public(address: Address | str | None) -> bool:
    return address is not None and not isinstance(address, str) and is_public(as_network(address))


def _in_public(gateway: Gateway) -> Gateway:
    """The gateway as other sites see it: private addresses may be theirs too."""

    def public(address: Address | None) -> Address | None:
        return address if _is_public(address) else None

    return dataclasses.replace(
        gateway, egress=public(gateway.egress), relay=public(gateway.relay), reached_at=public(gateway.reached_at)
    )


def _public_addresses_are_of_one_site(sites: Sequence[Site]) -> list[str]:
    """A service address is no other site's, nor a gateway's own there, where it is public or they share servers."""
    told = []
    owners: dict[Address, tuple[Site, str]] = {}
    for site in sites:
        for gateway in site.gateways:
            for address in (gateway.egress, gateway.relay):
                if address is not None:
                    owners.setdefault(address, (site, gateway.name))
    for site in sites:
        for node in site.tree["service_addresses"].value:
            owner, what = owners.setdefault(node.value, (site, "a service address"))
            if owner is not site and (is_public(as_network(node.value)) or _share(owner, site)):
                whose = f"{what} of {_named(owner)}" if what == "a service address" else f"an address of {what}"
                found = Problems()
                found.unfit(node.path, node.raw, f"which is {whose} too; an address that both know belongs to one site")
                told += [f"In {_named(site)}: {problem}" for problem in found.found]
    return told


def _sites_of_servers(sites: Sequence[Site], readings: Sequence[_Reading]) -> tuple[dict[str, Site], list[str]]:
    """Which site sets up each server, and sentences where that can't be said."""
    found: dict[str, Site] = {}
    told = []
    own = {host: reading for reading in readings for host in reading.hosts}
    meanings = {id(site): _meaning(site.tree) for site in sites}
    for host in sorted({host for site in sites for host in site.server_hosts}):
        candidates = [site for site in sites if host in site.server_hosts]
        managing = [site for site in candidates if site.declaration.exchange.managed] or candidates
        reading = own.get(host)
        named = [site for site in candidates if reading is not None and meanings[id(site)] == reading.meaning]
        if named:
            found[host] = named[0]
        elif reading is not None and not reading.problems.found:
            where = _first_difference(candidates[0].tree, reading.tree)
            told.append(
                f"{where} of the server {host} isn't that of {listed([one.name for one in candidates[0].gateways])}; "
                "declare it once, where the gateways and the servers of the site read it."
            )
        elif len(managing) == 1:
            found[host] = managing[0]
        else:
            told.append(
                f"{host} is a server of {listed(map(_named, managing))}, and nothing says which sets it up; give it "
                f"that one's {schema.DECLARATION.name}, or write exchange.managed: false in the other."
            )
    for site in sites:
        # One server may be of a site and serve another; servers of several sites in one group are there by accident.
        owners = {host: found[host] for host in sorted(site.server_hosts) if host in found and host in own}
        if len({id(owner) for owner in owners.values()}) > 1:
            told += [
                f"The server {host} is of {_named(owner)}, but {_named(site)} would send clients to it too; give each "
                "site its own exchange.group."
                for host, owner in owners.items()
                if owner is not site
            ]
    return found, told


def _named(site: Site) -> str:
    return f"the site {site.name}" if site.name else f"the site of {listed([one.name for one in site.gateways])}"


def _told(found: Sequence[tuple[Site, Sequence[Problem]]]) -> list[str]:
    """The sentences, each once. One that isn't about all sites says which one it is about."""
    about: dict[Problem, list[Site]] = {}
    for site, problems in found:
        for problem in problems:
            about.setdefault(problem, []).append(site)
    told = []
    for problem, sites in about.items():
        everywhere = len(sites) == len(found) or not _is_declared(problem)
        told.append(str(problem) if everywhere else f"In {listed(map(_named, sites))}: {problem}")
    return told


def _is_declared(problem: Problem) -> bool:
    """Whether the problem is in the declaration; a host variable's path names its host anyway."""
    return re.split(r"[.\[]", problem.path)[0] == schema.DECLARATION.name


# --- what isn't in a declaration --------------------------------------------------------------------------------------


def misspelt(host: str, names: Iterable[str], declared: bool) -> list[str]:
    """Sentences about the host's variables that look like ours and aren't, and about a gateway's missing declaration.

    ``names`` are the names of all of the host's variables; ``declared`` tells whether it needs a declaration.
    """
    sentences = []
    known = (schema.DECLARATION.name, schema.REMOVED.name, *schema.HOST_VARIABLES)
    strangers = [name for name in sorted(names) if name not in known]
    for name in strangers:
        close = difflib.get_close_matches(name, known, 1, cutoff=0.9)
        if close and close[0].startswith(schema.DECLARATION.name):
            sentences.append(f"{name} of {host} isn't known; did you mean {close[0]}?")
    if declared and schema.DECLARATION.name not in names:
        where = "the variables of the group all, or of a group for its site"
        sentences.append(
            f"{schema.DECLARATION.name} of {host} is missing; declare what the gateway publishes in {where}."
        )
    return sentences


def no_gateways(inventory: Inventory) -> str:
    """The sentence for an inventory without gateways."""
    if schema.GATEWAYS in inventory.groups:
        return f"The inventory's group {schema.GATEWAYS} has no hosts; put the hosts into it that are to be gateways."
    return f"The inventory has no group {schema.GATEWAYS}; make one of the hosts that are to be gateways."
