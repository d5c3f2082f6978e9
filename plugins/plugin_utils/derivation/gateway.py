# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the declaration and the inventory to the variables of the roles. Pure functions: nothing else is looked at.

The order in which things stand in the declaration or in the inventory makes no difference to the result, so that
moving a line never shows as a change on a host.
"""

from __future__ import annotations

from typing import Any

from ..declaration.declaration import DeclarationError, check
from ..declaration.tree import Inventory
from .fail2ban import derive_fail2ban
from .firewall import derive_firewall
from .haproxy import derive_haproxy
from .letsencrypt import challenge_variables, derive_letsencrypt, peer_rules
from .sshd import derive_sshd

MANAGED = {"firewall": "firewall", "sshd": "ssh", "fail2ban": "fail2ban"}
"""The roles that the declaration can leave out, each with the key that says so."""


def derive_gateway(declaration: Any, host: str, inventory: Inventory) -> dict[str, Any]:
    """The variables of a gateway's roles, and in ``managed`` which of those roles run that needn't.

    Raises DeclarationError with every problem when the declaration isn't sound for this host; the files that it
    names aren't looked at (``declaration.validate`` does that).
    """
    checked = check(declaration, inventory, [host])
    if checked.problems:
        raise DeclarationError(checked.problems)
    site = checked.site
    return {
        "managed": {role: site.tree[key]["managed"].value for role, key in MANAGED.items()},
        **derive_firewall(site, peer_rules(site)),
        **derive_sshd(site),
        **derive_haproxy(site),
        **challenge_variables(site),
        **derive_fail2ban(site),
        **derive_letsencrypt(site),
    }
