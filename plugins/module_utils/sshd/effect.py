# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a configuration comes to: sshd is asked, never read, and the account that Ansible uses isn't shut out."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from ..host.commands import last
from ..host.errors import HostError
from ..host.files import HostFile, make_folder
from .accounts import ACCEPT, Everybody
from .configuration import Wanted, effective, entries, keywords, shut_out, spoiled
from .doors import Doors
from .host import SshdHost, groups, known
from .sections import Section, sections
from .ways import NO_WAY, NoWay


class Effect:
    """What sshd makes of files on one host, for the account and the connection that Ansible uses."""

    def __init__(self, host: SshdHost) -> None:
        self.host = host

    def ask(self, main: Path, *, as_account: bool = True, account: str = "") -> dict[str, list[str]]:
        """Return what sshd makes of a configuration, for an account and the connection that Ansible uses.

        :param as_account: False leaves ``Match`` blocks out.
        :param account: another one than Ansible's.
        """
        where = self.host.origin
        connection = (
            f"user={account or self.host.account},host={where.address},addr={where.address},"
            f"laddr={where.local_address},lport={where.local_port}"
        )
        done = self.host.run("/usr/sbin/sshd", "-T", "-f", str(main), *(("-C", connection) if as_account else ()))
        if done.returncode:
            said = self.shown_name(last(done))
            kind = NoWay if NO_WAY in said else HostError
            raise kind(f"sshd refuses the new configuration: {said}; nothing was changed, correct the variables.")
        return effective(done.stdout)

    def staged_main(self, text: str) -> Path:
        """Copy the whole configuration with a new drop-in to where sshd can be asked about it."""
        folder = self.host.scratch / "sshd_config.d"
        make_folder(folder, 0o700)
        for path in self.host.drop_in.parent.glob("*.conf"):
            shutil.copy(path, folder / path.name)
        for path in self.host.scratch.glob("ssh_host_*_key"):
            text = text.replace(str(self.host.folder / path.name), str(path))
        (folder / self.host.drop_in.name).write_text(text, encoding="utf-8")
        main = self.host.scratch / "sshd_config"
        included = re.compile(r"^(\s*Include\s.*)$", re.MULTILINE | re.IGNORECASE)
        main.write_text(
            included.sub(
                lambda line: re.sub(r"(?:/etc/ssh/)?sshd_config\.d/", f"{folder}/", line[0]),
                self.host.main.read_text(encoding="utf-8", errors="replace"),
            ),
            encoding="utf-8",
        )
        return main

    def check(self, text: str, *, passwords: bool) -> None:
        """Compare what our file means by itself with what it comes to among all others; refuse a difference."""
        main = self.staged_main(text)
        alone, whole = self.ask(main.parent / "sshd_config.d" / self.host.drop_in.name), self.ask(main)
        found = [
            dataclasses.replace(entry, file=self.shown_name(entry.file)) for entry in entries(main, self.host.folder)
        ]
        if not any(entry.file == str(self.host.drop_in) for entry in found):
            raise HostError(
                f"{self.host.main} doesn't include {self.host.drop_in.parent}/*.conf, so nothing of this role would "
                f"count; put 'Include {self.host.drop_in.parent}/*.conf' on its first line."
            )
        for keyword in keywords(text):
            if sorted(whole.get(keyword, ())) != sorted(alone.get(keyword, ())):
                in_match = self.ask(main, as_account=False).get(keyword) == alone.get(keyword)
                entry = spoiled(keyword, found, in_match)
                comes, should = (" ".join(values.get(keyword, ["nothing"])) for values in (whole, alone))
                raise HostError(
                    f"{entry or 'Another file'} wins over this role for the account '{self.host.account}': it would be "
                    f"'{comes}' instead of '{should}'. "
                    "Nothing was changed; remove that line."
                )
        if not passwords:
            Doors(self.shown(sections(main, self.host.folder)), self.ask, self.host.scratch).refuse()
        self.check_account(whole)

    def check_everybody(
        self, wanted: Wanted, changes: Sequence[HostFile], accepted: Sequence[str], warn: Callable[[str], None]
    ) -> None:
        """Refuse to lock accounts out that have a key or a second factor, and say who loses a password.

        :param changes: the files that change; what they are going to hold counts. After ``check``.
        :param accepted: accounts that may lose what they have.
        """
        main = self.host.scratch / "sshd_config"
        content = {file.path: file.content for file in changes}
        everybody = Everybody(self.host, wanted, self.now, lambda account: self.ask(main, account=account), content)
        found = [*sections(self.host.main, self.host.folder), *sections(main, self.host.folder)]
        stopped, passwords, stranded = everybody.losses(everybody.named(found))
        if told := [f"{name} ({reason})" for name, reason in stopped.items() if name not in accepted]:
            raise HostError(
                f"People could not log on any more as they do now: {', '.join(told)}; nothing was changed. Leave them "
                f"their way in, or list the accounts in {ACCEPT}."
            )
        self._refuse_closed(main)
        if passwords:
            text = f"From now on these accounts can't log on with a password: {', '.join(passwords)}."
            if stranded:
                text += f" Without a key they can't log on at all: {', '.join(stranded)} (see sshd_authorized_keys)."
            warn(text)

    def _refuse_closed(self, main: Path) -> None:
        """Refuse to close blocks of somebody else that are about more than accounts, such as addresses."""
        after = self.shown(sections(main, self.host.folder))
        others = [section for section in after if section.file != str(self.host.drop_in) or not section.match]
        now = Doors(sections(self.host.main, self.host.folder), self.ask, self.host.scratch)
        if block := Doors(others, self.ask, self.host.scratch).closed(now):
            raise HostError(
                f"Those whom the block 'Match {block.match}' in {block.file} is about could not log on any more as "
                "they do now; nothing was changed. Leave them a way in there, such as 'AuthenticationMethods "
                "publickey', or remove the block."
            )

    def shown(self, found: Sequence[Section]) -> list[Section]:
        """Return sections of the staged files under the names that the files have on the host."""
        return [dataclasses.replace(section, file=self.shown_name(section.file)) for section in found]

    def shown_name(self, path: str) -> str:
        """Return the name on the host of a staged file."""
        staged = f"{self.host.scratch}/sshd_config.d"
        return path.replace(staged, str(self.host.drop_in.parent)).replace(
            str(self.host.scratch), str(self.host.folder)
        )

    def check_account(self, whole: dict[str, list[str]]) -> None:
        """Refuse what would keep the account that Ansible uses out, as far as that can be known beforehand."""
        entry = known(self.host.account)
        reason = shut_out(self.host.account, groups(entry.pw_name, entry.pw_gid) if entry else [], whole)
        if whole.get("pubkeyauthentication") != ["yes"]:
            reason = "PubkeyAuthentication is off for it in a Match block"
        if self.host.account == "root" and whole.get("permitrootlogin") == ["no"]:
            reason = "sshd_root_logon is none"
        if reason:
            raise HostError(
                f"The account '{self.host.account}', which Ansible uses, could not log on any more, since {reason}; "
                "nothing was changed, correct the variables."
            )

    def now(self, account: str = "") -> dict[str, list[str]]:
        """Return what sshd makes of the present files; nothing where it refuses them, since a run may heal that."""
        try:
            return self.ask(self.host.main, account=account)
        except HostError:
            return {}

    def passwords_on(self) -> bool:
        """Tell whether anybody can log on with a password now."""
        now = self.now()
        return now.get("passwordauthentication") != ["no"] or now.get("kbdinteractiveauthentication") != ["no"]
