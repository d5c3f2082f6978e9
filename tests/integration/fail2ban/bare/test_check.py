"""``--check --diff`` on hosts that have nothing yet: it says everything that would change, and changes nothing."""

from __future__ import annotations

from bans import converge

from lab import Lab
from lab.topology import GATEWAYS
from snapshots import snapshot


def test_a_check_on_bare_hosts_shows_every_change_and_makes_none(lab: Lab) -> None:
    before = {host: snapshot(lab, host) for host in GATEWAYS}
    run = converge(None, "--check", "--diff", "--skip-tags=haproxy")
    assert run.status == 0, run.output
    # The package and the configuration.
    assert {host: run.recap[host]["changed"] for host in GATEWAYS} == {"gw1": 2, "gw2": 2}, run.output
    for file in (
        "action.d/postern-ban.conf",
        "filter.d/postern-closed.conf",
        "filter.d/postern-haproxy-logons.conf",
        "jail.d/postern-closed.local",
        "jail.d/postern-haproxy-logons.local",
        "jail.d/postern-sshd.local",
    ):
        assert run.output.count(f"+++ after: /etc/fail2ban/{file}\n") == len(GATEWAYS), file
    assert run.output.count("+filter = sshd[mode=aggressive]\n") == len(GATEWAYS)
    assert {host: snapshot(lab, host) for host in GATEWAYS} == before
