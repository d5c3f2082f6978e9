# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fail2Ban on a host: its files, its server, and the kernel that keeps out whom it bans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..host.commands import Runner, run
from ..host.errors import HostError
from ..host.units import is_active
from .configuration import (
    SETS,
    Jail,
)
from .server import ask

SERVICE = "fail2ban.service"


@dataclass(frozen=True)
class Fail2BanHost:
    """A host with Fail2Ban.

    :param root: where the host's files are.
    :param run: what runs a command there.
    """

    root: Path = Path("/")
    run: Runner = run
    scratch: Path = Path("/run")
    """Where copies of the folder are tried, in memory."""

    @property
    def folder(self) -> Path:
        """The folder of Fail2Ban's files."""
        return self.root / "etc" / "fail2ban"

    @property
    def installed(self) -> bool:
        """Whether Fail2Ban's programs are there."""
        return (self.root / "usr" / "bin" / "fail2ban-server").exists()

    def active(self) -> bool:
        """Tell whether Fail2Ban runs."""
        return is_active(SERVICE, self.run)

    def ask(self, folder: Path, jails: Sequence[str], *, trial: bool = True) -> dict[str, Any]:
        """Return what Fail2Ban makes of a folder, and what the running server has; see ``server.ask``."""
        return ask(str(folder), jails, trial, self.run)

    def bans(self, jail: Jail) -> bool:
        """Tell whether the kernel asks a jail's sets."""
        chain = self.run("nft", "list", "chain", "inet", jail.table, "input").stdout
        return "hook input" in chain and all(f"@{name} goto banned" in chain for name in SETS)

    def unit(self, name: str) -> str:
        """Return why no line of the journal comes from a unit; empty if some may."""
        shown = self.run("systemctl", "show", "--property=Id,LoadState", "--", name).stdout
        state = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        if state.get("LoadState") in (None, "not-found"):
            return f"there is no unit {name} on this host"
        return "" if state["Id"] == name else f"{name} is another name of {state['Id']}"

    def reload(self, *options: str) -> str:
        """Reload Fail2Ban, or start it; return an empty text, or why that didn't work."""
        try:
            if self.active():
                done = self.run("fail2ban-client", "reload", *options)
            else:
                # On Debian 12 it failed when the package was installed (see the file for Debian's jail).
                self.run("systemctl", "reset-failed", SERVICE)
                done = self.run("systemctl", "start", SERVICE)
        except HostError as error:  # it didn't end in time
            return str(error).rstrip(".")
        if done.returncode == 0:
            return ""
        said = (done.stderr + done.stdout).strip().splitlines() or ["it gave no reason"]
        return said[-1].partition("ERROR")[2].strip().rstrip(".") or said[-1].rstrip(".")

    def complaints(self) -> list[str]:
        """Return Fail2Ban's complaints: in its log, and where it didn't come as far as that, in the journal."""
        options = ("--lines", "50", "--output", "cat", "--no-pager")
        journal = self.run("journalctl", "--unit", SERVICE, *options).stdout
        log = self.run("tail", "--lines", "200", str(self.root / "var" / "log" / "fail2ban.log")).stdout
        lines = [line.partition("ERROR") for line in (journal + log).splitlines()]
        return [" ".join(text.split()).rstrip(".") for _unused, error, text in lines if error]


def running_jails(answer: dict[str, Any]) -> dict[str, Any] | None:
    """Return the running server's jails; None where it doesn't run or doesn't answer."""
    running = answer["running"]
    return None if running is None or "error" in running else running["jails"]
