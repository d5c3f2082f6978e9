"""Servers that are sick leave rotation: with what is sick, and with nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from gateways import GATEWAYS

from lab import Lab
from probes import ask
from probes.checks import EXCHANGE, OPEN, down, events, exchange, smtp, wait_for, web

HTTPS = [*OPEN, "ecp", "powershell"]
# Nobody vouches for it, though it has the right name. The server is started anew, as another one in its place would be:
# a session of TLS that is resumed isn't verified again.
IMPOSTOR = """
set -e
openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=mail.example.test \
    -addext subjectAltName=DNS:mail.example.test -keyout /run/key.pem -out /run/certificate.pem
cat /run/key.pem /run/certificate.pem >/run/impostor.pem
mount --bind /run/impostor.pem /etc/standin/tls.pem
systemctl restart standin
"""


# Takes connections and never says a word.
MUTE = """
import socket, time
listening = [socket.create_server(("", port)) for port in (143, 993)]
time.sleep(600)
"""


@pytest.fixture
def sick_servers(lab: Lab) -> Iterator[None]:
    """ex1 is short of memory, its IMAP is mute and its OAB sick; ex2 shows another certificate."""
    settings = {
        "ExchangeDiagnosticInfo.ResourceThrottling.ResourceTracker.AggregateUse": ("High", "Low"),
        "Service[MSExchangeImap4].Status": ("Stopped", "Running"),
        "ServerComponentState[OabProxy].State": ("Inactive", "Active"),
    }

    def set_all(position: int) -> None:
        pairs = [item for path, values in settings.items() for item in (path, f'"{values[position]}"')]
        exchange(lab, "ex1", "set", *pairs)

    for gateway in GATEWAYS:
        assert wait_for(lambda gateway=gateway: down(lab, gateway) == [], 60)
    lab.exec("ex2", ["sh", "-c", IMPOSTOR])
    set_all(0)
    lab.exec("ex1", ["systemd-run", "--quiet", "--unit=mute", "python3", "-c", MUTE])
    yield
    lab.exec("ex1", ["systemctl", "stop", "mute"])
    lab.exec("ex2", ["sh", "-c", "umount /etc/standin/tls.pem && systemctl restart standin"])
    set_all(1)
    for gateway in GATEWAYS:
        assert wait_for(lambda gateway=gateway: down(lab, gateway) == [], 60)


def answered(lab: Lab, answers: list[dict[str, Any]]) -> set[str]:
    return {str(answer.get("headers", {}).get("x-feserver", answer)) for answer in answers}


@pytest.mark.usefixtures("sick_servers")
def test_what_is_sick_leaves_and_nothing_else(lab: Lab) -> None:
    wanted = [f"{name}/ex1" for name in ("smtp", "smtp_relay", "imap", "imaps", "exchange_oab")]
    wanted += [f"{name}/ex2" for name in [*(f"exchange_{name}" for name in HTTPS), "imaps", "pop3s"]]
    for gateway in GATEWAYS:
        assert wait_for(lambda gateway=gateway: down(lab, gateway) == sorted(wanted), 60), (gateway, down(lab, gateway))

    since = {server: max(event["n"] for event in events(lab, server, "")) for server in EXCHANGE}
    for gateway in GATEWAYS:
        mark, address = uuid4().hex, lab.address(gateway, "outside")
        mails = [{**smtp(lab, gateway, "outside", "anna@example.test"), "helo": f"{mark}.example"} for _ in range(4)]
        *webs, oab, imap, imaps, one, two, three, four = ask(
            lab,
            "client",
            *[web(lab, gateway, OPEN[name][0]) for name in ("owa", "ews", "mapi", "autodiscover") for _ in range(3)],
            web(lab, gateway, OPEN["oab"][0]),
            {"kind": "tcp", "connect": address, "port": 143, "listen": 3},
            {"kind": "tcp", "connect": address, "port": 993},
            *mails,
        )
        # HTTPS by ex1 alone, OAB by nobody; mail and IMAP on 143 by ex2 alone, IMAP on 993 by nobody.
        assert answered(lab, webs) == {"EX1"}
        assert oab["status"] == 503
        assert "IMAP4" in imap.get("first", ""), imap
        assert imaps["state"] == "closed at once"
        assert all(mail["data"].startswith("250") for mail in (one, two, three, four))
    for server, silent in (("ex1", ("smtp_message",)), ("ex2", ("http_request", "http_logon"))):
        assert [event for event in events(lab, server, "", since[server]) if event["kind"] in silent] == []
    # The sick server says so itself: it still greets, and refuses mail.
    (sick,) = ask(lab, "relay", {"kind": "smtp", "connect": lab.address("ex1", "inside"), "sender": "a@b.example"})
    assert sick["ehlo"].startswith("250")
    assert sick["mail"].startswith("452 4.3.1")
