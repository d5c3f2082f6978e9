# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ufw on a host: its files, the running firewall, and one step from the one state to the other.

ufw's own ``reload`` takes the firewall down and sets it up again: for a moment everything is open. Here the new files
are first tried in a network namespace of their own (``unshare --net``) by ufw's own start-up script, exactly as at the
next boot. What the kernel holds there is what it shall hold here, so that it can be compared with the running
firewall, and loaded into it in one ``iptables-restore`` a family, which the kernel takes as a whole or not at all.
"""

from __future__ import annotations

import contextlib
import fcntl
import gettext
import importlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..host.commands import run
from ..host.errors import HostError
from ..host.files import beside, make_folder, replace, write_new
from ..host.locks import locked
from .rules import ANYWHERE, Connection, Rule, listing, parse_rules, parse_settings, with_setting

DEFAULTS = "etc/default/ufw"
CONF = "etc/ufw/ufw.conf"
USER_RULES = {4: "etc/ufw/user.rules", 6: "etc/ufw/user6.rules"}
NEEDED = (
    DEFAULTS,
    CONF,
    *USER_RULES.values(),
    *(f"etc/ufw/{name}{six}.rules" for name in ("before", "after") for six in ("", "6")),
)
INIT = "lib/ufw/ufw-init"
LOCK = Path("/run/ufw.lock")  # ufw's own
LOCK_SECONDS = 30
IPTABLES = {4: "iptables", 6: "ip6tables"}
CHAINS = {"incoming": "INPUT", "outgoing": "OUTPUT", "routed": "FORWARD"}
TARGETS = {"allow": "ACCEPT", "deny": "DROP", "reject": "REJECT"}
LEVELS = ("off", "low", "medium", "high", "full")

# What the kernel's filter table holds: chain → its rules as iptables-save(8) prints them, and the policies.
Chains = dict[str, list[str]]


@dataclass(frozen=True)
class State:
    """What ufw's files say."""

    enabled: bool
    logging: str
    policies: Mapping[str, str]
    ipv6: bool
    rules: Sequence[Rule]

    def lines(self) -> list[str]:
        """Return the state in the words of ``ufw status verbose`` and ``ufw show added``."""
        policies = ", ".join(f"{self.policies[name]} ({name})" for name in CHAINS)
        logging = "off" if self.logging == "off" else f"on ({self.logging})"
        return [
            f"Status: {'active' if self.enabled else 'inactive'}",
            f"Logging: {logging}",
            f"Default: {policies}",
            f"IPV6={'yes' if self.ipv6 else 'no'}",
            *listing(self.rules),
        ]


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
        mine, others = self._lines(), other._lines()
        if mine == others:
            return None
        first, second = set(mine), set(others)
        only = [line for line in mine if line not in second], [line for line in others if line not in first]
        return only if only != ([], []) else (["the same rules in another order"], ["the rules in ufw's order"])

    def _lines(self) -> list[str]:
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


class Ufw:
    """ufw below one root. Nothing is read before it is asked for.

    :param root: ``/``, or a folder in tests.
    """

    def __init__(self, root: str | Path = "/") -> None:
        self.root = Path(root)

    def path(self, name: str) -> Path:
        """Return the place of one of ufw's files."""
        return self.root / name

    @property
    def installed(self) -> bool:
        """Whether ufw's programs are there."""
        return self.path(INIT).is_file() and self.path("usr/sbin/ufw").is_file()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold ufw's own lock, so that nobody (a person, Fail2Ban) changes the rules meanwhile.

        :raises HostError: somebody holds it for too long.
        """
        busy = (
            f"ufw is at work on this host for more than {LOCK_SECONDS} seconds already ({LOCK}); nothing was changed, "
            "see what runs there and try again."
        )
        with locked(LOCK, busy, LOCK_SECONDS, fcntl.lockf):
            yield

    def read(self, name: str) -> str:
        """Return the text of one of ufw's files.

        :raises HostError: it isn't there, or it isn't a text.
        """
        path = self.path(name)
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise HostError(
                f"ufw's file {path} can't be read ({reason}); nothing was changed. Restore it, "
                "by 'apt-get install --reinstall -o Dpkg::Options::=--force-confmiss ufw' for example, and run again."
            ) from error

    def state(self) -> State:
        """Return what the files say.

        :raises HostError: one is missing. HostError: one holds what isn't ufw's.
        """
        for name in NEEDED:
            self.read(name)
        settings = {**parse_settings(self.read(DEFAULTS)), **parse_settings(self.read(CONF))}
        words = {target.lower(): policy for policy, target in TARGETS.items()}
        rules = [
            rule
            for family, name in USER_RULES.items()
            for rule in parse_rules(self.read(name), family, str(self.path(name)))
        ]
        return State(
            enabled=settings.get("enabled") == "yes",
            logging=settings.get("loglevel", "unknown"),
            policies={
                name: words.get(settings.get(f"default_{chain.lower()}_policy", ""), "unknown")
                for name, chain in CHAINS.items()
            },
            ipv6=settings.get("ipv6") == "yes",
            rules=rules,
        )

    def profiles(self) -> dict[str, list[str]]:
        """Return the ports of ufw's application profiles, as ufw itself reads them."""
        ufw = _import_ufw()
        folder = self.path("etc/ufw/applications.d")
        found = ufw.applications.get_profiles(str(folder)) if folder.is_dir() else {}
        return {str(name): list(ufw.applications.get_ports(profile)) for name, profile in found.items()}

    def staged(self, folder: Path, before: State, after: State) -> dict[str, str]:
        """Write the files of a new state into a folder, as ufw itself writes them, with all that belongs to them.

        :returns: the text of each file that differs from the one in use, by name.
        """
        new = Ufw(folder)
        shutil.copytree(
            self.path("etc/ufw"), new.path("etc/ufw"), ignore=shutil.ignore_patterns("*.init", ".*.postern*")
        )
        make_folder(new.path("etc/default"))
        text = self.read(DEFAULTS)
        for name, chain in CHAINS.items():
            if before.policies[name] != after.policies[name]:
                text = with_setting(text, f"DEFAULT_{chain}_POLICY", f'"{TARGETS[after.policies[name]]}"')
        if before.ipv6 != after.ipv6:
            text = with_setting(text, "IPV6", "yes" if after.ipv6 else "no")
        new.path(DEFAULTS).write_text(text, encoding="utf-8")
        text = self.read(CONF)
        if before.enabled != after.enabled:
            text = with_setting(text, "ENABLED", "yes" if after.enabled else "no")
        if before.logging != after.logging:
            text = with_setting(text, "LOGLEVEL", after.logging)
        new.path(CONF).write_text(text, encoding="utf-8")
        if before != after:
            _write_rules(folder, after.rules)
        names = (*USER_RULES.values(), DEFAULTS, CONF)
        return {name: new.read(name) for name in names if new.read(name) != self.read(name)}

    def tried(self, folder: Path) -> Live:
        """Start the firewall of a staged folder in a network namespace of its own, and return what the kernel holds.

        :raises HostError: ufw can't start with these files.
        """
        # Settings of the kernel and modules aren't part of the trial: they concern the whole host.
        path = Ufw(folder).path(DEFAULTS)
        kept = path.read_text(encoding="utf-8")
        path.write_text(with_setting(with_setting(kept, "IPT_SYSCTL", ""), "IPT_MODULES", '""'), encoding="utf-8")
        script = (
            f'"{self.path(INIT)}" --datadir "{folder}" start 2>&1 || exit 3; echo "IPv4:"; iptables-save -t filter; '
            'echo "IPv6:"; if [ -e /proc/sys/net/ipv6 ]; then ip6tables-save -t filter; fi'
        )
        done = run("unshare", "--net", "sh", "-c", script)
        path.write_text(kept, encoding="utf-8")
        if done.returncode:
            said = [line for line in (done.stdout + done.stderr).replace(str(folder), "").splitlines() if line.strip()]
            reason = "; ".join(" ".join(line.split()).rstrip(".") for line in said[:4]) or "it gave no reason"
            raise HostError(
                f"ufw can't start with its files on this host ({reason}); nothing was changed and the running firewall "
                "goes on. Correct what is named there and run again."
            )
        _unused, _unused, saved = done.stdout.partition("IPv4:\n")
        return _live(dict(zip((4, 6), saved.split("IPv6:\n"), strict=False)))

    def live(self) -> Live:
        """Return what the kernel holds now."""
        saved = {}
        for family in families():
            done = run(f"{IPTABLES[family]}-save", "-t", "filter")
            if done.returncode:
                raise HostError(
                    f"{IPTABLES[family]}-save failed on this host ({done.stderr.strip()[:200]}); nothing was changed."
                )
            saved[family] = done.stdout
        return _live(saved)

    @contextlib.contextmanager
    def prepared(self, texts: Mapping[str, str]) -> Iterator[list[Path]]:
        """Write new files beside the old ones: a full disk shows before anything is changed.

        :returns: the files to be replaced, for ``replace``; what wasn't replaced is removed at the end.
        :raises HostError: they can't be written.
        """
        fresh = [self.path(name) for name in texts]
        try:
            try:
                for path, text in zip(fresh, texts.values(), strict=True):
                    before = path.stat()
                    owner = before.st_uid, before.st_gid
                    write_new(beside(path), text.encode(), before.st_mode & 0o7777, owner)
            except OSError as error:
                reason = f"ufw's files can't be written ({error.strerror}); nothing was changed."
                raise HostError(reason) from error
            yield fresh
        finally:
            for path in fresh:
                beside(path).unlink(missing_ok=True)

    def replace(self, fresh: Sequence[Path]) -> None:
        """Put prepared files in the place of the old ones.

        :raises HostError: that isn't possible; some may have been replaced.
        """
        try:
            for path in fresh:
                replace(beside(path), path)
        except OSError as error:
            raise HostError(f"ufw's files can't be replaced ({error.strerror}).") from error

    def load(self, wanted: Live, now: Live) -> None:
        """Make the running firewall what it shall be, in one step a family; start it where it doesn't run.

        :raises HostError: the kernel or ufw refuses.
        """
        if not now.active:
            done = run(str(self.path(INIT)), "start")
            if done.returncode:
                raise HostError(f"ufw didn't start ({' '.join((done.stdout + done.stderr).split())[:300]}).")
            now = self.live()
        for family in wanted.chains:
            if Live._lines(_only_family(wanted, family)) == Live._lines(_only_family(now, family)):  # noqa: SLF001
                continue
            done = run(f"{IPTABLES[family]}-restore", "--noflush", data=document(wanted, now, family))
            if done.returncode:
                raise HostError(f"{IPTABLES[family]}-restore refused the rules ({done.stderr.strip()[:300]}).")


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


def interface_of(address: str) -> str:
    """Return the name of the interface that has an address; empty where none has."""
    listed = run("ip", "-json", "address").stdout
    for link in json.loads(listed or "[]"):
        if any(info.get("local") == address for info in link.get("addr_info", [])):
            return str(link["ifname"])
    return ""


def connection(client: str, server: str, port: int) -> Connection:
    """Return a connection to this host with the interface where it arrives."""
    return Connection(client, server, port, interface_of(server))


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory, gone afterwards: a full disk is no reason to have no firewall."""
    with tempfile.TemporaryDirectory(prefix="postern-firewall-", dir="/run") as folder:
        yield Path(folder)


def _only_family(live: Live, family: int) -> Live:
    return Live({family: live.chains.get(family, {})}, {family: live.policies.get(family, {})})


def _live(saved: Mapping[int, str]) -> Live:
    live = Live()
    for family, text in saved.items():
        if text.strip():
            live.chains[family], live.policies[family] = parse_save(text)
            live.text[family] = text
    return live


def _import_ufw() -> Any:
    """Return ufw's own Python package, which belongs to the distribution's Python and runs with any.

    :raises HostError: it isn't there.
    """
    if "/usr/lib/python3/dist-packages" not in sys.path:
        sys.path.append("/usr/lib/python3/dist-packages")
    gettext.NullTranslations().install()  # its messages go through _()
    try:
        for name in ("applications", "backend_iptables", "common"):
            importlib.import_module(f"ufw.{name}")
        return importlib.import_module("ufw")
    except ImportError as error:
        raise HostError(f"ufw's Python package isn't on this host ({error}); reinstall the package ufw.") from error


def _write_rules(folder: Path, rules: Sequence[Rule]) -> None:
    """Have ufw write user.rules and user6.rules of a staged folder with these rules."""
    ufw = _import_ufw()
    ufw.common.do_checks = False  # whose the folders are, and that ufw was started as a program of its own
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        try:
            backend = ufw.backend_iptables.UFWBackendIptables(dryrun=False, datadir=str(folder))
            # What the kernel can do shows when the rules are tried; asking beforehand means a test chain in it.
            backend.caps = {"limit": {"4": True, "6": True}}
            backend.rules = [_as_ufw(ufw, rule) for rule in rules if rule.family == 4]
            backend.rules6 = [_as_ufw(ufw, rule) for rule in rules if rule.family == 6]
            backend._write_rules(v6=False)  # noqa: SLF001 (there is no public way to write more than one rule)
            backend._write_rules(v6=True)  # noqa: SLF001
        except ufw.common.UFWError as error:
            raise HostError(f"ufw doesn't take these rules ({error.value}); nothing was changed.") from error


def _as_ufw(ufw: Any, rule: Rule) -> Any:
    action = f"{rule.action}_{rule.log}" if rule.log else rule.action
    made = ufw.common.UFWRule(
        action, rule.protocol, rule.dport, rule.dst or ANYWHERE[rule.family], rule.sport,
        rule.src or ANYWHERE[rule.family], rule.direction, rule.routed, rule.comment.encode().hex(),
    )  # fmt: skip
    made.dapp, made.sapp = rule.dapp, rule.sapp
    if rule.interface_in:
        made.set_interface("in", rule.interface_in)
    if rule.interface_out:
        made.set_interface("out", rule.interface_out)
    made.set_v6(rule.family == 6)
    return made
