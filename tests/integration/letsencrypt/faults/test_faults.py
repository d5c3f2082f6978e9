"""What goes wrong: bad variables, authorities that refuse, a renewal that fails, a gateway that is gone.

Whatever it is, the gateways serve what they served, and one sentence says what it was.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from authorities import GATEWAYS, converge, health, issued, log, program, sentences, serials, trust, url

from lab import Lab
from plays import play
from probes.checks import wait_for
from snapshots import snapshot

ROLE = "molecule/letsencrypt/certificates.yml"
MAIL = ["mail.example.test", "autodiscover.example.test"]


@pytest.fixture(autouse=True)
def serves_on(lab: Lab) -> Iterator[None]:
    """Both gateways present one certificate that clients trust, before and after."""
    yield
    trust(lab)
    assert wait_for(lambda: len(set(serials(lab).values())) == 1)


def refused(lab: Lab, variables: dict[str, Any]) -> str:
    """Run the role, which must fail with one sentence; return that of gw1."""
    run = play(ROLE, variables=variables)
    assert run.status != 0, run.output
    assert "Traceback" not in run.output
    told = sentences(run)
    for sentence in told.values():
        assert "\n" not in sentence, sentence
        assert sentence.endswith("."), sentence
    return told["gw1"]


def certificates(*names: str) -> dict[str, Any]:
    return {"letsencrypt_certificates": [{"name": "mail", "names": list(names)}]}


BAD = [
    (certificates("*.example.test"), "is a wildcard, and HTTP-01 can't prove that somebody has all names of a domain"),
    (certificates(*(f"n{number}.example.test" for number in range(101))), "has 101 names, and authorities take 100"),
    ({"letsencrypt_authority_ca_file": "/nowhere/root.pem"}, "'/nowhere/root.pem' can't be read on the controller"),
    ({"letsencrypt_contact": "hostmaster"}, "letsencrypt_contact 'hostmaster' is not an e-mail address."),
    ({"letsencrypt_authority": "https://ex1.example.test/owa/auth/logon.aspx"}, "letsencrypt_authority."),
    ({"letsencrypt_authority": "https://acme.example.test:14999/dir"}, "can't be reached (Connection refused)"),
    ({"letsencrypt_authority": url("second")}, "wants accounts that are bound to one of its own"),
]


def test_bad_input_is_told_before_anything_changes(lab: Lab) -> None:
    before = {host: snapshot(lab, host) for host in GATEWAYS}
    for variables, sentence in BAD:
        assert sentence in refused(lab, variables), variables
    assert {host: snapshot(lab, host) for host in GATEWAYS} == before


def test_names_that_lead_elsewhere_cost_nobody_a_failed_validation(lab: Lab) -> None:
    before, count, asked = serials(lab), issued(lab), log(lab, "first")
    sentence = refused(lab, certificates(*MAIL, "nowhere.example.test"))
    assert "nowhere.example.test doesn't resolve on this host" in sentence
    assert [line for line in log(lab, "first") if line not in asked and "order" in line.lower()] == []
    # A name that somebody else answers: the authority is the one that finds out, where the test is off.
    variables = {**certificates(*MAIL, "relay.example.test"), "letsencrypt_self_test": False}
    sentence = refused(lab, variables)
    assert "could not validate relay.example.test" in sentence
    assert (serials(lab), issued(lab)) == (before, count)
    for gateway in GATEWAYS:
        assert "HAProxy presents" not in program(lab, gateway, "--check").stdout
    run = converge()
    assert run.status == 0, run.output
    assert (serials(lab), issued(lab)) == (before, count)
    assert program(lab, "gw1", "--check").returncode == 0


def test_an_authority_that_refuses_keeps_the_old_certificate(lab: Lab) -> None:
    before = serials(lab)
    sentence = refused(lab, {"letsencrypt_authority": url("refusing")})
    assert url("refusing") in sentence
    assert "invalid anti-replay nonce" in sentence
    assert serials(lab) == before
    done = program(lab, "gw1", "--check")
    assert (done.returncode, "the last attempt at" in done.stdout) == (1, True), done.stdout
    run = converge()
    assert run.status == 0, run.output
    assert serials(lab) == before
    assert program(lab, "gw1", "--check").returncode == 0


def left(lab: Lab, gateway: str) -> float:
    return float(health(lab, gateway)["left"])


def timer(lab: Lab, gateway: str) -> str:
    """Run what certbot's timer runs; return how that ended."""
    lab.exec(gateway, ["systemctl", "start", "certbot.service"], check=False)
    return lab.exec(gateway, ["systemctl", "show", "--property=Result", "--value", "certbot"]).stdout.strip()


def test_renewal_failure_and_takeover_with_a_short_life(lab: Lab) -> None:
    """Certificates of two minutes: renewed by the timer's own service, or by the next gateway."""
    run = converge({"letsencrypt_authority": url("short")})
    assert run.status == 0, run.output
    first = serials(lab)
    assert len(set(first.values())) == 1
    # Early on nothing is due, on either.
    assert [timer(lab, gateway) for gateway in GATEWAYS] == ["success", "success"]
    assert serials(lab) == first

    # It is due, and the authority is out of reach: the old one goes on, and the failure is there to be seen.
    assert wait_for(lambda: left(lab, "gw1") < 0.45, 120)
    lab.exec("gw1", ["sh", "-c", "cp /etc/hosts /run/hosts; echo 127.0.0.9 acme.example.test >>/etc/hosts"])
    try:
        assert timer(lab, "gw1") == "exit-code"
        assert serials(lab) == first
        done = program(lab, "gw1", "--check")
        assert done.returncode > 0
        assert "can't be reached" in done.stdout
        metrics = lab.exec("gw1", ["cat", "/var/lib/prometheus/node-exporter/postern_certificates.prom"]).stdout
        assert 'postern_certificate_last_attempt_failed{name="mail"} 1' in metrics
    finally:
        lab.exec("gw1", ["sh", "-c", "cat /run/hosts >/etc/hosts"])

    # The authority is back: certbot renews, its hook installs, and the peer gets it.
    assert timer(lab, "gw1") == "success"
    second = serials(lab)
    assert len(set(second.values())) == 1
    assert second != first
    assert health(lab, "gw1")["last_error"] == ""

    # The first gateway renews no more. The second one lets it have its time, and then does it.
    assert wait_for(lambda: left(lab, "gw2") < 0.32, 120)
    count = issued(lab, "short")
    if left(lab, "gw2") > 0.28:
        assert timer(lab, "gw2") == "success"
        assert issued(lab, "short") == count
    assert wait_for(lambda: left(lab, "gw2") < 0.26, 60)
    assert timer(lab, "gw2") == "success"
    third = serials(lab)
    assert len(set(third.values())) == 1
    assert third != second
    assert issued(lab, "short") == count + 1
    assert [health(lab, gateway)["origin"] for gateway in GATEWAYS] == ["handed over", "issued"]
    # The first one is back, and doesn't renew what is in use already.
    assert timer(lab, "gw1") == "success"
    assert serials(lab) == third
    assert issued(lab, "short") == count + 1

    # Another authority: one issue, and it is everywhere.
    count = issued(lab)
    run = converge()
    assert run.status == 0, run.output
    assert issued(lab) == count + 1
    time.sleep(1)
    assert set(serials(lab).values()).isdisjoint(third.values())


def test_two_runs_at_once_both_end_well(lab: Lab) -> None:
    before = serials(lab)
    runs = [f"certbot.service on {gateway}: {timer(lab, gateway)}" for gateway in GATEWAYS]
    script = "for i in 1 2 3 4 5; do postern-certificates install mail & done; wait"
    lab.exec("gw1", ["sh", "-c", script])
    assert all(run.endswith("success") for run in runs), runs
    assert serials(lab) == before
