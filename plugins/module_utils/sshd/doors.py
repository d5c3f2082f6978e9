# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Doors for passwords in ``Match`` blocks, whoever they are for. sshd itself says what a block comes to.

Nobody can try all users, addresses and ports that a block may be about. So each block is asked about as if it were for
everybody, and so is each pair of blocks that say something about logons, since the first value counts.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ..host.errors import HostError
from .sections import Section, blocks, outside
from .ways import NoWay, Settings, by_password, root_rank, value, ways

Ask = Callable[[Path], Settings]

# Criteria that are about accounts alone; whatever doesn't look so is about more.
_OF_ACCOUNTS = re.compile(r"\s*(?:all|(?:(?:user|group)[\s=]+\S+\s*)+)\Z", re.IGNORECASE)
_LOGON = (
    "passwordauthentication", "kbdinteractiveauthentication", "permitemptypasswords", "permitrootlogin",
    "pubkeyauthentication", "authenticationmethods",
)  # fmt: skip


def opens(settings: Settings | None, outer: Settings) -> str:
    """Return what a block opens that is closed outside of it, as the rest of a sentence; empty if nothing.

    :param settings: what the block comes to; None where it lets nobody in at all.
    """
    if settings is None:
        return ""
    if by_password(ways(settings)) or value(settings, "permitemptypasswords", "yes") != "no":
        return "lets somebody log on without a key"
    if root_rank(settings) > root_rank(outer):
        return "lets root log on where sshd_root_logon doesn't"
    return ""


class Doors:
    """The blocks of one configuration.

    :param found: its sections.
    :param ask: returns what sshd makes of a file.
    :param scratch: where a file can be put for that.
    """

    def __init__(self, found: Sequence[Section], ask: Ask, scratch: Path) -> None:
        self._outside = outside(found)
        self._blocks = blocks(found)
        self._ask = ask
        self._file = scratch / "block.conf"

    def refuse(self) -> None:
        """Raise HostError for a block that lets somebody in without a key."""
        if not self._blocks:
            return
        outer = self._comes_to() or {}
        about_logons = []
        for block in self._blocks:
            settings = self._comes_to(block)
            if reason := opens(settings, outer):
                raise HostError(f"{self._line(outer, block)} {reason}; nothing was changed, remove that line.")
            if settings is None or any(settings.get(keyword) != outer.get(keyword) for keyword in _LOGON):
                about_logons.append(block)
        for first, second in itertools.combinations(about_logons, 2):
            if reason := opens(self._comes_to(first, second), outer):
                raise HostError(
                    f"The blocks 'Match {first.match}' in {first.file} and 'Match {second.match}' in {second.file} "
                    f"together {reason.replace('lets', 'let', 1)}; nothing was changed, remove one of them."
                )

    def closed(self, before: Doors) -> Section | None:
        """Return the first block that lets nobody in any more, where it did with the configuration of before.

        Where sshd refuses that configuration nobody knows what it did; a run may heal it.

        Blocks for users and groups alone are left out: sshd is asked about every account with those.
        """
        for block in self._blocks:
            if _OF_ACCOUNTS.match(block.match) or self._lets_in(block):
                continue
            with contextlib.suppress(HostError):
                if before._lets_in(block):
                    return block
        return None

    def _lets_in(self, block: Section) -> bool:
        settings = self._comes_to(block)
        return settings is not None and bool(ways(settings))

    def _comes_to(self, *inside: Section) -> Settings | None:
        body = "".join(f"Match all\n{block.text}" for block in inside)
        self._file.write_text(f"{self._outside}\n{body}", encoding="utf-8")
        try:
            return self._ask(self._file)
        except NoWay:
            return None

    def _line(self, outer: Settings, block: Section) -> str:
        """Return the line that opens the door: the one without which it is closed."""
        for number, line in block.lines:
            if line.strip() and not opens(self._comes_to(block.without(number)), outer):
                return block.place(number, line)
        return f"{block.file}: the block 'Match {block.match}'"
