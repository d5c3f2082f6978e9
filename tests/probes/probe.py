"""Real clients for the lab: what it is asked on the command line as JSON, it does, and prints what came as JSON.

Runs on a host of the lab with Python's standard library alone (see ``tests/probes/__init__.py``). A probe is a
dictionary with a ``kind``; whatever goes wrong is in the answer's ``error``, since a refused connection is an answer
too.

    {"kind": "http", "url": "https://mail.example.test/owa/", "connect": "10.1.2.11",
     "method": "GET", "headers": {}, "body": "", "timeout": 10, "server_name": "…", "verify": true,
     "trust": "PEM of another authority"}
    {"kind": "session", "requests": [ http probes, all on one connection; "pause": seconds after it ]}
    {"kind": "ntlm", "user": "anna", "nt_hash": "…", "requests": [ http probes; the first one logs the connection on ]}
    {"kind": "smtp", "connect": "10.1.2.11", "port": 25, "helo": "client.example.test", "sender": "a@b.test",
     "recipients": ["anna@example.test"], "subject": "…", "starttls": false}
    {"kind": "imap" | "pop3", "connect": "…", "port": 993, "tls": "implicit" | "starttls" | "none", "server_name": "…",
     "user": "…", "password": "…"}
    {"kind": "tcp", "connect": "…", "port": 8404}
    {"kind": "crowd", "connect": "…", "port": 25, "count": 30}
    {"kind": "dialogue", "connect": "…", "port": 443, "tls": "implicit" | "none", "server_name": "…", "alpn": ["h2"],
     "steps": [{"send": "…"}, {"expect": "regular expression"}, {"pause": 1}, {"starttls": true}, {"closed": 20}]}

Every kind but IMAP and POP takes a ``source``, the address to come from.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import imaplib
import json
import os
import poplib
import re
import smtplib
import socket
import ssl
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

AUTHORITY = "/etc/ssl/certs/lab-ca.pem"


def tls_context(verify: bool = True, alpn: list[str] | None = None, trust: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=AUTHORITY)
    if trust:
        context.load_verify_locations(cadata=trust)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def connect(probe: dict[str, Any], port: int, timeout: float) -> socket.socket:
    source = (probe["source"], 0) if probe.get("source") else None
    return socket.create_connection((probe["connect"], port), timeout, source)


def certificate(connection: socket.socket) -> dict[str, Any]:
    """Return what a person would want to know of the server's certificate."""
    if not isinstance(connection, ssl.SSLSocket):
        return {}
    found = connection.getpeercert() or {}
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


class Connection(http.client.HTTPConnection):
    """HTTP(S) to a given address, whatever the name says."""

    def __init__(self, probe: dict[str, Any]) -> None:
        parts = urlsplit(probe["url"])
        self.secure = parts.scheme == "https"
        port = parts.port or (443 if self.secure else 80)
        super().__init__(parts.hostname or "", port, timeout=probe.get("timeout", 10))
        self.probe = {"connect": self.host, **probe}

    def connect(self) -> None:
        self.sock = connect(self.probe, self.port, self.timeout)
        if self.secure:
            name = self.probe.get("server_name", self.host)
            context = tls_context(self.probe.get("verify", True), trust=self.probe.get("trust", ""))
            self.sock = context.wrap_socket(self.sock, server_hostname=name)


def request(connection: Connection, probe: dict[str, Any]) -> dict[str, Any]:
    # The path goes as it is written: spellings are part of the question.
    path = probe["url"].split("://", 1)[1].partition("/")[2]
    began = time.monotonic()
    connection.request(probe.get("method", "GET"), f"/{path}", probe.get("body") or None, probe.get("headers") or {})
    tls = certificate(connection.sock)
    answer = connection.getresponse()
    body = answer.read()
    headers: dict[str, str] = {}
    for name, value in answer.getheaders():
        headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
    return {
        "status": answer.status,
        "headers": headers,
        "body": body[: probe.get("keep", 20000)].decode("utf-8", "replace"),
        "tls": tls,
        "seconds": round(time.monotonic() - began, 3),
    }


def ask_http(probe: dict[str, Any]) -> dict[str, Any]:
    connection = Connection(probe)
    try:
        return request(connection, probe)
    finally:
        connection.close()


def ask_session(probe: dict[str, Any], log_on: Any = None) -> dict[str, Any]:
    """Several requests on one connection; it stops where the connection ends."""
    connection = Connection(probe["requests"][0])
    connection.auto_open = 0
    connection.connect()
    answers: list[dict[str, Any]] = []
    try:
        for one in probe["requests"]:
            answers.append(log_on(connection, one) if log_on and not answers else request(connection, one))
            time.sleep(one.get("pause", 0))
    except (OSError, http.client.HTTPException) as error:
        answers.append({"error": f"{type(error).__name__}: {error}"})
    finally:
        connection.close()
    return {"answers": answers}


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


def ask_smtp(probe: dict[str, Any]) -> dict[str, Any]:
    """A whole dialogue, as far as the server lets it go; each answer as ``CODE text``."""
    result: dict[str, Any] = {}

    def note(step: str, answer: tuple[int, bytes]) -> bool:
        result[step] = f"{answer[0]} {answer[1].decode('utf-8', 'replace')}"
        return 200 <= answer[0] < 400

    source = (probe["source"], 0) if probe.get("source") else None
    client = smtplib.SMTP(timeout=probe.get("timeout", 15), source_address=source)
    client.local_hostname = probe.get("helo", "probe.example.test")
    try:
        if not note("banner", client.connect(probe["connect"], probe.get("port", 25))) or not note(
            "ehlo", client.ehlo()
        ):
            return result
        result["features"] = sorted(client.esmtp_features)
        if probe.get("starttls"):
            client._host = probe.get("server_name", "")  # the name that the certificate is checked against
            note("starttls", client.starttls(context=tls_context()))
            result["tls"] = certificate(client.sock)
            client.ehlo()
        if probe.get("user"):
            try:
                note("auth", client.login(probe["user"], probe["password"]))
            except smtplib.SMTPResponseException as error:
                note("auth", (error.smtp_code, error.smtp_error))
        if "sender" not in probe or not note("mail", client.mail(probe["sender"])):
            return result
        accepted = [note(f"rcpt {recipient}", client.rcpt(recipient)) for recipient in probe.get("recipients", [])]
        if any(accepted) and probe.get("subject"):
            message = EmailMessage()
            message["From"], message["To"], message["Subject"] = (
                probe["sender"],
                ", ".join(probe["recipients"]),
                probe["subject"],
            )
            message.set_content("probe\n" * probe.get("lines", 1))
            note("data", client.data(message.as_bytes()))
        client.quit()
    finally:
        client.close()
    return result


def ask_imap(probe: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    name = probe.get("server_name", "")
    if probe.get("tls") == "implicit":

        class Implicit(imaplib.IMAP4_SSL):
            def _create_socket(self, timeout: float | None) -> ssl.SSLSocket:
                plain = socket.create_connection((self.host, self.port), timeout)
                return tls_context().wrap_socket(plain, server_hostname=name)

        client: imaplib.IMAP4 = Implicit(probe["connect"], probe["port"], timeout=probe.get("timeout", 15))
    else:
        client = imaplib.IMAP4(probe["connect"], probe["port"], timeout=probe.get("timeout", 15))
    try:
        result["greeting"] = client.welcome.decode("utf-8", "replace")
        if probe.get("tls") == "starttls":
            client.host = name
            client.starttls(tls_context())
        result["capabilities"] = list(client.capabilities)
        result["tls"] = certificate(client.sock)
        if probe.get("user"):
            try:
                status, text = client.login(probe["user"], probe["password"])
                result["logon"] = f"{status} {text[0].decode('utf-8', 'replace')}"
                result["messages"] = int((client.select("INBOX", readonly=True)[1][0] or b"0").decode())
            except imaplib.IMAP4.error as error:
                result["logon"] = f"NO {error}"
    finally:
        client.logout()
    return result


def ask_pop3(probe: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    timeout, name = probe.get("timeout", 15), probe.get("server_name", "")
    if probe.get("tls") == "implicit":

        class Implicit(poplib.POP3_SSL):
            def _create_socket(self, timeout: float) -> socket.socket:
                plain = socket.create_connection((self.host, self.port), timeout)
                return tls_context().wrap_socket(plain, server_hostname=name)

        client: poplib.POP3 = Implicit(probe["connect"], probe["port"], timeout=timeout)
    else:
        client = poplib.POP3(probe["connect"], probe["port"], timeout=timeout)
    try:
        result["greeting"] = client.getwelcome().decode("utf-8", "replace")
        if probe.get("tls") == "starttls":
            client.host = name
            client.stls(tls_context())
        result["capabilities"] = sorted(client.capa())
        result["tls"] = certificate(client.sock)
        if probe.get("user"):
            try:
                client.user(probe["user"])
                result["logon"] = client.pass_(probe["password"]).decode("utf-8", "replace")
            except poplib.error_proto as error:
                result["logon"] = f"-ERR {error}"
        client.quit()
    finally:
        client.close()
    return result


def ask_tcp(probe: dict[str, Any]) -> dict[str, Any]:
    """Whether the port answers: ``open`` (and stays so), ``closed at once`` after the handshake, or the error."""
    with connect(probe, probe["port"], probe.get("timeout", 5)) as connection:
        connection.settimeout(probe.get("listen", 1))
        try:
            first = connection.recv(200)
        except TimeoutError:
            return {"state": "open"}
        return {"state": "open" if first else "closed at once", "first": first.decode("utf-8", "replace")}


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


def ask_dialogue(probe: dict[str, Any]) -> dict[str, Any]:
    """Say and hear what the steps say.

    ``heard`` has a text for each ``expect`` and ``at`` its time; ``closed`` is the number of seconds to the end.
    """
    timeout = probe.get("timeout", 15)
    result: dict[str, Any] = {"heard": [], "at": []}
    connection = connect(probe, probe["port"], timeout)
    context = tls_context(probe.get("verify", True), probe.get("alpn"))

    def secure() -> None:
        nonlocal connection
        connection = context.wrap_socket(connection, server_hostname=probe["server_name"])
        result["alpn"] = connection.selected_alpn_protocol()
        result["tls"] = certificate(connection)

    received = ""

    def more() -> bool:
        nonlocal received
        block = connection.recv(65536)
        received += block.decode("latin-1")
        return bool(block)

    try:
        if probe.get("tls") == "implicit":
            secure()
        for step in probe["steps"]:
            if "send" in step:
                connection.sendall(step["send"].encode("latin-1"))
            elif "pause" in step:
                time.sleep(step["pause"])
            elif step.get("starttls"):
                secure()
            elif "expect" in step:
                connection.settimeout(step.get("timeout", timeout))
                while not (match := re.search(step["expect"], received, re.DOTALL)) and more():
                    pass
                result["heard"].append(received[: match.end()] if match else received)
                result["at"].append(time.time())
                received = received[match.end() :] if match else ""
                if not match:
                    raise ConnectionError("the connection was closed")
            else:
                connection.settimeout(step["closed"])
                began = time.monotonic()
                while more():
                    pass
                result["closed"] = round(time.monotonic() - began, 3)
                result["heard"].append(received)
    except OSError as error:
        result["error"] = f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    return result


KINDS = {
    "http": ask_http,
    "session": ask_session,
    "ntlm": ask_ntlm,
    "smtp": ask_smtp,
    "imap": ask_imap,
    "pop3": ask_pop3,
    "tcp": ask_tcp,
    "crowd": ask_crowd,
    "dialogue": ask_dialogue,
}


def ask(probe: dict[str, Any]) -> dict[str, Any]:
    try:
        return KINDS[probe["kind"]](probe)
    except (
        OSError,
        http.client.HTTPException,
        smtplib.SMTPException,
        imaplib.IMAP4.error,
        poplib.error_proto,
        EOFError,
    ) as error:
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    probes = json.loads(sys.argv[1])
    with ThreadPoolExecutor(int(sys.argv[2]) if len(sys.argv) > 2 else 1) as pool:
        print(json.dumps(list(pool.map(ask, probes))))
