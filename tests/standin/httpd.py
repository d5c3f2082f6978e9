# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP/1.1 server with the manners of Windows' http.sys: framing, keep-alive and the canonical path.

What is asked for is another matter: see website.py.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import re
import ssl
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate

from .connectors import address_of

MOST_HEAD = 64 * 1024
MOST_BODY = 256 * 1024 * 1024
IDLE = 120.0  # seconds that a connection may rest, IIS's default

REASONS = {
    200: "OK",
    301: "Moved Permanently",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Request Entity Too Large",
    440: "Login Timeout",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")


@dataclass
class Request:
    method: str
    target: str  # as it came
    version: str  # HTTP/1.1 or HTTP/1.0
    headers: list[tuple[str, str]]  # as they came, names in their own case
    connection: Connection
    number: int  # on its connection, from 1
    path: str = ""  # canonical
    query: str = ""
    body: bytearray = field(default_factory=bytearray)
    fields: dict[str, str] = field(default_factory=dict)  # by lower-case name; repeated ones joined by ", "

    def get(self, name: str) -> str:
        return self.fields.get(name, "")


@dataclass
class Response:
    status: int
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    close: bool = False


Handler = Callable[[Request], "Response | Awaitable[Response | None]"]
"""Answers a request at once, or with something to wait for. None: the answer is written, by `Connection.stream`."""


class BadTarget(ValueError):
    """A request target that http.sys refuses; `status` says how."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@functools.lru_cache(maxsize=4096)  # a load test asks for the same again and again
def canonical(target: str) -> tuple[str, str]:
    """Path and query of a request target, the path as IIS maps it to an application.

    http.sys takes origin and absolute form, decodes percent escapes once, as UTF-8, takes a backslash for a
    slash and resolves dot segments; slashes in a row count as one when the application is looked up. What would
    change when decoded again is refused (request filtering, 404.11). Raises BadTarget.
    """
    absolute = re.match(r"(?i)https?://[^/?#]*", target)
    if absolute:
        target = target[absolute.end() :] or "/"
        target = "/" + target if target.startswith("?") else target
    if not target.startswith("/"):
        raise BadTarget(400, "the target isn't a path")
    raw, _, query = target.partition("?")
    if "#" in raw:
        raise BadTarget(400, "a fragment in the target")
    if re.search(r"%(?![0-9A-Fa-f]{2})", raw):
        raise BadTarget(400, "a broken escape")
    octets = re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes((int(m[1], 16),)), raw.encode("latin-1"))
    try:
        path = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise BadTarget(400, "an escape that isn't UTF-8") from None
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in path):
        raise BadTarget(400, "a control character")
    if _ESCAPE.search(path):
        raise BadTarget(404, "a doubly escaped path")
    kept: list[str] = []
    segments = path.replace("\\", "/").split("/")
    for segment in segments:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment not in ("", "."):
            kept.append(segment)
    ends = "/" if kept and segments[-1] in ("", ".", "..") else ""
    return "/" + "/".join(kept) + ends, query


class Connection(asyncio.Protocol):
    """One HTTP connection. Requests are answered one after the other, also pipelined ones."""

    _ids = itertools.count(1)

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self.id = next(self._ids)
        self.requests = 0
        self.notes: dict[str, object] = {}  # what the site remembers of the connection
        self.quiet_since = time.monotonic()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._request: Request | None = None  # its head is read, its body isn't
        self._left = 0  # octets of the body to come; -1: chunked
        self._task: asyncio.Task[None] | None = None
        self._can_write: asyncio.Future[None] | None = None
        self.source = self.local = ""
        self.source_port = self.local_port = 0
        self.tls: ssl.SSLObject | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.tls = transport.get_extra_info("ssl_object")
        local, remote = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        self.local, self.local_port = str(address_of(local[0])), local[1]
        self.source, self.source_port = str(address_of(remote[0])), remote[1]
        self.server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.discard(self)
        self._transport = None
        self.resume_writing()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self.quiet_since = time.monotonic()
        self._buffer += data
        if self._task is None:
            self._pump()
        elif len(self._buffer) > MOST_HEAD and self._transport is not None:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._can_write = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._can_write is not None and not self._can_write.done():
            self._can_write.set_result(None)
        self._can_write = None

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    @property
    def busy(self) -> bool:
        return self._task is not None

    # Reading

    def _pump(self) -> None:
        """Answer what has come in whole."""
        while self._task is None and self._transport is not None and not self._transport.is_closing():
            if self._request is None and not self._read_head():
                return
            request = self._request
            if request is None or not self._read_body(request):
                return
            self._request = None
            try:
                answer = self.server.handler(request)
            except Exception:  # noqa: BLE001
                # One request's bug must not take the others' connections along; the journal of the unit has it.
                traceback.print_exc()
                answer = Response(500, close=True)
            if isinstance(answer, Response):
                self.respond(request, answer)
            else:
                self._task = asyncio.get_running_loop().create_task(self._later(request, answer))

    async def _later(self, request: Request, answer: Awaitable[Response | None]) -> None:
        response: Response | None
        try:
            response = await answer
        except Exception:  # noqa: BLE001 (as in _pump)
            traceback.print_exc()
            response = Response(500, close=True)
        if response is not None:
            self.respond(request, response)
        self._task = None
        self.quiet_since = time.monotonic()
        if self._transport is not None:
            self._transport.resume_reading()
        self._pump()

    def _refuse(self, status: int) -> bool:
        request = Request("", "", "HTTP/1.1", [], self, self.requests)
        self.respond(request, Response(status, f"HTTP Error {status}.".encode(), close=True))
        return False

    def _read_head(self) -> bool:
        while self._buffer.startswith(b"\r\n"):  # RFC 9112 section 2.2
            del self._buffer[:2]
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return self._refuse(400) if len(self._buffer) > MOST_HEAD else False
        if end > MOST_HEAD:
            return self._refuse(400)
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        self.requests += 1
        parts = lines[0].split(" ")
        if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or parts[2] not in ("HTTP/1.1", "HTTP/1.0"):
            return self._refuse(400)
        request = Request(parts[0], parts[1], parts[2], [], self, self.requests)
        if not _read_fields(request, lines[1:]):
            return self._refuse(400)
        try:
            request.path, request.query = canonical(request.target)
        except BadTarget as problem:
            return self._refuse(problem.status)
        length, coding = request.fields.get("content-length"), request.fields.get("transfer-encoding")
        if coding is not None and (length is not None or coding.lower() != "chunked"):
            return self._refuse(400)
        if length is not None and not re.fullmatch(r"\d{1,15}", length):
            return self._refuse(400)
        self._left = -1 if coding else int(length or 0)
        if self._left > MOST_BODY:
            return self._refuse(413)
        self._request = request
        if self._left and request.get("expect").lower() == "100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _read_body(self, request: Request) -> bool:
        """Whether the body is whole."""
        if self._left >= 0:
            if len(self._buffer) < self._left:
                return False
            if self._left:
                request.body = self._buffer[: self._left]
                del self._buffer[: self._left]
            return True
        while True:
            end = self._buffer.find(b"\r\n")
            if end < 0:
                return False
            size = self._buffer[:end].split(b";")[0].strip()
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", size):
                return self._refuse(400)
            count = int(size, 16)
            if count == 0:
                # Trailers, if any, end with an empty line.
                last = self._buffer.find(b"\r\n\r\n", end)
                if last < 0:
                    return False
                del self._buffer[: last + 4]
                return True
            if len(request.body) + count > MOST_BODY:
                return self._refuse(413)
            if len(self._buffer) < end + 2 + count + 2:
                return False
            request.body += self._buffer[end + 2 : end + 2 + count]
            del self._buffer[: end + 2 + count + 2]

    # Writing

    def _gone(self) -> bool:
        return self._transport is None

    def _head(self, request: Request, response: Response, framing: str) -> bytes:
        lines = [f"HTTP/1.1 {response.status} {REASONS.get(response.status, 'Status')}"]
        lines += [framing] if framing else []
        lines += [f"{name}: {value}" for name, value in response.headers]
        lines += self.server.common_headers(request)
        if self._closes(request, response):
            lines.append("Connection: close")
        elif request.version == "HTTP/1.0":
            lines.append("Connection: keep-alive")
        return "\r\n".join((*lines, "", "")).encode("latin-1")

    def _closes(self, request: Request, response: Response) -> bool:
        wish = request.get("connection").lower()
        return response.close or "close" in wish or (request.version == "HTTP/1.0" and "keep-alive" not in wish)

    def respond(self, request: Request, response: Response) -> None:
        if self._transport is None:
            return
        head = self._head(request, response, f"Content-Length: {len(response.body)}")
        self._transport.write(head if request.method == "HEAD" else head + response.body)
        if self._closes(request, response):
            self._transport.close()

    async def stream(self, request: Request, response: Response, pieces: Callable[[], Awaitable[bytes]]) -> None:
        """Send the head at once and then each piece as it comes; an empty one is the end."""
        chunked = request.version == "HTTP/1.1"
        response.close = response.close or not chunked
        if self._transport is None or self._gone():
            return
        self._transport.write(self._head(request, response, "Transfer-Encoding: chunked" if chunked else ""))
        while True:
            piece = await pieces()
            if self._gone():
                return
            if piece or chunked:
                self._transport.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            if not piece:
                break
            if self._can_write is not None:
                await self._can_write
        if self._closes(request, response):
            self._transport.close()


def _read_fields(request: Request, lines: list[str]) -> bool:
    """Take the header lines into the request; whether they are right."""
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name) or any(char in value for char in "\r\n\0"):
            return False
        value = value.strip(" \t")
        request.headers.append((name, value))
        name = name.lower()
        if name in request.fields:
            if name in ("content-length", "host"):
                return False
            value = f"{request.fields[name]}, {value}"
        request.fields[name] = value
    return request.version != "HTTP/1.1" or "host" in request.fields


class HttpServer:
    """The connections and what answers them."""

    def __init__(self, handler: Handler, server_headers: Callable[[], list[str]]) -> None:
        self.handler = handler
        self.connections: set[Connection] = set()
        self._server_headers = server_headers
        self._date = (0, "")

    def protocol(self) -> Connection:
        return Connection(self)

    def common_headers(self, request: Request) -> list[str]:
        now = int(time.time())
        if self._date[0] != now:
            self._date = (now, f"Date: {formatdate(now, usegmt=True)}")
        return ["Server: Microsoft-IIS/10.0", "X-Powered-By: ASP.NET", self._date[1], *self._server_headers()]

    async def sweep(self) -> None:
        """Close connections that rest for too long. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(5)
            limit = time.monotonic() - IDLE
            for connection in list(self.connections):
                if not connection.busy and connection.quiet_since < limit:
                    connection.abort()

    def stop(self) -> None:
        for connection in list(self.connections):
            connection.abort()
