# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can't be done, said in sentences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...module_utils.values.sentences import Unfit, show


class Refused(ValueError):
    """Something can't be done; ``sentences`` say what and why, one each."""

    def __init__(self, sentences: Iterable[str]) -> None:
        self.sentences = list(sentences)
        super().__init__("\n".join(self.sentences))


class Reader:
    """Collects sentences while something is read."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def note(self, path: str, text: str) -> None:
        """What is wrong at this place."""
        self.sentences.append(f"{path} {text}" if text.endswith("?") else f"{path} {text}.")

    def unfit(self, path: str, value: Any, unfit: Unfit) -> None:
        """That this value can't stand there."""
        self.note(path, f"is {show(value)}, {unfit.text}")
