# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the sites of an inventory to every host's variables, and the order in which hosts are provisioned."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

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


def derive_all(
    found: Survey, servers: Mapping[str, dict[str, Any]], taking_part: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Each gateway and each server that is set up from here, with its ``variables`` and ``groups``.

    ``servers`` are what ``derive_servers`` returns. The groups say who goes first: of each site the inventory's first
    gateway and the first server by name, of those that take part in the run.
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
            derived[gateway.name] = _entry(derive_gateway(site, gateway), groups)
    for host in sorted(servers):
        groups = [SERVERS, *([FIRST_SERVERS] if host in first_servers else ())]
        derived[host] = _entry({**servers[host], ELECTED: host in elected}, groups)
    return derived


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
