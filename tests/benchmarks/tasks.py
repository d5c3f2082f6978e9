"""What a run on a converged gateway costs: its tasks, and its time against as many tasks that do nothing."""

from __future__ import annotations

import json
import re
import statistics
from dataclasses import dataclass

from plays import ROOT, Run, play

GENERATED = ROOT / ".cache" / "benchmarks"


@dataclass(frozen=True)
class Converged:
    """Attributes: tasks of one run, and its time relative to as many empty ones: the median, and all of them."""

    tasks: int
    ratio: float
    ratios: list[float]


def tasks_of(run: Run) -> int:
    """Count the tasks that ran or were skipped, on any host."""
    return len(re.findall(r"^TASK \[", run.output, re.MULTILINE))


def empty_playbook(tasks: int) -> str:
    """Write a playbook with so many ``ping`` tasks, otherwise like ``playbooks/gateway.yml``."""
    play_of_pings = {
        "name": "Do nothing",
        "hosts": "gateways",
        "gather_facts": False,
        "become": True,
        "tasks": [{"name": f"Ping {number}", "ansible.builtin.ping": {}} for number in range(1, tasks + 1)],
    }
    GENERATED.mkdir(parents=True, exist_ok=True)
    path = GENERATED / "pings.yml"
    path.write_text(json.dumps([play_of_pings]), encoding="utf-8")
    return str(path)


def measure(gateway: str, pairs: int) -> Converged:
    """Run the playbook and its empty counterpart in turns on one gateway, which must be converged."""

    def run(playbook: str) -> Run:
        done = play(playbook, "--limit", f"{gateway},localhost")
        if done.status or done.changed:
            raise AssertionError(f"{gateway} isn't converged:\n{done.output}")
        return done

    tasks = tasks_of(run("playbooks/gateway.yml"))
    empty = empty_playbook(tasks)
    ratios = []
    for number in range(pairs):
        playbooks = ["playbooks/gateway.yml", empty]
        times = {playbook: run(playbook).seconds for playbook in playbooks[:: -1 if number % 2 else 1]}
        ratios.append(times["playbooks/gateway.yml"] / times[empty])
    return Converged(tasks, statistics.median(ratios), ratios)
