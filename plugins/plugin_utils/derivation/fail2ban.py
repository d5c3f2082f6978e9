# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a site to the variables of the role fail2ban."""

from __future__ import annotations

from typing import Any

from ...module_utils.values.addresses import Network, as_network
from ..addresses import in_order, without_parts
from ..declaration import schema
from ..declaration.site import Site
from ..declaration.tree import Gateway
from .role import Derived

# sshd's own lines, whichever of systemd's units it runs in: ssh.service, or one for each connection of ssh.socket.
SSHD = ["_SYSTEMD_UNIT=ssh.service _UID=0", "_SYSTEMD_SLICE=system-ssh.slice _UID=0"]


def derive_fail2ban(site: Site, gateway: Gateway) -> Derived:
    """The role's variables.

    A client that fails at the web services is banned from those alone: mail that comes from the same address, another
    company's behind one router for example, isn't lost.
    """
    declared = site.declaration
    limits = {
        "find_time": declared.fail2ban.find_time,
        "ban_time": declared.fail2ban.ban_time,
        "max_ban_time": declared.fail2ban.max_ban_time,
        "max_retry": declared.fail2ban.max_retry,
    }
    ports = list(map(str, site.ssh_ports(gateway)))
    # The mode "aggressive" counts connections too that end before a logon, since passwords aren't even offered.
    jails: list[dict[str, Any]] = [
        {"name": "sshd", "filter_mode": "aggressive", "journal_matches": SSHD, "ports": ports, **limits}
    ]
    if declared.https.enabled:
        ports = list(map(str, schema.HTTP_PORTS))
        # HAProxy has counted already: what it holds back is one too many.
        jails.append({"name": "haproxy-logons", "ports": ports, **limits, "max_retry": 1})
    trusted: list[Network] = [*declared.admin_networks, *site.ssh_networks, *declared.monitoring_networks]
    trusted += declared.fail2ban.ignored_networks
    trusted += [as_network(server.address) for server in site.servers if not isinstance(server.address, str)]
    variables = {"fail2ban_jails": jails, "fail2ban_ignored_networks": in_order(without_parts(trusted))}
    return Derived(variables, managed=declared.fail2ban.managed)
