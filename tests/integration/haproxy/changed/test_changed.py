"""Much has left the variables: it is gone from the hosts, and nothing else is."""

from __future__ import annotations

from gateways import files

from lab import Lab
from probes import ask
from probes.checks import delivered, smtp, web


def test_what_left_is_gone(lab: Lab, gateway: str) -> None:
    found = " ".join(files(lab, gateway))
    for gone in ("www.pem", ".postern-staging"):
        assert gone not in found
    assert "certificates/mail.pem" in found
    addresses = lab.exec(gateway, ["ip", "-brief", "address"]).stdout
    assert f"{lab.relay_address(gateway)}/" not in addresses
    outside = lab.address(gateway, "outside")
    closed = ask(
        lab, "client", *({"kind": "tcp", "connect": outside, "port": port} for port in (587, 143, 993, 110, 995))
    )
    assert [answer.get("error", answer) for answer in closed] == [
        "ConnectionRefusedError: [Errno 111] Connection refused"
    ] * 5


def test_what_stayed_works(lab: Lab, gateway: str) -> None:
    owa, ews, site = ask(
        lab,
        "client",
        web(lab, gateway, "/owa/"),
        web(lab, gateway, "/EWS/Exchange.asmx"),
        {**web(lab, gateway, "/"), "headers": {"Host": "www.example.test"}},
    )
    assert [owa["status"], ews["status"], site["status"]] == [302, 404, 404]
    # A former relay client is a client like any other.
    mail = smtp(lab, gateway, "inside", "anna@example.test")
    (answer,) = ask(lab, "relay", mail)
    assert answer["data"].startswith("250")
    assert delivered(lab, mail["subject"])["source"] == lab.address(gateway, "inside")
