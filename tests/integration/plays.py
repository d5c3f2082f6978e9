"""Playbooks run as a person runs them, and what came of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = ROOT / "inventory" / "lab"
_RECAP = re.compile(r"^(?P<host>\S+)\s+: (?P<counts>ok=\d+.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """One run of ansible-playbook: ``recap`` is host → counter → number, as in the play recap."""

    status: int
    output: str
    recap: dict[str, dict[str, int]]
    seconds: float

    @property
    def changed(self) -> int:
        return sum(counts["changed"] for counts in self.recap.values())

    @property
    def failures(self) -> dict[str, str]:
        """What each host's failed task said."""
        found = re.finditer(r"^fatal: \[(\S+?)\]: FAILED! => (\{.*\})$", self.output, re.MULTILINE)
        return {line[1]: json.loads(line[2]).get("msg", "") for line in found}

    @property
    def text(self) -> str:
        """The output without line breaks and JSON's escapes, for finding sentences in it."""
        return re.sub(r"\s+", " ", self.output.replace('\\"', '"').replace("\\n", " "))


def play(
    playbook: str | Path,
    *arguments: str,
    variables: dict[str, Any] | None = None,
    limit: float = 600,
    inventory: Path = INVENTORY,
) -> Run:
    """Run a playbook against the lab's inventory, or another one; never raise because of its exit status.

    :param playbook: relative to the root of the checkout.
    :param variables: extra variables, which win over everything else.
    :param limit: seconds that it may take.
    """
    # make test has the scenario default run with the oldest ansible-core that is promised.
    folder = os.environ.get("POSTERN_ANSIBLE") or Path(sys.executable).parent
    command = [f"{folder}/ansible-playbook", "-i", str(inventory), str(ROOT / playbook)]
    if variables:
        command += ["-e", json.dumps(variables)]
    environment = {
        **os.environ,
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    }
    began = time.monotonic()
    done = subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=limit,
    )
    recap = {
        match["host"]: {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", match["counts"])}
        for match in _RECAP.finditer(done.stdout)
    }
    return Run(done.returncode, done.stdout, recap, time.monotonic() - began)


def tried(
    trials_of: str, *trials: dict[str, Any], arguments: tuple[str, ...] = (), host: str = "gw1", **variables: Any
) -> list[Any]:
    """Run a role's module once for each trial on a gateway, all in one play; return the results in order.

    :param trials_of: the folder of the role's tests, which has the playbook ``trials.yml``.
    """
    playbook = Path(__file__).parent / trials_of / "trials.yml"
    run = play(playbook, *arguments, variables={"trials": trials, "trial_host": host, **variables})
    marked = [line.partition("RESULTS ")[2] for line in run.output.splitlines() if "RESULTS " in line]
    assert marked, run.output
    results: list[Any] = json.loads(json.loads('"' + marked[-1].rstrip('"') + '"'))
    return results
