# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Windows firewall: edge traversal for the rules of IMAP and POP clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...module_utils.values.sentences import listed
from .actual import Server
from .desired import Desired
from .kinds.windows import ALLOW_EDGE_TRAVERSAL
from .operations import Difference, Plan, step

CLIENT_PORTS = frozenset(("110", "143", "993", "995"))
_CLIENT_PROGRAMS = ("microsoft.exchange.imap4", "microsoft.exchange.pop3")


def client_rules(server: Server, ports: frozenset[int]) -> list[Mapping[str, Any]]:
    """The inbound rules that are for these ports of clients alone, by port and program: names are localised."""
    wanted = {str(port) for port in ports}
    found = []
    for rule in server.firewall:
        local = rule.get("LocalPort")
        mine = {str(port) for port in (local if isinstance(local, list) else [local])}
        program = str(rule.get("Program") or "Any").lower()
        name = program.replace("/", "\\").rpartition("\\")[2]
        if (
            str(rule.get("Direction")).lower() == "inbound"
            and mine & wanted
            and mine <= CLIENT_PORTS
            and (program in ("any", "system") or name.startswith(_CLIENT_PROGRAMS))
        ):
            found.append(rule)
    return sorted(found, key=lambda rule: str(rule["Name"]))


def plan_edge_traversal(desired: Desired, server: Server, plan: Plan, problems: list[str]) -> None:
    """Add to the plan what lets these rules take what comes through address translation."""
    rules = client_rules(server, desired.edge_traversal_ports)
    if desired.edge_traversal_ports and not rules:
        ports = listed(map(str, sorted(desired.edge_traversal_ports)))
        plan.warnings.append(f"{server.name} has no firewall rule of its own for the client ports {ports}.")
    for rule in rules:
        policy = str(rule["EdgeTraversalPolicy"])
        if policy.lower() == "allow":
            continue
        title = f"firewall rule {rule['Name']} ({rule['DisplayName']})"
        if str(rule.get("PolicyStoreSourceType")).lower() == "grouppolicy":
            problems.append(
                f"The {title} of {server.name} comes from group policy, where alone its edge traversal can be allowed; "
                "change it there, or empty exchange_edge_traversal_ports."
            )
            continue
        plan.add([step(ALLOW_EDGE_TRAVERSAL, str(rule["Name"]), {}, f"{title} allows edge traversal")])
        plan.differences.append(Difference(title, (f"edge traversal: {policy}",), ("edge traversal: Allow",)))
