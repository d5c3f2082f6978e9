# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy's runtime API: a question on its ``stats socket``, and the answer (management guide, 9.3)."""

from __future__ import annotations

import socket


def ask(path: str, command: str, seconds: float = 5.0) -> str:
    """Return HAProxy's answer to one command of the runtime API.

    :param path: the ``stats socket``.
    :raises OSError: nobody listens there, or no answer came in ``seconds``.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(seconds)
        client.connect(path)
        client.sendall(f"{command}\n".encode())
        received = bytearray()
        while block := client.recv(65536):
            received += block
    return received.decode("utf-8", "replace")
