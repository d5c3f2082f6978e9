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
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..host.commands import Runner, run
from ..host.errors import HostError
from ..host.files import beside, make_folder, replace, write_new
from ..host.locks import locked
from .decision import Connection
from .foreign import foreign_lines, with_foreign_lines
from .kernel import CHAINS, IPTABLES, TARGETS, Live, document, families, live_from, only_family
from .rules import Rule, listing, parse_rules, parse_settings, with_setting
from .ufw_package import import_ufw, write_rules

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
LEVELS = ("off", "low", "medium", "high", "full")


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


class Ufw:
    """ufw below one root. Nothing is read before it is asked for.

    :param root: ``/``, or a folder in tests.
    :param run: what runs a command there.
    """

    def __init__(self, root: str | Path = "/", run: Runner = run) -> None:
        self.root = Path(root)
        self.run = run

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
        ufw = import_ufw()
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
            foreign = self._foreign(new, folder, before)
            write_rules(folder, after.rules)
            for name, lines in foreign.items():
                written = with_foreign_lines(new.read(name), lines)
                new.path(name).write_text(written, encoding="utf-8")
        names = (*USER_RULES.values(), DEFAULTS, CONF)
        return {name: new.read(name) for name in names if new.read(name) != self.read(name)}

    def _foreign(self, new: Ufw, folder: Path, before: State) -> dict[str, list[tuple[str, str]]]:
        """Return the lines of others in the files of rules: those that ufw itself doesn't write for what it reads."""
        write_rules(folder, before.rules)
        return {name: foreign_lines(self.read(name), new.read(name)) for name in USER_RULES.values()}

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
        done = self.run("unshare", "--net", "sh", "-c", script)
        path.write_text(kept, encoding="utf-8")
        if done.returncode:
            said = [line for line in (done.stdout + done.stderr).replace(str(folder), "").splitlines() if line.strip()]
            reason = "; ".join(" ".join(line.split()).rstrip(".") for line in said[:4]) or "it gave no reason"
            raise HostError(
                f"ufw can't start with its files on this host ({reason}); nothing was changed and the running firewall "
                "goes on. Correct what is named there and run again."
            )
        _unused, _unused, saved = done.stdout.partition("IPv4:\n")
        return live_from(dict(zip((4, 6), saved.split("IPv6:\n"), strict=False)))

    def live(self) -> Live:
        """Return what the kernel holds now."""
        saved = {}
        for family in families():
            done = self.run(f"{IPTABLES[family]}-save", "-t", "filter")
            if done.returncode:
                raise HostError(
                    f"{IPTABLES[family]}-save failed on this host ({done.stderr.strip()[:200]}); nothing was changed."
                )
            saved[family] = done.stdout
        return live_from(saved)

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
            done = self.run(str(self.path(INIT)), "start")
            if done.returncode:
                raise HostError(f"ufw didn't start ({' '.join((done.stdout + done.stderr).split())[:300]}).")
            now = self.live()
        for family in wanted.chains:
            if only_family(wanted, family).lines() == only_family(now, family).lines():
                continue
            done = self.run(f"{IPTABLES[family]}-restore", "--noflush", data=document(wanted, now, family))
            if done.returncode:
                raise HostError(f"{IPTABLES[family]}-restore refused the rules ({done.stderr.strip()[:300]}).")


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
