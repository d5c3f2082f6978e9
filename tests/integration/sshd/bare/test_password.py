"""A host that Ansible reaches with a password alone: keys first, then a logon with one, and only then no passwords."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from logons import PASSWORD, effective, state, with_key, with_password

from lab import Lab
from plays import ROOT, play

CONVERGE = "molecule/sshd/converge.yml"
BARE_AGAIN = (
    "rm -rf /etc/ssh/sshd_config.d/00-postern.conf /etc/ssh/authorized_keys.d /etc/systemd/system/ssh.socket.d;"
    "systemctl daemon-reload; systemctl try-restart ssh.service ssh.socket;"
    "mv /root/operators-keys /home/operator/.ssh/authorized_keys"
)


@pytest.fixture
def only_a_password(lab: Lab, gateway: str) -> Iterator[dict[str, Any]]:
    """Variables for a host that holds no key of ours any more."""
    lab.exec(gateway, ["mv", "/home/operator/.ssh/authorized_keys", "/root/operators-keys"])
    assert with_key(lab, gateway, "true").returncode == 255
    yield {"ansible_password": PASSWORD, "ansible_ssh_args": "", "sshd_sftp_accounts": []}
    lab.exec(gateway, ["sh", "-c", BARE_AGAIN])


def test_passwords_stay_on_where_no_key_works(
    lab: Lab, gateway: str, only_a_password: dict[str, Any], tmp_path: Path
) -> None:
    before = state(lab, gateway)
    variables = {**only_a_password, "sshd_authorized_keys": [], "sshd_rollback_seconds": 10}
    run = play(CONVERGE, "--limit", gateway, variables=variables)
    assert run.status != 0
    assert "Passwords stay on: The new sshd configuration was not confirmed" in run.text
    assert "can be reached as before" in run.text
    assert state(lab, gateway) == before
    assert with_password(lab, gateway, tmp_path).returncode == 0


def test_the_key_is_installed_and_proved_before_passwords_go(
    lab: Lab, gateway: str, only_a_password: dict[str, Any], tmp_path: Path
) -> None:
    key = (ROOT / ".cache" / "lab" / "ssh" / "id_ed25519.pub").read_text().strip()
    variables = {**only_a_password, "sshd_authorized_keys": [{"user": "operator", "keys": [key]}]}
    run = play(CONVERGE, "--limit", gateway, variables=variables)
    assert (run.status, run.changed) == (0, 1), run.output
    assert effective(lab, gateway, "passwordauthentication") == "no"
    assert with_key(lab, gateway, "true").returncode == 0
    assert with_password(lab, gateway, tmp_path).returncode == 255
