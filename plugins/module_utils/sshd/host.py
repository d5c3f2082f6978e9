# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sshd is on a host: where its files are, how it is started, and where Ansible comes from."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from ..host.commands import Runner, run
from ..host.files import mark, read
from ..host.ssh_client import Origin
from ..host.units import is_active

MARK = mark("role postern.mail_gateway.sshd")
"""The first line of each file of ours, people's keys included."""

KEYS_ARE_MARKED = "# Files in authorized_keys.d that begin with the same line are the role's as well."
"""What our own file says since then."""

#: Shells that let nobody in (nologin(8), false(1)).
NO_SHELLS = ("nologin", "false", "sync", "halt", "shutdown")

HERE = Origin("127.0.0.1", 0, "127.0.0.1", 22, "root")
"""Where there is no connection to ask for."""


@dataclass(frozen=True)
class Account:
    """An account as passwd(5) has it.

    Attributes:
        has_password: Whether a password can be right for it. Of one that is in a directory this isn't known: it can.
    """

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    has_password: bool

    @property
    def has_shell(self) -> bool:
        """Whether its shell lets somebody in; none is /bin/sh."""
        return Path(self.shell).name not in NO_SHELLS

    def groups(self) -> list[str]:
        """Return the names of its groups."""
        return groups(self.name, self.gid)


@dataclass(frozen=True)
class SshdHost:
    """A host with sshd.

    :param scratch: a folder that goes with the run.
    :param origin: the connection that Ansible came over; without one it is this host itself.
    :param root: where the host's files are.
    :param run: what runs a command there.
    """

    scratch: Path
    origin: Origin = HERE
    root: Path = Path("/")
    run: Runner = run

    @property
    def account(self) -> str:
        """The account that Ansible logs on with."""
        return self.origin.account or "root"

    @property
    def by_socket(self) -> bool:
        """Whether systemd listens for sshd."""
        return is_active("ssh.socket", self.run)

    @property
    def folder(self) -> Path:
        """The folder of sshd's files."""
        return self.root / "etc" / "ssh"

    @property
    def main(self) -> Path:
        """The file that sshd reads first."""
        return self.folder / "sshd_config"

    @property
    def drop_in(self) -> Path:
        """Our own file, which comes before all others: the first value wins."""
        return self.folder / "sshd_config.d" / "00-postern.conf"

    @property
    def moduli(self) -> Path:
        """The file with moduli for a key exchange."""
        return self.folder / "moduli"

    @property
    def keys(self) -> Path:
        """The folder with people's keys, a file for each account."""
        return self.folder / "authorized_keys.d"

    def is_own_key_file(self, path: Path) -> bool:
        """Tell whether a file with people's keys is the role's."""
        return path.parent == self.keys and (is_marked(path) or (self.before_marks and path.is_file()))

    @property
    def before_marks(self) -> bool:
        """Whether this role's last run here was that of a release (0.1.0) whose files of keys had no mark.

        It owned the whole folder.
        """
        content = (read(self.drop_in) or b"").decode("utf-8", "replace")
        return content.startswith(MARK) and KEYS_ARE_MARKED not in content

    def accounts(self) -> list[Account]:
        """Return all accounts that the host lists, its own and a directory's."""
        shadow = (read(self.root / "etc" / "shadow") or b"").decode("utf-8", "replace")
        hashes = dict(line.split(":")[:2] for line in shadow.splitlines() if ":" in line)
        found = []
        for line in self.run("getent", "passwd").stdout.splitlines():
            fields = line.split(":")
            if len(fields) == 7 and fields[2].isdecimal() and fields[3].isdecimal():
                # "!" and "*" begin what no password comes to (shadow(5)).
                usable = not hashes.get(fields[0], "?").startswith(("!", "*"))
                found.append(Account(fields[0], int(fields[2]), int(fields[3]), fields[5], fields[6], usable))
        return found

    @property
    def sftp(self) -> Path:
        """The folder with the roots of accounts for SFTP alone."""
        return self.root / "srv" / "sftp"

    @property
    def socket_drop_in(self) -> Path:
        """What systemd is told of ports and addresses where it listens for sshd."""
        return self.root / "etc" / "systemd" / "system" / "ssh.socket.d" / "00-postern.conf"

    @property
    def service_drop_in(self) -> Path:
        """What systemd is told of sshd where it listens by itself, on some addresses alone."""
        return self.root / "etc" / "systemd" / "system" / "ssh.service.d" / "00-postern.conf"


def known(name: str) -> pwd.struct_passwd | None:
    """Return an account of this host; None where there is none."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def is_marked(path: Path) -> bool:
    """Tell whether a file begins with our mark."""
    return (read(path) or b"").startswith(f"{MARK}\n".encode())


def groups(name: str, gid: int) -> list[str]:
    """Return the names of an account's groups; one without a name is in no list of sshd's."""
    found = []
    for number in os.getgrouplist(name, gid):
        with contextlib.suppress(KeyError):
            found.append(grp.getgrgid(number).gr_name)
    return found
