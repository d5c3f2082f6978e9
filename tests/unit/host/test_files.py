"""Files, folders and locks on a host: whole or not there, with the modes that were asked for, whatever the umask."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.postern.mail_gateway.plugins.module_utils.host.errors import HostError
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.files import (
    HostFile,
    beside,
    copy,
    link,
    make_folder,
    mark,
    remove,
    write,
    write_new,
)
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.locks import locked
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.transaction import FileTransaction, ManagedFile


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o027, 0o077, 0o777], ids="umask {:04o}".format)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_modes_are_those_that_were_asked_for(tmp_path: Path) -> None:
    top = tmp_path / "top"
    write(top / "a" / "file", b"content", 0o644)
    write(top / "b" / "secret", b"content", 0o600)
    make_folder(top / "c" / "private", 0o700)
    file = HostFile(top / "d" / "file", b"content", 0o640)
    file.stage()
    file.put()
    found = {str(path.relative_to(top)): mode(path) for path in top.rglob("*")}
    assert found == {
        "a": 0o755, "a/file": 0o644, "b": 0o755, "b/secret": 0o600, "c": 0o755, "c/private": 0o700, "d": 0o755,
        "d/file": 0o640,
    }  # fmt: skip
    assert mode(top) == 0o755


@pytest.mark.usefixtures("umask")
def test_a_whole_set_of_files_has_its_modes_too(tmp_path: Path) -> None:
    transaction = FileTransaction(tmp_path, [ManagedFile("lists/deep/a", b"a"), ManagedFile("b", b"b", 0o600)])
    transaction.stage()
    transaction.swap()
    transaction.commit()
    found = {str(path.relative_to(tmp_path)): mode(path) for path in tmp_path.rglob("*") if path.name[0] != "."}
    assert found == {"lists": 0o755, "lists/deep": 0o755, "lists/deep/a": 0o644, "b": 0o600}


def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is put onto the disk and what gets its name, in order."""
    said: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        said.append("fsync " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def noted_replace(source: Path, target: Path) -> None:
        said.append(f"rename to {target.name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    return said


def test_content_is_on_the_disk_before_its_name_and_the_name_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = synced(monkeypatch)
    write(tmp_path / "made" / "file", b"content")
    new = beside(Path("file")).name
    assert said == [f"fsync {tmp_path.name}", f"fsync {new}", "rename to file", "fsync made"]
    said.clear()
    link(tmp_path / "link", "made/file")
    assert said == ["rename to link", f"fsync {tmp_path.name}"]
    said.clear()
    remove(tmp_path / "link")
    assert said == [f"fsync {tmp_path.name}"]


def test_a_secret_is_nobody_elses_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    change = os.fchmod

    def noted(descriptor: int, value: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        change(descriptor, value)

    monkeypatch.setattr(os, "fchmod", noted)
    before = os.umask(0)
    try:
        write(tmp_path / "file", b"secret", 0o644)
    finally:
        os.umask(before)
    assert seen == [0o600]


def test_a_link_that_somebody_laid_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("theirs")
    beside(tmp_path / "file").symlink_to(other)
    write(tmp_path / "file", b"ours")
    assert (other.read_text(), (tmp_path / "file").read_text()) == ("theirs", "ours")


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "file", b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "file", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"old"}


def test_a_copy_has_owner_and_mode(tmp_path: Path) -> None:
    write_new(tmp_path / "file", b"content", 0o640, (1, 2))
    copy(tmp_path / "file", tmp_path / "copy")
    status = (tmp_path / "copy").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1, 2, 0o640)


def test_a_file_differs_by_content_mode_and_owner(tmp_path: Path) -> None:
    file = HostFile(tmp_path / "file", b"content", 0o600, secret=True)
    assert file.differs()
    assert file.part() == {
        "before_header": str(file.path),
        "after_header": str(file.path),
        "before": "",
        "after": "(there)\n",
    }
    file.stage()
    assert not file.path.exists()
    file.put()
    assert not file.differs()
    file.path.chmod(0o644)
    assert file.differs()
    file.path.chmod(0o600)
    os.chown(file.path, 1, 0)
    assert file.differs()
    other = HostFile(file.path, b"other", 0o600, secret=True).part()
    assert (other["before"], other["after"]) == ("(there)\n", "(changed)\n")
    gone = HostFile(file.path, None)
    assert gone.differs()
    gone.put()
    assert not gone.differs()


def test_the_mark_names_who_wrote_it() -> None:
    assert mark("role x") == "# Written by Ansible (role x); changes here are overwritten."


# --- locks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("take", [fcntl.flock, fcntl.lockf])
def test_somebody_who_waits_in_vain_is_told(tmp_path: Path, take: Callable[[int, int], None]) -> None:
    lock = tmp_path / "lock"
    script = (
        f"import fcntl, time\nf = open({str(lock)!r}, 'w')\nfcntl.{take.__name__}(f, 2)\nprint('held', flush=True)\n"
    )
    argv = [sys.executable, "-c", f"{script}time.sleep(60)"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        began = time.monotonic()
        with pytest.raises(HostError, match="busy; wait"), locked(lock, "busy; wait.", 0.3, take):
            pass
        assert time.monotonic() - began >= 0.3
        holder.kill()
    # It goes with the process.
    with locked(lock, "busy", 0, take):
        pass


def test_nobody_else_can_hold_our_locks(tmp_path: Path) -> None:
    """Whoever may read a file can take its flock: one that an older version left readable is closed."""
    lock = tmp_path / "lock"
    lock.touch(0o644)
    with locked(lock, "busy"):
        assert mode(lock) == 0o600
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="link"), locked(link, "busy"):
        pass
    assert not (tmp_path / "elsewhere").exists()
