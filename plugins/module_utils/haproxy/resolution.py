# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that are named: HAProxy asks name servers for them again and again, and knows nothing of ``/etc/hosts``."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..host.commands import run

_NAMED = re.compile(
    rb"^(?P<line> +server \S+ (?P<name>[^\s:]+):\d+.*?) resolvers host( resolve-prefer ipv[46])?", re.MULTILINE
)


def in_hosts_file(name: str) -> bool:
    """Tell whether the host has the name in ``/etc/hosts``, by asking libc for it there alone."""
    return not run("getent", "--service=hosts:files", "ahosts", name).returncode


def for_this_host(configuration: bytes, in_file: Callable[[str], bool] = in_hosts_file) -> bytes:
    """Return the configuration in which a name that ``/etc/hosts`` has is looked up there, when HAProxy starts.

    Name servers know nothing of it, or something else, and would take the server away.
    """
    known: dict[str, bool] = {}

    def line(match: re.Match[bytes]) -> bytes:
        name = match["name"].decode()
        if name not in known:
            known[name] = in_file(name)
        return match["line"] if known[name] else match[0]

    return _NAMED.sub(line, configuration)
