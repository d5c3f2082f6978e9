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


def test_each_suites_haproxy_reads_the_configuration_without_a_warning(lab: Lab, gateway: str) -> None:
    """The gateways are a Debian 12 and a Debian 13; that of testing is among the trials."""
    read = lab.exec(gateway, ["haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg"])
    assert (read.stderr, read.stdout.strip()) in (("", ""), ("", "Configuration file is valid"))
