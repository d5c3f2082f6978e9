import importlib.util
import re
import subprocess
import sys
import threading
from pathlib import Path
from string import Template
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml

import progress

ROOT = Path(__file__).resolve().parents[3]
SETUP = ROOT / "tests" / "setup"

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

VERIFIED = "x ➜ verify: Executed: Successful\n"


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
    assert (part.passed, part.failed) == (2, 2), "the verification left no results"


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
        "1 test was skipped: No shell.",
        "       1 of tests.unit.test_it",
    ]


@pytest.mark.parametrize(("statuses", "expected"), [([0, 0], (2, 0)), ([0, 1], (1, 1)), ([2, 1], (0, 2))])
def test_linters_are_counted_one_by_one(check: ModuleType, statuses: list[int], expected: tuple[int, int]) -> None:
    part = check.Part("lint", [], counts_commands=True)
    check._count(part, statuses)
    assert (part.passed, part.failed) == expected


@pytest.mark.parametrize("status", [0, 1])
def test_what_nobody_counted_has_failed(check: ModuleType, status: int) -> None:
    part = check.Part("lab", [])
    check._count(part, [status])
    assert (part.passed, part.failed) == (0, 1)


def test_a_verification_without_results_has_failed(check: ModuleType) -> None:
    """Molecule calls a folder without tests a success."""
    part = check.Part("molecule", [], output=["DETAILS\n", "x ➜ converge: Executed: Successful\n", VERIFIED, VERIFIED])
    part.results.mkdir()
    (part.results / "1.xml").write_text('<testsuites><testsuite tests="3"/></testsuites>')
    check._count(part, [0])
    assert (part.passed, part.failed) == (4, 1)
    (part.results / "2.xml").write_text("<testsui")
    part = check.Part("molecule", [], output=part.output)
    check._count(part, [0])
    assert (part.passed, part.failed) == (4, 1)


def test_a_program_that_is_not_there_is_a_failure(check: ModuleType) -> None:
    part = check.Part("some", [["/nowhere/program"]])
    check.run(part)
    assert part.failed == 1


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
        (None, 2, 1),
        (None, 0, 1),
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


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load("setup")
    monkeypatch.setattr(module, "OS_RELEASE", tmp_path / "os-release")
    monkeypatch.setattr(module, "VENV", tmp_path / "venv")
    monkeypatch.setattr(module, "_file_system", lambda _folder: "ext2/ext3")
    return module


def system(setup: ModuleType, name: str, version: str) -> None:
    setup.OS_RELEASE.write_text(f'PRETTY_NAME="{name} {version}"\nID={name.lower()}\nVERSION_ID="{version}"\n')


@pytest.mark.parametrize("version", ["12", "13"])
def test_debian_is_taken(version: str, setup: ModuleType) -> None:
    system(setup, "Debian", version)
    setup.check_system(lab=True)


@pytest.mark.parametrize(
    ("name", "version"), [("Debian", "11"), ("Debian", "14"), ("Ubuntu", "24.04"), ("Fedora", "12")]
)
def test_other_systems_are_refused_in_a_sentence(name: str, version: str, setup: ModuleType) -> None:
    system(setup, name, version)
    with pytest.raises(
        setup.SetupError, match=f"^This needs Debian 12 or 13, and this machine runs {name} {version}: "
    ):
        setup.check_system(lab=True)
    setup.OS_RELEASE.unlink()
    with pytest.raises(setup.SetupError, match="runs an unknown system: "):
        setup.check_system(lab=True)


def test_a_space_in_the_path_is_refused_before_ssh_trips_over_it(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    system(setup, "Debian", "12")
    monkeypatch.setattr(setup, "ROOT", Path("/somewhere/my clone"))
    with pytest.raises(setup.SetupError, match=r"^The path of this clone, '/somewhere/my clone', has a space, "):
        setup.check_system(lab=False)


def test_who_is_not_root_is_told_at_once(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    system(setup, "Debian", "12")
    monkeypatch.setattr(setup.os, "geteuid", lambda: 1000)
    with pytest.raises(setup.SetupError, match=r"^The lab needs root, "):
        setup.check_system(lab=True)
    setup.check_system(lab=False)


def test_a_container_without_a_volume_is_told_at_once(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    system(setup, "Debian", "12")
    monkeypatch.setattr(setup, "_file_system", lambda _folder: "overlayfs")
    with pytest.raises(setup.SetupError, match=r"in a container, give it a volume there\.$"):
        setup.check_system(lab=True)


def test_what_pip_left_out_is_found_out(setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "REQUIREMENTS", tmp_path / "requirements.txt")
    setup.REQUIREMENTS.write_text("Ruamel.yaml==1.0\ntypes_PyYAML==2.0\n")
    assert setup._lacking() == ["Ruamel.yaml==1.0", "types_PyYAML==2.0"]
    (setup.VENV / "bin").mkdir(parents=True)
    (setup.VENV / "bin" / "pip").touch()
    for name in ("ruamel_yaml-1.0", "types_pyyaml-1.9"):
        (setup.VENV / "lib" / "python3.11" / "site-packages" / f"{name}.dist-info").mkdir(parents=True)
    assert setup._lacking() == ["types_PyYAML==2.0"]


def test_a_policy_that_a_killed_set_up_left_goes_and_anybody_elses_stays(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "POLICY", tmp_path / "policy-rc.d")
    setup.POLICY.write_text(setup.POLICY_TEXT)
    with setup._no_service_starts():
        assert setup.POLICY.exists()
    assert not setup.POLICY.exists()
    setup.POLICY.write_text("#!/bin/sh\nexit 0\n")
    with setup._no_service_starts():
        pass
    assert setup.POLICY.read_text() == "#!/bin/sh\nexit 0\n"


def test_an_interruption_begins_nothing_more(check: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    work = check.Work([check.LINT, check.UNIT], lambda: True)
    monkeypatch.setattr(check, "run", lambda _part, _lab: work.stop())
    work.worker("")
    assert work._take(labless=False) is None


def test_a_full_disk_is_found_out_at_once(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """What two folders need adds up where they share a disk."""
    system(setup, "Debian", "12")
    monkeypatch.setattr(setup.shutil, "disk_usage", lambda _folder: SimpleNamespace(free=4.5e9))
    with pytest.raises(
        setup.SetupError, match=r"^The disk of /var has 4\.5 GB left, and this needs 5: make room there\.$"
    ):
        setup.check_system(lab=True)
    setup.VENV.mkdir()
    setup.check_system(lab=True)


@pytest.mark.parametrize(("named", "said"), [("none", "What needs one is left out."), ("", "")])
def test_set_up_says_what_is_left_out(
    named: str, said: str, setup: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setup.powershell, "is_missing", lambda: False)
    monkeypatch.setattr(setup.powershell, "find", lambda: None if named else SETUP)
    monkeypatch.setenv("POSTERN_POWERSHELL", named)
    setup.unpack_powershell()
    assert capsys.readouterr().out.strip().endswith(said)


def test_what_is_named_and_not_there_ends_set_up_in_a_sentence(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTERN_POWERSHELL", "/nowhere")
    with pytest.raises(setup.SetupError, match=r"^POSTERN_POWERSHELL is '/nowhere', which is no program "):
        setup.unpack_powershell()


def test_the_end_says_what_was_skipped_and_so_does_the_summary(
    check: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = []

    def run(part: Any, _lab: str = "", **_options: Any) -> None:
        ran.append(part.title)
        part.passed = 1
        if part.title == "unit":
            part.skipped["tests.unit.test_it", "No shell."] += 3

    monkeypatch.setattr(check, "run", run)
    monkeypatch.setattr(check.subprocess, "run", lambda *_a, **_o: subprocess.CompletedProcess([], 0))
    monkeypatch.setattr(check.sys, "argv", ["check.py"])
    monkeypatch.chdir(check.RESULTS)
    monkeypatch.setattr(check.os, "chdir", lambda _folder: None)
    monkeypatch.setattr(check.shutil, "rmtree", lambda *_a, **_o: None)
    assert check.main() == 0
    assert {"lint", "unit", "a new machine", *(f"molecule {name}" for name in check.SCENARIOS)} <= set(ran)
    said = capsys.readouterr().out
    assert said.startswith("Everything that is tested; this takes about ")
    assert "3 tests were skipped: No shell.\n       3 of tests.unit.test_it\n" in said
    assert (check.RESULTS / "summary").read_text() == f"{len(ran)} passed, 0 failed, 3 skipped\n"


def test_who_waits_is_told_that_it_goes_on(
    check: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "FIRST", 0.01)
    monkeypatch.setattr(progress, "NEXT", 0.01)
    part = check.Part("unit", [], output=["....  [ 33%]\n", "warning\n"])
    waited = threading.Event()

    def now() -> str:
        waited.set()
        return str(part.stage)

    with progress.progress("Packages: one two"), progress.alive(now):
        assert waited.wait(10)
    said = capsys.readouterr().out
    assert said.startswith("==> Packages: one two\n")
    assert re.search(r"^    … 0 s: unit \(33 %\)$", said, re.MULTILINE)
    assert re.search(r"^    Packages: 0 s$", said, re.MULTILINE)


def test_each_step_of_each_scenario_has_something_to_do(check: ModuleType) -> None:
    """A folder that is gone would be found out at the end of the whole test only."""
    shared = yaml.safe_load((ROOT / ".config" / "molecule" / "config.yml").read_text())
    for name in check.SCENARIOS:
        folder = ROOT / "molecule" / name
        own = yaml.safe_load((folder / "molecule.yml").read_text()) or {}
        for step in own.get("scenario", shared["scenario"])["test_sequence"]:
            verb, _, place = step.partition(" ")
            if verb == "verify":
                tests = Path(Template(place).substitute(MOLECULE_PROJECT_DIRECTORY=ROOT, MOLECULE_SCENARIO_NAME=name))
                assert list(tests.glob("test_*.py")), f"{name}: {step}"
            elif verb in ("side_effect", "converge"):
                assert (folder / f"{verb}.yml").is_file(), f"{name}: {step}"
