# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rollback: puts saved files in place again and runs the commands that make them count.

On the host a timer runs it as ``postern-rollback timeout FOLDER TOKEN``, and the next boot as ``postern-rollback boot
FOLDER TOKEN``; each armed guard has a copy of its own, with all that it imports (``host/programs.py``). Every step may
be repeated: one that was killed in the middle is healed by running it again.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..host.commands import last
from ..host.commands import run as run_command
from ..host.errors import HostError
from ..host.files import copy, make_folder, replace, sync
from ..host.files import remove as remove_file
from ..host.files import write as write_file
from ..host.locks import lock_path
from ..host.locks import locked as hold
from ..host.units import UNITS

# A command, or one with another (``otherwise``) that is run where it fails.
Command = Sequence[str] | Mapping[str, Sequence[str]]

FOLDER = Path("/var/lib/postern/rollback")
WHY = {
    "timeout": "it was not confirmed in time",
    "boot": "the host was restarted before it was confirmed",
}
BOOT_UNIT = "postern-rollback-boot.service"
LOCK_SECONDS = 150
"""Longer than a rollback takes whose commands take their time."""


def now() -> str:
    """Return the time in UTC, as in ``2026-01-31T12:00:00+00:00``."""
    return dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")


def read(path: Path) -> dict[str, Any] | None:
    """Return what a JSON file holds, or None where there is none (or none that is whole)."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file so that it is either the old or the new one, and on the disk, whatever happens."""
    write_file(path, json.dumps(content, indent=1).encode())


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock that arming, disarming and rolling back share; it doesn't lie in the folder, which goes."""
    path = lock_path("rollback") if folder == FOLDER else folder.with_suffix(".lock")
    busy = (
        f"Another run arms, confirms or undoes a change on this host for more than {LOCK_SECONDS} seconds already; "
        "nothing was changed, wait for it to end and run again."
    )
    with hold(path, busy, LOCK_SECONDS):
        yield


def restore(entry: dict[str, Any]) -> str:
    """Put one file back as it was.

    :param entry: ``path``, and ``saved`` (where its copy is) or None where there was no file.
    :returns: an empty text, or why that couldn't be done.
    """
    path = Path(entry["path"])
    try:
        if entry["saved"] is None:
            remove_file(path)
            return ""
        saved = Path(entry["saved"])
        if not os.path.lexists(saved):
            return ""  # done before
        make_folder(path.parent)
        try:
            # On the same file system this takes no space, so a full disk doesn't stop it.
            replace(saved, path)
        except OSError:
            beside = path.with_name(f".{path.name}.postern-rollback")
            beside.unlink(missing_ok=True)
            copy(saved, beside)
            replace(beside, path)
            saved.unlink()
    except OSError as error:
        return f"{path}: {error.strerror}"
    return ""


def remove(path: Path) -> None:
    """Remove a file, or a folder with nothing in it; one that somebody uses by now stays."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)


def run(commands: Sequence[Command]) -> list[str]:
    """Run commands one after the other, whatever becomes of each, and return what those that failed said."""
    said = []
    for one in commands:
        first, *others = (one["command"], one["otherwise"]) if isinstance(one, Mapping) else (one,)
        reason = _failure(first)
        for other in others:
            reason = reason and _failure(other)
        if reason:
            said.append(reason)
    return said


def _failure(command: Sequence[str]) -> str:
    try:
        done = run_command(*command, seconds=60)
    except (HostError, OSError) as error:
        return f"'{' '.join(command)}': {error}"
    return f"'{' '.join(command)}': {last(done)}" if done.returncode else ""


def forget(folder: Path) -> None:
    """Remove what is only needed while a guard is armed: the unit for the next boot, and the copies."""
    for path in (UNITS / "multi-user.target.wants" / BOOT_UNIT, UNITS / BOOT_UNIT):
        with contextlib.suppress(OSError):
            remove_file(path)
    shutil.rmtree(folder / "saved", ignore_errors=True)


def roll_back(folder: Path, token: str, why: str, *, boot: bool = False) -> dict[str, Any] | None:
    """Go back, if the guard with this token is still armed. The caller holds the lock.

    :returns: the report, with ``errors`` for what couldn't be restored; None where there was nothing to do.
    """
    armed = read(folder / "armed.json")
    if armed is None or armed["token"] != token:
        return None
    errors = [] if boot else run(armed["before"])
    failed = [reason for entry in armed["files"] if (reason := restore(entry))]
    for path in armed["remove"]:
        remove(Path(path))
    # At boot the services start after this, and by themselves; but units may have been read or generated already.
    errors += run([["systemctl", "daemon-reload"]] if boot else armed["commands"])
    report = {
        "name": armed["name"],
        "when": now(),
        "why": why,
        "files": [entry["path"] for entry in armed["files"]],
        "token": token,
        "errors": failed + errors,
    }
    if failed:
        return report  # it stays armed, and is tried again
    try:
        write(folder / "report.json", report)
        (folder / "armed.json").unlink()
    except OSError:
        # No space for a report: what was armed says almost the same.
        replace(folder / "armed.json", folder / "report.json")
    sync(folder)
    forget(folder)
    return report


def main(arguments: list[str] | None = None) -> int:
    """Run as a program; the status is 1 where something couldn't be restored, so that it is tried again."""
    occasion, folder, token = sys.argv[1:] if arguments is None else arguments
    try:
        with locked(Path(folder)):
            report = roll_back(Path(folder), token, WHY[occasion], boot=occasion == "boot")
    except HostError as error:
        print(error, file=sys.stderr)
        return 1
    if report is None:
        return 0
    print(f"{report['name']} was rolled back, since {report['why']}: {', '.join(report['files'])}")
    for reason in report["errors"]:
        print(reason, file=sys.stderr)
    return 1 if read(Path(folder) / "armed.json") else 0
