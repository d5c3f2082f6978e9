"""The whole site does what the declaration says, asked with real clients from the right places."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from lab import Lab
from plays import play
from powershell import absence
from probes.checks import CHECKS, NEEDING_POWERSHELL, Row
from snapshots import snapshot

MOST_TASKS = 30
OPTIONS = "/etc/letsencrypt/postern.ini"


def test_a_second_check_shows_nothing_in_few_tasks_and_no_secret(lab: Lab) -> None:
    """That a second run changes nothing is known by now; a check has the same tasks."""
    before = snapshot(lab, "gw1")
    run = play("playbooks/site.yml", "--check", "--diff", "-vvv")
    assert run.status == 0, run.output
    assert run.changed == 0, run.output
    assert "+++ " not in run.output
    assert snapshot(lab, "gw1") == before
    tasks = {host: sum(counts[name] for name in ("ok", "skipped")) for host, counts in run.recap.items()}
    assert max(tasks.values()) <= MOST_TASKS, tasks
    (secret,) = re.findall(r"^eab-hmac-key = (\S+)$", lab.exec("gw1", ["cat", OPTIONS]).stdout, re.MULTILINE)
    assert secret not in run.output


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_gateway_does_what_is_declared(lab: Lab, gateway: str, check: Callable[[Lab, str], list[Row]]) -> None:
    if check in NEEDING_POWERSHELL and not lab.powershell:
        pytest.skip(absence())
    rows = check(lab, gateway)
    assert rows
    assert [row for row in rows if not row.right] == []
