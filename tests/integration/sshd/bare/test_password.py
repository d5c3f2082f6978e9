"""A host that Ansible reaches with a password alone: keys first, then a logon with one, and only then no passwords."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from logons import PASSWORD, effective, state, with_key, with_password

from lab import Lab
from lab.topology import GATEWAYS
from plays import play

CONVERGE = "molecule/sshd/converge.yml"
BARE_AGAIN = (
    "rm -rf /etc/ssh /etc/systemd/system/ssh.socket.d; mv /root/etc-ssh /etc/ssh;"
    "systemctl daemon-reload;"
    # Not both at once: a socket whose service runs already doesn't come back, and the service listens by itself.
    "if systemctl is-enabled --quiet ssh.socket; then systemctl stop ssh.service; systemctl restart ssh.socket;"
    "else systemctl restart ssh.service; fi;"
    "mv /root/operators-keys /home/operator/.ssh/authorized_keys"
)


@pytest.fixture
def only_a_password(lab: Lab) -> Iterator[dict[str, Any]]:
    """Variables for hosts that hold no key of ours any more."""
    for gateway in GATEWAYS:
        lab.exec(gateway, ["cp", "-a", "/etc/ssh", "/root/etc-ssh"])
        lab.exec(gateway, ["mv", "/home/operator/.ssh/authorized_keys", "/root/operators-keys"])
        assert with_key(lab, gateway, "true").returncode == 255
    yield {"ansible_password": PASSWORD, "ansible_ssh_args": "", "sshd_sftp_accounts": []}
    for gateway in GATEWAYS:
        lab.exec(gateway, ["sh", "-c", BARE_AGAIN])


def test_passwords_stay_on_where_no_key_works(lab: Lab, only_a_password: dict[str, Any], tmp_path: Path) -> None:
    before = {gateway: state(lab, gateway) for gateway in GATEWAYS}
    variables = {**only_a_password, "sshd_authorized_keys": [], "sshd_rollback_seconds": 10}
    run = play(CONVERGE, variables=variables)
    assert run.status != 0
    for gateway in GATEWAYS:
        said = run.failures[gateway]
        assert said.startswith("Passwords stay on: The new sshd configuration was not confirmed")
        assert "can be reached as before" in said
        assert state(lab, gateway) == before[gateway]
        assert with_password(lab, gateway, tmp_path).returncode == 0


def test_the_key_is_installed_and_proved_before_passwords_go(
    lab: Lab, only_a_password: dict[str, Any], tmp_path: Path
) -> None:
    key = (lab.folder / "ssh" / "id_ed25519.pub").read_text().strip()
    variables = {**only_a_password, "sshd_authorized_keys": [{"user": "operator", "keys": [key]}]}
    run = play(CONVERGE, variables=variables)
    assert (run.status, run.changed) == (0, 2), run.output
    # What the confirmation, which is Ansible's own logon, can't know of.
    assert "From now on clients need a key exchange that withstands quantum computers" in run.text
    for gateway in GATEWAYS:
        assert effective(lab, gateway, "passwordauthentication") == "no"
        assert with_key(lab, gateway, "true").returncode == 0
        assert with_password(lab, gateway, tmp_path).returncode == 255
