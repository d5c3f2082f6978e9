"""A module is killed on both gateways at a chosen moment of a run, and the run fails."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from lab import Lab
from lab.topology import GATEWAYS
from plays import Run

# Kills the process that holds a lock as soon as a path is there.
_WATCH = """
import glob, os, signal, sys, time
lock, path = sys.argv[1:]
until = time.monotonic() + 60
while time.monotonic() < until and not os.path.exists(path):
    time.sleep(0.0002)
for link in glob.glob("/proc/[0-9]*/fd/*"):
    try:
        if os.readlink(link) == lock:
            os.kill(int(link.split("/")[2]), signal.SIGKILL)
            print("killed")
    except OSError:
        pass
"""
# In the place of a program: kills who asks it for a reload.
_WRAPPER = """#!/bin/sh
[ "$1" = reload ] || exec {program} "$@"
{before}
kill -9 $PPID
"""


def when_there_is(lab: Lab, path: str, lock: str, run: Callable[[], Run]) -> None:
    """Kill the module, which holds the lock, as soon as the path is there."""
    watchers = [
        subprocess.Popen(lab.command(gateway, ["python3", "-c", _WATCH, lock, path]), stdout=subprocess.PIPE, text=True)
        for gateway in GATEWAYS
    ]
    try:
        done = run()
    finally:
        told = [watcher.communicate(timeout=90)[0].strip() for watcher in watchers]
    assert told == ["killed"] * len(GATEWAYS), told
    assert done.status != 0, done.output


def when_it_reloads(lab: Lab, program: str, run: Callable[[], Run], *, afterwards: bool = False) -> None:
    """Kill the module when it calls this program for a reload: before that, or after it was done."""
    name = program.rpartition("/")[2]
    before = f'{program} "$@"; sleep 1' if afterwards else ""
    for gateway in GATEWAYS:
        write = f"cat >/usr/local/bin/{name} && chmod 755 /usr/local/bin/{name}"
        lab.exec(gateway, ["sh", "-c", write], input=_WRAPPER.format(program=program, before=before))
    try:
        done = run()
    finally:
        for gateway in GATEWAYS:
            lab.exec(gateway, ["rm", f"/usr/local/bin/{name}"])
    assert done.status != 0, done.output
