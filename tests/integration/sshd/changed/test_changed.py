"""Ports have moved, and what left the variables is gone."""

from __future__ import annotations

import pytest
from logons import with_key

from lab import Lab
from plays import play

PORTS = {"gw1": (22, 2222), "gw2": (2222,)}


def test_the_host_is_reached_where_it_should_be(lab: Lab, gateway: str) -> None:
    for port in (22, 2222):
        done = with_key(lab, gateway, "true", port=port)
        assert (done.returncode == 0) == (port in PORTS[gateway]), done.stderr


def test_the_next_run_changes_nothing(lab: Lab) -> None:
    del lab
    run = play("molecule/sshd/side_effect.yml", variables={"ansible_port": 2222})
    assert (run.status, run.changed) == (0, 0), run.output


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
