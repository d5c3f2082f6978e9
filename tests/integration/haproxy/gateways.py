"""What the tests ask of a gateway itself: its runtime socket, its journal, its files."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from lab import Lab
from probes.checks import runtime

# Every file below /etc/haproxy, with its mode, owner and digest; symbolic links by what they point to.
_FILES = """
find /etc/haproxy -printf '%y %m %u:%g %p %l\\n' | sort
find /etc/haproxy -type f -exec sha256sum {} + | sort -k 2
"""


def info(lab: Lab, gateway: str) -> dict[str, str]:
    """Return what ``show info`` says: ``Pid`` and ``description`` among much else."""
    lines = runtime(lab, gateway, "show info").splitlines()
    return dict(line.split(": ", 1) for line in lines if ": " in line)


def main_pid(lab: Lab, gateway: str) -> str:
    """Return the process number of HAProxy's master, which stays over reloads."""
    return lab.exec(gateway, ["systemctl", "show", "--property=MainPID", "--value", "haproxy"]).stdout.strip()


def files(lab: Lab, gateway: str) -> list[str]:
    """Return what is below /etc/haproxy, as lines that two times can be compared by."""
    return lab.exec(gateway, ["sh", "-c", _FILES]).stdout.splitlines()


def log(lab: Lab, gateway: str, since: float) -> list[str]:
    """Return HAProxy's lines in the journal since a time (seconds since 1970)."""
    argv = ["journalctl", "--unit=haproxy", f"--since=@{since:.3f}", "--output=json", "--no-pager"]
    lines = [json.loads(line) for line in lab.exec(gateway, argv).stdout.splitlines()]
    return [str(line["MESSAGE"]) for line in lines if line.get("SYSLOG_IDENTIFIER") == "haproxy"]


def dropped_lines(lab: Lab, gateway: str) -> int:
    """Return how many lines of the log the running HAProxy has dropped.

    It never waits: when two of its threads write at the same moment, one may give up (``fd_write_frag_line``).
    """
    return int(info(lab, gateway)["DroppedLogs"])


def now(lab: Lab, gateway: str) -> float:
    """Return a moment after which everything is new; hosts of the lab share this machine's clock."""
    del lab, gateway
    return time.time()


_FIELD = re.compile(r'(?P<name>[a-z_]+)=(?P<value>"(?:[^"\\]|\\.)*"|[^" ]*)(?: |$)')


def fields(line: str) -> dict[str, Any] | None:
    """Return a line of the log as docs/gateway.md describes it; None for a line that isn't of this form."""
    found, position = {}, 0
    while position < len(line):
        match = _FIELD.match(line, position)
        if not match or match["name"] in found:
            return None
        value = match["value"]
        found[match["name"]] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        position = match.end()
    return found or None
