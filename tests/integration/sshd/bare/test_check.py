"""Before the first run: passwords work, gw2 is one of those hosts where systemd listens, and a check shows all."""

from __future__ import annotations

from pathlib import Path

import pytest
from logons import PASSWORD, state, with_password

from lab import Lab
from lab.topology import GATEWAYS
from plays import play
from snapshots import snapshot


@pytest.fixture(scope="session", autouse=True)
def as_people_left_it(lab: Lab) -> None:
    for host in GATEWAYS:
        lab.exec(host, ["chpasswd"], input=f"operator:{PASSWORD}\nroot:{PASSWORD}\n")
    lab.exec("gw2", ["systemctl", "disable", "--quiet", "--now", "ssh.service"])
    lab.exec("gw2", ["systemctl", "enable", "--quiet", "--now", "ssh.socket"])


def test_a_password_opens_a_bare_host(lab: Lab, gateway: str, tmp_path: Path) -> None:
    # Otherwise "passwords are refused", later on, would say nothing.
    done = with_password(lab, gateway, tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_check_shows_every_change_and_makes_none(lab: Lab) -> None:
    before = {host: [snapshot(lab, host), state(lab, host)] for host in GATEWAYS}
    run = play("molecule/sshd/converge.yml", "--check", "--diff")
    assert run.status == 0, run.output
    assert {host: run.recap[host]["changed"] for host in GATEWAYS} == {"gw1": 1, "gw2": 1}, run.output
    for shown in (
        "+++ after: /etc/ssh/sshd_config.d/00-postern.conf",
        "+PasswordAuthentication no",
        "+Match User drop",
        "+++ after: /etc/ssh/authorized_keys.d/drop",
        "+++ after: /etc/ssh/moduli",
        "+++ after: /etc/systemd/system/ssh.socket.d/00-postern.conf",
        "+++ after: accounts for SFTP alone",
    ):
        assert shown in run.output, shown
    assert "PRIVATE KEY" not in run.output
    assert {host: [snapshot(lab, host), state(lab, host)] for host in GATEWAYS} == before
