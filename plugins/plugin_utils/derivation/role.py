# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the derivation of a role returns: its variables, and what must be open in the firewall for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ...module_utils.values.addresses import Address, Network
from ..addresses import in_order


@dataclass(frozen=True)
class Opening:
    """Ports that are open; to everybody and on every address where none are named."""

    comment: str
    ports: tuple[int, ...]
    sources: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    protocol: str = "tcp"


@dataclass(frozen=True)
class Derived:
    """A role's variables and the openings that it needs. Where it isn't ``managed``, the role doesn't run."""

    variables: dict[str, Any]
    openings: tuple[Opening, ...] = ()
    managed: bool = True


def texts(items: Iterable[Address | Network]) -> tuple[str, ...]:
    """Addresses or networks for an opening."""
    return tuple(in_order(items))
