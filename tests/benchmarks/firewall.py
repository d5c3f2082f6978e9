"""What many firewall rules cost: the role against itself with few, and its module against one module run a rule.

The peer is ``community.general.ufw``. It comes with the PyPI package `ansible`, which nothing else here needs: it has a
virtual environment of its own (``requirements-peer.txt``).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import Lab
from plays import ROOT

HERE = Path(__file__).resolve().parent
GENERATED = ROOT / ".cache" / "benchmarks"
PEER = GENERATED / "peer"
GATEWAY = "gw1"
FEW, MANY = 3, 300
COUNTS = (10, 100)

ROLE = """
- hosts: gw1
  gather_facts: false
  become: true
  roles:
    - role: postern.mail_gateway.firewall
      vars: {firewall_rules: "{{ rules }}"}
"""
TASK = """
- hosts: gw1
  gather_facts: false
  become: true
  tasks:
    - ansible.builtin.ping:
    - ansible.builtin.debug: {msg: "BEGIN {{ now().timestamp() }}"}
    - ACTION
    - ansible.builtin.debug: {msg: "END {{ now().timestamp() }}"}
"""
OURS = TASK.replace("ACTION", 'postern.mail_gateway.ufw_rules: {rules: "{{ rules }}"}')
THEIRS = TASK.replace(
    "ACTION",
    """community.general.ufw:
        rule: allow
        to_port: "{{ item.ports[0] | string }}"
        proto: tcp
        from_ip: "{{ item.sources[0] | default('any') }}"
        comment: "{{ item.comment }}"
      loop: "{{ rules }}"
      loop_control: {label: "{{ item.ports[0] }}"}""",
)


@dataclass(frozen=True)
class Growth:
    """MANY rules against FEW: whole runs of the role, in turns; each the median of the pairs, and all of them."""

    first: float
    again: float
    all_first: list[float]
    all_again: list[float]


@dataclass(frozen=True)
class Against:
    """The peer's task against ours, with so many rules."""

    count: int
    first: float
    again: float


def rules(lab: Lab, count: int) -> list[dict[str, Any]]:
    """Return SSH for the administrators, and others up to a number."""
    ssh = {"ports": [22], "protocol": "tcp", "sources": [f"10.{lab.slot}.3.0/24"], "comment": "ssh"}
    more = [{"ports": [10000 + n], "protocol": "tcp", "comment": f"rule {n}"} for n in range(count - 1)]
    return [ssh, *more]


def run(text: str, wanted: list[dict[str, Any]], binaries: Path, collections: str) -> tuple[float, str]:
    """Run a playbook; return its seconds and its output."""
    GENERATED.mkdir(parents=True, exist_ok=True)
    playbook = GENERATED / "firewall.yml"
    playbook.write_text(text, encoding="utf-8")
    command = [binaries / "ansible-playbook", "-i", ROOT / "inventory" / "lab", playbook]
    environment = {"ANSIBLE_COLLECTIONS_PATH": collections, "ANSIBLE_PIPELINING": "1", "ANSIBLE_NOCOLOR": "1"}
    began = time.monotonic()
    done = subprocess.run(
        [*map(str, command), "-e", json.dumps({"rules": wanted})],
        cwd=GENERATED,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)
    return time.monotonic() - began, done.stdout


def run_of_role(lab: Lab, count: int) -> float:
    """Return the seconds of a whole run of the role."""
    return run(ROLE, rules(lab, count), Path(sys.executable).parent, str(ROOT / ".cache" / "collections"))[0]


def task_of(lab: Lab, text: str, count: int, binaries: Path, collections: str) -> float:
    """Return the seconds between the marks BEGIN and END of a run."""
    output = run(text, rules(lab, count), binaries, collections)[1]
    marks = [float(line.split()[-1].strip('"')) for line in output.splitlines() if "BEGIN " in line or "END " in line]
    begin, end = marks
    return end - begin


def bare(lab: Lab) -> None:
    """Leave ufw on, with SSH by hand as its only rule."""
    script = (
        f"ufw --force reset >/dev/null; rm -f /etc/ufw/*.20*; ufw allow from 10.{lab.slot}.3.0/24 to any port 22 "
        "proto tcp >/dev/null; ufw --force enable >/dev/null"
    )
    lab.exec(GATEWAY, ["sh", "-c", script])


def growth(lab: Lab, pairs: int) -> Growth:
    """Measure the first run with so many rules, and the next one, which changes nothing."""
    run_of_role(lab, FEW)  # the package, and Ansible's own caches
    first, again = [], []
    for number in range(pairs):
        counts = (FEW, MANY) if number % 2 else (MANY, FEW)
        times = {}
        for count in counts:
            bare(lab)
            times[count] = (run_of_role(lab, count), run_of_role(lab, count))
        first.append(times[MANY][0] / times[FEW][0])
        again.append(times[MANY][1] / times[FEW][1])
    return Growth(statistics.median(first), statistics.median(again), first, again)


def peer() -> Path:
    """Return the folder of the peer's programs; install it where it isn't."""
    binaries = PEER / "bin"
    if not (binaries / "ansible-playbook").exists():
        venv.create(PEER, with_pip=True)
        install = [binaries / "pip", "install", "--quiet", "--requirement", HERE / "requirements-peer.txt"]
        subprocess.run([str(part) for part in install], check=True)
    return binaries


def against(lab: Lab, count: int) -> Against:
    """Measure the module and the peer with so many rules."""
    own, collections = Path(sys.executable).parent, str(ROOT / ".cache" / "collections")
    found = {}
    for name, text, binaries, path in (("ours", OURS, own, collections), ("theirs", THEIRS, peer(), "")):
        bare(lab)
        found[name] = [task_of(lab, text, count, binaries, path) for _ in range(2)]
    first, again = (theirs / ours for theirs, ours in zip(found["theirs"], found["ours"], strict=True))
    return Against(count, first, again)


def off(lab: Lab) -> None:
    """Leave no firewall behind: who comes after this decides for himself."""
    lab.exec(GATEWAY, ["sh", "-c", "ufw --force reset >/dev/null; rm -f /etc/ufw/*.20*"])
