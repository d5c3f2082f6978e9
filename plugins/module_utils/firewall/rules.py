# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ufw's rules as data: read from its files, and written as its commands.

Nothing here looks at a host. ufw keeps each rule as a comment line in ``user.rules`` (IPv4) or ``user6.rules``::

    ### tuple ### ACTION PROTOCOL DPORT DST SPORT SRC [DAPP SAPP] DIRECTION [comment=HEX]

An action is ``allow``, ``deny``, ``reject`` or ``limit``, preceded by ``route:`` for what is passed on, and followed by
``_log`` or ``_log-all``. The direction is ``in`` or ``out``, or an interface: ``in_eth0``, ``out_eth1``,
``in_eth0!out_eth1``. The first rule that fits decides. Source: ufw(8) and the files that ufw 0.36.2 writes.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..host.errors import HostError

ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
ACTIONS = ("allow", "deny", "reject", "limit")
DIRECTIONS = ("in", "out", "routed")
LOGS = {"none": "", "new": "log", "all": "log-all"}
#: Protocols that ufw knows, by their number (IANA).
PROTOCOLS = {2: "igmp", 6: "tcp", 17: "udp", 41: "ipv6", 47: "gre", 50: "esp", 51: "ah", 112: "vrrp"}
WITH_PORTS = ("tcp", "udp", "any")
IPV4_ONLY = ("igmp", "ipv6")
#: Fail2Ban's action "ufw" adds rules with a comment that begins so. They are bans, not configuration.
BAN = "by Fail2Ban"
_TUPLE = re.compile(r"^### tuple ###\s*")
_ACTION = re.compile(r"(route:)?(allow|deny|reject|limit)(?:_(log|log-all))?\Z")
_INTERFACES = re.compile(r"(in|out)(?:_([^!]+)(?:!out_(.+))?)?\Z")


@dataclass(frozen=True)
class Rule:
    """One rule of one family, as ufw keeps it; addresses and ports are texts in ufw's own spelling."""

    family: int
    action: str = "allow"
    log: str = ""
    protocol: str = "any"
    dport: str = "any"
    dst: str = ""
    sport: str = "any"
    src: str = ""
    dapp: str = ""
    sapp: str = ""
    direction: str = "in"
    interface_in: str = ""
    interface_out: str = ""
    routed: bool = False
    comment: str = ""

    @property
    def key(self) -> tuple[Any, ...]:
        """What the rule fits. ufw holds one rule for it: another action or comment replaces the rule."""
        return (
            self.family, self.protocol, self.dport, self.dst, self.sport, self.src, self.dapp, self.sapp,
            self.direction, self.interface_in, self.interface_out, self.routed,
        )  # fmt: skip


def parse_rules(text: str, family: int, name: str) -> list[Rule]:
    """Return the rules in a file of ufw's, in their order.

    ufw skips a line that it can't read, and loses it when it writes the file the next time; so does it with
    iptables rules that somebody wrote between its own. Both are a HostError here that names the line.

    :param name: the file's path, for the sentence.
    """
    rules: list[Rule] = []
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("### RULES"):
            inside = True
        elif line.startswith("### END RULES"):
            inside = False
        elif _TUPLE.match(line):
            rules.append(_parse_tuple(line, family, f"{name}, line {number},"))
        elif inside and not rules and re.match(r"-A ufw6?-user-(input|output|forward) ", line):
            raise HostError(
                f"{name}, line {number}, holds an iptables rule that isn't ufw's own ({line[:100]!r}), which ufw would "
                "lose; move it to before.rules or remove it, and run again."
            )
    if not re.search(r"^COMMIT$", text, re.MULTILINE):
        raise HostError(f"{name} is cut off: it has no COMMIT; restore the file and run again.")
    return rules


def _parse_tuple(line: str, family: int, where: str) -> Rule:
    body, _unused, comment = _TUPLE.sub("", line).partition(" comment=")
    fields = body.split()
    action = _ACTION.match(fields[0]) if fields else None
    direction = _INTERFACES.match(fields[-1]) if len(fields) in (7, 9) else _INTERFACES.match("in")
    try:
        if not 6 <= len(fields) <= 9 or not action or not direction:
            raise ValueError("fields")
        applications = [field.replace("%20", " ") for field in fields[6:8]] if len(fields) >= 8 else ["-", "-"]
        first, interface, outgoing = direction.groups()
        protocol, dport, dst, sport, src = fields[1:6]
        if protocol not in (*PROTOCOLS.values(), "any"):
            raise ValueError("protocol")
        for address in (dst, src):
            if address != "any" and ipaddress.ip_network(address, strict=False).version != family:
                raise ValueError("address")
        for port in (dport, sport):
            if not re.fullmatch(r"any|\d+([,:]\d+)*", port):
                raise ValueError("port")
        return Rule(
            family=family,
            action=action[2],
            log=action[3] or "",
            protocol=protocol,
            dport=dport,
            dst=ANYWHERE[family] if dst == "any" else dst,
            sport=sport,
            src=ANYWHERE[family] if src == "any" else src,
            dapp="" if applications[0] == "-" else applications[0],
            sapp="" if applications[1] == "-" else applications[1],
            direction=first,
            interface_in=(interface or "") if first == "in" else "",
            interface_out=(outgoing or "") if first == "in" else (interface or ""),
            routed=bool(action[1]),
            comment=bytes.fromhex(comment.strip()).decode("utf-8", "backslashreplace"),
        )
    except ValueError:
        text = f"{where} isn't a rule that ufw can read ({line[:100]!r}); correct or remove the line, and run again."
        raise HostError(text) from None


def parse_settings(text: str) -> dict[str, str]:
    """Return the settings of a shell-like file (``/etc/default/ufw``, ``ufw.conf``) in lower case, names too.

    >>> parse_settings('IPV6=yes\\nDEFAULT_INPUT_POLICY="DROP"\\n')
    {'ipv6': 'yes', 'default_input_policy': 'drop'}
    """
    found = re.findall(r"^(\w+)=(?:\"(.*?)\"|'(.*?)'|(\S*))[ \t]*$", text, re.MULTILINE)
    return {name.lower(): "".join(values).lower() for name, *values in found}


def with_setting(text: str, name: str, value: str) -> str:
    """Return the text with ``name`` set; other lines stay, and a setting that isn't there is added at the end."""
    line = re.compile(rf"^{name}=.*$", re.MULTILINE)
    if line.search(text):
        return line.sub(lambda _found: f"{name}={value}", text)
    return text + ("" if text.endswith("\n") or not text else "\n") + f"{name}={value}\n"


def words(rule: Rule) -> str:
    """Return the command that makes the rule, as ``ufw show added`` prints it.

    >>> words(Rule(4, protocol="tcp", dport="25", dst="0.0.0.0/0", src="0.0.0.0/0", comment="smtp"))
    "ufw allow 25/tcp comment 'smtp'"
    """
    text = f"ufw {'route ' if rule.routed else ''}{rule.action}"
    anywhere = ANYWHERE[rule.family]
    interfaces = rule.interface_in or rule.interface_out
    if rule.interface_in:
        text += f" in on {rule.interface_in}"
    if rule.interface_out:
        text += f" out on {rule.interface_out}"
    elif rule.direction == "out":
        text += " out"
    text += f" {rule.log}" if rule.log else ""
    comment = f" comment '{rule.comment}'" if rule.comment else ""
    unspecific = rule.src == rule.dst == anywhere and rule.sport == "any" and not rule.sapp and not interfaces
    if unspecific and rule.dport != "any":
        port = _quoted(rule.dapp) or rule.dport + ("" if rule.protocol == "any" else f"/{rule.protocol}")
        return f"{text} {port}{comment}"
    ends = ""
    for name, address, port, application in (
        ("from", rule.src, rule.sport, rule.sapp),
        ("to", rule.dst, rule.dport, rule.dapp),
    ):
        if address != anywhere or port != "any" or application:
            ends += f" {name} {'any' if address == anywhere else address}"
            ends += f" app {_quoted(application)}" if application else "" if port == "any" else f" port {port}"
    if not ends and not interfaces:
        ends = " to any"
    if rule.protocol != "any" and not rule.dapp and not rule.sapp:
        ends += f" proto {rule.protocol}"
    return f"{text}{ends}{comment}"


def _quoted(name: str) -> str:
    return f"'{name}'" if " " in name else name


def listing(rules: Sequence[Rule]) -> list[str]:
    """Return the commands for rules of both families, in order and each once.

    A command without addresses stands for a rule in each family. Where only one family has the rule, or the families
    have them in another order, that is said behind a ``#``.
    """
    lines = {family: _each_once(words(rule) for rule in rules if rule.family == family) for family in (4, 6)}
    neutral = {words(rule) for rule in rules if {rule.src, rule.dst} <= set(ANYWHERE.values())}
    both = neutral & set(lines[4]) & set(lines[6])
    if [line for line in lines[4] if line in both] != [line for line in lines[6] if line in both]:
        both = set()
    result: list[str] = []
    rest = list(lines[6])
    for line in lines[4]:
        if line in both:
            # What stands before it among the rules of IPv6 comes first.
            position = rest.index(line)
            result += [_only(6, other, neutral) for other in rest[:position]]
            rest = rest[position + 1 :]
            result.append(line)
        else:
            result.append(_only(4, line, neutral))
    return result + [_only(6, line, neutral) for line in rest]


def _only(family: int, line: str, neutral: set[str]) -> str:
    return f"{line}  # IPv{family} only" if line in neutral else line


def _each_once(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(lines))
