# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one kind of error that code on a gateway raises for a person."""

from __future__ import annotations


class HostError(Exception):
    """One sentence: what is wrong, where, and what to do. It holds no secret."""


def os_sentence(error: OSError) -> str:
    """Return what the operating system refused as one sentence."""
    return f"{error.filename or 'The host'}: {error.strerror or error}; see to it on the host and run again."
