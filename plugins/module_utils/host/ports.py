# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports of the loopback that only root can have, so that whoever answers there is trusted.

HAProxy hands an authority's challenges to such a port. Were it anybody's, an account without rights could take it and
get certificates for the gateway's names.
"""

from __future__ import annotations

from pathlib import Path

from .errors import HostError

# ip-sysctl: "the first unprivileged port in the network namespace"
FIRST_UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def check_root_port(variable: str, port: int, first_unprivileged: Path = FIRST_UNPRIVILEGED) -> None:
    """Raise HostError where an account without rights could listen on the port; ``variable`` is what names it.

    0 is no port. What the kernel doesn't tell is taken for the worst.
    """
    if not port:
        return
    try:
        first = int(first_unprivileged.read_text(encoding="ascii"))
    except (OSError, ValueError):
        first = 0
    if 0 < port < first:
        return
    such = ", such as 842" if first > 842 else ""
    remedy = f"take one below {first}{such}" if first > 1 else "set net.ipv4.ip_unprivileged_port_start to 1024 there"
    raise HostError(
        f"{variable} is {port}, a port that any account of this host can listen on, and who does gets certificates for "
        f"the gateway's names; {remedy}."
    )
