# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's half of the rollback guard: a change that isn't confirmed over a new connection undoes itself.

A module arms the guard before its change. From then on a timer on the host holds the rollback, and so does a unit for
the next boot; neither needs the module, Ansible or the controller any more. Disarming takes the token, which the
controller gets with the module's result (see ``plugins/plugin_utils/guarded_action.py``).

Everything lies in one folder, with a copy of the program of its own: ``armed.json`` exists exactly while a guard is
armed, and is the point of no return in both directions (arming ends with writing it, when all that it needs is on the
disk; disarming begins with removing it). Nothing here is done without the lock, which lies elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..host.commands import last, run
from ..host.errors import HostError
from ..host.files import copy, link, make_folder, sync, write
from ..host.programs import package, write_package
from ..host.units import UNITS
from . import program as rollback_program
from .program import FOLDER, Command

OWNER = "postern.mail_gateway, rollback guard"
TIMER = "postern-rollback"
PROGRAM = "postern-rollback"
#: A new connection and the module that confirms take a few seconds themselves; nobody waits for a day.
SECONDS = (5, 86400)


def sentence(report: dict[str, Any]) -> str:
    """Return a report of a rollback as one sentence for a person."""
    when = str(report["when"]).replace("T", " ").replace("+00:00", " UTC")
    return (
        f"The last change of {report['name']} on this host was rolled back at {when}, since {report['why']}; "
        f"these files are what they were before it: {', '.join(report['files'])}."
    )


def boot_unit(folder: Path, program: Path, token: str) -> str:
    """Return the unit that goes back at the next boot, before anything that lets people in or keeps them out."""
    return "\n".join(
        [
            "# Written by Ansible (postern.mail_gateway, rollback guard); removed when the change is confirmed.",
            "[Unit]",
            "Description=Undo a change that was not confirmed",
            "DefaultDependencies=no",
            f"ConditionPathExists={folder}/armed.json",
            f"RequiresMountsFor=/etc {folder}",
            "After=local-fs.target",
            "Before=network-pre.target ufw.service nftables.service ssh.socket ssh.service fail2ban.service",
            "",
            "[Service]",
            "Type=oneshot",
            f"ExecStart={sys.executable} -IB {program} boot {folder} {token}",
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )


class RollbackGuard:
    """The guard of one host, on behalf of one module.

    Use: ``rolled_back()``; work out the change; ``arm()``; change; put ``as_result()`` into the module's result as
    ``guard``. Where the change fails in the module itself, ``roll_back_now()``. Where nothing had to change,
    ``forget_report()``.

    :param name: what is changed, as it is called in sentences: "sshd", "firewall".
    :param seconds: time from arming to the rollback.
    :param folder: for tests.
    :raises HostError: that is no time for a confirmation.
    """

    def __init__(self, name: str, seconds: int = 60, folder: Path = FOLDER) -> None:
        if not SECONDS[0] <= seconds <= SECONDS[1]:
            raise HostError(
                f"The time until the change of {name} is undone is {seconds} seconds, but must be from {SECONDS[0]} to "
                f"{SECONDS[1]}; nothing was changed."
            )
        self.name = name
        self.seconds = seconds
        self.folder = folder
        self.token = ""
        self._deadline = 0.0

    def status(self) -> dict[str, Any] | None:
        """Return what is armed now (name, token, when, files, …), whoever armed it; None where nothing is."""
        return rollback_program.read(self.folder / "armed.json")

    def rolled_back(self) -> dict[str, Any] | None:
        """Return the report of a rollback since the last confirmed change: name, when (ISO), why, files, errors.

        :raises HostError: a change is waiting for its confirmation, so that nothing here is final.
        """
        if not self.folder.is_dir():
            return None
        with rollback_program.locked(self.folder):
            self._refuse_if_armed()
            return self.last_report()

    def forget_report(self) -> None:
        """Forget a rollback: it was reported, and the host is as it should be."""
        if (self.folder / "report.json").exists():
            with rollback_program.locked(self.folder):
                (self.folder / "report.json").unlink(missing_ok=True)
                self._tidy()

    def arm(
        self,
        files: Iterable[str | Path],
        commands: Sequence[Command] = (),
        before: Sequence[Sequence[str]] = (),
        remove: Iterable[str | Path] = (),
        texts: Mapping[str, str] | None = None,
    ) -> None:
        """Save the files (or that they aren't there) and arm the rollback.

        :param files: absolute paths of everything that the change writes or removes; no folders.
        :param commands: run after the files are back, each whatever became of the one before; ``otherwise`` is run
          where one fails. Not at boot.
        :param before: run before the files go back. Not at boot.
        :param remove: files that wait to be put in place, and folders that were made for them, the innermost first;
          folders go if nothing else is in them.
        :param texts: what the commands read, by name (see ``text_path``).
        :raises HostError: another change waits for its confirmation, or there is no rollback to be had (a full disk,
          no systemd). Nothing was changed.
        """
        with rollback_program.locked(self.folder):
            self._refuse_if_armed()
            try:
                self._arm([str(path) for path in files], commands, before, [str(path) for path in remove], texts or {})
            except (OSError, HostError) as error:
                self._stop_timer()
                rollback_program.forget(self.folder)
                self._tidy()
                if isinstance(error, HostError):
                    raise HostError(f"The rollback can't be armed ({error}); nothing was changed.") from error
                raise HostError(
                    f"The rollback can't be written below {self.folder} ({error.strerror}); nothing was changed."
                ) from error

    def text_path(self, name: str) -> Path:
        """Return where a text for the commands lies while the guard is armed."""
        return self.folder / "saved" / name

    def as_result(self) -> dict[str, Any]:
        """Return what the controller needs for the confirmation: name, token, and the seconds that are left."""
        left = max(0, int(self._deadline - time.monotonic()))
        return {"name": self.name, "token": self.token, "seconds": left}

    def disarm(self, token: str) -> None:
        """Confirm the change: it stays.

        :raises HostError: it was rolled back already, or another change is armed.
        """
        if not self.folder.is_dir():
            raise HostError("No change waits for its confirmation on this host.")
        with rollback_program.locked(self.folder):
            armed = self.status()
            if armed is None or armed["token"] != token:
                report = self.last_report()
                if report and report.get("token") == token:
                    raise HostError(f"The confirmation came too late. {sentence(report)}")
                raise HostError("The change that this token belongs to doesn't wait for its confirmation.")
            (self.folder / "armed.json").unlink()
            sync(self.folder)
            (self.folder / "report.json").unlink(missing_ok=True)
            rollback_program.forget(self.folder)
            self._stop_timer()
            self._tidy()

    def roll_back_now(self, why: str = "the change failed") -> dict[str, Any] | None:
        """Undo the change at once, in this process. No report stays, since the caller has it to tell.

        :returns: the report, with ``errors`` where something couldn't be restored; None where nothing was armed.
        """
        if not self.folder.is_dir():
            return None
        with rollback_program.locked(self.folder):
            report = rollback_program.roll_back(self.folder, self.token, why)
            if report and self.status() is None:
                self._stop_timer()
                (self.folder / "report.json").unlink(missing_ok=True)
                self._tidy()
        return report

    def _refuse_if_armed(self) -> None:
        armed = self.status()
        if armed is None:
            return
        if not self._timer_lives():
            # Somebody stopped the timer, or the host was restored from an image: nobody else would go back any more.
            rollback_program.roll_back(self.folder, armed["token"], "its timer was gone")
            raise HostError(
                f"A change of {armed['name']} from {armed['when']} was neither confirmed nor rolled back, since its "
                "timer was gone; it was rolled back now. Run again."
            )
        raise HostError(
            f"A change of {armed['name']} on this host, made at {armed['when']}, waits for its confirmation, which "
            f"another run may be about to give; nothing was changed. It is confirmed or rolled back within "
            f"{armed['seconds']} seconds of that time: run again then."
        )

    def _timer_lives(self) -> bool:
        states = run("systemctl", "is-active", f"{TIMER}.timer", f"{TIMER}.service").stdout.split()
        return any(state in ("active", "activating", "reloading", "deactivating") for state in states)

    def _arm(
        self,
        files: list[str],
        commands: Sequence[Command],
        before: Sequence[Sequence[str]],
        remove: list[str],
        texts: Mapping[str, str],
    ) -> None:
        # What a run left that was killed while it armed: no armed.json, so nothing had been changed.
        self._stop_timer()
        rollback_program.forget(self.folder)
        make_folder(self.folder, 0o700)
        self.token = secrets.token_hex(16)
        saved = self.folder / "saved"
        make_folder(saved, 0o700)
        entries = []
        for number, path in enumerate(dict.fromkeys(files)):
            source, target = Path(path), saved / str(number)
            if os.path.lexists(source):
                copy(source, target)
            entries.append({"path": path, "saved": str(target) if os.path.lexists(target) else None})
        for name, text in texts.items():
            write(self.text_path(name), text.encode())
        sync(saved)
        # A copy of its own: whatever becomes of the collection's files, what is armed goes back.
        program = self.folder / "program" / PROGRAM
        shutil.rmtree(program.parent, ignore_errors=True)
        write_package(program.parent, package(rollback_program, PROGRAM, OWNER))
        unit = UNITS / rollback_program.BOOT_UNIT
        write(unit, boot_unit(self.folder, program, self.token).encode())
        # As "systemctl enable" would, but without having all units read again: only the next boot needs it.
        link(unit.parent / "multi-user.target.wants" / unit.name, unit)
        armed = {
            "name": self.name,
            "token": self.token,
            "when": rollback_program.now(),
            "seconds": self.seconds,
            "why": rollback_program.WHY["timeout"],
            "files": entries,
            "commands": [dict(one) if isinstance(one, Mapping) else list(one) for one in commands],
            "before": [list(command) for command in before],
            "remove": remove,
        }
        # The timer first: without armed.json it does nothing, and armed.json without it would be a rollback that
        # nobody starts. It counts monotonic time, which no change of the clock moves.
        started = run(
            "systemd-run", "--quiet", f"--unit={TIMER}", f"--on-active={self.seconds}s",
            "--timer-property=AccuracySec=100ms", "--property=Type=oneshot", "--property=Restart=on-failure",
            "--property=RestartSec=5s", "--property=StartLimitIntervalSec=0", "--collect",
            "--description=Undo a change that was not confirmed",
            sys.executable, "-IB", str(program), "timeout", str(self.folder), self.token,
        )  # fmt: skip
        if started.returncode:
            raise HostError(last(started))
        self._deadline = time.monotonic() + self.seconds
        rollback_program.write(self.folder / "armed.json", armed)

    def last_report(self) -> dict[str, Any] | None:
        """Return the report of a rollback that wasn't confirmed away since, whatever is armed now."""
        path = self.folder / "report.json"
        report = rollback_program.read(path)
        if report and report["files"] and isinstance(report["files"][0], dict):
            # There was no space for a report, so this is what had been armed.
            report["files"] = [entry["path"] for entry in report["files"]]
        return report

    def _stop_timer(self) -> None:
        # The service as well: at most it waits for the lock that we hold, and its program is about to go.
        run("systemctl", "stop", f"{TIMER}.timer", f"{TIMER}.service")
        run("systemctl", "reset-failed", f"{TIMER}.timer", f"{TIMER}.service")

    def _tidy(self) -> None:
        """Leave nothing on the host between two changes."""
        if self.status() is None and self.last_report() is None:
            shutil.rmtree(self.folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.folder.parent.rmdir()  # others may keep something there
