"""``--check --diff`` on bare gateways: says what would change, and changes nothing."""

from __future__ import annotations

from lab import Lab
from plays import play
from snapshots import snapshot


def test_a_check_on_bare_hosts_shows_the_changes_and_makes_none(lab: Lab) -> None:
    before = {host: snapshot(lab, host) for host in ("gw1", "gw2")}
    run = play("playbooks/site.yml", "--check", "--diff")
    assert run.status == 0, run.output
    assert all(run.recap[host]["changed"] >= 3 for host in before), run.output
    for shown in (
        "+++ after: /etc/haproxy/haproxy.cfg",
        "+++ after: /etc/haproxy/certificates/mail.pem mode 0600",
        f"+{lab.relay_address('gw1')}/32 on inside",
        f"+{lab.address('relay', 'inside')}/32",
        "+powershell",
        "+ufw allow 25/tcp comment 'postern: smtp'",
        "+PasswordAuthentication no",
    ):
        assert shown in run.output
    if lab.powershell:
        assert run.recap["ex1"]["changed"] == run.recap["ex2"]["changed"] == 1
        assert "+receive connector EX2\\Mail gateway relay" in run.output
    assert {host: snapshot(lab, host) for host in before} == before
    assert "PRIVATE KEY" not in run.output
