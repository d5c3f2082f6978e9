"""A machine that is reset at any moment comes back with the old files, or with all of the new ones once confirmed.

What the guard and the change do to the disk is recorded, and each moment is played again in two ways, the ends of what
a file system may have kept: names wait until their folder is synced, or names count at once. Content that wasn't synced
is lost in both. Then the host boots.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ansible_collections.postern.mail_gateway.plugins.module_utils.host.files import HostFile
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.programs import package
from ansible_collections.postern.mail_gateway.plugins.module_utils.rollback import program
from ansible_collections.postern.mail_gateway.plugins.module_utils.rollback.guard import OWNER, PROGRAM

from .test_guard import Host, host

__all__ = ["host"]  # a fixture

#: What is at a path: a folder, a link's target, or a file's mode and content.
Content = str | tuple[int, bytes] | None
#: By paths below the root.
Tree = dict[str, Content]
#: The calls by which files and folders change here.
CALLS = ("replace", "symlink", "unlink", "rmdir", "mkdir", "open", "fchmod", "chmod", "fsync")
PARTS = ("settings", "new", "guard", "units")


@dataclass
class Disk:
    """What of the files of a host would be there after a reset, at each moment."""

    root: Path
    moments: list[Tree] = field(default_factory=list)
    contents: dict[int, bytes] = field(default_factory=dict)
    names: dict[int, dict[str, os.stat_result]] = field(default_factory=dict)
    links: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in (self.root, *self.root.rglob("*")):
            self.sync(path)

    def sync(self, path: Path) -> None:
        """Have a file's content, or a folder's names, be on the disk for good."""
        number = path.lstat().st_ino
        if path.is_symlink():
            self.links[number] = str(path.readlink())
        elif path.is_dir():
            self.names[number] = self._present(path)
        else:
            self.contents[number] = path.read_bytes()

    def _present(self, folder: Path) -> dict[str, os.stat_result]:
        found = {}
        for path in folder.iterdir():
            if folder != self.root or path.name in PARTS:
                found[path.name] = path.lstat()
                if path.is_symlink():
                    self.links[path.lstat().st_ino] = str(path.readlink())
        return found

    def _tree(self, folder: os.stat_result, place: str, *, names_at_once: bool) -> Iterator[tuple[str, Content]]:
        real = self.root / place
        present = self._present(real) if names_at_once else self.names.get(folder.st_ino, {})
        for name, status in present.items():
            path = f"{place}/{name}" if place else name
            if stat.S_ISDIR(status.st_mode):
                yield path, None
                yield from self._tree(status, path, names_at_once=names_at_once)
            elif stat.S_ISLNK(status.st_mode):
                yield path, self.links[status.st_ino]
            else:
                yield path, (stat.S_IMODE(status.st_mode), self.contents.get(status.st_ino, b""))

    def note(self) -> None:
        """Keep what a reset would leave now."""
        for names_at_once in (False, True):
            tree = dict(self._tree(self.root.stat(), "", names_at_once=names_at_once))
            if tree not in self.moments[-2:]:
                self.moments.append(tree)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Note each moment of what is done meanwhile."""

        def watched(name: str) -> object:
            genuine = getattr(os, name)

            def call(*arguments: object, **options: object) -> object:
                result = genuine(*arguments, **options)
                if name == "fsync":
                    self.sync(Path(f"/proc/self/fd/{arguments[0]}").resolve())
                elif name == "open" and int(arguments[1]) & os.O_CREAT:  # type: ignore[call-overload]
                    self.contents.pop(os.fstat(result).st_ino, None)  # the number may have been another file's
                elif name == "mkdir":
                    self.names.pop(Path(str(arguments[0])).stat().st_ino, None)
                self.note()
                return result

            return call

        with pytest.MonkeyPatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, watched(name))
            self.note()
            yield


def put_back(root: Path, tree: Tree) -> None:
    """Have the files of a host be what a reset left."""
    for part in PARTS:
        path = root / part
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for name, content in tree.items():
        path = root / name
        if content is None:
            path.mkdir()
        elif isinstance(content, str):
            path.symlink_to(content)
        else:
            path.write_bytes(content[1])
            path.chmod(content[0])


def boot(host: Host) -> None:
    """Do what systemd does: the unit runs where it is enabled and its condition is met."""
    unit = host.root / "units" / program.BOOT_UNIT
    enabled = host.root / "units" / "multi-user.target.wants" / program.BOOT_UNIT
    if not (enabled.exists() and (host.folder / "armed.json").exists()):
        return
    (line,) = (line for line in unit.read_text().splitlines() if line.startswith("ExecStart="))
    _python, _options, start, *arguments = line.removeprefix("ExecStart=").split()
    needed = {Path(start).parent / name: text for name, text in package(program, PROGRAM, OWNER).items()}
    assert all(path.read_bytes() == text for path, text in needed.items())
    assert program.main(arguments) == 0


def change(host: Host) -> None:
    """What a module does between arming and its end."""
    files = [HostFile(host.file, b"bad\n"), HostFile(host.new, b"bad as well\n")]
    for file in files:
        file.stage()
    for file in files:
        file.put()


def whole(host: Host) -> str:
    """Tell which of the two states the host's files are in; fail where it is neither."""
    if host.is_old:
        return "old"
    assert (host.file.read_text(), host.new.read_text()) == ("bad\n", "bad as well\n")
    return "new"


def after_each_reset(host: Host, disk: Disk) -> list[str]:
    """Return what the host has after a reset at each moment, and the boot that follows."""
    found = []
    for tree in disk.moments:
        put_back(host.root, tree)
        boot(host)
        found.append(whole(host))
    return found


def test_a_reset_before_the_confirmation_leaves_what_was_there(host: Host) -> None:
    disk = Disk(host.root)
    with disk.recorded():
        host.arm()
        change(host)
    assert whole(host) == "new"
    assert len(disk.moments) > 50
    assert set(after_each_reset(host, disk)) == {"old"}


def test_a_reset_while_it_is_confirmed_leaves_the_one_or_the_other_and_then_the_new(host: Host) -> None:
    guard = host.arm()
    change(host)
    disk = Disk(host.root)
    with disk.recorded():
        host.guard().disarm(guard.token)
    found = after_each_reset(host, disk)
    assert found == sorted(found, reverse=True), "once it is confirmed it stays so"
    assert (found[0], found[-1]) == ("old", "new")


@pytest.mark.parametrize("times", [1, 2])
def test_a_reset_while_it_goes_back_is_healed_by_the_next_boot(host: Host, times: int) -> None:
    """Also where the boot that heals is itself cut off."""
    host.arm()
    change(host)
    moments = Disk(host.root)
    moments.note()
    trees = moments.moments
    for _ in range(times):
        begun, trees = trees, []
        for tree in begun:
            put_back(host.root, tree)
            disk = Disk(host.root)
            with disk.recorded():
                boot(host)
            trees += [one for one in disk.moments if one not in trees]
    moments.moments = trees
    assert len(trees) > 10
    assert set(after_each_reset(host, moments)) == {"old"}


@pytest.mark.parametrize("forgotten", ["guard", "units", "content"])
def test_what_is_not_synced_shows_here(host: Host, monkeypatch: pytest.MonkeyPatch, forgotten: str) -> None:
    """The recorder would see it, were a folder or a content forgotten."""
    disk = Disk(host.root)
    genuine = disk.sync

    def forgetful(path: Path) -> None:
        if forgotten not in (path.name, "content" if path.is_file() else ""):
            genuine(path)

    monkeypatch.setattr(disk, "sync", forgetful)
    with disk.recorded():
        host.arm()
        change(host)
    with pytest.raises((AssertionError, OSError, ValueError)):
        assert set(after_each_reset(host, disk)) == {"old"}
