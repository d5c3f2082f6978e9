# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's filter table: ufw's part of it, read from iptables-save(8) and written for iptables-restore(8)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

IPTABLES = {4: "iptables", 6: "ip6tables"}
CHAINS = {"incoming": "INPUT", "outgoing": "OUTPUT", "routed": "FORWARD"}
TARGETS = {"allow": "ACCEPT", "deny": "DROP", "reject": "REJECT"}
# What the kernel's filter table holds: chain → its rules as iptables-save(8) prints them, and the policies.
Chains = dict[str, list[str]]


@dataclass
class Live:
    """The filter table of the running kernel, a family each: ufw's chains, the policies, and all of it as a text."""

    chains: dict[int, Chains] = field(default_factory=dict)
    policies: dict[int, dict[str, str]] = field(default_factory=dict)
    text: dict[int, str] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Whether ufw's rules are loaded."""
        return "ufw-user-input" in self.chains.get(4, {})

    def same_as(self, other: Live) -> bool:
        """Whether ufw's part is the same; what others (Fail2Ban, container engines) have isn't looked at."""
        return not self.differences(other)

    def differences(self, other: Live) -> tuple[list[str], list[str]] | None:
        """Return the lines that only this one and only the other one has; None where there are none."""
        mine, others = self.lines(), other.lines()
        if mine == others:
            return None
        first, second = set(mine), set(others)
        only = [line for line in mine if line not in second], [line for line in others if line not in first]
        return only if only != ([], []) else (["the same rules in another order"], ["the rules in ufw's order"])

    def lines(self) -> list[str]:
        """Return the policies and rules as lines."""
        lines = []
        for family in sorted(self.chains):
            name = IPTABLES[family]
            lines += [f"{name} -P {chain} {policy}" for chain, policy in sorted(self.policies[family].items())]
            lines += [f"{name} {rule}" for _chain, rules in sorted(self.chains[family].items()) for rule in rules]
        return lines


def parse_save(text: str) -> tuple[Chains, dict[str, str]]:
    """Return ufw's chains, and the policies, of what iptables-save(8) printed for the filter table.

    The rules by which the built-in chains lead to ufw's are kept below the built-in chain's name.
    """
    chains: Chains = {}
    policies: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith(":"):
            chain, policy = line[1:].split()[:2]
            if policy != "-":
                policies[chain] = policy
                chains[chain] = []
            elif chain.startswith("ufw"):
                chains[chain] = []
        elif line.startswith("-A "):
            chain = line.split()[1]
            if chain.startswith("ufw") or (re.search(r" -j ufw6?-\S+$", line) and chain in policies):
                chains[chain].append(line)
    return chains, policies


def families() -> list[int]:
    """The families that the kernel has."""
    return [4, 6] if Path("/proc/sys/net/ipv6").exists() else [4]


def document(wanted: Live, now: Live, family: int) -> str:
    """Return the input of ``iptables-restore --noflush`` that makes ufw's part of the filter table as wanted.

    A chain that is declared there is emptied and filled in the same step. Built-in chains aren't emptied, so only
    the rules that lead to ufw's chains are put right there: others have theirs in them too.
    """
    chains = wanted.chains[family]
    lines = ["*filter"]
    lines += [f":{chain} {policy} [0:0]" for chain, policy in wanted.policies[family].items()]
    lines += [f":{chain} - [0:0]" for chain in chains if chain.startswith("ufw")]
    # A chain that is there but isn't wanted (an older ufw's) is emptied: nothing leads to it any more.
    lines += [f":{chain} - [0:0]" for chain in now.chains.get(family, {}) if chain not in chains]
    present = now.chains.get(family, {})
    for chain, rules in chains.items():
        if chain.startswith("ufw"):
            lines += rules
        elif (there := present.get(chain, [])) != rules:
            # One is missing or out of its order: all of ufw's go and come again, in the same step.
            lines += [rule.replace("-A", "-D", 1) for rule in there] + rules
    return "\n".join([*lines, "COMMIT", ""])


def undoing(before: Live, after: Live, family: int) -> str:
    """Return the input of ``iptables-restore --noflush`` that takes a change of ufw's part back, and nothing else.

    What others (a container engine, Fail2Ban) have put into the table meanwhile stays.
    """
    kept, made = before.chains.get(family, {}), after.chains.get(family, {})
    lines = document(before, after, family).splitlines()
    gone = [f"-X {chain}" for chain in made if chain not in kept]
    return "\n".join([*lines[:-1], *gone, lines[-1], ""])


def only_family(live: Live, family: int) -> Live:
    """Return the part of one family."""
    return Live({family: live.chains.get(family, {})}, {family: live.policies.get(family, {})})


def live_from(saved: Mapping[int, str]) -> Live:
    """Return what iptables-save printed, a text a family."""
    live = Live()
    for family, text in saved.items():
        if text.strip():
            live.chains[family], live.policies[family] = parse_save(text)
            live.text[family] = text
    return live
