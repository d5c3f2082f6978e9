# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the declaration to the variables of the role sshd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def derive_sshd(declaration: Mapping[str, Any]) -> dict[str, Any]:
    """Return the role's variables; all others keep their defaults.

    :param declaration: ``mail_gateway``, of which ``ssh`` counts: ``ports`` (empty leaves the host's as they are),
      ``root_logon`` (``key`` or ``none``), and ``administrators``, a list of ``{user, keys, exclusive}``.
    """
    ssh = declaration.get("ssh") or {}
    return {
        "sshd_ports": list(ssh.get("ports", [])),
        "sshd_root_logon": ssh.get("root_logon", "key"),
        "sshd_authorized_keys": [
            {"user": entry["user"], "keys": list(entry["keys"]), "exclusive": bool(entry.get("exclusive", False))}
            for entry in ssh.get("administrators", [])
        ],
    }
