# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as JUnit's XML, the way Jenkins and GitLab read it.

``skipped`` is counted on each ``testsuite`` and not on ``testsuites``, where Jenkins refuses it. A warning passes, and
says so in ``system-out``.
"""

from __future__ import annotations

import re
from itertools import groupby
from xml.etree import ElementTree as ET

from ..outcomes import Outcome, Row
from .report import Report

#: What XML 1.0 can't hold at all, escaped or not.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_junit(report: Report) -> str:
    """The report for a pipeline."""
    suites = ET.Element("testsuites")
    for group, found in groupby(report.rows, key=lambda row: row.id.partition(".")[0]):
        rows = list(found)
        suite = ET.SubElement(suites, "testsuite", name=group, timestamp=report.began.removesuffix("Z"))
        for row in rows:
            _case(suite, row)
        _count(suite, rows)
    _count(suites, report.rows, skipped=False)
    suites.set("time", str(report.seconds))
    ET.indent(suites, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _plain(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)


def _count(element: ET.Element, rows: list[Row] | tuple[Row, ...], *, skipped: bool = True) -> None:
    kinds = {"failures": Outcome.FAIL, "errors": Outcome.UNKNOWN}
    if skipped:
        kinds["skipped"] = Outcome.NOT_TESTED
    element.set("tests", str(len(rows)))
    for name, outcome in kinds.items():
        element.set(name, str(sum(row.outcome is outcome for row in rows)))


def _case(suite: ET.Element, row: Row) -> None:
    name = _plain(f"{row.id} {row.subject} {row.place}")
    case = ET.SubElement(suite, "testcase", classname=f"verify.{row.id.partition('.')[0]}", name=name, time="0")
    text = _plain("\n".join([f"asked: {row.asked}", f"came: {row.came}", f"right: {row.wanted}", *row.evidence]))
    if row.outcome is Outcome.FAIL:
        ET.SubElement(case, "failure", message=_plain(row.remedy), type=str(row.level)).text = text
    elif row.outcome is Outcome.UNKNOWN:
        ET.SubElement(case, "error", message=_plain(row.came), type="unknown").text = text
    elif row.outcome is Outcome.NOT_TESTED:
        ET.SubElement(case, "skipped", message=_plain(row.came))
    elif row.outcome is Outcome.WARN:
        ET.SubElement(case, "system-out").text = f"warning: {_plain(row.remedy)}\n{text}"
