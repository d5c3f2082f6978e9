# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Exchange servers HAProxy has in service, and which of them a new configuration would take away."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from .admin_socket import ask
from .runtime import configured_servers, server_states

# Backends of Exchange: until 0.1.0 those of services that are passed through were called after them alone.
_EXCHANGE = re.compile(r"exchange_.+|(smtp|submission|imaps?|pop3s?)(_relay)?")


def in_service(socket: str, configuration: Path) -> dict[str, str]:
    """Return the servers of Exchange that HAProxy has, each with its address, or with the name that stands for it.

    A process that runs is asked. Where none answers, the file is what it would start with.

    :raises ValueError: the process answers something else.
    :raises OSError: nobody answers, and the file can't be read.
    """
    found: dict[str, str] = {}
    configured: Mapping[tuple[str, str], tuple[str, str]] = {}
    if configuration.exists():
        configured = configured_servers(configuration.read_text(encoding="utf-8"))
    try:
        running = {(one.backend, one.server): one.address for one in server_states(ask(socket, "show servers state"))}
    except OSError:
        running = {}
    for (backend, server), (address, _port) in configured.items():
        if _EXCHANGE.fullmatch(backend):
            found[server] = address
    for (backend, server), address in running.items():
        if _EXCHANGE.fullmatch(backend):
            # The name of one that is resolved is in the file alone, and so is the address of one that isn't yet.
            found.setdefault(server, address)
    return found


def leaving(present: Mapping[str, str], servers: Iterable[Mapping[str, str]], removable: Collection[str]) -> list[str]:
    """Return the servers that are in service and are neither among ``servers`` nor among ``removable``.

    One that has another name from now on, or another address, is there still.
    """
    listed = {one["name"]: one["address"].lower() for one in servers}
    # One declared server stands for one that is there: by its name first, else by its address.
    names = present.keys() & listed.keys()
    addresses = Counter(address for name, address in listed.items() if name not in names)
    gone = []
    for name, address in sorted(present.items()):
        if name in names:
            continue
        if addresses[address.lower()]:
            addresses[address.lower()] -= 1
        elif not {name, address} & set(removable):
            gone.append(name)
    return gone
