# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several entries need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..concepts import Property
from ..values import ValueType, choice

#: What the help publishes for counts, sizes of logs and their age.
COUNT = (1, 2147483647)
LOG_SIZE = ("1B", "9223372036854775807B")
LOG_AGE = ("00:00:00", "24855.03:14:07")
DAY = ("00:00:01", "1.00:00:00")

LOGGING_LEVEL = choice("logging level", "None", "Verbose")


def several(
    value_type: ValueType, names: str, since: str = "2010", bounds: tuple[Any, Any] | None = None
) -> Iterator[Property]:
    """Properties of one type."""
    for name in names.split():
        yield Property(name, value_type, since, bounds=bounds)
