"""HTTPS: what is closed stays closed however it is spelt, and what clients say of themselves doesn't reach Exchange."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import uuid4

import pytest

from lab import Lab
from probes import ask
from probes.checks import CLOSED, EXCHANGE, MAIL, OPEN, events, last_events, web
from strangers import Strangers

CRLF = "\r\n"
# Ways of saying /ecp and /powershell, as request targets. IIS decodes (%uXXXX too), knows no case, takes a backslash
# for a slash, folds slashes and resolves dots.
TARGETS = [
    "/ecp", "/ecp/", "/ECP/", "/eCp/default.aspx", "/PowerShell", "/POWERSHELL/?PSVersion=5.1", "/powershell/",
    "//ecp/", "///ecp/", "/./ecp/", "/.//ecp/", "/owa/../ecp/", "/owa/..//ecp/", "/owa/./../ecp/", "/nothing/../ecp/",
    "/%65cp/", "/%65%63%70/", "/%45CP/", "/e%63p/default.aspx", "/%2fecp/", "/%2Fecp", "/owa%2f..%2fecp/",
    "/owa/%2e%2e/ecp/", "/owa/.%2e/ecp/", "/owa/%2E./ecp/", "/%2e/ecp/", "/owa/%2e%2e%2fecp/",
    "/owa/..\\ecp/", "\\ecp\\", "/\\ecp/", "/owa\\..\\ecp/", "/owa/%5c..%5cecp/", "/%5cecp/", "/owa/..%5Cecp/",
    "/%2565cp/", "/owa/%252e%252e/ecp/", "/%25%36%35cp/", "/%252fecp/", "/owa/..%255cecp/",
    "/%u0065cp/", "/%U0065cp/", "/%u0065%u0063%u0070/", "/owa/%u002e%u002e/ecp/", "/owa%u002f..%u002fecp/",
    "/ecp;x=1/", "/ecp/;x", "/owa;/../ecp/", "/owa/..;/ecp/", "/;/ecp/", "/ecp%3b/",
    "/ecp./", "/ecp../", "/ecp%20/", "/ecp%2e/", "/ecp%00/", "/%00/ecp/", "/ecp%0a/", "/ecp%09/", "/ecp::$DATA/",
    "/owa/..%c0%afecp/", "/%c1%a5cp/", "/owa/%c0%ae%c0%ae/ecp/", "/%ef%bd%85cp/", "/\uff45cp/",
    "/ecp?x", "/ecp#x", "/owa#/../ecp/", "/owa?/../ecp/", "/ecp/?", "/ecp/%", "/%zz/../ecp/", "/%6/ecp/",
    "/owa/%/../ecp/",
    "ecp/", "*/ecp/", "", "?/ecp/", "/owa/ /ecp/", "/ ecp/", "/\tecp/",
    f"https://{MAIL}/ecp/", f"HTTPS://{MAIL}/ecp/", f"https://{MAIL}:443/ecp/", f"http://{MAIL}/ecp/",
    f"https://{MAIL}//ecp/",
    f"https://{MAIL}/owa/../ecp/", f"https://{MAIL}/%65cp/", "https://www.example.test/ecp/", "https:///ecp/",
    f"https://x@{MAIL}/ecp/", f"//{MAIL}/ecp/", f"https://{MAIL}?/ecp/", f"https://{MAIL}\\ecp/",
]  # fmt: skip
# Ways of saying who is asked: the Host lines of a request for /ecp/.
HOSTS = [
    f"Host: {MAIL}:443", f"Host: {MAIL.upper()}", f"Host: {MAIL}.", f"Host: {MAIL}.:443", f"Host: {MAIL}:80",
    f"Host: {MAIL}:", f"host:{MAIL}", f"Host:\t{MAIL} ", f"Host : {MAIL}", f"Host: {MAIL},{MAIL}", f"Host: x@{MAIL}",
    f"Host: {MAIL}\r\nHost: {MAIL}", f"Host: www.example.test\r\nHost: {MAIL}",
    f"Host: {MAIL}\r\nHost: www.example.test",
    f"Host: \r\nHost: {MAIL}", f"Host: {MAIL}\r\n Host: www.example.test", f"X: y\r\n\tHost: {MAIL}",
    "Host: autodiscover.example.test",
    f"Host: {MAIL}/ecp", f"Host: [{MAIL}]", "Host: www.example.test", "Host: ex1.example.test", "Host: localhost",
    "Host:", "X: y",
    f"Host: {MAIL}\r\nX-Original-URL: /ecp/", f"Host: {MAIL}\r\nX-Forwarded-Host: www.example.test",
]  # fmt: skip
SMUGGLED = (
    f"POST /owa/echo HTTP/1.1{CRLF}Host: {MAIL}{CRLF}{{length}}{CRLF}{{coding}}{CRLF}{CRLF}0{CRLF}{CRLF}"
    f"GET /ecp/ HTTP/1.1{CRLF}Host: {MAIL}{CRLF}Connection: close{CRLF}{CRLF}"
)
METHODS = ["GET", "POST", "HEAD", "OPTIONS", "PROPFIND", "get", "DEBUG", "RPC_IN_DATA"]


def raw(
    head: str, gateway_address: str, source: str, server_name: str = MAIL, alpn: str = "http/1.1"
) -> dict[str, Any]:
    """A probe that sends exactly this head over TLS, and takes whatever comes."""
    return {
        "kind": "dialogue", "connect": gateway_address, "port": 443, "tls": "implicit", "server_name": server_name,
        "alpn": [alpn], "source": source, "verify": server_name == MAIL, "steps": [{"send": head}, {"closed": 20}],
    }  # fmt: skip


def closed_requests(address: str, strangers: Strangers) -> list[tuple[str, dict[str, Any]]]:
    """Return every way of asking for what is closed, as (its head, a probe)."""
    end = f"Connection: close{CRLF}{CRLF}"
    encode = str.maketrans({"\uff45": "\xef\xbd\x85"})
    heads = [(f"GET {target.translate(encode)} HTTP/1.1{CRLF}Host: {MAIL}{CRLF}{end}", MAIL) for target in TARGETS]
    heads += [(f"GET /ecp/ HTTP/1.1{CRLF}{host}{CRLF}{end}", MAIL) for host in HOSTS]
    heads += [(f"{method} /ecp/ HTTP/1.1{CRLF}Host: {MAIL}{CRLF}{end}", MAIL) for method in METHODS]
    heads += [
        (f"GET /ecp/ HTTP/1.0{CRLF}Host: {MAIL}{CRLF}{CRLF}", MAIL),
        (f"{CRLF}{CRLF}GET /ecp/ HTTP/1.1{CRLF}Host: {MAIL}{CRLF}{end}", MAIL),
        # The certificate of one name, and a request for another.
        (f"GET /ecp/ HTTP/1.1{CRLF}Host: {MAIL}{CRLF}{end}", "www.example.test"),
        (f"GET /ecp/ HTTP/1.1{CRLF}Host: {MAIL}{CRLF}{end}", "unknown.example.test"),
        # A second request inside the first one's body.
        (SMUGGLED.format(length="Content-Length: 5", coding="Transfer-Encoding: chunked"), MAIL),
        (SMUGGLED.format(length="Content-Length: 80", coding="Transfer-Encoding : chunked"), MAIL),
    ]
    # So few for each address that no limit is in the way.
    source = ""
    probes = []
    for number, (head, name) in enumerate(heads):
        source = strangers.address() if number % 10 == 0 else source
        probes.append((head, raw(head, address, source, name)))
    return probes


def seen_closed(lab: Lab, since: dict[str, int]) -> list[str]:
    """Return the requests for closed directories that reached a server since then (health checks aside)."""
    return [
        f"{event['method']} {event['target']} (Host: {event['host']})"
        for server in EXCHANGE
        for event in events(lab, server, "", since[server])
        if event["kind"] in ("http_request", "http_logon", "http_poll")
        and (event["directory"] in CLOSED or re.match(r"/(ecp|powershell)\b", event["path"].lower()))
    ]


def test_closed_directories_stay_closed_however_they_are_spelt(lab: Lab, gateway: str, strangers: Strangers) -> None:
    since = last_events(lab)
    asked = closed_requests(lab.address(gateway, "outside"), strangers)
    answers = ask(lab, "client", *(probe for _, probe in asked), parallel=8)
    assert seen_closed(lab, since) == []
    # Each was answered, or its connection ended: none is still open, and none failed before it was asked.
    wrong = {
        head: answer
        for (head, _), answer in zip(asked, answers, strict=True)
        if "closed" not in answer or re.search(r"(?i)x-standin-directory: (ecp|powershell)", answer["heard"][-1])
    }
    assert wrong == {}
    plain = [
        answer["heard"][-1]
        for (head, _), answer in zip(asked, answers, strict=True)
        if head.startswith("GET /ecp/ HTTP/1.1\r\nHost: mail.example.test\r\nConn")
    ]
    assert plain
    assert all(text.startswith("HTTP/1.1 403") for text in plain)


@pytest.mark.parametrize("family", [4, 6])
def test_closed_directories_are_open_to_administrators(lab: Lab, gateway: str, family: int) -> None:
    address = lab.address(gateway, "admin", family)
    paths = [path for path, _ in CLOSED.values()] + ["/ECP/", "//ecp/", "/%65cp/"]
    answers = ask(lab, "admin", *({**web(lab, gateway, path), "connect": address} for path in paths))
    directories = [answer.get("headers", answer).get("x-standin-directory") for answer in answers]
    assert directories == ["ecp", "powershell", "ecp", "ecp", "ecp"]


def test_health_pages_are_for_administrators(lab: Lab, gateway: str, strangers: Strangers) -> None:
    since = last_events(lab)
    spellings = [
        "/owa/HealthCheck.htm", "/owa/healthcheck.htm", "/OWA/HEALTHCHECK.HTM", "/owa//healthcheck.htm",
        "/owa/healthcheck%2ehtm",
        "/mapi/healthcheck.htm?x=1", "/%6fwa/h%65althcheck.htm", "/rpc/x/../healthcheck.htm",
        "/EWS/%2e/healthcheck.htm",
        "/Microsoft-Server-ActiveSync/healthcheck.htm", "/owa/.\\healthcheck.htm", "/oab/%68ealthcheck.htm;x",
    ]  # fmt: skip
    source = strangers.address()
    answers = ask(lab, "client", *({**web(lab, gateway, path), "source": source} for path in spellings))
    assert [answer["status"] for answer in answers[:3]] == [403] * 3
    asked = [
        event["target"]
        for server in EXCHANGE
        for event in events(lab, server, "http_health", since[server])
        if event["forwarded_for"]
    ]
    assert asked == []
    (answer,) = ask(lab, "admin", web(lab, gateway, "/owa/HealthCheck.htm", "admin"))
    assert answer["body"].startswith("200 OK<br/>EX")


def test_what_isnt_published_isnt_there(lab: Lab, gateway: str, strangers: Strangers) -> None:
    source = strangers.address()
    paths = [
        "/unknown",
        "/exchange/",
        "/public/",
        "/aspnet_client/",
        "/owaa/",
        "/api2/",
        "/Microsoft-Server-ActiveSyncs",
        "/iisstart.htm",
    ]
    hosts = [
        "evil.example",
        "ex1.example.test",
        "10.0.0.1",
        "example.test",
        "xmail.example.test",
        "mail.example.test.evil.example",
    ]
    answers = ask(
        lab,
        "client",
        *({**web(lab, gateway, path), "source": source} for path in paths),
        *({**web(lab, gateway, "/owa/"), "source": source, "headers": {"Host": host}} for host in hosts),
    )
    told = [(answer.get("status"), answer.get("headers", {}).get("x-feserver")) for answer in answers]
    assert told == [(404, None)] * (len(paths) + len(hosts))


def test_the_root_leads_to_owa(lab: Lab, gateway: str) -> None:
    (answer,) = ask(lab, "client", web(lab, gateway, "/"))
    assert (answer["status"], answer["headers"]["location"]) == (302, "/owa/")


def test_http_leads_to_https_but_not_the_acme_challenge(lab: Lab, gateway: str) -> None:
    paths = [
        "/",
        "/owa/?a=b&c=%20d",
        "/ecp/",
        "/.well-known/",
        "/.well-known/acme-challenge",
        "/x/.well-known/acme-challenge/t",
    ]
    hosts = [MAIL, "www.example.test"]
    answers = ask(
        lab,
        "client",
        *({**web(lab, gateway, path, scheme="http"), "headers": {"Host": host}} for path in paths for host in hosts),
        web(lab, gateway, "/.well-known/acme-challenge/token", scheme="http"),
    )
    for answer, (path, host) in zip(answers, [(path, host) for path in paths for host in hosts], strict=False):
        assert (answer["status"], answer["headers"]["location"]) == (301, f"https://{host}{path}")
    assert answers[-1]["status"] == 404
    assert "location" not in answers[-1]["headers"]


# What proxies say on behalf of clients; also with underscores, which CGI and ASP.NET can't tell from hyphens.
FORGED = {
    "X-Forwarded-For": "198.18.66.1", "X-Forwarded-Proto": "forged", "X-Forwarded-Port": "666",
    "X-Forwarded-Host": "forged.example",
    "X-Forwarded-Server": "forged.example", "X-Forwarded-By": "forged", "X-Forwarded": "for=forged",
    "X-Real-IP": "198.18.66.2",
    "Forwarded": "for=198.18.66.3;host=forged.example", "Via": "1.1 forged.example", "X-Client-IP": "198.18.66.4",
    "X-Cluster-Client-IP": "198.18.66.5", "True-Client-IP": "198.18.66.6", "X_Forwarded_For": "198.18.66.7",
    "X_Forwarded_Host": "forged.example", "X_Real_IP": "198.18.66.8", "x-forwarded-FOR": "198.18.66.9",
    "X-Forwarded_For": "198.18.66.10", "Client-IP": "198.18.66.11", "X-Original-Forwarded-For": "198.18.66.12",
    "X-ProxyUser-IP": "198.18.66.13", "Forwarded-For": "198.18.66.14", "Proxy": "http://forged.example",
}  # fmt: skip


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("host", [MAIL, "www.example.test"])
def test_servers_see_who_asks_and_not_what_he_says(
    lab: Lab, gateway: str, strangers: Strangers, family: int, host: str
) -> None:
    source = strangers.address() if family == 4 else f"{strangers.network()}1"
    heads = "".join(f"{name}: {value}{CRLF}" for name, value in FORGED.items())
    path = "/owa/echo" if host == MAIL else "/echo"
    head = f"GET {path} HTTP/1.1{CRLF}Host: {host}{CRLF}{heads}X-Own: kept{CRLF}Connection: close{CRLF}{CRLF}"
    (answer,) = ask(lab, "client", raw(head, lab.address(gateway, "outside", family), source, host))
    body = answer["heard"][-1].partition(CRLF * 2)[2]
    seen = [(name.lower(), value) for name, value in json.loads(body)["headers"]]
    assert sorted(
        pair for pair in seen if re.match(r"x-forwarded|x_|via|forwarded|client|true|x-real|x-c|x-o|x-p|proxy", pair[0])
    ) == [
        ("x-forwarded-for", source),
        ("x-forwarded-host", host),
        ("x-forwarded-port", "443"),
        ("x-forwarded-proto", "https"),
        ("x-own", "kept"),
    ]
    assert "forged" not in body
    assert "198.18.66." not in body


def test_exchange_gets_no_http2_and_other_sites_do(lab: Lab, gateway: str) -> None:
    address = lab.address(gateway, "outside")
    names = [MAIL, "autodiscover.example.test", "www.example.test"]
    offer = {
        "kind": "dialogue",
        "connect": address,
        "port": 443,
        "tls": "implicit",
        "alpn": ["h2", "http/1.1"],
        "verify": False,
        "steps": [],
    }
    answers = ask(lab, "client", *({**offer, "server_name": name} for name in names))
    assert [answer["alpn"] for answer in answers] == ["http/1.1", "http/1.1", "h2"]


def test_a_connection_of_another_sites_http2_doesnt_lead_to_exchange(lab: Lab, gateway: str) -> None:
    address, mark = lab.address(gateway, "outside"), uuid4().hex
    since = last_events(lab)
    curl = [
        "curl",
        "--silent",
        "--insecure",
        "--max-time",
        "20",
        "--http2",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code} %{http_version}",
    ]
    curl += ["--resolve", f"www.example.test:443:{address}", "--header", f"X-Standin-Client: {mark}"]
    own = lab.exec("client", [*curl, "https://www.example.test/"]).stdout
    other = lab.exec("client", [*curl, "--header", f"Host: {MAIL}", "https://www.example.test/owa/echo"]).stdout
    assert (own, other) == ("200 2", "421 2")
    assert not [
        event for server in EXCHANGE for event in events(lab, server, "", since[server]) if event.get("client") == mark
    ]


def test_every_open_directory_is_served_over_both_families(lab: Lab, gateway: str) -> None:
    paths = [path for path, _ in OPEN.values()]
    answers = ask(
        lab,
        "client",
        *(
            {**web(lab, gateway, path), "connect": lab.address(gateway, "outside", family)}
            for path in paths
            for family in (4, 6)
        ),
    )
    directories = [answer.get("headers", answer).get("x-standin-directory") for answer in answers]
    assert directories == [name for name in OPEN for _ in (4, 6)]
