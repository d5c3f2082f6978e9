import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SETUP = Path(__file__).resolve().parents[2] / "setup"

MOLECULE = """\
INFO     haproxy ➜ converge: Executed: Successful

DETAILS\x20\x20
\x1b[32mhaproxy\x1b[0m ➜ \x1b[33mcreate\x1b[0m: \x1b[32mExecuted: Successful\x1b[0m
haproxy > converge: Executed: Successful
haproxy ➜ verify: Executed: Failed (Verifier tests failed)
haproxy ➜ side_effect: Executed: Missing playbook (Remove from test_sequence to suppress)
haproxy ➜ destroy: Executed: Failed

SCENARIO RECAP
"""


def load(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"lab_{name}", SETUP / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load("check")
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    return module


def test_steps_of_a_scenario_are_counted_once(check: ModuleType) -> None:
    part = check.Part("molecule haproxy", [], output=MOLECULE.splitlines(keepends=True))
    check._count(part, [1])
    assert (part.passed, part.failed) == (2, 1)


def test_tests_are_counted_by_pytests_own_files(check: ModuleType) -> None:
    part = check.Part("unit", [])
    part.results.mkdir()
    (part.results / "1.xml").write_text(
        '<testsuites><testsuite tests="7" errors="1" failures="2" skipped="1">'
        '<testcase classname="tests.unit.test_it"><skipped message="No shell."/></testcase></testsuite></testsuites>'
    )
    (part.results / "2.xml").write_text(
        '<testsuites><testsuite tests="3" errors="0" failures="0" skipped="0"/></testsuites>'
    )
    check._count(part, [1])
    assert (part.passed, part.failed, part.skipped) == (6, 3, {("tests.unit.test_it", "No shell."): 1})
    assert check.counted(part, part) == "12 passed, 6 failed, 2 skipped"
    assert list(check.skips([part, check.LINT])) == [
        "1 tests were skipped: No shell.",
        "       1 of tests.unit.test_it",
    ]


@pytest.mark.parametrize(("statuses", "expected"), [([0, 0], (2, 0)), ([0, 1], (1, 1)), ([2, 1], (0, 2))])
def test_linters_are_counted_one_by_one(check: ModuleType, statuses: list[int], expected: tuple[int, int]) -> None:
    part = check.Part("lint", [], counts_commands=True)
    check._count(part, statuses)
    assert (part.passed, part.failed) == expected


def test_a_failure_that_nobody_counted_counts(check: ModuleType) -> None:
    part = check.Part("lab", [])
    check._count(part, [1])
    assert (part.passed, part.failed) == (0, 1)


def test_a_part_ends_with_the_first_command_that_fails(check: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    part = check.Part("some", [["sh", "-c", "echo one; exit 3"], ["echo", "two"]])
    check.run(part, live=False)
    assert part.output == ["one\n"]
    assert part.failed == 1
    assert "==> some: the output\none\n" in capfd.readouterr().out


def test_every_scenario_is_run(check: ModuleType) -> None:
    assert sorted(check.SCENARIOS) == sorted(path.parent.name for path in check.ROOT.glob("molecule/*/molecule.yml"))


def test_parts_go_to_whoever_is_free_and_labs_come_up_when_they_are_needed(
    check: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[str, str]] = []
    monkeypatch.setattr(check, "run", lambda part, lab: taken.append((part.title, lab)))
    work = check.Work([check.LINT, check.scenario("one"), check.scenario("two")], lambda: True)
    work.worker("2")
    work.close()
    assert taken == [("lint", "2"), ("lab 2", "2"), ("molecule one", "2"), ("molecule two", "2")]
    assert not any(part.failed for part in work.parts)


@pytest.mark.parametrize("has_images", [True, False])
def test_scenarios_without_a_lab_count_as_failed(
    check: ModuleType, monkeypatch: pytest.MonkeyPatch, has_images: bool
) -> None:
    def run(part: Any, _lab: str) -> None:
        part.failed = int(part.title.startswith("lab "))

    monkeypatch.setattr(check, "run", run)
    work = check.Work([check.scenario("one"), check.UNIT, check.scenario("two")], lambda: has_images)
    work.worker("")
    work.worker("2")
    work.close()
    failed = [part.title for part in work.parts if part.failed]
    assert failed == ["molecule one", "molecule two", *(["lab 1", "lab 2"] if has_images else [])]


def test_every_run_of_pytest_leaves_its_results(check: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_one(): pass\ndef test_two(): assert 0\n")
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", str(tmp_path / "test_it.py")]
    part = check.Part("some", [["sh", "-c", f"{' '.join(pytest_command)}; {' '.join(pytest_command)}"]])
    check.run(part, live=False)
    assert (part.passed, part.failed) == (2, 2)


def test_the_lists_name_what_is_used() -> None:
    setup = load("setup")
    packages = setup.listed(SETUP / "packages.txt")
    assert {"podman", "runc", "mmdebstrap", "haproxy"} <= set(packages)
    assert all(" " not in package for package in packages)
    pins = setup.listed(setup.REQUIREMENTS)
    assert all(pin.count("==") == 1 for pin in pins)


def test_what_fails_three_times_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    setup = load("setup")
    monkeypatch.setattr(setup, "PAUSE", 0)
    with pytest.raises(setup.SetupError, match=r"^'sh -c echo no; exit 1' failed: no$"):
        setup.run(["sh", "-c", "echo no; exit 1"])
    assert capsys.readouterr().out.count("of 3; again") == 2


@pytest.mark.parametrize(
    ("summary", "status", "expected"),
    [
        ("7 passed, 0 failed", 0, 0),
        ("7 passed, 0 failed, 2 skipped", 0, 1),
        ("7 passed, 1 failed", 1, 1),
        (None, 2, 2),
    ],
)
def test_in_ci_what_is_skipped_has_failed(summary: str | None, status: int, expected: int, tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    script = tmp_path / ".ci" / "run"
    script.write_text((SETUP.parents[1] / ".ci" / "run").read_text())
    write = f"mkdir -p .cache/results && echo '{summary}' >.cache/results/summary\n" if summary else ""
    (tmp_path / "make").write_text(f"#!/bin/sh\n{write}exit {status}\n")
    (tmp_path / "make").chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    done = subprocess.run(["bash", script], env={"PATH": path}, check=False, capture_output=True, text=True)
    assert done.returncode == expected
    assert done.stdout.splitlines()[-1] == (summary or "0 passed, 1 failed")
