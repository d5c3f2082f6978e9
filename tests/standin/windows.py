# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Windows' own cmdlets do to a server's state: services, firewall, network."""

from __future__ import annotations

import fnmatch
from typing import Any

from .clixml import Item, Thing
from .management import MAIL_SERVICES, Call, Refusal, Server, cmdlet

# Services that can't run without another, as in a server's own configuration.
_NEEDS = {"MSExchangeTransport": ["FMS"], "W3SVC": ["WAS"], "MSExchangeIS": ["MSExchangeADTopology"]}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _texts(value: Any, name: str) -> list[str]:
    """A parameter's texts; objects from the pipeline count by their property of that name."""
    found = []
    for item in _listed(value):
        if isinstance(item, Thing):
            found.append(str(item.properties.get(name, item.text)))
        else:
            found.append(str(item))
    return found


def _matches(text: Any, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(str(text).lower(), pattern.lower()) for pattern in patterns)


# Services ----------------------------------------------------------------------------------------


def _show_service(raw: dict[str, Any]) -> Item:
    running = raw["Status"] == "Running"
    return Item(
        "System.ServiceProcess.ServiceController",
        {
            "CanPauseAndContinue": False,
            "CanShutdown": False,
            "CanStop": running,
            "DisplayName": raw.get("DisplayName", raw["Name"]),
            "DependentServices": [name for name, needs in _NEEDS.items() if raw["Name"] in needs],
            "MachineName": ".",
            "ServiceName": raw["Name"],
            "ServicesDependedOn": list(_NEEDS.get(raw["Name"], ["MSExchangeADTopology"] if raw["Name"].startswith("MSE") else [])),
            "StartType": raw.get("StartType", "Manual"),
            "Status": raw["Status"],
            "ServiceType": "Win32OwnProcess",
            "Name": raw["Name"],
        },
        raw["Name"],
    )


def _class(name: str) -> str:
    verb, _, noun = name.partition("-")
    return f"Microsoft.PowerShell.Commands.{verb}{noun}Command"


def _services(call: Call, server: Server) -> list[dict[str, Any]]:
    """The services that a call names. Raises Refusal for a plain name that isn't there."""
    every = server.items("Service")
    if call.has("DisplayName") and call.name != "Set-Service":
        patterns = _texts(call.get("DisplayName"), "DisplayName")
        found = [raw for raw in every if _matches(raw.get("DisplayName", ""), patterns)]
        missing = [p for p in patterns if not any(_matches(raw.get("DisplayName", ""), [p]) for raw in every)]
        what = "display name"
    else:
        patterns = _texts(call.get("InputObject"), "Name") or _texts(call.get("Name"), "Name") or ["*"]
        found = [raw for raw in every if _matches(raw["Name"], patterns)]
        missing = [p for p in patterns if not any(_matches(raw["Name"], [p]) for raw in every)]
        what = "service name"
    for pattern in missing:
        if not set(pattern) & set("*?["):
            raise Refusal(
                f"Cannot find any service with {what} '{pattern}'.",
                "ServiceCommandException",
                "ObjectNotFound",
                f"NoServiceFoundForGivenName,{_class(call.name)}",
            )
    excluded = _texts(call.get("Exclude"), "Name")
    included = _texts(call.get("Include"), "Name")
    return [r for r in found if not _matches(r["Name"], excluded) and (not included or _matches(r["Name"], included))]


@cmdlet("Get-Service")
def get_service(call: Call) -> list[Any]:
    found = sorted(_services(call, call.home), key=lambda raw: str(raw["Name"]).lower())
    return [_show_service(raw) for raw in found]


def _cannot(call: Call, verb: str, raw: dict[str, Any], why: str, code: str) -> Refusal:
    return Refusal(
        f"{verb} '{raw.get('DisplayName', raw['Name'])} ({raw['Name']})' {why}",
        "ServiceCommandException",
        "OpenError" if code.startswith("Could") else "InvalidOperation",
        f"{code},{_class(call.name)}",
    )


def start(call: Call, server: Server, raw: dict[str, Any]) -> None:
    if raw["Status"] == "Running":
        return
    if raw.get("StartType") == "Disabled":
        raise _cannot(
            call,
            "Service",
            raw,
            f"cannot be started due to the following error: Cannot start service {raw['Name']} on computer '.'.",
            "CouldNotStartService",
        )
    for needed in _NEEDS.get(raw["Name"], []):
        for other in server.items("Service"):
            if other["Name"] == needed:
                start(call, server, other)
    raw["Status"] = "Running"
    _take_settings(server, raw["Name"])
    call.changed = True


def stop(call: Call, server: Server, raw: dict[str, Any]) -> None:
    if raw["Status"] == "Stopped":
        return
    dependent = [
        other
        for other in server.items("Service")
        if raw["Name"] in _NEEDS.get(other["Name"], []) and other["Status"] == "Running"
    ]
    if dependent and not call.get("Force"):
        raise _cannot(
            call,
            "Cannot stop service",
            raw,
            "because it has dependent services. It can only be stopped if the Force flag is set.",
            "ServiceHasDependentServices",
        )
    for other in dependent:
        stop(call, server, other)
    raw["Status"] = "Stopped"
    call.changed = True


def _take_settings(server: Server, name: str) -> None:
    """A mail service that starts reads its settings: once all have, the changed ones are in force."""
    kept = server.document.get("SettingsInForce", {})
    for kind, services in MAIL_SERVICES.items():
        if kind in kept and name.lower() in (service.lower() for service in services):
            kept[kind]["Until"] = [service for service in kept[kind]["Until"] if service.lower() != name.lower()]
            if not kept[kind]["Until"]:
                del kept[kind]


def _named(call: Call, server: Server, names: list[str]) -> list[dict[str, Any]]:
    return [raw for raw in server.items("Service") if raw["Name"] in names]


def _passed(call: Call, names: list[str]) -> list[Any]:
    return [_show_service(raw) for raw in _named(call, call.management.home(), names)] if call.get("PassThru") else []


@cmdlet("Start-Service", "Stop-Service", "Restart-Service")
def turn_service(call: Call) -> list[Any]:
    names = [raw["Name"] for raw in _services(call, call.home)]
    if call.get("WhatIf"):
        return []
    again: list[str] = []
    if call.name != "Start-Service":
        with call.management.editing(call.home) as server:
            before = {raw["Name"] for raw in server.items("Service") if raw["Status"] == "Running"}
            for raw in _named(call, server, names):
                stop(call, server, raw)
            again = [r["Name"] for r in server.items("Service") if r["Name"] in before and r["Status"] == "Stopped"]
    if call.name != "Stop-Service":
        # What a restart took along comes back with it.
        with call.management.editing(call.home) as server:
            for raw in _named(call, server, [*names, *(again if call.name == "Restart-Service" else [])]):
                start(call, server, raw)
    return _passed(call, names)


_START_TYPES = {"automatic": "Automatic", "manual": "Manual", "disabled": "Disabled", "boot": "Boot", "system": "System"}


@cmdlet("Set-Service")
def set_service(call: Call) -> list[Any]:
    names = [raw["Name"] for raw in _services(call, call.home)]
    kind = None
    if call.has("StartupType"):
        kind = _START_TYPES.get(str(call.get("StartupType")).lower())
        if kind is None:
            raise Refusal(
                f"Cannot bind parameter 'StartupType'. Cannot convert value \"{call.get('StartupType')}\" to type "
                f'"System.ServiceProcess.ServiceStartMode". Error: "Unable to match the identifier name '
                f"{call.get('StartupType')} to a valid enumerator name. Specify one of the following enumerator names "
                f'and try again: Boot, System, Automatic, Manual, Disabled"',
                "ParameterBindingException",
                "InvalidArgument",
                f"CannotConvertArgumentNoMessage,{_class(call.name)}",
            )
    if call.get("WhatIf"):
        return []
    with call.management.editing(call.home) as server:
        for raw in _named(call, server, names):
            if kind and raw.get("StartType") != kind:
                raw["StartType"] = kind
                call.changed = True
            for each in ("DisplayName", "Description"):
                if call.has(each):
                    raw[each] = str(call.get(each))
                    call.changed = True
            status = str(call.get("Status") or "").lower()
            if status == "running":
                start(call, server, raw)
            elif status == "stopped":
                stop(call, server, raw)
    return _passed(call, names)
