"""A second check."""

from __future__ import annotations

from lab import Lab
from lab.topology import GATEWAYS
from plays import play
from snapshots import snapshot


def test_a_second_check_shows_nothing(lab: Lab) -> None:
    before = {host: snapshot(lab, host) for host in GATEWAYS}
    run = play("molecule/haproxy/converge.yml", "--check", "--diff")
    assert run.status == 0, run.output
    assert run.changed == 0, run.output
    assert "+++ " not in run.output
    assert {host: snapshot(lab, host) for host in GATEWAYS} == before
