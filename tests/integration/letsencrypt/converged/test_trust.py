"""What an account without rights can do to what HAProxy, sshd and root's own programs trust on a gateway: nothing."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from logons import ssh_command

from lab import Lab

#: Runs on a gateway as an account without rights, and prints what it could do.
ATTEMPTS = r"""
import json, os, socket, sys

asked = json.load(sys.stdin)
done = {"ports": [], "sockets": [], "written": [], "read": []}
for port in asked["ports"]:
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as tried:
            # Beside somebody who listens, if that is allowed, or in his place.
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                tried.bind((address, port))
                tried.listen()
                done["ports"].append([address, port])
            except PermissionError:
                pass
for path in asked["sockets"]:
    with socket.socket(socket.AF_UNIX) as tried:
        try:
            tried.connect(path)
            done["sockets"].append(path)
        except PermissionError:
            pass
        except OSError as error:
            done["sockets"].append("%s: %s" % (path, error))
for root in asked["roots"]:
    found = [root] if os.path.isfile(root) else []
    for folder, names, files in os.walk(root):
        found += [folder, *(os.path.join(folder, name) for name in files)]
    for path in found:
        if os.path.islink(path):
            continue
        if os.access(path, os.W_OK):
            done["written"].append(path)
        if os.path.isfile(path) and os.access(path, os.R_OK):
            with open(path, "rb") as stream:
                if b"PRIVATE KEY-----" in stream.read():
                    done["read"].append(path)
json.dump(done, sys.stdout)
"""
#: What root's programs, HAProxy and sshd read, and where our locks are.
ROOTS = (
    *("/etc/haproxy", "/etc/ssh", "/etc/letsencrypt", "/etc/postern", "/etc/systemd/system", "/etc/sudoers.d"),
    *("/etc/fail2ban", "/etc/ufw", "/etc/default", "/usr/local/lib", "/usr/local/sbin", "/var/lib/postern"),
    *("/var/lib/haproxy", "/var/lib/fail2ban", "/srv/sftp"),
)
# Where HAProxy sends requests to on the host itself, and where certbot answers.
NAMED = r"grep -hE '^ *server ' /etc/haproxy/haproxy.cfg | grep -Eo '(127\.[0-9.]+|::1|localhost)\]?:[0-9]+' | sed 's/.*://'"
SETTINGS = "sed -n 's/.*\"http_port\": *\\([0-9]*\\).*/\\1/p' /etc/postern/certificates.json"
SOCKETS = "find /run -type s | grep -E 'haproxy|fail2ban|postern'"


def attempted(lab: Lab, gateway: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is tried on a gateway, and what could be done."""

    def lines(command: str) -> list[str]:
        return lab.exec(gateway, ["sh", "-c", f"{command}; true"]).stdout.split()

    locks = lines("ls -d /run/postern-*.lock")
    asked = {
        "ports": sorted({int(port) for port in (*lines(NAMED), *lines(SETTINGS))}),
        "sockets": sorted(set(lines(SOCKETS))),
        "roots": [*ROOTS, *locks],
    }
    nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs"]
    done = lab.exec(gateway, [*nobody, "python3", "-c", ATTEMPTS], input=json.dumps(asked))
    return asked, json.loads(done.stdout)


def test_an_account_without_rights_can_be_nobody_that_is_trusted(lab: Lab, gateway: str) -> None:
    asked, done = attempted(lab, gateway)
    # There is something to try: the port where challenges are answered, and HAProxy's own socket.
    assert asked["ports"]
    assert any(path.endswith("admin.sock") for path in asked["sockets"])
    assert done == {"ports": [], "sockets": [], "written": [], "read": []}


def test_nobody_who_logs_on_gets_a_trusted_port_by_forwarding(lab: Lab, gateway: str) -> None:
    """A port that sshd forwards for a person is had with that person's rights, and these are for root (ssh -R)."""
    options = ["-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"]

    def forwarded(port: int) -> subprocess.CompletedProcess[str]:
        program, *rest = ssh_command(lab, gateway)
        way = ["-R", f"127.0.0.1:{port}:127.0.0.1:9"]
        return subprocess.run(
            [program, *options, *way, *rest, "true"], check=False, capture_output=True, text=True, timeout=60
        )

    asked, _done = attempted(lab, gateway)
    for port in asked["ports"]:
        tried = forwarded(port)
        assert tried.returncode == 255, tried
        assert f"remote port forwarding failed for listen port {port}" in tried.stderr
    # It isn't that nobody may forward: another port can be had.
    assert forwarded(18402).returncode == 0
