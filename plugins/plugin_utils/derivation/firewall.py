# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the declaration to the variables of the role firewall: what is published is open, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..addresses import in_order
from ..declaration.rules import Site, families, published_ports, ssh_networks, ssh_ports
from ..declaration.tree import Node

ANY_OF_FAMILY = {4: "0.0.0.0/0", 6: "::/0"}


def derive_firewall(site: Site, more: Iterable[dict[str, Any]] = ()) -> dict[str, Any]:
    """The role's variables for the site's first gateway.

    Open are SSH for its networks, each published port on the addresses that clients reach (for everybody, in the
    families that the gateway listens on), the metrics' port for the monitoring networks, what other roles need
    (``more``, rules of the role), and what is declared besides.
    """
    tree = site.tree
    where = _destinations(tree)
    monitoring = [network for network in tree["monitoring_networks"].values if network.version in families(tree)]
    rules = [_rule("SSH for administrators", ssh_ports(tree, site.gateways[0]), sources=in_order(ssh_networks(tree)))]
    rules += [_rule(name, [port], destinations=where) for port, name in sorted(published_ports(tree).items())]
    if monitoring:
        port = tree["metrics_port"].value
        rules.append(_rule("metrics for monitoring", [port], sources=in_order(monitoring), destinations=where))
    rules += more
    rules += sorted(map(_opening, tree["firewall"]["open"].value), key=lambda rule: (rule["comment"], rule["ports"]))
    return {"firewall_rules": rules, "firewall_exact": tree["firewall"]["exact"].value}


def _opening(opening: Node) -> dict[str, Any]:
    comment, ports, networks = opening["comment"].value, opening["ports"].values, opening["networks"].values
    return {**_rule(comment, sorted(ports), sources=in_order(networks)), "protocol": opening["protocol"].value}


def _rule(
    comment: str, ports: list[int], sources: Iterable[str] = (), destinations: Iterable[str] = ()
) -> dict[str, Any]:
    return {
        "ports": ports,
        "protocol": "tcp",
        "sources": list(sources),
        "destinations": list(destinations),
        "comment": comment,
    }


def _destinations(tree: Node) -> list[str]:
    """The addresses that clients reach; where none are declared, any of a family that the gateway listens on."""
    addresses = [address for address in tree["service_addresses"].values if address.version in families(tree)]
    if addresses:
        return in_order(addresses)
    listening = families(tree)
    return [] if listening == {4, 6} else [ANY_OF_FAMILY[family] for family in sorted(listening)]
