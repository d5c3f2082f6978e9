# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as one HTML file: no script, nothing from the network, no meaning by colour alone."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, select_autoescape

from ..outcomes import Outcome, Row
from .report import Report
from .text import WORDS

SIGNS = {Outcome.PASS: "✓", Outcome.WARN: "!", Outcome.FAIL: "✗", Outcome.UNKNOWN: "?", Outcome.NOT_TESTED: "–"}
_WORST = [Outcome.FAIL, Outcome.UNKNOWN, Outcome.WARN, Outcome.NOT_TESTED, Outcome.PASS]
_TEMPLATE = Path(__file__).with_name("report.html.j2")


def _by_check(rows: list[Row]) -> list[dict[str, Any]]:
    """The rows of each check together, checks in the order in which they first come."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.id, []).append(row)
    return [
        {"id": name, "asked": same[0].asked, "wanted": same[0].wanted, "rows": same} for name, same in found.items()
    ]


def _matrix(report: Report, domains: list[str]) -> dict[str, Any]:
    """Domain × check: the worst outcome of the rows whose subject begins with the domain."""
    cells: dict[tuple[str, str], Outcome] = {}
    for row in report.rows:
        domain = row.subject.partition(" ")[0].rstrip(",")
        if domain in domains:
            here = (domain, row.id)
            cells[here] = min(row.outcome, cells.get(here, row.outcome), key=_WORST.index)
    checks = sorted({check for _unused, check in cells})
    return {
        "checks": checks,
        "domains": [name for name in domains if any((name, one) in cells for one in checks)],
        "cells": cells,
    }


def as_html(report: Report, domains: list[str]) -> str:
    """The report for people. ``domains`` are the lines of the table of domains."""
    environment = Environment(
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    quiet = [row for row in report.rows if row.outcome in (Outcome.PASS, Outcome.NOT_TESTED)]
    return template.render(
        report=report,
        troubled=[
            {"outcome": outcome, "checks": _by_check(list(rows))}
            for outcome, rows in groupby(report.troubled, key=lambda row: row.outcome)
        ],
        quiet=_by_check(quiet),
        matrix=_matrix(report, domains),
        words=WORDS,
        signs=SIGNS,
        outcomes=list(Outcome),
    )
