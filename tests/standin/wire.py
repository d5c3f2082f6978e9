# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A TCP connection that is read by the line and can turn to TLS on the way."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from .connectors import address_of
from .values import Address


class Closed(Exception):
    """The other side is gone."""


class TooLong(Exception):
    """A line is longer than allowed; it was read to its end and dropped."""


class Wire(asyncio.Protocol):
    """One connection. `accepted` is called with it once it stands, and returns the task's coroutine."""

    _MOST = 1 << 20  # reading pauses while this much waits to be read

    def __init__(self, accepted: Callable[[Wire], None]) -> None:
        self._accepted = accepted
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._waiting: asyncio.Future[None] | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._ended = False
        self._paused = False
        self._transport: asyncio.Transport | None = None
        self.tls: ssl.SSLObject | None = None
        self.local: Address
        self.local_port: int
        self.remote: Address
        self.remote_port: int

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        first = self._transport is None
        self._transport = transport
        self.tls = transport.get_extra_info("ssl_object")
        if first:
            local, remote = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
            self.local, self.local_port = address_of(local[0]), local[1]
            self.remote, self.remote_port = address_of(remote[0]), remote[1]
            self._accepted(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > self._MOST and not self._paused and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True
        self._wake()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._can_write.set()
        self._wake()

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    # the session's side

    async def more(self) -> None:
        """Wait until more has come in. Raises Closed."""
        if self._ended:
            raise Closed
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        self._waiting = self._loop.create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    async def line(self, most: int) -> bytes:
        """The next line without its end. Raises TooLong, Closed."""
        searched = 0
        dropped = False
        while True:
            end = self._buffer.find(b"\n", searched)
            if end >= 0:
                line = bytes(self._buffer[:end]).removesuffix(b"\r")
                del self._buffer[: end + 1]
                if dropped or len(line) > most:
                    raise TooLong
                return line
            searched = len(self._buffer)
            if searched > most:
                self._buffer.clear()
                searched, dropped = 0, True
            await self.more()

    async def exactly(self, count: int) -> bytes:
        """The next `count` octets. Raises Closed."""
        while len(self._buffer) < count:
            await self.more()
        result = bytes(self._buffer[:count])
        del self._buffer[:count]
        return result

    async def until_dot(self, most: int) -> bytes | None:
        """A message up to its lone dot, dots unstuffed (RFC 5321 section 4.5.2); None if larger than `most`."""
        kept = bytearray(b"\r\n")  # so that a lone dot on the first line looks like any other
        too_large = False
        while True:
            searched = max(0, len(kept) - 4)
            kept += self._buffer
            self._buffer.clear()
            end = kept.find(b"\r\n.\r\n", searched)
            if end >= 0:
                self._buffer += kept[end + 5 :]
                message = bytes(kept[: end + 2]).replace(b"\r\n..", b"\r\n.")[2:]
                return None if too_large or len(message) > most else message
            if len(kept) > most + 4096:
                too_large = True
                del kept[:-4]
            await self.more()

    @property
    def pending(self) -> bool:
        """Whether something waits to be read, such as the rest of a pipelined group."""
        return bool(self._buffer)

    async def send(self, data: bytes) -> None:
        """Write, and wait while the other side doesn't read. Raises Closed."""
        if self._ended or self._transport is None or self._transport.is_closing():
            raise Closed
        self._transport.write(data)
        if not self._can_write.is_set():
            await self._can_write.wait()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Turn to TLS as the server. What was sent before the handshake is dropped (RFC 3207 section 4.2)."""
        assert self._transport is not None
        self._buffer.clear()
        try:
            transport = await self._loop.start_tls(self._transport, self, context, server_side=True)
        except (OSError, ssl.SSLError) as problem:
            raise Closed from problem
        if transport is None:
            raise Closed
        self.connection_made(transport)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Cut the connection as a stopped service does."""
        if self._transport is not None:
            self._transport.abort()
