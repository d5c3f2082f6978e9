"""What goes wrong: bad variables, authorities that refuse, a renewal that fails, a gateway that is gone.

Whatever it is, the gateways serve what they served, and one sentence says what it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from authorities import (
    CONVERGE,
    ROLE,
    health,
    issued,
    log,
    program,
    sentences,
    serials,
    timers,
    trust,
    url,
)

from lab import Lab
from lab.topology import GATEWAYS
from plays import play
from probes.checks import wait_for
from snapshots import snapshot

MAIL = ["mail.example.test", "autodiscover.example.test"]
SHORT = {"letsencrypt_authority": url("short")}
# The first gateway, whose turn it is to have certificates issued.
GW1 = ("--limit", "gw1")


@pytest.fixture(autouse=True)
def serves_on(lab: Lab) -> Iterator[None]:
    """Both gateways present one certificate that clients trust, before and after."""
    yield
    trust(lab)
    assert wait_for(lambda: len(set(serials(lab).values())) == 1)


def refused(variables: dict[str, Any], *arguments: str) -> str:
    """Run the role, which must fail with one sentence; return that of gw1."""
    run = play(ROLE, *arguments, variables=variables)
    assert run.status != 0, run.output
    assert "Traceback" not in run.output
    told = sentences(run)
    for sentence in told.values():
        assert "\n" not in sentence, sentence
        assert sentence.endswith("."), sentence
    return told["gw1"]


def certificates(*names: str) -> dict[str, Any]:
    return {"letsencrypt_certificates": [{"name": "mail", "names": list(names)}]}


def left(lab: Lab, gateway: str) -> float:
    return float(health(lab, gateway)["left"])


def test_early_on_nothing_is_due(lab: Lab) -> None:
    """With certificates of two minutes, which certbot is told to renew a minute before their end."""
    run = play(ROLE, variables=SHORT)
    assert run.status == 0, run.output
    first = serials(lab)
    assert len(set(first.values())) == 1
    assert timers(lab) == {"gw1": "success", "gw2": "success"}
    assert serials(lab) == first


BAD = [
    (certificates("*.example.test"), "a wildcard, and HTTP-01 can't prove that somebody has all names of a domain"),
    (certificates(*(f"n{number}.example.test" for number in range(101))), "has 101 names, and authorities take 100"),
    ({"letsencrypt_authority_ca_file": "/nowhere/root.pem"}, "'/nowhere/root.pem' can't be read on the controller"),
    ({"letsencrypt_contact": "hostmaster"}, 'letsencrypt_contact is "hostmaster", but must be one e-mail address'),
    ({"letsencrypt_authority": "https://ex1.example.test/owa/auth/logon.aspx"}, "letsencrypt_authority."),
    ({"letsencrypt_authority": "https://acme.example.test:14999/dir"}, "can't be reached (Connection refused)"),
    ({"letsencrypt_authority": url("second")}, "wants accounts that are bound to one of its own"),
]


def test_bad_input_is_told_before_anything_changes(lab: Lab) -> None:
    """This comes here for the sake of time: the short-lived certificate grows old meanwhile."""
    before = {host: snapshot(lab, host) for host in GATEWAYS}
    for variables, sentence in BAD:
        assert sentence in refused(variables), variables
    assert {host: snapshot(lab, host) for host in GATEWAYS} == before


def test_a_lineage_of_somebody_elses_with_the_same_name_is_refused_and_stays(lab: Lab) -> None:
    """It was taken over once, and deleted with its keys later. What tells ours apart is its hook."""
    path = "/etc/letsencrypt/renewal/mail.conf"
    lab.exec("gw1", ["sed", "-i.kept", "s/^renew_hook = .*/renew_hook = systemctl reload nginx/", path])
    try:
        before = lab.exec("gw1", ["cat", path]).stdout
        for arguments in ((), ("--check",)):
            said = refused(SHORT, *GW1, *arguments)
            assert "certbot has a certificate 'mail' on this host that isn't this role's" in said, said
        assert lab.exec("gw1", ["cat", path]).stdout == before
    finally:
        lab.exec("gw1", ["mv", f"{path}.kept", path])


def test_a_renewal_that_fails_is_seen_and_the_next_one_works(lab: Lab) -> None:
    """It is due, and the authority is out of reach: the old one goes on, and the failure is there to be seen."""
    assert wait_for(lambda: left(lab, "gw1") < 0.45, 120)
    first = serials(lab)
    lab.exec("gw1", ["sh", "-c", "cp /etc/hosts /run/hosts; echo 127.0.0.9 acme.example.test >>/etc/hosts"])
    try:
        assert timers(lab, "gw1") == {"gw1": "exit-code"}
        assert serials(lab) == first
        done = program(lab, "gw1", "--check")
        assert done.returncode > 0
        assert "can't be reached" in done.stdout
        metrics = lab.exec("gw1", ["cat", "/var/lib/prometheus/node-exporter/postern_certificates.prom"]).stdout
        assert 'postern_certificate_last_attempt_failed{name="mail"} 1' in metrics
    finally:
        lab.exec("gw1", ["sh", "-c", "cat /run/hosts >/etc/hosts"])

    # The authority is back: certbot renews, its hook installs, and the peer gets it.
    assert timers(lab, "gw1") == {"gw1": "success"}
    second = serials(lab)
    assert len(set(second.values())) == 1
    assert second != first
    assert health(lab, "gw1")["last_error"] == ""


@pytest.fixture
def settings_stay(lab: Lab) -> Iterator[None]:
    """The gateway goes on with the settings that it had before the tries."""
    lab.exec("gw1", ["cp", "-a", "/etc/postern/certificates.json", "/run/settings"])
    yield
    lab.exec("gw1", ["cp", "-a", "/run/settings", "/etc/postern/certificates.json"])


@pytest.mark.usefixtures("settings_stay")
def test_what_cant_be_issued_costs_nothing(lab: Lab) -> None:
    """This comes here for the sake of time, too."""
    before, count, asked = serials(lab), issued(lab), log(lab, "first")
    sentence = refused(certificates(*MAIL, "nowhere.example.test"), *GW1)
    assert "nowhere.example.test doesn't resolve on this host" in sentence
    assert [line for line in log(lab, "first") if line not in asked and "order" in line.lower()] == []
    # A name that somebody else answers: the authority is the one that finds out, where the test is off.
    sentence = refused({**certificates(*MAIL, "relay.example.test"), "letsencrypt_self_test": False}, *GW1)
    assert "could not validate relay.example.test" in sentence
    # An authority that refuses everything.
    sentence = refused({"letsencrypt_authority": url("refusing")}, *GW1)
    assert url("refusing") in sentence
    assert "invalid anti-replay nonce" in sentence
    assert (serials(lab), issued(lab)) == (before, count)
    done = program(lab, "gw1", "--check")
    assert done.returncode > 0
    assert "the last attempt at" in done.stdout
    assert "HAProxy presents" not in done.stdout


def test_the_next_gateway_renews_where_the_first_one_does_not(lab: Lab) -> None:
    """The second one lets it have its time, and then does it."""
    before, count = serials(lab), issued(lab, "short")
    assert wait_for(lambda: left(lab, "gw2") < 0.32, 120)
    ended = timers(lab, "gw2")
    if left(lab, "gw2") > 0.27:
        assert ended == {"gw2": "success"}
        assert issued(lab, "short") == count
    assert wait_for(lambda: left(lab, "gw2") < 0.26 or serials(lab) != before, 60)
    assert timers(lab, "gw2") == {"gw2": "success"}
    taken = serials(lab)
    assert len(set(taken.values())) == 1
    assert taken != before
    assert issued(lab, "short") == count + 1
    assert [health(lab, gateway)["origin"] for gateway in GATEWAYS] == ["handed over", "issued"]
    # The first one is back, and doesn't renew what is in use already.
    assert timers(lab, "gw1") == {"gw1": "success"}
    assert serials(lab) == taken
    assert issued(lab, "short") == count + 1

    # Another authority: one issue, it is everywhere, and what failed before is forgotten.
    count = issued(lab)
    run = play(ROLE)
    assert run.status == 0, run.output
    assert issued(lab) == count + 1
    assert wait_for(lambda: set(serials(lab).values()).isdisjoint(taken.values()))
    assert [program(lab, gateway, "--check").returncode for gateway in GATEWAYS] == [0, 0]


@pytest.fixture
def without_gw1(lab: Lab) -> Iterator[None]:
    """Nobody gets into gw1 while the test runs."""
    lab.exec("gw1", ["systemctl", "stop", "ssh.socket", "ssh.service"])
    lab.forget_connections(["gw1"])
    yield
    lab.exec("gw1", ["systemctl", "start", "ssh.service"])


@pytest.mark.usefixtures("without_gw1")
def test_a_gateway_that_is_down_keeps_no_other_from_anything(lab: Lab) -> None:
    """The first one, whose turn it would be: the second one is provisioned, renews, and forgets nothing of it."""
    before, count, state = serials(lab), issued(lab), snapshot(lab, "gw2")
    run = play(CONVERGE, "--limit", "gw2", "--skip-tags", "haproxy")
    assert (run.status, run.changed) == (0, 0), run.output
    assert run.text.count("gw1 can't be asked who it is (") == 1, run.output
    assert "Connection refused); the other gateways keep what they know of its keys" in run.text
    assert snapshot(lab, "gw2") == state

    run = play("playbooks/renew.yml")
    assert run.status == 4, run.output  # an unreachable host, and no failed one
    assert (run.recap["gw1"]["unreachable"], run.recap["gw2"]["failed"]) == (1, 0)
    assert "'mail' was not handed to gw1" in run.text
    renewed = serials(lab)
    assert (renewed["gw1"], issued(lab)) == (before["gw1"], count + 1)
    assert renewed["gw2"] != before["gw2"]
    assert "gw1 doesn't have it" in program(lab, "gw2", "--check").stdout

    # It is back, and gets it from the timer of the other one: the account and the keys are still good.
    lab.exec("gw1", ["systemctl", "start", "ssh.service"])
    assert timers(lab, "gw2") == {"gw2": "success"}
    assert serials(lab) == {"gw1": renewed["gw2"], "gw2": renewed["gw2"]}
    assert program(lab, "gw2", "--check").returncode == 0


def test_two_runs_at_once_both_end_well(lab: Lab) -> None:
    before = serials(lab)
    # The one that has its own in use; the other's is older, and is no concern of anybody.
    holder = next(gateway for gateway in GATEWAYS if health(lab, gateway)["origin"] == "issued")
    script = "for i in 1 2 3; do postern-certificates install mail & done; wait"
    with ThreadPoolExecutor() as pool:
        installs = pool.submit(lab.exec, holder, ["sh", "-c", script])
        assert timers(lab) == {"gw1": "success", "gw2": "success"}
        installs.result()
    assert serials(lab) == before
