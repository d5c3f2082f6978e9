# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands on a host: run one, and have what came of it; and what systemd does at the host's start."""

from __future__ import annotations

import os
import subprocess
from typing import Any


class UnitError(Exception):
    """One sentence: why a unit doesn't start with the host."""


def run(*arguments: str, data: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command and return what came; never raise because of its exit status.

    :param data: its standard input.
    """
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    options: dict[str, Any] = {"stdin": subprocess.DEVNULL} if data is None else {"input": data}
    return subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env={**os.environ, "PATH": path, "LC_ALL": "C.UTF-8"},
        **options,
    )


def last(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line of what a command said, as a part of a sentence."""
    lines = (done.stderr.strip() or done.stdout.strip() or "no reason was given").splitlines()
    return lines[-1].strip().rstrip(".")


def starts_with_host(unit: str) -> bool:
    """Tell whether systemd starts a unit with the host.

    :raises UnitError: it is masked: somebody wants it never to start.
    """
    done = run("systemctl", "is-enabled", unit)
    state = done.stdout.strip()
    if state.startswith("masked"):
        raise UnitError(
            f"{unit} is masked on this host, so it can't start; nothing was changed. Run 'systemctl unmask {unit}' "
            "there and run again."
        )
    # One that is enabled for this run of the host alone ends with it.
    return done.returncode == 0 and not state.endswith("-runtime")


def start_with_host(unit: str) -> None:
    """Have systemd start a unit with the host from now on; whether it runs now stays as it is.

    :raises UnitError: systemd refuses.
    """
    done = run("systemctl", "enable", "--quiet", unit)
    if done.returncode:
        raise UnitError(f"{unit} can't be made to start with the host ({last(done)}).")


def starting_diff(unit: str) -> dict[str, str]:
    """Return the part of Ansible's diff for a unit that will start with the host and didn't."""
    return {
        "before_header": unit,
        "after_header": unit,
        "before": "starts with the host: no\n",
        "after": "starts with the host: yes\n",
    }
