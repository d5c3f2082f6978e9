# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's description of rules, as the rules that ufw shall have; what ufw couldn't take is refused here."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from ..host.arguments import parsed
from ..host.errors import HostError
from ..values.addresses import read_any_network, short
from ..values.sentences import show
from .rules import (
    ANYWHERE,
    IPV4_ONLY,
    LOGS,
    PROTOCOLS,
    WITH_PORTS,
    Rule,
    words,
)

#: Names of ports that are known even where /etc/services isn't there yet (it comes with ufw, in the package netbase).
SERVICES = {
    "ssh": 22, "smtp": 25, "http": 80, "pop3": 110, "imap": 143, "imap2": 143, "https": 443, "submissions": 465,
    "submission": 587, "imaps": 993, "pop3s": 995,
}  # fmt: skip
LONGEST_COMMENT = 200
MOST_PORTS = 15  # iptables' multiport; a range counts as two


def wanted_rules(
    given: Sequence[Mapping[str, Any]], profiles: Mapping[str, Sequence[str]] | None, marker: str
) -> list[Rule]:
    """Return the rules that a list of descriptions (the module's option ``rules``) stands for, in its order.

    A description with several sources or destinations stands for a rule for each pair of one family; one without
    addresses stands for a rule in each family. What stands twice counts once.

    :param profiles: ufw's application profiles by name, each with its ports (``["80,443/tcp"]``); None where they
        can't be known yet, because ufw isn't installed.
    :param marker: what the comment of each rule begins with.
    :raises HostError: a description can't be, or two of them contradict each other.
    """
    made: dict[tuple[Any, ...], Rule] = {}
    for number, description in enumerate(given):
        where = f"rules[{number}]"
        for rule in _described(description, profiles, marker, where):
            known = made.setdefault(rule.key, rule)
            if (known.action, known.log) != (rule.action, rule.log):
                raise HostError(
                    f"{where} says '{words(rule)}', but an earlier one says '{words(known)}'; keep one of the two."
                )
    return list(made.values())


def _described(
    given: Mapping[str, Any], profiles: Mapping[str, Sequence[str]] | None, marker: str, where: str
) -> list[Rule]:
    action, direction = given["action"], given["direction"]
    protocol = _protocol(given["protocol"], where)
    dports = _ports(given["ports"], protocol, f"{where}.ports")
    sports = _ports(given["source_ports"], protocol, f"{where}.source_ports")
    note = given["comment"]
    if "'" in note or not note.isprintable() or len(note) > LONGEST_COMMENT:
        raise HostError(
            f"{where}.comment is {show(note)}, but ufw's comments hold no ', no line break and "
            f"{LONGEST_COMMENT} characters at most; reword it."
        )
    interface, outgoing = given["interface"], given["outgoing_interface"]
    for name in (interface, outgoing):
        if name and not re.fullmatch(r"[A-Za-z0-9_.+,=%@-]{1,15}", name):
            raise HostError(
                f"{where} names the interface {show(name)}, which can't be one; write it as 'ip link' does."
            )
    if outgoing and direction != "routed":
        raise HostError(
            f"{where}.outgoing_interface is for the direction routed; write interface for {show(direction)}."
        )
    base = Rule(
        family=4,
        action=action,
        log=LOGS[given["log"]],
        protocol=protocol,
        dport=dports,
        sport=sports,
        direction="out" if direction == "out" or (outgoing and not interface) else "in",
        interface_in="" if direction == "out" else interface,
        interface_out=interface if direction == "out" else outgoing,
        routed=direction == "routed",
        comment=f"{marker}: {note}" if note else marker,
    )
    rules = _with_addresses(base, given, where)
    destination, source = given["application"], given["source_application"]
    if destination or source:
        if (destination and dports != "any") or (source and sports != "any") or protocol != "any":
            raise HostError(f"{where} has an application, which brings its ports and protocol; leave those out.")
        rules = [made for rule in rules for made in _of_application(rule, destination, source, profiles, where)]
    return rules


def _with_addresses(base: Rule, given: Mapping[str, Any], where: str) -> list[Rule]:
    ends = [
        [_address(text, f"{where}.{name}[{number}]") for number, text in enumerate(given[name])] or [(0, "")]
        for name in ("sources", "destinations")
    ]
    rules: list[Rule] = []
    for (source_family, src), (destination_family, dst) in product(*ends):
        families = {source_family, destination_family} - {0} or {4, 6}
        if len(families) == 2 and source_family and destination_family:
            continue  # a packet has one family
        for family in sorted(families):
            if family == 6 and base.protocol in IPV4_ONLY:
                if 6 in (source_family, destination_family):
                    raise HostError(
                        f"{where} is for {base.protocol} over IPv6, which ufw can't; leave {src or dst} out."
                    )
                continue
            rules.append(replace(base, family=family, src=src or ANYWHERE[family], dst=dst or ANYWHERE[family]))
    if not rules:
        raise HostError(f"{where} has sources of one family and destinations of the other only, so it fits nothing.")
    return rules


def _of_application(
    rule: Rule, destination: str, source: str, profiles: Mapping[str, Sequence[str]] | None, where: str
) -> list[Rule]:
    """One rule for each entry of the profile's ports; of two profiles, for each pair that shares a protocol."""
    if profiles is None:
        return [replace(rule, dapp=destination, sapp=source, dport=destination or "any", sport=source or "any")]
    ports: list[list[tuple[str, str]]] = []
    for name in (destination, source):
        if name and name not in profiles:
            text = (
                f"{where} names the application {show(name)}, of which there is no profile in /etc/ufw/applications.d"
            )
            raise HostError(f"{text}; 'ufw app list' shows those that are.")
        entries = [entry.partition("/") for entry in profiles[name]] if name else [("any", "", "")]
        ports.append([(port, protocol or "any") for port, _unused, protocol in entries])
    if destination and destination == source:
        pairs = [(one, one) for one in ports[0]]
    else:
        pairs = [
            (first, second)
            for first, second in product(*ports)
            if "any" in (first[1], second[1]) or first[1] == second[1]
        ]
    return [
        replace(
            rule,
            dapp=destination,
            sapp=source,
            dport=dport,
            sport=sport,
            protocol=one if one != "any" else other,
        )
        for (dport, one), (sport, other) in pairs
    ]


def _protocol(text: str, where: str) -> str:
    name = PROTOCOLS.get(int(text), text) if re.fullmatch(r"[0-9]{1,3}", text) else text.lower()
    if name in (*PROTOCOLS.values(), "any"):
        return name
    known = ", ".join(f"{name} ({number})" for number, name in sorted(PROTOCOLS.items()))
    advice = "ICMP is let in by before.rules as far as it must be" if "icmp" in name else f"it knows {known} and any"
    raise HostError(f"{where}.protocol is {show(text)}, but ufw has no rules for that; {advice}.")


def _ports(given: Sequence[str], protocol: str, where: str) -> str:
    """Return ports in ufw's spelling: numbers and ranges FIRST:LAST in ascending order; ``any`` for none."""
    found: set[tuple[int, int]] = set()
    for text in (str(item).strip() for entry in given for item in str(entry).split(",")):
        if text == "any":
            if len(given) > 1:
                raise HostError(f"{where} holds 'any' beside others; leave the others out.")
            return "any"
        first, colon, last = text.partition(":")
        if re.fullmatch(r"\d+-\d+", text):
            raise HostError(
                f"{where} holds {show(text)}, but ufw's ranges have a colon; write {text.replace('-', ':')}."
            )
        low = _port(first, protocol, where)
        high = _port(last, protocol, where) if colon else low
        if colon and low >= high:
            raise HostError(f"{where} holds the range {show(text)}, whose end must be above its beginning.")
        found.add((low, high))
    if not found:
        return "any"
    if protocol not in WITH_PORTS:
        raise HostError(f"{where} isn't empty, but {protocol} has no ports; leave them out.")
    parts = [str(low) if low == high else f"{low}:{high}" for low, high in sorted(found)]
    if protocol == "any" and (len(parts) > 1 or ":" in parts[0]):
        raise HostError(f"{where} holds several ports, for which ufw needs a protocol; write protocol: tcp or udp.")
    if sum(1 + (":" in part) for part in parts) > MOST_PORTS:
        raise HostError(f"{where} holds more than {MOST_PORTS} ports (a range counts as two); make two rules of it.")
    return ",".join(parts)


def _port(text: str, protocol: str, where: str) -> int:
    if re.fullmatch(r"[0-9]{1,5}", text) and 0 < int(text) < 65536:
        return int(text)
    # getservbyname() has words of its own for what can't be a name.
    if re.fullmatch(r"(?![0-9]+\Z)[A-Za-z0-9+._-]{1,64}", text) and protocol in ("tcp", "udp"):
        if text in SERVICES and protocol == "tcp":
            return SERVICES[text]
        try:
            return socket.getservbyname(text, protocol)
        except OSError:
            pass
    advice = "" if protocol != "any" or text.isdecimal() else "; a name needs protocol: tcp or udp beside it"
    raise HostError(f"{where} holds {show(text)}, which is no port (1 to 65535) and no name in /etc/services{advice}.")


def _address(text: str, where: str) -> tuple[int, str]:
    """Return family (0: both) and ufw's spelling of an address or network.

    ufw quietly makes 10.0.0.0/8 of 10.0.0.5/8. Whoever writes that meant something else, so it is refused.
    """
    text = text.strip().lower()
    if text == "any":
        return 0, ""
    network = parsed(where, text, read_any_network)
    return network.version, short(network)
