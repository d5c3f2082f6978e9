"""docs/lockout-trials.md tells of every way that is tried, and the trials say something about every one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "integration"))

from lockouts.trials import TRIALS, Trial  # noqa: E402 (found by the line above)


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: f"{trial.role}: {trial.name}")
def test_the_page_tells_of_it(trial: Trial) -> None:
    end = "rolled back" if trial.rolled_back else "refused"
    page = (ROOT / "docs" / "lockout-trials.md").read_text()
    assert f"\n| {trial.name} | {end} | " in page, "The page is stale; run make trials."


def test_each_has_a_name_of_its_own() -> None:
    names = [(trial.role, trial.name) for trial in TRIALS]
    assert len(set(names)) == len(names)
    assert len(names) >= 25
