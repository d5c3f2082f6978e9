# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a site to the variables of the role firewall: open is what the roles need and what is declared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ...module_utils.firewall.desired import MOST_PORTS
from ..declaration.site import Site
from .role import Derived, Opening, texts


def derive_firewall(site: Site, openings: Iterable[Opening]) -> Derived:
    """The role's variables, from what the other roles of the gateway need and what is declared besides."""
    declared = [
        Opening(one.comment, tuple(sorted(one.ports)), sources=texts(one.networks), protocol=one.protocol)
        for one in site.declaration.firewall.open
    ]
    rules = [*openings, *sorted(declared, key=lambda opening: (opening.comment, opening.ports))]
    split = [_rule(opening, ports) for opening in rules for ports in _parts(opening.ports)]
    variables = {"firewall_rules": split, "firewall_exact": site.declaration.firewall.exact}
    return Derived(variables, managed=site.declaration.firewall.managed)


def _parts(ports: tuple[int, ...]) -> Iterator[list[int]]:
    """The ports, as many at a time as one rule of ufw can have."""
    for start in range(0, len(ports), MOST_PORTS):
        yield list(ports[start : start + MOST_PORTS])


def _rule(opening: Opening, ports: list[int]) -> dict[str, Any]:
    return {
        "ports": ports,
        "protocol": opening.protocol,
        "sources": list(opening.sources),
        "destinations": list(opening.destinations),
        "comment": opening.comment,
    }
