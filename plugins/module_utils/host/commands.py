# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands on a host: run one, and have what came of it. No shell, no question to anybody, and an end in any case."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Protocol

from .errors import HostError

SECONDS = 120
"""More than systemd gives a service for its start."""

Done = subprocess.CompletedProcess[str]


class Runner(Protocol):
    """What runs a command: ``run`` here, or a test's own."""

    def __call__(self, *arguments: str, data: str | bytes | None = None) -> Done:
        """Run a command and return what came."""


def run_binary(
    *arguments: str,
    data: bytes = b"",
    seconds: float = SECONDS,
    environment: Mapping[str, str] | None = None,
    descriptors: Sequence[int] = (),
) -> subprocess.CompletedProcess[bytes]:
    """Run a command and return the bytes that came; see ``run``.

    :param descriptors: open files that it shares with us.
    """
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    try:
        return subprocess.run(
            arguments,
            capture_output=True,
            check=False,
            input=data,
            timeout=seconds,
            pass_fds=descriptors,
            env={**os.environ, "PATH": path, "LC_ALL": "C.UTF-8", **(environment or {})},
        )
    except FileNotFoundError:
        raise HostError(f"The program {arguments[0]} is not installed on this host.") from None
    except subprocess.TimeoutExpired:
        raise HostError(f"'{arguments[0]}' did not end within {seconds:.0f} seconds.") from None


def run(
    *arguments: str,
    data: str | bytes | None = None,
    seconds: float = SECONDS,
    environment: Mapping[str, str] | None = None,
) -> Done:
    """Run a command and return what came; never raise because of its exit status.

    :param data: its standard input.
    :param seconds: time after which it is ended.
    :param environment: what it finds there besides our own.
    :raises HostError: there is no such program, or it didn't end in time.
    """
    given = data.encode() if isinstance(data, str) else data or b""
    done = run_binary(*arguments, data=given, seconds=seconds, environment=environment)
    said = [stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr)]
    return subprocess.CompletedProcess(done.args, done.returncode, *said)


def last(done: Done) -> str:
    """Return the last line of what a command said, as a part of a sentence."""
    lines = (done.stderr.strip() or done.stdout.strip() or "no reason was given").splitlines()
    return lines[-1].strip().rstrip(".")
