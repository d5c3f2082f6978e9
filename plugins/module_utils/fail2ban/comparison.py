# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jails as they should be beside what Fail2Ban says of them: who overrules them, and what differs."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Jail → property → value, as Fail2Ban tells it: texts, and lists of texts.
Jails = Mapping[str, Mapping[str, Any]]

# Names in Fail2Ban's files of what it tells under another one.
_SETTINGS = {"actions": "action", "action": "action"}

_UNIT = re.compile(r"(?:^| )_SYSTEMD_UNIT=(\S+)")


def units(matches: Iterable[Sequence[str]]) -> list[str]:
    """Return the units that matches of the journal name, each once.

    :param matches: as Fail2Ban tells them, lists of ``FIELD=VALUE``.
    """
    return sorted({unit for match in matches for word in match for unit in _UNIT.findall(word)})


def overruled(found: Mapping[str, Any] | None, alone: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Tell what other files than ours make of a jail, if they make something else of it.

    :param found: the jail as Fail2Ban understands all files together; None where it has no such jail.
    :param alone: the same with our files and Fail2Ban's own alone.
    :returns: for each property that differs the setting's name in Fail2Ban's files, what it would be, and what it
        should be. One setting can change several properties: ``usedns`` is part of each expression.
    """
    if found is None:
        return [("enabled", "false", "true")]
    return [
        (_SETTINGS.get(key.partition(" ")[0], key), _shown(found.get(key)), _shown(alone[key]))
        for key in sorted(alone)
        if found.get(key) != alone[key]
    ]


def _shown(value: Any) -> str:
    return " ".join(_lines(value)) or "nothing"


def culprit(texts: Iterable[tuple[str, str]], jail: str, setting: str, own: str) -> tuple[str, str]:
    """Return the file that decides on a setting of a jail, and what it says; empty texts where none of these does.

    :param texts: name and content of the files in ``jail.d`` and of ``jail.local``, as they are read.
    :param own: the file of ours, which isn't looked at.
    """
    found = "", ""
    for name, text in texts:
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read_string(text)
        except configparser.Error:
            continue
        if name != own and parser.has_section(jail) and setting in parser[jail]:
            found = name, " ".join(parser[jail][setting].split())
    return found


def differences(wanted: Jails, running: Jails | None) -> tuple[list[str], list[str]]:
    """Return lines for what the running server has and should have, only those that differ.

    :param wanted: the jails of ours as the files mean them.
    :param running: all jails of the server; None where it doesn't run.
    """
    before, after = [], []
    if running is None:
        return ["Fail2Ban doesn't run"], ["Fail2Ban runs"]
    for name, jail in sorted(wanted.items()):
        if name not in running:
            after.append(f"{name} is active")
            before.append(f"{name} isn't active")
            continue
        for key in sorted(jail):
            if (has := running[name].get(key)) != jail[key]:
                before += [f"{name} {key}: {line}" for line in _lines(has)]
                after += [f"{name} {key}: {line}" for line in _lines(jail[key])]
    return before, after


def _lines(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{key}: {line}" for key, item in sorted(value.items()) for line in _lines(item)]
    if isinstance(value, list):
        return [str(item) for item in value]
    return [str(value)]
