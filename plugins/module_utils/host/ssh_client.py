# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Ansible comes from, as the host sees it.

sshd tells the session that it starts (``SSH_CONNECTION``, ssh(1)). sudo and its like strip that, but the processes
above them still have it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Origin:
    """One SSH connection: both ends, and the account that logged on."""

    address: str
    port: int
    local_address: str
    local_port: int
    account: str


def _environment(pid: int) -> dict[str, str]:
    try:
        content = Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace")
    except OSError:
        return {}
    return dict(item.split("=", 1) for item in content.split("\0") if "=" in item)


def _parent(pid: int) -> int:
    """Return the parent's number (proc_pid_stat(5)); the name in brackets may hold spaces and brackets."""
    try:
        return int(
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]
        )
    except (OSError, ValueError, IndexError):
        return 0


def origin(pid: int | None = None) -> Origin | None:
    """Return the SSH connection that a process was started over, or None where there is none (a local run, podman).

    :param pid: a process; this one if not given.
    """
    current = os.getpid() if pid is None else pid
    while current > 1:
        environment = _environment(current)
        parts = environment.get("SSH_CONNECTION", "").split()
        if len(parts) == 4 and parts[1].isdecimal() and parts[3].isdecimal():
            # An IPv4 client of a socket for both families shows as ::ffff:192.0.2.1.
            address, local = (text.removeprefix("::ffff:") if "." in text else text for text in (parts[0], parts[2]))
            account = _logged_on(current, environment["SSH_CONNECTION"])
            return Origin(address.partition("%")[0], int(parts[1]), local.partition("%")[0], int(parts[3]), account)
        current = _parent(current)
    return None


def _logged_on(pid: int, connection: str) -> str:
    """Return the account that a connection's session began with.

    sudo keeps ``SSH_CONNECTION`` where its ``env_keep`` says so, and calls the account root there. What sshd itself
    started is the uppermost process of the connection.
    """
    account = ""
    while pid > 1:
        environment = _environment(pid)
        if "SSH_CONNECTION" in environment:
            if environment["SSH_CONNECTION"] != connection:
                break  # sshd itself, when somebody started it by hand from another session
            account = environment.get("LOGNAME") or environment.get("USER", "")
        pid = _parent(pid)
    return account


def controller_address() -> str | None:
    """Return the controller's address as the host sees it, or None where it doesn't come over SSH."""
    found = origin()
    return found.address if found else None
