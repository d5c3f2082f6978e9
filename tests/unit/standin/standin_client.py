"""What the tests do with a stand-in: run one, steer it, speak SMTP and NTLM to it by hand."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import io
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from standin import ntlm
from standin.__main__ import main
from standin.fresh import fresh
from standin.serve import Server

PASSWORDS = {"anna@example.test": "Anna's secret", "berta@example.test": "Berta's secret"}
CONNECTORS = {25: "Default Frontend EX1", 587: "Client Frontend EX1", 717: "Outbound Proxy Frontend EX1"}
CONNECTORS |= {2525: "Default EX1", 465: "Client Proxy EX1"}


class Ports:
    """Ports that are nobody else's until they are given back.

    A port that is merely found free is anybody's: between two settings nobody listens on it, and a client from another
    loopback address is given it and keeps it for a minute after its end, which bars 0.0.0.0. So each is held by a
    socket that is bound to all addresses and never listens; Linux lets one beside it listen where both share one.
    """

    def __init__(self, count: int) -> None:
        self._held = []
        for _unused in range(count):
            held = socket.socket()
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(("0.0.0.0", 0))
            self._held.append(held)
        self.numbers = [held.getsockname()[1] for held in self._held]

    def give_back(self) -> None:
        for held in self._held:
            held.close()


LONG = 60
"""Seconds that nothing here takes, whatever else the machine does."""


def within(seconds: float, true: Callable[[], bool]) -> bool:
    """Whether it becomes true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if true():
            return True
        time.sleep(0.02)
    return False


def make_certificate(path: Path) -> Path:
    names = "subjectAltName=DNS:mail.example.test,DNS:ex1.example.test,IP:127.0.0.1"
    made = subprocess.run(
        [
            *"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(),
            *"-subj /CN=mail.example.test -keyout - -out - -addext".split(),
            names,
        ],
        check=True,
        capture_output=True,
    )
    path.write_bytes(made.stdout)
    return path


class Standin:
    """A running stand-in, and what a test does with it."""

    def __init__(self, directory: Path, tls: Path, run: Path) -> None:
        self.directory = directory
        self.tls = tls
        self._held = Ports(len(CONNECTORS) + 1)
        self.https, *ports = self._held.numbers
        self.ports = dict(zip(CONNECTORS, ports, strict=True))
        self.reset()
        self.server = Server(directory, tls, run, mail_access=False)
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(LONG), "the stand-in didn't start"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self.server.run(self._ready.set))
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)
        # What was cut needs a turn of the loop to end.
        self._loop.run_until_complete(asyncio.sleep(0.05))
        self._loop.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(LONG)
        self.server.journal.close()
        self._held.give_back()

    def document(self) -> dict[str, Any]:
        """A fresh state, on the test's own ports and without the tarpit's five seconds."""
        document = fresh("EX1", "ex1.example.test", ["example.test"], PASSWORDS)
        for connector in document["ReceiveConnector"]:
            port = int(connector["Bindings"][0].rpartition(":")[2])
            connector |= {"Bindings": [f"127.0.0.1:{self.ports[port]}"], "TarpitInterval": "00:00:00"}
            connector |= {"AuthTarpitInterval": "00:00:00"}
        document["WebBinding"] = [{"protocol": "https", "bindingInformation": f"127.0.0.1:{self.https}:"}]
        return document

    def reset(self) -> None:
        self.write(self.document())

    def write(self, document: dict[str, Any]) -> None:
        """Replace the state behind the back of the server, as another program does."""
        beside = self.directory / "state.json.test"
        beside.write_text(json.dumps(document))
        beside.replace(self.directory / "state.json")

    def command(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        """Run the command line: exit status, standard output, standard error."""
        out, err = io.StringIO(), io.StringIO()
        kept, sys.stdin = sys.stdin, io.StringIO(stdin)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = main(["--directory", str(self.directory), *arguments])
        finally:
            sys.stdin = kept
        return status, out.getvalue(), err.getvalue()

    def set(self, *pairs: Any) -> None:
        """`set("Kind.Property", value, …)`, in force when it returns."""
        arguments = [json.dumps(item) if number % 2 else item for number, item in enumerate(pairs)]
        status, _, complaint = self.command("set", *arguments)
        assert status == 0, complaint

    def connector(self, port: int, **properties: Any) -> None:
        """Change properties of the default connector of a port."""
        path = f"ReceiveConnector[{CONNECTORS[port]}]"
        self.set(*(item for name, value in properties.items() for item in (f"{path}.{name}", value)))

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        _, out, _ = self.command("events", "--kind", kind)
        return [json.loads(line) for line in out.splitlines()]

    def event(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The one event of the kind with these fields; sessions end a moment after their client is gone."""

        def found() -> list[dict[str, Any]]:
            return [e for e in self.events(kind) if all(e.get(name) == value for name, value in fields.items())]

        assert within(LONG, lambda: bool(found())), f"no {kind} with {fields} among {self.events(kind)}"
        (one,) = found()
        return one


class Dialogue:
    """SMTP by hand."""

    def __init__(self, port: int, source: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=LONG, source_address=(source, 0))
        self._file = self._socket.makefile("rb")
        self.banner = self.answer()

    def answer(self) -> str:
        """The next answer; lines joined by newlines; empty at the end of the connection."""
        lines = []
        while True:
            line = self._file.readline().decode().rstrip("\r\n")
            lines.append(line)
            if line[3:4] != "-":
                return "\n".join(lines)

    def say(self, line: str | bytes) -> str:
        self._socket.sendall(line if isinstance(line, bytes) else line.encode() + b"\r\n")
        return self.answer()

    def start_tls(self, trust: ssl.SSLContext) -> None:
        self._file.close()
        self._socket = trust.wrap_socket(self._socket, server_hostname="mail.example.test")
        self._file = self._socket.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self._socket.close()


# The client's half of NTLM, from MS-NLMP: no client of the standard library speaks it.


def negotiate() -> bytes:
    return ntlm.SIGNATURE + struct.pack("<II", 1, 0xA2088207) + bytes(16)


def read_challenge(message: bytes) -> tuple[bytes, bytes]:
    """The nonce and the target information of a type 2 message."""
    assert ntlm.message_type(message) == 2
    length, _, start = struct.unpack_from("<HHI", message, 40)
    return message[24:32], message[start : start + length]


def authenticate(message: bytes, user: str, domain: str, password: str, bindings: bytes = b"") -> bytes:
    """The answer to a challenge; `bindings`: the hash of the TLS channel, for Extended Protection."""
    nonce, information = read_challenge(message)
    if bindings:
        assert information.endswith(bytes(4))
        information = information[:-4] + struct.pack("<HH", 10, 16) + bindings + bytes(4)
    blob = bytes((1, 1)) + bytes(6) + struct.pack("<Q", 133700000000000000) + os.urandom(8) + bytes(4)
    blob += information + bytes(4)
    secret = hmac.digest(ntlm.md4(password.encode("utf-16-le")), (user.upper() + domain).encode("utf-16-le"), "md5")
    response = hmac.digest(secret, nonce + blob, "md5") + blob
    parts = [bytes(24), response, domain.encode("utf-16-le"), user.encode("utf-16-le"), "PC".encode("utf-16-le"), b""]
    head, payload = ntlm.SIGNATURE + struct.pack("<I", 3), b""
    for part in parts:
        head += struct.pack("<HHI", len(part), len(part), 64 + len(payload))
        payload += part
    return head + struct.pack("<I", 0xA2088205) + payload
