# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fail2Ban's jails as data: what is wanted, the files that say so, and how the running server differs from them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..host.errors import HostError
from ..host.files import mark
from ..host.transaction import ManagedFile
from ..values.addresses import Network
from ..values.sentences import show

MARK = mark("role postern.mail_gateway.fail2ban") + "\n"
ACTION = "postern-ban"
ALWAYS_IGNORED = ("127.0.0.0/8", "::1/128")
FOREVER = -1
# Of nftables, in each jail's table: who is banned.
SETS = ("addresses4", "addresses6", "networks6")


# What the protocol means when it says "set NAME" or "get NAME" (and a file of ours).
_TAKEN = frozenset(
    ("loglevel", "logtarget", "syslogsocket", "allowipv6", "thread", "dbfile", "dbmaxmatches", "dbpurgeage", "defaults")
)
# Short enough for a table of nftables.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
_PORTS = re.compile(r"([0-9]{1,5})(?:[-:]([0-9]{1,5}))?", re.ASCII)
_MATCH = re.compile(r"[A-Z_][A-Z0-9_]*=[\w@.:/\\-]+(?: [A-Z_][A-Z0-9_]*=[\w@.:/\\-]+)*", re.ASCII)


def _setting(key: str, values: Iterable[str]) -> str:
    """Return a setting with a line for each value. To Fail2Ban's parser ``%`` refers to others, " ;" is a comment."""
    return f"{key} = " + "\n  ".join(re.sub(r"(?<=\s);", r"\\x3b", value).replace("%", "%%") for value in values)


@dataclass(frozen=True)
class Filter:
    """Regular expressions for messages of one program in the journal."""

    name: str
    identifier: str
    fail_regexes: tuple[str, ...]
    ignore_regexes: tuple[str, ...]
    journal_matches: tuple[str, ...]

    @property
    def file(self) -> str:
        """Return the filter's file, relative to Fail2Ban's folder."""
        return f"filter.d/postern-{self.name}.conf"

    def text(self) -> str:
        """Return the content of its file."""
        # Fail2Ban puts host, identifier and process before a journal's message.
        prefix = rf"^\s*\S+ {re.escape(self.identifier)}\[\d+\]: "
        lines = [
            "[Definition]",
            _setting("failregex", [prefix + regex for regex in self.fail_regexes]),
            _setting("ignoreregex", [prefix + regex for regex in self.ignore_regexes]),
            _setting("journalmatch", [" + ".join(self.journal_matches)]),
        ]
        return MARK + "\n".join([*lines, ""])


@dataclass(frozen=True)
class Jail:
    """One jail: which lines count, how often, and how long and from which ports an address is shut out."""

    name: str
    filter: str
    filter_mode: str
    journal_matches: tuple[str, ...]
    ports: tuple[str, ...]
    max_retry: int
    find_time: int
    ban_time: int
    max_ban_time: int

    @property
    def file(self) -> str:
        """Return the jail's file, relative to Fail2Ban's folder. ``.local`` is read after ``jail.local``."""
        return f"jail.d/postern-{self.name}.local"

    @property
    def table(self) -> str:
        """Return the name of the table of nftables that holds its bans."""
        return f"f2b-{self.name}"

    @property
    def longest_ban(self) -> int:
        """Return the seconds to which a ban grows."""
        return self.ban_time if self.ban_time == FOREVER else max(self.ban_time, self.max_ban_time)

    def filter_name(self, filters: Iterable[str]) -> str:
        """Return the filter as Fail2Ban knows it.

        :param filters: names of those that aren't Fail2Ban's own.
        """
        name = f"postern-{self.filter}" if self.filter in filters else self.filter
        return f"{name}[mode={self.filter_mode}]" if self.filter_mode else name

    def text(self, filters: Iterable[str], ignored: Sequence[Network]) -> str:
        """Return the content of its file.

        :param filters: names of the filters that aren't Fail2Ban's own.
        :param ignored: networks that are never banned.
        """
        trusted = {
            family: ",".join(str(network) for network in ignored if network.version == family) for family in (4, 6)
        }
        options = {
            "table": self.table,
            "match": f"tcp dport {{ {','.join(self.ports)} }}" if self.ports else "meta l4proto tcp",
            "rest": "accept" if self.ports else "drop",
            "sockets": f"and ( {' or '.join(map(_socket, self.ports))} )" if self.ports else "",
            "trusted4": trusted[4],
            "trusted6": trusted[6],
        }
        lines = [
            f"[{self.name}]",
            "enabled = true",
            "backend = systemd",
            f"filter = {self.filter_name(filters)}",
            *([_setting("journalmatch", [" + ".join(self.journal_matches)])] if self.journal_matches else []),
            "usedns = no",
            f"maxretry = {self.max_retry}",
            f"findtime = {self.find_time}",
            f"bantime = {self.ban_time}",
            "bantime.increment = true",
            f"bantime.maxtime = {self.longest_ban}",
            f"ignoreip = {' '.join(str(network) for network in ignored)}",
            "# The host's own addresses come and go (VRRP, SLAAC); Fail2Ban 1.0 knows only those of the host's name.",
            "ignoreself = true",
            "ignorecommand = test -n \"$(ip -o address show to '<ip>')\"",
            'ignorecache = key="<ip>", max-count=1000, max-time=5m',
            f"action = {ACTION}[" + ", ".join(f'{key}="{value}"' for key, value in options.items()) + "]",
        ]
        return MARK + "\n".join([*lines, ""])


def _socket(ports: str) -> str:
    """Return ss's expression for a port or a range."""
    first, _unused, last = ports.partition("-")
    return f"( sport >= :{first} and sport <= :{last} )" if last else f"sport = :{first}"


_TABLE = """\
add table inet <table>
  add set inet <table> addresses4 { type ipv4_addr; }
  add set inet <table> addresses6 { type ipv6_addr; }
  add set inet <table> networks6 { type ipv6_addr; flags interval; }
  add chain inet <table> banned
  add chain inet <table> input { type filter hook input priority -10; policy accept; }"""
_EMPTY = "\n  ".join(f"flush set inet <table> {name}" for name in SETS)
_RULES = """\
flush chain inet <table> input
  flush chain inet <table> banned
  add rule inet <table> banned <match> reject with tcp reset
  add rule inet <table> banned <rest>
  add rule inet <table> input iif lo accept
  add rule inet <table> input ip saddr { <trusted4> } accept
  add rule inet <table> input ip6 saddr { <trusted6> } accept
  add rule inet <table> input ip saddr @addresses4 goto banned
  add rule inet <table> input ip6 saddr @addresses6 goto banned
  add rule inet <table> input ip6 saddr @networks6 goto banned"""
_ACTION_TEXT = rf"""{MARK}
# A ban is an element of a set in a table of nftables that is the jail's own. Its chain is asked before ufw's and all
# other rules of the usual priority. Each command is one transaction of the kernel's.
[Definition]

# What is wrong with nftables shows at once, not at the first ban.
actionstart_on_demand = false

actionstart = nft '
  {_TABLE}
  {_EMPTY}
  {_RULES}'

# Bans stay when settings change. The host itself and trusted networks are let through before anything else: nobody bans
# them by hand, nor together with a neighbour's /64.
actionreload = nft '
  {_TABLE}
  {_RULES}'

actionflush = nft '
  {_EMPTY}'

# Somebody else may have removed it ("flush ruleset"): then there is nothing left to do.
actionstop = nft 'delete table inet <table>' 2>/dev/null || ! nft list table inet <table> >/dev/null 2>&1

actioncheck = nft list chain inet <table> input >/dev/null 2>&1

# The table is made again, and the jail is started anew as soon as this is over: a start bans whom the database holds.
actionrepair = nft '
  {_TABLE}
  {_RULES}'
  setsid --fork fail2ban-client reload --restart <name> >/dev/null 2>&1

# An IPv6 client has a /64 to choose from, so that is banned, unless it is a network that the host itself is in.
# Open connections are ended at once; where the kernel can't (INET_DIAG_DESTROY), the next packet ends them. The ban
# stands in any case: one that is said to have failed is never lifted.
actionban = case '<ip>' in
            *:*) case "$(ip -6 route get '<ip>' 2>/dev/null)" in
            *' via '*|'') nft 'add element inet <table> networks6 {{ <ip>/64 }}' && gone='[<ip>/64]';;
            *) nft 'add element inet <table> addresses6 {{ <ip> }}' && gone='[<ip>]';;
            esac;;
            *) nft 'add element inet <table> addresses4 {{ <ip> }}' && gone='<ip>';;
            esac || exit 1
            ss --tcp --kill --numeric --no-header "dst $gone <sockets>" >/dev/null || :

# Two addresses of one /64 have one ban between them, so there may be nothing left to lift.
actionunban = case '<ip>' in
              *:*) nft 'delete element inet <table> networks6 {{ <ip>/64 }}' 2>/dev/null ||
              nft 'delete element inet <table> addresses6 {{ <ip> }}' 2>/dev/null || :;;
              *) nft 'delete element inet <table> addresses4 {{ <ip> }}';;
              esac

[Init]

table = f2b-<name>
match = meta l4proto tcp
rest = drop
sockets =
trusted4 = 127.0.0.0/8
trusted6 = ::1
"""
_SSHD_TEXT = f"""{MARK}
# Debian enables this jail. On Debian 12 it looks for a log file that isn't there, and the whole server doesn't start.
[sshd]
backend = systemd
journalmatch = _SYSTEMD_UNIT=ssh.service _UID=0 + _SYSTEMD_SLICE=system-ssh.slice _UID=0
"""


def _texts(values: Any, where: str, pattern: re.Pattern[str], hint: str) -> tuple[str, ...]:
    for number, value in enumerate(values):
        if not pattern.fullmatch(value):
            raise HostError(f"{where}[{number}] {show(value)} {hint}.")
    return tuple(values)


def _name(value: str, where: str) -> str:
    if not _NAME.fullmatch(value):
        raise HostError(
            f"{where} {show(value)} is no name for Fail2Ban; begin with a small letter, go on with small letters, "
            "digits and hyphens, 32 at the most."
        )
    return value


def _journal_matches(values: Any, where: str) -> tuple[str, ...]:
    hint = "isn't a match of the journal; write FIELD=VALUE, such as _SYSTEMD_UNIT=ssh.service, with blanks between two"
    return _texts(values, where, _MATCH, hint)


def filters(items: Sequence[Mapping[str, Any]], variable: str = "fail2ban_filters") -> dict[str, Filter]:
    """Return the filters by name.

    :raises HostError: one isn't sound.
    """
    found: dict[str, Filter] = {}
    for number, item in enumerate(items):
        where = f"{variable}[{number}]"
        name = _name(item["name"], f"{where}.name")
        if name in found:
            raise HostError(f"{where}.name {show(name)} is there twice; give each filter a name of its own.")
        for key in ("fail_regexes", "ignore_regexes"):
            for place, regex in enumerate(item[key]):
                if not regex.isprintable() or not regex.strip():
                    odd = "more than one line" if "\n" in regex else "no line that one can see"
                    raise HostError(
                        f"{where}.{key}[{place}] is {odd if regex.strip() else 'empty'}; "
                        "write one regular expression on one line."
                    )
        if not item["fail_regexes"]:
            raise HostError(f"{where}.fail_regexes of {show(name)} is empty; write at least one regular expression.")
        if not re.fullmatch(r"[\w.-]+", item["identifier"], re.ASCII):
            raise HostError(
                f"{where}.identifier {show(item['identifier'])} isn't a program's name in the journal "
                "(SYSLOG_IDENTIFIER); write it as 'journalctl' shows it."
            )
        matches = _journal_matches(item["journal_matches"], f"{where}.journal_matches")
        if not matches:
            raise HostError(
                f"{where}.journal_matches of {show(name)} is empty, so anybody's lines would count; name the unit, "
                "such as _SYSTEMD_UNIT=haproxy.service."
            )
        found[name] = Filter(
            name, item["identifier"], tuple(item["fail_regexes"]), tuple(item["ignore_regexes"]), matches
        )
    return found


def _ports(values: Any, where: str) -> tuple[str, ...]:
    found = []
    for number, value in enumerate(values):
        match = _PORTS.fullmatch(value)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= 65535:
            raise HostError(
                f"{where}[{number}] {show(value)} isn't a port; write a number from 1 to 65535, or a range like "
                "6000-6007."
            )
        found.append((first, last))
    merged: list[tuple[int, int]] = []
    for first, last in sorted(found):
        # nft refuses ports that overlap.
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(str(first) if first == last else f"{first}-{last}" for first, last in merged)


def jails(items: Sequence[Mapping[str, Any]], variable: str = "fail2ban_jails") -> list[Jail]:
    """Return the jails, in the order of their names.

    :raises HostError: one isn't sound.
    """
    found: dict[str, Jail] = {}
    for number, item in enumerate(items):
        where = f"{variable}[{number}]"
        name = _name(item["name"], f"{where}.name")
        if name in found or name in _TAKEN:
            why = "is there twice" if name in found else "means something else to Fail2Ban"
            raise HostError(f"{where}.name {show(name)} {why}; give each jail a name of its own.")
        for key, least in (("max_retry", 1), ("find_time", 1), ("ban_time", 1), ("max_ban_time", 0)):
            if item[key] < least and not (key == "ban_time" and item[key] == FOREVER):
                unit = "" if key == "max_retry" else " seconds"
                forever = ", or -1 for ever" if key == "ban_time" else ""
                raise HostError(f"{where}.{key} {item[key]} is too little; write {least}{unit} or more{forever}.")
        used = item["filter"] or name
        for key, value in (("filter", used), ("filter_mode", item["filter_mode"] or "normal")):
            if not re.fullmatch(r"[A-Za-z0-9_-]+", value, re.ASCII):
                raise HostError(f"{where}.{key} {show(value)} is no name; write letters, digits and hyphens.")
        found[name] = Jail(
            name=name,
            filter=used,
            filter_mode=item["filter_mode"],
            journal_matches=_journal_matches(item["journal_matches"], f"{where}.journal_matches"),
            ports=_ports(item["ports"], f"{where}.ports"),
            max_retry=item["max_retry"],
            find_time=item["find_time"],
            ban_time=item["ban_time"],
            max_ban_time=item["max_ban_time"],
        )
    return [found[name] for name in sorted(found)]


def files(wanted: Sequence[Jail], known: Mapping[str, Filter], ignored: Sequence[Network]) -> list[ManagedFile]:
    """Return every file that should be ours, relative to Fail2Ban's folder."""
    texts = {jail.file: jail.text(known, ignored) for jail in wanted}
    texts |= {known[jail.filter].file: known[jail.filter].text() for jail in wanted if jail.filter in known}
    if wanted:
        texts[f"action.d/{ACTION}.conf"] = _ACTION_TEXT
    if not any(jail.name == "sshd" for jail in wanted):
        # Read after Debian's own file and before jail.local, where a person may say something else.
        texts["jail.d/postern-defaults.conf"] = _SSHD_TEXT
    return [ManagedFile(path, text.encode()) for path, text in sorted(texts.items())]
