"""Clients that keep a gateway busy and count, each for itself, what it was promised and what it got.

Runs on a host of the lab with Python's standard library alone: ``python3 - JSON``. It goes on until the file ``stop``
is there (or ``seconds`` are over), then lets everything that is under way come to its end, and prints what it counted:
kind → ``{"done": n, "failed": [why, …], "spans": [[begin, end], …], …}``, with the times in seconds since the epoch.

What counts as *failed*, for HTTP: no connection; no TLS; a request that was sent and not answered completely with the
right status and the right content. That a server ends a connection between two requests is no failure where it said
``Connection: close`` before (RFC 9112 9.6; counted as ``announced``) or where the client sees the end before it sends
(``noticed``). A request that runs into a connection that was closed without a word is a failure, since a client must
not repeat a POST by itself (RFC 9110 9.2.2). For SMTP: any dialogue that doesn't come to ``221`` with its mail
accepted. For IMAP: any session that doesn't come to its own LOGOUT with each command answered ``OK``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ANSWER = 60.0  # seconds that an answer may take beyond the time that it was asked to take; slow is no failure here
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Wrong(Exception):
    """Something came that must not."""


class Tally:
    """What one kind of client counted."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.failed: list[str] = []
        self.spans: list[tuple[float, float]] = []

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def document(self) -> dict[str, Any]:
        return {"done": len(self.spans), "failed": self.failed, "spans": self.spans, **self.counts}


class Client:
    """Everything that is asked of one gateway."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.tls = ssl.create_default_context(cafile=self.order["authorities"])
        self.tls.set_alpn_protocols(["http/1.1"])
        self.stopping = False
        self.tallies: dict[str, Tally] = {}

    async def connect(self, port: int, secure: bool) -> Streams:
        options: dict[str, Any] = {"ssl": self.tls, "server_hostname": self.order["name"]} if secure else {}
        async with asyncio.timeout(ANSWER):
            return await asyncio.open_connection(self.order["address"], port, **options)

    async def pause(self, seconds: float) -> None:
        """Wait about that long; not much longer than the load goes on."""
        until = time.monotonic() + seconds * random.uniform(0.5, 1.5)
        while not self.stopping and (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.5))

    # HTTP

    async def ask(
        self, streams: Streams, target: str, body: bytes = b"", slowly: float = 0, close: bool = False
    ) -> bool:
        """Send one request and check its answer; tell whether the server announced the end of the connection."""
        reader, writer = streams
        head = [
            f"{'POST' if body else 'GET'} {target} HTTP/1.1",
            f"Host: {self.order['name']}",
            f"Content-Length: {len(body)}",
            *(["Connection: close"] if close else []),
        ]
        writer.write("\r\n".join([*head, "", ""]).encode())
        for start in range(0, len(body), 500):
            writer.write(body[start : start + 500])
            await writer.drain()
            await asyncio.sleep(slowly)
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        content = await self.content(reader, fields)
        if status.split()[1] != "200":
            raise Wrong(f"the answer {status}")
        if "/echo" in target:
            seen = json.loads(content)
            if seen["target"] != target or seen["body_sha256"] != hashlib.sha256(body).hexdigest():
                raise Wrong("the answer to another request")
        elif "/drip" in target and content != b"." * 30:
            raise Wrong(f"{len(content)} of 30 octets")
        return fields.get("connection", "").lower() == "close"

    @staticmethod
    async def content(reader: asyncio.StreamReader, fields: dict[str, str]) -> bytes:
        if fields.get("transfer-encoding") != "chunked":
            return await reader.readexactly(int(fields["content-length"]))
        content = b""
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            content += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
        return content

    async def requests(self, tally: Tally, target: Callable[[], str], limit: float, **more: Any) -> None:
        """One request after the other on a connection, as long as that lasts."""
        streams = await self.connect(443, secure=True)
        tally.count("connections")
        try:
            while not self.stopping:
                if streams[0].at_eof():
                    tally.count("noticed")
                    return
                began = time.time()
                async with asyncio.timeout(limit + ANSWER):
                    closes = await self.ask(streams, target(), **more)
                tally.spans.append((began, time.time()))
                if closes:
                    tally.count("announced")
                    return
                await self.pause(self.order["rest"])
        finally:
            streams[1].close()

    async def keep_alive(self, tally: Tally) -> None:
        body = random.choice((b"", random.randbytes(300)))
        await self.requests(tally, lambda: f"/owa/echo?{random.getrandbits(64)}", 0, body=body)

    async def once(self, tally: Tally) -> None:
        """A connection for one request only."""
        await self.pause(self.order["rest"])
        await self.requests(tally, lambda: f"/ews/echo?{random.getrandbits(64)}", 0, close=True)

    async def poll(self, tally: Tally) -> None:
        await self.requests(tally, lambda: f"/Microsoft-Server-ActiveSync/hold?seconds={random.uniform(8, 16):.1f}", 16)

    async def download(self, tally: Tally) -> None:
        """An answer that comes octet by octet."""
        await self.requests(tally, lambda: "/mapi/drip?n=30&interval=0.3", 9)

    async def upload(self, tally: Tally) -> None:
        """A request that goes slowly."""
        await self.requests(tally, lambda: "/ews/echo?upload", 8, body=random.randbytes(10_000), slowly=0.4)

    # SMTP

    async def mail(self, tally: Tally) -> None:
        """A dialogue with rests between the commands, as a busy or far server makes them."""
        began = time.time()
        reader, writer = await self.connect(25, secure=False)
        tally.count("connections")
        try:
            dialogue = (
                ("", "220"),
                ("EHLO client.example.test", "250"),
                ("MAIL FROM:<load@outside.example>", "250"),
                ("RCPT TO:<anna@example.test>", "250"),
                ("DATA", "354"),
                (f"Subject: {self.order['subject']} {random.getrandbits(64)}\r\n\r\nload", None),
                ("Second line\r\n.", "250"),
                ("QUIT", "221"),
            )
            for command, wanted in dialogue:
                if command:
                    await self.pause(1.2)
                    writer.write(f"{command}\r\n".encode())
                if wanted:
                    await self.expect(reader, wanted, command.splitlines()[0] if command else "the connection")
            tally.spans.append((began, time.time()))
        finally:
            writer.close()

    @staticmethod
    async def expect(reader: asyncio.StreamReader, wanted: str, command: str) -> None:
        async with asyncio.timeout(ANSWER):
            line = await reader.readuntil(b"\r\n")
            while line[3:4] == b"-":
                line = await reader.readuntil(b"\r\n")
        if not line.decode().startswith(wanted):
            raise Wrong(f"{line.decode().strip()} to {command}")

    # IMAP

    async def mailbox(self, tally: Tally) -> None:
        """A session as long as the load: a client that stays logged on and asks now and then."""
        began = time.time()
        reader, writer = await self.connect(993, secure=True)
        tally.count("connections")
        try:
            async with asyncio.timeout(ANSWER):
                if not (await reader.readuntil(b"\r\n")).startswith(b"* OK"):
                    raise Wrong("no IMAP greeting")
            user = random.choice(("anna", "berta"))
            await self.command(reader, writer, f'LOGIN {user}@example.test "{self.order["password"]}"')
            await self.command(reader, writer, "EXAMINE INBOX")
            while not self.stopping:
                await self.command(reader, writer, "NOOP")
                tally.count("commands")
                await self.pause(1)
            await self.command(reader, writer, "LOGOUT")
            tally.spans.append((began, time.time()))
        finally:
            writer.close()

    @staticmethod
    async def command(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, command: str) -> None:
        tag = f"a{random.getrandbits(32)}"
        writer.write(f"{tag} {command}\r\n".encode())
        async with asyncio.timeout(ANSWER):
            while not (line := await reader.readuntil(b"\r\n")).startswith(tag.encode()):
                pass
        if line.split()[1] != b"OK":
            raise Wrong(f"{line.decode().strip()} to {command.split(maxsplit=1)[0]}")

    # Altogether

    async def repeat(self, act: Callable[[Tally], Awaitable[None]], tally: Tally) -> None:
        """Do it again and again; note what fails, and go on after a rest."""
        await self.pause(1)  # so that not all begin at once
        while not self.stopping:
            try:
                await act(tally)
            except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError, ValueError, KeyError, Wrong) as error:
                tally.failed.append(f"{time.time():.3f} {type(error).__name__}: {error}")
                await self.pause(1)

    async def watch(self) -> None:
        ready, stop = Path(self.order["ready"]), Path(self.order["stop"])
        until = time.monotonic() + self.order["seconds"]
        while not stop.exists() and time.monotonic() < until:
            if all(tally.counts.get("connections") for tally in self.tallies.values()):
                ready.touch()
            await asyncio.sleep(0.2)
        self.stopping = True

    async def run(self) -> dict[str, Any]:
        kinds: dict[str, Callable[[Tally], Awaitable[None]]] = {
            "keep-alive requests": self.keep_alive,
            "single requests": self.once,
            "long polls": self.poll,
            "slow answers": self.download,
            "slow uploads": self.upload,
            "SMTP dialogues": self.mail,
            "IMAP sessions": self.mailbox,
        }
        self.tallies = {kind: Tally() for kind in self.order["clients"]}
        clients = [
            self.repeat(kinds[kind], self.tallies[kind])
            for kind, number in self.order["clients"].items()
            for _ in range(number)
        ]
        await asyncio.gather(self.watch(), *clients)
        return {kind: tally.document() for kind, tally in self.tallies.items()}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(Client(json.loads(sys.argv[1])).run())))
