"""Every way to lock oneself out that is known here ends in a refusal, or in a host that went back by itself."""

from __future__ import annotations

from typing import Any

import pytest
from lockouts.trials import TRIALS, Trial, carried_out, ended_well

from lab import Lab


@pytest.fixture(scope="module")
def results(hosts: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], dict[str, Any]]:
    return carried_out(hosts, TRIALS, tmp_path_factory.mktemp("trials"))


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: f"{trial.role}: {trial.name}")
def test_nobody_is_locked_out_by(
    trial: Trial, results: dict[tuple[str, str, str], dict[str, Any]], gateway: str, record_property: Any
) -> None:
    result = results[trial.role, trial.name, gateway]
    ended_well(trial, result)
    end = "rolled back" if trial.rolled_back else "refused"
    record_property("trial", (trial.role, trial.name, gateway, end, result["said"]))
    record_property("seconds", result["seconds"])
