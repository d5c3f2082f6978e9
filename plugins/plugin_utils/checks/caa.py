# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CAA (RFC 8659, 8657): whether the records of a name let an authority issue."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .dns import Ask

_KNOWN = ("issue", "issuewild", "iodef", "contactemail", "contactphone", "issuemail", "issuevmc")


@dataclass(frozen=True)
class Verdict:
    """Whether the authority may; where the records are, and why not."""

    allowed: bool = True
    at: str = ""
    reason: str = ""
    unknown: str = ""  # why nobody knows


def may_issue(ask: Ask, name: str, authority: str, method: str = "http-01") -> Verdict:
    """Whether an authority may issue a certificate for a name, validated by a method of ACME.

    The records of the nearest name that has some hold; the walk goes up to the top.
    """
    wild = name.startswith("*.")
    labels = name.removeprefix("*.").removesuffix(".").lower().split(".")
    for start in range(len(labels)):
        at = ".".join(labels[start:])
        answer = ask(at, "CAA")
        if not answer.known:
            return Verdict(at=at, unknown=answer.reason)
        if answer.records:
            return _judge(answer.records, at, authority.lower(), method, wild=wild)
    return Verdict()


def _judge(records: tuple[str, ...], at: str, authority: str, method: str, *, wild: bool) -> Verdict:
    found: dict[str, list[str]] = {}
    for record in records:
        flags, tag, value = [*record.split(" ", 2), ""][:3]
        if int(flags) & 128 and tag.lower() not in _KNOWN:
            return Verdict(allowed=False, at=at, reason=f"it has the critical tag {tag}, which no authority may ignore")
        found.setdefault(tag.lower(), []).append(value)
    values = (wild and found.get("issuewild")) or found.get("issue")
    if not values:
        return Verdict(at=at)
    for value in values:
        domain, *parameters = (part.strip() for part in value.split(";"))
        if domain.lower() != authority:
            continue
        methods = [text.partition("=")[2] for text in parameters if re.match(r"validationmethods\s*=", text)]
        if not methods or method in [one.strip() for one in methods[0].split(",")]:
            return Verdict(at=at)
        return Verdict(allowed=False, at=at, reason=f"it lets {authority} validate by {methods[0]} alone")
    names = ", ".join(sorted({value.partition(";")[0].strip() or "nobody" for value in values}))
    return Verdict(allowed=False, at=at, reason=f"it lets {names} issue")
