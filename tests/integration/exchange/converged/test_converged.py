"""The servers take what the gateways send them, and nothing else: asked with real clients from the right addresses."""

from __future__ import annotations

from servers import (
    ELSEWHERE,
    configure,
    dialogue,
    imap_capabilities,
    outcome,
    own_mail,
    sessions,
    state,
)

from lab import Lab
from lab.topology import EXCHANGE, GATEWAYS
from probes import ask
from probes.checks import ANNA


def test_a_second_run_changes_nothing_and_asks_once(lab: Lab) -> None:
    before = {server: state(lab, server) for server in EXCHANGE}
    opened = {server: sessions(lab, server) for server in EXCHANGE}
    run = configure()
    assert run.status == 0, run.output
    assert run.changed == 0, run.output
    assert {server: sessions(lab, server) - opened[server] for server in EXCHANGE} == dict.fromkeys(EXCHANGE, 1)
    assert {server: state(lab, server) for server in EXCHANGE} == before


def test_a_check_shows_nothing(lab: Lab) -> None:
    run = configure("--check", "--diff")
    assert run.status == 0, run.output
    assert run.changed == 0, run.output
    assert "+++ " not in run.output


def test_the_german_server_takes_the_gateways_mail_run_after_run(lab: Lab) -> None:
    """What a permission group gives is never taken for a right that somebody added."""
    for _ in range(2):
        run = configure("--limit", "ex2,localhost")
        assert run.status == 0, run.output
        assert run.changed == 0, run.output
        for gateway in GATEWAYS:
            assert own_mail(lab, "ex2", gateway) == "Mail gateway"
            assert outcome(lab, "ex2", gateway, lab.relay_address(gateway)) == "Mail gateway relay"


def test_every_session_is_closed(lab: Lab, server: str) -> None:
    assert sessions(lab, server) == sessions(lab, server, "session_closed") > 0


def test_relay_clients_relay_by_the_connector_for_them(lab: Lab, server: str) -> None:
    for gateway in GATEWAYS:
        relay = lab.relay_address(gateway)
        assert outcome(lab, server, gateway, relay) == "Mail gateway relay"
        assert own_mail(lab, server, gateway, relay) == "Mail gateway relay"


def test_everybody_elses_mail_comes_by_the_ordinary_connector_and_is_not_relayed(lab: Lab, server: str) -> None:
    for gateway in GATEWAYS:
        answer = dialogue(lab, server, gateway, recipient=ANNA)
        assert answer["connector"] == "Mail gateway"
        # By the name that clients know, not by the server's.
        assert answer["banner"].startswith("220 mail.example.test ")
        assert answer["ehlo"].startswith("250 mail.example.test ")
        assert "auth" not in answer["features"]
        assert outcome(lab, server, gateway).startswith("550 5.7.54")


def test_other_hosts_get_what_they_got(lab: Lab, server: str) -> None:
    """A host of the same network that is no gateway, the relay client itself among them."""
    assert own_mail(lab, server, "relay") == f"Default Frontend {server.upper()}"
    assert outcome(lab, server, "relay").startswith("550 5.7.54")
    # The other server reaches the connector by which servers authenticate to each other.
    other = next(name for name in EXCHANGE if name != server)
    answer = dialogue(lab, server, other, recipient=ANNA)
    assert answer["connector"] == f"Default Frontend {server.upper()}"
    assert answer["banner"].lower().startswith(f"220 {server}.example.test ")


def test_submission_is_for_users_who_log_on(lab: Lab, server: str) -> None:
    password = lab.secrets()["mailbox"]
    more = {"port": 587, "starttls": True, "server_name": "mail.example.test"}
    assert outcome(lab, server, "relay", recipient=ANNA, port=587).startswith("530 5.7.57")
    assert outcome(lab, server, "gw1", recipient=ANNA, port=587).startswith("530 5.7.57")
    answer = dialogue(lab, server, "relay", **more, user=ANNA, password=password, sender=ANNA)
    assert answer[f"rcpt {ELSEWHERE}"].startswith("250"), answer


def test_a_gateway_is_not_throttled_as_one_client(lab: Lab, server: str) -> None:
    (answer,) = ask(lab, "gw1", {"kind": "crowd", "connect": lab.address(server, "inside"), "port": 25, "count": 40})
    assert answer == {"open": 40, "refused": 0}


def test_imap_offers_no_ntlm_and_lets_in_whoever_logs_on(lab: Lab, server: str) -> None:
    assert "AUTH=NTLM" not in imap_capabilities(lab, server)
    mail = {"connect": lab.address(server, "inside"), "server_name": "mail.example.test", "user": ANNA}
    mail["password"] = lab.secrets()["mailbox"]
    imap, pop = ask(
        lab,
        "relay",
        {"kind": "imap", "port": 143, "tls": "starttls", **mail},
        {"kind": "pop3", "port": 995, "tls": "implicit", **mail},
    )
    assert imap["logon"].startswith("OK"), imap
    assert pop["logon"].startswith("+OK"), pop
