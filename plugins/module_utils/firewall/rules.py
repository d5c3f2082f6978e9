# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ufw's rules as data: read from its files, written as its commands, compared, merged and asked about a connection.

Nothing here looks at a host. ufw keeps each rule as a comment line in ``user.rules`` (IPv4) or ``user6.rules``::

    ### tuple ### ACTION PROTOCOL DPORT DST SPORT SRC [DAPP SAPP] DIRECTION [comment=HEX]

An action is ``allow``, ``deny``, ``reject`` or ``limit``, preceded by ``route:`` for what is passed on, and followed by
``_log`` or ``_log-all``. The direction is ``in`` or ``out``, or an interface: ``in_eth0``, ``out_eth1``,
``in_eth0!out_eth1``. The first rule that fits decides. Source: ufw(8) and the files that ufw 0.36.2 writes.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
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
#: Names of ports that are known even where /etc/services isn't there yet (it comes with ufw, in the package netbase).
SERVICES = {
    "ssh": 22, "smtp": 25, "http": 80, "pop3": 110, "imap": 143, "imap2": 143, "https": 443, "submissions": 465,
    "submission": 587, "imaps": 993, "pop3s": 995,
}  # fmt: skip
#: Fail2Ban's action "ufw" adds rules with a comment that begins so. They are bans, not configuration.
BAN = "by Fail2Ban"
MOST_PORTS = 15  # iptables' multiport; a range counts as two


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


# --- reading ----------------------------------------------------------------------------------------------------------

_TUPLE = re.compile(r"^### tuple ###\s*")
_ACTION = re.compile(r"(route:)?(allow|deny|reject|limit)(?:_(log|log-all))?\Z")
_INTERFACES = re.compile(r"(in|out)(?:_([^!]+)(?:!out_(.+))?)?\Z")


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


# --- ufw's words ------------------------------------------------------------------------------------------------------


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


# --- what a person asks for -------------------------------------------------------------------------------------------


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
    if "'" in note or not note.isprintable():
        raise HostError(f"{where}.comment is {note!r}, but ufw's comments hold no ' and no line break; reword it.")
    interface, outgoing = given["interface"], given["outgoing_interface"]
    for name in (interface, outgoing):
        if name and not re.fullmatch(r"[A-Za-z0-9_.+,=%@-]{1,15}", name):
            raise HostError(f"{where} names the interface {name!r}, which can't be one; write it as 'ip link' does.")
    if outgoing and direction != "routed":
        raise HostError(f"{where}.outgoing_interface is for the direction routed; write interface for {direction!r}.")
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
            text = f"{where} names the application {name!r}, of which there is no profile in /etc/ufw/applications.d"
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
    name = PROTOCOLS.get(int(text), text) if text.isdecimal() else text.lower()
    if name in (*PROTOCOLS.values(), "any"):
        return name
    known = ", ".join(f"{name} ({number})" for number, name in sorted(PROTOCOLS.items()))
    advice = "ICMP is let in by before.rules as far as it must be" if "icmp" in name else f"it knows {known} and any"
    raise HostError(f"{where}.protocol is {text!r}, but ufw has no rules for that; {advice}.")


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
            raise HostError(f"{where} holds {text!r}, but ufw's ranges have a colon; write {text.replace('-', ':')}.")
        low = _port(first, protocol, where)
        high = _port(last, protocol, where) if colon else low
        if colon and low >= high:
            raise HostError(f"{where} holds the range {text!r}, whose end must be above its beginning.")
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
    if text.isdecimal() and 0 < int(text) < 65536:
        return int(text)
    if not text.isdecimal() and protocol in ("tcp", "udp"):
        if text in SERVICES and protocol == "tcp":
            return SERVICES[text]
        try:
            return socket.getservbyname(text, protocol)
        except OSError:
            pass
    advice = "" if protocol != "any" or text.isdecimal() else "; a name needs protocol: tcp or udp beside it"
    raise HostError(f"{where} holds {text!r}, which is no port (1 to 65535) and no name in /etc/services{advice}.")


def _address(text: str, where: str) -> tuple[int, str]:
    """Return family (0: both) and ufw's spelling of an address or network.

    ufw quietly makes 10.0.0.0/8 of 10.0.0.5/8. Whoever writes that meant something else, so it is refused.
    """
    text = text.strip().lower()
    if text == "any":
        return 0, ""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        try:
            interface = ipaddress.ip_interface(text)
        except ValueError:
            raise HostError(
                f"{where} is {text!r}, but must be an IP address, a network (10.0.0.0/8, 2001:db8::/32) or any."
            ) from None
        text = f"{where} is {text!r}, which has bits behind its prefix; write {interface.network} for the network"
        raise HostError(f"{text}, or {interface.ip} for the host.") from None
    first = network.network_address
    if isinstance(first, ipaddress.IPv6Address) and (first.ipv4_mapped or first.scope_id):
        raise HostError(f"{where} is {text!r}; write IPv4 addresses as such, and IPv6 ones without a zone.")
    if network.prefixlen == network.max_prefixlen:
        return network.version, str(first)
    return network.version, str(network)


# --- from what is there to what shall be ------------------------------------------------------------------------------


def is_ours(rule: Rule, marker: str) -> bool:
    """Whether the rule carries the marker."""
    return rule.comment == marker or rule.comment.startswith(f"{marker}: ")


def merge(present: Sequence[Rule], wanted: Sequence[Rule], marker: str, exact: bool) -> list[Rule]:
    """Return the rules of one family as they shall be.

    Rules of others stay and keep their order. Ours that are there stay in their place as far as their order is
    right; a new one comes behind the one that precedes it in ``wanted``, and at the end where there is none. A rule
    of others that is the same as one of ours serves for it. With ``exact`` only ours and Fail2Ban's bans stay.

    :raises HostError: a rule of others fits the same and says another thing.
    """
    if exact:
        return [rule for rule in present if rule.comment.startswith(BAN)] + list(wanted)
    others = {rule.key: rule for rule in present if not is_ours(rule, marker)}
    ours: list[Rule] = []
    for rule in wanted:
        other = others.get(rule.key)
        if other is None:
            ours.append(rule)
        elif (other.action, other.log) != (rule.action, rule.log):
            text = f"The host has the rule '{words(other)}', made by somebody else, which contradicts '{words(rule)}'"
            raise HostError(f"{text}; remove one of them (ufw delete …), and run again.")
    place = {rule.key: number for number, rule in enumerate(ours)}
    kept = _longest_ascending([place[rule.key] for rule in present if rule.key in place])
    result: list[Rule] = []
    done = 0
    for rule in present:
        if rule.key in others and not is_ours(rule, marker):
            result.append(rule)
        elif rule.key in place and place[rule.key] in kept:
            number = place[rule.key]
            result += ours[done : number + 1]
            done = number + 1
            # New ones that follow directly, up to the next that stays, come here and not at the end.
            while done < len(ours) and done not in kept:
                result.append(ours[done])
                done += 1
    return result + ours[done:]


def _longest_ascending(numbers: Sequence[int]) -> set[int]:
    """Return a longest ascending subsequence of distinct numbers: those that needn't move."""
    tails: list[int] = []
    positions: list[int] = []
    previous: list[int] = [-1] * len(numbers)
    for index, number in enumerate(numbers):
        place = bisect_left(tails, number)
        if place == len(tails):
            tails.append(number)
            positions.append(index)
        else:
            tails[place], positions[place] = number, index
        previous[index] = positions[place - 1] if place else -1
    found: set[int] = set()
    index = positions[-1] if positions else -1
    while index >= 0:
        found.add(numbers[index])
        index = previous[index]
    return found


# --- what becomes of a connection -------------------------------------------------------------------------------------


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
