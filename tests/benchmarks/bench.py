"""Measures the lab's gateways and says what came: ``make bench``, or this program with the names of single parts.

Exits with 1 if a promise isn't kept. README.md says what is measured, how, and what came.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import firewall, reloads, silent, tasks, throughput
from lab import Lab
from plays import play
from strangers import among_strangers

GATEWAYS = {"gw1": "HAProxy 2.6", "gw2": "HAProxy 3.0"}
MOST_TASKS = 30
LEAST_THROUGHPUT = 0.95
RELOADS = 20
PAIRS = 5  # of runs on the converged gateway
FIREWALL_PAIRS = 5
MOST_AGAIN, MOST_FIRST = 1.2, 2.0  # of 300 firewall rules against 3
ROUNDS = 36  # of each configuration in turn


def say(text: str) -> None:
    print(text, flush=True)


def tasks_part(_lab: Lab) -> bool:
    found = tasks.measure("gw1", PAIRS)
    say(f"  {found.tasks} tasks (at most {MOST_TASKS}); {found.ratio:.2f} times the time of as many empty ones")
    say(f"  ({PAIRS} pairs: {', '.join(f'{ratio:.2f}' for ratio in found.ratios)})")
    return found.tasks <= MOST_TASKS


def throughput_part(lab: Lab) -> bool:
    kept = True
    for gateway, version in GATEWAYS.items():
        for found in throughput.measure(lab, gateway, ROUNDS):
            low, high = found.spread
            say(
                f"  {version}, {found.protocol:5} rendered : {found.against:6} = {found.throughput:.2f} in throughput"
                f" (half of the rounds from {low:.2f} to {high:.2f}), {found.cpu:.2f} in CPU time of HAProxy"
            )
            kept &= found.against != "bare" or found.throughput >= LEAST_THROUGHPUT
    return kept


def reloads_part(lab: Lab) -> bool:
    kept = True
    for gateway, found in reloads.reload_under_load(lab, GATEWAYS, RELOADS).items():
        say(f"  {GATEWAYS[gateway]}: {found.reloads} reloads, {len(found.failed)} failed")
        for name, kind in found.kinds.items():
            ends = f"; connections ended: {kind.announced} announced, {kind.noticed} not" * bool(kind.announced)
            done = f"{kind.done:6} done, {kind.crossed:4} of them across a reload, {len(kind.failed)} failed"
            say(f"    {name:20} {done}{ends}")
        for failure in found.failed[:10]:
            say(f"    {failure}")
        kept &= found.reloads == RELOADS and not found.failed
    return kept


def firewall_part(lab: Lab) -> bool:
    try:
        found = firewall.growth(lab, FIREWALL_PAIRS)
        for name, ratio, ratios, most in (
            ("again", found.again, found.all_again, MOST_AGAIN),
            ("the first time", found.first, found.all_first, MOST_FIRST),
        ):
            each = ", ".join(f"{one:.2f}" for one in ratios)
            say(f"  {firewall.MANY} rules : {firewall.FEW}, {name}: {ratio:.2f} (at most {most}; pairs: {each})")
        for count in firewall.COUNTS:
            other = firewall.against(lab, count)
            say(f"  {count} rules, community.general.ufw : ours = {other.first:.1f} first, {other.again:.1f} again")
    finally:
        firewall.off(lab)
        play("playbooks/gateway.yml", "--limit", f"{firewall.GATEWAY},localhost")
    return found.again <= MOST_AGAIN and found.first <= MOST_FIRST


def silent_part(lab: Lab) -> bool:
    kept = True
    with among_strangers(lab) as strangers:
        for gateway, version in GATEWAYS.items():
            addresses = [strangers.address() for _ in range(silent.ADDRESSES + 1)]
            for found in silent.measure(lab, gateway, addresses, addresses[-1]):
                times = f"{found.meanwhile * 1000:.1f} ms, before {found.before * 1000:.1f} ms: {found.ratio:.2f}"
                say(
                    f"  {version}, {found.protocol:10} {found.held} stand: first byte after {times}"
                    f" (at most {silent.MOST}); not served {found.refused} of {silent.ASKED} times"
                )
                kept &= found.ratio <= silent.MOST and not found.refused
    return kept


PARTS: dict[str, tuple[str, Callable[[Lab], bool]]] = {
    "tasks": ("A run on a converged gateway, against empty tasks", tasks_part),
    "firewall": ("Many firewall rules against few, and against one module run a rule", firewall_part),
    "throughput": ("Throughput, against a bare configuration", throughput_part),
    "silent": ("Thousands of silent connections, and somebody else", silent_part),
    "reloads": ("Reloads under load", reloads_part),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.py", description="Measure the lab's gateways.")
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=f"{', '.join(PARTS)}; all by default"
    )
    chosen = parser.parse_args().parts or list(PARTS)
    lab = Lab.load()
    began = time.monotonic()
    run = play("playbooks/gateway.yml")
    if run.status:
        say(run.output)
        return 1
    say(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; the gateways are provisioned ({run.seconds:.0f} s)")
    missed = []
    for name in chosen:
        title, measure = PARTS[name]
        start = time.monotonic()
        say(f"\n{title}")
        if not measure(lab):
            missed.append(name)
        say(f"  ({time.monotonic() - start:.0f} s)")
    say(
        f"\n{time.monotonic() - began:.0f} s in all. "
        + (f"MISSED: {', '.join(missed)}" if missed else "Every promise is kept.")
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
