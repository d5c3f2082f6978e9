"""What one client may do; a client is an IPv4 address or an IPv6 /64."""

from __future__ import annotations

from typing import Any

from lab import Lab
from probes import ask
from probes.checks import web
from strangers import Strangers

# molecule/haproxy/converge.yml
CONNECTIONS, CONNECTION_RATE, REQUEST_RATE = 20, 40, 100


def crowd(address: str, source: str, count: int, port: int = 25) -> dict[str, Any]:
    probe = {"kind": "crowd", "connect": address, "port": port, "count": count, "listen": 2}
    return {**probe, "source": source} if source else probe


def test_connections_at_once_are_limited_over_all_services(lab: Lab, gateway: str, strangers: Strangers) -> None:
    address, v6 = lab.address(gateway, "outside"), lab.address(gateway, "outside", 6)
    one, other, network, next_network = (
        strangers.address(),
        strangers.address(),
        strangers.network(),
        strangers.network(),
    )
    answers = ask(
        lab,
        "client",
        crowd(address, one, 15),
        crowd(address, one, 15, 443),
        crowd(address, other, 15),
        # Two addresses of one /64 are one client; the next /64 is another one.
        crowd(v6, f"{network}1", 15),
        crowd(v6, f"{network}2", 15, 993),
        crowd(v6, f"{next_network}1", 15),
        parallel=6,
    )
    mail, web_, others, v6_one, v6_two, v6_other = [answer["open"] for answer in answers]
    assert mail + web_ == CONNECTIONS
    assert others == 15
    assert v6_one + v6_two == CONNECTIONS
    assert v6_other == 15


def test_new_connections_are_limited(lab: Lab, gateway: str, strangers: Strangers) -> None:
    source, other = strangers.address(), strangers.address()
    probes = [web(lab, gateway, "/", scheme="http", source=source)] * (CONNECTION_RATE + 10)
    *answers, free = ask(lab, "client", *probes, web(lab, gateway, "/", scheme="http", source=other))
    refused = ["error" in answer for answer in answers]
    # The gateway's ten seconds end in the middle of the test where the machine is slow.
    assert refused[:CONNECTION_RATE] == [False] * CONNECTION_RATE
    assert any(refused[CONNECTION_RATE:])
    assert free["status"] == 301


def test_requests_are_limited(lab: Lab, gateway: str, strangers: Strangers) -> None:
    one = web(lab, gateway, "/owa/auth/logon.aspx", source=strangers.address())
    other = web(lab, gateway, "/owa/auth/logon.aspx", source=strangers.address())
    answers, free = ask(lab, "client", {"kind": "session", "requests": [one] * (REQUEST_RATE + 20)}, other)
    statuses = [answer.get("status") for answer in answers["answers"]]
    assert statuses[:REQUEST_RATE] == [200] * REQUEST_RATE
    assert 429 in statuses[REQUEST_RATE:]
    assert free["status"] == 200


def test_administrators_and_relay_clients_are_exempt(lab: Lab, gateway: str) -> None:
    many = CONNECTION_RATE + 10
    admin = lab.address(gateway, "admin")
    one = web(lab, gateway, "/owa/auth/logon.aspx", "admin")
    held, asked = ask(
        lab,
        "admin",
        crowd(admin, "", many, 443),
        {"kind": "session", "requests": [one] * (REQUEST_RATE + 20)},
        parallel=2,
    )
    assert held["open"] == many
    assert {answer.get("status") for answer in asked["answers"]} == {200}
    inside = lab.address(gateway, "inside")
    relayed, other = ask(lab, "relay", crowd(inside, "", many), crowd(inside, "", CONNECTIONS + 10, 587))
    # Where they relay, that is; elsewhere they are clients like any other.
    assert relayed["open"] == many
    assert other["open"] == CONNECTIONS
