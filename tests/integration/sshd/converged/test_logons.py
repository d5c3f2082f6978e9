"""What people meet who log on to a host of the role."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from logons import effective, ssh_command, with_key, with_password

from lab import Lab
from lab.topology import GATEWAYS
from plays import play

ACCOUNTS = ("operator", "root")
FAMILIES = (4, 6)
#: Logs on with the right key (on standard input), fails with a wrong one some times, and logs on again.
_FAIL_AND_LOG_ON = """
import json, pathlib, subprocess, sys, tempfile
def log_on(key):
    options = ["IdentitiesOnly=yes", "BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null",
               "LogLevel=ERROR", "ConnectTimeout=10", f"IdentityFile={key}"]
    argv = ["ssh", "-F", "none", "-l", "operator", *(part for option in options for part in ("-o", option))]
    return subprocess.run([*argv, sys.argv[1], "true"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
with tempfile.TemporaryDirectory() as folder:
    right, wrong = pathlib.Path(folder, "right"), pathlib.Path(folder, "wrong")
    right.touch(mode=0o600)
    right.write_text(sys.stdin.read())
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(wrong)], check=True)
    before, failures, after = log_on(right), [log_on(wrong).stderr for _ in range(6)], log_on(right)
told = {"before": before.returncode, "failures": failures, "after": after.returncode, "reason": after.stderr}
print(json.dumps(told))
"""


@pytest.mark.parametrize("user", ACCOUNTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_key_opens(lab: Lab, gateway: str, user: str, family: int) -> None:
    done = with_key(lab, gateway, "id", "-un", user=user, family=family)
    assert done.stdout.strip() == user, done.stderr


@pytest.mark.parametrize("user", ACCOUNTS)
def test_a_password_does_not(lab: Lab, gateway: str, user: str, tmp_path: Path) -> None:
    done = with_password(lab, gateway, tmp_path, user)
    assert done.returncode == 255
    assert "Permission denied (publickey)." in done.stderr


def test_a_drop_in_of_the_cloud_image_changes_nothing(lab: Lab, gateway: str, tmp_path: Path) -> None:
    cloud = "/etc/ssh/sshd_config.d/50-cloud-init.conf"
    lab.exec(gateway, ["sh", "-c", f"echo PasswordAuthentication yes >{cloud}; systemctl try-restart ssh.service"])
    try:
        assert effective(lab, gateway, "passwordauthentication") == "no"
        assert with_password(lab, gateway, tmp_path).returncode == 255
        run = play("molecule/sshd/converge.yml", "--limit", gateway)
        assert (run.status, run.changed) == (0, 0), run.output
    finally:
        lab.exec(gateway, ["sh", "-c", f"rm {cloud}; systemctl try-restart ssh.service"])


def test_an_audit_finds_nothing(lab: Lab, gateway: str) -> None:
    program = str(Path(sys.executable).with_name("ssh-audit"))
    address = lab.address(gateway, "admin")
    argv = [program, "--json", "--timeout=10", "--skip-rate-test", address]
    audit = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=120)
    report = json.loads(audit.stdout)
    found = [
        f"{kind} {entry['algorithm']}: {text}"
        for kind in ("kex", "key", "enc", "mac")
        for entry in report[kind]
        for level in ("fail", "warn")
        for text in entry["notes"].get(level, ())
    ]
    assert not found
    assert audit.returncode == 0
    assert {kind: bool(report[kind]) for kind in ("kex", "key", "enc", "mac")} == dict.fromkeys(
        ("kex", "key", "enc", "mac"), True
    )


def test_weak_moduli_are_gone(lab: Lab, gateway: str) -> None:
    sizes = lab.exec(gateway, ["awk", "!/^#/ {print $5}", "/etc/ssh/moduli"]).stdout.split()
    assert sizes
    assert min(int(size) for size in sizes) >= 3071


def sftp(lab: Lab, host: str, batch: str, folder: Path) -> subprocess.CompletedProcess[str]:
    options = ssh_command(lab, host)
    argv = ["sftp", "-b", "-", *options[1:3], *options[7:-1], f"drop@{options[-1]}"]
    return subprocess.run(argv, check=False, capture_output=True, text=True, input=batch, cwd=folder, timeout=60)


def test_an_account_for_files_takes_one_in_batch_mode(lab: Lab, gateway: str, tmp_path: Path) -> None:
    (tmp_path / "mail.pem").write_text("a certificate\n")
    done = sftp(lab, gateway, "put mail.pem", tmp_path)
    assert done.returncode == 0, done.stderr
    assert lab.exec(gateway, ["cat", "/srv/sftp/drop/files/mail.pem"]).stdout == "a certificate\n"
    got = sftp(lab, gateway, "get mail.pem back.pem", tmp_path)
    assert got.returncode == 0, got.stderr
    assert (tmp_path / "back.pem").read_text() == "a certificate\n"
    assert sftp(lab, gateway, "get /../../etc/passwd", tmp_path).returncode != 0
    assert sftp(lab, gateway, "put mail.pem /mail.pem", tmp_path).returncode != 0


def test_an_account_for_files_can_do_nothing_else(lab: Lab, gateway: str, tmp_path: Path) -> None:
    command = with_key(lab, gateway, "id", user="drop")
    assert "uid=" not in command.stdout
    assert command.returncode != 0
    forward = ["-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"]
    argv = ssh_command(lab, gateway, user="drop")
    tunnel = subprocess.run(
        [argv[0], *forward, "-W", "127.0.0.1:22", *argv[1:]],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert "SSH-2.0" not in tunnel.stdout
    assert "prohibited" in tunnel.stderr
    assert with_password(lab, gateway, tmp_path, "drop").returncode == 255


def test_sessions_live_through_changes(lab: Lab) -> None:
    """One that Ansible makes as root itself and over IPv6, and one by sudo; meanwhile older clients are let in."""
    address = {host: lab.address(host, "admin", 6) for host in GATEWAYS}
    as_root = {
        "ansible_user": "root",
        "ansible_become": False,
        "ansible_host": "{{ address[inventory_hostname] }}",
        "address": address,
    }
    with contextlib.ExitStack() as stack:
        sessions = [
            stack.enter_context(
                subprocess.Popen(
                    [*ssh_command(lab, host), "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for host in GATEWAYS
        ]
        for session in sessions:
            stack.callback(session.kill)
        alive(sessions, "before")
        for tries, older, how in ((5, True, as_root), (4, False, {})):
            settings = {"sshd_settings": {"MaxAuthTries": tries, "LoginGraceTime": "1m"}, "sshd_older_clients": older}
            run = play("molecule/sshd/converge.yml", variables={**settings, **how})
            assert (run.status, run.changed) == (0, 2), run.output
            assert {effective(lab, host, "maxauthtries") for host in GATEWAYS} == {str(tries)}
            alive(sessions, f"after {tries}")
            for host in GATEWAYS:
                tried = with_older_client(lab, host)
                assert (tried.returncode == 0) == older, tried.stderr
                assert ("no matching key exchange method found" in tried.stderr) == (not older), tried.stderr


def alive(sessions: list[subprocess.Popen[str]], word: str) -> None:
    for session in sessions:
        assert session.stdin
        assert session.stdout
        session.stdin.write(f"{word}\n")
        session.stdin.flush()
        assert session.stdout.readline() == f"{word}\n"


def with_older_client(lab: Lab, host: str) -> subprocess.CompletedProcess[str]:
    """Log on as OpenSSH before 8.9 does, as far as key exchanges go."""
    argv = ssh_command(lab, host)
    argv[1:1] = ["-o", "KexAlgorithms=curve25519-sha256"]
    return subprocess.run([*argv, "true"], check=False, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("family", FAMILIES)
def test_failed_logons_hold_off_a_stranger_and_no_administrator(lab: Lab, family: int) -> None:
    """Debian 13's OpenSSH refuses an address for a while from which logons failed, the right key's too."""
    key = (lab.folder / "ssh" / "id_ed25519").read_text()
    said = {}
    try:
        for host, network in (("admin", "admin"), ("client", "outside")):
            argv = ["python3", "-c", _FAIL_AND_LOG_ON, lab.address("gw2", network, family)]
            said[host] = json.loads(lab.exec(host, argv, input=key).stdout)
    finally:
        # What sshd remembers of the client goes with its process.
        lab.exec("gw2", ["systemctl", "try-restart", "ssh.service"])
    assert [(said[host]["before"], said[host]["after"]) for host in ("admin", "client")] == [(0, 0), (0, 255)], said
    assert all("Permission denied (publickey)" in text for text in said["admin"]["failures"]), said
    assert "Permission denied" not in said["client"]["reason"], said


def test_nothing_is_left_of_the_guard(lab: Lab, gateway: str) -> None:
    found = lab.exec(
        gateway, ["sh", "-c", "ls -d /var/lib/postern /etc/systemd/system/*rollback* 2>/dev/null; true"]
    ).stdout
    assert found.strip() == ""
    timers = lab.exec(gateway, ["systemctl", "list-timers", "--all", "--no-legend"]).stdout
    assert "postern-rollback" not in timers
