"""Published objects of real servers in the form in which PowerShell's serializer wrote them (MS-PSRP, 2.2.5)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from shell import Windows

PUBLISHED = Path(__file__).resolve().parents[2] / "recordings" / "published"
# Numbers that show a text; the number says nothing here.
ENUMERATIONS = (
    "AuthMechanisms PermissionGroups SizeMode ProtocolLoggingLevel MessageRateSourceFlags ServerRole "
    "ExtendedProtectionPolicySetting ServiceState ServiceControllerStatus ServiceStartMode ObjectState"
).split()


def published(version: str) -> dict[str, list[dict[str, Any]]]:
    """By cmdlet, the objects; each property's type and value."""
    found: dict[str, list[dict[str, Any]]] = json.loads((PUBLISHED / f"{version}.json").read_text())
    return found


def windows_of(folder: Path, version: str) -> Windows:
    """A host whose session shows the published objects."""
    found = published(version)
    windows = Windows(folder, serialized={name: clixml(objects) for name, objects in found.items()})
    windows.name = found["Get-ExchangeServer"][0]["Name"][1]
    return windows


def clixml(objects: list[dict[str, Any]]) -> str:
    """The objects in the serializer's form."""
    made = "".join(_object(entry, number) for number, entry in enumerate(objects))
    return f'<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">{made}</Objs>'


def _object(entry: dict[str, Any], number: int) -> str:
    properties = "".join(_value(value, kind or "", f' N="{name}"') for name, (kind, value) in entry.items())
    return f'<Obj RefId="o{number}">{_types("Published")}<Props>{properties}</Props></Obj>'


def _types(*names: str) -> str:
    return f"<TN>{''.join(f'<T>{escape(name)}</T>' for name in (*names, 'System.Object'))}</TN>"


def _value(value: Any, kind: str, name: str = "") -> str:
    if value is None:
        return f"<Nil{name} />"
    if isinstance(value, bool):
        return f"<B{name}>{str(value).lower()}</B>"
    if isinstance(value, int):
        return f"<I32{name}>{value}</I32>"
    if isinstance(value, list):
        inside = "".join(_value(item, kind.partition("<")[2].removesuffix(">")) for item in value)
        return f"<Obj{name}>{_types(kind)}<LST>{inside}</LST></Obj>"
    shown = escape(str(value)).replace("\n", "_x000D__x000A_")
    if kind in ("String", ""):
        return f"<S{name}>{shown}</S>"
    if kind in ENUMERATIONS:
        types = _types(kind, "System.Enum", "System.ValueType")
        return f"<Obj{name}>{types}<ToString>{shown}</ToString><I32>7</I32></Obj>"
    return f"<Obj{name}>{_types(kind)}<ToString>{shown}</ToString></Obj>"
