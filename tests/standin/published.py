# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is published about the cmdlets, and PowerShell functions that have just those parameters.

`cmdlets.json` holds facts of the published help: parameters, types, aliases, accepted values, versions. The functions
do what those of a remote session do: they take parameters by name and hand them on. The values are judged by who does
the work, as at the far end of a session.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# The first argument that has no name. New-… names a new object, all others take what they act on.
_FIRST = ("Identity", "Name", "IPAddress", "InterfaceAlias", "ClassName")
_BY_PIPE = ("Identity", "InputObject", "Instance")
_COMMON = frozenset(("Verbose", "Debug"))
_ASKS = ("Remove-",)
# Mandatory in each parameter set that the cmdlet has; what depends on the set is judged with the values.
_NEEDED = {
    "New-ReceiveConnector": ("Name",),
    "Set-ServerComponentState": ("Identity", "Component", "State", "Requester"),
    "Get-ServerComponentState": ("Identity",),
    "Set-TransportConfig": (),
    "New-NetIPAddress": ("IPAddress",),
    "Rename-NetAdapter": ("NewName",),
}


@cache
def cmdlets() -> dict[str, Any]:
    """Name -> versions (Exchange's own alone) and parameters."""
    found: dict[str, Any] = json.loads((HERE / "cmdlets.json").read_text())
    return found


@cache
def shapes() -> dict[str, Any]:
    """Kind -> type and properties (type, value) of a real server's object."""
    found: dict[str, Any] = json.loads((HERE / "objects.json").read_text())
    return found


def exchange_version(text: str) -> str:
    """The product of a version such as `Version 15.2 (Build 1748.10)`."""
    numbers = [int(part) for part in "".join(c if c.isdigit() else " " for c in text).split()]
    major, minor, build = (*numbers, 0, 0, 0)[:3]
    if major < 15:
        return "2010"
    # Subscription Edition goes on with 2019's numbers; its first build is 15.2.2562.
    return {0: "2013", 1: "2016"}.get(minor, "SE" if build >= 2562 else "2019")


def parameters(name: str, version: str = "") -> dict[str, Any]:
    """The parameters that the cmdlet has in a version of Exchange; no version means Windows."""
    return {
        parameter: facts
        for parameter, facts in cmdlets()[name]["parameters"].items()
        if not version or "versions" not in facts or version in facts["versions"].split()
    }


def of_exchange(version: str) -> list[str]:
    return [name for name, facts in cmdlets().items() if version in facts.get("versions", "").split()]


def of_windows() -> list[str]:
    return [name for name, facts in cmdlets().items() if "versions" not in facts]


def asks(name: str) -> bool:
    """Whether the cmdlet asks before it acts, unless told not to."""
    return name.startswith(_ASKS)


def function(name: str, facts: dict[str, Any]) -> str:
    """The text of a function with these parameters that hands all it got to `$Standin`."""
    lines = []
    first = next((p for p in _FIRST if p in facts), "")
    identified = "Identity" in facts and (not name.startswith("Get-") or name == "Get-ADPermission")
    needed = _NEEDED.get(name, ("Identity",) if identified else ())
    for parameter, fact in facts.items():
        if parameter in _COMMON:
            continue
        marks = []
        if parameter in needed:
            marks.append("Mandatory")
        if parameter == first:
            marks.append("Position=0")
        piped = parameter in _BY_PIPE or parameter.startswith("Associated")
        if piped:
            marks.append("ValueFromPipeline")
        if parameter in _BY_PIPE or parameter == "Name" or parameter.startswith("Interface"):
            marks.append("ValueFromPipelineByPropertyName")
        text = f"[Parameter({', '.join(marks)})] " if marks else ""
        if fact.get("aliases"):
            text += f"[Alias({', '.join(repr(alias) for alias in fact['aliases'])})] "
        lines.append(f"    {text}{'[switch] ' if fact['type'] == 'SwitchParameter' else ''}${{{parameter}}}")
    body = ",\n".join(lines)
    return (
        f"function {name} {{\n  [CmdletBinding(PositionalBinding=$false)]\n  param(\n{body}\n  )\n"
        f"  process {{ & $Standin $PSCmdlet '{name}' $PSBoundParameters {'$true' if asks(name) else '$false'} }}\n}}\n"
    )


def module(names: list[str], version: str = "", missing: dict[str, list[str]] | None = None) -> str:
    """The text of a module with the cmdlets. `missing`: cmdlet -> parameters that whoever asks may not use."""
    texts = ["param($Standin)\n"]
    for name in names:
        hidden = {parameter.lower() for parameter in (missing or {}).get(name, [])}
        facts = {p: f for p, f in parameters(name, version).items() if p.lower() not in hidden}
        texts.append(function(name, facts))
    return "".join(texts) + "Export-ModuleMember -Function *\n"
