# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sshd is on a host: where its files are, how it is started, and where Ansible comes from."""

from __future__ import annotations

import pwd
from dataclasses import dataclass
from pathlib import Path

from ..host.commands import Runner, run
from ..host.ssh_client import Origin
from ..host.units import is_active

HERE = Origin("127.0.0.1", 0, "127.0.0.1", 22, "root")
"""Where there is no connection to ask for."""


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

    @property
    def sftp(self) -> Path:
        """The folder with the roots of accounts for SFTP alone."""
        return self.root / "srv" / "sftp"

    @property
    def socket_drop_in(self) -> Path:
        """What systemd is told of ports and addresses where it listens for sshd."""
        return self.root / "etc" / "systemd" / "system" / "ssh.socket.d" / "00-postern.conf"


def known(name: str) -> pwd.struct_passwd | None:
    """Return an account of this host; None where there is none."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None
