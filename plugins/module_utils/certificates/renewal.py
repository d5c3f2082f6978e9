# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All certificates of a host: issued, renewed, and healed where an earlier run was cut short."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..host.commands import run
from ..host.errors import HostError
from .certbot import (
    OWN_HOOKS,
    Held,
    certbot_command,
    certbot_environment,
    certbot_failure,
    forget_account,
    hold_seconds,
    is_ours,
    lineage,
    lineage_server,
    refuse_foreign,
    schedule_renewal,
)
from .handover import Handover
from .haproxy_swap import Installer
from .reachability import directory, self_test, wants_account
from .settings import Settings, Wanted, hold, moment, now, read_state, write_state
from .turns import DUE, reason_to_issue, reason_to_take_over
from .x509 import bundle_from, missing_names


class Renewal:
    """All certificates of this host, and what is due for them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.handover = Handover(settings)

    def installer(self, name: str) -> Installer:
        """Return the installer of one certificate."""
        return Installer(self.settings, self.settings.wanted(name))

    def issue(self, name: str) -> None:
        """Have a certificate issued and put it in use; HostError with the reason where that fails."""
        wanted, state = self.settings.wanted(name), read_state(self.settings, name)
        if state.held_until > time.time():
            raise Held(
                f"{self.settings.authority} limits how often it is asked; nothing is asked for '{name}' before "
                f"{moment(state.held_until)}."
            )
        state.last_attempt = now()
        try:
            with hold(self.settings, "certificates-issue", 600):
                self._issue(wanted)
        except HostError as refused:
            state = read_state(self.settings, name)
            state.last_attempt, state.last_error = now(), str(refused)
            if isinstance(refused, Held):
                state.held_until = hold_seconds(str(refused), time.time())
            write_state(self.settings, state)
            raise

    def _issue(self, wanted: Wanted) -> None:
        settings = self.settings
        refuse_foreign(settings)
        wants_account(settings, directory(settings))
        if settings.self_test:
            self_test(settings, wanted.names)
        command, environment = certbot_command(settings, wanted), certbot_environment(settings)
        before = lineage(settings, wanted.name)
        done = run(*command, seconds=600, environment=environment)
        if done.returncode and "accountDoesNotExist" in done.stdout + done.stderr and forget_account(settings):
            done = run(*command, seconds=600, environment=environment)
        if done.returncode:
            raise certbot_failure(done.stdout + "\n" + done.stderr, settings)
        if before is not None and lineage(settings, wanted.name) == before:
            raise HostError(
                f"certbot ended well, but the certificate '{wanted.name}' is the one of before; look for what keeps it "
                "from issuing, such as 'dry-run' in /etc/letsencrypt/cli.ini."
            )
        # The deploy hook has done it already, or failed; then this says why.
        self.install(wanted.name)

    def install(self, name: str) -> bool:
        """Put what certbot has issued in use; tell whether something changed."""
        pem = lineage(self.settings, name)
        if pem is None:
            raise HostError(f"certbot has no certificate '{name}' below {self.settings.lineages}.")
        changed = self.installer(name).install(pem, "issued", lineage_server(self.settings, name))
        leaf = bundle_from(pem).leaf
        schedule_renewal(self.settings, name, leaf, renews=self.settings.rank == 0)
        return changed

    def renew(self, *, now_all: bool = False) -> list[str]:
        """Do what is due; return what failed, a sentence each.

        :param now_all: Renew everything, due or not, whoever's turn it is.
        """
        said: list[str] = []
        for wanted in self.settings.certificates:
            self._recover(wanted, said)
        if not now_all:
            said += self._certbot_renew()
        for wanted in self.settings.certificates:
            current = self.installer(wanted.name).installed()
            reason = reason_to_issue(self.settings, wanted, current, read_state(self.settings, wanted.name))
            reason = reason or reason_to_take_over(self.settings, current)
            if reason or now_all:
                self._try(said, partial(self.issue, wanted.name))
            said += self.handover.hand_over(wanted.name)
        return list(dict.fromkeys(said))

    def heal(self, name: str) -> bool:
        """Put in use what an earlier run got and didn't; tell whether something changed. Asks the authority nothing."""
        changed = self.handover.install_handed(name)
        self._forgive(name)
        pem, current = lineage(self.settings, name), self.installer(name).installed()
        if pem is None:
            return changed
        leaf = bundle_from(pem).leaf
        if missing_names(leaf, self.settings.wanted(name).names) or leaf.left() <= 0:
            return changed
        if current is None or current.leaf.self_signed or leaf.not_before > current.leaf.not_before:
            return self.install(name) or changed
        return changed

    def _forgive(self, name: str) -> None:
        """Forget a failure that nothing follows from any more: what is in use is what is wanted, and isn't due."""
        state, current = read_state(self.settings, name), self.installer(name).installed()
        if not state.last_error or current is None or current.leaf.self_signed or current.leaf.left() < DUE:
            return
        wanted = self.settings.wanted(name)
        if not missing_names(current.leaf, wanted.names) and not reason_to_issue(self.settings, wanted, current, state):
            state.last_error = ""
            write_state(self.settings, state)

    def _recover(self, wanted: Wanted, said: list[str]) -> None:
        """Heal what an earlier run left, and tell certbot whose turn it is."""
        name = wanted.name
        self._try(said, partial(self.heal, name))
        pem, current = lineage(self.settings, name), self.installer(name).installed()
        if pem is None:
            return
        with contextlib.suppress(HostError):
            leaf = bundle_from(pem).leaf
            in_use = current is not None and current.leaf.fingerprint == leaf.fingerprint
            held = read_state(self.settings, name).held_until > time.time()
            # Where a peer's certificate is in use, certbot's own is out of date and nobody's business.
            schedule_renewal(self.settings, name, leaf, renews=in_use and self.settings.rank == 0 and not held)

    def _certbot_renew(self) -> list[str]:
        """Let certbot renew what it finds due, by our fraction of the lifetime or by the authority's word (ARI)."""
        names = sorted(path.stem for path in Path(self.settings.lineages, "renewal").glob("*.conf"))
        own = [wanted.name for wanted in self.settings.certificates if is_ours(self.settings, wanted.name)]
        before = {name: lineage(self.settings, name) for name in own}
        said: list[str] = []
        for name in names:
            # One by one: our own without other people's hooks, and theirs with them.
            hooks = OWN_HOOKS if name in before else ()
            done = run(
                "certbot", "renew", "--quiet", "--no-random-sleep-on-renew", "--cert-name", name,
                "--config-dir", self.settings.lineages, *hooks,
                *(["--config", self.settings.certbot_options] if self.settings.certbot_options else []),
                seconds=1800, environment=certbot_environment(self.settings),
            )  # fmt: skip
            if done.returncode:
                failure = certbot_failure(done.stdout + "\n" + done.stderr, self.settings)
                said.append(f"certbot didn't renew {name}: {failure}")
                if name in before:
                    self._remember_failure(name, failure)
        for name, pem in before.items():
            if lineage(self.settings, name) != pem:
                self._try(said, partial(self.install, name))
        return said

    def _remember_failure(self, name: str, failure: HostError) -> None:
        state = read_state(self.settings, name)
        state.last_attempt, state.last_error = now(), str(failure)
        if isinstance(failure, Held):
            state.held_until = hold_seconds(str(failure), time.time())
        write_state(self.settings, state)

    @staticmethod
    def _try(said: list[str], action: Callable[[], object]) -> None:
        try:
            action()
        except HostError as refused:
            said.append(str(refused))
