"""Ports have moved, and what left the variables is gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from logons import with_key

from lab import Lab
from plays import play

CHANGED = "molecule/sshd/side_effect.yml"
PORTS = {"gw1": (22, 2222), "gw2": (2222,)}


def test_the_host_is_reached_where_it_should_be(lab: Lab, gateway: str) -> None:
    for port in (22, 2222):
        done = with_key(lab, gateway, "true", port=port)
        assert (done.returncode == 0) == (port in PORTS[gateway]), done.stderr


def test_the_next_run_changes_nothing(lab: Lab) -> None:
    del lab
    run = play(CHANGED, variables={"ansible_port": 2222})
    assert (run.status, run.changed) == (0, 0), run.output


def test_settings_of_the_connection_may_come_from_ssh_configuration(lab: Lab, tmp_path: Path) -> None:
    """Port, address and account from ``ssh -F``, and over a jump host: the confirmation goes the same way."""
    folder = lab.folder / "ssh"
    common = f"User operator\n  Port 2222\n  IdentityFile {folder}/id_ed25519\n  UserKnownHostsFile {tmp_path}/known\n"
    lines = [line.partition(" ") for line in (folder / "known_hosts").read_text().splitlines()]
    (tmp_path / "known").write_text(
        "".join(
            f"{','.join(f'[{address}]:2222' for address in addresses.split(','))} {key}\n"
            for addresses, _, key in lines
        )
    )
    (tmp_path / "config").write_text(
        "".join(
            f"Host jump-{host}\n  HostName {lab.address(host, 'admin')}\n  {common}"
            f"Host target-{host}\n  HostName {lab.address(host, 'admin')}\n  ProxyJump jump-{other}\n  {common}"
            for host, other in (("gw1", "gw2"), ("gw2", "gw1"))
        )
    )
    counting = tmp_path / "ssh"
    counting.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/calls\nexec /usr/bin/ssh "$@"\n')
    counting.chmod(0o755)
    variables = {
        "sshd_settings": {"MaxAuthTries": 5},
        "ansible_host": "target-{{ inventory_hostname }}",
        "ansible_ssh_common_args": f"-F {tmp_path}/config",
        "ansible_control_path": f"/run/postern-lab-{lab.slot}/%%C",
        "ansible_ssh_executable": str(counting),
    }
    run = play(CHANGED, variables=variables)
    assert (run.status, run.changed) == (0, 2), run.output
    confirmations = [call for call in (tmp_path / "calls").read_text().splitlines() if "ControlPath=none" in call]
    assert confirmations
    assert all(" target-gw" in call and "-o Port=" not in call for call in confirmations)
    # And back, with the port as a variable.
    assert play(CHANGED, variables={"ansible_port": 2222}).changed == 2


def test_what_left_is_gone(lab: Lab, gateway: str) -> None:
    assert lab.exec(gateway, ["getent", "passwd", "drop"], check=False).returncode == 2
    keys = lab.exec(gateway, ["sh", "-c", "ls /etc/ssh/authorized_keys.d"]).stdout.split()
    assert keys == []
    assert with_key(lab, gateway, "true", user="root", port=2222).returncode == 255
    # What people brought stays.
    assert lab.exec(gateway, ["ls", "/srv/sftp/drop/files"]).stdout.split() == ["mail.pem"]


@pytest.mark.parametrize("host", ["gw1"])
def test_the_ports_are_in_sshds_own_words(lab: Lab, host: str) -> None:
    said = lab.exec(host, ["/usr/sbin/sshd", "-T"]).stdout.splitlines()
    assert sorted(line for line in said if line.startswith("port ")) == ["port 22", "port 2222"]
