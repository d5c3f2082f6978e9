"""``--check --diff`` on servers that nothing was done to: says what would change, and changes nothing."""

from __future__ import annotations

from servers import ANYBODY_ON, RELAY, configure, imap_capabilities, outcome, own_mail, sessions, state

from lab import Lab
from lab.topology import EXCHANGE, GATEWAYS


def test_a_check_shows_the_changes_and_makes_none(lab: Lab) -> None:
    before = {server: state(lab, server) for server in EXCHANGE}
    opened = {server: sessions(lab, server) for server in EXCHANGE}
    run = configure("--check", "--diff")
    assert run.status == 0, run.output
    for server in EXCHANGE:
        assert run.recap[server]["changed"] == 1
        name = server.upper()
        for shown in (
            f"+receive connector {name}\\Mail gateway relay",
            f"+receive connector {name}\\Mail gateway submission",
            f"+  right: {RELAY} for {ANYBODY_ON[server]}",
            f" IMAP settings of {name}",
            "+  EnableGSSAPIAndNTLMAuth: False",
            "-  EnableGSSAPIAndNTLMAuth: True",
        ):
            assert shown in run.output, shown
        assert sessions(lab, server) == opened[server] + 1
    assert {server: state(lab, server) for server in EXCHANGE} == before


def test_nobody_relays_yet(lab: Lab, server: str) -> None:
    for gateway in GATEWAYS:
        assert outcome(lab, server, gateway, lab.relay_address(gateway)).startswith("550 5.7.54")
    assert own_mail(lab, server, "gw1") == f"Default Frontend {server.upper()}"
    assert "AUTH=NTLM" in imap_capabilities(lab, server)
