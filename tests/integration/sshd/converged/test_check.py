"""``--check --diff`` on hosts that are as they should be: it shows nothing."""

from __future__ import annotations

from plays import play


def test_a_check_shows_nothing() -> None:
    run = play("molecule/sshd/converge.yml", "--check", "--diff")
    assert (run.status, run.changed) == (0, 0), run.output
    assert "+++ after" not in run.output
