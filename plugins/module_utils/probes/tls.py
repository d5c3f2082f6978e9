# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections, and TLS as it comes: what a server sends, whether it verifies here, and which versions it takes.

This folder runs on any Linux host with Python 3.9 or later, by its own library alone and without privileges.
"""

from __future__ import annotations

import base64
import os
import socket
import ssl
import struct
import time
from typing import Any

VERSIONS = {"SSLv3": 0x0300, "TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303}
_BY_NUMBER = {number: name for name, number in VERSIONS.items()}
#: Suites of all times: a server that takes the version shall find one.
_SUITES = (
    0xC02F, 0xC030, 0xC02B, 0xC02C, 0x009E, 0x009F, 0xC027, 0xC028, 0xC013, 0xC014, 0xC009, 0xC00A, 0x009C, 0x009D,
    0x003C, 0x003D, 0x002F, 0x0035, 0x0033, 0x0039, 0xC012, 0x000A, 0x0005, 0x0004,
)  # fmt: skip
_HANDSHAKE, _ALERT, _SERVER_HELLO = 22, 21, 2


def connect(probe: dict[str, Any], port: int, timeout: float | None) -> socket.socket:
    """Connect to ``connect``, an address or a name; ``family`` (4 or 6) and ``source`` may be asked for."""
    source = (probe["source"], 0) if probe.get("source") else None
    family = {4: socket.AF_INET, 6: socket.AF_INET6}.get(probe.get("family", 0), socket.AF_UNSPEC)
    host = probe["connect"]
    if family != socket.AF_UNSPEC:
        host = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4][0]
    return socket.create_connection((host, port), timeout, source)


def ends(connection: socket.socket) -> dict[str, str]:
    """The addresses of both ends."""
    return {"peer": str(connection.getpeername()[0]), "own": str(connection.getsockname()[0])}


def context(probe: dict[str, Any]) -> ssl.SSLContext:
    """How TLS is spoken: ``ca_file`` and ``trust`` (PEM) are trusted beside what the host trusts."""
    found = ssl.create_default_context()
    if probe.get("ca_file"):
        found.load_verify_locations(cafile=probe["ca_file"])
    if probe.get("trust"):
        found.load_verify_locations(cadata=probe["trust"])
    if not probe.get("verify", True):
        found.check_hostname = False
        found.verify_mode = ssl.CERT_NONE
    if probe.get("alpn"):
        found.set_alpn_protocols(probe["alpn"])
    return found


def certificate(connection: socket.socket | None) -> dict[str, Any]:
    """What a person would want to know of a certificate that verified; nothing of one that nobody verified."""
    if not isinstance(connection, ssl.SSLSocket):
        return {}
    found: dict[str, Any] = connection.getpeercert() or {}
    flat = {name: dict(pair[0] for pair in found.get(name, ())).get("commonName") for name in ("subject", "issuer")}
    names = [value for kind, value in found.get("subjectAltName", ()) if kind == "DNS"]
    return {
        **flat,
        "names": names,
        "serial": found.get("serialNumber"),
        "not_after": found.get("notAfter"),
        "days_left": int((ssl.cert_time_to_seconds(str(found["notAfter"])) - time.time()) / 86400) if found else 0,
        "version": connection.version(),
    }


def chain(connection: ssl.SSLSocket) -> list[str]:
    """The certificates as they were sent, the server's own first, each as base64 of its DER."""
    # Public from Python 3.13 on; before that only the object inside has it, from 3.10 on.
    ask = getattr(connection, "get_unverified_chain", None)
    if ask is None:
        ask = getattr(getattr(connection, "_sslobj", None), "get_unverified_chain", None)
    sent = (ask() or []) if ask else []
    found = [one if isinstance(one, bytes) else one.public_bytes(2) for one in sent]  # 2: DER
    own = connection.getpeercert(binary_form=True)
    return [base64.b64encode(one).decode() for one in (found or ([own] if own else []))]


def ask_tls(probe: dict[str, Any]) -> dict[str, Any]:
    """Whether TLS verifies here, why not, and what was sent, whether it does or not.

    ``starttls`` is ``smtp``, ``imap`` or ``pop3`` where TLS begins after a few words. Of several faults OpenSSL names
    the first; who wants all looks at the chain.
    """
    result: dict[str, Any] = {"verified": False, "verify_code": 0, "verify_message": "", "time": time.time()}
    for verify in (True, False):
        try:
            with _secure({**probe, "verify": verify}) as connection:
                result.update(ends(connection), chain=chain(connection), version=connection.version())
                result["verified"] = verify
                return result
        except ssl.SSLCertVerificationError as error:
            result.update(verify_code=error.verify_code, verify_message=error.verify_message)
    return result


def _secure(probe: dict[str, Any]) -> ssl.SSLSocket:
    connection = connect(probe, probe["port"], probe.get("timeout", 10))
    try:
        _begin(connection, probe.get("starttls", ""))
        return context(probe).wrap_socket(connection, server_hostname=probe["server_name"])
    except BaseException:
        connection.close()
        raise


#: Protocol → what is said before TLS: what begins the last line of each answer, then what is sent.
_WORDS: dict[str, list[tuple[str, str]]] = {
    "smtp": [("220 ", "EHLO probe.invalid\r\n"), ("250 ", "STARTTLS\r\n"), ("220 ", "")],
    "imap": [("* OK", "a1 STARTTLS\r\n"), ("a1 OK", "")],
    "pop3": [("+OK", "STLS\r\n"), ("+OK", "")],
}


def _begin(connection: socket.socket, protocol: str) -> None:
    """Say what comes before TLS, a byte at a time, so that nothing of TLS is read here."""
    for wanted, say in _WORDS[protocol] if protocol else ():
        while True:
            line = b""
            while not line.endswith(b"\n"):
                one = connection.recv(1)
                if not one or len(line) > 4096:
                    raise ConnectionError("the connection was closed before TLS")
                line += one
            text = line.decode("latin-1").rstrip()
            if text.startswith(wanted.rstrip()) and not text.startswith(f"{wanted.rstrip()}-"):
                break
            if not text.startswith(("250-", "220-", "* ")):
                raise ConnectionError(f"TLS isn't offered: {text[:100]}")
        connection.sendall(say.encode())


def hello(version: str, name: str) -> bytes:
    """A client's first message for a version, made by hand: the local OpenSSL may not speak it any more."""
    number = VERSIONS[version]
    suites = b"".join(struct.pack("!H", suite) for suite in (*_SUITES, 0x00FF))
    body = struct.pack("!H", number) + os.urandom(32) + b"\0" + struct.pack("!H", len(suites)) + suites + b"\1\0"
    if version != "SSLv3":
        host = name.encode("ascii")
        server_name = struct.pack("!HBH", len(host) + 3, 0, len(host)) + host
        groups = struct.pack("!HHHH", 6, 29, 23, 24)
        extensions = [(0, server_name), (10, groups), (11, b"\1\0")]
        if version == "TLSv1.2":
            schemes = struct.pack("!7H", 0x0403, 0x0503, 0x0804, 0x0805, 0x0401, 0x0501, 0x0201)
            extensions.append((13, struct.pack("!H", len(schemes)) + schemes))
        packed = b"".join(struct.pack("!HH", kind, len(data)) + data for kind, data in extensions)
        body += struct.pack("!H", len(packed)) + packed
    message = b"\1" + struct.pack("!I", len(body))[1:] + body
    return struct.pack("!BHH", _HANDSHAKE, min(number, 0x0301), len(message)) + message


def ask_versions(probe: dict[str, Any]) -> dict[str, Any]:
    """Which of the ``versions`` a server takes: ``offered``, ``refused`` or ``unknown``, each with what came."""
    found = {}
    for version in probe.get("versions", list(VERSIONS)):
        try:
            found[version] = _take(probe, version)
        except OSError as error:
            found[version] = {"state": "unknown", "came": f"{type(error).__name__}: {error}"}
    return {"versions": found}


def _take(probe: dict[str, Any], version: str) -> dict[str, Any]:
    with connect(probe, probe["port"], probe.get("timeout", 10)) as connection:
        _begin(connection, probe.get("starttls", ""))
        connection.sendall(hello(version, probe["server_name"]))
        received = b""
        try:
            while len(received) < 11:
                block = connection.recv(4096)
                if not block:
                    break
                received += block
                if received[0] == _ALERT and len(received) >= 7:
                    break
        except ConnectionResetError:
            return {"state": "refused", "came": "the connection was reset"}
    if not received:
        return {"state": "refused", "came": "the connection was closed"}
    if received[0] == _ALERT and len(received) >= 7:
        return {"state": "refused", "came": f"alert {received[6]}"}
    if len(received) >= 11 and received[0] == _HANDSHAKE and received[5] == _SERVER_HELLO:
        (number,) = struct.unpack_from("!H", received, 9)
        state = "offered" if number == VERSIONS[version] else "refused"
        return {"state": state, "came": f"a hello of {_BY_NUMBER.get(number, hex(number))}"}
    return {"state": "unknown", "came": f"{received[:11].hex()}, which isn't TLS"}
