# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What rules come to for one connection: whether the controller gets in."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .rules import (
    Rule,
    words,
)


@dataclass(frozen=True)
class Connection:
    """A new TCP connection to this host: addresses, the port here, the interface where it arrives."""

    client: str
    server: str
    port: int
    interface: str = ""

    @property
    def family(self) -> int:
        """4 or 6."""
        return ipaddress.ip_address(self.client).version


def decide(rules: Iterable[Rule], connection: Connection, policy: str) -> tuple[str, Rule | None]:
    """Return what ufw does with a new connection to this host: the action, and the rule that decides it.

    :param policy: what happens where no rule fits: ``allow``, ``deny`` or ``reject``.
    """
    client = ipaddress.ip_address(connection.client)
    server = ipaddress.ip_address(connection.server)
    for rule in rules:
        if (
            rule.family == connection.family
            and rule.direction == "in"
            and not rule.routed
            and rule.protocol in ("any", "tcp")
            and rule.sport == "any"
            and client in ipaddress.ip_network(rule.src, strict=False)
            and server in ipaddress.ip_network(rule.dst, strict=False)
            and _holds(rule.dport, connection.port)
            and _is_interface(rule.interface_in, connection.interface)
        ):
            return rule.action, rule
    return policy, None


def _holds(ports: str, port: int) -> bool:
    if ports == "any":
        return True
    for part in ports.split(","):
        low, _unused, high = part.partition(":")
        if int(low) <= port <= int(high or low):
            return True
    return False


def _is_interface(pattern: str, name: str) -> bool:
    """Whether a rule for this interface (``eth+``: all that begin so) counts; one that isn't known is no match."""
    return not pattern or pattern == name or (pattern.endswith("+") and name.startswith(pattern[:-1]) and bool(name))


def refusal(rules: Sequence[Rule], connection: Connection, policy: str) -> str:
    """Return why these rules would shut out the connection that the play comes by; an empty text if they wouldn't.

    A limit counts as shutting out: ufw's is six connections in 30 seconds, and Ansible may need more.
    """
    action, rule = decide(rules, connection, policy)
    if action == "allow":
        return ""
    by = f"'{words(rule)}'" if rule else f"the default ({policy} incoming), since no rule fits"
    verb = "hold back" if action == "limit" else "shut out"
    return (
        f"These rules would {verb} the controller ({connection.client}) on SSH's port {connection.port}, by {by}; "
        f"nothing was changed. Allow {connection.port}/tcp from {connection.client} before anything that denies it."
    )
