# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A changed sshd goes into use: guarded, without ending a session, and with the old one back where it fails."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Sequence
from pathlib import Path

from ..host.commands import last
from ..host.errors import HostError
from ..host.files import HostFile, beside, make_folder
from ..rollback.guard import RollbackGuard
from ..rollback.program import remove
from .desired import MARK
from .host import SshdHost, known


class Activation:
    """The way from what is there to what should be.

    :param ports: where sshd should listen; none are those of other files.
    """

    def __init__(self, host: SshdHost, ports: Sequence[int]) -> None:
        self.host = host
        self.ports = ports

    def way_back(self) -> list[list[str]]:
        """Return the commands that make sshd take the old files; sessions go on, as they do over a restart."""
        if self.host.by_socket:
            return [
                ["systemctl", "daemon-reload"],
                ["systemctl", "stop", "ssh.service"],
                ["systemctl", "restart", "ssh.socket"],
            ]
        return [
            ["systemctl", "daemon-reload"],
            ["systemctl", "reset-failed", "ssh.service"],
            ["systemctl", "restart", "ssh.service"],
        ]

    def make_accounts(self, names: list[str]) -> None:
        """Make accounts for SFTP alone, with their folders."""
        for name in names:
            if known(name) is None:
                done = self.host.run(
                    "useradd", "--system", "--user-group", "--no-create-home", "--home-dir", str(self.host.sftp / name),
                    "--shell", "/usr/sbin/nologin", "--comment", MARK, name,
                )  # fmt: skip
                if done.returncode:
                    raise HostError(f"sshd_sftp_accounts: the account '{name}' can't be made: {last(done)}.")
            entry = pwd.getpwnam(name)
            make_folder(self.host.sftp)
            for folder, owner, group in (
                (self.host.sftp / name, 0, 0),
                (self.host.sftp / name / "files", entry.pw_uid, entry.pw_gid),
            ):
                make_folder(folder)
                os.chown(folder, owner, group, follow_symlinks=False)
                folder.chmod(0o755 if owner == 0 else 0o750)

    def apply(self, changes: list[HostFile], guard: RollbackGuard) -> None:
        """Stage everything, arm the guard, put it in place and have sshd use it."""
        new = [beside(file.path) for file in changes]
        new += sorted({path for file in changes for path in file.missing_folders()}, reverse=True)
        try:
            for file in changes:
                file.stage()
            guard.arm([file.path for file in changes], self.way_back(), remove=new)
        except (OSError, HostError) as error:
            for path in new:
                remove(path)
            if isinstance(error, HostError):
                raise
            raise HostError(
                f"{error.filename or 'A file'} can't be written ({error.strerror}); nothing was changed."
            ) from error
        try:
            for file in changes:
                file.put()
                if file.content is None and file.path in (self.host.service_drop_in, self.host.socket_drop_in):
                    remove(file.path.parent)  # unless somebody else has a file there
            reason = self.activate({file.path for file in changes})
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}"
        except HostError as error:  # something didn't end in time
            reason = str(error).rstrip(".")
        if reason:
            report = guard.roll_back_now(reason)
            errors = f", except for {'; '.join(report['errors'])}" if report and report["errors"] else ""
            raise HostError(f"sshd didn't take the new configuration ({reason}); the old one is back{errors}.")

    def activate(self, changed: set[Path]) -> str:
        """Have sshd use what is in place; return an empty text, or why it doesn't."""
        if self.host.by_socket:
            commands = [["systemctl", "try-restart", "ssh.service"]]
            if self.host.socket_drop_in in changed:
                commands = self.way_back()
            for command in commands:
                done = self.host.run(*command)
                if done.returncode:
                    return last(done)
        else:
            if {self.host.socket_drop_in, self.host.service_drop_in} & changed:
                self.host.run("systemctl", "daemon-reload")
            pid = self.host.run("systemctl", "show", "--property=MainPID", "--value", "ssh.service").stdout.strip()
            if pid in ("", "0"):
                done = self.host.run("systemctl", "restart", "ssh.service")
                return last(done) if done.returncode else self.wait_for_ports()
            # Debian's unit reloads with procps' kill, which a minimal system lacks. After its SIGHUP sshd executes
            # itself anew, which shows in addresses that the kernel draws by lot.
            image = Path("/proc", pid, "auxv")
            before = image.read_bytes()
            done = self.host.run("systemctl", "kill", "--kill-who=main", "--signal=HUP", "ssh.service")
            if done.returncode:
                return last(done)
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline and image.exists() and image.read_bytes() == before:
                time.sleep(0.02)
        return self.wait_for_ports()

    def wait_for_ports(self) -> str:
        """Wait until sshd (or systemd for it) listens where it should."""
        unit = "ssh.socket" if self.host.by_socket else "ssh.service"
        deadline = time.monotonic() + 10
        missing = set(self.ports)
        while time.monotonic() < deadline:
            heard = {
                int(line.split()[3].rpartition(":")[2]) for line in self.host.run("ss", "-Hltn").stdout.splitlines()
            }
            missing = set(self.ports) - heard
            state = self.host.run("systemctl", "is-active", unit).stdout.strip()
            if not missing and state == "active":
                return ""
            if state == "failed":
                break
            time.sleep(0.1)
        return f"{unit} {f'has no port {min(missing)}' if missing else 'is not active'}"
