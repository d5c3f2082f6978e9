# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stand-in saw and accepted: one JSON object a line.

Each event has `n` (counts up for good), `time` (UTC, ISO 8601), `kind`, and the fields of its kind.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# A journal that has grown to this many octets begins anew: a long load test must not fill the disk.
MOST = 128 * 1024 * 1024


class Journal:
    """The journal as the server writes it. Each event is in the file when `write` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._number = max((event["n"] for event in read(path)), default=0)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)

    def write(self, kind: str, **fields: Any) -> None:
        self._number += 1
        if self._number % 10000 == 0 and os.fstat(self._file).st_size > MOST:
            os.ftruncate(self._file, 0)
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"n": self._number, "time": now, "kind": kind, **fields}, separators=(",", ":"), default=str)
        os.write(self._file, line.encode() + b"\n")

    def close(self) -> None:
        os.close(self._file)


def read(path: Path, kind: str = "", since: int = 0) -> Iterator[dict[str, Any]]:
    """The events of a journal, oldest first: of one kind, and after number `since`. No file, no events."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for line in lines[:-1]:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # a line that a full disk cut short
        if event.get("n", 0) > since and (not kind or event.get("kind") == kind):
            yield event


def forget(path: Path) -> None:
    """Empty the journal. Numbers go on counting while the server runs."""
    if path.exists():
        os.truncate(path, 0)
