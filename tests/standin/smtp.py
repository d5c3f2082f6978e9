# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SMTP as Exchange's transport services speak it: front end and hub, one receive connector a session."""

from __future__ import annotations

import asyncio
import base64
import binascii
import collections
import contextlib
import ipaddress
import itertools
import math
import re
import ssl
import time
from collections.abc import Awaitable, Callable
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import formatdate, make_msgid
from pathlib import Path
from types import SimpleNamespace

from . import connectors, mailstore, ntlm
from .journal import Journal
from .state import State
from .values import Address
from .wire import Closed, TooLong, Wire

SERVICES = {"FrontendTransport": "MSExchangeFrontEndTransport", "HubTransport": "MSExchangeTransport"}

_LINE = 2000  # octets of a command; MAIL and RCPT carry long parameters
_AUTH_LINE = 16384

_PATH = re.compile(r'^\s*(<(?:"(?:\\.|[^"\\])*"|[^">])*>|[^\s<>]+)(?:\s+(.*))?$', re.DOTALL)
_ADDRESS = re.compile(r'^("(?:\\.|[^"\\])*"|[^\s@<>()\[\],;:"\\]+)@([^\s@<>()]+)$')
_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_NAME = re.compile(rf"^{_LABEL}(?:\.{_LABEL})*$")


class _Disconnect(Exception):
    """The session ends after the answer that was sent."""


def helo_name_is_valid(name: str) -> bool:
    """Whether Exchange takes the name of an EHLO: a domain without a dot or space at its end, or an address literal."""
    if name.startswith("[") and name.endswith("]"):
        literal = name[1:-1]
        try:
            ipaddress.ip_address(literal[5:] if literal.lower().startswith("ipv6:") else literal)
        except ValueError:
            return False
        return True
    return len(name) <= 255 and bool(_NAME.match(name))


def parse_path(argument: str) -> tuple[str, list[str]] | None:
    """Address and parameters of MAIL or RCPT, without the keyword: `<a@b> SIZE=1`. The null path is ``.

    A source route is dropped (RFC 5321 appendix C). None: not an address.
    """
    found = _PATH.match(argument)
    if not found:
        return None
    address = found[1].removeprefix("<").removesuffix(">")
    if address.startswith("@"):
        address = address.partition(":")[2]
        if not address:
            return None
    if address and address.lower() != "postmaster" and not _ADDRESS.match(address):
        return None
    return address, (found[2] or "").split()


class SmtpServer:
    """What the sessions share: the state in force, counters, and where accepted mail goes."""

    def __init__(
        self, state: Callable[[], State], journal: Journal, mail: Path, tls: Callable[[], ssl.SSLContext | None]
    ) -> None:
        self.state = state
        self.journal = journal
        self.mail = mail
        self.tls = tls
        self.sessions: set[Session] = set()
        self.submissions: dict[tuple[str, str], collections.deque[float]] = {}
        self.internal_ids = itertools.count(int(time.time()) << 12)

    def protocol(self) -> Wire:
        """What the event loop makes for each connection."""
        return Wire(self._accepted)

    def _accepted(self, wire: Wire) -> None:
        session = Session(self, wire)
        self.sessions.add(session)
        session.task = asyncio.get_running_loop().create_task(session.run())
        session.task.add_done_callback(lambda _: self.sessions.discard(session))

    def stop(self, role: str | None = None) -> None:
        """Cut the sessions of a transport service that stops; of all, without a role."""
        for session in list(self.sessions):
            if role is None or (session.connector is not None and session.connector.TransportRole == role):
                session.wire.abort()

    def open_on(self, connector: SimpleNamespace, source: Address | None = None) -> int:
        """How many admitted sessions the connector has, of one source or of all."""
        return sum(
            1
            for session in self.sessions
            if session.admitted
            and session.connector is not None
            and session.connector.Name == connector.Name
            and (source is None or session.wire.remote == source)
        )


class Session:
    """One SMTP connection, from its banner to its end."""

    task: asyncio.Task[None]

    def __init__(self, server: SmtpServer, wire: Wire) -> None:
        self.server = server
        self.wire = wire
        self.state = server.state()
        self.connector: SimpleNamespace | None = None
        self.admitted = False
        self.began = time.monotonic()
        self.helo = ""
        self.extended = False
        self.user: SimpleNamespace | None = None
        self.errors = 0
        self.logon_failures = 0
        self.messages = 0
        self.last_command = ""
        self.last_answer = ""
        self._forget_message()

    def _forget_message(self) -> None:
        self.sender: str | None = None
        self.recipients: list[str] = []
        self.binary = False
        self.chunks: bytearray | None = None
        self.chunk_excess = False

    @property
    def rules(self) -> SimpleNamespace:
        assert self.connector is not None
        return self.connector

    @property
    def identity(self) -> str:
        return f"{self.state.server.Name}\\{self.connector.Name}" if self.connector is not None else ""

    def _where(self) -> dict[str, object]:
        return {
            "source": str(self.wire.remote),
            "source_port": self.wire.remote_port,
            "local": str(self.wire.local),
            "port": self.wire.local_port,
            "connector": self.identity,
        }

    # The course of a session

    async def run(self) -> None:
        try:
            await self._greet()
            while True:
                await self._command()
        except (_Disconnect, Closed):
            pass
        except TimeoutError:
            with contextlib.suppress(Closed, _Disconnect):
                await self._answer("421 4.4.1 Connection timed out")
        finally:
            self.wire.close()
            tls = self.wire.tls
            self.server.journal.write(
                "smtp_session",
                **self._where(),
                admitted=self.admitted,
                helo=self.helo,
                tls=tls.version() if tls else None,
                sni=getattr(tls, "sni", None),
                user=self.user.PrimarySmtpAddress if self.user else None,
                messages=self.messages,
                last_command=self.last_command,
                last_answer=self.last_answer,
                seconds=round(time.monotonic() - self.began, 3),
            )

    async def _greet(self) -> None:
        wire, state = self.wire, self.state
        connector = connectors.choose(
            state.connectors, wire.local, wire.local_port, wire.remote, by_range=state.by_range
        )
        self.connector = connector
        if connector is None:
            await self._goodbye("421 4.3.2 Service not available")
            return
        role = connector.TransportRole
        if not state.active("FrontendTransport" if role == "FrontendTransport" else "HubTransport"):
            await self._goodbye("421 4.3.2 Service not active")
        total, mine = self.server.open_on(connector), self.server.open_on(connector, wire.remote)
        most = connector.MaxInboundConnection
        if most is not None and total >= most:
            await self._goodbye(
                "421 4.3.2 The maximum number of concurrent server connections has exceeded a limit, "
                "closing transmission channel"
            )
        # A share of what the other sources leave free, so that 100 % never refuses before the connector is full.
        share = math.inf
        if most is not None:
            free = most - (total - mine)
            share = max(1, math.floor(free * connector.MaxInboundConnectionPercentagePerSource / 100))
        each = connector.MaxInboundConnectionPerSource
        if mine >= share or (each is not None and mine >= each):
            await self._goodbye(
                "421 4.3.2 The maximum number of concurrent server connections has exceeded a per-source limit, "
                "closing transmission channel"
            )
        self.admitted = True
        default = f"220 {connector.Fqdn} Microsoft ESMTP MAIL Service ready at {formatdate(localtime=True)}"
        await self._answer(connector.Banner or default)

    async def _command(self) -> None:
        rules = self.rules
        left = self.began + rules.ConnectionTimeout - time.monotonic()
        try:
            async with asyncio.timeout(min(rules.ConnectionInactivityTimeout, left)):
                line = (await self.wire.line(_LINE)).decode("utf-8", "surrogateescape")
        except TooLong:
            await self._answer("500 5.3.3 Unrecognized command")
            return
        name, _, argument = line.partition(" ")
        self.last_command = "AUTH" if name.upper() == "AUTH" else line.encode("ascii", "replace").decode()
        handler = _COMMANDS.get(name.strip().upper())
        if handler is None:
            await self._answer("500 5.3.3 Unrecognized command")
        else:
            await handler(self, argument)

    async def _answer(self, *lines: str) -> None:
        """Send an answer; slow down and count what Exchange slows down and counts."""
        code, last = lines[-1][:3], lines[-1]
        self.last_answer = last
        if code[0] in "45" and self.connector is not None:
            self.server.journal.write(
                "smtp_refused", **self._where(), command=self.last_command, answer=last, helo=self.helo
            )
        if code[0] == "5":
            logged_on = self.user is not None or code == "535"
            await self._pause(self.rules.AuthTarpitInterval if logged_on else self.rules.TarpitInterval)
        if self.connector is not None and not self.rules.EnhancedStatusCodesEnabled:
            lines = tuple(re.sub(r"^(\d{3}[ -])[245]\.\d{1,3}\.\d{1,3} ", r"\1", line) for line in lines)
        await self.wire.send("".join(line + "\r\n" for line in lines).encode("utf-8", "surrogateescape"))
        if code in ("500", "501", "502", "503", "504"):
            self.errors += 1
            if self.rules.MaxProtocolErrors is not None and self.errors > self.rules.MaxProtocolErrors:
                await self._goodbye("421 4.7.0 Too many errors on this connection, closing transmission channel")

    async def _pause(self, seconds: float) -> None:
        if seconds:
            await asyncio.sleep(seconds)

    async def _goodbye(self, line: str) -> None:
        await self._answer(line)
        raise _Disconnect

    # Greeting commands

    async def _hello(self, argument: str, extended: bool) -> None:
        # Only the space after the verb is syntax: a space at the name's end makes the name invalid.
        if (argument or self.rules.RequireEHLODomain) and not helo_name_is_valid(argument):
            await self._answer("501 5.5.4 Invalid domain name")
            return
        self._forget_message()
        self.helo, self.extended = argument or "unknown", extended
        hello = f"{self.rules.Fqdn} Hello [{self.wire.remote}]"
        if not extended:
            await self._answer(f"250 {hello}")
            return
        lines = [hello, *self._features()]
        await self._answer(*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}")

    async def helo_command(self, argument: str) -> None:
        await self._hello(argument, extended=False)

    async def ehlo_command(self, argument: str) -> None:
        await self._hello(argument, extended=True)

    def _features(self) -> list[str]:
        rules = self.rules
        mechanisms = self._mechanisms()
        size = {"Enabled": f"SIZE {rules.MaxMessageSize}", "EnabledWithoutValue": "SIZE", "Disabled": ""}
        return [
            line
            for line, offered in (
                (size[rules.SizeEnabled], rules.SizeEnabled != "Disabled"),
                ("PIPELINING", rules.PipeliningEnabled),
                ("DSN", rules.DeliveryStatusNotificationEnabled),
                ("ENHANCEDSTATUSCODES", rules.EnhancedStatusCodesEnabled),
                ("STARTTLS", self._offers_tls()),
                ("AUTH " + " ".join(mechanisms), bool(mechanisms)),
                ("8BITMIME", rules.EightBitMimeEnabled),
                ("BINARYMIME", rules.BinaryMimeEnabled and rules.ChunkingEnabled),
                ("CHUNKING", rules.ChunkingEnabled),
                ("SMTPUTF8", rules.SmtpUtf8Enabled),
            )
            if offered
        ]

    def _offers_tls(self) -> bool:
        return "Tls" in self.rules.AuthMechanism and self.wire.tls is None and self.server.tls() is not None

    def _mechanisms(self) -> list[str]:
        allowed = self.rules.AuthMechanism
        login = "BasicAuth" in allowed and ("BasicAuthRequireTLS" not in allowed or self.wire.tls is not None)
        return [name for name, offered in (("NTLM", "Integrated" in allowed), ("LOGIN", login)) if offered]

    async def starttls_command(self, argument: str) -> None:
        context = self.server.tls()
        if argument.strip():
            await self._answer("501 5.5.4 Invalid arguments")
        elif not self._offers_tls() or context is None:
            await self._answer("500 5.3.3 Unrecognized command")
        else:
            await self._answer("220 2.0.0 SMTP server ready")
            async with asyncio.timeout(60):
                await self.wire.start_tls(context)
            self.helo, self.extended, self.user = "", False, None
            self._forget_message()

    # Logon

    async def auth_command(self, argument: str) -> None:
        mechanism, _, initial = argument.strip().partition(" ")
        if not self.extended:
            await self._answer("503 5.5.2 Send hello first")
        elif self.user is not None:
            await self._answer("503 5.5.2 Already authenticated")
        elif self.sender is not None:
            await self._answer("503 5.5.2 Sender already specified")
        elif mechanism.upper() not in self._mechanisms():
            await self._answer("504 5.7.4 Unrecognized authentication type")
        else:
            try:
                method = self._log_on_by_login if mechanism.upper() == "LOGIN" else self._log_on_by_ntlm
                self.user = await method(initial.strip())
            except (ValueError, TooLong):
                await self._answer("501 5.5.4 Invalid arguments")
                return
            if self.user is not None:
                await self._answer("235 2.7.0 Authentication successful")
                return
            await self._answer("535 5.7.3 Authentication unsuccessful")
            self.logon_failures += 1
            if self.logon_failures >= self.rules.MaxLogonFailures:
                await self._goodbye("421 4.7.0 Too many errors on this connection, closing transmission channel")

    async def _ask(self, challenge: bytes) -> bytes:
        await self._answer("334 " + base64.b64encode(challenge).decode())
        async with asyncio.timeout(self.rules.ConnectionInactivityTimeout):
            line = await self.wire.line(_AUTH_LINE)
        if line.strip() == b"*":
            raise ValueError("given up")
        return _decode(line)

    async def _log_on_by_login(self, initial: str) -> SimpleNamespace | None:
        name = _decode(initial.encode()) if initial else await self._ask(b"Username:")
        password = await self._ask(b"Password:")
        return self.state.log_on(name.decode("utf-8", "replace"), password.decode("utf-8", "replace"))

    async def _log_on_by_ntlm(self, initial: str) -> SimpleNamespace | None:
        negotiate = _decode(initial.encode()) if initial else await self._ask(b"NTLM supported")
        if ntlm.message_type(negotiate) != 1:
            raise ValueError("not a negotiate message")
        sent = ntlm.challenge(self.state.server.Name, self.state.server.Fqdn)
        answer = ntlm.read_answer(await self._ask(sent.message))
        mailbox = self.state.mailbox(answer.user)
        return mailbox if mailbox is not None and ntlm.verify(answer, sent, mailbox.Password) else None

    # The message

    def _rights(self) -> frozenset[str]:
        return connectors.rights(
            self.rules, self.state.permissions, self.state.server.Name, authenticated=self.user is not None
        )

    async def mail_command(self, argument: str) -> None:
        keyword, _, rest = argument.partition(":")
        parsed = parse_path(rest) if keyword.strip().upper() == "FROM" else None
        granted = self._rights()
        if not self.helo:
            await self._answer("503 5.5.2 Send hello first")
        elif self.sender is not None:
            await self._answer("503 5.5.2 Sender already specified")
        elif keyword.strip().upper() != "FROM":
            await self._answer("501 5.5.4 Unrecognized parameter")
        elif self.rules.RequireTLS and self.wire.tls is None:
            await self._answer("451 5.7.3 STARTTLS is required to send mail")
        elif not connectors.may_submit(granted) and self.user is None:
            await self._answer("530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM")
        elif not connectors.may_submit(granted):
            await self._answer("550 5.7.1 Client does not have permissions to submit to this server")
        elif self._under_pressure():
            await self._answer("452 4.3.1 Insufficient system resources")
        elif parsed is None:
            await self._answer("501 5.1.7 Invalid address")
        elif self._sends_too_fast():
            await self._goodbye("421 4.4.2 Message submission rate for this client has exceeded the configured limit")
        elif await self._take_mail_parameters(parsed[1]):
            sender = parsed[0]
            domain = sender.rpartition("@")[2]
            own = bool(sender) and self.state.accepts_domain(domain)
            allowed = connectors.may_send_as_own_domain(granted) if own else True
            if self.user is None and not (allowed and connectors.may_send_as_anyone(granted)):
                await self._answer("550 5.7.60 SMTP; Client does not have permissions to send as this sender")
                return
            self.sender = sender
            await self._answer("250 2.1.0 Sender OK")

    def _under_pressure(self) -> bool:
        # Medium refuses whoever isn't an Exchange server, High refuses everybody.
        pressure = self.server.state().pressure
        trusted = "ExternalAuthoritative" in self.rules.AuthMechanism
        return pressure == "High" or (pressure == "Medium" and not trusted)

    def _sends_too_fast(self) -> bool:
        most = self.rules.MessageRateLimit
        if most is None:
            return False
        by_user = self.rules.MessageRateSource & {"User", "All"} and self.user is not None
        source = self.user.PrimarySmtpAddress if by_user and self.user is not None else str(self.wire.remote)
        times = self.server.submissions.setdefault((self.rules.Name, source), collections.deque())
        now = time.monotonic()
        while times and times[0] < now - 60:
            times.popleft()
        if len(times) >= most:
            return True
        times.append(now)
        return False

    async def _take_mail_parameters(self, parameters: list[str]) -> bool:
        """Whether MAIL's parameters are right; if not, that was answered."""
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            name = name.upper()
            if name == "SIZE" and self.rules.SizeEnabled != "Disabled" and value.isdigit():
                if int(value) > self.rules.MaxMessageSize:
                    await self._answer("552 5.3.4 Message size exceeds fixed maximum message size")
                    return False
            elif name == "BODY" and value.upper() in ("7BIT", "8BITMIME", "BINARYMIME"):
                self.binary = value.upper() == "BINARYMIME"
            elif not self._knows_mail_parameter(name, value):
                await self._answer("501 5.5.4 Invalid arguments")
                return False
        return True

    def _knows_mail_parameter(self, name: str, value: str) -> bool:
        if name == "SMTPUTF8":
            return bool(self.rules.SmtpUtf8Enabled) and not value
        if name in ("RET", "ENVID"):
            return bool(self.rules.DeliveryStatusNotificationEnabled and value)
        return name == "AUTH" and bool(value)  # RFC 4954 section 5: may be ignored

    async def rcpt_command(self, argument: str) -> None:
        keyword, _, rest = argument.partition(":")
        parsed = parse_path(rest) if keyword.strip().upper() == "TO" else None
        if not self.helo:
            await self._answer("503 5.5.2 Send hello first")
        elif self.sender is None:
            await self._answer("503 5.5.2 Need mail command")
        elif keyword.strip().upper() != "TO":
            await self._answer("501 5.5.4 Unrecognized parameter")
        elif parsed is None or not parsed[0]:
            await self._answer("501 5.1.3 Invalid address")
        elif any(p.partition("=")[0].upper() not in ("NOTIFY", "ORCPT") for p in parsed[1]):
            await self._answer("501 5.5.4 Invalid arguments")
        elif len(self.recipients) >= self.rules.MaxRecipientsPerMessage:
            await self._answer("452 4.5.3 Too many recipients")
        else:
            domain = parsed[0].rpartition("@")[2]
            local = parsed[0].lower() == "postmaster" or self.state.accepts_domain(domain)
            if not local and not connectors.may_relay(self._rights()):
                await self._answer("550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain")
                return
            self.recipients.append(parsed[0])
            await self._answer("250 2.1.5 Recipient OK")

    async def _may_take_data(self) -> bool:
        if not self.helo:
            await self._answer("503 5.5.2 Send hello first")
        elif self.sender is None:
            await self._answer("503 5.5.2 Need mail command")
        elif not self.recipients:
            await self._answer("503 5.5.2 Need rcpt command")
        elif self.rules.TransportRole == "FrontendTransport" and not self._hub_works():
            # The front end keeps no mail: it hands each message on to the hub while it takes it.
            await self._answer("451 4.7.0 Temporary server error. Please try again later. PRX2")
        else:
            return True
        return False

    def _hub_works(self) -> bool:
        state = self.server.state()
        return state.running(SERVICES["HubTransport"]) and state.active("HubTransport")

    async def data_command(self, argument: str) -> None:
        if argument.strip():
            await self._answer("501 5.5.4 Invalid arguments")
        elif self.chunks is not None or self.binary:
            await self._answer("503 5.5.2 Bad sequence of commands")
        elif await self._may_take_data():
            await self._answer("354 Start mail input; end with <CRLF>.<CRLF>")
            began = time.monotonic()
            # The inactivity limit is one of silence; a message in flight has what the connection has left.
            async with asyncio.timeout(max(1.0, self.began + self.rules.ConnectionTimeout - began)):
                message = await self.wire.until_dot(self.rules.MaxMessageSize)
            await self._finish(message, began)

    async def bdat_command(self, argument: str) -> None:
        found = re.fullmatch(r"(\d{1,12})(\s+LAST)?\s*", argument, re.IGNORECASE)
        if not self.rules.ChunkingEnabled or not found:
            await self._answer("501 5.5.4 Invalid arguments")
            return
        began, count = time.monotonic(), int(found[1])
        # The octets follow whatever the answer is (RFC 3030 section 2).
        if self.chunks is None:
            self.chunks = bytearray()
        while count:
            piece = await self.wire.exactly(min(count, 1 << 16))
            count -= len(piece)
            if len(self.chunks) + len(piece) > self.rules.MaxMessageSize:
                self.chunk_excess = True
            else:
                self.chunks += piece
        if not await self._may_take_data():
            self._forget_message()
        elif found[2]:
            message = None if self.chunk_excess else bytes(self.chunks)
            await self._finish(message, began)
        else:
            await self._answer(f"250 2.6.0 CHUNK received OK, {found[1]} octets")

    async def _finish(self, message: bytes | None, began: float) -> None:
        """Judge a whole message, keep it, and answer. `message` is None where it was larger than allowed."""
        sender, recipients = self.sender or "", self.recipients
        self._forget_message()
        if message is None:
            await self._answer("552 5.3.4 Message size exceeds fixed maximum message size")
            return
        head = message.partition(b"\r\n\r\n")[0]
        headers = BytesHeaderParser().parsebytes(head + b"\r\n\r\n")
        if len(head) > self.rules.MaxHeaderSize:
            await self._answer("552 5.3.4 Header size exceeds fixed maximum size")
        elif len(headers.get_all("Received", [])) > self.rules.MaxHopCount:
            await self._answer("554 5.4.6 Hop count exceeded - possible mail loop")
        elif self.user is not None and not self._may_send_as(sender):
            await self._answer("550 5.7.60 SMTP; Client does not have permissions to send as this sender")
        else:
            identifier = str(headers.get("Message-ID") or make_msgid(domain=self.state.server.Fqdn)).strip()
            self._keep(message, headers, identifier, sender, recipients)
            took = max(time.monotonic() - began, 0.001)
            rate = f"{len(message) / 1024 / took:.3f} KB/sec"
            await self._answer(
                f"250 2.6.0 {identifier} [InternalId={next(self.server.internal_ids)}, "
                f"Hostname={self.state.server.Fqdn}] {len(message)} bytes in {took:.3f}, {rate} "
                f"Queued mail for delivery"
            )

    def _may_send_as(self, sender: str) -> bool:
        if connectors.may_send_as_anyone(self._rights()) or not sender:
            return True
        return self.user is not None and self.state.mailbox(sender) is self.user

    def _keep(self, message: bytes, headers: Message, identifier: str, sender: str, recipients: list[str]) -> None:
        tls, state, wire = self.wire.tls, self.server.state(), self.wire
        received = (
            f"Received: from {self.helo} ({wire.remote}) by {state.server.Fqdn} ({wire.local}) with Microsoft SMTP "
            f"Server{f' (version={tls.version()})' if tls else ''}; {formatdate(localtime=True)}\r\n"
        )
        mailboxes = {m.PrimarySmtpAddress: m for m in (state.mailbox(r) for r in recipients) if m is not None}
        for address in mailboxes:
            mailstore.deliver(self.server.mail, address, received.encode("utf-8", "replace") + message)
        self.messages += 1
        self.server.journal.write(
            "smtp_message",
            **self._where(),
            helo=self.helo,
            tls=tls.version() if tls else None,
            user=self.user.PrimarySmtpAddress if self.user else None,
            sender=sender,
            recipients=recipients,
            size=len(message),
            message_id=identifier,
            subject=str(headers.get("Subject", "")),
            headers=[[name, str(value)] for name, value in headers.items()],
            delivered=sorted(mailboxes),
        )

    # The rest

    async def rset_command(self, argument: str) -> None:
        self._forget_message()
        await self._answer("250 2.0.0 Resetting")

    async def noop_command(self, argument: str) -> None:
        await self._answer("250 2.0.0 OK")

    async def vrfy_command(self, argument: str) -> None:
        await self._answer("252 2.1.5 Cannot VRFY user")

    async def help_command(self, argument: str) -> None:
        await self._answer(
            "214-This server supports the following commands:",
            "214 HELO EHLO STARTTLS RCPT DATA RSET MAIL QUIT HELP AUTH BDAT",
        )

    async def quit_command(self, argument: str) -> None:
        await self._goodbye("221 2.0.0 Service closing transmission channel")


_COMMANDS: dict[str, Callable[[Session, str], Awaitable[None]]] = {
    "HELO": Session.helo_command,
    "EHLO": Session.ehlo_command,
    "STARTTLS": Session.starttls_command,
    "AUTH": Session.auth_command,
    "MAIL": Session.mail_command,
    "RCPT": Session.rcpt_command,
    "DATA": Session.data_command,
    "BDAT": Session.bdat_command,
    "RSET": Session.rset_command,
    "NOOP": Session.noop_command,
    "VRFY": Session.vrfy_command,
    "HELP": Session.help_command,
    "QUIT": Session.quit_command,
}


def _decode(blob: bytes) -> bytes:
    try:
        return base64.b64decode(blob.strip(), validate=True)
    except binascii.Error as problem:
        raise ValueError("not base64") from problem
