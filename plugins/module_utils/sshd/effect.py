# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a configuration comes to: sshd is asked, never read, and the account that Ansible uses isn't shut out."""

from __future__ import annotations

import contextlib
import dataclasses
import grp
import os
import re
import shutil
from pathlib import Path

from ..host.commands import last
from ..host.errors import HostError
from ..host.files import make_folder
from .configuration import effective, entries, keywords, password_door, shut_out, spoiled
from .host import SshdHost, known


class Effect:
    """What sshd makes of files on one host, for the account and the connection that Ansible uses."""

    def __init__(self, host: SshdHost) -> None:
        self.host = host

    def ask(self, main: Path, *, as_account: bool = True) -> dict[str, list[str]]:
        """Return what sshd makes of a configuration, for the account and the connection that Ansible uses."""
        where = self.host.origin
        connection = (
            f"user={self.host.account},host={where.address},addr={where.address},laddr={where.local_address},"
            f"lport={where.local_port}"
        )
        done = self.host.run("/usr/sbin/sshd", "-T", "-f", str(main), *(("-C", connection) if as_account else ()))
        if done.returncode:
            said = last(done).replace(str(self.host.scratch / "sshd_config.d"), str(self.host.drop_in.parent))
            said = said.replace(str(self.host.scratch), str(self.host.folder))
            raise HostError(f"sshd refuses the new configuration: {said}; nothing was changed, correct the variables.")
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
            dataclasses.replace(
                entry,
                file=entry.file.replace(f"{self.host.scratch}/sshd_config.d", str(self.host.drop_in.parent)).replace(
                    str(self.host.scratch), str(self.host.folder)
                ),
            )
            for entry in entries(main)
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
        if door := None if passwords else password_door(found):
            raise HostError(f"{door} lets somebody log on without a key; nothing was changed, remove that line.")
        self.check_account(whole)

    def check_account(self, whole: dict[str, list[str]]) -> None:
        """Refuse what would keep the account that Ansible uses out, as far as that can be known beforehand."""
        entry = known(self.host.account)
        groups = []
        for number in os.getgrouplist(self.host.account, entry.pw_gid) if entry else ():
            with contextlib.suppress(KeyError):  # a group without a name is in no list
                groups.append(grp.getgrgid(number).gr_name)
        reason = shut_out(self.host.account, groups, whole)
        if whole.get("pubkeyauthentication") != ["yes"]:
            reason = "PubkeyAuthentication is off for it in a Match block"
        if self.host.account == "root" and whole.get("permitrootlogin") == ["no"]:
            reason = "sshd_root_logon is none"
        if reason:
            raise HostError(
                f"The account '{self.host.account}', which Ansible uses, could not log on any more, since {reason}; "
                "nothing was changed, correct the variables."
            )

    def now(self) -> dict[str, list[str]]:
        """Return what sshd makes of the present files; nothing where it refuses them, since a run may heal that."""
        try:
            return self.ask(self.host.main)
        except HostError:
            return {}

    def passwords_on(self) -> bool:
        """Tell whether anybody can log on with a password now."""
        now = self.now()
        return now.get("passwordauthentication") != ["no"] or now.get("kbdinteractiveauthentication") != ["no"]
