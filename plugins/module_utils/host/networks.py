# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of networks in roles' variables."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from ..values.addresses import Network, read_any_network
from .arguments import parsed


def networks(texts: Sequence[str], variable: str) -> list[Network]:
    """Return networks without those that others hold, IPv4 first, each in its shortest spelling.

    :param texts: addresses, and networks in CIDR notation.
    :param variable: where they come from, for the sentence.
    :raises HostError: one isn't an address or a network.
    """
    found: dict[int, list[Any]] = {4: [], 6: []}
    for number, text in enumerate(texts):
        network = parsed(f"{variable}[{number}]", text.strip(), read_any_network)
        found[network.version].append(network)
    return [*ipaddress.collapse_addresses(found[4]), *ipaddress.collapse_addresses(found[6])]
