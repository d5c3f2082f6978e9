"""What only the lab asks, beside the product's probes: logons by NTLM, and crowds. It runs on a host of the lab.

{"kind": "ntlm", "user": "anna", "nt_hash": "…", "requests": [ http probes; the first one logs the connection on ]}
{"kind": "crowd", "connect": "10.1.2.11", "port": 25, "count": 30}
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import socket
import struct
import time
from typing import Any

from .clients import KINDS, Connection, ask_session, request
from .tls import connect

# NTLM (MS-NLMP), the client's half. Flags: Unicode, NTLM, always sign, extended session security, target information.
NTLM_FLAGS = 0x00000001 | 0x4 | 0x200 | 0x8000 | 0x80000 | 0x800000


def ntlm_answer(challenge: bytes, user: str, nt_hash: bytes, bindings: bytes) -> bytes:
    """Return the third message: the NTLMv2 answer to a challenge, bound to the TLS channel that it came over."""
    length, _, start = struct.unpack_from("<HHI", challenge, 40)
    information = challenge[start : start + length - 4] + struct.pack("<HH", 10, 16) + bindings + bytes(4)
    blob = b"\1\1" + bytes(6) + struct.pack("<Q", int((time.time() + 11644473600) * 10**7)) + os.urandom(8)
    blob += bytes(4) + information + bytes(4)
    key = hmac.digest(nt_hash, user.upper().encode("utf-16-le"), "md5")
    response = hmac.digest(key, challenge[24:32] + blob, "md5") + blob
    fields, payload = b"", b""
    for part in (bytes(24), response, b"", user.encode("utf-16-le"), b"", b""):
        fields += struct.pack("<HHI", len(part), len(part), 64 + len(payload))
        payload += part
    return b"NTLMSSP\0" + struct.pack("<I", 3) + fields + struct.pack("<I", NTLM_FLAGS) + payload


def ask_ntlm(probe: dict[str, Any]) -> dict[str, Any]:
    """Log a connection on with the first request, and go on with the others on it. The first answer has ``steps``."""

    def log_on(connection: Connection, one: dict[str, Any]) -> dict[str, Any]:
        def step(message: bytes) -> dict[str, Any]:
            token = {"Authorization": f"NTLM {base64.b64encode(message).decode()}"}
            answer = request(connection, {**one, "headers": {**one.get("headers", {}), **token}})
            time.sleep(one.get("pause", 0))
            return answer

        first = step(b"NTLMSSP\0" + struct.pack("<II", 1, NTLM_FLAGS) + bytes(16))
        offered = re.search(r"NTLM ([A-Za-z0-9+/=]+)", first["headers"].get("www-authenticate", ""))
        if not offered:
            return {**first, "steps": [first["status"]]}
        seen = hashlib.sha256(connection.sock.getpeercert(binary_form=True)).digest()
        channel = b"tls-server-end-point:" + seen  # RFC 5929, in RFC 2744's structure
        bindings = hashlib.md5(bytes(16) + struct.pack("<I", len(channel)) + channel, usedforsecurity=False).digest()
        challenge = base64.b64decode(offered[1])
        second = step(ntlm_answer(challenge, probe["user"], bytes.fromhex(probe["nt_hash"]), bindings))
        return {**second, "steps": [first["status"], second["status"]]}

    return ask_session(probe, log_on)


def ask_crowd(probe: dict[str, Any]) -> dict[str, Any]:
    """How many of so many connections at once stay open."""
    crowd: list[socket.socket] = []
    refused = 0
    try:
        for _ in range(probe["count"]):
            try:
                crowd.append(connect(probe, probe["port"], probe.get("timeout", 5)))
            except OSError:
                refused += 1
        # Each is refused, if at all, as soon as it comes; what was said to it first doesn't matter.
        time.sleep(probe.get("listen", 1))
        for one in crowd:
            one.settimeout(0.05)
            try:
                while one.recv(4096):
                    pass
                refused += 1
            except TimeoutError:
                pass
            except OSError:
                refused += 1
    finally:
        for one in crowd:
            one.close()
    return {"open": probe["count"] - refused, "refused": refused}


KINDS.update({"ntlm": ask_ntlm, "crowd": ask_crowd})
