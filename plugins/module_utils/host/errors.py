# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one kind of error that code on a gateway raises for a person."""

from __future__ import annotations

import os

from ..values.sentences import NOT_SHOWN, hides, short


class HostError(Exception):
    """One sentence: what is wrong, where, and what to do. It holds no secret."""


def os_sentence(error: OSError) -> str:
    """Return what the operating system refused as one sentence."""
    name = error.filename or "The host"
    where = os.fsdecode(name) if isinstance(name, bytes) else str(name)
    where = f"A file whose name is {NOT_SHOWN}" if hides(where) else short(where)
    return f"{where}: {short(error.strerror or str(error))}; see to it on the host and run again."
