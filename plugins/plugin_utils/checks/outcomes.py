# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What came of a check: five outcomes, three levels, and a row that says it all.

What couldn't be asked is never a pass: it is ``UNKNOWN`` where it was asked and no usable answer came, and
``NOT_TESTED`` where nobody asked, with the reason.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


class Outcome(enum.StrEnum):
    """What came of a check."""

    PASS = "pass"  # noqa: S105
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"
    NOT_TESTED = "not_tested"


class Level(enum.StrEnum):
    """How much depends on a check: mail, users or a promise; good practice; nothing yet."""

    MUST = "must"
    SHOULD = "should"
    NOTE = "note"


#: What an outcome below its level's worst becomes. A note can't fail.
_WORST = {Level.NOTE: {Outcome.FAIL: Outcome.WARN}}


@dataclass(frozen=True, order=True)
class Row:
    """One line of the report. Rows are in order by what they are about, so that two runs compare well."""

    id: str
    subject: str
    place: str
    level: Level = field(compare=False)
    outcome: Outcome = field(compare=False)
    asked: str = field(compare=False)
    came: str = field(compare=False)
    wanted: str = field(compare=False)
    remedy: str = field(compare=False, default="")
    evidence: tuple[str, ...] = field(compare=False, default=())

    @property
    def key(self) -> tuple[str, str, str]:
        """What the row is about, by which it is found in the last report."""
        return (self.id, self.subject, self.place)


@dataclass(frozen=True)
class Check:
    """A kind of row: what is asked, what is right, how much depends on it, and what to do.

    ``remedies`` are by cause, with the fields of ``str.format``; most checks have one cause, whose name is empty.
    ``source`` is where it is written that the right answer is right.
    """

    id: str
    asked: str
    wanted: str
    level: Level
    remedies: Mapping[str, str]
    source: str
    judged: str = ""

    @property
    def group(self) -> str:
        """The first word of the id."""
        return self.id.partition(".")[0]

    def row(
        self,
        outcome: Outcome,
        subject: str,
        place: str,
        came: str,
        *,
        cause: str = "",
        level: Level | None = None,
        evidence: Iterable[str] = (),
        about: str = "",
        **fields: object,
    ) -> Row:
        """What came. What isn't a pass names its cause, and gives the fields of the remedy.

        ``about`` is what the remedy speaks of, where that isn't the whole subject.
        """
        level = level or self.level
        remedy = ""
        if outcome in (Outcome.FAIL, Outcome.WARN):
            remedy = self.remedies[cause].format(subject=about or subject, place=place, **fields)
        outcome = _WORST.get(level, {}).get(outcome, outcome)
        return Row(self.id, subject, place, level, outcome, self.asked, came, self.wanted, remedy, tuple(evidence))

    def passed(self, subject: str, place: str, came: str, **more: object) -> Row:
        """The answer is right."""
        return self.row(Outcome.PASS, subject, place, came, **more)  # type: ignore[arg-type]

    def failed(self, subject: str, place: str, came: str, **more: object) -> Row:
        """The answer is wrong."""
        return self.row(Outcome.FAIL, subject, place, came, **more)  # type: ignore[arg-type]

    def warned(self, subject: str, place: str, came: str, **more: object) -> Row:
        """The answer works, and isn't good."""
        return self.row(Outcome.WARN, subject, place, came, **more)  # type: ignore[arg-type]

    def unknown(self, subject: str, place: str, reason: str, **more: object) -> Row:
        """It was asked, and no usable answer came."""
        return self.row(Outcome.UNKNOWN, subject, place, reason, **more)  # type: ignore[arg-type]

    def not_tested(self, subject: str, place: str, reason: str, **more: object) -> Row:
        """Nobody asked."""
        return self.row(Outcome.NOT_TESTED, subject, place, reason, **more)  # type: ignore[arg-type]


def counts(rows: Iterable[Row]) -> dict[Outcome, int]:
    """How many rows there are of each outcome."""
    found = dict.fromkeys(Outcome, 0)
    for row in rows:
        found[row.outcome] += 1
    return found


def bad(rows: Iterable[Row], fail_on: str) -> list[Row]:
    """The rows for which a run fails: those that failed, and those that are unknown, down to a level (or ``never``).

    An open relay that nobody could test is no proof of none.
    """
    levels = {"must": [Level.MUST], "should": [Level.MUST, Level.SHOULD], "never": []}[fail_on]
    return [row for row in rows if row.level in levels and row.outcome in (Outcome.FAIL, Outcome.UNKNOWN)]
