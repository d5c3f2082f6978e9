# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units of systemd: what runs, and what starts with the host."""

from __future__ import annotations

from pathlib import Path

from .commands import Runner, last, run
from .errors import HostError
from .files import diff_part

UNITS = Path("/etc/systemd/system")


def is_active(unit: str, runner: Runner = run) -> bool:
    """Tell whether a unit runs."""
    return runner("systemctl", "is-active", "--quiet", unit).returncode == 0


def starts_with_host(unit: str, runner: Runner = run) -> bool:
    """Tell whether systemd starts a unit with the host.

    :raises HostError: it is masked: somebody wants it never to start.
    """
    done = runner("systemctl", "is-enabled", unit)
    state = done.stdout.strip()
    if state.startswith("masked"):
        raise HostError(
            f"{unit} is masked on this host, so it can't start; nothing was changed. Run 'systemctl unmask {unit}' "
            "there and run again."
        )
    # One that is enabled for this run of the host alone ends with it.
    return done.returncode == 0 and not state.endswith("-runtime")


def start_with_host(unit: str, *options: str, runner: Runner = run) -> None:
    """Have systemd start a unit with the host from now on; whether it runs now stays as it is.

    :param options: "--now" starts it, too.
    :raises HostError: systemd refuses.
    """
    done = runner("systemctl", "enable", *options, "--quiet", unit)
    if done.returncode:
        raise HostError(f"{unit} can't be made to start with the host ({last(done)}).")


def starting_diff(unit: str) -> dict[str, str]:
    """Return the part of Ansible's diff for a unit that will start with the host and didn't."""
    return diff_part(unit, "starts with the host: no\n", "starts with the host: yes\n")
