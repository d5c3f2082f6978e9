# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changed files go into use, and the running server is waited for; the old files come back where it doesn't follow."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

from ..host.errors import HostError
from ..host.transaction import Change, FileTransaction
from .comparison import (
    differences,
)
from .configuration import (
    Jail,
)
from .host import SERVICE, Fail2BanHost, running_jails


class Activation:
    """The way from what runs to what should.

    Attributes:
        lost: Running jails whose bans the kernel has lost.

    :param timeout: seconds to wait for the running server.
    """

    def __init__(
        self, host: Fail2BanHost, jails: Sequence[Jail], transaction: FileTransaction, timeout: float = 30
    ) -> None:
        self.host = host
        self.jails = jails
        self.names = [jail.name for jail in jails]
        self.transaction = transaction
        self.timeout = timeout
        self.lost: set[str] = set()

    def look(self, running: Collection[str]) -> None:
        """See which of the running jails ban nobody in the kernel."""
        self.lost = {jail.name for jail in self.jails if jail.name in running and not self.host.bans(jail)}

    def drift(self, wanted: dict[str, Any], running: dict[str, Any] | None) -> tuple[list[str], list[str]]:
        """Return lines for what the host has and should have; in nftables too, since somebody may have flushed it."""
        before, after = differences(wanted, running)
        for jail in self.jails:
            if not self.host.bans(jail):
                before.append(f"{jail.name}: no table {jail.table} in nftables that bans")
                after.append(f"{jail.name}: table {jail.table} in nftables")
        return before, after

    def apply(self, wanted: dict[str, Any], changes: list[Change]) -> None:
        """Put the files in place and have Fail2Ban use them; undo that where it doesn't."""
        if changes:
            self.transaction.stage()
        active = self.host.active()
        self.transaction.swap()
        try:
            reason = self.activate(wanted)
        except HostError as error:  # something didn't end in time
            reason = str(error).rstrip(".")
        if reason:
            self.transaction.restore()
            state = "Fail2Ban doesn't run, as before"
            if active:
                again = self.host.reload()
                state = (
                    f"Fail2Ban could not be reloaded with the old files either ({again})"
                    if again
                    else "Fail2Ban goes on with the old files"
                )
            else:
                self.host.run("systemctl", "stop", SERVICE)
            raise HostError(
                f"Fail2Ban can't run with the new configuration: {reason}. The old files are in place again and "
                f"{state}; remove the cause and run again."
            )
        self.transaction.commit()

    def activate(self, wanted: dict[str, Any]) -> str:
        """Have Fail2Ban use what is in place, and wait until it has every jail as it should be; else return why not."""
        reloads, said_before = self.host.active(), self.host.complaints()
        reason = self.host.reload()
        deadline = time.monotonic() + self.timeout
        restarted: set[str] = set()
        while not reason:
            running = running_jails(self.host.ask(self.host.folder, self.names, trial=False))
            drift = self.drift(wanted, running)
            if drift == ([], []) and self.lost <= restarted:
                return ""
            late: set[str] = set()
            if running is not None and (reloads or running.keys() >= wanted.keys()):
                late = {name for name in self.names if self.drift_of(name, wanted, running)}
                if late & restarted:
                    deadline = 0
                # A reload gives a jail no other action than it had, and makes its table again without those who are
                # banned. A start does, and bans whom the database holds.
                late |= self.lost
                reason = "; ".join(
                    filter(None, (self.host.reload("--restart", name) for name in sorted(late - restarted)))
                )
                restarted |= late
            if time.monotonic() > deadline or not self.host.active():
                said = [text for text in self.host.complaints() if text not in said_before]
                return f"{(drift[0] or ['it ended'])[0]}{f' ({said[-1]})' if said else ''}"
            time.sleep(0.2)
        return reason

    def drift_of(self, name: str, wanted: dict[str, Any], running: dict[str, Any]) -> bool:
        """Tell whether one jail isn't as it should be."""
        jail = next(jail for jail in self.jails if jail.name == name)
        return differences({name: wanted[name]}, running) != ([], []) or not self.host.bans(jail)
