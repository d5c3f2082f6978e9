"""Once the role has run: a second check shows nothing, and the first one told the truth."""

from __future__ import annotations

from bans import JAILS, active, converge

from lab import Lab
from lab.topology import GATEWAYS
from probes.hosts import host
from snapshots import snapshot

#: The two that see to the package, and the module.
MOST_TASKS, ARGUMENT_CHECK = 3, 1


def test_a_second_check_shows_nothing(lab: Lab) -> None:
    before = {host: snapshot(lab, host) for host in GATEWAYS}
    run = converge(None, "--check", "--diff", "--skip-tags=haproxy")
    assert run.status == 0, run.output
    assert run.changed == 0, run.output
    assert "+++ " not in run.output
    assert run.output.count("TASK [postern.mail_gateway.fail2ban : ") - ARGUMENT_CHECK <= MOST_TASKS
    assert {host: snapshot(lab, host) for host in GATEWAYS} == before


def test_every_jail_is_active_and_reads_the_journal(lab: Lab, gateway: str) -> None:
    assert active(lab, gateway) == sorted(JAILS)
    for jail in JAILS:
        shown = lab.exec(gateway, ["fail2ban-client", "status", jail]).stdout
        assert "Journal matches:\t_SYSTEMD_UNIT=" in shown, shown


def test_fail2ban_starts_with_the_host(lab: Lab, gateway: str) -> None:
    service = host(lab, gateway).service("fail2ban")
    assert (service.is_running, service.is_enabled) == (True, True)
