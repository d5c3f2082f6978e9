# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back: puts saved files in place again and runs the commands that make them count.

This file is both a part of the rollback guard and the program that is copied onto the host, so it needs nothing but
Python's own library. On the host a timer runs it as ``program.py timeout FOLDER TOKEN``, and the next boot as
``program.py boot FOLDER TOKEN``. Every step may be repeated: one that was killed in the middle is healed by running it
again.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WHY = {
    "timeout": "it was not confirmed in time",
    "boot": "the host was restarted before it was confirmed",
}
BOOT_UNIT = "postern-rollback-boot.service"
UNITS = Path("/etc/systemd/system")


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
    fresh = path.with_name(path.name + ".new")
    with fresh.open("w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(fresh, path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Put a folder's entries onto the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock that arming, disarming and rolling back share. Waits, since none of them takes long."""
    with Path(folder, "lock").open("w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def restore(entry: dict[str, Any]) -> str:
    """Put one file back as it was.

    :param entry: ``path``, and ``saved`` (where its copy is) or None where there was no file.
    :returns: an empty text, or why that couldn't be done.
    """
    path = Path(entry["path"])
    try:
        if entry["saved"] is None:
            path.unlink(missing_ok=True)
            return ""
        saved = Path(entry["saved"])
        if not os.path.lexists(saved):
            return ""  # done before
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # On the same file system this takes no space, so a full disk doesn't stop it.
            os.replace(saved, path)
        except OSError:
            beside = path.with_name(f".{path.name}.postern-rollback")
            beside.unlink(missing_ok=True)
            copy(saved, beside)
            os.replace(beside, path)
            saved.unlink()
        sync(path.parent)
    except OSError as error:
        return f"{path}: {error.strerror}"
    return ""


def copy(source: Path, target: Path) -> None:
    """Copy a file or symbolic link with owner and mode, onto the disk; never readable for others meanwhile."""
    if source.is_symlink():
        target.symlink_to(source.readlink())
        return
    status = source.stat()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream, source.open("rb") as content:
        shutil.copyfileobj(content, stream)
        os.fchown(stream.fileno(), status.st_uid, status.st_gid)
        os.fchmod(stream.fileno(), status.st_mode & 0o7777)
        stream.flush()
        os.fsync(stream.fileno())


def remove(path: Path) -> None:
    """Remove a file, or a folder with nothing in it; one that somebody uses by now stays."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)


def run(commands: list[list[str]]) -> list[str]:
    """Run commands one after the other, whatever becomes of each, and return what those that failed said."""
    said = []
    for command in commands:
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, errors="replace", timeout=60,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            said.append(f"'{' '.join(command)}': {error}")
            continue
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").splitlines()[-1]
            said.append(f"'{' '.join(command)}': {last}")
    return said


def forget(folder: Path) -> None:
    """Remove what is only needed while a guard is armed: the unit for the next boot, and the copies."""
    for path in (UNITS / "multi-user.target.wants" / BOOT_UNIT, UNITS / BOOT_UNIT):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
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
        os.replace(folder / "armed.json", folder / "report.json")
    sync(folder)
    forget(folder)
    return report


def main(arguments: list[str]) -> int:
    """Run as a program; the status is 1 where something couldn't be restored, so that it is tried again."""
    occasion, folder, token = arguments
    with locked(Path(folder)):
        report = roll_back(Path(folder), token, WHY[occasion], boot=occasion == "boot")
    if report is None:
        return 0
    print(f"{report['name']} was rolled back, since {report['why']}: {', '.join(report['files'])}")
    for error in report["errors"]:
        print(error, file=sys.stderr)
    return 1 if read(Path(folder) / "armed.json") else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
