# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everybody else's logons: who could get in before a change, who will be able to after it, and who loses what.

sshd is asked for each account that can log on: those with a shell, those with keys where any file of sshd's
configuration has it look, and those that a ``Match`` block names. What a directory doesn't list isn't known.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..host.files import read
from .configuration import Wanted, shut_out
from .host import Account, SshdHost
from .sections import Section
from .ways import NoWay, Settings, by_key, by_password, value, ways

ACCEPT = "sshd_locked_out_accounts"
_KEY = re.compile(r"\b((?:sk-)?(?:ssh|ecdsa)-[\w.@-]+)\s+(AAAA[0-9A-Za-z+/=]+)")
_DEFAULT_FILES = (".ssh/authorized_keys", ".ssh/authorized_keys2")


def key_files(account: Account, patterns: Iterable[str], root: Path) -> list[Path]:
    """Return the files that patterns of ``AuthorizedKeysFile`` stand for (sshd_config(5), TOKENS)."""
    tokens = {"%%": "%", "%h": account.home, "%u": account.name, "%U": str(account.uid)}
    found = []
    for pattern in patterns:
        path = re.sub("%[%huU]", lambda token: tokens[token[0]], pattern)
        if pattern.lower() != "none":
            found.append(root / str(Path("/", account.home, path)).lstrip("/"))
    return found


def keys_in(content: bytes | None, accepted: Collection[str] = ()) -> set[str]:
    """Return the public keys of a file.

    :param accepted: the algorithms that sshd takes; none are all.
    """
    found = set()
    for line in (content or b"").decode("utf-8", "replace").splitlines():
        key = _KEY.search(line)
        if line.lstrip().startswith("#") or not key:
            continue
        names = {key[1]} if key[1] != "ssh-rsa" else {"ssh-rsa", "rsa-sha2-256", "rsa-sha2-512"}
        if not accepted or names & set(accepted):
            found.add(key[2])
    return found


@dataclass
class Logons:
    """How one account gets in: by which keys and other proofs, in which ways, or why not at all."""

    found: set[tuple[str, ...]] = field(default_factory=set)
    keys: dict[str, Path] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)
    shut_out: str = ""

    @property
    def by_key(self) -> bool:
        """Whether a key gets the account in."""
        return bool(by_key(self.found) and (self.keys or self.elsewhere)) and not self.shut_out

    @property
    def by_password(self) -> bool:
        """Whether a password alone would."""
        return bool(by_password(self.found)) and not self.shut_out


class Everybody:
    """All accounts of a host beside the role's own.

    :param now: what sshd says of an account with the files in use; nothing where it refuses them.
    :param then: the same with the new ones.
    :param content: what a file will hold after the change, for those that change.
    """

    def __init__(
        self,
        host: SshdHost,
        wanted: Wanted,
        now: Callable[[str], Settings],
        then: Callable[[str], Settings],
        content: Mapping[Path, bytes | None],
    ) -> None:
        self.host = host
        self.wanted = wanted
        self.now = now
        self.then = then
        self.content = content

    def named(self, found: Sequence[Section]) -> list[Account]:
        """Return the accounts that can log on.

        :param found: all sections of the configuration, before the change or after it.
        """
        patterns = {*_DEFAULT_FILES, f"{self.host.keys}/%u"}
        words: set[str] = set()
        for section in found:
            words.update(re.split(r"[\s,=\"]+", section.match))
            for _number, line in section.lines:
                name, *values = re.split(r"[\s=]+", line.strip())
                if name.lower() == "authorizedkeysfile":
                    patterns.update(value.strip('"') for value in values)
        words -= {"", "*"}
        own = {entry["name"] for entry in self.wanted.sftp_accounts}
        return [
            account
            for account in self.host.accounts()
            if account.name not in own
            and (
                account.has_shell
                or any(fnmatch.fnmatchcase(account.name, word) for word in words)
                or any(keys_in(read_or_none(path)) for path in key_files(account, patterns, self.host.root))
            )
        ]

    def losses(self, accounts: Iterable[Account]) -> tuple[dict[str, str], list[str], list[str]]:
        """Return what accounts would lose.

        :returns: those whose key or second factor stops working, with the reason; those who can log on with a password
            no more; and those of the latter who can't log on at all then.
        """
        stopped: dict[str, str] = {}
        passwords, stranded = [], []
        for account in accounts:
            settings = self.now(account.name)
            if not settings:
                continue
            old = self.logons(account, settings, read_or_none)
            try:
                after = self.then(account.name)
                new = self.logons(account, after, lambda path: self.content.get(path, read_or_none(path)))
            except NoWay:
                new = Logons()
            if reason := self._stops(account, old, new):
                stopped[account.name] = reason
            elif account.has_password and old.by_password and not new.by_password:
                passwords.append(account.name)
                if not new.by_key:
                    stranded.append(account.name)
        return stopped, passwords, stranded

    def logons(self, account: Account, settings: Settings, content: Callable[[Path], bytes | None]) -> Logons:
        """Return how an account gets in with these settings.

        :param content: returns what a file holds.
        """
        accepted = value(settings, "pubkeyacceptedalgorithms", "").split(",")
        patterns = value(settings, "authorizedkeysfile", "").split()
        keys = {
            key: path
            for path in key_files(account, patterns, self.host.root)
            for key in keys_in(content(path), [name for name in accepted if name])
        }
        names = ("authorizedkeyscommand", "trustedusercakeys")
        elsewhere = {f"{name} {told}" for name in names if (told := value(settings, name)) != "none"}
        reason = shut_out(account.name, account.groups(), settings)
        return Logons(ways(settings, root=account.uid == 0), keys, elsewhere, reason)

    def _stops(self, account: Account, old: Logons, new: Logons) -> str:
        """Return why a key of an account, or its second factor, would stop working; empty if none does."""
        if not old.by_key or (account.uid == 0 and self.wanted.root_logon == "none"):
            return ""
        if new.shut_out:
            return new.shut_out
        if not by_key(new.found):
            way = " and ".join(max((len(one), one) for one in by_key(old.found))[1])
            return f"sshd would take {way} no more"
        if account.name in [entry["user"] for entry in self.wanted.authorized_keys if entry["exclusive"]]:
            return ""
        for key, path in old.keys.items():
            if key not in new.keys and not self.host.is_own_key_file(path):
                return f"a key in {path} would count no more"
        gone = old.elsewhere - new.elsewhere
        return f"sshd would no longer go by '{min(gone)}'" if gone else ""


def read_or_none(path: Path) -> bytes | None:
    """Return what a file holds; None where it can't be read as one."""
    try:
        return read(path)
    except OSError:
        return None
