"""The rollback guard when things end in the middle; ``make trials`` goes further, and does it with the firewall too."""

from __future__ import annotations

from pathlib import Path

from lockouts import guarding

from lab import Lab


def test_the_controller_is_killed_before_it_confirms(lab: Lab, tmp_path: Path) -> None:
    guarding.controller_is_killed(lab, guarding.SSHD, tmp_path)


def test_a_second_run_and_a_restart_before_the_change_is_confirmed(lab: Lab, tmp_path: Path) -> None:
    guarding.host_is_restarted_while_a_second_run_waits(lab, guarding.SSHD, tmp_path)
