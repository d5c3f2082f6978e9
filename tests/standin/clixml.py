# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects as PowerShell sends them from one process to another: the serialization format of MS-PSRP, section 2.2.5.

`write` makes one line of text of a value, which PowerShell's own deserializer reads; what it makes of an `Item` is
what a remote session shows. `read` takes what PowerShell's serializer wrote.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

_NAMESPACE = "http://schemas.microsoft.com/powershell/2004/04"
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_HALVES = re.compile("[\ud800-\udbff][\udc00-\udfff]")
# What XML can't hold, line ends (a value is one line), and what would be read as an escape.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")


@dataclass
class Item:
    """An object: its type, what it is shown as, and its properties. Members of `notes` were added on the way."""

    type: str
    properties: dict[str, Any]
    text: str = ""
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scalar:
    """A primitive value with a tag of its own, such as G (Guid) and DT (date and time)."""

    tag: str
    text: str


@dataclass
class Thing:
    """What came from PowerShell and is neither primitive nor a list: its types, text, properties."""

    types: list[str]
    text: str
    properties: dict[str, Any]

    def __str__(self) -> str:
        return self.text


def _text(value: str) -> str:
    return _UNSAFE.sub(lambda found: f"_x{ord(found[0]):04X}_", value)


def _plain(value: str) -> str:
    text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), value)
    # A character beyond the first plane came as two halves.
    return _HALVES.sub(lambda found: found[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)


def write(value: Any) -> str:
    """One line of CLIXML."""
    return f'<Objs Version="1.1.0.1" xmlns="{_NAMESPACE}">{_write(value, "", [0])}</Objs>'


def _write(value: Any, name: str, count: list[int]) -> str:
    attribute = f" N={quoteattr(_text(name))}" if name else ""
    if value is None:
        return f"<Nil{attribute} />"
    if isinstance(value, bool):
        return f"<B{attribute}>{'true' if value else 'false'}</B>"
    if isinstance(value, int):
        return f"<I32{attribute}>{value}</I32>" if -(2**31) <= value < 2**31 else f"<I64{attribute}>{value}</I64>"
    if isinstance(value, str):
        return f"<S{attribute}>{escape(_text(value))}</S>"
    if isinstance(value, Scalar):
        return f"<{value.tag}{attribute}>{escape(value.text)}</{value.tag}>"
    count[0] += 1
    head = f'<Obj{attribute} RefId="{count[0]}">'
    if isinstance(value, (list, tuple)):
        inside = "".join(_write(item, "", count) for item in value)
        return f"{head}{_types('System.Collections.ArrayList', count)}<LST>{inside}</LST></Obj>"
    if isinstance(value, dict):
        value = Item("System.Management.Automation.PSCustomObject", {}, notes=value)
    properties = "".join(_write(item, key, count) for key, item in value.properties.items())
    notes = "".join(_write(item, key, count) for key, item in value.notes.items())
    shown = f"<ToString>{escape(_text(value.text))}</ToString>" if value.text else ""
    body = f"{shown}{f'<Props>{properties}</Props>' if properties else ''}{f'<MS>{notes}</MS>' if notes else ''}"
    return f"{head}{_types(value.type, count)}{body}</Obj>"


def _types(name: str, count: list[int]) -> str:
    return f'<TN RefId="{count[0]}"><T>{escape(name)}</T><T>System.Object</T></TN>'


def read(text: str) -> Any:
    """The value that PowerShell's serializer wrote; dictionaries, lists, primitives and `Thing`s."""
    root = ET.fromstring(text)  # noqa: S314 (it comes from our own PowerShell)
    return _Reader().read(root[0]) if len(root) else None


class _Reader:
    def __init__(self) -> None:
        self.known: dict[str, Any] = {}
        self.types: dict[str, list[str]] = {}

    def read(self, element: ET.Element) -> Any:
        tag = element.tag.rpartition("}")[2]
        text = _plain(element.text or "")
        if tag == "Ref":
            return self.known.get(element.get("RefId", ""))
        if tag == "Obj":
            return self._object(element)
        if tag == "Nil":
            return None
        if tag == "B":
            return text == "true"
        if tag in ("I16", "I32", "I64", "U16", "U32", "U64", "By", "SB"):
            return int(text)
        if tag in ("Db", "Sg", "D"):
            return float(text)
        if tag == "C":
            return chr(int(text))
        if tag == "TS":
            return span_text(text)
        return text

    def _object(self, element: ET.Element) -> Any:
        parts = {part.tag.rpartition("}")[2]: part for part in element}
        types: list[str] = []
        if "TN" in parts:
            types = [_plain(item.text or "") for item in parts["TN"]]
            self.types[parts["TN"].get("RefId", "")] = types
        elif "TNRef" in parts:
            types = self.types[parts["TNRef"].get("RefId", "")]
        number = element.get("RefId", "")
        if "DCT" in parts:
            table: dict[str, Any] = {}
            self.known[number] = table
            for entry in parts["DCT"]:
                table[str(self.read(entry[0]))] = self.read(entry[1])
            return table
        for tag in ("LST", "IE", "STK", "QUE"):
            if tag in parts:
                items: list[Any] = []
                self.known[number] = items
                items += [self.read(item) for item in parts[tag]]
                return items
        properties: dict[str, Any] = {}
        shown = parts["ToString"].text if "ToString" in parts else ""
        thing = Thing(types, _plain(shown or ""), properties)
        self.known[number] = thing
        for tag in ("Props", "MS"):
            for item in parts.get(tag, ()):
                properties[_plain(item.get("N", ""))] = self.read(item)
        if "System.Management.Automation.SwitchParameter" in types:
            return bool(properties.get("IsPresent"))
        # A text that somebody gave members is still a text; an enumeration is its name.
        for part in element:
            tag = part.tag.rpartition("}")[2]
            if tag not in ("TN", "TNRef", "ToString", "Props", "MS"):
                value = self.read(part)
                return (thing.text or value) if "System.Enum" in types else value
        return thing


def span_text(text: str) -> str:
    """`PT5M` as `00:05:00`."""
    found = re.fullmatch(r"-?P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d+))?S)?)?", text)
    if not found:
        return text
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups()[:4])
    fraction = f".{found[5]:0<7}" if found[5] else ""
    return f"{f'{days}.' if days else ''}{hours:02}:{minutes:02}:{seconds:02}{fraction}"
