"""The declaration changes: both the gateways and what they let through follow, and what isn't sound changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from lab import Lab
from plays import Run, play
from probes import ask
from probes.checks import EXCHANGE, delivered, smtp, wait_for, web
from snapshots import snapshot

ELSEWHERE = "somebody@elsewhere.example"


def site(declaration: dict[str, Any]) -> Run:
    return play("playbooks/site.yml", variables={"mail_gateway": declaration})


# A certificate that comes back is another one, and so are the keys and the account by which gateways hand it over.
ISSUED_ANEW = re.compile(
    r"/etc/letsencrypt/|certificates/www\.pem|authorized_keys\.d/certificates|/etc/g?shadow|/etc/passwd|/etc/group"
)


def state(lab: Lab) -> list[str]:
    return [line for line in snapshot(lab, "gw1") if not ISSUED_ANEW.search(line)]


@pytest.fixture(scope="module")
def as_before(lab: Lab) -> Iterator[None]:
    """Whatever the tests declare, afterwards the lab is as the inventory says, and nothing is left over."""
    before = state(lab)
    yield
    run = play("playbooks/site.yml")
    assert run.status == 0, run.output
    assert state(lab) == before


@pytest.mark.usefixtures("as_before")
def test_a_new_relay_client_relays_and_the_former_one_no_more(lab: Lab, declaration: dict[str, Any]) -> None:
    declaration["smtp"]["relay_clients"] = [lab.address("client", "outside")]
    run = site(declaration)
    assert run.status == 0, run.output
    for gateway in ("gw1", "gw2"):
        new = smtp(lab, gateway, "outside", ELSEWHERE)
        assert wait_for(
            lambda gateway=gateway, new=new: "data" in ask(lab, "client", smtp(lab, gateway, "outside", ELSEWHERE))[0]
        )
        ask(lab, "client", new)
        assert delivered(lab, new["subject"])["source"] == lab.relay_address(gateway)
        (former,) = ask(lab, "relay", smtp(lab, gateway, "inside", ELSEWHERE))
        assert former[f"rcpt {ELSEWHERE}"].startswith("550 5.7.54")


@pytest.mark.usefixtures("as_before")
def test_what_leaves_the_declaration_goes(lab: Lab, declaration: dict[str, Any]) -> None:
    declaration["smtp"]["relay_clients"] = []
    declaration["websites"] = []
    declaration["imap"] = {"enabled": False}
    declaration["https"] = {"virtual_directories": ["owa", "ews", "mapi", "autodiscover"], "internal_only": []}
    run = site(declaration)
    assert run.status == 0, run.output

    if lab.powershell:
        # Both sides follow in one run: the connector by which the relay address was let relay is gone as well.
        assert run.recap["ex1"]["changed"] == run.recap["ex2"]["changed"] == 1
        for server in EXCHANGE:
            assert "Mail gateway relay" not in lab.exchange(server, "get", "ReceiveConnector")
    for gateway in ("gw1", "gw2"):
        # Nobody relays any more, and the address that relayed is gone.
        (answer,) = ask(lab, "relay", smtp(lab, gateway, "inside", ELSEWHERE))
        assert answer[f"rcpt {ELSEWHERE}"].startswith("550 5.7.54")
        assert lab.relay_address(gateway) not in lab.exec(gateway, ["ip", "-brief", "address"]).stdout
        # Its own domain is still served, from the ordinary address.
        mail = smtp(lab, gateway, "inside", "anna@example.test")
        ask(lab, "relay", mail)
        assert delivered(lab, mail["subject"])["source"] == lab.address(gateway, "inside")
        outside = lab.address(gateway, "outside")
        imap, imaps, activesync, owa, site_ = ask(
            lab,
            "client",
            {"kind": "tcp", "connect": outside, "port": 143},
            {"kind": "tcp", "connect": outside, "port": 993},
            web(lab, gateway, "/Microsoft-Server-ActiveSync"),
            web(lab, gateway, "/owa/"),
            {**web(lab, gateway, "/"), "headers": {"Host": "www.example.test"}},
        )
        # The firewall is closed there too, so that not even a refusal comes.
        assert "timed out" in imap["error"]
        assert "timed out" in imaps["error"]
        assert activesync["status"] == 404
        assert owa["status"] == 302
        assert site_["status"] == 404
        left = lab.exec(gateway, ["find", "/etc/haproxy", "-name", "www.pem", "-o", "-name", ".postern-staging"]).stdout
        assert left == ""

    again = site(declaration)
    assert (again.status, again.changed) == (0, 0), again.output


def test_an_unsound_declaration_changes_nothing_and_is_told_whole(lab: Lab, declaration: dict[str, Any]) -> None:
    before = {host: snapshot(lab, host) for host in ("gw1", "gw2")}
    declaration["smtp"]["relay_clients"] = ["8.8.8.0/24"]
    declaration["admin_network"] = ["10.0.0.0/24"]
    declaration["hostname"] = "mail_1"
    run = site(declaration)
    assert run.status != 0
    assert "Traceback" not in run.output
    for place in ("mail_gateway.smtp.relay_clients[0]", "mail_gateway.admin_network", "mail_gateway.hostname"):
        assert place in run.output
    assert {host: snapshot(lab, host) for host in before} == before


def test_the_sites_own_address_is_never_let_in_as_a_relay_client(lab: Lab, declaration: dict[str, Any]) -> None:
    declaration["smtp"]["relay_clients"] = [f"10.{lab.slot}.1.0/24"]
    run = site(declaration)
    assert run.status != 0
    assert lab.address("gw1", "inside") in run.text
