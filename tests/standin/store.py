# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state file, changed by one editor at a time, and in force when a change returns."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import state


class StoreError(Exception):
    """What went wrong, in one sentence."""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """One editor at a time."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "state.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read(directory: Path) -> state.Document:
    """The document as it is in the file."""
    path = directory / "state.json"
    try:
        document: state.Document = json.loads(path.read_text())
    except FileNotFoundError:
        raise StoreError(f"{path} isn't there; make it with `python3 -m standin fresh`.") from None
    except (OSError, ValueError) as problem:
        raise StoreError(f"{path} can't be read: {problem}.") from None
    return document


def _write(directory: Path, text: str) -> None:
    """Replace the file in one step; it holds passwords, so it is root's alone."""
    beside = directory / "state.json.new"
    beside.touch(mode=0o600)
    beside.write_text(text)
    os.replace(beside, directory / "state.json")


def _bring_into_force(directory: Path) -> str:
    """Ask the running server to take the file, and wait until it has: '' or its complaint.

    Without a server the file is all there is to change.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
        control.settimeout(60)
        try:
            control.connect(str(directory / "control.sock"))
        except (FileNotFoundError, ConnectionRefusedError):
            return ""
        try:
            control.sendall(b"apply\n")
            answer = control.makefile().readline()
        except OSError as problem:
            raise StoreError(f"The server doesn't say whether the state is in force: {problem}.") from None
    return str(json.loads(answer)["error"]) if answer else "The server ended meanwhile."


def replace(directory: Path, document: state.Document) -> None:
    """Check the document, write it, and wait until it is in force; if it can't be, nothing was changed."""
    state.load(document)
    path = directory / "state.json"
    former = path.read_text() if path.exists() else None
    _write(directory, json.dumps(document, indent=1) + "\n")
    complaint = _bring_into_force(directory)
    if complaint:
        if former is not None:
            _write(directory, former)
            _bring_into_force(directory)
        raise StoreError(f"{complaint} Nothing was changed.")
