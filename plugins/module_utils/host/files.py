# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and folders on a host: the one way to write, replace and make them.

What is written is on the disk before its name counts, and so is the name. Modes are given and never follow from the
umask of whoever runs Ansible. A secret is never readable for others, not even for a moment.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

#: The number of an account and of a group.
Owner = tuple[int, int]

ROOT: Owner = (0, 0)
NEW = ".postern-new"


def mark(owner: str) -> str:
    """Return the first line of a file that is ours, so that a person who opens it knows."""
    return f"# Written by Ansible ({owner}); changes here are overwritten."


def read(path: Path) -> bytes | None:
    """Return what a file holds; None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def sync(folder: Path) -> None:
    """Put a folder's entries onto the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path, mode: int = 0o755) -> None:
    """Make a folder, and those above it, with their modes; one that is there already stays as it is."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return  # somebody else was quicker, or a file is in the way, which shows at the first use
    path.chmod(mode)
    sync(path.parent)


def open_folder(path: Path) -> None:
    """Have a folder of root's be readable for everybody, as an umask of old may not have left it."""
    os.chown(path, os.geteuid(), os.getegid(), follow_symlinks=False)
    path.chmod(0o755)


def write_new(path: Path, content: bytes, mode: int, owner: Owner | None = None) -> None:
    """Write a file under a name that nobody looks at yet, onto the disk; what a killed run left there goes.

    :param owner: another one than whoever writes.
    """
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            if owner:
                os.fchown(stream.fileno(), *owner)
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def beside(path: Path) -> Path:
    """Return where the new content of a file waits. sshd, systemd and most others pass over names like this one."""
    return path.with_name(f".{path.name}{NEW}")


def replace(new: Path, path: Path) -> None:
    """Put one file in the place of another, in one step that takes no space on the disk."""
    os.replace(new, path)
    sync(path.parent)


def remove(path: Path) -> None:
    """Remove a file, if it is there, for good."""
    if os.path.lexists(path):
        path.unlink(missing_ok=True)
        sync(path.parent)


def write(path: Path, content: bytes, mode: int = 0o644, owner: Owner | None = None) -> None:
    """Write a file so that it is either the old or the new one, whatever happens; its folder is made if need be."""
    make_folder(path.parent)
    write_new(beside(path), content, mode, owner)
    replace(beside(path), path)


def link(path: Path, target: str | Path) -> None:
    """Make a symbolic link, or have one lead elsewhere, in one step."""
    make_folder(path.parent)
    beside(path).unlink(missing_ok=True)
    beside(path).symlink_to(target)
    replace(beside(path), path)


def copy(source: Path, target: Path) -> None:
    """Copy a file or symbolic link, with owner and mode, to where nothing is; onto the disk."""
    if source.is_symlink():
        target.symlink_to(source.readlink())
        return
    status = source.stat()
    write_new(target, source.read_bytes(), status.st_mode & 0o7777, (status.st_uid, status.st_gid))


@dataclass(frozen=True)
class HostFile:
    """A file of root's as it should be; ``content`` is None where it should be gone.

    :param secret: its content is never shown.
    """

    path: Path
    content: bytes | None
    mode: int = 0o644
    secret: bool = False

    def before(self) -> bytes | None:
        """Return what the file holds now."""
        return read(self.path)

    def differs(self) -> bool:
        """Tell whether the file isn't as it should be."""
        before = self.before()
        if before is None or self.content is None:
            return before != self.content
        status = self.path.lstat()
        here = (status.st_mode & 0o7777, status.st_uid)
        # Root, wherever that matters: tests write as whoever runs them.
        return before != self.content or here != (self.mode, os.geteuid())

    def stage(self) -> None:
        """Write the new content beside the old one: a full disk shows before anything is changed."""
        if self.content is not None:
            make_folder(self.path.parent)
            write_new(beside(self.path), self.content, self.mode)

    def put(self) -> None:
        """Put what was staged in place, or remove the file."""
        if self.content is None:
            remove(self.path)
        else:
            replace(beside(self.path), self.path)

    def missing_folders(self) -> list[Path]:
        """Return the folders that have to be made for it, the innermost first."""
        return [] if self.content is None else [path for path in self.path.parents if not path.exists()]

    def part(self, shown: str = "") -> dict[str, str]:
        """Return the file's part of Ansible's diff.

        :param shown: stands for a content that isn't to be shown.
        """
        before, after = self.before(), self.content
        if shown or self.secret:
            old, new = ("" if content is None else shown or "(there)\n" for content in (before, after))
            new = "(changed)\n" if old and new and not shown else new
        else:
            old, new = ((content or b"").decode("utf-8", "replace") for content in (before, after))
        return diff_part(str(self.path), old, new)


def diff_part(name: str, before: str, after: str) -> dict[str, str]:
    """Return one part of Ansible's diff."""
    return {"before_header": name, "after_header": name, "before": before, "after": after}


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, if it is there."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
