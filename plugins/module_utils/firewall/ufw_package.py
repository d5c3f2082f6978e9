# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ufw's own Python package, which writes its rules and reads its application profiles."""

from __future__ import annotations

import contextlib
import gettext
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..host.errors import HostError
from .rules import ANYWHERE, Rule


def import_ufw() -> Any:
    """Return ufw's own Python package, which belongs to the distribution's Python and runs with any.

    :raises HostError: it isn't there.
    """
    if "/usr/lib/python3/dist-packages" not in sys.path:
        sys.path.append("/usr/lib/python3/dist-packages")
    gettext.NullTranslations().install()  # its messages go through _()
    try:
        for name in ("applications", "backend_iptables", "common"):
            importlib.import_module(f"ufw.{name}")
        return importlib.import_module("ufw")
    except ImportError as error:
        raise HostError(f"ufw's Python package isn't on this host ({error}); reinstall the package ufw.") from error


def write_rules(folder: Path, rules: Sequence[Rule]) -> None:
    """Have ufw write user.rules and user6.rules of a staged folder with these rules."""
    ufw = import_ufw()
    ufw.common.do_checks = False  # whose the folders are, and that ufw was started as a program of its own
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        try:
            backend = ufw.backend_iptables.UFWBackendIptables(dryrun=False, datadir=str(folder))
            # What the kernel can do shows when the rules are tried; asking beforehand means a test chain in it.
            backend.caps = {"limit": {"4": True, "6": True}}
            backend.rules = [_as_ufw(ufw, rule) for rule in rules if rule.family == 4]
            backend.rules6 = [_as_ufw(ufw, rule) for rule in rules if rule.family == 6]
            backend._write_rules(v6=False)  # noqa: SLF001 (there is no public way to write more than one rule)
            backend._write_rules(v6=True)  # noqa: SLF001 (likewise)
        except ufw.common.UFWError as error:
            raise HostError(f"ufw doesn't take these rules ({error.value}); nothing was changed.") from error


def _as_ufw(ufw: Any, rule: Rule) -> Any:
    action = f"{rule.action}_{rule.log}" if rule.log else rule.action
    made = ufw.common.UFWRule(
        action, rule.protocol, rule.dport, rule.dst or ANYWHERE[rule.family], rule.sport,
        rule.src or ANYWHERE[rule.family], rule.direction, rule.routed, rule.comment.encode().hex(),
    )  # fmt: skip
    made.dapp, made.sapp = rule.dapp, rule.sapp
    if rule.interface_in:
        made.set_interface("in", rule.interface_in)
    if rule.interface_out:
        made.set_interface("out", rule.interface_out)
    made.set_v6(rule.family == 6)
    return made
