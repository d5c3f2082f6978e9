"""What clients reach once the role has run, and what a second check says."""

from __future__ import annotations

import pytest
from firewalls import CONVERGE, LISTENING, expected_rules, knock, reach, show_added
from logons import with_key

from lab import Lab
from lab.topology import GATEWAYS
from plays import play
from probes.hosts import host
from snapshots import snapshot

OPEN = {25, 80, 110, 443, 587}
REJECTED = {6003}


def test_a_second_check_shows_nothing(lab: Lab) -> None:
    before = {host: snapshot(lab, host) for host in GATEWAYS}
    run = play(CONVERGE, "--check", "--diff")
    assert run.status == 0, run.output
    assert run.changed == 0, run.output
    assert "+++ " not in run.output
    assert run.output.count("TASK [postern.mail_gateway.firewall : ") - run.output.count("Validating arguments") <= 3
    assert {host: snapshot(lab, host) for host in GATEWAYS} == before


@pytest.mark.usefixtures("listeners")
def test_what_is_declared_is_open_and_nothing_else(lab: Lab, gateway: str) -> None:
    for family, found in reach(lab, "client", gateway, "outside").items():
        assert found["open"] == OPEN, family
        assert found["rejected"] == REJECTED, family
        assert found["silent"] == {22, *LISTENING} - OPEN - REJECTED, family


@pytest.mark.usefixtures("listeners")
def test_administrators_reach_ssh_too(lab: Lab, gateway: str) -> None:
    for family, found in reach(lab, "admin", gateway, "admin").items():
        assert found["open"] == {22, *OPEN}, family
    for family in (4, 6):
        assert with_key(lab, gateway, "sudo", "id", "-un", family=family).stdout.strip() == "root"


@pytest.mark.usefixtures("listeners")
def test_a_limit_holds_back_who_comes_too_often(lab: Lab, gateway: str) -> None:
    for family in (4, 6):
        assert knock(lab, gateway, 587, 8, family)[-1] == "rejected"
        assert set(knock(lab, gateway, 25, 8, family)) == {"open"}


def test_the_rules_were_told_in_ufws_own_words(lab: Lab, gateway: str) -> None:
    """What the check on the bare host said is what ``ufw show added`` says now, word by word."""
    assert sorted(show_added(lab, gateway)) == sorted(expected_rules(lab))


def test_the_firewall_starts_with_the_host(lab: Lab, gateway: str) -> None:
    assert host(lab, gateway).service("ufw").is_enabled
    assert lab.exec(gateway, ["ufw", "status"]).stdout.startswith("Status: active")
