# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that should be there and rules that are: ours come and go, those of others stay where they stood."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from ..host.errors import HostError
from .rules import (
    BAN,
    Rule,
    words,
)


def is_ours(rule: Rule, marker: str) -> bool:
    """Whether the rule carries the marker."""
    return rule.comment == marker or rule.comment.startswith(f"{marker}: ")


def merge(present: Sequence[Rule], wanted: Sequence[Rule], marker: str, exact: bool) -> list[Rule]:
    """Return the rules of one family as they shall be.

    Rules of others stay and keep their order. Ours that are there stay in their place as far as their order is
    right; a new one comes behind the one that precedes it in ``wanted``, and at the end where there is none. A rule
    of others that is the same as one of ours serves for it. With ``exact`` only ours and Fail2Ban's bans stay.

    :raises HostError: a rule of others fits the same and says another thing.
    """
    if exact:
        return [rule for rule in present if rule.comment.startswith(BAN)] + list(wanted)
    others = {rule.key: rule for rule in present if not is_ours(rule, marker)}
    ours: list[Rule] = []
    for rule in wanted:
        other = others.get(rule.key)
        if other is None:
            ours.append(rule)
        elif (other.action, other.log) != (rule.action, rule.log):
            text = f"The host has the rule '{words(other)}', made by somebody else, which contradicts '{words(rule)}'"
            raise HostError(f"{text}; remove one of them (ufw delete …), and run again.")
    place = {rule.key: number for number, rule in enumerate(ours)}
    kept = _longest_ascending([place[rule.key] for rule in present if rule.key in place])
    result: list[Rule] = []
    done = 0
    for rule in present:
        if rule.key in others and not is_ours(rule, marker):
            result.append(rule)
        elif rule.key in place and place[rule.key] in kept:
            number = place[rule.key]
            result += ours[done : number + 1]
            done = number + 1
            # New ones that follow directly, up to the next that stays, come here and not at the end.
            while done < len(ours) and done not in kept:
                result.append(ours[done])
                done += 1
    return result + ours[done:]


def _longest_ascending(numbers: Sequence[int]) -> set[int]:
    """Return a longest ascending subsequence of distinct numbers: those that needn't move."""
    tails: list[int] = []
    positions: list[int] = []
    previous: list[int] = [-1] * len(numbers)
    for index, number in enumerate(numbers):
        place = bisect_left(tails, number)
        if place == len(tails):
            tails.append(number)
            positions.append(index)
        else:
            tails[place], positions[place] = number, index
        previous[index] = positions[place - 1] if place else -1
    found: set[int] = set()
    index = positions[-1] if positions else -1
    while index >= 0:
        found.add(numbers[index])
        index = previous[index]
    return found
