"""Ways to lock oneself out, as far as there is time for them here; ``make trials`` tries them all."""

from __future__ import annotations

from typing import Any

import pytest
from lockouts.trials import Trial, carried_out, chosen, ended_well

from lab import Lab

TRIALS = chosen(
    "firewall",
    (
        "default deny without SSH",
        "a controller on IPv6, and rules for IPv4",
        "a jump host, and a rule for the controller's own address",
        "a line in before.rules that iptables doesn't take",
        "a full disk",
        "before.rules that drop new SSH connections",
    ),
)


@pytest.fixture(scope="module")
def results(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], dict[str, Any]]:
    return carried_out(lab, TRIALS, tmp_path_factory.mktemp("trials"))


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.name)
def test_nobody_is_locked_out_by(
    trial: Trial, results: dict[tuple[str, str, str], dict[str, Any]], gateway: str
) -> None:
    ended_well(trial, results[trial.role, trial.name, gateway])
