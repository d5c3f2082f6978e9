"""Much has left the variables: it is gone from the hosts, and nothing else is."""

from __future__ import annotations

from gateways import files

from lab import Lab
from plays import play
from probes import ask
from probes.checks import OPEN, delivered, servers, smtp, wait_for, web

# Where a client is told that nobody listens: the port is closed, and not only refused.
REFUSED = "ConnectionRefusedError: [Errno 111] Connection refused"


def test_files_and_addresses_that_left_are_gone(lab: Lab, gateway: str) -> None:
    found = " ".join(files(lab, gateway))
    for gone in ("www.pem", ".postern-staging"):
        assert gone not in found
    for stays in (
        "certificates/mail.pem",
        "ca/exchange.pem",
        "lists/own.list",
        "certificates/own.pem",
        "/errors/503.http",
    ):
        assert stays in found
    own = lab.exec(
        gateway, ["sh", "-c", "cd /etc/haproxy && stat -c %a lists/own.list && cat lists/own.list certificates/own.pem"]
    )
    assert own.stdout == "640\n# kept\n# kept\n"
    assert f"{lab.relay_address(gateway)}/" not in lab.exec(gateway, ["ip", "-brief", "address"]).stdout
    units = ["systemctl", "list-unit-files", "--no-legend", "haproxy-addresses.service"]
    assert lab.exec(gateway, units, check=False).stdout == ""


def test_services_that_left_are_gone(lab: Lab, gateway: str) -> None:
    outside = lab.address(gateway, "outside")
    closed = ({"kind": "tcp", "connect": outside, "port": port} for port in (587, 143, 993, 110, 995))
    assert [answer.get("error", answer) for answer in ask(lab, "client", *closed)] == [REFUSED] * 5
    gone = [path for name, (path, _) in OPEN.items() if name != "owa"]
    answers = ask(
        lab,
        "client",
        *(web(lab, gateway, path) for path in gone),
        *(
            {**web(lab, gateway, "/owa/"), "headers": {"Host": host}}
            for host in ("www.example.test", "autodiscover.example.test")
        ),
    )
    assert [answer["status"] for answer in answers] == [404] * (len(gone) + 2)


def test_what_stayed_works(lab: Lab, gateway: str) -> None:
    assert wait_for(
        lambda: (
            servers(lab, gateway) == {name: {"ex1": "UP", "ex2": "UP"} for name in ("exchange_owa", "exchange_smtp")}
        )
    )
    (owa,) = ask(lab, "client", web(lab, gateway, "/owa/"))
    assert owa["status"] == 302
    # A former relay client is a client like any other.
    mail = smtp(lab, gateway, "inside", "anna@example.test")
    (answer,) = ask(lab, "relay", mail)
    assert answer["data"].startswith("250")
    assert delivered(lab, mail["subject"])["source"] == lab.address(gateway, "inside")
    (answer,) = ask(lab, "relay", smtp(lab, gateway, "inside", "somebody@elsewhere.example"))
    assert answer["rcpt somebody@elsewhere.example"].startswith("550 5.7.54")


def test_a_second_run_changes_nothing(lab: Lab) -> None:
    run = play("molecule/haproxy/side_effect.yml")
    assert run.status == 0, run.output
    assert run.changed == 0, run.output
