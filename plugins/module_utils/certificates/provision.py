# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role letsencrypt has on a host: its files, its units and its program, and what goes with a certificate."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..host.commands import last, run
from ..host.errors import HostError
from ..host.files import HostFile, diff_part
from ..host.units import UNITS, is_active, start_with_host, starts_with_host
from .certbot import is_ours
from .configuration import DROP_IN, PATH_UNIT, PROGRAM, STATE, host_files, withdrawn
from .haproxy_swap import Installer
from .settings import SETTINGS, Settings, Wanted, load, state_path

PUBLIC = {"pkey": ("-pubout", "-passin", "pass:"), "req": ("-noout", "-pubkey")}
"""How openssl is asked for the public key of a private key and of a request."""


def settings_of_host(path: Path = SETTINGS) -> Settings | None:
    """Return the settings of the last run; None where there are none."""
    try:
        return load(path)
    except HostError:
        return None


def copies(lineages: Path, name: str) -> list[Path]:
    """Return the copies of a lineage's private keys, and its requests, which certbot leaves when it deletes it."""

    def public(command: str, path: Path) -> str:
        return run("openssl", command, "-in", str(path), *PUBLIC[command]).stdout

    own = {public("pkey", path) for path in (lineages / "archive" / name).glob("privkey*.pem")} - {""}
    kept = (("pkey", "keys"), ("req", "csr")) if own else ()
    return [
        path
        for command, folder in kept
        for path in sorted((lineages / folder).glob("*.pem"))
        if public(command, path) in own
    ]


class Provision:
    """The host as it should be, and the way there.

    :param settings: what should be.
    :param variables: the role's, without its prefix.
    """

    def __init__(self, settings: Settings, variables: Mapping[str, Any]) -> None:
        self.settings = settings
        self.before = settings_of_host()
        self.gone = withdrawn(self.before, settings)
        self.files = [file for file in host_files(settings, variables) if file.differs()]
        self.units = [(unit, starts) for unit, starts in self._units().items() if self._unit_differs(unit, starts)]
        here = bool(settings.certificates)
        self.program = not PROGRAM.installed() if here else PROGRAM.command.exists()

    @property
    def changed(self) -> bool:
        """Whether anything differs."""
        return bool(self.program or self.files or self.gone or self.units)

    def diff(self) -> list[dict[str, str]]:
        """Return a part of Ansible's diff for each difference."""
        parts = []
        if self.program:
            before, after = PROGRAM.command.exists(), bool(self.settings.certificates)
            now = "(changed)\n" if before else "(there)\n"
            parts.append(diff_part(str(PROGRAM.command), "(there)\n" if before else "", now if after else ""))
        parts += [file.part() for file in self.files]
        parts += [diff_part(f"certificate {name}", "renewed by this role\n", "") for name in self.gone]
        words = {True: "enabled and started\n", False: "disabled and stopped\n"}
        return [*parts, *(diff_part(unit, "", words[starts]) for unit, starts in self.units)]

    def apply(self) -> None:
        """Make it so."""
        # Units that go are stopped while they are still known.
        for unit, starts in self.units:
            if not starts:
                run("systemctl", "disable", "--now", "--quiet", unit)
        for name in self.gone:
            self._remove(name)
        if self.settings.certificates and self.program:
            PROGRAM.install()
        for file in self.files:
            self._put(file)
        if any(UNITS in file.path.parents for file in self.files):
            run("systemctl", "daemon-reload")
        for unit, starts in self.units:
            if starts:
                start_with_host(unit, "--now")
        if not self.settings.certificates:
            self._leave()

    def _leave(self) -> None:
        """Remove what is of no use without certificates."""
        PROGRAM.remove()
        shutil.rmtree(STATE, ignore_errors=True)
        with contextlib.suppress(OSError):
            STATE.parent.rmdir()  # others may keep something there
        if self.before and self.before.metrics:
            Path(self.before.metrics).unlink(missing_ok=True)

    def _units(self) -> dict[str, bool]:
        units = {PATH_UNIT.name: bool(self.settings.peers)}
        return {**units, "certbot.timer": True} if self.settings.certificates else units

    @staticmethod
    def _unit_differs(unit: str, starts: bool) -> bool:
        enabled, active = starts_with_host(unit), is_active(unit)
        return not (enabled and active) if starts else enabled or active

    @staticmethod
    def _put(file: HostFile) -> None:
        file.stage()
        file.put()
        if file.content is None and file.path.parent in (SETTINGS.parent, DROP_IN.parent):
            with contextlib.suppress(OSError):
                file.path.parent.rmdir()

    def _remove(self, name: str) -> None:
        """Remove a certificate that we had issued; the file stays where HAProxy still uses it."""
        if is_ours(self.settings, name):
            # First, since it is the lineage that says which are its own.
            for path in copies(Path(self.settings.lineages), name):
                path.unlink(missing_ok=True)
            done = run("certbot", "delete", "--non-interactive", "--cert-name", name)
            if done.returncode:
                raise HostError(f"certbot can't delete '{name}': {last(done)}.")
        installer = Installer(self.settings, Wanted(name, ()))
        if not installer.used():
            installer.target.unlink(missing_ok=True)
        state_path(self.settings, name).unlink(missing_ok=True)
        Path(self.settings.state, "handed", f"{name}.pem").unlink(missing_ok=True)
