#!/usr/bin/env python3
"""Measure the module ufw_rules on the lab's gw1, against itself with more rules and against community.general.ufw.

    .cache/venv/bin/python tests/benchmarks/firewall.py [PEER_PYTHON_FOLDER [COUNT …]]

The second half needs the PyPI package `ansible`, which brings community.general, in a virtual environment of its own
(its folder `bin` is the argument). Both run over the same SSH connection settings, with pipelining; the time is that of
the task alone, as the play's own clock has it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from lab import Lab  # noqa: E402 (found by the line above)

OURS = """
- hosts: gw1
  gather_facts: false
  become: true
  tasks:
    - ansible.builtin.ping:
    - ansible.builtin.debug: {msg: "BEGIN {{ now().timestamp() }}"}
    - postern.mail_gateway.ufw_rules:
        rules: "{{ rules }}"
    - ansible.builtin.debug: {msg: "END {{ now().timestamp() }}"}
"""
PEER = """
- hosts: gw1
  gather_facts: false
  become: true
  tasks:
    - ansible.builtin.ping:
    - ansible.builtin.debug: {msg: "BEGIN {{ now().timestamp() }}"}
    - community.general.ufw:
        rule: "{{ item.action | default('allow') }}"
        to_port: "{{ item.ports[0] | string }}"
        proto: tcp
        from_ip: "{{ item.sources[0] | default('any') }}"
        comment: "{{ item.comment }}"
      loop: "{{ rules }}"
      loop_control: {label: "{{ item.ports[0] }}"}
    - ansible.builtin.debug: {msg: "END {{ now().timestamp() }}"}
"""


def rules(lab: Lab, count: int) -> list[dict[str, Any]]:
    """Return SSH for the administrators, and others up to a number."""
    ssh = {"ports": [22], "protocol": "tcp", "sources": [f"10.{lab.slot}.3.0/24"], "comment": "ssh"}
    more = [{"ports": [10000 + n], "protocol": "tcp", "comment": f"rule {n}"} for n in range(count - 1)]
    return [ssh, *more]


def measured(text: str, wanted: list[dict[str, Any]], binaries: Path, collections: str) -> float:
    """Return the seconds that the task between BEGIN and END took."""
    with tempfile.TemporaryDirectory() as folder:
        playbook = Path(folder, "play.yml")
        playbook.write_text(text, encoding="utf-8")
        command = [binaries / "ansible-playbook", "-i", ROOT / "inventory" / "lab", playbook]
        done = subprocess.run(
            [*map(str, command), "-e", json.dumps({"rules": wanted})],
            cwd=folder,
            env={
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": collections,
                "ANSIBLE_PIPELINING": "1",
                "ANSIBLE_NOCOLOR": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
    marks = [
        float(line.split()[-1].strip('"')) for line in done.stdout.splitlines() if "BEGIN " in line or "END " in line
    ]
    if done.returncode or len(marks) != 2:
        sys.exit(done.stdout + done.stderr)
    return marks[1] - marks[0]


def bare(lab: Lab) -> None:
    """Leave ufw on, with SSH as its only rule."""
    script = (
        f"ufw --force reset >/dev/null; rm -f /etc/ufw/*.20*; ufw allow from 10.{lab.slot}.3.0/24 to any port 22 "
        "proto tcp >/dev/null; ufw --force enable >/dev/null"
    )
    lab.exec("gw1", ["sh", "-c", script])


def main() -> None:
    """Measure, and print each figure as it comes."""
    lab = Lab.load()
    own, ours = Path(sys.executable).parent, str(ROOT / ".cache" / "collections")
    peer = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    counts = [int(count) for count in sys.argv[2:]] or [10, 100]
    print(time.strftime("%Y-%m-%d"), "seconds of the task: first time, again", flush=True)
    rows: dict[int, tuple[float, float]] = {}
    for count in dict.fromkeys((3, 300, *counts)):
        rows[count] = twice(lab, f"ufw_rules, {count}", OURS, count, own, ours)
    first, again = (many / few for many, few in zip(rows[300], rows[3], strict=True))
    print(f"300 against 3 rules: {first:.2f} x the first time, {again:.2f} x again", flush=True)
    for count in counts if peer else ():
        theirs = twice(lab, f"community.general.ufw, {count}", PEER, count, peer or own, "")
        first, again = (his / mine for his, mine in zip(theirs, rows[count], strict=True))
        print(f"{count} rules, community.general.ufw against ufw_rules: {first:.1f} x, again {again:.1f} x", flush=True)


def twice(lab: Lab, name: str, play: str, count: int, binaries: Path, collections: str) -> tuple[float, float]:
    """Measure the first time and again, and print both."""
    bare(lab)
    wanted = rules(lab, count)
    first = measured(play, wanted, binaries, collections)
    again = measured(play, wanted, binaries, collections)
    print(f"{name:30} {first:7.1f} {again:7.1f}", flush=True)
    return first, again


if __name__ == "__main__":
    main()
