"""Programs on a host: whole versions of plain files, one link, and nothing of the collection that they need besides."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.postern.mail_gateway.plugins.module_utils.certificates.configuration import PROGRAM
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.programs import (
    Program,
    package,
    write_package,
)
from ansible_collections.postern.mail_gateway.plugins.module_utils.rollback import program as rollback

PACKAGES = {
    "certificates": PROGRAM.files,
    "rollback": package(rollback, "postern-rollback", "rollback guard"),
}


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return replace(PROGRAM, library=tmp_path / "lib", commands=tmp_path / "sbin")


def another(program: Program, text: bytes) -> Program:
    """The same program in another version."""
    made = replace(program)
    made.__dict__["files"] = {**program.files, "postern/certificates/turns.py": text}
    return made


def run(command: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # As the host starts it: nothing of this machine's environment takes part.
    argv = [sys.executable, "-IB", str(command), *arguments]
    return subprocess.run(argv, check=False, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}, cwd="/")


@pytest.mark.parametrize("files", PACKAGES.values(), ids=PACKAGES)
def test_a_program_needs_nothing_but_its_own_files(tmp_path: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        for node in ast.walk(ast.parse(content)):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            assert {name.partition(".")[0] for name in names} <= {*sys.stdlib_module_names, "postern"}, path
    write_package(tmp_path, files)
    (start,) = (path for path in files if "/" not in path)
    done = run(tmp_path / start, "boot", str(tmp_path / "none"), "0") if start == "postern-rollback" else None
    done = done or run(tmp_path / start, "--help")
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.rglob("__pycache__"))


@pytest.mark.parametrize("files", PACKAGES.values(), ids=PACKAGES)
def test_everything_of_ours_is_imported_before_anything_is_done(files: dict[str, bytes]) -> None:
    """The files may be replaced or removed while a program runs."""
    for path, content in files.items():
        tree = ast.parse(content)
        late = {node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level} - set(tree.body)
        assert not late, f"{path} imports {', '.join(str(node.module) for node in late)} inside a function."


@pytest.mark.parametrize("files", PACKAGES.values(), ids=PACKAGES)
def test_a_person_can_read_it(files: dict[str, bytes]) -> None:
    for path, content in files.items():
        assert len(content.splitlines()) <= 400, path
        assert re.search(rb'^"""\w', content, re.MULTILINE), f"{path} doesn't say what it is."
    (start,) = (content for path, content in files.items() if "/" not in path)
    assert start.startswith(b"#!/usr/bin/python3 -IB\n# Written by Ansible (")


def test_a_version_is_put_there_once_and_is_whole(program: Program) -> None:
    assert not program.installed()
    before = os.umask(0o077)
    try:
        program.install()
    finally:
        os.umask(before)
    assert program.installed()
    assert program.command.readlink() == program.folder / "postern-certificates"
    modes = {path.name: path.stat().st_mode & 0o777 for path in program.folder.rglob("*")}
    assert modes.pop("postern-certificates") == 0o755
    assert {mode for name, mode in modes.items() if name.endswith(".py")} == {0o644}
    assert {mode for name, mode in modes.items() if not name.endswith(".py")} == {0o755}
    assert run(program.command, "--help").returncode == 0
    done = run(program.command, "--check", "--settings", "/nowhere/settings.json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "/nowhere/settings.json isn't there; run the role letsencrypt for this host.\n"


@pytest.mark.parametrize("damage", ["changed", "gone", "added", "not executable", "link", "folder"])
def test_what_somebody_changed_is_mended(program: Program, damage: str) -> None:
    program.install()
    start = program.folder / program.name
    match damage:
        case "changed":
            (program.folder / "postern" / "certificates" / "cli.py").write_text("raise SystemExit(9)\n")
        case "gone":
            (program.folder / "postern" / "host" / "files.py").unlink()
        case "added":
            (program.folder / "postern" / "certificates" / "socket.py").write_text("")
        case "not executable":
            start.chmod(0o644)
        case "link":
            program.command.unlink()
            program.command.symlink_to("/bin/true")
        case "folder":
            start.unlink()
    assert not program.installed()
    program.install()
    assert program.installed()
    assert run(program.command, "--help").returncode == 0


def test_the_version_before_stays_for_whoever_reads_it_just_now_and_no_other(program: Program) -> None:
    versions = [program, another(program, b"X = 1\n"), another(program, b"X = 2\n")]
    folders = []
    for version in versions:
        version.install()
        assert version.installed()
        folders.append(version.folder)
    assert len(set(folders)) == 3
    assert sorted(program.folder.parent.iterdir()) == sorted(folders[1:])


def test_a_single_file_of_an_older_release_is_replaced_in_one_step(program: Program) -> None:
    program.commands.mkdir()
    program.command.write_text("#!/usr/bin/python3 -I\nprint('old')\n")
    program.command.chmod(0o755)
    assert not program.installed()
    program.install()
    assert program.installed()
    assert sorted(path.name for path in program.commands.iterdir()) == [program.name]


def test_a_run_that_is_killed_leaves_the_old_version_or_the_new_one(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    program.install()
    new = another(program, b'"""Another."""\n' + program.files["postern/certificates/turns.py"])
    replaced, number = os.replace, 0
    while not new.installed():
        number += 1
        calls = 0

        def counted(source: Path, target: Path, last: int = number) -> None:
            nonlocal calls
            calls += 1
            if calls == last:
                raise Killed
            replaced(source, target)

        monkeypatch.setattr(os, "replace", counted)
        try:
            new.install()
        except Killed:
            assert run(program.command, "--help").returncode == 0
    assert number > len(new.files)


def test_nothing_is_left_of_a_program_that_goes(program: Program) -> None:
    program.install()
    program.remove()
    assert not program.command.is_symlink()
    assert not program.library.exists()
    program.remove()
