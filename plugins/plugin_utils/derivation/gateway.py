# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a site to the variables of a gateway's roles. Pure functions: nothing else is looked at.

The order in which things stand in the declaration or in the inventory makes no difference to the result, so that
moving a line never shows as a change on a host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..declaration.site import Site
from ..declaration.tree import Gateway
from .fail2ban import derive_fail2ban
from .firewall import derive_firewall
from .haproxy import derive_haproxy
from .letsencrypt import derive_letsencrypt
from .role import Derived
from .sshd import derive_sshd

ROLES: dict[str, Callable[[Site, Gateway], Derived]] = {
    "sshd": derive_sshd,
    "haproxy": derive_haproxy,
    "fail2ban": derive_fail2ban,
    "letsencrypt": derive_letsencrypt,
}
"""The roles of a gateway, each with its derivation. The firewall is derived from what they need."""

MANAGED = "mail_gateway_managed"
"""The variable that tells which roles run on a gateway."""


def derive_gateway(site: Site, gateway: Gateway) -> dict[str, Any]:
    """The variables of a gateway's roles, and for each role whether it runs. The site must be sound."""
    derived = {name: derive(site, gateway) for name, derive in ROLES.items()}
    openings = [opening for one in derived.values() for opening in one.openings]
    derived["firewall"] = derive_firewall(site, openings)
    return {
        MANAGED: {name: one.managed for name, one in derived.items()},
        **{name: value for one in derived.values() for name, value in one.variables.items()},
    }
