"""Real logons to a gateway, each over a connection of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from lab import Lab

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "the lab's own"

# Everything that decides who gets in: what a run must leave alone, and what it must put back.
STATE = r"""
find /etc/ssh /etc/systemd/system /etc/ufw /etc/default /srv -type f -exec sha256sum {} + 2>/dev/null | sort -k 2
find /etc/ssh /etc/systemd/system /etc/ufw /etc/default /srv -printf '%y %m %u:%g %p %l\n' 2>/dev/null | sort
getent passwd
ss -Hltn | awk '{print $4}' | sort
for family in ip ip6; do
    command -v ${family}tables-save >/dev/null && ${family}tables-save -t filter | sed 's/ \[.*//; /^#/d'
done
true
"""


def ssh_command(lab: Lab, host: str, *, family: int = 4, user: str = "operator", port: int = 22) -> list[str]:
    """The beginning of a command line of ssh that logs on with the lab's key, and shares no connection."""
    folder = lab.folder / "ssh"
    options = {
        "UserKnownHostsFile": str(folder / "known_hosts"),
        "HostKeyAlias": lab.address(host, "admin"),
        "StrictHostKeyChecking": "yes",
        "ControlPath": "none",
        "ConnectTimeout": "30",
        "IdentitiesOnly": "yes",
        "IdentityFile": str(folder / "id_ed25519"),
    }
    command = ["ssh", "-F", "none", "-p", str(port), "-l", user]
    command += [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    return [*command, lab.address(host, "admin", family)]


def with_key(lab: Lab, host: str, *command: str, **how: int | str) -> subprocess.CompletedProcess[str]:
    """Log on with the lab's key, and with nothing else."""
    argv = ssh_command(lab, host, **how)  # type: ignore[arg-type]
    argv[1:1] = ["-o", "BatchMode=yes"]
    return subprocess.run([*argv, *command], check=False, capture_output=True, text=True, timeout=60)


def with_password(lab: Lab, host: str, tmp_path: Path, user: str = "operator") -> subprocess.CompletedProcess[str]:
    """Log on with the password, and with nothing else."""
    asked = tmp_path / "askpass"
    asked.write_text(f"#!{sys.executable}\nprint({PASSWORD!r})\n")
    asked.chmod(0o700)
    argv = ssh_command(lab, host, user=user)
    argv[1:1] = ["-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1"]
    environment = {"SSH_ASKPASS": str(asked), "SSH_ASKPASS_REQUIRE": "force", "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [*argv, "true"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        stdin=subprocess.DEVNULL,
    )


def effective(lab: Lab, host: str, keyword: str) -> str:
    """What sshd itself says about one setting, for the account that Ansible uses."""
    where = "user=operator,host=10.0.0.1,addr=10.0.0.1,laddr=10.0.0.2,lport=22"
    lines = lab.exec(host, ["sh", "-c", f"mkdir -p /run/sshd; /usr/sbin/sshd -T -C {where}"]).stdout.splitlines()
    return next(line.partition(" ")[2] for line in lines if line.startswith(f"{keyword} "))


def state(lab: Lab, host: str) -> list[str]:
    """What decides who gets in, as lines that two times can be compared by."""
    return lab.exec(host, ["sh", "-c", STATE]).stdout.splitlines()


def armed(lab: Lab, host: str) -> dict[str, object] | None:
    """What the rollback guard holds, or None."""
    found = lab.exec(host, ["cat", "/var/lib/postern/rollback/armed.json"], check=False)
    return json.loads(found.stdout) if found.returncode == 0 else None
