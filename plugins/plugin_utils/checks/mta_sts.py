# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MTA-STS (RFC 8461) and TLS-RPT (RFC 8460): records and policies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .tags import TagProblem, tags

LONGEST = 31557600  # seconds: a year
_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_MX = re.compile(r"(\*\.)?([A-Za-z0-9]([A-Za-z0-9\-]*[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9\-]*[A-Za-z0-9])?")
_MODES = ("enforce", "testing", "none")


class PolicyProblem(ValueError):
    """A record or a policy that senders don't take, in a few words."""


@dataclass(frozen=True)
class Policy:
    """A policy that senders take."""

    mode: str
    mx: tuple[str, ...]
    max_age: int

    def covers(self, name: str) -> bool:
        """Whether it allows a server's name; a star stands for one label."""
        name = name.lower().removesuffix(".")
        for pattern in self.mx:
            if pattern == name or (pattern.startswith("*.") and name.partition(".")[2] == pattern[2:]):
                return True
        return False


@dataclass(frozen=True)
class Fetched:
    """What came when the policy was fetched. ``error`` says why nothing came; ``cause`` is its kind (``tls`` …)."""

    status: int = 0
    content_type: str = ""
    text: str = ""
    error: str = ""


def records(texts: Sequence[str], version: str) -> list[str]:
    """Those of some TXT records that are of a version: ``STSv1`` or ``TLSRPTv1``."""
    return [text for text in texts if re.match(rf"v={version}[ \t]*(;|$)", text)]


def read_id(text: str) -> str:
    """The id in an MTA-STS record.

    Raises:
        PolicyProblem: It has none that is right.
    """
    try:
        found = tags(text)
    except TagProblem as problem:
        raise PolicyProblem(f"in the record, {problem}") from None
    if not _ID.fullmatch(found.get("id", "")):
        raise PolicyProblem("the record's id must be 1 to 32 letters and digits")
    return found["id"]


def read_policy(fetched: Fetched) -> Policy:
    """The policy, exactly as a sender would take it.

    Raises:
        PolicyProblem: A sender wouldn't.
    """
    if fetched.error:
        raise PolicyProblem(f"the policy can't be fetched: {fetched.error}")
    if fetched.status != 200:
        raise PolicyProblem(
            f"the policy's server answers {fetched.status}, but must 200, since senders follow no redirect"
        )
    if fetched.content_type.partition(";")[0].strip().lower() != "text/plain":
        raise PolicyProblem(f"the policy comes as {fetched.content_type[:60] or 'nothing'}, not as text/plain")
    found: dict[str, list[str]] = {}
    for line in fetched.text.splitlines():
        name, colon, value = line.partition(":")
        if line.strip() and not colon:
            raise PolicyProblem(f'the policy has a line "{line.strip()[:40]}" without a colon')
        if line.strip():
            found.setdefault(name.strip(), []).append(value.strip())
    first = {name: values[0] for name, values in found.items()}  # of all but mx the first counts
    if first.get("version") != "STSv1":
        raise PolicyProblem("the policy doesn't say version: STSv1")
    if first.get("mode") not in _MODES:
        raise PolicyProblem(f"the policy's mode must be one of {', '.join(_MODES)}")
    if not re.fullmatch("[0-9]{1,10}", first.get("max_age", "")) or int(first["max_age"]) > LONGEST:
        raise PolicyProblem(f"the policy's max_age must be 0 to {LONGEST}")
    mx = tuple(name.lower() for name in found.get("mx", ()))
    if wrong := [name for name in mx if not _MX.fullmatch(name)]:
        raise PolicyProblem(f"the policy's mx \"{wrong[0][:60]}\" isn't the name of a server")
    if not mx and first["mode"] != "none":
        raise PolicyProblem("the policy names no mx")
    return Policy(first["mode"], mx, int(first["max_age"]))


def read_destinations(text: str) -> list[str]:
    """Where TLS reports go.

    Raises:
        PolicyProblem: Nowhere.
    """
    try:
        found = tags(text)
    except TagProblem as problem:
        raise PolicyProblem(str(problem)) from None
    destinations = [part.strip() for part in found.get("rua", "").split(",") if part.strip()]
    for one in destinations:
        if not re.fullmatch(r"mailto:[^@\s]+@[^@\s]+|https://[^\s/]+(/\S*)?", one):
            raise PolicyProblem(f'"{one[:60]}" is neither mailto: nor https:')
    if not destinations:
        raise PolicyProblem("rua names nobody")
    return destinations
