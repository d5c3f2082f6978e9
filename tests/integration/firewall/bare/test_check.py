"""``--check --diff`` on hosts that have nothing yet: it says everything that would change, and changes nothing."""

from __future__ import annotations

from firewalls import CONVERGE, expected_rules

from lab import Lab
from lab.topology import GATEWAYS
from plays import play
from snapshots import snapshot


def test_a_check_on_bare_hosts_shows_every_change_and_makes_none(lab: Lab) -> None:
    before = {host: snapshot(lab, host) for host in GATEWAYS}
    run = play(CONVERGE, "--check", "--diff")
    assert run.status == 0, run.output
    # The package and the rules.
    assert {host: run.recap[host]["changed"] for host in GATEWAYS} == {"gw1": 2, "gw2": 2}, run.output
    for shown in (
        "Status: active",
        "Default: deny (incoming), allow (outgoing), deny (routed)",
        *expected_rules(lab),
    ):
        assert run.output.count(f"+{shown}\n") == len(GATEWAYS), shown
    assert {host: snapshot(lab, host) for host in GATEWAYS} == before
