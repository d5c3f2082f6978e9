# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mailboxes on disk: one Maildir for each primary address, so that IMAP and POP show what SMTP accepted."""

from __future__ import annotations

import itertools
import os
import socket
import time
from pathlib import Path

# The owner of the mailboxes. Dovecot takes a bare number; no account is needed.
OWNER = 5000

_count = itertools.count()


def folder(root: Path, address: str) -> Path:
    return root / address.lower() / "Maildir"


def prepare(root: Path, address: str) -> None:
    """Make the mailbox of the address, empty, where there is none yet."""
    inbox = folder(root, address)
    for path in (inbox.parent, inbox, *(inbox / name for name in ("cur", "new", "tmp"))):
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            _give(path)


def deliver(root: Path, address: str, message: bytes) -> Path:
    """Put the message into the inbox of the address, as Maildir asks: written beside, then renamed."""
    prepare(root, address)
    inbox = folder(root, address)
    name = f"{time.time():.6f}.P{os.getpid()}Q{next(_count)}.{socket.gethostname()}"
    written = inbox / "tmp" / name
    written.write_bytes(message)
    _give(written)
    return written.rename(inbox / "new" / name)


def _give(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, OWNER, OWNER)
