# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands on a host: run one, and have what came of it."""

from __future__ import annotations

import os
import subprocess
from typing import Any


def run(*arguments: str, data: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command and return what came; never raise because of its exit status.

    :param data: its standard input.
    """
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    options: dict[str, Any] = {"stdin": subprocess.DEVNULL} if data is None else {"input": data}
    return subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env={**os.environ, "PATH": path, "LC_ALL": "C.UTF-8"},
        **options,
    )


def last(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line of what a command said, as a part of a sentence."""
    lines = (done.stderr.strip() or done.stdout.strip() or "no reason was given").splitlines()
    return lines[-1].strip().rstrip(".")
