from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from standin_client import LONG, PASSWORDS, Ports, Standin, authenticate, negotiate, within

from standin import ntlm
from standin.website import DIRECTORIES

ANNA = "anna@example.test"
HOST = "mail.example.test"
Browse = Callable[[], "Browser"]

PATHS = {
    "owa": "/owa",
    "ecp": "/ecp",
    "ews": "/EWS",
    "mapi": "/mapi",
    "rpc": "/rpc",
    "oab": "/OAB",
    "activesync": "/Microsoft-Server-ActiveSync",
    "autodiscover": "/Autodiscover",
    "powershell": "/PowerShell",
    "rest": "/api",
}
COMPONENTS = {
    "owa": "OwaProxy",
    "ecp": "EcpProxy",
    "ews": "EwsProxy",
    "mapi": "MapiProxy",
    "rpc": "RpcProxy",
    "oab": "OabProxy",
    "activesync": "ActiveSyncProxy",
    "autodiscover": "AutoDiscoverProxy",
    "powershell": "RpsProxy",
    "rest": "RestProxy",
}


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def challenges(self) -> list[str]:
        return [value.partition(" ")[0] for value in self.headers.get_all("WWW-Authenticate", [])]


class Browser:
    """One client connection, kept open. `ended`: `send` saw its end."""

    ended = False

    def __init__(self, port: int, trust: ssl.SSLContext) -> None:
        self.http = http.client.HTTPSConnection(HOST, port, timeout=LONG, context=trust)
        # The name is the certificate's; the address is loopback.
        plain = socket.create_connection(("127.0.0.1", port), timeout=LONG)
        self.http.sock = trust.wrap_socket(plain, server_hostname=HOST)

    def get(self, target: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
        spelled = {name.replace("_", "-"): value for name, value in headers.items()}
        self.http.request(method, target, body or None, {"Host": HOST, **spelled})
        return Answer(self.http.getresponse())

    def send(self, data: bytes) -> bytes:
        """Octets as they are; what comes until the server closes or falls silent."""
        assert self.http.sock is not None
        self.http.sock.sendall(data)
        self.http.sock.settimeout(0.3)
        received = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while more := self.http.sock.recv(65536):
                received += more
            self.ended = True
        return received

    def ntlm(self, target: str, user: str, password: str, bindings: bytes = b"", **headers: str) -> Answer:
        """The whole handshake."""
        first = self.get(target, Authorization="NTLM " + base64.b64encode(negotiate()).decode(), **headers)
        assert first.status == 401
        scheme, _, blob = first.headers["WWW-Authenticate"].partition(" ")
        assert scheme == "NTLM"
        proof = authenticate(base64.b64decode(blob), user, "EXAMPLE", password, bindings)
        return self.get(target, Authorization="NTLM " + base64.b64encode(proof).decode(), **headers)

    def close(self) -> None:
        self.http.close()


@pytest.fixture
def browse(standin: Standin, trust: ssl.SSLContext) -> Iterator[Browse]:
    """`browse()`: a new connection."""
    with contextlib.ExitStack() as browsers:

        def connect() -> Browser:
            browser = Browser(standin.https, trust)
            browsers.callback(browser.close)
            return browser

        yield connect


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# Directories and their health


def test_the_directories_are_all_there() -> None:
    assert {d.name: d.component for d in DIRECTORIES.values()} == COMPONENTS


@pytest.mark.parametrize("name", PATHS)
def test_health(standin: Standin, browse: Browse, name: str) -> None:
    browser = browse()
    for page in ("HealthCheck.htm", "healthcheck.htm"):
        answer = browser.get(f"{PATHS[name]}/{page}")
        assert (answer.status, answer.body) == (200, b"200 OK<br/>EX1.example.test")
        assert answer.headers["X-FEServer"] == "EX1"
    standin.set(f"ServerComponentState[{COMPONENTS[name]}].State", "Inactive")
    for other, path in PATHS.items():
        assert browser.get(f"{path}/healthcheck.htm").status == (503 if other == name else 200), other
    standin.set(f"ServerComponentState[{COMPONENTS[name]}].State", "Active")
    assert browser.get(f"{PATHS[name]}/healthcheck.htm").status == 200


def test_health_of_a_server_that_is_offline(standin: Standin, browse: Browse) -> None:
    browser = browse()
    standin.set("ServerComponentState[ServerWideOffline].State", "Inactive")
    assert {browser.get(f"{path}/healthcheck.htm").status for path in PATHS.values()} == {503}
    # Whoever is there isn't sent away: that is the balancer's part.
    assert browser.get("/owa/echo").status == 200


def test_stopped_pool(standin: Standin, browse: Browse) -> None:
    standin.set("WebAppPoolState[+]", {"Name": "MSExchangeOWAAppPool", "Value": "Stopped"})
    assert browse().get("/owa/healthcheck.htm").status == 503
    assert browse().get("/owa/echo").status == 503
    assert browse().get("/ecp/echo").status == 200


@pytest.mark.parametrize(
    "target",
    [
        "/ecp/echo",
        "/ECP/echo",
        "/%65cp/echo",
        "//ecp/echo",
        "/owa/../ecp/echo",
        "/owa/..%2fecp/echo",
        "/\\ecp/echo",
        "/owa/%2e%2e%5cecp/echo",
        "https://mail.example.test/ecp/echo",
        "/./ecp/./echo",
    ],
)
def test_spellings_of_a_path_lead_to_its_directory(standin: Standin, browse: Browse, target: str) -> None:
    answer = browse().get(target)
    assert answer.status == 200
    assert answer.headers["X-Standin-Directory"] == "ecp"
    assert answer.json()["target"] == target
    event = standin.event("http_request")
    assert (event["directory"], event["target"], event["path"].lower()) == ("ecp", target, "/ecp/echo")


@pytest.mark.parametrize("target", ["/%2565cp/echo", "/ecpx/echo", "/nothing", "/ec/p/echo", "/ecp;x/echo"])
def test_spellings_that_lead_nowhere(browse: Browse, target: str) -> None:
    answer = browse().get(target)
    assert answer.status == 404
    assert "X-Standin-Directory" not in answer.headers


def test_root_leads_to_owa(browse: Browse) -> None:
    answer = browse().get("/")
    assert (answer.status, answer.headers["Location"]) == (302, f"https://{HOST}/owa/")


def test_echo_shows_what_came(standin: Standin, browse: Browse) -> None:
    browser = browse()
    answer = browser.get("/ews/echo?a=b", "POST", b"body", X_Forwarded_For="192.0.2.7", X_Mixed_Case="Yes").json()
    assert answer["method"] == "POST"
    assert answer["query"] == "a=b"
    assert answer["body_octets"] == 4
    assert answer["sni"] == HOST
    assert answer["source"] == "127.0.0.1"
    assert answer["tls"] == "TLSv1.3"
    assert ["X-Forwarded-For", "192.0.2.7"] in answer["headers"]
    assert ["X-Mixed-Case", "Yes"] in answer["headers"]
    assert browser.get("/ews/echo").json()["number"] == 2
    event = standin.event("http_request", number=1)
    assert (event["sni"], event["forwarded_for"], event["status"]) == (HOST, "192.0.2.7", 200)


def test_requests_need_not_be_noted(standin: Standin, browse: Browse) -> None:
    standin.set("Standin.JournalRequests", False)
    assert browse().get("/owa/echo").status == 200
    assert browse().get("/owa/healthcheck.htm").status == 200
    assert standin.events("http_request") == standin.events("http_health") == []


# Logon by form


def log_on(browser: Browser, user: str, password: str, destination: str = f"https://{HOST}/owa/") -> Answer:
    form = {"destination": destination, "flags": "4", "username": user, "password": password, "isUtf8": "1"}
    return browser.get(
        "/owa/auth.owa", "POST", urlencode(form).encode(), Content_Type="application/x-www-form-urlencoded"
    )


def cookie(answer: Answer) -> str:
    return "; ".join(value.partition(";")[0] for value in answer.headers.get_all("Set-Cookie"))


@pytest.mark.parametrize("path", ["/owa/", "/owa", "/owa/?ae=Folder", "/ecp/"])
def test_owa_wants_a_logon(browse: Browse, path: str) -> None:
    answer = browse().get(path)
    assert answer.status == 302
    target = urlsplit(answer.headers["Location"])
    assert (target.hostname, target.path) == (HOST, "/owa/auth/logon.aspx")
    query = parse_qs(target.query)
    assert query["reason"] == ["0"]
    assert query["url"][0].startswith(f"https://{HOST}{path.partition('?')[0]}")


def test_other_methods_are_told_that_the_logon_is_over(browse: Browse) -> None:
    assert browse().get("/owa/service.svc", "POST", b"{}").status == 440


@pytest.mark.parametrize("user", [ANNA, "anna", "EXAMPLE\\anna"])
def test_logon(standin: Standin, browse: Browse, user: str) -> None:
    browser = browse()
    answer = log_on(browser, user, PASSWORDS[ANNA])
    assert (answer.status, answer.headers["Location"]) == (302, f"https://{HOST}/owa/")
    cookies = answer.headers.get_all("Set-Cookie")
    assert {value.partition("=")[0] for value in cookies} == {
        "cadata",
        "cadataTTL",
        "cadataKey",
        "cadataIV",
        "cadataSig",
    }
    assert all("secure" in value and "HttpOnly" in value for value in cookies)
    answer = browser.get("/owa/", Cookie=cookie(answer))
    assert answer.status == 200
    assert ANNA.encode() in answer.body
    event = standin.event("http_logon")
    assert (event["how"], event["name"], event["success"]) == ("form", user, True)


@pytest.mark.parametrize(("user", "password"), [(ANNA, "wrong"), (ANNA, ""), ("nobody", "x"), ("", "")])
def test_failed_logon(standin: Standin, browse: Browse, user: str, password: str) -> None:
    browser = browse()
    answer = log_on(browser, user, password)
    assert answer.status == 302
    target = urlsplit(answer.headers["Location"])
    assert target.path == "/owa/auth/logon.aspx"
    assert parse_qs(target.query)["reason"] == ["2"]
    assert "Set-Cookie" not in answer.headers
    page = browser.get(f"{target.path}?{target.query}")
    assert page.status == 200
    assert b"isn't correct" in page.body
    assert b"isn't correct" not in browser.get("/owa/auth/logon.aspx?reason=0").body
    assert standin.event("http_logon")["success"] is False


def test_destination_stays_on_the_server(browse: Browse) -> None:
    answer = log_on(browse(), ANNA, PASSWORDS[ANNA], "https://evil.test/owa/")
    assert answer.headers["Location"] == f"https://{HOST}/owa/"
    answer = log_on(browse(), ANNA, PASSWORDS[ANNA], f"https://{HOST}/ecp/")
    assert answer.headers["Location"] == f"https://{HOST}/ecp/"


def test_forged_cookie(browse: Browse) -> None:
    browser = browse()
    berta = base64.b64encode(f"berta@example.test|{int(time.time()) + 999}".encode()).decode()
    good = dict(part.split("=", 1) for part in cookie(log_on(browser, ANNA, PASSWORDS[ANNA])).split("; "))
    for forged in ({"cadata": berta}, {"cadataSig": ""}, {"cadata": ""}, {"cadata": "!"}, {"cadata": "YQ=="}):
        assert browser.get("/owa/", Cookie="; ".join(f"{n}={v}" for n, v in (good | forged).items())).status == 302
    assert browser.get("/owa/", Cookie="; ".join(f"{n}={v}" for n, v in good.items())).status == 200


def test_admin_center_can_be_off(standin: Standin, browse: Browse) -> None:
    browser = browse()
    cookies = cookie(log_on(browser, ANNA, PASSWORDS[ANNA]))
    assert browser.get("/ecp/", Cookie=cookies).status == 200
    standin.set("EcpVirtualDirectory[0].AdminEnabled", False)
    assert browser.get("/ecp/", Cookie=cookies).status == 404


def test_owa_without_forms(standin: Standin, browse: Browse) -> None:
    standin.set("OwaVirtualDirectory[0].FormsAuthentication", False)
    assert browse().get("/owa/").challenges == ["Basic"]
    assert browse().get("/owa/", Authorization=basic(ANNA, PASSWORDS[ANNA])).status == 200


# Basic


@pytest.mark.parametrize(
    ("target", "challenges"),
    [
        ("/ews/exchange.asmx", ["Negotiate", "NTLM", "Basic"]),
        ("/autodiscover/autodiscover.xml", ["Negotiate", "NTLM", "Basic"]),
        ("/Microsoft-Server-ActiveSync", ["Basic"]),
        ("/mapi/emsmdb", ["Negotiate", "NTLM"]),
        ("/rpc/rpcproxy.dll", ["Negotiate", "NTLM", "Basic"]),
        ("/oab/x/oab.xml", ["Negotiate", "NTLM"]),
        ("/powershell", []),
        ("/api/v2.0/me", ["Bearer"]),
    ],
)
def test_logons_offered(browse: Browse, target: str, challenges: list[str]) -> None:
    answer = browse().get(target)
    assert answer.status == 401
    assert answer.challenges == challenges


def test_basic(standin: Standin, browse: Browse) -> None:
    browser = browse()
    answer = browser.get("/ews/exchange.asmx", Authorization=basic(ANNA, PASSWORDS[ANNA]))
    assert answer.status == 200
    assert standin.event("http_request", status=200)["user"] == ANNA
    # It holds for the request, not for the connection.
    assert browser.get("/ews/exchange.asmx").status == 401
    assert browser.get("/ews/exchange.asmx", Authorization=basic(ANNA, "wrong")).status == 401
    assert [event["success"] for event in standin.events("http_logon")] == [True, False]


@pytest.mark.parametrize("value", ["Basic", "Basic !", "Basic YQ==", "Basic /////w==", "Bearer x", "NTLM", "NTLM eA=="])
def test_nonsense_for_a_logon(browse: Browse, value: str) -> None:
    assert browse().get("/ews/exchange.asmx", Authorization=value).status == 401


def test_basic_follows_the_directory(standin: Standin, browse: Browse) -> None:
    standin.set("WebServicesVirtualDirectory[0].BasicAuthentication", False)
    answer = browse().get("/ews/exchange.asmx", Authorization=basic(ANNA, PASSWORDS[ANNA]))
    assert (answer.status, answer.challenges) == (401, ["Negotiate", "NTLM"])


def test_autodiscover(standin: Standin, browse: Browse) -> None:
    standin.set("WebServicesVirtualDirectory[0].ExternalUrl", f"https://{HOST}/EWS/Exchange.asmx")
    body = b"<Autodiscover/>"
    answer = browse().get("/Autodiscover/Autodiscover.xml", "POST", body, Authorization=basic(ANNA, PASSWORDS[ANNA]))
    assert f"<EwsUrl>https://{HOST}/EWS/Exchange.asmx</EwsUrl>".encode() in answer.body
    answer = browse().get("/autodiscover/autodiscover.json?Email=anna%40example.test&Protocol=AutodiscoverV1")
    assert answer.json() == {"Protocol": "AutodiscoverV1", "Url": f"https://{HOST}/autodiscover/autodiscover.xml"}


# NTLM


def test_ntlm_authenticates_the_connection(standin: Standin, browse: Browse) -> None:
    browser = browse()
    assert browser.ntlm("/ews/exchange.asmx", "anna", PASSWORDS[ANNA]).status == 200
    assert browser.get("/ews/exchange.asmx").status == 200
    assert browser.get("/mapi/emsmdb").status == 200
    assert browser.get("/ews/echo").json()["user"] == ANNA
    other = browse()
    assert other.get("/ews/exchange.asmx").status == 401
    assert other.get("/ews/echo").json()["user"] is None
    assert standin.events("ntlm_sharing") == standin.events("ntlm_split") == []


def test_wrong_ntlm_password(standin: Standin, browse: Browse) -> None:
    browser = browse()
    answer = browser.ntlm("/ews/exchange.asmx", "anna", "wrong")
    assert (answer.status, answer.challenges) == (401, ["Negotiate", "NTLM", "Basic"])
    assert browser.get("/ews/exchange.asmx").status == 401
    assert standin.event("http_logon")["success"] is False
    assert browser.ntlm("/ews/exchange.asmx", "nobody", "x").status == 401
    assert browser.ntlm("/ews/exchange.asmx", "anna", PASSWORDS[ANNA]).status == 200


def test_new_handshake_forgets_the_former(browse: Browse) -> None:
    browser = browse()
    browser.ntlm("/ews/exchange.asmx", "anna", PASSWORDS[ANNA])
    assert browser.ntlm("/ews/exchange.asmx", "berta", "wrong").status == 401
    assert browser.get("/ews/exchange.asmx").status == 401


def test_connection_that_two_clients_share(standin: Standin, browse: Browse) -> None:
    browser = browse()
    browser.ntlm("/ews/exchange.asmx", "anna", PASSWORDS[ANNA], X_Forwarded_For="192.0.2.1")
    browser.get("/ews/exchange.asmx", X_Forwarded_For="192.0.2.1")
    assert standin.events("ntlm_sharing") == []
    # This is what must never happen behind a gateway: the second client is anna.
    assert ANNA.encode() in browser.get("/ews/exchange.asmx", X_Forwarded_For="192.0.2.2").body
    event = standin.event("ntlm_sharing")
    assert (event["authenticated"], event["asking"], event["name"]) == ("192.0.2.1", "192.0.2.2", ANNA)


def test_clients_behind_one_address_are_told_apart(standin: Standin, browse: Browse) -> None:
    browser = browse()
    browser.ntlm("/ews/exchange.asmx", "anna", PASSWORDS[ANNA], X_Forwarded_For="192.0.2.1", X_Standin_Client="one")
    browser.get("/owa/echo", X_Forwarded_For="192.0.2.1", X_Standin_Client="two")
    assert standin.event("ntlm_sharing")["asking"] == "192.0.2.1 two"


def test_client_in_the_middle_of_a_handshake(standin: Standin, browse: Browse) -> None:
    browser = browse()
    header = "NTLM " + base64.b64encode(negotiate()).decode()
    browser.get("/ews/exchange.asmx", Authorization=header, X_Forwarded_For="192.0.2.1")
    browser.get("/ews/exchange.asmx", X_Forwarded_For="192.0.2.2")
    assert standin.event("ntlm_sharing")["authenticated"] == "192.0.2.1"


def test_handshake_over_two_connections(standin: Standin, browse: Browse) -> None:
    one, two = browse(), browse()
    first = one.get("/ews/exchange.asmx", Authorization="NTLM " + base64.b64encode(negotiate()).decode())
    challenge = base64.b64decode(first.headers["WWW-Authenticate"].partition(" ")[2])
    proof = base64.b64encode(authenticate(challenge, "anna", "", PASSWORDS[ANNA])).decode()
    assert two.get("/ews/exchange.asmx", Authorization=f"NTLM {proof}").status == 401
    assert standin.event("ntlm_split")["name"] == "anna"
    # The challenge is answered once.
    assert one.get("/ews/exchange.asmx", Authorization=f"NTLM {proof}").status == 200
    assert one.get("/ews/exchange.asmx", Authorization=f"NTLM {proof}").status == 401


@pytest.mark.parametrize(
    ("check", "seen", "status"),
    [
        ("None", "none", 200),
        ("None", "other", 200),
        ("Allow", "none", 200),
        ("Allow", "own", 200),
        ("Allow", "other", 401),
        ("Require", "none", 401),
        ("Require", "own", 200),
        ("Require", "other", 401),
    ],
)
def test_extended_protection(
    standin: Standin, browse: Browse, certificate: Path, check: str, seen: str, status: int
) -> None:
    standin.set("WebServicesVirtualDirectory[0].ExtendedProtectionTokenChecking", check)
    text = certificate.read_text()
    own = ntlm.channel_bindings(ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERT") :]))
    bindings = {"none": b"", "own": own, "other": b"x" * 16}[seen]
    assert browse().ntlm("/ews/exchange.asmx", "anna", PASSWORDS[ANNA], bindings).status == status


# Long answers


def test_ping(standin: Standin, browse: Browse) -> None:
    browser = browse()
    target = "/Microsoft-Server-ActiveSync?Cmd=Ping&HeartbeatInterval=0.3&User=anna"
    assert browser.get(target, "POST").status == 401
    assert standin.events("http_poll") == [], "who isn't logged on doesn't wait"
    began = time.monotonic()
    answer = browser.get(target, "POST", Authorization=basic(ANNA, PASSWORDS[ANNA]))
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/vnd.ms-sync.wbxml"
    assert time.monotonic() - began >= 0.3
    assert [event["phase"] for event in standin.events("http_poll")] == ["begin", "end"]
    assert browser.get("/Microsoft-Server-ActiveSync", "OPTIONS").status == 401
    answer = browser.get("/Microsoft-Server-ActiveSync", "OPTIONS", Authorization=basic(ANNA, PASSWORDS[ANNA]))
    assert "16.1" in answer.headers["MS-ASProtocolVersions"]


def test_many_polls_at_once_hinder_nobody(standin: Standin, browse: Browse) -> None:
    polls = [browse() for _ in range(30)]
    for poll in polls:
        poll.http.request("GET", "/owa/hold?seconds=3", headers={"Host": HOST})
    assert within(LONG, lambda: len(standin.events("http_poll")) == 30)
    assert browse().get("/owa/echo").status == 200
    assert {Answer(poll.http.getresponse()).body for poll in polls} == {b"held"}
    echo = standin.event("http_request", path="/owa/echo")
    assert echo["n"] < min(event["n"] for event in standin.events("http_poll") if event["phase"] == "end")


def test_poll_that_breaks(standin: Standin, browse: Browse) -> None:
    browser = browse()
    browser.http.request("GET", "/owa/hold?seconds=30", headers={"Host": HOST})
    assert standin.event("http_poll", phase="begin")["seconds"] == 30
    browser.close()
    assert standin.event("http_poll", phase="broken")["seconds"] < 10


def test_polls_live_through_changes(standin: Standin, browse: Browse) -> None:
    browser = browse()
    browser.http.request("GET", "/owa/hold?seconds=0.5", headers={"Host": HOST})
    standin.event("http_poll", phase="begin")
    standin.set("ServerComponentState[OwaProxy].State", "Inactive")
    elsewhere = Ports(1)
    standin.set("WebBinding[0].bindingInformation", f"127.0.0.1:{elsewhere.numbers[0]}:", "ReceiveConnector", [])
    assert Answer(browser.http.getresponse()).body == b"held"
    elsewhere.give_back()


def test_notification(browse: Browse) -> None:
    browser = browse()
    browser.ntlm("/mapi/emsmdb", "anna", PASSWORDS[ANNA])
    began = time.monotonic()
    browser.http.request("POST", "/mapi/emsmdb?hold=1", headers={"Host": HOST})
    response = browser.http.getresponse()
    assert response.headers["Content-Type"] == "application/mapi-http"
    assert response.read1() == b"PROCESSING\r\n"
    assert time.monotonic() - began < 1, "the head comes at once"
    assert response.read().startswith(b"DONE\r\n")
    assert time.monotonic() - began >= 1


def test_drip(standin: Standin, browse: Browse) -> None:
    began = time.monotonic()
    assert browse().get("/owa/drip?n=4&interval=0.05").body == b"...."
    assert time.monotonic() - began >= 0.2
    assert standin.event("http_poll", phase="end"), "a moment after the last piece"
    assert [event["phase"] for event in standin.events("http_poll")] == ["begin", "end"]


def test_other_probes(standin: Standin, browse: Browse) -> None:
    browser = browse()
    assert browser.get("/owa/bytes?n=100000").body == bytes(100000)
    assert browser.get("/owa/status?code=503").status == 503
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        browser.get("/owa/cut")
    assert standin.event("http_cut")


# The protocol


def request(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


def statuses(data: bytes) -> list[int]:
    return [int(found[1]) for found in re.finditer(rb"HTTP/1\.1 (\d{3}) ", data)]


def test_pipelined_requests(browse: Browse) -> None:
    data = b"".join(
        request(f"GET /owa/{page} HTTP/1.1", "Host: x") for page in ("echo", "drip?n=1", "nothing", "hold?seconds=0.1")
    )
    assert statuses(browse().send(data)) == [200, 200, 302, 200]


def test_keep_alive_and_close(browse: Browse) -> None:
    browser = browse()
    assert all(browser.get("/owa/echo").json()["number"] == n for n in range(1, 20))
    assert browser.get("/owa/echo").headers["Connection"] is None
    closing = browse()
    answer = closing.send(request("GET /owa/bytes?n=1 HTTP/1.1", "Host: x", "Connection: close"))
    assert b"Connection: close" in answer
    assert closing.ended, "and it does close"


def test_http_1_0(browse: Browse) -> None:
    answer = browse().send(request("GET /owa/bytes?n=1 HTTP/1.0"))
    assert b"Connection: close" in answer
    answer = browse().send(request("GET /owa/drip?n=2&interval=0 HTTP/1.0"))
    assert b"chunked" not in answer
    assert answer.endswith(b"\r\n\r\n..")
    answer = browse().send(request("GET /owa/bytes?n=1 HTTP/1.0", "Connection: keep-alive"))
    assert b"Connection: keep-alive" in answer


def test_head(browse: Browse) -> None:
    answer = browse().send(request("HEAD /owa/healthcheck.htm HTTP/1.1", "Host: x"))
    assert b"Content-Length: 27\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_chunked_body(browse: Browse) -> None:
    chunks = b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: x\r\n\r\n"
    head = request("POST /owa/echo HTTP/1.1", "Host: x", "Transfer-Encoding: chunked")
    follow = request("GET /owa/nothing HTTP/1.1", "Host: x")
    answer = browse().send(head + chunks + follow)
    assert statuses(answer) == [200, 302]
    assert b'"body_octets": 7' in answer


def test_body_in_pieces(browse: Browse) -> None:
    browser = browse()
    assert browser.send(request("POST /owa/echo HTTP/1.1", "Host: x", "Content-Length: 6", body=b"abc")) == b""
    assert b'"body_octets": 6' in browser.send(b"def")


def test_large_body(browse: Browse) -> None:
    assert browse().get("/ews/echo", "POST", b"x" * 5_000_000).json()["body_octets"] == 5_000_000


def test_continue(browse: Browse) -> None:
    browser = browse()
    head = request("POST /owa/echo HTTP/1.1", "Host: x", "Content-Length: 1", "Expect: 100-continue")
    assert browser.send(head) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert statuses(browser.send(b"x")) == [200]


@pytest.mark.parametrize(
    "lines",
    [
        ["GET /owa/echo HTTP/1.1"],
        ["GET /owa/echo HTTP/1.1", "Host: x", "Host: y"],
        ["GET /owa/echo HTTP/2.0", "Host: x"],
        ["GET  /owa/echo HTTP/1.1", "Host: x"],
        ["GET /owa/ echo HTTP/1.1", "Host: x"],
        ["GET /owa/echo", "Host: x"],
        ["G(T /owa/echo HTTP/1.1", "Host: x"],
        ["GET /owa/echo HTTP/1.1", "Host: x", "Bad header: x"],
        ["GET /owa/echo HTTP/1.1", "Host: x", " folded: x"],
        ["GET /owa/echo HTTP/1.1", "Host : x"],
        ["GET /owa/echo HTTP/1.1", "Host: x", "X: a\nY: b"],
        ["GET /owa/echo HTTP/1.1", "Host: x", "Content-Length: 1", "Content-Length: 2"],
        ["GET /owa/echo HTTP/1.1", "Host: x", "Content-Length: -1"],
        ["GET /owa%00/echo HTTP/1.1", "Host: x"],
        ["GET * HTTP/1.1", "Host: x"],
        ["CONNECT x:443 HTTP/1.1", "Host: x"],
        ["GET /owa/echo HTTP/1.1", "Host: x", "X: " + "y" * 70000],
    ],
)
def test_what_is_no_request(browse: Browse, lines: list[str]) -> None:
    answer = browse().send(request(*lines) + request("GET /owa/echo HTTP/1.1", "Host: x"))
    assert statuses(answer) == [400], "and the connection is closed"
    assert b"Connection: close" in answer


@pytest.mark.parametrize(
    "framing", [["Content-Length: 5", "Transfer-Encoding: chunked"], ["Transfer-Encoding: x, chunked"]]
)
def test_ambiguous_framing(browse: Browse, framing: list[str]) -> None:
    head = request("POST /owa/echo HTTP/1.1", "Host: x", *framing)
    assert statuses(browse().send(head + b"0\r\n\r\n")) == [400]


# The server


def test_stopped_web_service(standin: Standin, browse: Browse) -> None:
    poll = browse()
    poll.http.request("GET", "/owa/hold?seconds=30", headers={"Host": HOST})
    standin.event("http_poll", phase="begin")
    standin.set("Service[W3SVC].Status", "Stopped")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        poll.http.getresponse()
    with pytest.raises(ConnectionRefusedError):
        browse()
    standin.set("Service[W3SVC].Status", "Running")
    assert browse().get("/owa/echo").status == 200


def test_many_clients_at_once(standin: Standin, browse: Browse) -> None:
    counted: list[int] = []

    def ask() -> None:
        browser = browse()
        counted.extend(browser.get("/owa/bytes?n=100").status for _ in range(50))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted == [200] * 400


def test_name_of_the_server(standin: Standin, browse: Browse) -> None:
    standin.set("ExchangeServer.Name", "EX2", "ExchangeServer.Fqdn", "ex2.example.test")
    answer = browse().get("/owa/healthcheck.htm")
    assert answer.body == b"200 OK<br/>EX2.example.test"
    assert answer.headers["X-FEServer"] == "EX2"
