# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the declaration to the variables of the role fail2ban."""

from __future__ import annotations

from typing import Any

from ..addresses import Network, as_network, in_order, without_parts
from ..declaration import schema
from ..declaration.rules import Site, most_failed_logons, ssh_networks, ssh_ports

# sshd's own lines, whichever of systemd's units it runs in: ssh.service, or one for each connection of ssh.socket.
SSHD = ["_SYSTEMD_UNIT=ssh.service _UID=0", "_SYSTEMD_SLICE=system-ssh.slice _UID=0"]


def derive_fail2ban(site: Site) -> dict[str, Any]:
    """The role's variables for the site's first gateway.

    A client that fails at the web services is banned from those alone: mail that comes from the same address, another
    company's behind one router for example, isn't lost.
    """
    tree = site.tree
    fail2ban = tree["fail2ban"]
    limits = {name: fail2ban[name].value for name in ("find_time", "ban_time", "max_ban_time")}
    limits["max_retry"] = most_failed_logons(tree)
    ports = list(map(str, ssh_ports(tree, site.gateways[0])))
    # The mode "aggressive" counts connections too that end before a logon, since passwords aren't even offered.
    jails = [{"name": "sshd", "filter_mode": "aggressive", "journal_matches": SSHD, "ports": ports, **limits}]
    if tree["https"]["enabled"].value:
        ports = list(map(str, schema.HTTP_PORTS))
        jails.append({"name": "haproxy-logons", "ports": ports, **limits})
        # Logons that HAProxy holds back fail at no server. Who was unbanned by hand and goes on soon has no others.
        jails.append({"name": "haproxy-held", "ports": ports, **limits, "max_retry": 1})
    trusted: list[Network] = [*tree["admin_networks"].values, *ssh_networks(tree), *tree["monitoring_networks"].values]
    trusted += fail2ban["ignored_networks"].values
    trusted += [as_network(server.address) for server in site.servers if not isinstance(server.address, str)]
    return {"fail2ban_jails": jails, "fail2ban_ignored_networks": in_order(without_parts(trusted))}
