# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server: listeners, and the state in force."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path

from . import connectors, dovecot
from .journal import Journal
from .network import Network
from .smtp import SERVICES, SmtpServer
from .state import State, StateError, load
from .values import Binding
from .website import Site

_LOOK = 0.2  # seconds between two looks at the state file and the certificate


class Tls:
    """The server's certificate. One context for good: a new certificate is loaded into it, for new handshakes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.context: ssl.SSLContext | None = None
        self._seen: tuple[int, int] | None = None
        self.key = b""
        self.certificate = b""

    def look(self) -> None:
        """Load the file if it is new. Without one there is no TLS; with a broken one the former stays."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return
        if self._seen == (found.st_mtime_ns, found.st_size):
            return
        self._seen = (found.st_mtime_ns, found.st_size)
        context = self.context or ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            text = self.path.read_text()
            context.load_cert_chain(self.path)
            first = text[text.index("-----BEGIN CERTIFICATE") :].partition("-----END")[0]
            certificate = ssl.PEM_cert_to_DER_cert(f"{first}-----END CERTIFICATE-----\n")
        except (OSError, ssl.SSLError, ValueError) as problem:
            print(f"{self.path} can't be used as certificate and key: {problem}", file=sys.stderr)
            return
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.sni_callback = _note_sni
        self.key = hashlib.sha256(b"logon cookie" + text.encode()).digest()
        self.certificate = certificate
        self.context = context


def _note_sni(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
    connection.sni = name  # type: ignore[attr-defined]


class Server:
    """Everything that listens. `directory` holds state.json, journal.jsonl, control.sock and mail/."""

    def __init__(
        self, directory: Path, tls: Path, run: Path, mail_access: bool = True, network: Network | None = None
    ) -> None:
        self.directory = directory
        self.state_path = directory / "state.json"
        self.control_path = directory / "control.sock"
        self.journal = Journal(directory / "journal.jsonl")
        self.tls = Tls(tls)
        self._state: State | None = None
        self._text = b""
        self._applying = asyncio.Lock()
        self._listeners: dict[tuple[str, Binding], asyncio.Server] = {}
        self._mail_access = mail_access
        self._network = network
        mail = directory / "mail"
        self.smtp = SmtpServer(self.state, self.journal, mail, lambda: self.tls.context)
        self.site = Site(self.state, self.journal, lambda: self.tls.key, lambda: self.tls.certificate)
        self._dovecots = [dovecot.Instance(protocol, run, mail, tls) for protocol in dovecot.PROTOCOLS]

    def state(self) -> State:
        assert self._state is not None
        return self._state

    # The state

    async def apply(self) -> None:
        """Bring the state file into force, if it is new. Raises StateError; the former state stays in force."""
        async with self._applying:
            try:
                text = self.state_path.read_bytes()
                document = json.loads(text)
            except OSError as problem:
                raise StateError(f"{self.state_path} can't be read: {problem.strerror}.") from None
            except ValueError as problem:
                raise StateError(f"{self.state_path} isn't JSON: {problem}.") from None
            if text == self._text and self._state is not None and time.time() < self._state.until:
                return
            self.tls.look()
            state = load(document)
            former, self._state = self._state, state
            try:
                await self._enforce(former)
            except (StateError, dovecot.DovecotError) as problem:
                if former is not None:
                    self._state, self._text = former, b""
                    with contextlib.suppress(StateError, dovecot.DovecotError):
                        await self._enforce(state)
                raise StateError(str(problem)) from None
            self._text = text

    async def _enforce(self, former: State | None) -> None:
        if self._network is not None:
            self._network.apply(self.state().document)
        await self._listen(former)
        for instance in self._dovecots if self._mail_access else ():
            await instance.apply(self.state())

    def _wanted(self) -> dict[tuple[str, Binding], str]:
        """(what, where) of each listener that the state asks for, with the Windows service behind it."""
        state = self.state()
        result = {}
        bindings = connectors.bindings(state.connectors)
        everywhere = {(":" in binding.address, binding.port) for binding in bindings if binding.is_any}
        for binding, role in bindings.items():
            # Who listens on all addresses hears what comes to one of them: Linux doesn't let both be listened on.
            if binding.is_any or (":" in binding.address, binding.port) not in everywhere:
                result["smtp", binding] = SERVICES[role]
        for protocol, binding in state.web_bindings:
            result[protocol, binding] = "W3SVC"
        return {key: service for key, service in result.items() if state.running(service)}

    async def _listen(self, former: State | None) -> None:
        wanted = self._wanted()
        for key in [key for key in self._listeners if key not in wanted]:
            self._listeners.pop(key).close()
        # A service that stops takes its connections along; a binding that goes doesn't.
        for role, service in SERVICES.items():
            if former is not None and former.running(service) and not self.state().running(service):
                self.smtp.stop(role)
        if former is not None and former.running("W3SVC") and not self.state().running("W3SVC"):
            self.site.http.stop()
        loop = asyncio.get_running_loop()
        for key in wanted:
            what, binding = key
            if key in self._listeners:
                continue
            protocol: Callable[[], asyncio.Protocol]
            protocol = self.smtp.protocol if what == "smtp" else self.site.http.protocol
            if what == "https" and self.tls.context is None:
                raise StateError(f"There is no certificate at {self.tls.path}, and WebBinding asks for https.")
            try:
                self._listeners[key] = await loop.create_server(
                    protocol, sock=_socket(binding), ssl=self.tls.context if what == "https" else None, backlog=1024
                )
            except OSError as problem:
                if problem.errno in (97, 99) and binding.is_any and ":" in binding.address:
                    continue  # a host without IPv6
                raise StateError(f"{binding} can't be listened on: {problem.strerror}.") from None

    # Running

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until cancelled. Raises StateError if the first state can't be brought into force."""
        self.control_path.unlink(missing_ok=True)
        # Before the first state is in force: who changes it meanwhile waits for that.
        control = await asyncio.start_unix_server(self._control, self.control_path)
        self.control_path.chmod(0o600)
        try:
            await self.apply()
            await self._serve(ready)
        finally:
            control.close()
            self.control_path.unlink(missing_ok=True)
            for listener in self._listeners.values():
                listener.close()
            self.smtp.stop()
            self.site.http.stop()
            for instance in self._dovecots:
                await instance.stop()

    async def _serve(self, ready: Callable[[], None]) -> None:
        tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self.site.http.sweep())]
        self.journal.write("started", server=self.state().server.Name)
        ready()
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _watch(self) -> None:
        """Look whether the state file changed under another editor's hand than `set`."""
        seen = None
        while True:
            await asyncio.sleep(_LOOK)
            self.tls.look()
            with contextlib.suppress(FileNotFoundError):
                found = self.state_path.stat()
                stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
                if stamp != seen:
                    seen = stamp
                    try:
                        await self.apply()
                    except StateError as problem:
                        print(problem, file=sys.stderr)
                        self.journal.write("state_error", text=str(problem))

    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One line in, one line out: bring the file into force, and say when it is."""
        with contextlib.suppress(OSError):
            if await reader.readline():
                try:
                    await self.apply()
                    answer = ""
                except StateError as problem:
                    answer = str(problem)
                writer.write(json.dumps({"error": answer}).encode() + b"\n")
                await writer.drain()
            writer.close()


def _socket(binding: Binding) -> socket.socket:
    family = socket.AF_INET6 if ":" in binding.address else socket.AF_INET
    result = socket.socket(family, socket.SOCK_STREAM)
    try:
        result.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            result.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        result.bind((binding.address, binding.port))
    except OSError:
        result.close()
        raise
    result.setblocking(False)
    return result


async def serve(directory: Path, tls: Path, run: Path) -> None:
    """Serve until SIGTERM or SIGINT."""
    # Only on a host of its own: it changes addresses and packet filters.
    own = os.environ.get("STANDIN_NETWORK") == "1"
    server = Server(directory, tls, run, network=Network() if own else None)
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await server.run(_notify_systemd)
    except asyncio.CancelledError:
        pass
    finally:
        server.journal.close()


def _notify_systemd() -> None:
    """Tell systemd that the service is ready (sd_notify(3))."""
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.connect("\0" + path[1:] if path.startswith("@") else path)
            notify.sendall(b"READY=1")
