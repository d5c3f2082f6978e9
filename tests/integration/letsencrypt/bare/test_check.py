"""``--check --diff`` on hosts that have nothing yet: it says what would change and be issued, and does none of it."""

from __future__ import annotations

from authorities import CONVERGE, log, url

from lab import Lab
from lab.topology import GATEWAYS
from plays import play
from snapshots import snapshot


def test_a_check_on_bare_hosts_shows_every_change_and_makes_none(lab: Lab) -> None:
    before, asked = {host: snapshot(lab, host) for host in GATEWAYS}, log(lab, "first")
    run = play(CONVERGE, "--check", "--diff")
    assert run.status == 0, run.output
    for shown in (
        "+++ after: /var/lib/postern/certificates/id_ed25519",
        "+++ after: /usr/local/sbin/postern-certificates",
        "+++ after: /etc/postern/certificates.json",
        "+++ after: /etc/systemd/system/certbot.service.d/postern.conf",
        "+++ after: /etc/systemd/system/postern-certificates.path",
        "+++ after: certificate mail",
        f"+issued by {url('first')} for mail.example.test, autodiscover.example.test",
    ):
        assert shown in run.output, shown
    assert run.output.count("The following NEW packages will be installed:\n  certbot ") == len(GATEWAYS)
    assert log(lab, "first") == asked
    assert {host: snapshot(lab, host) for host in GATEWAYS} == before
