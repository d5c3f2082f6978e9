# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scripts that run on an Exchange server: files beside this one, sent as they are."""

from __future__ import annotations

import functools
from pathlib import Path

BOOTSTRAP = "bootstrap.ps1"
"""What goes on the command line; it reads the others from standard input."""
SCRIPTS = ("windows.ps1", "engine.ps1")


@functools.cache
def read(name: str) -> str:
    """The text of a script."""
    return (Path(__file__).parent / name).read_text(encoding="ascii")
