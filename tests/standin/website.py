# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exchange's web site: the virtual directories, their health pages and their logons."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import SimpleNamespace
from urllib.parse import parse_qs, quote

from . import ntlm
from .httpd import HttpServer, Request, Response
from .journal import Journal
from .state import State

Answer = Response | Awaitable[Response | None]


@dataclass(frozen=True)
class Directory:
    """A virtual directory: its first path segment, what it is in the state, and what runs it."""

    name: str  # as events name it
    segment: str  # in lower case
    component: str
    kind: str  # in the state; '' where Exchange has no cmdlet for it
    pool: str


DIRECTORIES = {
    d.segment: d
    for d in (
        Directory("owa", "owa", "OwaProxy", "OwaVirtualDirectory", "MSExchangeOWAAppPool"),
        Directory("ecp", "ecp", "EcpProxy", "EcpVirtualDirectory", "MSExchangeECPAppPool"),
        Directory("ews", "ews", "EwsProxy", "WebServicesVirtualDirectory", "MSExchangeServicesAppPool"),
        Directory("mapi", "mapi", "MapiProxy", "MapiVirtualDirectory", "MSExchangeMapiFrontEndAppPool"),
        Directory("rpc", "rpc", "RpcProxy", "OutlookAnywhere", "MSExchangeRpcProxyFrontEndAppPool"),
        Directory("oab", "oab", "OabProxy", "OabVirtualDirectory", "MSExchangeOABAppPool"),
        Directory(
            "activesync",
            "microsoft-server-activesync",
            "ActiveSyncProxy",
            "ActiveSyncVirtualDirectory",
            "MSExchangeSyncAppPool",
        ),
        Directory(
            "autodiscover",
            "autodiscover",
            "AutoDiscoverProxy",
            "AutodiscoverVirtualDirectory",
            "MSExchangeAutodiscoverAppPool",
        ),
        Directory(
            "powershell", "powershell", "RpsProxy", "PowerShellVirtualDirectory", "MSExchangePowerShellFrontEndAppPool"
        ),
        Directory("rest", "api", "RestProxy", "", "MSExchangeRestFrontEndAppPool"),
    )
}

_COOKIE_LIFE = 12 * 3600
_LOGON_PAGE = """<!DOCTYPE html>
<html><head><title>Outlook</title></head><body>
<form action="/owa/auth.owa" method="POST" name="logonForm">
<input type="hidden" name="destination" value="{destination}">
<input type="hidden" name="flags" value="4"><input type="hidden" name="forcedownlevel" value="0">
<input name="username"><input name="password" type="password"><input type="hidden" name="isUtf8" value="1">
</form>{message}</body></html>
"""
_WRONG = "<div>The user name or password you entered isn't correct. Try entering it again.</div>"

_AUTODISCOVER = """<?xml version="1.0" encoding="utf-8"?>
<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006">
<Response xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a">
<User><DisplayName>{user}</DisplayName></User>
<Account><AccountType>email</AccountType><Action>settings</Action>
<Protocol><Type>EXCH</Type><Server>{fqdn}</Server><EwsUrl>{ews}</EwsUrl></Protocol>
</Account></Response></Autodiscover>
"""


class Site:
    """Answers requests by the state in force.

    tls_key: what logon cookies are sealed with: derived from the certificate, as in Exchange, so that servers
    with the same certificate take each other's cookies. certificate: the one shown, DER, for Extended Protection.
    """

    def __init__(
        self,
        state: Callable[[], State],
        journal: Journal,
        tls_key: Callable[[], bytes],
        certificate: Callable[[], bytes],
    ) -> None:
        self.state = state
        self.journal = journal
        self._tls_key = tls_key
        self._certificate = certificate
        self.http = HttpServer(self.answer, self._headers)

    def _headers(self) -> list[str]:
        server = self.state().server
        return [f"X-FEServer: {server.Name}", f"request-id: {uuid.uuid4()}"]

    def answer(self, request: Request) -> Answer:
        state = self.state()
        segments = request.path.split("/")
        directory = DIRECTORIES.get(segments[1].lower())
        request.connection.notes.pop("user", None)
        if directory is None:
            if request.path == "/":
                return self._done(request, None, _redirect(f"https://{request.get('host')}/owa/"))
            return self._done(request, None, Response(404, b"404 - File or directory not found."))
        self._watch_sharing(request, directory)
        if directory.pool.lower() in state.stopped_pools:
            return self._done(request, directory, Response(503, b"Service Unavailable", close=True))
        rest = "/".join(segments[2:]).lower()
        if rest == "healthcheck.htm":
            return self._health(request, directory)
        result = self._probe(request, directory, rest)
        if result is None:
            result = self._serve(request, directory, rest)
        return self._done(request, directory, result) if isinstance(result, Response) else result

    def _done(self, request: Request, directory: Directory | None, response: Response) -> Response:
        """Note the request in the journal, before its answer is on the way."""
        if directory is not None:
            response.headers.append(("X-Standin-Directory", directory.name))
        if self.state().journal_requests:
            self._note(request, directory, "http_request", status=response.status)
        return response

    def _note(self, request: Request, directory: Directory | None, kind: str, **fields: object) -> None:
        connection = request.connection
        self.journal.write(
            kind,
            directory=directory.name if directory else None,
            method=request.method,
            target=request.target,
            path=request.path,
            host=request.get("host"),
            source=connection.source,
            source_port=connection.source_port,
            local=connection.local,
            port=connection.local_port,
            sni=getattr(connection.tls, "sni", None),
            forwarded_for=request.get("x-forwarded-for") or None,
            client=request.get("x-standin-client") or None,
            connection=connection.id,
            number=request.number,
            user=connection.notes.get("user"),
            **fields,
        )

    def _health(self, request: Request, directory: Directory) -> Response:
        state = self.state()
        server = state.server
        if state.active(directory.component):
            name = f"{server.Name}.{server.Fqdn.partition('.')[2]}".rstrip(".")
            response = Response(200, f"200 OK<br/>{name}".encode(), [("Content-Type", "text/html")])
        else:
            response = Response(503, b"Service Unavailable", [("Content-Type", "text/html")])
        if state.journal_requests:
            self._note(request, directory, "http_health", status=response.status)
        return response

    # Pages of the stand-in alone, in each directory, without logon

    def _probe(self, request: Request, directory: Directory, rest: str) -> Answer | None:
        if rest not in ("echo", "bytes", "status", "cut", "hold", "drip"):
            return None
        connection, query = request.connection, parse_qs(request.query)

        def number(name: str, default: float) -> float:
            try:
                return max(0.0, float(query[name][0]))
            except (KeyError, ValueError):
                return default

        if rest == "echo":
            tls = connection.tls
            return _json(
                {
                    "server": self.state().server.Name,
                    "directory": directory.name,
                    "method": request.method,
                    "target": request.target,
                    "path": request.path,
                    "query": request.query,
                    "version": request.version,
                    "headers": request.headers,
                    "body_octets": len(request.body),
                    "body_sha256": hashlib.sha256(request.body).hexdigest(),
                    "source": connection.source,
                    "source_port": connection.source_port,
                    "connection": connection.id,
                    "number": request.number,
                    "user": self._connection_user(request),
                    "tls": tls.version() if tls else None,
                    "sni": getattr(tls, "sni", None),
                }
            )
        if rest == "bytes":
            return Response(200, bytes(int(number("n", 1024))), [("Content-Type", "application/octet-stream")])
        if rest == "status":
            return Response(int(number("code", 200)), b"as asked")
        if rest == "cut":
            return self._cut(request, directory)
        if rest == "hold":
            return self._hold(request, directory, number("seconds", 1), Response(200, b"held"))
        if rest == "drip":
            left = int(number("n", 10))
            pause = number("interval", 0.1)

            async def piece() -> bytes:
                nonlocal left
                await asyncio.sleep(pause)
                left -= 1
                return b"." if left >= 0 else b""

            return self._stream(request, directory, Response(200), piece)
        return None

    async def _cut(self, request: Request, directory: Directory) -> None:
        """No answer: the connection breaks, as when a worker process dies."""
        self._note(request, directory, "http_cut")
        request.connection.abort()

    async def _hold(self, request: Request, directory: Directory, seconds: float, response: Response) -> Response:
        """Answer after a while, as a poll that found nothing new. Its beginning and its end are events."""
        self._note(request, directory, "http_poll", phase="begin", seconds=seconds)
        began = time.monotonic()
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            held = round(time.monotonic() - began, 3)
            self._note(request, directory, "http_poll", phase="broken", seconds=held)
            raise
        self._note(request, directory, "http_poll", phase="end", seconds=seconds)
        return self._done(request, directory, response)

    async def _stream(
        self, request: Request, directory: Directory, response: Response, piece: Callable[[], Awaitable[bytes]]
    ) -> None:
        self._note(request, directory, "http_poll", phase="begin", seconds=None)
        self._done(request, directory, response)
        began, phase = time.monotonic(), "broken"
        try:
            await request.connection.stream(request, response, piece)
            phase = "end"
        finally:
            self._note(request, directory, "http_poll", phase=phase, seconds=round(time.monotonic() - began, 3))

    # Exchange's own pages

    def _serve(self, request: Request, directory: Directory, rest: str) -> Answer:
        state = self.state()
        settings = state.directories.get(directory.kind)
        if directory.name == "rest":
            return Response(401, b"", [("WWW-Authenticate", 'Bearer client_id="00000002-0000-0ff1-ce00-000000000000"')])
        if settings is None:
            return Response(404, b"404 - File or directory not found.")
        if directory.name == "owa" and rest == "auth.owa":
            return self._form_logon(request, directory)
        if directory.name == "owa" and rest.split("/", maxsplit=1)[0] == "auth":
            return self._logon_page(request)
        if directory.name == "autodiscover" and rest == "autodiscover.json":
            url = f"https://{request.get('host')}/autodiscover/autodiscover.xml"
            return _json({"Protocol": "AutodiscoverV1", "Url": url})
        if directory.name in ("owa", "ecp") and settings.FormsAuthentication:
            user = self._cookie_user(request)
            if user is None:
                return _to_logon(request, 0) if request.method in ("GET", "HEAD") else Response(440)
        else:
            found = self._authenticate(request, directory, settings)
            if isinstance(found, Response):
                return found
            user = found
        request.connection.notes["user"] = user.PrimarySmtpAddress
        if directory.name == "ecp" and not settings.AdminEnabled:
            return Response(404, b"404 - website not found")
        return self._content(request, directory, rest, user)

    def _content(self, request: Request, directory: Directory, rest: str, user: SimpleNamespace) -> Answer:
        state, query = self.state(), {k.lower(): val[0] for k, val in parse_qs(request.query).items()}
        if directory.name == "activesync":
            return self._active_sync(request, directory, query)
        if directory.name == "mapi" and "hold" in query:
            return self._mapi_notification(request, directory, query["hold"])
        if directory.name == "autodiscover" and rest == "autodiscover.xml":
            ews = state.directories.get("WebServicesVirtualDirectory")
            xml = _AUTODISCOVER.format(
                user=user.PrimarySmtpAddress,
                fqdn=state.server.Fqdn,
                ews=(ews.ExternalUrl or ews.InternalUrl) if ews else "",
            )
            return Response(200, xml.encode(), [("Content-Type", "text/xml; charset=utf-8")])
        text = f"{state.server.Name} {directory.name} {request.path} {user.PrimarySmtpAddress}\n"
        return Response(200, text.encode(), [("Content-Type", "text/html; charset=utf-8")])

    def _active_sync(self, request: Request, directory: Directory, query: dict[str, str]) -> Answer:
        wbxml = [("Content-Type", "application/vnd.ms-sync.wbxml"), ("MS-Server-ActiveSync", "15.2")]
        if request.method == "OPTIONS":
            versions = "2.0,2.1,2.5,12.0,12.1,14.0,14.1,16.0,16.1"
            return Response(200, b"", [*wbxml, ("MS-ASProtocolVersions", versions), ("Public", "OPTIONS,POST")])
        if query.get("cmd", "").lower() == "ping":
            try:
                interval = float(query.get("heartbeatinterval", "60"))
            except ValueError:
                return Response(400)
            # <Ping><Status>1</Status></Ping>: the interval went by without a change.
            nothing_new = bytes.fromhex("03016a000d45470331000101")
            return self._hold(request, directory, interval, Response(200, nothing_new, wbxml))
        return Response(200, b"", wbxml)

    def _mapi_notification(self, request: Request, directory: Directory, hold: str) -> Answer:
        """NotificationWait: the head at once, a sign of life every 15 seconds, the result at the end."""
        try:
            until = time.monotonic() + float(hold)
        except ValueError:
            return Response(400)
        pieces = [b"PROCESSING\r\n"]
        done = False

        async def piece() -> bytes:
            nonlocal done
            if pieces:
                return pieces.pop()
            if done:
                return b""
            left = until - time.monotonic()
            await asyncio.sleep(max(0.0, min(15.0, left)))
            done = left <= 15.0
            return b"DONE\r\nX-ResponseCode: 0\r\n\r\n" if done else b"PENDING\r\n"

        head = [("Content-Type", "application/mapi-http"), ("X-PendingPeriod", "15000"), ("X-ResponseCode", "0")]
        return self._stream(request, directory, Response(200, b"", head), piece)

    # Logon by form

    def _form_logon(self, request: Request, directory: Directory) -> Response:
        if request.method != "POST":
            return Response(405)
        form = parse_qs(request.body.decode("utf-8", "replace"), keep_blank_values=True)
        name, password = form.get("username", [""])[0], form.get("password", [""])[0]
        destination = form.get("destination", [""])[0]
        own = f"https://{request.get('host')}/"
        if not destination.lower().startswith(own.lower()):
            destination = f"{own}owa/"
        user = self.state().log_on(name, password)
        self._note(request, directory, "http_logon", how="form", name=name, success=user is not None)
        if user is None:
            return _redirect(f"{own}owa/auth/logon.aspx?replaceCurrent=1&reason=2&url={quote(destination, safe='')}")
        until = int(time.time()) + _COOKIE_LIFE
        plain = f"{user.PrimarySmtpAddress}|{until}"
        response = _redirect(destination)
        for cookie, value in (
            ("cadata", base64.b64encode(plain.encode()).decode()),
            ("cadataTTL", base64.b64encode(str(until).encode()).decode()),
            ("cadataKey", base64.b64encode(uuid.uuid4().bytes).decode()),
            ("cadataIV", base64.b64encode(uuid.uuid4().bytes).decode()),
            ("cadataSig", self._seal(plain)),
        ):
            response.headers.append(("Set-Cookie", f"{cookie}={value}; path=/; secure; HttpOnly"))
        return response

    def _seal(self, plain: str) -> str:
        return base64.b64encode(hmac.digest(self._tls_key(), plain.encode(), "sha256")).decode()

    def _cookie_user(self, request: Request) -> SimpleNamespace | None:
        # Cookie lines that came apart were joined as other fields are.
        pairs = (part.strip().partition("=") for part in request.get("cookie").replace(", ", "; ").split(";"))
        cookies = {name: value for name, _, value in pairs}
        try:
            plain = base64.b64decode(cookies.get("cadata", ""), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        address, _, until = plain.partition("|")
        if not plain or not hmac.compare_digest(self._seal(plain), cookies.get("cadataSig", "")):
            return None
        return self.state().mailbox(address) if int(until) > time.time() else None

    def _logon_page(self, request: Request) -> Response:
        query = parse_qs(request.query)
        page = _LOGON_PAGE.format(
            destination=f"https://{request.get('host')}/owa/",
            message=_WRONG if query.get("reason") == ["2"] else "",
        )
        return Response(200, page.encode(), [("Content-Type", "text/html; charset=utf-8")])

    # Basic and NTLM

    def _authenticate(
        self, request: Request, directory: Directory, settings: SimpleNamespace
    ) -> SimpleNamespace | Response:
        """The user of the request, or the 401 that asks for one."""
        basic, windows = offered(settings)
        scheme, _, token = request.get("authorization").partition(" ")
        scheme = scheme.lower()
        if scheme in ("ntlm", "negotiate") and windows:
            return self._ntlm(request, directory, settings, scheme, token)
        if scheme == "basic" and basic:
            try:
                name, _, password = base64.b64decode(token.strip(), validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                name = password = ""
            user = self.state().log_on(name, password)
            self._note(request, directory, "http_logon", how="basic", name=name, success=user is not None)
            return user or self._unauthorized(request, settings)
        held = request.connection.notes.get("ntlm")
        if isinstance(held, SimpleNamespace) and windows and not scheme:
            user = held.user
            assert isinstance(user, SimpleNamespace)
            return user
        return self._unauthorized(request, settings)

    def _unauthorized(self, request: Request, settings: SimpleNamespace) -> Response:
        basic, windows = offered(settings)
        headers = [("WWW-Authenticate", scheme) for scheme in ("Negotiate", "NTLM") if windows]
        if basic:
            headers.append(("WWW-Authenticate", f'Basic realm="{request.get("host").partition(":")[0]}"'))
        return Response(401, b"401 - Unauthorized: Access is denied due to invalid credentials.", headers)

    def _ntlm(
        self, request: Request, directory: Directory, settings: SimpleNamespace, scheme: str, token: str
    ) -> SimpleNamespace | Response:
        notes, state, client = request.connection.notes, self.state(), _client(request)
        try:
            message = base64.b64decode(token.strip(), validate=True)
            step = ntlm.message_type(message)
            answer = ntlm.read_answer(message) if step == 3 else None
        except (binascii.Error, ntlm.Malformed):
            return self._unauthorized(request, settings)
        if answer is None:
            notes.pop("ntlm", None)
            sent = ntlm.challenge(state.server.Name, state.server.Fqdn)
            notes["ntlm_challenge"] = (sent, client)
            label = "NTLM" if scheme == "ntlm" else "Negotiate"
            blob = base64.b64encode(sent.message).decode()
            return Response(401, b"", [("WWW-Authenticate", f"{label} {blob}")])
        pending = notes.pop("ntlm_challenge", None)
        if not isinstance(pending, tuple):
            # The first half went over another connection: whoever is between doesn't keep them apart.
            self._note(request, directory, "ntlm_split", name=answer.user)
            return self._unauthorized(request, settings)
        sent = pending[0]
        user = state.mailbox(answer.user)
        why = "" if user is not None and ntlm.verify(answer, sent, user.Password) else "password"
        why = why or self._channel_fault(answer, settings)
        self._note(
            request,
            directory,
            "http_logon",
            how="ntlm",
            name=answer.user,
            success=not why,
            **({"why": why} if why else {}),
        )
        if why or user is None:
            return self._unauthorized(request, settings)
        notes["ntlm"] = SimpleNamespace(user=user, client=client)
        return user

    def _channel_fault(self, answer: ntlm.Answer, settings: SimpleNamespace) -> str:
        """Extended Protection: the client has to have seen this server's own certificate."""
        check, seen = settings.ExtendedProtectionTokenChecking, answer.channel_bindings
        if check == "None" or (check == "Allow" and not seen):
            return ""
        return "" if seen == ntlm.channel_bindings(self._certificate()) else "channel bindings"

    def _watch_sharing(self, request: Request, directory: Directory) -> None:
        """Another client's request on a connection that one has authenticated, or is about to."""
        held, pending = request.connection.notes.get("ntlm"), request.connection.notes.get("ntlm_challenge")
        first = held.client if isinstance(held, SimpleNamespace) else pending[1] if isinstance(pending, tuple) else None
        if first is not None and _client(request) != first:
            name = held.user.PrimarySmtpAddress if isinstance(held, SimpleNamespace) else None
            self._note(request, directory, "ntlm_sharing", authenticated=first, name=name, asking=_client(request))

    def _connection_user(self, request: Request) -> str | None:
        held = request.connection.notes.get("ntlm")
        return held.user.PrimarySmtpAddress if isinstance(held, SimpleNamespace) else None


def offered(settings: SimpleNamespace) -> tuple[bool, bool]:
    """Whether a directory offers Basic, and whether it offers Windows authentication."""
    values = vars(settings)
    methods = values.get("IISAuthenticationMethods", frozenset())
    basic = values.get("BasicAuthentication", values.get("BasicAuthEnabled", "Basic" in methods))
    windows = values.get(
        "WindowsAuthentication", values.get("WindowsAuthEnabled", bool(methods & {"Ntlm", "Negotiate"}))
    )
    return bool(basic), bool(windows)


def _client(request: Request) -> str:
    """Who is behind the gateway: the address it forwards for, and a test's own mark where several share one."""
    return " ".join(filter(None, (request.get("x-forwarded-for"), request.get("x-standin-client"))))


def _redirect(location: str) -> Response:
    return Response(302, b"", [("Location", location)])


def _to_logon(request: Request, reason: int) -> Response:
    own = f"https://{request.get('host')}"
    url = quote(own + request.path, safe="")
    return _redirect(f"{own}/owa/auth/logon.aspx?url={url}&reason={reason}")


def _json(value: object) -> Response:
    return Response(200, json.dumps(value).encode(), [("Content-Type", "application/json")])
