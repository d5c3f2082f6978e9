# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges what block lists say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .. import block_lists as lists
from ..dns import Ask
from ..outcomes import Row
from ..table import CHECKS


def block_list(ask: Ask, zone: str, place: str, service: Sequence[str], outgoing: Sequence[str]) -> Iterator[Row]:
    """Judge a list: whether it can be used, and what it says of each address. ``outgoing`` ones send mail."""
    one = lists.named(zone)
    listed, usable = CHECKS["bl.listed"], CHECKS["bl.usable"]
    addresses = list(dict.fromkeys([*outgoing, *service]))
    why_not = lists.usable(one, ask)
    if why_not:
        yield usable.warned(one.title, place, why_not, reason=why_not)
    else:
        yield usable.passed(one.title, place, "127.0.0.2 is listed, 127.0.0.1 isn't")
    for address in addresses:
        subject = f"{address} at {one.title}"
        if why_not:
            yield listed.not_tested(subject, place, f"{one.title} can't be used from here ({why_not})", level=one.level)
            continue
        if ":" in address and not one.ipv6:
            yield listed.not_tested(subject, place, f"{one.title} has no IPv6 addresses", level=one.level)
            continue
        found = lists.read(one, ask(lists.question(one.zone, address), "A"), sends=address in outgoing)
        if found.unknown:
            yield listed.unknown(subject, place, found.unknown, level=one.level)
        elif found.listings:
            reason = ", ".join(found.listings)
            told = ask(lists.question(one.zone, address), "TXT").records
            yield listed.failed(
                subject,
                place,
                reason,
                level=one.level,
                about=address,
                reason=reason,
                title=one.title,
                url=one.removal,
                evidence=told,
            )
        else:
            yield listed.passed(subject, place, "not listed", level=one.level)
