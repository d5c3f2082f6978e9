"""A run, and ``--check --diff``, on hosts that are as they should be: nothing is shown, and nothing is done."""

from __future__ import annotations

from pathlib import Path

from logons import state

from lab import Lab
from lab.topology import GATEWAYS
from plays import play

#: The module, and the two that see to the package and to Ansible's port.
MOST_TASKS = 3


def test_a_check_shows_nothing() -> None:
    run = play("molecule/sshd/converge.yml", "--check", "--diff")
    assert (run.status, run.changed) == (0, 0), run.output
    assert "+++ after" not in run.output


def test_a_run_that_changes_nothing_costs_nothing(lab: Lab, tmp_path: Path) -> None:
    """No new connection, nothing armed, and few tasks."""
    counting = tmp_path / "ssh"
    counting.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/calls\nexec /usr/bin/ssh "$@"\n')
    counting.chmod(0o755)
    before = {host: state(lab, host) for host in GATEWAYS}
    for host in GATEWAYS:
        lab.exec(host, ["mkdir", "-p", "/var/lib/postern"])
        lab.exec(host, ["touch", "-d", "2001-01-01", "/var/lib/postern"])
    try:
        run = play("molecule/sshd/converge.yml", variables={"ansible_ssh_executable": str(counting)})
        # Whoever arms makes a folder in there, and whoever disarms removes it.
        times = {host: lab.exec(host, ["stat", "-c", "%Y", "/var/lib/postern"]).stdout for host in GATEWAYS}
    finally:
        for host in GATEWAYS:
            lab.exec(host, ["rmdir", "/var/lib/postern"])
    assert (run.status, run.changed) == (0, 0), run.output
    assert (
        run.output.count("TASK [postern.mail_gateway.sshd : ") - run.output.count("Validating arguments") <= MOST_TASKS
    )
    calls = (tmp_path / "calls").read_text()
    assert calls
    assert "ControlPath=none" not in calls
    assert set(times.values()) == {"978307200\n"}
    assert {host: state(lab, host) for host in GATEWAYS} == before
