"""The rollback guard when things end in the middle (controller, module, host), or a second run comes between.

Each is tried with a role, on both gateways at once, and ends with hosts that are as before and can be logged on to.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockouts.trials import ALONE
from logons import armed, state, with_key

from lab import Lab
from lab.podman import ENVIRONMENT
from lab.topology import GATEWAYS
from plays import INVENTORY, ROOT, Run, play

#: Longer than any step of these tests takes on a busy machine; where the host has to go back by itself, SOON.
LATE, SOON = 600, 10


@dataclass(frozen=True)
class Role:
    """A role with a change that everybody could live with, were it confirmed.

    ``kills`` is a command line of the module, after it has begun to change the host.
    """

    name: str
    change: dict[str, Any]
    seconds: str
    kills: str

    @property
    def converge(self) -> str:
        return f"molecule/{self.name}/converge.yml"


SSHD = Role(
    "sshd",
    {"sshd_settings": {"MaxAuthTries": 5, "LoginGraceTime": "1m"}},
    "sshd_rollback_seconds",
    # Under ssh.service, and under ssh.socket.
    "systemctl *--signal=HUP*|systemctl try-restart*",
)
FIREWALL = Role(
    "firewall", {"firewall_logging": "high"}, "firewall_confirmation_seconds", "iptables-restore *--noflush*"
)


#: What a container engine adds to the table at any time.
CONTAINERS = (
    "iptables -N CONTAINERS; iptables -A CONTAINERS -s 10.88.0.0/16 -j ACCEPT; iptables -A FORWARD -j CONTAINERS"
)

NO_CONTAINERS = "iptables -D FORWARD -j CONTAINERS; iptables -F CONTAINERS; iptables -X CONTAINERS"


def states(lab: Lab) -> dict[str, list[str]]:
    return {host: state(lab, host) for host in GATEWAYS}


@contextlib.contextmanager
def stuck_before_confirmation(lab: Lab, role: Role, folder: Path, seconds: int) -> Iterator[subprocess.Popen[str]]:
    """A run that has armed the guard and never gets to confirm: its new connection is as slow as can be."""
    slow = folder / "ssh"
    slow.write_text('#!/bin/sh\ncase "$*" in *ControlPath=none*) sleep 900;; esac\nexec /usr/bin/ssh "$@"\n')
    slow.chmod(0o755)
    variables = {**role.change, role.seconds: seconds, "ansible_ssh_executable": str(slow)}
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(INVENTORY), str(ROOT / role.converge)]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    output = folder / "output"
    with (
        output.open("w") as stream,
        subprocess.Popen(
            [*argv, "-e", json.dumps(variables)],
            cwd=ROOT,
            env=environment,
            text=True,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        ) as run,
    ):
        try:
            for host in GATEWAYS:
                wait_until(
                    lambda host=host: run.poll() is not None or armed(lab, host) or rolled_back(lab, host),
                    120,
                )
            assert run.poll() is None, output.read_text()
            yield run
        finally:
            kill(run)


def kill(run: subprocess.Popen[str]) -> None:
    """End a run and all it started, without a word."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()


def wait_until(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it didn't come about in time"
        time.sleep(0.2)


def rolled_back(lab: Lab, host: str) -> bool:
    return lab.exec(host, ["test", "-e", "/var/lib/postern/rollback/report.json"], check=False).returncode == 0


def as_before(lab: Lab, before: dict[str, list[str]]) -> None:
    """Both gateways are what they were, and a fresh logon works."""
    for host in GATEWAYS:
        wait_until(lambda host=host: with_key(lab, host, "sudo", "-n", "true").returncode == 0, 90)
    now = states(lab)
    assert now == before, {host: sorted(set(now[host]) ^ set(before[host])) for host in GATEWAYS}


def reported(role: Role, why: str) -> Run:
    """The next run says what was rolled back, and the one after that doesn't any more."""
    run = play(role.converge)
    assert (run.status, run.changed) == (0, 0), run.output
    warnings = re.findall(
        rf"The last change of {role.name} on this host was rolled back at [0-9 :-]+ UTC, {why}", run.text
    )
    # Ansible shows a warning that several hosts have once.
    assert warnings, run.output
    again = play(role.converge)
    assert (again.status, again.changed) == (0, 0), again.output
    assert "rolled back" not in again.text
    return run


def controller_is_killed(lab: Lab, role: Role, folder: Path) -> str:
    before = states(lab)
    with stuck_before_confirmation(lab, role, folder, SOON) as run:
        if role is FIREWALL:
            for host in GATEWAYS:
                lab.exec(host, ["sh", "-c", CONTAINERS])
        kill(run)
        for host in GATEWAYS:
            wait_until(lambda host=host: armed(lab, host) is None, 90)
    if role is FIREWALL:
        # What others have put into the table meanwhile isn't the role's to take back.
        for host in GATEWAYS:
            added = lab.exec(host, ["sh", "-c", "iptables -S CONTAINERS; iptables -S FORWARD | grep CONTAINERS"]).stdout
            assert "-A CONTAINERS -s 10.88.0.0/16 -j ACCEPT" in added, added
            assert "-A FORWARD -j CONTAINERS" in added, added
            lab.exec(host, ["sh", "-c", NO_CONTAINERS])
    as_before(lab, before)
    reported(role, "since it was not confirmed in time")
    return "the next run says: The last change … was rolled back at …, since it was not confirmed in time; …"


def module_is_killed(lab: Lab, role: Role) -> str:
    """The module dies by SIGKILL in the middle of its change, and the controller lives to tell."""
    before = states(lab)
    names = sorted({pattern.split()[0] for pattern in role.kills.split("|")})
    patterns = "|".join(f"{pattern.replace(' ', chr(92) + ' ')}" for pattern in role.kills.split("|"))
    wrapper = f'#!/bin/sh\ncase "${{0##*/}} $*" in {patterns}) kill -KILL $PPID; exit 1;; esac\n'
    try:
        for host in GATEWAYS:
            for name in names:
                real = lab.exec(host, ["sh", "-c", f"command -v {name}"]).stdout.strip()
                lab.exec(
                    host,
                    ["sh", "-c", f"cat >/usr/local/bin/{name}; chmod 755 /usr/local/bin/{name}"],
                    input=f'{wrapper}exec {real} "$@"\n',
                )
        run = play(role.converge, variables={**role.change, role.seconds: SOON})
        assert run.status != 0
        sentence = f"The module was killed while it changed {role.name} on this host"
        assert [run.failures[host].startswith(sentence) for host in GATEWAYS] == [True, True], run.output
        for host in GATEWAYS:
            wait_until(lambda host=host: armed(lab, host) is None, 90)
    finally:
        for host in GATEWAYS:
            lab.exec(host, ["rm", "-f", *(f"/usr/local/bin/{name}" for name in names)])
    as_before(lab, before)
    reported(role, "since it was not confirmed in time")
    return f"{sentence} …; it goes back to what it was by itself …"


def host_is_restarted_while_a_second_run_waits(lab: Lab, role: Role, folder: Path) -> str:
    """Armed and changed: a second run is refused, clocks don't count, a check may look on; then the host restarts."""
    before = states(lab)
    with stuck_before_confirmation(lab, role, folder, LATE) as run:
        for host in GATEWAYS:
            wait_until(lambda host=host: state(lab, host) != before[host], 90)
            timer = lab.exec(
                host, ["systemctl", "show", "--property=TimersMonotonic,TimersCalendar", "postern-rollback.timer"]
            ).stdout
            # Monotonic time: setting the clock neither hastens nor delays it (systemd.timer(5)).
            assert "OnActiveUSec=10min" in timer
            assert "OnCalendar" not in timer
        changed = states(lab)
        check = play(role.converge, "--check")
        assert check.status == 0, check.output
        second = play(role.converge)
        sentence = f"A change of {role.name} on this host, made at"
        assert second.status != 0
        for host in GATEWAYS:
            said = second.failures[host]
            assert said.startswith(sentence), second.output
            assert "waits for its confirmation, which another run may be about to give; nothing was changed" in said
        assert states(lab) == changed
        kill(run)
        restart(lab)
    as_before(lab, before)
    reported(role, "since the host was restarted before it was confirmed")
    return f"{sentence} …, waits for its confirmation …; after the restart: … since the host was restarted before it …"


def host_is_reset(lab: Lab, role: Role, folder: Path) -> str:
    """Armed and changed, and then the host is gone from one moment to the next, as by its reset button.

    What was on the disk by then is tried without a lab (``tests/unit/rollback/test_reset.py``).
    """
    before = states(lab)
    with stuck_before_confirmation(lab, role, folder, LATE) as run:
        for host in GATEWAYS:
            wait_until(lambda host=host: state(lab, host) != before[host], 90)
        containers = [lab.container(host) for host in GATEWAYS]
        for command in (["kill", "--signal=KILL"], ["start"]):
            subprocess.run(["podman", *command, *containers], env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
        kill(run)
    as_before(lab, before)
    why = "since the host was restarted before it was confirmed"
    reported(role, why)
    return f"after the reset: The last change … was rolled back at …, {why}"


def port_moves_over_connections_that_are_not_shared(lab: Lab) -> None:
    """What Ansible does behind the confirmation goes over a new connection, too, and nobody listens on the old port."""
    before = states(lab)
    opened = ["ufw", "allow", "2222/tcp"]
    for host in GATEWAYS:
        lab.exec(host, opened)
    run = play(SSHD.converge, variables={"sshd_ports": [2222], **ALONE})
    assert (run.status, run.changed) == (0, len(GATEWAYS)), run.output
    again = play(SSHD.converge, variables={"sshd_ports": [22], "ansible_port": 2222, **ALONE})
    assert (again.status, again.changed) == (0, len(GATEWAYS)), again.output
    for host in GATEWAYS:
        lab.exec(host, [opened[0], "delete", *opened[1:]])
    back = play(SSHD.converge)
    assert back.status == 0, back.output
    as_before(lab, before)


def listen_addresses_over_a_boot(lab: Lab) -> str:
    """Sshd listens on the address that people use and on one that isn't there after a boot any more (VRRP, say).

    gw1 has ssh.service, which starts again until one is there; gw2 has ssh.socket, which doesn't ask.
    """
    late = "192.0.2.99"
    before = states(lab)
    try:
        for host in GATEWAYS:
            lab.exec(host, ["ip", "address", "replace", f"{late}/32", "dev", "lo"])
        addresses = f"{{{{ [ansible_host, '{late}'] }}}}"
        run = play(SSHD.converge, variables={"sshd_listen_addresses": addresses})
        assert (run.status, run.changed) == (0, len(GATEWAYS)), run.output
        restart(lab)
        for host in GATEWAYS:
            assert late not in lab.exec(host, ["ip", "-brief", "address"]).stdout
            wait_until(lambda host=host: with_key(lab, host, "true").returncode == 0, 90)
        # Nothing but the late one: it comes after sshd has given up.
        for host in GATEWAYS:
            lab.exec(host, ["ip", "address", "replace", f"{late}/32", "dev", "lo"])
            unit = {"gw1": "ssh.service", "gw2": "ssh.socket"}[host]
            lab.exec(host, ["sh", "-c", ONLY_LATE.format(late=late, unit=unit, **PLACES)])
            heard = ["sh", "-c", f"ss -Hltn | grep -q '{late}:22 '"]
            wait_until(lambda host=host, heard=heard: lab.exec(host, heard, check=False).returncode == 0, 60)
    finally:
        for host in GATEWAYS:
            lab.exec(host, ["ip", "address", "delete", f"{late}/32", "dev", "lo"], check=False)
            lab.exec(host, ["sh", "-c", AS_BEFORE.format(**PLACES)], check=False)
        restart(lab)
        for host in GATEWAYS:
            wait_until(lambda host=host: with_key(lab, host, "true").returncode == 0, 90)
    run = play(SSHD.converge)
    assert run.status == 0, run.output
    as_before(lab, before)
    return "after the restart, without one of the addresses: a logon works; and it listens once that one is there"


#: sshd on the late address alone, which comes a while after its start.
ONLY_LATE = """
cp -a {drop_in} /root/kept; cp -a {socket} /root/kept.socket 2>/dev/null
sed -i '/^ListenAddress/d; 1a ListenAddress {late}' {drop_in}
test -e {socket} && sed -i '/^ListenStream=./d; s/^ListenStream=$/&\\nListenStream={late}:22/' {socket}
ip address delete {late}/32 dev lo
systemctl daemon-reload; systemctl restart {unit}
sleep 2; ip address replace {late}/32 dev lo
"""
AS_BEFORE = "mv /root/kept {drop_in}; test ! -e /root/kept.socket || mv /root/kept.socket {socket}"
PLACES = {
    "drop_in": "/etc/ssh/sshd_config.d/00-postern.conf",
    "socket": "/etc/systemd/system/ssh.socket.d/00-postern.conf",
}


def restart(lab: Lab) -> None:
    """Restart both hosts."""
    restarts = [
        subprocess.Popen(["podman", "restart", lab.container(host)], env=ENVIRONMENT, stdout=subprocess.DEVNULL)
        for host in GATEWAYS
    ]
    assert [one.wait(timeout=180) for one in restarts] == [0, 0]
