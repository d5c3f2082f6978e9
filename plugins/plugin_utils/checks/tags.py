# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of tags, as DKIM, DMARC, MTA-STS and TLS-RPT write them: ``v=…; name=value; …``."""

from __future__ import annotations

import re

_TAG = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class TagProblem(ValueError):
    """A list that can't be read, in a few words."""


def tags(text: str) -> dict[str, str]:
    """Name → value, in order; white space around both is no part of them.

    Raises:
        TagProblem: Something in it isn't a tag, or a tag is there twice.
    """
    found: dict[str, str] = {}
    for part in text.split(";"):
        if not part.strip():
            continue
        name, equals, value = part.partition("=")
        name = name.strip()
        if not equals or not _TAG.fullmatch(name):
            raise TagProblem(f'"{part.strip()[:40]}" isn\'t a tag')
        if name in found:
            raise TagProblem(f"the tag {name} is there twice")
        found[name] = value.strip()
    return found
