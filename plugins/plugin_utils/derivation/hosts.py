# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the sites of an inventory to every host's variables, and the order in which hosts are provisioned."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...module_utils.values.addresses import Address, parse_address
from ..addresses import in_order
from ..declaration import schema
from ..declaration.validation import Survey
from .gateway import derive_gateway

NAMES = "mail_gateway_derived"
"""The variable that names those which are derived, so that another preflight of the same run knows them for its own."""

FIRST_GATEWAYS = "postern_gateways_first"
SERVERS = "postern_exchange"
FIRST_SERVERS = "postern_exchange_first"
ELECTED = "exchange_organization_settings"
"""The variable by which one server of each site, none of the older ones, has what the whole organization has once."""


REMOVABLE = "mail_gateway_may_leave"
"""The variable with the names and addresses of servers that may leave HAProxy."""
PARAMETERS = "mail_gateway_parameters"
"""The variable with the parameters of the playbooks for operations."""


@dataclass(frozen=True)
class RunVariables:
    """What only this run is told: ``parameters`` of playbooks, and the names and addresses that may leave."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    removed: Sequence[str] = ()


def derive_all(
    found: Survey,
    servers: Mapping[str, dict[str, Any]],
    taking_part: Collection[str],
    run: RunVariables = RunVariables(),
) -> dict[str, dict[str, Any]]:
    """Each gateway and each server that is set up from here, with its ``variables`` and ``groups``.

    ``servers`` are what ``derive_servers`` returns. The groups say who goes first: of each site the inventory's first
    gateway and the first server by name, of those that take part in the run. ``run`` is what is said once.
    """
    listed = found.sites[0].inventory.groups[schema.GATEWAYS]
    gateways = [host for host in listed if host in found.site_of]
    first_gateways = _first_of_each(found, gateways, taking_part)
    first_servers = _first_of_each(found, sorted(servers), taking_part)
    newer = [host for host in sorted(servers) if not found.site_of[host].is_older(host)]
    elected = _first_of_each(found, newer, taking_part)
    derived = {}
    for site in found.sites:
        for gateway in site.gateways:
            groups = [FIRST_GATEWAYS] if gateway.name in first_gateways else []
            of_run = {PARAMETERS: dict(run.parameters), REMOVABLE: list(run.removed)}
            derived[gateway.name] = _entry({**derive_gateway(site, gateway), **of_run}, groups)
    removable = _removable(found, run.removed)
    for host in sorted(servers):
        groups = [SERVERS, *([FIRST_SERVERS] if host in first_servers else ())]
        more: dict[str, Any] = {
            ELECTED: host in elected,
            "exchange_removable_addresses": removable,
        }
        derived[host] = _entry({**servers[host], **more}, groups)
    return derived


def _removable(found: Survey, removed: Iterable[str]) -> list[str]:
    """The addresses that may leave connectors: those of hosts that are there, and what is named."""
    there: set[Address] = set()
    for site in found.sites:
        there |= {
            server.address for server in (*site.servers, *site.older_servers) if isinstance(server.address, Address)
        }
        for gateway in site.gateways:
            there |= {one for one in (gateway.egress, gateway.relay, gateway.reached_at) if one is not None}
    return [*in_order(there), *(one for one in removed if parse_address(one) is not None)]


def _entry(variables: dict[str, Any], groups: list[str]) -> dict[str, Any]:
    return {"variables": {**variables, NAMES: sorted(variables)}, "groups": groups}


def _first_of_each(found: Survey, hosts: Sequence[str], taking_part: Collection[str]) -> set[str]:
    """Of each site the first of the hosts that take part; where none does at all, the first of all."""
    first: dict[int, str] = {}
    those = [host for host in hosts if host in set(taking_part)] or hosts
    for host in those:
        first.setdefault(id(found.site_of[host]), host)
    return set(first.values())


def overridden(host: str, derived: Iterable[str], variables: Mapping[str, Any]) -> list[str]:
    """Sentences about variables of the inventory or the command line that would win over what is derived."""
    own = set(variables.get(NAMES, ()))
    return [
        f"{name} of {host} is derived from {schema.DECLARATION.name}; take it out of the inventory and of the command "
        "line, and change the declaration."
        for name in sorted(derived)
        if name in variables and name not in own and name != NAMES
    ]
