# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that lie on a host: packages of plain files, made from the very sources that the modules run.

A program has a folder for each of its versions, named by a digest, and one link that leads into the newest::

    /usr/local/lib/postern/postern-certificates/3f1c0de4a8b2/postern-certificates
    /usr/local/lib/postern/postern-certificates/3f1c0de4a8b2/postern/certificates/cli.py …
    /usr/local/sbin/postern-certificates -> …/3f1c0de4a8b2/postern-certificates

The link is swapped once all files are on the disk, so there is no moment with a half of one version and a half of
another. The version before stays, for a run that is just reading it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType

from .files import link, mark, read, remove, remove_tree, write

LIBRARY = Path("/usr/local/lib/postern")
COMMANDS = Path("/usr/local/sbin")
PACKAGE = "postern"
SOURCES = "module_utils"

_START = '''#!/usr/bin/python3 -IB
{mark}
"""Starts {package}/{path}."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

# All of it is imported before anything is done: the files may be replaced meanwhile.
from {module} import main  # noqa: E402 (the path comes first)

sys.exit(main())
'''


def imported(module: ModuleType) -> Iterator[ModuleType]:
    """Return the modules of ours that a module imports, which is always done by relative imports."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), module.__package__)
            for name in (base, *(f"{base}.{one.name}" for one in node.names)):
                if (found := sys.modules.get(name)) and not hasattr(found, "__path__"):
                    yield found


def closure(entry: ModuleType) -> list[ModuleType]:
    """Return a module and all of ours that it needs."""
    found = [entry]
    for module in found:
        found += [one for one in dict.fromkeys(imported(module)) if one not in found]
    return found


def package(entry: ModuleType, name: str, owner: str) -> dict[str, bytes]:
    """Return the files of a program by their paths: its start, and the sources as they are in the collection.

    :param entry: the module whose function ``main`` is the program.
    :param name: of the program.
    :param owner: who writes it, for the mark.
    """
    files = {}
    for module in closure(entry):
        path = module.__name__.rpartition(f".{SOURCES}.")[2].replace(".", "/")
        files[f"{PACKAGE}/{path}.py"] = inspect.getsource(module).encode()
    path = entry.__name__.rpartition(f".{SOURCES}.")[2]
    start = _START.format(
        mark=mark(owner), package=PACKAGE, path=f"{path.replace('.', '/')}.py", module=f"{PACKAGE}.{path}"
    )
    return {**files, name: start.encode()}


def write_package(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of a program into a folder; the ones in its top folder are to be started."""
    for path, content in sorted(files.items()):
        write(folder / path, content, 0o644 if "/" in path else 0o755)


@dataclass(frozen=True)
class Program:
    """A program on a host.

    :param name: by which people call it.
    :param owner: who writes it, for the mark.
    :param entry: the module whose function ``main`` it is.
    """

    name: str
    owner: str
    entry: ModuleType
    library: Path = LIBRARY
    commands: Path = COMMANDS

    @property
    def command(self) -> Path:
        """The link by which it is called."""
        return self.commands / self.name

    @cached_property
    def files(self) -> dict[str, bytes]:
        """Its files by their paths."""
        return package(self.entry, self.name, self.owner)

    @property
    def folder(self) -> Path:
        """Where its present version lies."""
        digest = hashlib.sha256(repr(sorted(self.files.items())).encode()).hexdigest()
        return self.library / self.name / digest[:12]

    def installed(self) -> bool:
        """Tell whether the host has this version, whole, and calls it."""
        there = {str(path.relative_to(self.folder)): path for path in self.folder.rglob("*") if path.is_file()}
        return (
            self.command.is_symlink()
            and self.command.readlink() == self.folder / self.name
            and there.keys() == self.files.keys()
            and all(read(path) == self.files[name] for name, path in there.items())
            and os.access(self.folder / self.name, os.X_OK)
        )

    def install(self) -> None:
        """Put this version onto the host, and have the link lead to it; a file of that name is replaced."""
        before = self.command.resolve().parent if self.command.is_symlink() else None
        write_package(self.folder, self.files)
        for path in self.folder.rglob("*"):
            if path.is_file() and str(path.relative_to(self.folder)) not in self.files:
                remove(path)
        link(self.command, self.folder / self.name)
        for path in self.folder.parent.iterdir():
            if path not in (self.folder, before):
                remove_tree(path)

    def remove(self) -> None:
        """Remove the program with all its versions."""
        remove(self.command)
        remove_tree(self.library / self.name)
        if self.library.is_dir() and not any(self.library.iterdir()):
            self.library.rmdir()
