# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates in a run of Ansible: what is issued on which gateway, and whether HAProxy presents them afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..host.errors import HostError
from ..host.files import diff_part, write_new
from .health import health, show, write_metrics
from .reachability import directory, wants_account
from .renewal import Renewal
from .settings import Settings, moment, read_state
from .turns import reason_to_issue
from .x509 import Bundle


@contextlib.contextmanager
def _saying(said: list[str], name: str) -> Iterator[None]:
    """Add to what is said why a certificate is not issued, and go on with the others."""
    try:
        yield
    except HostError as error:
        said.append(f"'{name}' is not issued: {error}")


class Issuing:
    """The certificates of one host in one run.

    Attributes:
        diff: Parts of Ansible's diff.
        warnings: Sentences that fail nothing.

    :param settings: of the host.
    :param play_hosts: the hosts that take part in the run; none are all.
    """

    def __init__(self, settings: Settings, play_hosts: Sequence[str] = ()) -> None:
        self.settings = settings
        present = tuple(name for name in settings.gateways if name in play_hosts)
        # With those gateways alone that take part: the first of them acts.
        turns = settings.host in present
        self.taking_turns = dataclasses.replace(settings, gateways=present) if turns else settings
        self.renewal = Renewal(settings)
        self.diff: list[dict[str, str]] = []
        self.warnings: list[str] = []

    def current(self, name: str) -> Bundle | None:
        """Return the certificate that is in use, as far as it can be read."""
        try:
            return self.renewal.installer(name).installed()
        except HostError:  # no openssl yet
            return None

    def reasons(self) -> dict[str, str]:
        """Return what this host should have issued now, and why."""
        found, settings = {}, self.taking_turns
        for wanted in settings.certificates:
            state = read_state(settings, wanted.name)
            if reason := reason_to_issue(settings, wanted, self.current(wanted.name), state):
                found[wanted.name] = reason
        return found

    def ask_authority(self, authority_ca: str) -> dict[str, Any]:
        """Return the authority's directory; a wrong address shows there.

        :param authority_ca: PEM with the root of its own certificate; the role's file isn't there yet.
        """
        with tempfile.TemporaryDirectory(prefix="postern-") as scratch:
            given = self.settings
            if given.bundle:
                root = Path(scratch, "authority.pem")
                write_new(root, authority_ca.encode(), 0o600)
                given = dataclasses.replace(given, bundle=str(root))
            offered = directory(given)
        wants_account(self.settings, offered)
        return offered

    def plan(self) -> dict[str, str]:
        """Return what is to be issued and why, and put it into the diff."""
        reasons = self.reasons()
        for wanted in self.settings.certificates:
            if wanted.name in reasons:
                text = f"issued by {self.settings.authority} for {', '.join(wanted.names)}\n"
                self.diff.append(diff_part(f"certificate {wanted.name}", f"{reasons[wanted.name]}\n", text))
        return reasons

    def issue(self) -> bool:
        """Have issued what is missing, and hand it over; what a peer has handed over is put in use.

        :returns: whether anything changed.
        """
        said: list[str] = []
        changed = False
        for wanted in self.settings.certificates:
            with _saying(said, wanted.name):
                # What certbot has already, or a peer has handed over, needs no new one.
                changed = self.renewal.heal(wanted.name) or changed
                if wanted.name in self.reasons():
                    changed = True
                    self.renewal.issue(wanted.name)
        return self._hand_over(said) or changed

    def plan_renewal(self) -> dict[str, str]:
        """Return what is issued anew where that is asked for, and put it into the diff."""
        reasons = {}
        if self.taking_turns.rank == 0:
            for wanted in self.settings.certificates:
                current = self.current(wanted.name)
                until = f", the one in use ends at {moment(current.leaf.not_after)}" if current else ""
                reasons[wanted.name] = f"it is asked for{until}"
                text = f"{reasons[wanted.name]}\n"
                self.diff.append(diff_part(f"certificate {wanted.name}", text, "issued anew\n"))
        return reasons

    def renew(self, names: Sequence[str]) -> None:
        """Have certificates issued anew, and hand them over."""
        said: list[str] = []
        for name in names:
            with _saying(said, name):
                self.renewal.issue(name)
        self._hand_over(said)

    def _hand_over(self, said: list[str]) -> bool:
        """Hand all to the peers, which may be down; then fail with what was said before. Tell if any was sent."""
        handover = self.renewal.handover
        for wanted in self.settings.certificates:
            self.warnings += handover.hand_over(wanted.name)
        with contextlib.suppress(OSError):
            write_metrics(self.settings)
        if said:
            raise HostError(" ".join(said))
        return bool(handover.sent)

    def health(self) -> list[dict[str, Any]]:
        """Return how each certificate is; nothing where openssl isn't there to say it."""
        try:
            return health(self.settings)
        except HostError:
            return []

    def served(self, wait: float) -> list[dict[str, Any]]:
        """Return how each certificate is, and wait for those that come from a peer, which takes a moment.

        :raises HostError: HAProxy doesn't present a good certificate.
        """
        deadline, turns = time.monotonic() + wait, self.taking_turns
        while True:
            found = health(self.settings)
            bad = [one for one in found if one["status"] == 2]
            if not bad or turns.rank == 0 or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        if bad:
            text = "; ".join(f"'{one['name']}': {', '.join(one['problems'])}" for one in bad)
            whose = f"; {turns.gateways[0]} should have handed it over" if turns.rank else ""
            raise HostError(f"This gateway doesn't serve a good certificate ({text}{whose}).")
        self.warnings += [f"Certificate '{one['name']}': {problem}." for one in found for problem in one["problems"]]
        return found


def summary(found: list[dict[str, Any]]) -> list[str]:
    """Return how certificates are as lines for a person."""
    return show(found).splitlines()
