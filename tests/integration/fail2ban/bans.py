"""What the tests do to a gateway and ask of it: real failures by real clients, and whether they are shut out."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import plays
from lab import Lab
from lab.topology import GATEWAYS
from plays import Run, play
from probes import ask
from probes.checks import MAIL, wait_for, web
from strangers import Strangers

CONVERGE = "molecule/fail2ban/converge.yml"
#: Runs the module, once for each trial.
tried = partial(plays.tried, "fail2ban")
MAILBOX, WRONG = "anna@example.test", "wrong"
EWS, ACTIVESYNC = "/EWS/Exchange.asmx", "/Microsoft-Server-ActiveSync"
# molecule/fail2ban/converge.yml
JAILS = ("closed", "haproxy-logons", "sshd")
SSH_RETRIES, HELD_AFTER = 4, 6
#: The last of them is held, and that is enough.
LOGON_RETRIES = HELD_AFTER + 1
BAN_TIME = 2  # of the jail closed

_SSH = """
import concurrent.futures, os, subprocess, sys, tempfile
address, source, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
with tempfile.NamedTemporaryFile("w", delete=False) as file:
    file.write("#!/bin/sh\\necho wrong\\n")
os.chmod(file.name, 0o700)
command = [
    "ssh", "-F", "none", "-b", source, "-l", "operator", "-o", "PubkeyAuthentication=no", "-o",
    "NumberOfPasswordPrompts=1", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o",
    "ConnectTimeout=5", "-o", "LogLevel=ERROR", address, "true",
]
environment = {**os.environ, "SSH_ASKPASS": file.name, "SSH_ASKPASS_REQUIRE": "force"}
def fail(number):
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return (done.stderr.strip().splitlines() or ["nothing"])[-1]
with concurrent.futures.ThreadPoolExecutor(times) as pool:
    print("\\n".join(pool.map(fail, range(times))))
os.unlink(file.name)
"""
FILES = """
find /etc/fail2ban -printf '%y %m %u:%g %p %l\\n' | sort
find /etc/fail2ban -type f -exec sha256sum {} + | sort -k 2
"""


def fail_at_ssh(lab: Lab, host: str, address: str, source: str, times: int) -> list[str]:
    """Try a wrong password over so many connections at once; return what ssh says of each."""
    return lab.exec(host, ["python3", "-", address, source, str(times)], input=_SSH).stdout.splitlines()


@contextmanager
def patient_sshd(lab: Lab, gateway: str) -> Iterator[None]:
    """From 9.8 on, OpenSSH itself drops connections from where logons failed; here it doesn't."""
    drop_in = "/etc/ssh/sshd_config.d/lab.conf"
    known = "penalt" in lab.exec(gateway, ["sh", "-c", "mkdir -p /run/sshd; sshd -T"]).stdout
    if known:
        lab.exec(gateway, ["sh", "-c", f"echo PerSourcePenalties no >{drop_in} && systemctl restart ssh"])
    try:
        yield
    finally:
        if known:
            lab.exec(gateway, ["sh", "-c", f"rm {drop_in} && systemctl restart ssh"])


def form(lab: Lab, gateway: str, network: str = "outside", **more: Any) -> dict[str, Any]:
    """A probe that fills in OWA's form with a wrong password."""
    body = urlencode({"username": MAILBOX, "password": WRONG, "destination": f"https://{MAIL}/owa/"})
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    return {
        **web(lab, gateway, "/owa/auth.owa", network, headers=kind, timeout=30),
        "method": "POST",
        "body": body,
    } | more


def basic(lab: Lab, gateway: str, path: str, **more: Any) -> dict[str, Any]:
    """A probe with a Basic logon and a wrong password, each time another one: a repeated one is no guess."""
    token = base64.b64encode(f"{MAILBOX}:{WRONG}{uuid4()}".encode()).decode()
    return {**web(lab, gateway, path, headers={"Authorization": f"Basic {token}"}, timeout=30), **more}


def reach(lab: Lab, host: str, address: str, port: int, source: str = "") -> str:
    """Return what a new connection comes to: ``open``, ``refused``, ``silent``, or the error."""
    (answer,) = ask(lab, host, {"kind": "tcp", "connect": address, "port": port, "timeout": 3, "source": source})
    error = answer.get("error", "")
    return {"ConnectionRefusedError": "refused", "TimeoutError": "silent"}.get(error.partition(":")[0], error or "open")


@contextmanager
def held(lab: Lab, address: str, port: int, source: str) -> Iterator[Future[dict[str, Any]]]:
    """A client that keeps one connection open, and only listens. Its answer tells how that ended."""
    request = {"send": f"GET /owa/hold?seconds=60 HTTP/1.1\r\nHost: {MAIL}\r\n\r\n"}
    steps = [request if port == 443 else {"expect": "SSH-2.0-"}, {"closed": 45}]
    talk = {"kind": "dialogue", "connect": address, "port": port, "source": source, "server_name": MAIL, "steps": steps}
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, lab, "client", {**talk, "tls": "implicit" if port == 443 else "none"})
        host = f"[{source}]" if ":" in source else source
        there = ["ss", "-Htn", "state", "established", f"dst {host}"]
        gateway = next(name for name in GATEWAYS if address in (lab.address(name, "outside", f) for f in (4, 6)))
        assert wait_for(lambda: f":{port} " in lab.exec(gateway, there).stdout)
        yield _First(waiting)


class _First(Future[dict[str, Any]]):
    """The one answer of a client."""

    def __init__(self, waiting: Future[list[dict[str, Any]]]) -> None:
        super().__init__()
        self.waiting = waiting

    def result(self, timeout: float | None = None) -> dict[str, Any]:
        return self.waiting.result(timeout)[0]


def ended(answer: dict[str, Any]) -> bool:
    """Tell whether a connection that was held ended by itself; TLS shows a reset as an end."""
    return "closed" in answer or answer.get("error", "").startswith("ConnectionResetError")


def banned(lab: Lab, gateway: str, jail: str) -> list[str]:
    """Return who is banned in a jail."""
    return lab.exec(gateway, ["fail2ban-client", "get", jail, "banip"], check=False).stdout.split()


def is_banned(lab: Lab, gateway: str, jail: str, address: str) -> bool:
    """Wait until an address is banned; tell whether it came to that."""
    return wait_for(lambda: address in banned(lab, gateway, jail))


def elements(lab: Lab, gateway: str, jail: str) -> set[str]:
    """Return who is banned in a jail as the kernel knows it."""
    listed = json.loads(lab.exec(gateway, ["nft", "-j", "list", "table", "inet", f"f2b-{jail}"]).stdout)["nftables"]
    found = set()
    for entry in listed:
        for element in entry.get("set", {}).get("elem", ()):
            prefix = element.get("prefix") if isinstance(element, dict) else None
            found.add(f"{prefix['addr']}/{prefix['len']}" if prefix else element)
    return found


def caught_up(lab: Lab, gateway: str, strangers: Strangers, *jails: str) -> None:
    """Wait until jails have read everything up to now: somebody else fails after it, and is banned."""
    source, address = strangers.address(), lab.address(gateway, "outside")
    if "sshd" in jails:
        fail_at_ssh(lab, "client", address, source, SSH_RETRIES)
    if "haproxy-logons" in jails:
        ask(lab, "client", *[form(lab, gateway, source=source)] * LOGON_RETRIES)
    for jail in jails:
        assert is_banned(lab, gateway, jail, source)
    unban(lab, gateway, source)


def unban(lab: Lab, gateway: str, *addresses: str) -> None:
    lab.exec(gateway, ["fail2ban-client", "unban", *addresses])


def files(lab: Lab, gateway: str) -> list[str]:
    """Return what is below /etc/fail2ban, as lines that two times can be compared by."""
    return lab.exec(gateway, ["sh", "-c", FILES]).stdout.splitlines()


def active(lab: Lab, gateway: str) -> list[str]:
    """Return the names of the active jails."""
    return _jails(lab.exec(gateway, ["fail2ban-client", "status"]).stdout)


def _jails(status: str) -> list[str]:
    return sorted(name.strip() for name in status.partition("Jail list:")[2].split(",") if name.strip())


def restart(lab: Lab, gateway: str) -> None:
    """Restart Fail2Ban, and wait until it has its jails again: systemd takes it for started before it answers."""
    before = active(lab, gateway)
    lab.exec(gateway, ["systemctl", "restart", "fail2ban"])
    # Nobody answers at first, which is no failure: that it never does is one.
    asked = ["fail2ban-client", "status"]
    assert wait_for(lambda: _jails(lab.exec(gateway, asked, check=False).stdout) == before)


def converge(variables: dict[str, Any] | None = None, *arguments: str) -> Run:
    return play(CONVERGE, *arguments, variables=variables)
