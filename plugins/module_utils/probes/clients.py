# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real clients: each probe is a question to a service in its own protocol, its answer what came.

A probe is a dictionary with a ``kind``. Whatever goes wrong is in the answer's ``error``, since a refused connection is
an answer too.

    {"kind": "http", "url": "https://mail.example.com/owa/", "connect": "192.0.2.10",
     "method": "GET", "headers": {}, "body": "", "timeout": 10, "server_name": "…"}
    {"kind": "session", "requests": [ http probes, all on one connection; "pause": seconds after it ]}
    {"kind": "smtp", "connect": "192.0.2.10", "port": 25, "helo": "…", "sender": "a@example.com",
     "recipients": ["b@example.com"], "subject": "…", "starttls": false}
    {"kind": "imap" | "pop3", "connect": "…", "port": 993, "tls": "implicit" | "starttls" | "none", "server_name": "…",
     "user": "…", "password": "…"}
    {"kind": "tcp", "connect": "…", "port": 8404}
    {"kind": "tls", "connect": "…", "port": 443, "server_name": "…", "starttls": "" | "smtp" | "imap" | "pop3"}
    {"kind": "tls_versions", "connect": "…", "port": 443, "server_name": "…", "versions": ["TLSv1", …]}
    {"kind": "dialogue", "connect": "…", "port": 443, "tls": "implicit" | "none", "server_name": "…", "alpn": ["h2"],
     "steps": [{"send": "…"}, {"expect": "regular expression"}, {"pause": 1}, {"starttls": true}, {"closed": 20}]}

Each takes a ``source``, the address to come from, and a ``family``, 4 or 6, where ``connect`` is a name. Those with TLS
take ``verify: false``, and authorities beside the host's own: ``ca_file``, or ``trust`` with the PEM itself. Nothing
is sent without a ``subject``: an SMTP probe ends after the recipients.
"""

from __future__ import annotations

import http.client
import imaplib
import poplib
import re
import smtplib
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

from . import tls

#: Connections to one address at a time: services limit what one client may have.
AT_ONCE = 4


class Connection(http.client.HTTPConnection):
    """HTTP(S) to a given address, whatever the name says."""

    def __init__(self, probe: dict[str, Any]) -> None:
        parts = urlsplit(probe["url"])
        self.secure = parts.scheme == "https"
        port = parts.port or (443 if self.secure else 80)
        super().__init__(parts.hostname or "", port, timeout=probe.get("timeout", 10))
        self.probe = {"connect": self.host, **probe}
        self.ends: dict[str, str] = {}

    def connect(self) -> None:
        """Connect to the address that the probe names."""
        self.sock = tls.connect(self.probe, self.port, self.timeout)
        self.ends = tls.ends(self.sock)
        if self.secure:
            name = self.probe.get("server_name", self.host)
            context = tls.context(self.probe)
            self.sock = context.wrap_socket(self.sock, server_hostname=name)


def request(connection: Connection, probe: dict[str, Any]) -> dict[str, Any]:
    """One request on a connection."""
    # The path goes as it is written: spellings are part of the question.
    path = probe["url"].split("://", 1)[1].partition("/")[2]
    began = time.monotonic()
    connection.request(probe.get("method", "GET"), f"/{path}", probe.get("body") or None, probe.get("headers") or {})
    seen = tls.certificate(connection.sock)
    answer = connection.getresponse()
    body = answer.read()
    headers: dict[str, str] = {}
    for name, value in answer.getheaders():
        headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
    return {
        "status": answer.status,
        "headers": headers,
        "body": body[: probe.get("keep", 20000)].decode("utf-8", "replace"),
        "authenticate": [value for name, value in answer.getheaders() if name.lower() == "www-authenticate"],
        "tls": seen,
        **connection.ends,
        "seconds": round(time.monotonic() - began, 3),
    }


def ask_http(probe: dict[str, Any]) -> dict[str, Any]:
    """One request on a connection of its own."""
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


def ask_smtp(probe: dict[str, Any]) -> dict[str, Any]:
    """A whole dialogue, as far as the server lets it go; each answer as ``CODE text``."""
    result: dict[str, Any] = {}

    def note(step: str, answer: tuple[int, bytes | str]) -> bool:
        text = answer[1] if isinstance(answer[1], str) else answer[1].decode("utf-8", "replace")
        result[step] = f"{answer[0]} {text}"
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
            # The name that the certificate is checked against; there is no public way to give it.
            # smtplib has no public way to say which name the certificate is for, and typeshed doesn't know this one.
            client._host = probe.get("server_name", "")  # type: ignore[attr-defined]  # noqa: SLF001
            note("starttls", client.starttls(context=tls.context(probe)))
            result["tls"] = tls.certificate(client.sock)
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


def _mailbox_socket(probe: dict[str, Any], port: int, timeout: float | None) -> socket.socket:
    """The socket that IMAP and POP begin with, in TLS where the probe says that it is implicit."""
    plain = tls.connect(probe, port, timeout)
    if probe.get("tls") == "implicit":
        return tls.context(probe).wrap_socket(plain, server_hostname=probe.get("server_name", ""))
    return plain


def ask_imap(probe: dict[str, Any]) -> dict[str, Any]:
    """What is offered, and a logon where there is a ``user``."""
    result: dict[str, Any] = {}
    name = probe.get("server_name", "")

    class Client(imaplib.IMAP4):
        def _create_socket(self, timeout: float | None) -> socket.socket:
            return _mailbox_socket(probe, self.port, timeout)

    client = Client(probe["connect"], probe["port"], timeout=probe.get("timeout", 15))
    try:
        result["greeting"] = client.welcome.decode("utf-8", "replace")
        if probe.get("tls") == "starttls":
            client.host = name
            client.starttls(tls.context(probe))
        result["capabilities"] = list(client.capabilities)
        result["tls"] = tls.certificate(client.sock)
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
    """What is offered, and a logon where there is a ``user``."""
    result: dict[str, Any] = {}
    name = probe.get("server_name", "")

    class Client(poplib.POP3):
        def _create_socket(self, timeout: float | None) -> socket.socket:
            return _mailbox_socket(probe, self.port, timeout)

    client = Client(probe["connect"], probe["port"], timeout=probe.get("timeout", 15))
    try:
        result["greeting"] = client.getwelcome().decode("utf-8", "replace")
        if probe.get("tls") == "starttls":
            client.host = name
            client.stls(tls.context(probe))
        result["capabilities"] = sorted(client.capa())
        result["tls"] = tls.certificate(client.sock)
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
    with tls.connect(probe, probe["port"], probe.get("timeout", 5)) as connection:
        connection.settimeout(probe.get("listen", 1))
        try:
            first = connection.recv(200)
        except socket.timeout:  # noqa: UP041 (another class before Python 3.10)
            return {"state": "open"}
        return {"state": "open" if first else "closed at once", "first": first.decode("utf-8", "replace")}


def ask_dialogue(probe: dict[str, Any]) -> dict[str, Any]:
    """Say and hear what the steps say.

    ``heard`` has a text for each ``expect`` and ``at`` its time; ``closed`` is the number of seconds to the end.
    """
    timeout = probe.get("timeout", 15)
    result: dict[str, Any] = {"heard": [], "at": []}
    connection = tls.connect(probe, probe["port"], timeout)
    context = tls.context(probe)

    def secure() -> None:
        nonlocal connection
        connection = context.wrap_socket(connection, server_hostname=probe["server_name"])
        result["alpn"] = connection.selected_alpn_protocol()
        result["tls"] = tls.certificate(connection)

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


KINDS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "http": ask_http,
    "session": ask_session,
    "smtp": ask_smtp,
    "imap": ask_imap,
    "pop3": ask_pop3,
    "tcp": ask_tcp,
    "tls": tls.ask_tls,
    "tls_versions": tls.ask_versions,
    "dialogue": ask_dialogue,
}


def ask(probe: dict[str, Any]) -> dict[str, Any]:
    """Ask, whatever may go wrong."""
    try:
        return KINDS[probe["kind"]](probe)
    except (
        OSError,
        http.client.HTTPException,
        smtplib.SMTPException,
        imaplib.IMAP4.error,
        poplib.error_proto,
        EOFError,
        # What it was asked is nothing that can be asked: no address, no port, no expression, something missing.
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        re.error,
    ) as error:
        return {"error": f"{type(error).__name__}: {error}"}


def ask_all(probes: list[dict[str, Any]], parallel: int, at_once: int = 0) -> list[dict[str, Any]]:
    """The answers in the probes' order, so many ``parallel``, and ``at_once`` at most to one address (0: no limit)."""
    limits: dict[str, threading.Semaphore] = {}
    for probe in probes:
        limits.setdefault(str(probe.get("connect")), threading.Semaphore(at_once or len(probes)))

    def one(probe: dict[str, Any]) -> dict[str, Any]:
        with limits[str(probe.get("connect"))]:
            return ask(probe)

    with ThreadPoolExecutor(max(1, parallel)) as pool:
        return list(pool.map(one, probes))
