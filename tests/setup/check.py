#!/usr/bin/env python3
"""Run everything that must pass, and count: `make test`. With the argument `lint`, the linters alone.

A part is a list of commands. Three workers take the next part of one list as soon as they are through with one, and
each part is shown when it is through. Scenarios share the gateways of a lab, so each worker has a lab of its own, which
it brings up when it takes its first scenario; the images are made while the linters and the unit tests run.
Counted are: each linter, each test that pytest ran (by its JUnit files), and each step of a molecule scenario. A part
that fails without a failure to count counts as one, and so does one that nobody could run. What was skipped is named at
the end, with the reason. The total goes to `.cache/results/summary` as well.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from setup import OLDEST_PROGRAMS

from progress import MARK, alive, say

RESULTS = ROOT / ".cache" / "results"
LAB = [sys.executable, "tests/lab/lab"]

#: A step in molecule's closing report, which begins with REPORT: `haproxy > converge: Executed: Successful`,
#: with an arrow where there are colours.
STEP = re.compile(r"(?:➜|>) (?P<step>\w+): Executed: (?P<result>Successful|Failed)")
REPORT = "DETAILS"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
#: How far pytest is, at the end of a line of dots.
PERCENT = re.compile(r"\[ *(\d+)%\]$")
#: What a run takes with nothing but a clone, and with what an earlier one left.
DURATION = "about 22 minutes on two cores the first time, and 20 again"


@dataclass
class Part:
    """Commands that run one after the other; the first that fails ends those parts that don't go on."""

    title: str
    commands: list[list[str]]
    needs_lab: bool = False
    counts_commands: bool = False
    goes_on: bool = False
    programs: str = ""  # a folder whose programs go before all others
    passed: int = 0
    failed: int = 0
    skipped: Counter[tuple[str, str]] = field(default_factory=Counter)  # file and reason
    output: list[str] = field(default_factory=list)

    @property
    def results(self) -> Path:
        """Where pytest writes what became of this part's tests."""
        return RESULTS / re.sub(r"\W+", "-", self.title)

    @property
    def stage(self) -> str:
        """Where a part that is running is, as far as its output says."""
        for line in reversed(self.output[-50:]):
            if found := PERCENT.search(line.rstrip()):
                return f"{self.title} ({found[1]} %)"
        return self.title


LINT = Part(
    "lint",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["yamllint", "--strict", "."],
        ["ansible-lint", "--offline", "--nocolor"],
        ["antsibull-changelog", "lint"],
    ],
    counts_commands=True,
    goes_on=True,
)
UNIT = Part("unit", [["pytest", "--quiet", "--numprocesses=2"]])
FRESH = Part("a new machine", [["pytest", "--quiet", "tests/integration/fresh"]])
#: The longest first, so that the last ones end at about the same time.
SCENARIOS = ("default", "exchange", "fail2ban", "haproxy", "letsencrypt", "sshd", "firewall")
OLDEST_SCENARIO = "default"
LABS = ("", "2", "3")


def scenario(name: str) -> Part:
    """Return the part that is a scenario of molecule."""
    command = ["molecule", "test", "--no-command-borders", "--scenario-name", name]
    # The whole of the product once with the oldest ansible-core that is promised.
    programs = str(OLDEST_PROGRAMS) if name == OLDEST_SCENARIO else ""
    return Part(f"molecule {name}", [command], needs_lab=True, programs=programs)


def run(part: Part, lab: str = "", *, live: bool = False) -> None:
    """Run a part and count. Its output is printed as it comes, or else when the part is through."""
    start = time.monotonic()
    shutil.rmtree(part.results, ignore_errors=True)
    part.results.mkdir(parents=True)
    environment = {
        **os.environ,
        # Once more in front: a Python that is started through pyenv puts its own programs there.
        "PATH": ":".join(filter(None, [part.programs, str(ROOT / ".cache" / "venv" / "bin"), os.environ["PATH"]])),
        "POSTERN_ANSIBLE": part.programs,
        "POSTERN_LAB": lab,
        "POSTERN_RESULTS": str(part.results),
        "PYTEST_ADDOPTS": "-p junit_results",
        "PYTHONPATH": str(ROOT / "tests" / "setup"),
        "PYTHONUNBUFFERED": "1",
    }
    if not sys.stdout.isatty():
        environment |= {"NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1"}
    say(f"==> {part.title}")
    statuses = []
    for command in part.commands:
        try:
            statuses.append(_execute(part, command, environment, live=live))
        except OSError as error:
            part.output.append(f"{error}\n")
            statuses.append(1)
        if statuses[-1] and not part.goes_on:
            break
    _count(part, statuses)
    if not live:
        say(f"==> {part.title}: the output\n" + "".join(part.output).rstrip())
    say(f"    {part.title}: {part.passed} passed, {part.failed} failed, {time.monotonic() - start:.0f} s")


def _execute(part: Part, command: list[str], environment: dict[str, str], *, live: bool) -> int:
    """Run a command, keep its output, return its exit status."""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if not line.startswith(MARK):
                part.output.append(line)
            if live:
                print(line, end="", flush=True)
    return process.returncode


def _count(part: Part, statuses: list[int]) -> None:
    """Add up what a part's commands have to tell."""
    if part.counts_commands:
        part.failed = sum(status != 0 for status in statuses)
        part.passed = len(statuses) - part.failed
    reports = list(part.results.glob("*.xml"))
    for file in reports:
        try:
            suites = list(ET.parse(file).getroot().iter("testsuite"))  # noqa: S314 - pytest wrote it
        except ET.ParseError:
            part.failed += 1
            continue
        for suite in suites:
            tests, errors, failures, skipped = (
                int(suite.get(name, "0")) for name in ("tests", "errors", "failures", "skipped")
            )
            part.passed += tests - errors - failures - skipped
            part.failed += errors + failures
            for case in suite.iter("testcase"):
                part.skipped.update(
                    (case.get("classname", ""), text.get("message", "")) for text in case.iter("skipped")
                )
    lines = [COLOUR.sub("", line).strip() for line in part.output]
    verified = 0
    for line in lines[lines.index(REPORT) :] if REPORT in lines else ():
        step = STEP.search(line)
        # The tests that a step "verify" ran are counted one by one.
        if step and step["step"] == "verify":
            verified += 1
        elif step:
            part.passed += step["result"] == "Successful"
            part.failed += step["result"] == "Failed"
    # What left no trace wasn't tested: pytest that found nothing, or ended before it could say what it did.
    part.failed += max(0, verified - len(reports))
    if not part.failed and (any(statuses) or not part.passed + part.skipped.total()):
        part.failed = 1


class Work:
    """The list of parts, and who takes them.

    Attributes:
        parts: All that there are, those that bring a lab up included.
    """

    def __init__(self, parts: list[Part], images: Callable[[], bool]) -> None:
        self.parts = list(parts)
        self._waiting = list(parts)
        self._images = images
        self._lock = Lock()
        self._running: list[Part] = []

    @property
    def stage(self) -> str:
        """What is running, and how much waits."""
        running = ", ".join(part.stage for part in list(self._running)) or "the images of the lab"
        return f"{running}; {len(self._waiting)} more to come"

    def _run(self, part: Part, lab: str) -> None:
        self._running.append(part)
        try:
            run(part, lab)
        finally:
            self._running.remove(part)

    def worker(self, lab: str) -> None:
        """Take one part after the other. Who can't have a lab leaves those that need one to the others."""
        has_lab: bool | None = None
        while (part := self._take(labless=has_lab is False)) is not None:
            if part.needs_lab and has_lab is None:
                has_lab = self._bring_up(lab)
            if part.needs_lab and not has_lab:
                with self._lock:
                    self._waiting.insert(0, part)
            else:
                self._run(part, lab)

    def _take(self, *, labless: bool) -> Part | None:
        with self._lock:
            for part in self._waiting:
                if not (labless and part.needs_lab):
                    self._waiting.remove(part)
                    return part
        return None

    def _bring_up(self, lab: str) -> bool:
        if not self._images():
            return False
        up = Part(f"lab {lab or 1}", [[*LAB, "up"]], counts_commands=True)
        with self._lock:
            self.parts.append(up)
        self._run(up, lab)
        return not up.failed

    def stop(self) -> None:
        """Take nothing more."""
        with self._lock:
            self._waiting.clear()

    def close(self) -> None:
        """Count what nobody could take as failed."""
        for part in self._waiting:
            part.failed += 1


def counted(*parts: Part) -> str:
    """Return the sums of parts as they stand in the summary."""
    skipped = sum(part.skipped.total() for part in parts)
    more = f", {skipped} skipped" if skipped else ""
    return f"{sum(part.passed for part in parts)} passed, {sum(part.failed for part in parts)} failed{more}"


def skips(parts: list[Part]) -> Iterator[str]:
    """Say what was skipped and why, a line for each file."""
    skipped = sum((part.skipped for part in parts), Counter())
    for reason in sorted({reason for _, reason in skipped}):
        files = {file: number for (file, why), number in sorted(skipped.items()) if why == reason}
        number = sum(files.values())
        yield f"{number} {'test was' if number == 1 else 'tests were'} skipped: {reason}"
        yield from (f"    {number:4} of {file or 'a whole module'}" for file, number in files.items())


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    os.chdir(ROOT)
    if sys.argv[1:] == ["lint"]:
        run(LINT, live=True)
        return 1 if LINT.failed else 0
    start = time.monotonic()
    say(f"Everything that is tested; this takes {DURATION}.")
    if os.geteuid() != 0:
        say("The lab needs root, because it makes network bridges: run this as root.")
        return 1
    shutil.rmtree(RESULTS, ignore_errors=True)
    setup = subprocess.run([sys.executable, "tests/setup/setup.py", "--oldest"], check=False).returncode
    if setup:
        return setup
    interrupted = False
    with ThreadPoolExecutor() as pool:
        images = pool.submit(subprocess.run, [*LAB, "images"], check=False)
        work = Work([LINT, UNIT, *map(scenario, SCENARIOS), FRESH], lambda: images.result().returncode == 0)
        with alive(lambda: work.stage):
            try:
                for job in [pool.submit(work.worker, lab) for lab in LABS]:
                    job.result()
            except KeyboardInterrupt:
                # What runs has been interrupted as well.
                interrupted = True
                work.stop()
                say("Interrupted; nothing more begins, and the second and third lab go.")
    work.close()
    for number in filter(None, LABS):
        command = [*LAB, "down"]
        subprocess.run(command, check=False, env={**os.environ, "POSTERN_LAB": number}, stdout=subprocess.DEVNULL)
    if interrupted:
        return 128 + signal.SIGINT
    say("")
    for part in work.parts:
        say(f"{part.title:20} {counted(part)}")
    for line in skips(work.parts):
        say(line)
    total = counted(*work.parts)
    say(f"{'total':20} {total}, {time.monotonic() - start:.0f} s")
    (RESULTS / "summary").write_text(f"{total}\n")
    return 1 if any(part.failed for part in work.parts) else 0


if __name__ == "__main__":
    sys.exit(main())
