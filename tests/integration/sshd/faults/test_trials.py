"""Each way to lock oneself out ends in a refusal before the change, or in a host that went back by itself."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from trials import QUICK, TRIALS, Trial, play_of

from lab import Lab
from plays import play

CHOSEN = [trial for trial in TRIALS if not trial.rolled_back or trial.name in QUICK or os.environ.get("POSTERN_TRIALS")]


@pytest.fixture(scope="module")
def results(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trials")
    playbook = folder / "trials.yml"
    playbook.write_text(json.dumps(play_of(lab, CHOSEN)))
    run = play(playbook, variables={"results": str(folder)}, limit=1500)
    assert run.status == 0, run.output
    return folder


@pytest.mark.parametrize("trial", CHOSEN, ids=lambda trial: trial.name)
def test_nobody_is_locked_out_by(trial: Trial, results: Path, gateway: str) -> None:
    result = json.loads((results / f"{CHOSEN.index(trial)}-{gateway}.json").read_text())
    assert re.search(trial.sentence, result["said"]), result["said"]
    assert "Traceback" not in result["said"]
    assert str(result["logon"]).startswith("0 "), result["logon"]
    assert result["difference"] == []
