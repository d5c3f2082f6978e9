# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of files that is replaced as a whole, or not at all.

The new files are written into a staging folder on the same file system (so that a full disk shows before
anything is replaced), validated there by the caller, and then renamed over the old ones, which are kept as
hard links until the caller commits. A manifest in the root remembers which files are ours: what it names
and the new set doesn't is removed, and nothing else.

A transaction that is killed leaves its staging folder behind; the next one starts by removing it.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..values.sentences import show
from .errors import HostError
from .files import make_folder, read, remove, remove_tree, replace, write_new

MANIFEST = ".postern-files.json"
STAGING = ".postern-staging"
FOREIGN = ".before-postern"
"""What the copy of a file ends with that somebody else made and one of ours came in place of."""


@dataclass(frozen=True)
class ManagedFile:
    """A file that should exist: ``path`` is relative to the root, ``content`` exact, ``mode`` as in chmod(2)."""

    path: str
    content: bytes
    mode: int = 0o644


@dataclass(frozen=True)
class Change:
    """What would happen to one file: ``before`` is None where it is new, ``after`` is None where it goes."""

    path: str
    before: bytes | None
    after: bytes | None
    mode_before: int | None
    mode_after: int | None


def safe_path(path: str) -> str:
    """Return ``path`` in its shortest spelling if it stays below the root; raise HostError otherwise."""
    parts = Path(path).parts
    if (
        not parts
        or Path(path).is_absolute()
        or ".." in parts
        or not path.isprintable()
        or parts[0] in (MANIFEST, STAGING)
    ):
        raise HostError(f"The file name {show(path)} must be relative and stay below the folder it is managed in.")
    return str(Path(path))


def _read(path: Path) -> bytes | None:
    try:
        return read(path)
    except OSError as error:
        raise HostError(f"{path} can't be read ({error.strerror}); nothing was changed.") from error


class FileTransaction:
    """The managed files below one root.

    Use: ``changes()``; then ``stage()``, validate what is in ``staging``, ``swap()``; then ``commit()`` or
    ``restore()``.

    :param root: the folder, which must exist unless only ``changes()`` is asked for.
    :param files: every file that should be there and is ours.
    :param kept: relative paths of files that stay as they are; those among them that an earlier transaction made
    stay ours.
    """

    def __init__(self, root: str | Path, files: Iterable[ManagedFile], kept: Sequence[str] = ()) -> None:
        self.root = Path(root)
        self.staging = self.root / STAGING
        self.files = {safe_path(file.path): file for file in files}
        self.kept = sorted({safe_path(path) for path in kept} - set(self.files))
        # Paths that the swap has set about, and whether something was there before.
        self._swapped: list[tuple[str, bool]] = []
        # Copies of others' files that it has made.
        self._copies: list[str] = []

    def previous(self) -> list[str]:
        """Return the relative paths that the last committed transaction made."""
        content = _read(self.root / MANIFEST)
        if content is None:
            return []
        try:
            paths = json.loads(content)
        except ValueError:
            paths = None
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise HostError(
                f"{self.root / MANIFEST} is not a list of file names; "
                "remove it (nothing will be pruned then) and run again."
            )
        return [safe_path(path) for path in paths]

    def changes(self) -> list[Change]:
        """Return what differs from the wanted set, in the order of the paths."""
        found: list[Change] = []
        for path, file in self.files.items():
            before = _read(self.root / path)
            mode = (self.root / path).stat().st_mode & 0o7777 if before is not None else None
            if before != file.content or mode != file.mode:
                found.append(Change(path, before, file.content, mode, file.mode))
        for path in set(self.previous()) - set(self.files) - set(self.kept):
            before = _read(self.root / path)
            if before is not None:
                found.append(Change(path, before, None, (self.root / path).stat().st_mode & 0o7777, None))
        return sorted(found, key=lambda change: change.path)

    def foreign(self) -> dict[str, str]:
        """Return the files of somebody else's that ours come in place of, each with the name of its copy.

        Ours are those on the list of an earlier transaction, whatever they are called.
        """
        ours = set(self.previous())
        return {
            change.path: self._copy_of(change.path, change.before)
            for change in self.changes()
            if change.path not in ours and change.before is not None and change.before != change.after
        }

    def _copy_of(self, path: str, content: bytes) -> str:
        """Return the first name beside a file that is free, or whose file holds the same already."""
        for number in itertools.count():
            name = f"{path}{FOREIGN}{f'.{number}' if number else ''}"
            if _read(self.root / name) in (None, content):
                return name
        raise AssertionError  # there is always a next number

    def stage(self, folder: Path | None = None) -> Path:
        """Write every wanted file into a folder and return it; kept files are linked into it.

        :param folder: another place than the staging folder, for a check that must not write below the root.
        """
        new = folder or self._new
        try:
            if folder is None:
                self.discard()
                make_folder(self.staging, 0o700)
            make_folder(new, 0o700)
            for file in self.files.values():
                target = new / file.path
                make_folder(target.parent)
                write_new(target, file.content, file.mode)
            for path in self.kept:
                target = new / path
                make_folder(target.parent)
                target.symlink_to(self.root / path)
        except OSError as error:
            if folder is None:
                shutil.rmtree(self.staging, ignore_errors=True)
            raise HostError(
                f"The new files can't be written below {folder or self.root} ({error.strerror}); nothing was changed."
            ) from error
        return new

    def swap(self) -> None:
        """Put the staged files in place of the old ones, and remove those that are ours no more."""
        changes, foreign = self.changes(), self.foreign()
        try:
            # Both sets are remembered until the commit, so that a run killed in between leaves no orphan.
            self._save(MANIFEST)
            self._remember({*self.previous(), *self.files})
            for change in changes:
                self._save(change.path)
                if change.path in foreign:
                    self._keep(change.path, foreign[change.path])
                target = self.root / change.path
                if change.after is None:
                    remove(target)
                else:
                    make_folder(target.parent)
                    replace(self._new / change.path, target)
        except OSError as error:
            self.restore()
            raise HostError(
                f"The files below {self.root} can't be replaced ({error.strerror}); the old ones are in place again."
            ) from error

    def restore(self) -> None:
        """Put the old files back after a swap, and the manifest last; this takes no space on the disk."""
        for path, existed in reversed(self._swapped):
            if existed:
                replace(self._old / path, self.root / path)
            else:
                remove(self.root / path)
        for copy in self._copies:
            remove(self.root / copy)
        self._copies.clear()
        self._swapped.clear()
        self.discard()

    def commit(self) -> None:
        """Forget the old files: the new ones are good."""
        self._remember(self._ours())
        self._copies.clear()
        self._swapped.clear()
        self.discard()

    def discard(self) -> None:
        """Remove the staging folder, this transaction's or one that a killed run left."""
        remove_tree(self.staging)

    def interrupted(self) -> bool:
        """Tell whether an earlier run was cut short. Which files were in use meanwhile can't be known then."""
        return os.path.lexists(self.staging)

    def committed(self) -> bool:
        """Tell whether the manifest names exactly this set and no staging folder is left."""
        return self.previous() == sorted(self._ours()) and not self.interrupted()

    @property
    def _new(self) -> Path:
        return self.staging / "new"

    @property
    def _old(self) -> Path:
        return self.staging / "old"

    def _save(self, path: str) -> None:
        """Keep what is there now as a hard link (a link stays a link) for ``restore``."""
        existed = os.path.lexists(self.root / path)
        if existed:
            make_folder((self._old / path).parent)
            os.link(self.root / path, self._old / path, follow_symlinks=False)
        self._swapped.append((path, existed))

    def _keep(self, path: str, copy: str) -> None:
        """Keep somebody else's file for good, as a second name of it, which takes no space."""
        if not os.path.lexists(self.root / copy):
            os.link(self.root / path, self.root / copy, follow_symlinks=False)
            self._copies.append(copy)

    def _ours(self) -> set[str]:
        return {*self.files, *(set(self.kept) & set(self.previous()))}

    def _remember(self, paths: set[str]) -> None:
        make_folder(self.staging, 0o700)
        fresh = self.staging / MANIFEST
        write_new(fresh, json.dumps(sorted(paths), indent=1).encode() + b"\n", 0o644)
        replace(fresh, self.root / MANIFEST)
