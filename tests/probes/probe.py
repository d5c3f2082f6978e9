"""Real clients for the lab: what it is asked on the command line as JSON, it does, and prints what came as JSON.

Runs on a host of the lab with Python's standard library alone (see ``tests/probes/__init__.py``). A probe is a
dictionary with a ``kind``; whatever goes wrong is in the answer's ``error``, since a refused connection is an answer
too.

    {"kind": "http", "url": "https://mail.example.test/owa/", "connect": "10.1.2.11",
     "method": "GET", "headers": {}, "body": "", "timeout": 10}
    {"kind": "session", "requests": [ http probes, all on one connection ]}
    {"kind": "smtp", "connect": "10.1.2.11", "port": 25, "helo": "client.example.test", "sender": "a@b.test",
     "recipients": ["anna@example.test"], "subject": "…", "starttls": false}
    {"kind": "imap" | "pop3", "connect": "…", "port": 993, "tls": "implicit" | "starttls" | "none", "server_name": "…",
     "user": "…", "password": "…"}
    {"kind": "tcp", "connect": "…", "port": 8404}
"""

from __future__ import annotations

import http.client
import imaplib
import json
import poplib
import smtplib
import socket
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

AUTHORITY = "/etc/ssl/certs/lab-ca.pem"


def tls_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=AUTHORITY)


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
        "version": connection.version(),
    }


class Connection(http.client.HTTPConnection):
    """HTTP(S) to a given address, whatever the name says."""

    def __init__(self, host: str, port: int, address: str, secure: bool, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout)
        self.address, self.secure = address, secure

    def connect(self) -> None:
        self.sock = socket.create_connection((self.address, self.port), self.timeout)
        if self.secure:
            self.sock = tls_context().wrap_socket(self.sock, server_hostname=self.host)


def open_http(probe: dict[str, Any]) -> Connection:
    parts = urlsplit(probe["url"])
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    return Connection(
        parts.hostname or "", port, probe.get("connect") or parts.hostname or "", secure, probe.get("timeout", 10)
    )


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
    connection = open_http(probe)
    try:
        return request(connection, probe)
    finally:
        connection.close()


def ask_session(probe: dict[str, Any]) -> dict[str, Any]:
    """Several requests on one connection; it stops where the connection ends."""
    connection = open_http(probe["requests"][0])
    connection.auto_open = 0
    connection.connect()
    answers: list[dict[str, Any]] = []
    try:
        for one in probe["requests"]:
            answers.append(request(connection, one))
            time.sleep(one.get("pause", 0))
    except (OSError, http.client.HTTPException) as error:
        answers.append({"error": f"{type(error).__name__}: {error}"})
    finally:
        connection.close()
    return {"answers": answers}


def ask_smtp(probe: dict[str, Any]) -> dict[str, Any]:
    """A whole dialogue, as far as the server lets it go; each answer as ``CODE text``."""
    result: dict[str, Any] = {}

    def note(step: str, answer: tuple[int, bytes]) -> bool:
        result[step] = f"{answer[0]} {answer[1].decode('utf-8', 'replace')}"
        return 200 <= answer[0] < 400

    client = smtplib.SMTP(timeout=probe.get("timeout", 15))
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
    with socket.create_connection((probe["connect"], probe["port"]), probe.get("timeout", 5)) as connection:
        connection.settimeout(probe.get("listen", 1))
        try:
            first = connection.recv(200)
        except TimeoutError:
            return {"state": "open"}
        return {"state": "open" if first else "closed at once", "first": first.decode("utf-8", "replace")}


KINDS = {"http": ask_http, "session": ask_session, "smtp": ask_smtp, "imap": ask_imap, "pop3": ask_pop3, "tcp": ask_tcp}


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
