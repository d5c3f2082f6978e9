# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the declaration to the variables of the role firewall: what is published is open, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.postern.mail_gateway.plugins.module_utils.declaration import DeclarationError, check
from ansible_collections.postern.mail_gateway.plugins.module_utils.declaration_rules import families, published_ports
from ansible_collections.postern.mail_gateway.plugins.module_utils.declaration_tree import Inventory, Node
from ansible_collections.postern.mail_gateway.plugins.module_utils.declaration_values import (
    Address,
    Network,
    as_network,
)

ANY_OF_FAMILY = {4: "0.0.0.0/0", 6: "::/0"}


def derive_firewall(declaration: Any, host: str, inventory: Inventory, ssh_port: int = 22) -> dict[str, Any]:
    """The variables of the role firewall for one gateway.

    Open are SSH for the administrators' networks, each published port on the addresses that clients reach (for
    everybody, in the families that the gateway listens on), and the metrics' port for the monitoring networks.

    :param ssh_port: where sshd listens.
    :raises DeclarationError: the declaration isn't sound for this host.
    """
    checked = check(declaration, inventory, [host])
    if checked.problems:
        raise DeclarationError(checked.problems)
    tree = checked.site.tree
    where = _destinations(tree)
    monitoring = [network for network in tree["monitoring_networks"].values if network.version in families(tree)]
    rules = [_rule("SSH for administrators", ssh_port, sources=_in_order(tree["admin_networks"].values))]
    rules += [_rule(name, port, destinations=where) for port, name in sorted(published_ports(tree).items())]
    if monitoring:
        port = tree["metrics_port"].value
        rules.append(_rule("metrics for monitoring", port, sources=_in_order(monitoring), destinations=where))
    return {"firewall_rules": rules}


def _rule(comment: str, port: int, sources: Iterable[str] = (), destinations: Iterable[str] = ()) -> dict[str, Any]:
    return {
        "ports": [port],
        "protocol": "tcp",
        "sources": list(sources),
        "destinations": list(destinations),
        "comment": comment,
    }


def _destinations(tree: Node) -> list[str]:
    """The addresses that clients reach; where none are declared, any of a family that the gateway listens on."""
    addresses = [address for address in tree["service_addresses"].values if address.version in families(tree)]
    if addresses:
        return _in_order(addresses)
    listening = families(tree)
    return [] if listening == {4, 6} else [ANY_OF_FAMILY[family] for family in sorted(listening)]


def _in_order(items: Iterable[Address | Network]) -> list[str]:
    """As texts, IPv4 first, by number."""
    return [str(item) for item in sorted(items, key=lambda item: (item.version, as_network(item)))]
