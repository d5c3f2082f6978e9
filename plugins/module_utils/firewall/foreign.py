# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines that somebody wrote into user.rules by hand: ufw doesn't know them, and would lose them with each change."""

from __future__ import annotations

from collections.abc import Sequence

BEGIN, END = "### RULES ###", "### END RULES ###"


def foreign_lines(current: str, own: str) -> list[tuple[str, str]]:
    """Return the lines of others, each with the line of ufw's that it stands behind.

    Those are looked for among the rules, and behind the end of the table, where another one may begin.

    :param current: the file.
    :param own: what ufw itself makes of the rules that it reads in it.
    """
    known, found, anchor = set(own.splitlines()), [], ""
    in_rules = over = False
    for line in filter(str.strip, current.splitlines()):
        in_rules = line != END and (in_rules or line == BEGIN)
        if line in known and not over:
            anchor = line
        elif in_rules or over:
            found.append((line, anchor))
        over = over or line == "COMMIT"
    return found


def with_foreign_lines(text: str, foreign: Sequence[tuple[str, str]]) -> str:
    """Return ufw's new text with the lines of others behind the same lines as before, or as the last rules."""
    lines = text.splitlines()
    last: dict[str, int] = {}
    for line, anchor in foreign:
        if anchor in last:
            place = last[anchor] + 1
        elif anchor in lines:
            place = len(lines) - lines[::-1].index(anchor)
        else:
            place = lines.index(END) if END in lines else len(lines)
        lines.insert(place, line)
        last = {name: position + (position >= place) for name, position in last.items()} | {anchor: place}
    return "\n".join([*lines, ""])
