"""The rollback guard when things end in the middle: the controller, the host, or a second run comes between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from logons import armed, state, with_key

from lab import Lab
from lab.podman import ENVIRONMENT
from plays import INVENTORY, ROOT, play

CONVERGE = "molecule/sshd/converge.yml"
#: A change that everybody could live with, were it confirmed.
CHANGE = {"sshd_settings": {"MaxAuthTries": 5, "LoginGraceTime": "1m"}}


@contextmanager
def stuck_before_confirmation(lab: Lab, gateway: str, folder: Path, seconds: int) -> Iterator[subprocess.Popen[str]]:
    """A run that has changed the host and never gets to confirm it: its new connection is as slow as can be."""
    slow = folder / "ssh"
    slow.write_text('#!/bin/sh\ncase "$*" in *ControlPath=none*) sleep 300;; esac\nexec /usr/bin/ssh "$@"\n')
    slow.chmod(0o755)
    variables = {**CHANGE, "sshd_rollback_seconds": seconds, "ansible_ssh_executable": str(slow)}
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(INVENTORY), str(ROOT / CONVERGE)]
    argv += ["--limit", gateway, "-e", json.dumps(variables)]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    with subprocess.Popen(
        argv, cwd=ROOT, env=environment, text=True, start_new_session=True, stdout=subprocess.DEVNULL
    ) as run:
        try:
            deadline = time.monotonic() + 60
            while armed(lab, gateway) is None:
                assert run.poll() is None, "the run ended before it changed anything"
                assert time.monotonic() < deadline
                time.sleep(0.2)
            time.sleep(2)  # armed, and now changed too
            yield run
        finally:
            kill(run)


def kill(run: subprocess.Popen[str]) -> None:
    """End a run and all it started, without a word."""
    if run.poll() is None:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def wait_for_rollback(lab: Lab, gateway: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while armed(lab, gateway) is not None:
        assert time.monotonic() < deadline, "the host didn't go back"
        time.sleep(0.5)


def reported(lab: Lab, gateway: str, why: str) -> None:
    """The next run says what was rolled back, and the one after that doesn't any more."""
    run = play(CONVERGE, "--limit", gateway)
    assert (run.status, run.changed) == (0, 0), run.output
    assert "The last change of sshd on this host was rolled back at" in run.text
    assert why in run.text
    again = play(CONVERGE, "--limit", gateway)
    assert "rolled back" not in again.text


def test_the_controller_is_killed_before_it_confirms(lab: Lab, gateway: str, tmp_path: Path) -> None:
    before = state(lab, gateway)
    with stuck_before_confirmation(lab, gateway, tmp_path, seconds=15) as run:
        assert state(lab, gateway) != before
        timer = lab.exec(
            gateway, ["systemctl", "show", "--property=TimersMonotonic,TimersCalendar", "postern-rollback.timer"]
        )
        # Monotonic time: setting the clock neither hastens nor delays it.
        assert "OnActiveUSec=15s" in timer.stdout
        assert "OnCalendar" not in timer.stdout
        # A second run at the same time is refused, and changes nothing.
        second = play(CONVERGE, "--limit", gateway, variables={"sshd_settings": {"MaxAuthTries": 3}})
        assert second.status != 0
        assert "waits for its confirmation, which another run may be about to give; nothing was changed" in second.text
        kill(run)
        wait_for_rollback(lab, gateway, 30)
    assert state(lab, gateway) == before
    assert with_key(lab, gateway, "true").returncode == 0
    reported(lab, gateway, "it was not confirmed in time")


def test_the_host_is_restarted_before_the_change_is_confirmed(lab: Lab, gateway: str, tmp_path: Path) -> None:
    before = state(lab, gateway)
    with stuck_before_confirmation(lab, gateway, tmp_path, seconds=600) as run:
        assert state(lab, gateway) != before
        kill(run)
        subprocess.run(
            ["podman", "restart", lab.container(gateway)], env=ENVIRONMENT, check=True, capture_output=True, timeout=120
        )
    deadline = time.monotonic() + 60
    while with_key(lab, gateway, "true").returncode:
        assert time.monotonic() < deadline, "nobody can log on after the restart"
        time.sleep(1)
    assert armed(lab, gateway) is None
    assert state(lab, gateway) == before
    reported(lab, gateway, "the host was restarted before it was confirmed")


@pytest.mark.parametrize("elsewhere", ["nobody-reads-this"])
def test_settings_of_the_connection_may_come_from_ssh_configuration(
    lab: Lab, gateway: str, tmp_path: Path, elsewhere: str
) -> None:
    """Port, address and account from ``ssh -F``, and through a jump host: the confirmation goes the same way."""
    folder = ROOT / ".cache" / "lab" / "ssh"
    other = {"gw1": "gw2", "gw2": "gw1"}[gateway]
    common = f"User operator\n  IdentityFile {folder}/id_ed25519\n  UserKnownHostsFile {folder}/known_hosts\n"
    configuration = tmp_path / "config"
    configuration.write_text(
        f"Host jump\n  HostName {lab.address(other, 'admin')}\n  Port 22\n  {common}"
        f"Host target\n  HostName {lab.address(gateway, 'admin')}\n  Port 22\n  ProxyJump jump\n  {common}"
    )
    variables = {
        **CHANGE,
        "ansible_host": "target",
        "ansible_ssh_common_args": f"-F {configuration}",
        "ansible_control_path": str(tmp_path / elsewhere),
    }
    run = play(CONVERGE, "--limit", gateway, variables=variables)
    assert (run.status, run.changed) == (0, 1), run.output
    assert play(CONVERGE, "--limit", gateway).changed == 1  # and back
