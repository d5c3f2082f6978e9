"""The trials' hosts: bare, then with both roles; and the page that says what came of each, ``make trials``."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator

import pytest
from lockouts.trials import HEADINGS, PAGE

from lab import Lab
from lab.topology import GATEWAYS
from plays import play

rows: list[tuple[str, str, str, str, str, float]] = []


@pytest.fixture(scope="session")
def hosts(lab: Lab) -> Iterator[Lab]:
    """gw1 with ssh.service, gw2 with ssh.socket, both with both roles as their scenarios have them."""
    lab.reset(GATEWAYS)
    lab.exec("gw2", ["systemctl", "disable", "--quiet", "--now", "ssh.service"])
    lab.exec("gw2", ["systemctl", "enable", "--quiet", "--now", "ssh.socket"])
    for role in ("sshd", "firewall"):
        run = play(f"molecule/{role}/converge.yml")
        assert run.status == 0, run.output
    yield lab
    lab.reset(GATEWAYS)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        # Trials share one play, which knows the time of each; another test takes as long as itself.
        seconds = float(dict(report.user_properties).get("seconds", report.duration))
        rows.extend((*value, seconds) for name, value in report.user_properties if name == "trial")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if os.environ.get("POSTERN_TRIALS_PAGE") and exitstatus == 0 and rows:
        PAGE.write_text(page(session.testscollected))


def page(tests: int) -> str:
    """The page, from what was just tried."""
    trials = {(role, name): (end, said) for role, name, _gateway, end, said, _seconds in reversed(rows)}
    ordered = list(dict.fromkeys((role, name) for role, name, *_ in rows))
    passed = {key: {gateway for role, name, gateway, *_ in rows if (role, name) == key} for key in ordered}
    seconds = {key: max(row[-1] for row in rows if row[:2] == key) for key in ordered}
    lines = [
        "# Ways to lock oneself out",
        "",
        "Written by `make trials`, which tries each of these on a Debian 12 host (`ssh.service`) and a Debian 13 host",
        "(`ssh.socket`) over real SSH. After each, a fresh logon with the same credentials worked on both hosts, and",
        "their settings (`/etc/ssh`, `/etc/ufw`, systemd's units, accounts, ports, the kernel's filter tables) were",
        "what they were. The sentence is that of the Debian 12 host, with the lab's addresses; the seconds are those",
        "of the slower host, with the logon. The quickest are tried by `make test` too.",
        "",
        f"{time.strftime('%Y-%m-%d')}: {len(ordered)} ways, {tests} tests, all passed.",
    ]
    for role, heading in HEADINGS.items():
        lines += ["", f"## {heading}", "", "| way | Debian 12, 13 | seconds | what was said |", "|---|---|---|---|"]
        for key in ordered:
            if key[0] == role:
                end, said = trials[key]
                assert passed[key] == set(GATEWAYS), key
                lines.append(f"| {key[1]} | {end} | {seconds[key]:.1f} | {shown(said)} |")
    return "\n".join(lines) + "\n"


def shown(said: str) -> str:
    """A sentence as a cell of a table."""
    text = re.sub(r"\s+", " ", said).replace("|", "\\|").replace("<", "&lt;")
    # Keys and files of this lab say nothing to a reader.
    return re.sub(r"/\S*/\.cache/lab\d*/", "…/", text)
