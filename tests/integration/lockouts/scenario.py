"""The trials that a role's scenario has time for, as tests; ``make trials`` tries them all.

The scenario's own file takes these names over and says which ``ROLE`` it is about.
"""

from __future__ import annotations

from typing import Any

import pytest
from lockouts.trials import Trial, carried_out, ended_well, often

from lab import Lab


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "trial" in metafunc.fixturenames:
        metafunc.parametrize("trial", often(metafunc.module.ROLE), ids=lambda trial: trial.name)


@pytest.fixture(scope="module")
def results(
    lab: Lab, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str, str], dict[str, Any]]:
    return carried_out(lab, often(request.module.ROLE), tmp_path_factory.mktemp("trials"))


def test_nobody_is_locked_out_by(
    trial: Trial, results: dict[tuple[str, str, str], dict[str, Any]], gateway: str
) -> None:
    ended_well(trial, results[trial.role, trial.name, gateway])
