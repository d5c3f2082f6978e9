# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two domain controllers. What is written to one is known to the other after a lag; the servers know it at once.

`Standin.Replication.Lag` is in seconds. Sessions that name no controller get one after the other.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

CONTROLLERS = ("dc1", "dc2")
# Kinds of the state that are objects of Active Directory.
KINDS = (
    "ReceiveConnector ADPermission ImapSettings PopSettings TransportService FrontendTransportService "
    "ClientAccessService OrganizationConfig TransportConfig OutlookProvider AcceptedDomain SendConnector"
).split()
_FILE = "replication.json"
_TURN = "controller"


def next_controller(directory: Path) -> str:
    """The controller of a new session: another one than that of the session before."""
    path = directory / _TURN
    last = path.read_text() if path.exists() else CONTROLLERS[-1]
    found = CONTROLLERS[(CONTROLLERS.index(last) + 1) % len(CONTROLLERS)]
    path.write_text(found)
    return found


def lag(document: dict[str, Any]) -> float:
    """How long the other controller knows nothing of a change."""
    return float((document.get("Standin", {}).get("Replication") or {}).get("Lag", 0))


def written(directory: Path, before: dict[str, Any], controller: str) -> None:
    """Note what the other controller still has."""
    seconds = lag(before)
    if not seconds:
        return
    pending = _pending(directory)
    if pending is None or pending["At"] != controller:
        pending = {"At": controller, "Objects": {kind: before.get(kind) for kind in KINDS}}
    (directory / _FILE).write_text(json.dumps({**pending, "Until": time.time() + seconds}))


def seen(directory: Path, document: dict[str, Any], controller: str) -> dict[str, Any]:
    """The state as this controller knows it."""
    pending = _pending(directory)
    # Nothing lags any more where that was taken back meanwhile.
    if pending is None or pending["At"] == controller or not lag(document):
        return document
    old = {kind: value for kind, value in pending["Objects"].items() if value is not None}
    return {kind: value for kind, value in document.items() if kind not in KINDS} | old


def _pending(directory: Path) -> dict[str, Any] | None:
    path = directory / _FILE
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    return found if found["Until"] > time.time() else None
