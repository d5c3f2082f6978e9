"""What 0.1.0's guard left on a host, armed or rolled back, is taken over and goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.postern.mail_gateway.plugins.module_utils.host.errors import HostError
from ansible_collections.postern.mail_gateway.plugins.module_utils.rollback import guard as guard_module
from ansible_collections.postern.mail_gateway.plugins.module_utils.rollback import program
from ansible_collections.postern.mail_gateway.plugins.module_utils.rollback.guard import RollbackGuard

SYSTEMCTL = """#!/bin/sh
case "$*" in
  is-active*) [ -e "$FAKE/timer" ] && echo active || echo inactive;;
  stop*timer*) rm -f "$FAKE/timer";;
esac
"""


@pytest.fixture
def guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RollbackGuard:
    """A host on which 0.1.0 armed its guard for a change of sshd, laid out as it did: one file for a program, its lock
    inside the folder, a unit for the next boot.
    """
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text(SYSTEMCTL)
    systemctl.chmod(0o755)
    monkeypatch.setenv("FAKE", str(tmp_path))
    monkeypatch.setenv("PATH", f"{systemctl.parent}:/usr/bin:/bin")
    for module in (program, guard_module):
        monkeypatch.setattr(module, "UNITS", tmp_path / "units")

    folder, settings = tmp_path / "postern" / "rollback", tmp_path / "00-postern.conf"
    (folder / "saved").mkdir(parents=True)
    settings.write_text("new\n")
    (folder / "saved" / "0").write_text("old\n")
    (folder / "lock").touch()
    (folder / "program.py").write_text("raise SystemExit('0.1.0')\n")
    unit = tmp_path / "units" / "postern-rollback-boot.service"
    (unit.parent / "multi-user.target.wants").mkdir(parents=True)
    unit.write_text(f"[Service]\nExecStart=/usr/bin/python3 -I {folder}/program.py boot {folder} 5eed\n")
    (unit.parent / "multi-user.target.wants" / unit.name).symlink_to(unit)
    armed = {
        "token": "5eed",
        "name": "sshd",
        "when": "2026-11-28T12:00:00+00:00",
        "seconds": 60,
        "files": [{"path": str(settings), "saved": str(folder / "saved" / "0")}],
        "before": [],
        "remove": [],
        "commands": [["touch", str(tmp_path / "reloaded")]],
    }
    (folder / "armed.json").write_text(json.dumps(armed, indent=1))
    (tmp_path / "timer").touch()
    return RollbackGuard("sshd", 60, folder)


def left(host: Path) -> list[str]:
    """Whatever is still there of the guard; its lock lies in /run on a host."""
    found = (path for part in ("postern", "units") for path in (host / part).rglob("*"))
    return sorted(str(path.relative_to(host)) for path in found if path.name != "rollback.lock")


def test_a_change_that_still_waits_is_left_to_its_own_timer(guard: RollbackGuard, tmp_path: Path) -> None:
    before = left(tmp_path)
    with pytest.raises(HostError, match=r"A change of sshd on this host, made at 2026-11-28T12:00:00\+00:00, waits"):
        guard.rolled_back()
    assert left(tmp_path) == before
    assert (tmp_path / "00-postern.conf").read_text() == "new\n"


def test_a_change_that_nobody_would_undo_any_more_is_rolled_back(guard: RollbackGuard, tmp_path: Path) -> None:
    (tmp_path / "timer").unlink()
    with pytest.raises(HostError, match=r"its timer was gone; it was rolled back now\. Run again\."):
        guard.rolled_back()
    assert (tmp_path / "00-postern.conf").read_text() == "old\n"
    assert (tmp_path / "reloaded").exists()
    report = guard.rolled_back()
    assert report is not None
    guard.forget_report()
    assert left(tmp_path) == ["units/multi-user.target.wants"]


def test_a_change_that_its_own_timer_undid_is_told_once_and_leaves_nothing(
    guard: RollbackGuard, tmp_path: Path
) -> None:
    """0.1.0's program leaves itself, its lock and a report."""
    for name in ("armed.json", "saved/0"):
        (guard.folder / name).unlink()
    (guard.folder / "saved").rmdir()
    for path in (
        tmp_path / "units" / "multi-user.target.wants" / program.BOOT_UNIT,
        tmp_path / "units" / program.BOOT_UNIT,
    ):
        path.unlink()
    report = {
        "name": "sshd", "when": "2026-11-28T12:01:00+00:00", "why": "it was not confirmed in time",
        "files": [str(tmp_path / "00-postern.conf")], "token": "5eed", "errors": [],
    }  # fmt: skip
    (guard.folder / "report.json").write_text(json.dumps(report))
    assert guard.rolled_back() == report
    guard.forget_report()
    assert left(tmp_path) == ["units/multi-user.target.wants"]
