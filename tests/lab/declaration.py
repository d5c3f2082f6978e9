"""The lab's declaration as a value, for whoever declares something else for a while."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import yaml

if typing.TYPE_CHECKING:
    from lab.lab import Lab

FILE = Path(__file__).resolve().parents[2] / "inventory" / "lab" / "group_vars" / "all.yml"


def declaration(lab: Lab) -> dict[str, Any]:
    """Return what `mail_gateway` is in the lab's inventory, with what differs from lab to lab put in."""
    text = FILE.read_text(encoding="utf-8")
    for name, value in (
        ("lab_slot", str(lab.slot)),
        ("lab_folder", str(lab.folder)),
        ("lab_has_powershell", str(lab.powershell).lower()),
    ):
        text = text.replace(f'"{{{{ {name} }}}}"', value).replace(f"{{{{ {name} }}}}", value)
    found: dict[str, Any] = yaml.safe_load(text)["mail_gateway"]
    return found
