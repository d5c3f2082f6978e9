"""``--check --diff`` on hosts that have nothing yet: it says everything that would change, and changes nothing."""

from __future__ import annotations

from lab import Lab
from lab.topology import GATEWAYS
from plays import play
from snapshots import snapshot


def test_a_check_on_bare_hosts_shows_every_change_and_makes_none(lab: Lab) -> None:
    before = {host: snapshot(lab, host) for host in GATEWAYS}
    run = play("molecule/haproxy/converge.yml", "--check", "--diff")
    assert run.status == 0, run.output
    # The packages, the link in the chroot, the address and the configuration.
    assert {host: run.recap[host]["changed"] for host in GATEWAYS} == {"gw1": 4, "gw2": 4}, run.output
    for shown in (
        f"+{lab.relay_address('gw1')}/32 on inside",
        f"+{lab.relay_address('gw2')}/32 on inside",
        "+++ after: /etc/haproxy/haproxy.cfg",
        "+backend exchange_owa from exchange",
        "+++ after: /etc/haproxy/lists/relay_networks.list",
        f"+{lab.address('relay', 'inside')}/32",
        "+++ after: /etc/haproxy/certificates/mail.pem mode 0600",
        "+certificate with SHA-256 fingerprint",
        "+++ after: /etc/haproxy/certificates/www.pem mode 0600",
        "+self-signed certificate, until another one is there",
    ):
        assert shown in run.output, shown
    assert run.output.count("The following NEW packages will be installed:\n  haproxy ") == len(GATEWAYS)
    assert "PRIVATE KEY" not in run.output
    assert {host: snapshot(lab, host) for host in GATEWAYS} == before
