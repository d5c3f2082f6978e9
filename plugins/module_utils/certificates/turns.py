# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose turn it is: which gateway has a certificate issued or renewed, when, and why.

Nothing counts days: lifetimes get shorter (CA/Browser Forum ballot SC-081v3 ends at 47 days), and a test authority's
are minutes.
"""

from __future__ import annotations

import time

from .settings import Settings, State, Wanted, moment
from .x509 import Bundle

# Fractions of a certificate's lifetime that are left.
DUE = 1 / 3
TAKEOVER_STEP = 1 / 15  # for each gateway that should have renewed before this one
LAST_TAKEOVER = 0.15
WARNING = 0.2
CRITICAL = 0.1
BOOTSTRAP_PATIENCE = 6 * 3600  # seconds that a self-signed certificate may be there before the next gateway issues


def reason_to_issue(
    settings: Settings, wanted: Wanted, current: Bundle | None, state: State, at: float | None = None
) -> str:
    """Return why this gateway should have a certificate issued now, other than by age; "" where it shouldn't."""
    if settings.rank:
        return ""
    if current is None:
        return "there is none"
    leaf = current.leaf
    if leaf.self_signed:
        return "there is only a self-signed one"
    if set(leaf.names) != {name.lower() for name in wanted.names}:
        return f"it is for {', '.join(sorted(leaf.names))}"
    if state.authority and state.authority != settings.authority:
        return f"it is from {state.authority}"
    if leaf.key_type != settings.key_type:
        return f"its key is {leaf.key_type}"
    if leaf.key_type == "rsa" and leaf.key_bits != settings.key_size:
        return f"its key has {leaf.key_bits} bits"
    if leaf.left(at) < WARNING:
        return f"it ends at {moment(leaf.not_after)}"
    return ""


def reason_to_take_over(settings: Settings, current: Bundle | None, at: float | None = None) -> str:
    """Return why this gateway should renew in the place of one that should have; "" where it shouldn't yet.

    The gateway of rank 0 renews when a third of the lifetime is left. Each further one waits for a fifteenth of the
    lifetime more, so that one that is there comes first, and all are early enough.
    """
    at = time.time() if at is None else at
    if current is None:
        return "" if settings.rank else "there is none"
    leaf, rank = current.leaf, settings.rank
    if leaf.self_signed:
        waited = at - leaf.not_before
        return "there is still only a self-signed one" if waited > rank * BOOTSTRAP_PATIENCE else ""
    threshold = DUE if rank == 0 else max(DUE - rank * TAKEOVER_STEP, LAST_TAKEOVER)
    if leaf.left(at) < threshold:
        return f"{leaf.left(at):.0%} of its lifetime is left"
    return ""
