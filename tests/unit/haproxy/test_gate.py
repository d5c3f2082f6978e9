"""What the proxy matches is what was meant: HAProxy itself, with the role's configuration, asked by real clients.

A client is any address of 127.0.0.0/8; the server behind answers as the request tells it to.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from rendering import Variables, render
from test_templates import EVERYTHING

from ansible_collections.postern.mail_gateway.plugins.module_utils.haproxy.runtime import ask

MAIL = "mail.example.com"
LIMITS = {"connections": 60, "connection_rate": 1000, "request_rate": 10000, "failed_logons": 6}
ADMIN = "127.9.9.9"
ONCE = {"Connection": "close"}

_NUMBERS = count(1)


def stranger() -> str:
    """The address of a client that HAProxy hasn't seen before."""
    number = next(_NUMBERS)
    return f"127.1.{number // 250}.{number % 250 + 1}"


class Server(BaseHTTPRequestHandler):
    """Answers as the request's X-Answer tells it to: a status and headers."""

    protocol_version = "HTTP/1.1"
    server: Servers

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append(self.path)
        wanted = json.loads(self.headers.get("X-Answer") or "[200, []]")
        time.sleep(float(self.headers.get("X-Wait") or 0))
        self.send_response(wanted[0])
        for name, value in wanted[1]:
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = do_HEAD = do_OPTIONS = answer  # noqa: N815 (names of the standard library)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


class Servers(ThreadingHTTPServer):
    """Takes whatever comes, and forgets who is gone."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Server)
        self.seen: list[str] = []

    def handle_error(self, *_: Any) -> None:
        """Clients end as they like."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


class Gate:
    """HAProxy with the role's configuration, on ports of its own, in front of one server that speaks plain HTTP."""

    def __init__(self, haproxy: str, certificates: Path, folder: Path, **variables: Any) -> None:
        self.folder = folder
        self.server = Servers()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.ports = {port: free_port() for port in (80, 443, 25, 587, 143, 993, 110, 995, 8404)}
        given: Variables = {
            **EVERYTHING,
            "haproxy_listen_addresses": ["127.0.0.1"],
            "haproxy_servers": [{"name": "ex1", "address": "127.0.0.1"}],
            "haproxy_egress_address": "",
            "haproxy_relay_address": "",
            "haproxy_acme_port": 0,
            "haproxy_exchange_ca_file": "",
            "haproxy_limits": LIMITS,
            "haproxy_max_connections": 1000,
            "haproxy_admin_networks": [f"{ADMIN}/32"],
            "haproxy_monitoring_networks": [],
            **variables,
        }
        for path, content in render(given).items():
            target = folder / path
            target.parent.mkdir(exist_ok=True)
            target.write_text(self.here(content) if path == "haproxy.cfg" else content)
        (folder / "certificates").mkdir()
        for name in ("mail", "www"):
            (folder / "certificates" / f"{name}.pem").symlink_to(certificates / "good.pem")
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.said = (folder / "said").open("w")
        self.haproxy = haproxy
        self.process = self.start()

    def here(self, text: str) -> str:
        """The configuration for this machine: nothing of it needs root, and the server speaks plain HTTP."""
        port = self.server.server_address[1]
        text = text.replace("/etc/haproxy/", f"{self.folder}/").replace("/run/haproxy/", f"{self.folder}/")
        text = text.replace("/var/lib/haproxy/", f"{self.folder}/")
        text = re.sub(r"^    (user|group|chroot|http-check) .*\n", "", text, flags=re.MULTILINE)
        text = re.sub(r" user haproxy", "", text)
        text = re.sub(
            r"^    (default-server check|tcp-check|option (tcp-check|httpchk)) ?.*\n", "", text, flags=re.MULTILINE
        )
        text = re.sub(r"^(    server \w+) \S+?:\d+.*$", rf"\1 127.0.0.1:{port}", text, flags=re.MULTILINE)
        return re.sub(r"bind 127\.0\.0\.1:(\d+)", lambda found: f"bind 127.0.0.1:{self.ports[int(found[1])]}", text)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [self.haproxy, "-db", "-f", str(self.folder / "haproxy.cfg"), *arguments],
            stdout=self.said, stderr=self.said,
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while f"Pid: {process.pid}\n" not in self.asked("show info") and process.poll() is None:
            assert time.monotonic() < deadline, (self.folder / "said").read_text()
            time.sleep(0.05)
        assert process.poll() is None, (self.folder / "said").read_text()
        return process

    def asked(self, command: str) -> str:
        try:
            return ask(str(self.folder / "admin.sock"), command)
        except OSError:
            return ""

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.said.close()
        self.server.shutdown()
        self.server.server_close()

    @property
    def seen(self) -> list[str]:
        """What reached the server."""
        return list(self.server.seen)

    def connection(self, source: str, port: int = 443) -> http.client.HTTPConnection:
        if port == 443:
            return http.client.HTTPSConnection(
                "127.0.0.1", self.ports[443], timeout=30, source_address=(source, 0), context=self.context
            )
        return http.client.HTTPConnection("127.0.0.1", self.ports[port], timeout=30, source_address=(source, 0))

    def ask(
        self, source: str, path: str, method: str = "GET", answer: Any = None, port: int = 443, **headers: str
    ) -> int:
        """One request over a connection of its own; the status of its answer."""
        told = {"X-Answer": json.dumps(answer)} if answer else {}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = self.connection(source, port)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in {"Host": MAIL, "Content-Length": "0", **told, **ONCE, **named}.items():
                connection.putheader(name, value)
            connection.endheaders()
            return connection.getresponse().status
        finally:
            connection.close()

    def owes(self, source: str) -> int:
        """The failed logons of a client less those that went well since."""
        line = self.asked(f"show table clients key ::ffff:{source}")
        failed, paid = (re.search(rf"{name}_rate\(600000\)=(\d+)", line) for name in ("gpc0", "gpc1"))
        return int(failed[1]) - int(paid[1]) if failed and paid else 0


@pytest.fixture(scope="module")
def gate(haproxy: str, certificates: Path) -> Iterator[Gate]:
    with TemporaryDirectory(prefix="hx") as folder, ExitStack() as stack:
        made = Gate(haproxy, certificates, Path(folder))
        stack.callback(made.close)
        yield made


# --- logons -----------------------------------------------------------------------------------------------------------

EWS, ACTIVESYNC = "/EWS/Exchange.asmx", "/Microsoft-Server-ActiveSync?Cmd=Sync"
BARE = [401, [["WWW-Authenticate", "Negotiate"], ["WWW-Authenticate", "NTLM"]]]
BACK = [302, [["Location", f"https://{MAIL}/owa/auth/logon.aspx?replaceCurrent=1&reason=2&url=x"]]]
WELL = [302, [["Location", f"https://{MAIL}/owa/"], ["Set-Cookie", "cadata=x; path=/"]]]
CHALLENGE = [401, [["WWW-Authenticate", "NTLM " + base64.b64encode(b"NTLMSSP\0\2\0\0\0" + bytes(40)).decode()]]]
SPNEGO = [
    401,
    [["WWW-Authenticate", "Negotiate " + base64.b64encode(b"\xa1\x07\x30\x05\xa0\x03\x0a\x01\x01").decode()]],
]
REJECTED = [
    401,
    [["WWW-Authenticate", "Negotiate " + base64.b64encode(b"\xa1\x07\x30\x05\xa0\x03\x0a\x01\x02").decode()]],
]
TYPE_3 = base64.b64encode(b"NTLMSSP\0\3\0\0\0" + bytes(61)).decode()


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anna:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("method", "path", "answer", "headers"),
    [
        ("POST", "/owa/auth.owa", BACK, {}),
        ("POST", "/owa/owaauth.dll", BACK, {}),
        ("POST", "/owa/auth/owaauth.dll", BACK, {}),
        ("POST", "/OWA//%61uth.owa?x", BACK, {}),
        # A cookie that anybody can make up changes nothing.
        ("POST", "/owa/auth.owa", BACK, {"Cookie": "cadata=x"}),
        ("GET", "/owa/", BACK, {"Authorization": basic("wrong")}),
        ("POST", "/owa/", [440, []], {"Authorization": basic("wrong")}),
        ("GET", EWS, BARE, {"Authorization": basic("wrong")}),
        ("POST", EWS, BARE, {"Authorization": f"NTLM {TYPE_3}"}),
        ("POST", EWS, BARE, {"Authorization": f"NTLM {TYPE_3.rstrip('=')}"}),
        ("POST", EWS, BARE, {"Authorization": f"NTLM\t{TYPE_3}"}),
        ("POST", EWS, BARE, {"Authorization": f"nTlM   {TYPE_3}"}),
        ("POST", EWS, BARE, {"Authorization": f"Negotiate {TYPE_3}"}),
        ("POST", EWS, REJECTED, {"Authorization": "Negotiate oQcwBaADCgEA"}),
        ("POST", EWS, BARE, {"Authorization": "basic\tYW5uYTp3cm9uZw=="}),
        ("POST", EWS, BARE, {"Authorization": "Unheard-of x"}),
    ],
)
def test_a_failed_logon_counts_whatever_it_looks_like(
    gate: Gate, method: str, path: str, answer: Any, headers: dict[str, str]
) -> None:
    source = stranger()
    gate.ask(source, path, method, answer, **headers)
    assert gate.owes(source) == 1


@pytest.mark.parametrize(
    ("method", "path", "answer", "headers"),
    [
        ("GET", "/owa/", [302, [["Location", "/owa/auth/logon.aspx?url=%3Freason%3D2&reason=0"]]], {}),
        ("GET", "/owa/?reason=2", BACK, {}),
        ("POST", "/owa/service.svc", [440, []], {}),
        ("POST", EWS, BARE, {}),
        ("POST", EWS, CHALLENGE, {"Authorization": "NTLM TlRMTVNTUAABAAAA"}),
        ("POST", EWS, SPNEGO, {"Authorization": "Negotiate TlRMTVNTUAABAAAA"}),
        ("POST", EWS, [200, []], {"Authorization": basic("right")}),
        ("POST", EWS, [500, []], {"Authorization": basic("right")}),
        ("POST", ACTIVESYNC, [403, []], {"Authorization": basic("right")}),
    ],
)
def test_what_is_no_failed_logon_doesnt_count(
    gate: Gate, method: str, path: str, answer: Any, headers: dict[str, str]
) -> None:
    source = stranger()
    gate.ask(source, path, method, answer, **headers)
    assert gate.owes(source) == 0


def test_an_outlook_that_tries_its_own_credentials_first_is_never_held(gate: Gate) -> None:
    source = stranger()
    for _ in range(3 * LIMITS["failed_logons"]):
        assert gate.ask(source, EWS, "POST", BARE, Authorization=f"NTLM {TYPE_3}") == 401
        assert gate.ask(source, EWS, "POST", [200, []], Authorization=f"NTLM {TYPE_3}") == 200
    assert gate.owes(source) == 0


def test_a_telephone_with_an_old_password_is_never_held(gate: Gate) -> None:
    source = stranger()
    answers = [gate.ask(source, ACTIVESYNC, "POST", BARE, Authorization=basic("old")) for _ in range(15)]
    assert set(answers) == {401}
    assert gate.owes(source) == 1
    # Somebody else's same words are his own.
    other = stranger()
    gate.ask(other, ACTIVESYNC, "POST", BARE, Authorization=basic("old"))
    assert gate.owes(other) == 1


def test_who_guesses_is_held_however_he_goes_on(gate: Gate) -> None:
    source = stranger()
    for number in range(LIMITS["failed_logons"]):
        # Pages that anybody gets are no payment, and no answer that lacks the proof is one.
        gate.ask(source, "/owa/auth/logon.aspx", answer=[200, []], Authorization=basic(f"{number}"))
        gate.ask(source, "/autodiscover/autodiscover.json", answer=[200, []], Authorization=basic(f"{number}"))
        gate.ask(source, EWS, "OPTIONS", [200, []], Authorization=basic(f"{number}"))
        assert gate.ask(source, EWS, "POST", BARE, Authorization=basic(f"{number}")) == 401
    seen = len(gate.seen)
    held = [
        ("POST", "/owa/auth.owa", {}),
        ("POST", "/owa/owaauth.dll", {"Cookie": "cadata=x"}),
        ("POST", EWS, {"Authorization": basic("next")}),
        ("GET", "/owa/", {"Authorization": f"Negotiate {TYPE_3}"}),
    ]
    threads = []
    statuses: list[int] = []
    for method, path, headers in held:
        arguments = (source, path, method, [200, []])
        work = threading.Thread(target=lambda a=arguments, h=headers: statuses.append(gate.ask(*a, **h)), daemon=True)
        work.start()
        threads.append(work)
    for thread in threads:
        thread.join(30)
    assert statuses == [429] * len(held)
    assert len(gate.seen) == seen
    # Reading goes on, and so does who was let in before.
    assert gate.ask(source, "/owa/") == 200
    assert gate.ask(source, "/owa/service.svc", "POST", Cookie="cadata=x") == 200


@pytest.mark.parametrize("form", ["{},x", "{}, Basic eDp5", "{},", "Basic eDp5, {}"])
def test_a_guess_is_counted_whatever_stands_beside_it(gate: Gate, form: str) -> None:
    source = stranger()
    answers = [
        gate.ask(source, EWS, "POST", BARE, Authorization=form.format(basic(f"{number}")))
        for number in range(LIMITS["failed_logons"] + 1)
    ]
    assert answers == [401] * LIMITS["failed_logons"] + [429]


def test_two_logons_in_one_request_are_refused(gate: Gate) -> None:
    source, before = stranger(), len(gate.seen)
    connection = gate.connection(source)
    connection.putrequest("POST", EWS, skip_host=True)
    connection.putheader("Host", MAIL)
    for text in ("guess", "old"):
        connection.putheader("Authorization", basic(text))
    connection.endheaders()
    assert connection.getresponse().status == 400
    connection.close()
    assert len(gate.seen) == before


def test_a_good_logon_pays_for_one_that_failed_and_none_in_advance(gate: Gate) -> None:
    source = stranger()
    for _ in range(5):
        gate.ask(source, EWS, "POST", [200, []], Authorization=basic("right"))
        gate.ask(source, "/owa/auth.owa", "POST", WELL)
    for number in range(3):
        gate.ask(source, EWS, "POST", BARE, Authorization=basic(f"{number}"))
    assert gate.owes(source) == 3
    gate.ask(source, "/owa/auth.owa", "POST", WELL)
    assert gate.owes(source) == 2


# --- paths ------------------------------------------------------------------------------------------------------------

EXPLOITS = [
    "/autodiscover/autodiscover.json?@evil.example/mapi/nspi/?&Email=autodiscover/autodiscover.json%3f@evil.example",
    "/autodiscover/autodiscover.json?a@foo.example/owa/?&Email=autodiscover/autodiscover.json?a@foo.example&Protocol=XYZ&FooProtocol=Powershell",
    "/autodiscover/autodiscover.json?a..foo.example/owa/?&Email=autodiscover/autodiscover.json?a..foo.example",
    "/autodiscover/autodiscover.json?@foo.example/%50owerShell/?X-Rps-CAT=x",
    "/autodiscover/autodiscover.json?@foo.example/%2550ower%2553hell/?X-Rps-CAT=x",
    "/autodiscover/autodiscover.json?@foo.example/%u0050owershell/",
    "/Autodiscover/AUTODISCOVER.JSON?@foo.example/EWS/exchange.asmx?&Email=x",
    "/autodiscover/autodiscover.json/x@foo.example/ews/exchange.asmx",
    "/owa/anna%40example.com/powershell",
    "/owa/anna@example.com/PowerShell?x",
    "/%61utodiscover/autodiscover.json?x=powershell",
    # What can't be decoded hides nothing of the rest.
    "/autodiscover/autodiscover.json?x=%u0050owershell",
    "/owa/x%40y.z/%50owershell?x=%zz",
    "/%61utodiscover/%61utodiscover.json?@evil.example/%50owershell/?y=%25",
    "/%61utodiscover/%61utodiscover.json?@evil.example/%50owershell/?y=%",
    "/%61utodiscover/%61utodiscover.json?@evil.example/%2550owershell/?y=%25zz",
    "/%61utodiscover/%61utodiscover.json?@evil.example/owa/?&Email=%61utodiscover/%61utodiscover.json%3f@evil.example&z=%zz",
]
CONTROL = ["/owa/%00", "/owa/x%0d%0aY:%20z", "/owa/%09", "/owa/%1F", "/owa/%7f", "/ews/exchange.asmx%0A"]
CLIENTS = [
    "/autodiscover/autodiscover.json?Email=anna%40example.com&Protocol=Autodiscoverv1&RedirectCount=1",
    "/autodiscover/autodiscover.json?Email=anna@example.com&Protocol=EWS&RedirectCount=1",
    "/autodiscover/autodiscover.json/v1.0/anna@example.com?Protocol=ActiveSync&RedirectCount=1",
    "/autodiscover/autodiscover.json/v1.0/anna%2Btag%40example.com?Protocol=REST",
    "/Autodiscover/Autodiscover.xml",
    "/owa/auth/logon.aspx?replaceCurrent=1&url=https%3a%2f%2fmail.example.com%2fowa%2f",
    "/owa/service.svc?action=GetItem&EP=1&ID=-23&AC=1",
    "/owa/attachment.ashx?id=AAMk%2Bx%3D&name=100%25.pdf",
    "/owa/?path=/mail/search&q=caf%C3%A9+100%",
    "/EWS/Exchange.asmx",
    "/mapi/emsmdb/?MailboxId=6e0a1f0c-0000@example.com",
    "/rpc/rpcproxy.dll?6e0a1f0c-0000@example.com:6001",
    "/Microsoft-Server-ActiveSync?User=anna%5Cx&DeviceId=ABC&DeviceType=iPhone&Cmd=Ping",
    "/OAB/6e0a1f0c-0000/oab.xml",
]


@pytest.mark.parametrize("path", EXPLOITS)
def test_exploitation_urls_are_refused_for_everybody(gate: Gate, path: str) -> None:
    before = len(gate.seen)
    assert {gate.ask(source, path) for source in (stranger(), ADMIN)} <= {400, 403}
    assert len(gate.seen) == before


@pytest.mark.parametrize("path", CONTROL)
def test_control_characters_are_refused(gate: Gate, path: str) -> None:
    before = len(gate.seen)
    assert gate.ask(stranger(), path) == 400
    assert len(gate.seen) == before


@pytest.mark.parametrize("name", ["X-AnonResource-Backend", "x-beresource", "X-BEResource"])
def test_cookies_of_proxylogon_are_refused(gate: Gate, name: str) -> None:
    before = len(gate.seen)
    assert gate.ask(stranger(), "/owa/auth/x.js", Cookie=f"a=b; {name}=localhost~1;c=d") == 403
    assert len(gate.seen) == before
    assert gate.ask(stranger(), "/owa/", Cookie="X-BackEndCookie=S-1-5-21") == 200


@pytest.mark.parametrize("path", CLIENTS)
def test_what_clients_ask_for_passes(gate: Gate, path: str) -> None:
    assert gate.ask(stranger(), path) == 200
    assert gate.seen[-1] == path


@pytest.mark.parametrize(
    "path", ["/owa/HealthCheck.htm", "/owa/xHealthCheck.htm", "/owa/a/xhealthcheck.htm", "/ews/healthcheck.htm/x"]
)
def test_health_pages_are_closed_under_any_name(gate: Gate, path: str) -> None:
    assert gate.ask(stranger(), path) == 403
    assert gate.ask(ADMIN, path) == 200


# --- clients ----------------------------------------------------------------------------------------------------------


def test_an_answer_may_take_longer_than_a_client_may_be_silent(
    haproxy: str, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before HAProxy 3.0 the time for the handshake is the client's; no wait for the server is in it."""
    here = Gate.here

    def quick(self: Gate, text: str) -> str:
        return here(
            self, text.replace("timeout client 60s", "timeout client 1s").replace("client-hs 15s", "client-hs 1s")
        )

    monkeypatch.setattr(Gate, "here", quick)
    with TemporaryDirectory(prefix="hx") as folder:
        gate = Gate(haproxy, certificates, Path(folder))
        try:
            with socket.create_connection(("127.0.0.1", gate.ports[443]), timeout=20) as silent:
                assert gate.ask(stranger(), "/owa/", X_Wait="4") == 200
                assert silent.recv(1) == b""
        finally:
            gate.close()


def test_what_was_counted_lives_over_a_reload(haproxy: str, certificates: Path) -> None:
    with TemporaryDirectory(prefix="hx") as folder, ExitStack() as stack:
        gate = Gate(haproxy, certificates, Path(folder))
        stack.callback(gate.close)
        source = stranger()
        for number in range(3):
            gate.ask(source, EWS, "POST", BARE, Authorization=basic(f"{number}"))
        # A process that has just begun first waits for one before it, and has nothing to hand on until then.
        time.sleep(12)
        before, gate.process = gate.process, gate.start("-sf", str(gate.process.pid))
        before.wait(30)
        assert gate.owes(source) == 3


@pytest.mark.parametrize("port", [80, 443, 25, 587, 143, 993, 110, 995])
def test_a_service_that_is_full_leaves_the_others_alone(haproxy: str, certificates: Path, port: int) -> None:
    with TemporaryDirectory(prefix="hx") as folder, ExitStack() as stack:
        gate = Gate(haproxy, certificates, Path(folder), haproxy_max_connections=40)
        stack.callback(gate.close)
        # More than all connections together, and no more than the kernel takes without a word from HAProxy.
        for _ in range(50):
            stack.enter_context(
                socket.create_connection(("127.0.0.1", gate.ports[port]), source_address=(stranger(), 0))
            )
        if port != 443:
            assert gate.ask(stranger(), "/owa/") == 200
        assert gate.ask("127.0.0.1", "/metrics", port=8404) == 200


def test_metrics_arent_shown_to_what_came_through_the_front(gate: Gate) -> None:
    assert gate.ask("127.0.0.1", "/metrics", port=8404) == 200
    assert gate.ask("127.0.0.1", "/metrics", port=8404, X_Forwarded_For="198.51.100.7") == 403
