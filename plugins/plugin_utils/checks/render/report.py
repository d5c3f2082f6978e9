# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report: the rows of a run beside those of the last one. Every other form is made from it.

What comes from outside (TXT records, banners, names in certificates) is hostile text. It loses what is invisible or
turns lines around here, once, and is cut to a length.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..outcomes import Level, Outcome, Row, bad, counts
from ..table import CHECKS

SCHEMA = "postern.mail_gateway/verify/1"
_LONGEST = 600
_EVIDENCE = 20
#: Control and format characters (those that turn the direction around included), halves of pairs, ends of lines.
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")

Key = tuple[str, str, str]


def clean(text: str) -> str:
    """A text that shows what it is: each invisible character is one that is seen, and it isn't too long."""
    shown = "".join("\ufffd" if unicodedata.category(one) in _INVISIBLE else one for one in text[: _LONGEST + 1])
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"


@dataclass(frozen=True)
class Last:
    """What the last report says of a row."""

    outcome: str
    since: str


class PreviousProblem(ValueError):
    """The last report can't be read. One sentence."""


def last_report(text: str, path: str) -> dict[Key, Last]:
    """The rows of the last report.

    Raises:
        PreviousProblem: It isn't one.
    """
    wrong = PreviousProblem(f"{path} isn't a report of verify: move it away, and the next report begins anew.")
    try:
        report = json.loads(text)
    except ValueError:
        raise wrong from None
    if not isinstance(report, dict) or report.get("schema") != SCHEMA:
        raise wrong
    try:
        return {
            (str(one["id"]), str(one["subject"]), str(one["place"])): Last(str(one["status"]), str(one["since"]))
            for one in report["checks"]
        }
    except (KeyError, TypeError):
        raise wrong from None


@dataclass(frozen=True)
class Report:
    """Rows in order, when each came to be so, and what changed. ``began`` is a time in UTC, as ISO 8601 has it."""

    site: str
    began: str
    seconds: float
    places: Mapping[str, str]
    rows: tuple[Row, ...]
    since: Mapping[Key, str]
    worsened: tuple[Row, ...]
    mended: tuple[Row, ...]
    first: bool
    fail_on: str

    @property
    def failing(self) -> list[Row]:
        """Those rows for which the run fails."""
        return bad(self.rows, self.fail_on)

    @property
    def troubled(self) -> list[Row]:
        """Those rows that somebody should read: worst first, then in order."""
        order = {Outcome.FAIL: 0, Outcome.UNKNOWN: 1, Outcome.WARN: 2}
        levels = list(Level)
        found = [row for row in self.rows if row.outcome in order]
        return sorted(found, key=lambda row: (order[row.outcome], levels.index(row.level), row))

    @property
    def counts(self) -> dict[str, int]:
        """How many rows there are of each outcome."""
        return {str(outcome): number for outcome, number in counts(self.rows).items()}

    def verdict(self) -> str:
        """One sentence for somebody who reads no other."""
        failing, number = self.failing, len(self.rows)
        failed = sum(row.outcome is Outcome.FAIL for row in failing)
        unknown = len(failing) - failed
        if not number:
            return f"Nothing was checked for {self.site}."
        if not failing:
            warned = sum(row.outcome is not Outcome.PASS for row in self.rows)
            rest = f"; {warned} of {number} answers deserve a look" if warned else ""
            return f"{self.site} is as it must be{rest}."
        parts = [f"{failed} of {number} answers are wrong"] if failed else []
        parts += [f"{unknown} can't be told"] if unknown else []
        return f"{self.site} isn't as it must be: {' and '.join(parts)}."


def build(
    rows: Iterable[Row],
    *,
    site: str,
    began: str,
    seconds: float,
    places: Mapping[str, str],
    fail_on: str = "must",
    last: Mapping[Key, Last] | None = None,
) -> Report:
    """A report from the rows of a run and those of the last one, which is None for the first.

    Raises:
        ValueError: Two rows are about the same thing.
    """
    kept: dict[Key, Row] = {}
    for row in rows:
        cleaned = replace(
            row,
            subject=clean(row.subject),
            came=clean(row.came),
            remedy=clean(row.remedy),
            evidence=tuple(clean(one) for one in row.evidence[:_EVIDENCE]),
        )
        if cleaned.key in kept:
            raise ValueError(f"There are two rows for {' '.join(cleaned.key)}.")
        kept[cleaned.key] = cleaned
    before = last or {}
    good = (str(Outcome.PASS), str(Outcome.NOT_TESTED))
    since, worsened, mended = {}, [], []
    for key, row in sorted(kept.items()):
        earlier = before.get(key)
        same = earlier is not None and earlier.outcome == row.outcome
        since[key] = earlier.since if earlier and same else began
        if last is None or same:
            continue
        if row.outcome not in good and (earlier is None or earlier.outcome in good or row.outcome is Outcome.FAIL):
            worsened.append(row)
        elif row.outcome is Outcome.PASS and earlier is not None and earlier.outcome not in good:
            mended.append(row)
    in_order = tuple(kept[key] for key in sorted(kept))
    return Report(
        site, began, seconds, dict(places), in_order, since, tuple(worsened), tuple(mended), last is None, fail_on
    )


def as_json(report: Report) -> str:
    """The report for machines; two of them compare well. ``docs/verify.schema.json`` describes it."""
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "site": report.site,
        "began": report.began,
        "seconds": report.seconds,
        "places": dict(sorted(report.places.items())),
        "summary": {
            "verdict": report.verdict(),
            "fail_on": report.fail_on,
            "failing": len(report.failing),
            "counts": report.counts,
            "new": [list(row.key) for row in report.worsened],
            "mended": [list(row.key) for row in report.mended],
        },
        "checks": [
            {
                "id": row.id,
                "subject": row.subject,
                "place": row.place,
                "level": str(row.level),
                "status": str(row.outcome),
                "asked": row.asked,
                "came": row.came,
                "wanted": row.wanted,
                "remedy": row.remedy,
                "evidence": list(row.evidence),
                "since": report.since[row.key],
            }
            for row in report.rows
        ],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def in_short(report: Report) -> dict[str, Any]:
    """What is small enough to be kept with a job: the verdict, the counts, and what failed."""
    return {
        "verdict": report.verdict(),
        "counts": report.counts,
        "failing": sorted({row.id for row in report.failing}),
    }


def titles() -> dict[str, str]:
    """Check → what is asked, for headings."""
    return {check.id: check.asked for check in CHECKS.values()}
