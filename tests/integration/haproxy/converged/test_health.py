"""Servers that are sick leave rotation: with what is sick, and with nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from lab import Lab
from lab.topology import GATEWAYS
from plays import play
from probes import ask
from probes.checks import MAIL, OPEN, down, events, last_events, smtp, wait_for, web

CONVERGE = "molecule/haproxy/converge.yml"
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


@pytest.fixture(scope="module")
def sick_servers(lab: Lab) -> Iterator[list[str]]:
    """ex1 is short of memory, its IMAP is mute and its OAB sick; ex2 shows another certificate. What that puts out."""
    settings = {
        "ExchangeDiagnosticInfo.ResourceThrottling.ResourceTracker.AggregateUse": ("High", "Low"),
        "Service[MSExchangeImap4].Status": ("Stopped", "Running"),
        "ServerComponentState[OabProxy].State": ("Inactive", "Active"),
    }

    def set_all(position: int) -> None:
        pairs = [item for path, values in settings.items() for item in (path, f'"{values[position]}"')]
        lab.exchange("ex1", "set", *pairs)

    for gateway in GATEWAYS:
        assert wait_for(lambda gateway=gateway: down(lab, gateway) == [], 60)
    lab.exec("ex2", ["sh", "-c", IMPOSTOR])
    set_all(0)
    lab.exec("ex1", ["systemd-run", "--quiet", "--unit=mute", "python3", "-c", MUTE])
    wanted = [f"exchange_{name}/ex1" for name in ("smtp", "smtp_relay", "imap", "imaps", "oab")]
    wanted += [f"exchange_{name}/ex2" for name in [*HTTPS, "imaps", "pop3s"]]
    yield sorted(wanted)
    lab.exec("ex1", ["systemctl", "stop", "mute"])
    lab.exec("ex2", ["sh", "-c", "umount /etc/standin/tls.pem && systemctl restart standin"])
    set_all(1)
    for gateway in GATEWAYS:
        assert wait_for(lambda gateway=gateway: down(lab, gateway) == [], 60)


def answered(lab: Lab, answers: list[dict[str, Any]]) -> set[str]:
    return {str(answer.get("headers", {}).get("x-feserver", answer)) for answer in answers}


def test_what_is_sick_leaves_and_nothing_else(lab: Lab, sick_servers: list[str]) -> None:
    for gateway in GATEWAYS:
        assert wait_for(lambda gateway=gateway: down(lab, gateway) == sick_servers, 60), (gateway, down(lab, gateway))

    since = last_events(lab)
    for gateway in GATEWAYS:
        mark, address = uuid4().hex, lab.address(gateway, "outside")
        mails = [{**smtp(lab, gateway, "outside", "anna@example.test"), "helo": f"{mark}.example"} for _ in range(4)]
        *webs, oab, imap, imaps, one, two, three, four = ask(
            lab,
            "client",
            *[web(lab, gateway, OPEN[name][0]) for name in ("owa", "ews", "mapi", "autodiscover") for _ in range(3)],
            web(lab, gateway, OPEN["oab"][0]),
            {"kind": "tcp", "connect": address, "port": 143, "listen": 3},
            {"kind": "imap", "connect": address, "port": 993, "tls": "implicit", "server_name": MAIL},
            *mails,
        )
        # HTTPS by ex1 alone, OAB by nobody; mail and IMAP on 143 by ex2 alone, IMAP on 993 by nobody.
        assert answered(lab, webs) == {"EX1"}
        assert oab["status"] == 503
        assert "IMAP4" in imap.get("first", ""), imap
        assert "error" in imaps, imaps
        assert all(mail["data"].startswith("250") for mail in (one, two, three, four))
    for server, silent in (("ex1", ("smtp_message",)), ("ex2", ("http_request", "http_logon"))):
        assert [event for event in events(lab, server, "", since[server]) if event["kind"] in silent] == []
    # The sick server says so itself: it still greets, and refuses mail.
    (sick,) = ask(lab, "relay", {"kind": "smtp", "connect": lab.address("ex1", "inside"), "sender": "a@b.example"})
    assert sick["ehlo"].startswith("250")
    assert sick["mail"].startswith("452 4.3.1")


def test_what_is_sick_stays_out_over_a_reload(lab: Lab, sick_servers: list[str]) -> None:
    for gateway in GATEWAYS:
        assert wait_for(lambda gateway=gateway: down(lab, gateway) == sick_servers, 60)
    # With a change there is a new process, which hasn't checked a server yet when it gets its first requests.
    with ThreadPoolExecutor() as pool:
        run = pool.submit(play, CONVERGE, variables={"haproxy_relay_networks": ["192.0.2.25/32"]})
        answers = []
        while not run.done():
            probes = [web(lab, gateway, OPEN["owa"][0], network="admin") for gateway in GATEWAYS]
            answers += ask(lab, "admin", *probes * 5, parallel=2)
    assert (run.result().status, run.result().changed) == (0, len(GATEWAYS)), run.result().output
    assert [down(lab, gateway) for gateway in GATEWAYS] == [sick_servers] * len(GATEWAYS)
    assert answered(lab, answers) == {"EX1"}
    assert play(CONVERGE).changed == len(GATEWAYS)
    # A process that starts much later finds out for itself; only what was drained by hand is kept for it.
    for gateway in GATEWAYS:
        states = lab.exec(gateway, ["cat", "/etc/haproxy/drained-servers"]).stdout
        assert [line for line in states.splitlines() if not line.startswith(("1", "#"))] == []
