# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""sshd's configuration cut where ``Match`` blocks begin and end. What the lines mean is for sshd to say."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

# As sshd tells keyword and arguments apart: by spaces or one "=", quotes around either.
_CUT = re.compile(r'\s*"?(match|include)"?(?:\s*=\s*|\s+)(.*?)\s*$', re.IGNORECASE)
_DEPTH = 16  # SERVCONF_MAX_DEPTH in OpenSSH's servconf.c


@dataclass
class Section:
    """Lines that count together: what stands outside of blocks in one stretch of a file, or one block's body.

    Attributes:
        match: The criteria of the block; empty outside of blocks.
        lines: The numbers of the lines, and the lines as they stand there.
    """

    file: str
    match: str
    lines: list[tuple[int, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Return the lines as they stand in the file."""
        return "".join(f"{line}\n" for _number, line in self.lines)

    def without(self, number: int) -> Section:
        """Return the section without one line."""
        return Section(self.file, self.match, [entry for entry in self.lines if entry[0] != number])

    def place(self, number: int, line: str) -> str:
        """Return where a line of it stands, for a sentence."""
        inside = f", in the block 'Match {self.match}'" if self.match else ""
        return f"{self.file} line {number} ('{' '.join(line.split())}'{inside})"


def sections(main: Path, folder: Path, depth: int = 0, match: str = "") -> list[Section]:
    """Return the sections of a configuration file and of those it includes, in sshd's reading order.

    :param folder: what relative names in ``Include`` belong to.
    """
    found = [Section(str(main), match)]
    for number, line in enumerate(main.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        cut = _CUT.match(line)
        if not cut:
            found[-1].lines.append((number, line))
            continue
        if cut[1].lower() == "match":
            found.append(Section(str(main), cut[2]))
            continue
        outer = found[-1].match
        for pattern in cut[2].split() if depth < _DEPTH else ():
            for path in sorted(glob.glob(str(folder / pattern.strip('"')))):  # noqa: PTH207 (an absolute one wins)
                # A block in the other file ends with it.
                found += sections(Path(path), folder, depth + 1, outer)
        found.append(Section(str(main), outer))
    return [section for section in found if section.lines]


def outside(found: Iterable[Section]) -> str:
    """Return what stands outside of blocks, as one text."""
    return "".join(section.text for section in found if not section.match)


def blocks(found: Iterable[Section]) -> list[Section]:
    """Return the bodies of blocks."""
    return [section for section in found if section.match]
