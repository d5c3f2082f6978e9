"""docs/lockout-trials.md tells of every way that is tried, and the trials say something about every one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "integration"))

from lockouts.trials import BOTH, KEPT, PAGE, QUICKEST, TRIALS, Trial, measured, often


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: f"{trial.role}: {trial.name}")
def test_the_page_tells_of_it(trial: Trial) -> None:
    end = "rolled back" if trial.rolled_back else "refused"
    page = PAGE.read_text(encoding="utf-8")
    assert f"\n| {trial.name} | {end} | " in page, "The page is stale; run make trials."
    assert measured(page)[trial.role, trial.name] > 0


def test_each_has_a_name_of_its_own() -> None:
    names = [(trial.role, trial.name) for trial in TRIALS]
    assert len(set(names)) == len(names)
    assert len(names) >= 25


def test_the_quickest_and_those_that_are_kept_are_tried_often() -> None:
    chosen = [trial for role in KEPT for trial in often(role)]
    assert all(names <= {trial.name for trial in often(role)} for role, names in KEPT.items())
    times = measured(PAGE.read_text(encoding="utf-8"))
    quick = sorted(times[trial.role, trial.name] for trial in chosen)[:QUICKEST]
    # Those that need both roles have no scenario.
    left = [trial for trial in TRIALS if trial not in (*chosen, *BOTH)]
    assert all(times[trial.role, trial.name] >= quick[-1] for trial in left)
    assert {trial.rolled_back for trial in chosen} == {True, False}
