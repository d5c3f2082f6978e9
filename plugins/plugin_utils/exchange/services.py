# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services around a change: what reads its settings when it starts stops before and starts after it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...module_utils.values.sentences import listed
from .actual import Server
from .concepts import Effect
from .desired import DesiredObject
from .operations import Difference, Operation, Phase, Plan

REQUESTER = "HealthAPI"
"""In whose name a component is activated."""


def missing_services(effect: Effect, desired: DesiredObject, server: Server) -> str:
    """What to say where the server hasn't these services; empty where it has."""
    missing = [name for name in effect.services if name.lower() not in server.services]
    if not missing:
        return ""
    return f"{server.name} has no service {listed(missing)}, so that {desired.path} can't be applied; take it out."


def plan_services(effect: Effect, desired: DesiredObject, changed: bool, server: Server, plan: Plan) -> list[Operation]:
    """What is to be done to the services, so that they run, or not, with the settings that there are then."""
    found = [server.services[name.lower()] for name in effect.services]
    operations = []
    if changed:
        # Stopped, set, started: a service that reads its settings at its start is never left running with the old ones,
        # wherever the run is cut short, because a service that should run and doesn't is started by the next run.
        operations += [_stop(str(entry["Name"]), Phase.WITHDRAW) for entry in found if _runs(entry)]
    # A service whose component is inactive would end at once, or serve nobody.
    offline = False
    if desired.enabled:
        activation, offline = _activation(effect, server, plan)
        operations += activation
    for entry in reversed(found):  # the back end first: the front end hands its clients on to it
        operations += _Service(entry, changed, offline).operations(desired.enabled, plan)
    return operations


def _runs(entry: Mapping[str, Any]) -> bool:
    return str(entry["Status"]).lower() == "running"


def _stop(name: str, phase: Phase) -> Operation:
    return Operation("Stop-Service", {"Name": name}, f"service {name} is stopped", phase=phase)


def _set_start(name: str, start_type: str, what: str) -> Operation:
    return Operation("Set-Service", {"Name": name, "StartupType": start_type}, what, phase=Phase.EFFECT)


@dataclass(frozen=True)
class _Service:
    """One service. ``stopped``: for a change, which is in the plan already; ``offline``: what is stopped stays so."""

    entry: Mapping[str, Any]
    stopped: bool
    offline: bool

    def operations(self, enabled: bool | None, plan: Plan) -> list[Operation]:
        """What brings it to run or not to (None: as it is); the differences go to the plan."""
        name, status = str(self.entry["Name"]), str(self.entry["Status"])
        start_type, running = str(self.entry["StartType"]), _runs(self.entry)
        automatic = start_type.lower() == "automatic"
        operations, before, after = [], [], []
        if enabled and not automatic:
            operations.append(_set_start(name, "Automatic", f"service {name} starts by itself"))
            before.append(f"start: {start_type}")
            after.append("start: Automatic")
        if (running if enabled is None or self.offline else enabled) and (self.stopped or not running):
            what = f"service {name} runs"
            operations.append(Operation("Start-Service", {"Name": name}, what, always=True, phase=Phase.EFFECT))
            before.append("settings: old" if running else f"status: {status}")
            after.append("settings: new (restarted)" if running else "status: Running")
        if enabled is False and running:
            operations += [] if self.stopped else [_stop(name, Phase.EFFECT)]
            before.append(f"status: {status}")
            after.append("status: Stopped")
        if enabled is False and automatic:
            operations.append(_set_start(name, "Manual", f"service {name} waits for a start"))
            before.append(f"start: {start_type}")
            after.append("start: Manual")
        if after:
            plan.differences.append(Difference(f"service {name}", tuple(before), tuple(after)))
        return operations


def _holders(entry: Mapping[str, Any]) -> list[str]:
    """The requesters, other than the role's own, who hold a component in another state than active."""
    lines = entry.get("LocalStates") or ()
    states = dict(re.findall(r"Requestor:(\w+); State:(\w+)", "\n".join(map(str, lines))))
    return sorted(who for who, state in states.items() if state.lower() != "active" and who != REQUESTER)


def _activation(effect: Effect, server: Server, plan: Plan) -> tuple[list[Operation], bool]:
    """What activates the component; and whether it stays inactive all the same."""
    entry = server.components.get(effect.component.lower())
    if entry is not None and str(entry.get("ServerWideOfflineIsOffline")).lower() == "true":
        plan.warnings.append(
            f"{server.name} is in maintenance (ServerWideOffline), so that {effect.component} stays {entry['State']}, "
            f"and {listed(effect.services)} aren't started."
        )
        return [], True
    if entry is None or str(entry["State"]).lower() == "active":
        return [], False
    holders = _holders(entry)
    if holders:
        # A component is active only if all who asked for a state say so, and each takes back its own word alone.
        plan.warnings.append(
            f"{effect.component} of {server.name} is held {entry['State']} by {listed(holders)}, so that "
            f"{listed(effect.services)} aren't started; activate it with Set-ServerComponentState -Requester "
            f"{holders[0]}."
        )
        return [], True
    parameters = {
        "Identity": server.name,
        "Component": effect.component,
        "State": "Active",
        "Requester": REQUESTER,
        "Confirm": False,
    }
    plan.differences.append(
        Difference(f"component {effect.component}", (f"state: {entry['State']}",), ("state: Active",))
    )
    what = f"component {effect.component} of {server.name} is active"
    return [Operation("Set-ServerComponentState", parameters, what, phase=Phase.EFFECT)], False
