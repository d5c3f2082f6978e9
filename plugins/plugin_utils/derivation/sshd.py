# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the declaration to the variables of the role sshd."""

from __future__ import annotations

from typing import Any

from ..addresses import in_order
from ..declaration.rules import Site, ssh_networks


def derive_sshd(site: Site) -> dict[str, Any]:
    """The role's variables; all others keep their defaults."""
    ssh = site.tree["ssh"]
    administrators = sorted(ssh["administrators"].value, key=lambda administrator: str(administrator["user"].value))
    return {
        "sshd_ports": sorted(ssh["ports"].values),
        "sshd_root_logon": ssh["root_logon"].value,
        "sshd_older_clients": ssh["older_clients"].value,
        "sshd_penalty_exempt_networks": in_order({*site.tree["admin_networks"].values, *ssh_networks(site.tree)}),
        "sshd_authorized_keys": [
            {
                "user": administrator["user"].value,
                "keys": administrator["keys"].values,
                "exclusive": administrator["exclusive"].value,
            }
            for administrator in administrators
        ],
    }
