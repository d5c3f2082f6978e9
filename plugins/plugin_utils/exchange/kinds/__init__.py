# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of Exchange objects that can be configured, an entry each: a new kind is a new entry and its tests.

Cmdlets, parameters and the versions that know them are those of the published help (learn.microsoft.com/powershell,
module ExchangePowerShell); values of enumerations are those that the help's texts name.
"""

from __future__ import annotations

from typing import Any

from ..concepts import Kind, WindowsKind
from .client_access import CLIENT_ACCESS_SERVICE, OUTLOOK_PROVIDER
from .mail_access import IMAP, POP
from .organization import ORGANIZATION_CONFIG, TRANSPORT_CONFIG
from .receive_connectors import RECEIVE_CONNECTOR
from .transport import FRONTEND_TRANSPORT, TRANSPORT
from .windows import DIRECT_RETURN, EDGE_TRAVERSAL

KINDS: tuple[Kind, ...] = (
    RECEIVE_CONNECTOR,
    TRANSPORT_CONFIG,
    TRANSPORT,
    FRONTEND_TRANSPORT,
    ORGANIZATION_CONFIG,
    CLIENT_ACCESS_SERVICE,
    OUTLOOK_PROVIDER,
    IMAP,
    POP,
)
"""In the order in which they are planned and applied."""

WINDOWS: tuple[WindowsKind, ...] = (EDGE_TRAVERSAL, DIRECT_RETURN)
"""What of Windows goes with them; each is planned in a file of its own."""


def arguments() -> dict[str, Any]:
    """What the action takes for all of them."""
    every: tuple[Kind | WindowsKind, ...] = (*KINDS, *WINDOWS)
    return {kind.argument: kind.specification() for kind in every}
