"""Logons: NTLM stays with its connection, and whoever fails too often has to wait."""

from __future__ import annotations

import base64
import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from gateways import dropped_lines, fields, info, log

from lab import Lab
from probes import ask
from probes.checks import EXCHANGE, MAIL, events, wait_for, web
from standin.ntlm import md4
from strangers import Strangers

EWS = "/EWS/Exchange.asmx"
USER = "anna"
MAILBOX = "anna@example.test"
# molecule/haproxy/converge.yml
MOST_FAILED_LOGONS = 3


def ntlm(lab: Lab, gateway: str, paths: list[str], password: str = "", **more: Any) -> dict[str, Any]:
    """A probe that logs a connection on with the first path, and asks for the others on it."""
    nt_hash = md4((password or lab.secrets()["mailbox"]).encode("utf-16-le")).hex()
    return {
        "kind": "ntlm",
        "user": USER,
        "nt_hash": nt_hash,
        "requests": [web(lab, gateway, path, timeout=30, **more) for path in paths],
    }


def basic(
    lab: Lab, gateway: str, source: str, password: str, path: str = EWS, network: str = "outside"
) -> dict[str, Any]:
    """A probe with a Basic logon."""
    token = base64.b64encode(f"{MAILBOX}:{password}".encode()).decode()
    probe = web(lab, gateway, EWS, network, headers={"Authorization": f"Basic {token}"}, timeout=30)
    return {**probe, "source": source} if source else probe


def form(lab: Lab, gateway: str, source: str, password: str, path: str = "/owa/auth.owa") -> dict[str, Any]:
    """A probe that fills in OWA's form."""
    body = urlencode({"username": MAILBOX, "password": password, "destination": f"https://{MAIL}/owa/"})
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    return {
        **web(lab, gateway, path, headers=kind, timeout=30),
        "source": source,
        "method": "POST",
        "body": body,
    }


def bad_events(lab: Lab) -> list[dict[str, Any]]:
    """Return what tells that a connection was shared between clients, or a handshake split over two."""
    return [
        event for server in EXCHANGE for kind in ("ntlm_sharing", "ntlm_split") for event in events(lab, server, kind)
    ]


def test_ntlm_authenticates_a_connection_and_it_alone(lab: Lab, gateway: str, strangers: Strangers) -> None:
    source = strangers.address()
    logged_on, other = ask(
        lab,
        "client",
        ntlm(lab, gateway, [EWS, EWS, "/EWS/echo", EWS], source=source, pause=0.2),
        {"kind": "session", "requests": [web(lab, gateway, path, source=source) for path in [EWS, "/EWS/echo"] * 2]},
        parallel=2,
    )
    first, *later = logged_on["answers"]
    assert first["steps"] == [401, 200]
    assert MAILBOX in first["body"]
    assert [answer.get("status") for answer in later] == [200, 200, 200]
    assert MAILBOX in later[1]["body"]
    # The same client's second connection isn't logged on.
    assert [answer.get("status") for answer in other["answers"]] == [401, 200, 401, 200]
    assert MAILBOX not in str(other)
    assert bad_events(lab) == []


def test_ntlm_of_many_clients_at_once_is_never_mixed(lab: Lab, gateway: str, strangers: Strangers) -> None:
    clients = []
    for number in range(24):
        more = {"source": strangers.address(), "pause": 0.05 + number % 5 / 20}
        mark = {"X-Standin-Client": uuid4().hex}
        if number % 3:
            clients.append(ntlm(lab, gateway, [EWS, "/mapi/emsmdb/", EWS, "/EWS/echo"], headers=mark, **more))
        else:
            requests = [web(lab, gateway, EWS, headers=mark, **more) for _ in range(5)]
            clients.append({"kind": "session", "requests": requests})
    answers = [answer["answers"] for answer in ask(lab, "client", *clients, parallel=12)]
    for probe, came in zip(clients, answers, strict=True):
        if probe["kind"] == "ntlm":
            # Each virtual directory is a service of its own, with its own logon.
            assert [answer.get("status") for answer in came] == [200, 401, 200, 200], came
        else:
            assert [answer.get("status") for answer in came] == [401] * 5, came
    assert bad_events(lab) == []


def test_a_servers_connection_is_never_shared(lab: Lab, gateway: str, strangers: Strangers) -> None:
    # Clients come one after the other and stay, so that there are idle connections to be taken.
    clients = [
        {"kind": "session", "requests": [web(lab, gateway, "/owa/echo", source=source, pause=0.4)] * 4}
        for source in [strangers.address() for _ in range(6)]
    ]
    used = []
    for answer in ask(lab, "client", *clients, parallel=3):
        echoes = [json.loads(one["body"]) for one in answer["answers"]]
        assert [echo["number"] for echo in echoes] == [1, 2, 3, 4]
        used.append({(echo["server"], echo["connection"]) for echo in echoes})
    assert [len(connections) for connections in used] == [1] * 6
    assert len(set.union(*used)) == 6


@pytest.fixture
def extended_protection(lab: Lab) -> Iterator[None]:
    setting = "WebServicesVirtualDirectory[EWS (Default Web Site)].ExtendedProtectionTokenChecking"
    for server in EXCHANGE:
        lab.exchange(server, "set", setting, '"Require"')
    yield
    for server in EXCHANGE:
        lab.exchange(server, "set", setting, '"None"')


@pytest.mark.usefixtures("extended_protection")
def test_extended_protection_finds_the_same_certificate_on_both_sides(lab: Lab) -> None:
    for gateway in ("gw1", "gw2"):
        (answer,) = ask(lab, "client", ntlm(lab, gateway, [EWS]))
        assert answer["answers"][0]["steps"] == [401, 200]


def test_failed_logons_are_counted_for_each_client(lab: Lab, gateway: str, strangers: Strangers) -> None:
    right, wrong = lab.secrets()["mailbox"], "wrong"
    began, dropped = time.time(), dropped_lines(lab, gateway)
    ways = {
        "form": lambda source, password: form(lab, gateway, source, password),
        "basic": lambda source, password: basic(lab, gateway, source, password),
        "ntlm": lambda source, password: ntlm(lab, gateway, [EWS], password, source=source),
    }
    sources = {way: strangers.address() for way in ways}

    def status(answer: dict[str, Any]) -> int:
        return int(answer["answers"][0]["status"] if "answers" in answer else answer["status"])

    # Good ones don't count, however many; NTLM's two 401s on the way aren't failures.
    good = [way(sources[name], right) for name, way in ways.items() for _ in range(MOST_FAILED_LOGONS + 2)]
    assert {status(answer) for answer in ask(lab, "client", *good, parallel=3)} == {200, 302}

    # So many may fail, wherever the form is sent to …
    forms = ["/owa/auth.owa", "/OWA//Auth.OWA", "/owa/%61uth.owa?x"]
    bad = [form(lab, gateway, sources["form"], wrong, path) for path in forms]
    # (Each with another password: the same one again is no guess.)
    bad += [
        ways[name](sources[name], f"{wrong}{number}")
        for name in ("basic", "ntlm")
        for number in range(MOST_FAILED_LOGONS)
    ]
    refused = ask(lab, "client", *bad)
    assert [status(answer) for answer in refused] == [302] * 3 + [401] * 6
    assert all("reason=2" in answer["headers"]["location"] for answer in refused[:3])

    # … and then even the right password has to wait, while somebody else's doesn't.
    late = [way(sources[name], right) for name, way in ways.items()]
    other = [way(strangers.address(), right) for way in ways.values()]
    reads = [web(lab, gateway, "/owa/", source=source) for source in sources.values()]
    answers = ask(lab, "client", *late, *other, *reads, parallel=9)
    assert [status(answer) for answer in answers] == [429, 429, 429, 302, 200, 200, 302, 302, 302]
    assert all(answer.get("seconds", answer.get("answers", [{}])[0].get("seconds")) >= 4.5 for answer in answers[:3])

    # The log tells them apart, in the fields that docs/gateway.md promises. (The handshakes' first answers are "none".)
    lines = [found for found in map(fields, log(lab, gateway, began)) if found and found.get("frontend") == "https"]
    told = Counter(
        (name, line["logon"])
        for name, source in sources.items()
        for line in lines
        if line["client"] == source and line["path"] != "/owa/" and line["logon"] != "none"
    )
    each = {"failed": MOST_FAILED_LOGONS, "good": MOST_FAILED_LOGONS + 2, "held": 1}
    expected = Counter({(name, name if kind == "good" else kind): n for name in sources for kind, n in each.items()})
    assert told <= expected, told - expected
    assert (expected - told).total() <= dropped_lines(lab, gateway) - dropped, expected - told


def test_a_wrapped_ntlm_logon_is_counted_too(lab: Lab, gateway: str, strangers: Strangers) -> None:
    # RFC 4178's negTokenResp with NTLM's last message in it, at every place among the three octets of a base64 group.
    source, message = strangers.address(), b"NTLMSSP\0\3\0\0\0" + bytes(60)
    tokens = [b"\xa1" + bytes((len(message) + 2 + pad,)) + bytes(pad) + message for pad in range(MOST_FAILED_LOGONS)]
    first = b"NTLMSSP\0\1\0\0\0" + bytes(20)
    probes = [
        web(
            lab, gateway, EWS, headers={"Authorization": f"Negotiate {base64.b64encode(token).decode()}"}, source=source
        )
        for token in (first, first, first, first, *tokens, tokens[0])
    ]
    answers = ask(lab, "client", *probes)
    assert [answer["status"] for answer in answers] == [401] * (4 + MOST_FAILED_LOGONS) + [429]


def test_outlook_with_its_own_credentials_first_is_never_held(lab: Lab, gateway: str, strangers: Strangers) -> None:
    source, right = strangers.address(), lab.secrets()["mailbox"]
    probes = [
        ntlm(lab, gateway, [EWS], password, source=source)
        for _ in range(2 * MOST_FAILED_LOGONS)
        for password in ("its own", right)
    ]
    steps = [answer["answers"][0]["steps"] for answer in ask(lab, "client", *probes)]
    assert steps == [[401, 401], [401, 200]] * (2 * MOST_FAILED_LOGONS)


def test_a_reload_forgives_nobody(lab: Lab, gateway: str, strangers: Strangers) -> None:
    source = strangers.address()
    wrong = [basic(lab, gateway, source, f"wrong{number}") for number in range(MOST_FAILED_LOGONS)]
    assert [answer["status"] for answer in ask(lab, "client", *wrong)] == [401] * MOST_FAILED_LOGONS
    # A process that has just begun has nothing to hand on until it has waited for one before it.
    assert wait_for(lambda: int(info(lab, gateway)["Uptime_sec"]) > 12)
    before = info(lab, gateway)["Pid"]
    lab.exec(gateway, ["systemctl", "reload", "haproxy"])
    assert wait_for(lambda: info(lab, gateway)["Pid"] != before)
    (late,) = ask(lab, "client", basic(lab, gateway, source, lab.secrets()["mailbox"]))
    assert late["status"] == 429


def test_administrators_may_err(lab: Lab, gateway: str) -> None:
    wrong = [basic(lab, gateway, "", "wrong", network="admin")] * (MOST_FAILED_LOGONS + 2)
    right = basic(lab, gateway, "", lab.secrets()["mailbox"], network="admin")
    answers = ask(lab, "admin", *wrong, right)
    assert [answer["status"] for answer in answers] == [401] * len(wrong) + [200]
