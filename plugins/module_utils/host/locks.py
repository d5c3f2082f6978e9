# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks on a host. They go with the process that holds them, lie in a folder that stays, and nobody waits for ever."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .errors import HostError

RUN = Path("/run")


def lock_path(name: str, folder: Path = RUN) -> Path:
    """Return where one of our locks lies."""
    return folder / f"postern-{name}.lock"


@contextlib.contextmanager
def locked(
    path: Path, busy: str, seconds: float = 60, take: Callable[[int, int], None] = fcntl.flock
) -> Iterator[None]:
    """Hold a lock, and do nothing more once it is let go.

    :param busy: the sentence for somebody who has waited in vain.
    :param seconds: how long is waited.
    :param take: flock(2), or ``fcntl.lockf`` where a program of others locks in that way.
    :raises HostError: somebody else holds it for longer than that.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if take is fcntl.flock:
            # Whoever may read a file can lock it in this way.
            os.fchmod(descriptor, 0o600)
        deadline = time.monotonic() + seconds
        while True:
            try:
                take(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= deadline:
                    raise HostError(busy) from None
                time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)
