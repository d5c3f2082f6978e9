# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as text, for a terminal and a job's output: what deserves a look, and the counts."""

from __future__ import annotations

from textwrap import fill

from ..outcomes import Outcome
from .report import Report

WORDS = {
    Outcome.PASS: "passed",
    Outcome.WARN: "warned",
    Outcome.FAIL: "failed",
    Outcome.UNKNOWN: "unknown",
    Outcome.NOT_TESTED: "not tested",
}


def as_text(report: Report, width: int = 100) -> str:
    """The report for somebody who has just started the run."""
    lines = []
    for row in report.troubled:
        word = {Outcome.FAIL: "FAIL", Outcome.WARN: "warn", Outcome.UNKNOWN: "????"}[row.outcome]
        lines.append(f"{word}  {row.level:<6}  {row.id}  {row.subject}  (from {row.place})")
        lines.append(fill(f"came: {row.came}", width, initial_indent="      ", subsequent_indent="            "))
        if row.remedy:
            lines.append(fill(row.remedy, width, initial_indent="      ", subsequent_indent="      "))
    if lines:
        lines.append("")
    for title, rows in (("New since the last report", report.worsened), ("Mended since then", report.mended)):
        if rows:
            lines.append(f"{title}: {', '.join(f'{row.id} {row.subject}' for row in rows)}")
    counted = [f"{number} {WORDS[Outcome(outcome)]}" for outcome, number in report.counts.items() if number]
    lines.append(f"{len(report.rows)} answers: {', '.join(counted) or 'none'}.")
    lines.append(report.verdict())
    return "\n".join(lines) + "\n"
