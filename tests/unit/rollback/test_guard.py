"""The guard on the host: whatever ends where, the files are either confirmed or what they were."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.postern.mail_gateway.plugins.module_utils.host.errors import HostError
from ansible_collections.postern.mail_gateway.plugins.module_utils.rollback import guard as guard_module
from ansible_collections.postern.mail_gateway.plugins.module_utils.rollback import program
from ansible_collections.postern.mail_gateway.plugins.module_utils.rollback.guard import (
    RollbackGuard,
    sentence,
)

SYSTEMD_RUN = """#!/bin/sh
[ -e "$FAKE/refuses" ] && { echo "Failed to connect to bus" >&2; exit 1; }
printf '%s\\n' "$@" >"$FAKE/timer"
"""
SYSTEMCTL = """#!/bin/sh
case "$*" in
  is-active*) [ -e "$FAKE/timer" ] && echo active || echo inactive;;
  stop*timer*) rm -f "$FAKE/timer";;
esac
echo "systemctl $*" >>"$FAKE/log"
"""


class Host:
    """A host without systemd, and a file that is changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "settings"
        self.file.write_text("old\n")
        self.file.chmod(0o640)
        self.new = root / "new"
        self.folder = root / "guard"

    def guard(self, name: str = "test") -> RollbackGuard:
        return RollbackGuard(name, 30, self.folder)

    def arm(self) -> RollbackGuard:
        guard = self.guard()
        guard.arm([self.file, self.new], [["touch", str(self.root / "reloaded")]])
        return guard

    def change(self) -> None:
        self.file.write_text("bad\n")
        self.new.write_text("bad as well\n")

    def fire(self, occasion: str = "timeout") -> subprocess.CompletedProcess[str]:
        """What the timer (or the unit of the next boot) runs."""
        command = (self.root / "timer").read_text().splitlines()
        argv = command[command.index(sys.executable) :]
        argv[argv.index("timeout")] = occasion
        return subprocess.run(argv, check=False, capture_output=True, text=True)

    @property
    def is_old(self) -> bool:
        return (self.file.read_text(), self.file.stat().st_mode & 0o777, self.new.exists()) == ("old\n", 0o640, False)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("systemd-run", SYSTEMD_RUN), ("systemctl", SYSTEMCTL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp_path / "units").mkdir()
    monkeypatch.setenv("FAKE", str(tmp_path))
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    for module in (program, guard_module):
        monkeypatch.setattr(module, "UNITS", tmp_path / "units")
    return Host(tmp_path)


def units(host: Host) -> list[str]:
    return sorted(str(path.relative_to(host.root / "units")) for path in (host.root / "units").rglob("*.service"))


def test_a_change_that_is_not_confirmed_goes_back_and_is_reported(host: Host) -> None:
    host.arm()
    host.change()
    assert host.fire().returncode == 0
    assert host.is_old
    assert (host.root / "reloaded").exists()
    report = host.guard().rolled_back()
    assert report is not None
    assert (report["name"], report["why"]) == ("test", "it was not confirmed in time")
    assert report["files"] == [str(host.file), str(host.new)]
    assert str(host.file) in sentence(report)
    assert report["when"][:10].replace("-", "") in sentence(report).replace("-", "")


def test_a_change_that_is_confirmed_stays_and_leaves_nothing(host: Host) -> None:
    guard = host.arm()
    host.change()
    fired_later = host.root / "timer.txt"
    fired_later.write_text((host.root / "timer").read_text())
    host.guard().disarm(guard.as_result()["token"])
    assert host.file.read_text() == "bad\n"
    assert not host.folder.exists()
    assert not (host.root / "timer").exists()
    assert units(host) == []
    assert host.guard().rolled_back() is None


def test_the_timer_counts_monotonic_time(host: Host) -> None:
    host.arm()
    assert "--on-active=30s" in (host.root / "timer").read_text().splitlines()
    assert "--on-calendar" not in (host.root / "timer").read_text()


def test_the_next_boot_goes_back_before_the_services_start(host: Host) -> None:
    host.arm()
    host.change()
    assert units(host) == ["multi-user.target.wants/postern-rollback-boot.service", "postern-rollback-boot.service"]
    unit = (host.root / "units" / "postern-rollback-boot.service").read_text()
    for service in ("ssh.service", "ssh.socket", "ufw.service"):
        assert service in next(line for line in unit.splitlines() if line.startswith("Before="))
    token = json.loads((host.folder / "armed.json").read_text())["token"]
    assert f"boot {host.folder} {token}" in unit
    assert program.main(["boot", str(host.folder), token]) == 0
    assert host.is_old
    # Services start by themselves then; only what generators made has to be made again.
    assert not (host.root / "reloaded").exists()
    assert "systemctl daemon-reload" in (host.root / "log").read_text()
    assert units(host) == []
    report = host.guard().last_report()
    assert report
    assert "restarted" in report["why"]


def test_two_runs_at_once(host: Host) -> None:
    first = host.arm()
    for refused in (host.guard("other").rolled_back, lambda: host.guard("other").arm([host.file])):
        with pytest.raises(
            HostError, match=r"A change of test on this host.*waits for its confirmation.*run again then"
        ):
            refused()
    assert host.guard().status() is not None
    host.guard().disarm(first.token)


def test_a_guard_whose_timer_is_gone_is_rolled_back_by_the_next_run(host: Host) -> None:
    host.arm()
    host.change()
    (host.root / "timer").unlink()
    with pytest.raises(HostError, match="it was rolled back now"):
        host.guard().rolled_back()
    assert host.is_old


def test_the_confirmation_of_another_change_counts_for_nothing(host: Host) -> None:
    host.arm()
    with pytest.raises(HostError, match="doesn't wait"):
        host.guard().disarm("0" * 32)
    assert host.guard().status() is not None


def test_a_confirmation_that_comes_too_late_is_refused(host: Host) -> None:
    guard = host.arm()
    host.change()
    host.fire()
    with pytest.raises(HostError, match="too late"):
        host.guard().disarm(guard.token)
    assert host.is_old


def test_a_timer_of_an_older_change_touches_no_newer_one(host: Host) -> None:
    old = host.arm()
    host.guard().disarm(old.token)
    host.arm()
    host.change()
    assert program.main(["timeout", str(host.folder), old.token]) == 0
    assert host.file.read_text() == "bad\n"


def test_a_run_that_was_killed_while_it_armed_is_in_nobodys_way(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path, content: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(program, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            host.arm()
    assert host.fire().returncode == 0  # its timer finds nothing to do
    assert host.is_old
    guard = host.arm()
    host.change()
    assert host.fire().returncode == 0
    assert host.is_old
    assert guard.token


@pytest.mark.parametrize("steps", [0, 1])
def test_a_rollback_that_was_killed_is_finished_later(host: Host, steps: int) -> None:
    host.arm()
    host.change()
    armed = json.loads((host.folder / "armed.json").read_text())
    for entry in armed["files"][:steps]:
        assert program.restore(entry) == ""
    assert host.fire("boot").returncode == 0
    assert host.is_old


def test_what_cannot_be_put_back_is_tried_again(host: Host, tmp_path: Path) -> None:
    host.arm()
    host.file.unlink()
    host.file.mkdir()  # nothing can be renamed over a folder
    (host.file / "in the way").touch()
    first = host.fire()
    assert first.returncode == 1
    assert str(host.file) in first.stderr
    assert host.guard().status() is not None
    (host.file / "in the way").unlink()
    host.file.rmdir()
    assert host.fire().returncode == 0
    assert host.is_old


def test_links_and_other_file_systems(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    link = host.root / "link"
    link.symlink_to("elsewhere")
    guard = host.guard()
    guard.arm([host.file, link])
    link.unlink()
    link.write_text("bad\n")
    host.file.write_text("bad\n")
    renamed = program.os.replace

    def replace(source: Path, target: Path) -> None:
        if Path(source).parent.name == "saved":
            raise OSError(18, "Invalid cross-device link")
        renamed(source, target)

    monkeypatch.setattr(program.os, "replace", replace)
    report = guard.roll_back_now()
    assert report
    assert report["errors"] == []
    assert host.is_old
    assert link.is_symlink()
    assert str(link.readlink()) == "elsewhere"


def test_no_way_back_no_change(host: Host) -> None:
    (host.root / "refuses").touch()
    with pytest.raises(HostError, match=r"can't be armed \(Failed to connect to bus\); nothing was changed"):
        host.arm()
    assert host.guard().status() is None
    assert units(host) == []


def test_a_full_disk_leaves_a_report_all_the_same(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.arm()
    host.change()

    def full(path: Path, content: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(program, "write", full)
    token = host.guard().status()["token"]  # type: ignore[index]
    program.main(["timeout", str(host.folder), token])
    assert host.is_old
    report = host.guard().rolled_back()
    assert report is not None
    assert report["files"] == [str(host.file), str(host.new)]
    assert "not confirmed" in sentence(report)


def test_a_failed_change_is_undone_at_once(host: Host) -> None:
    guard = host.arm()
    host.change()
    report = guard.roll_back_now("sshd gave up")
    assert report
    assert report["why"] == "sshd gave up"
    assert host.is_old
    assert not host.folder.exists()
    assert guard.roll_back_now() is None


def test_a_report_is_forgotten_once_the_host_is_as_it_should_be(host: Host) -> None:
    host.arm()
    host.change()
    host.fire()
    assert host.guard().rolled_back()
    host.guard().forget_report()
    assert host.guard().rolled_back() is None
    assert not host.folder.exists()


def test_what_was_made_for_the_change_goes_as_well(host: Host) -> None:
    """Files that were to be put in place, and folders for them, unless somebody uses those by now."""
    empty, used = host.root / "made" / "here", host.root / "used"
    empty.mkdir(parents=True)
    used.mkdir()
    staged = host.root / ".settings.new"
    staged.write_text("bad\n")
    host.guard().arm([host.file, empty / "file"], remove=[staged, empty, empty.parent, used])
    host.change()
    (empty / "file").write_text("bad\n")
    (used / "by somebody").touch()
    host.fire()
    assert not staged.exists()
    assert not empty.parent.exists()
    assert (used / "by somebody").exists()


def test_commands_find_their_texts_until_nothing_is_armed(host: Host) -> None:
    guard = host.guard()
    path = guard.text_path("table")
    guard.arm([host.file], [["cp", str(path), str(host.root / "loaded")]], texts={"table": "old rules\n"})
    assert path.stat().st_mode & 0o777 == 0o644  # in a folder of root's
    assert host.folder.stat().st_mode & 0o777 == 0o700
    host.change()
    host.fire()
    assert (host.root / "loaded").read_text() == "old rules\n"
    assert not path.exists()


@pytest.mark.parametrize(
    ("command", "otherwise", "done", "errors"),
    [("true", "first", [], 0), ("false", "first", ["first"], 0), ("false", "false", [], 1)],
)
def test_what_cant_be_taken_back_alone_is_taken_back_as_a_whole(
    host: Host, command: str, otherwise: str, done: list[str], errors: int
) -> None:
    """The firewall's rollback leaves what others added; where that doesn't go, the whole table comes back."""
    other = ["touch", str(host.root / otherwise)] if otherwise != "false" else ["false"]
    guard = host.guard()
    guard.arm([host.file], [{"command": [command], "otherwise": other}])
    host.change()
    host.fire()
    assert [name for name in ("first",) if (host.root / name).exists()] == done
    report = host.guard().last_report()
    assert report is not None
    assert len(report["errors"]) == errors


@pytest.mark.parametrize("year", [1970, 2099])
def test_a_clock_that_jumps_neither_hastens_nor_delays(host: Host, monkeypatch: pytest.MonkeyPatch, year: int) -> None:
    """Every clock reading that the guard writes down is for people to read."""
    host.arm()
    host.change()
    monkeypatch.setattr(program, "now", lambda: f"{year}-01-01T00:00:00+00:00")
    with pytest.raises(HostError, match="waits for its confirmation"):
        host.guard("other").rolled_back()
    assert program.main(["timeout", str(host.folder), str(host.guard().status()["token"])]) == 0  # type: ignore[index]
    assert host.is_old
    report = host.guard().rolled_back()
    assert report
    assert report["when"].startswith(str(year))


@pytest.mark.parametrize("seconds", [-1, 0, 4, 86401])
def test_a_time_that_leaves_no_time_is_refused(host: Host, seconds: int) -> None:
    with pytest.raises(HostError, match=f"is {seconds} seconds, but must be from 5 to 86400; nothing was changed"):
        RollbackGuard("test", seconds, host.folder)


# --- what a reset of the machine, and another run, leave --------------------------------------------------------------


def test_all_that_the_way_back_needs_is_on_the_disk_before_anything_is_changed(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is reset at once still has it: files and names, in the guard's folder and among the units."""
    on_disk: set[int] = set()
    fsync, replace = os.fsync, os.replace
    missing: list[str] = []

    def noted(descriptor: int) -> None:
        on_disk.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def renamed(source: Path, target: Path) -> None:
        if target.name == "armed.json":
            for top in (host.folder, host.root / "units"):
                missing.extend(str(path) for path in (top, *top.rglob("*")) if path.lstat().st_ino not in on_disk)
        elif target.parent.stat().st_ino in on_disk:
            on_disk.discard(target.parent.stat().st_ino)  # it has a new name that isn't there for good yet
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "replace", renamed)
    host.arm()
    # A link has no content of its own; armed.json's new content is written by then.
    link = host.root / "units" / "multi-user.target.wants" / "postern-rollback-boot.service"
    assert missing == [str(link)]
    assert (host.folder / "armed.json").exists()


def test_nothing_is_done_without_the_lock(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a second run could arm while the first one still removes what it saved."""
    held: list[Path] = []
    locked = program.locked

    @contextlib.contextmanager
    def noted(folder: Path) -> Iterator[None]:
        with locked(folder):
            held.append(folder)
            yield
            held.pop()

    def only_when_held(module: object, name: str) -> None:
        genuine = getattr(module, name)

        def call(*arguments: object, **options: object) -> object:
            assert held, f"{name} {arguments} without the lock"
            return genuine(*arguments, **options)

        monkeypatch.setattr(module, name, call)

    monkeypatch.setattr(program, "locked", noted)
    for module, name in (
        (guard_module, "run"), (program, "run_command"), (shutil, "rmtree"), (os, "replace"), (os, "unlink"),
        (os, "mkdir"), (os, "rmdir"),
    ):  # fmt: skip
        only_when_held(module, name)
    guard = host.arm()
    host.guard().disarm(guard.token)
    guard = host.arm()
    host.change()
    guard.roll_back_now()
    (host.root / "refuses").touch()
    with pytest.raises(HostError):
        host.arm()
    (host.root / "refuses").unlink()
    host.arm()
    host.fire()
    assert host.guard().rolled_back()
    host.guard().forget_report()


def test_the_lock_stays_where_the_folder_goes(host: Host) -> None:
    guard = host.arm()
    with program.locked(host.folder):
        assert not [path for path in host.folder.rglob("*") if "lock" in path.name and path.suffix != ".py"]
    host.guard().disarm(guard.token)
    assert not host.folder.exists()


def test_two_that_arm_at_once_have_one_way_back(host: Host) -> None:
    """The second one waits, and is refused; what the first one saved stays whole."""
    held, outcome = threading.Event(), []

    def second() -> None:
        held.set()
        try:
            host.guard("second").arm([host.file])
        except HostError as error:
            outcome.append(str(error))

    with program.locked(host.folder):
        thread = threading.Thread(target=second)
        thread.start()
        held.wait()
        first = host.guard("first")
        # As arm does once it has the lock.
        first._arm([str(host.file)], [], [], [], {})
    thread.join(30)
    assert [text[:40] for text in outcome] == ["A change of first on this host, made at "]
    host.change()
    host.fire()
    assert host.file.read_text() == "old\n"


@pytest.mark.parametrize("umask", [0o000, 0o027, 0o077])
def test_modes_are_the_same_whatever_the_umask(host: Host, umask: int) -> None:
    before = os.umask(umask)
    try:
        host.arm()
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in host.folder.rglob("*") if path.is_file()}
    assert modes.pop("postern-rollback") == 0o755
    assert modes.pop("0") == 0o640  # as the file that it is a copy of
    assert set(modes.values()) == {0o644}
    assert host.folder.stat().st_mode & 0o777 == 0o700
    assert (host.root / "units" / "postern-rollback-boot.service").stat().st_mode & 0o777 == 0o644


def test_what_is_armed_keeps_a_copy_of_its_own(host: Host) -> None:
    """Readable for a person, and it goes back whatever becomes of the collection."""
    host.arm()
    files = {str(path.relative_to(host.folder / "program")) for path in (host.folder / "program").rglob("*.py")}
    assert "postern/rollback/program.py" in files
    assert all("plugins" not in path for path in files)
    host.change()
    assert host.fire().returncode == 0
    assert host.is_old
