# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a site to the variables of the role sshd."""

from __future__ import annotations

from ..addresses import in_order
from ..declaration.site import Site
from ..declaration.tree import Gateway
from .role import Derived, Opening, texts


def derive_sshd(site: Site, gateway: Gateway) -> Derived:
    """The role's variables; all others keep their defaults. SSH is open whoever looks after sshd."""
    ssh = site.declaration.ssh
    variables = {
        "sshd_ports": sorted(ssh.ports),
        "sshd_root_logon": ssh.root_logon,
        "sshd_older_clients": ssh.older_clients,
        "sshd_penalty_exempt_networks": in_order({*site.declaration.admin_networks, *site.ssh_networks}),
        "sshd_authorized_keys": [
            {"user": one.user, "keys": list(one.keys), "exclusive": one.exclusive}
            for one in sorted(ssh.administrators, key=lambda one: one.user)
        ],
    }
    ports = tuple(site.ssh_ports(gateway))
    opening = Opening("SSH for administrators", ports, sources=texts(site.ssh_networks))
    return Derived(variables, (opening,), managed=ssh.managed)
