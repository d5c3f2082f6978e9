"""Which PowerShell is taken: what is named, the archive, one on the PATH only where the archive doesn't fit."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

import powershell


@pytest.fixture(autouse=True)
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small archive in place of the project's, and nothing unpacked."""
    program(tmp_path / "packed" / "powershell" / "powershell")
    file = tmp_path / "archive.tar.xz"
    with tarfile.open(file, "w:xz") as packed:
        packed.add(tmp_path / "packed" / "powershell", "powershell")
    monkeypatch.setattr(powershell, "ARCHIVE", file)
    monkeypatch.setattr(powershell, "UNPACKED", tmp_path / "unpacked")
    monkeypatch.setattr(powershell.platform, "machine", lambda: "x86_64")
    monkeypatch.delenv(powershell.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(program(tmp_path / "path" / "pwsh").parent))
    program(tmp_path / "path" / "other")
    return file


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_archive_is_taken_whatever_is_on_the_path(tmp_path: Path) -> None:
    powershell.unpack()
    found = powershell.find()
    assert found is not None
    assert found.is_relative_to(tmp_path / "unpacked")
    assert found.stat().st_mode & 0o111


def test_unpacking_again_does_nothing_and_another_archive_has_a_place_of_its_own(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    powershell.unpack()
    before = powershell.find()
    assert not powershell.is_missing()
    other = tmp_path / "other.tar.xz"
    other.write_bytes(archive.read_bytes() + b"\0" * 4)
    monkeypatch.setattr(powershell, "ARCHIVE", other)
    assert powershell.is_missing()
    powershell.unpack()
    assert powershell.find() != before


@pytest.mark.parametrize("harm", ["gone", "empty"])
def test_what_was_unpacked_and_harmed_is_unpacked_again(harm: str) -> None:
    powershell.unpack()
    found = powershell.find()
    assert found is not None
    if harm == "gone":
        found.unlink()
    else:
        found.write_text("")
    (found.parents[1] / "tmpleft").mkdir()
    assert powershell.is_missing()
    powershell.unpack()
    assert powershell.find() == found
    assert [path.name for path in found.parents[1].iterdir()] == ["powershell"]


def test_an_archive_that_is_not_unpacked_is_one_sentence() -> None:
    with pytest.raises(powershell.PowerShellError, match=r"isn't unpacked: run 'make environment'\.$"):
        powershell.find()


def test_on_another_processor_one_on_the_path_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(powershell.platform, "machine", lambda: "aarch64")
    assert not powershell.is_missing()
    assert powershell.find() == tmp_path / "path" / "pwsh"
    monkeypatch.setenv("PATH", "")
    assert powershell.find() is None
    assert powershell.absence().startswith("There is no PowerShell for this machine's processor, aarch64: ")


@pytest.mark.parametrize("named", ["own/pwsh", "own"])
def test_what_is_named_is_taken(named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = program(tmp_path / "own" / "pwsh")
    monkeypatch.setenv(powershell.VARIABLE, str(tmp_path / named))
    assert not powershell.is_missing()
    assert powershell.find() == own


def test_of_both_names_in_a_folder_the_lab_and_the_tests_take_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = program(tmp_path / "own" / "powershell")
    (tmp_path / "own" / "pwsh").symlink_to(own)
    monkeypatch.setenv(powershell.VARIABLE, str(own.parent))
    assert powershell.find() == own


@pytest.mark.parametrize("left", [0, 20, 100])
def test_an_archive_that_is_damaged_or_gone_is_one_sentence(left: int, archive: Path) -> None:
    content = archive.read_bytes()[:left]
    archive.write_bytes(content)
    with pytest.raises(powershell.PowerShellError, match=r"^\S+ is damaged: get it back from git\.$"):
        powershell.unpack()
    assert powershell.is_missing()
    archive.unlink()
    powershell._folder.cache_clear()
    with pytest.raises(powershell.PowerShellError, match=r"can't be read \(No such file or directory\): get it back"):
        powershell.is_missing()


def test_none_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(powershell.VARIABLE, "none")
    assert powershell.find() is None
    assert powershell.absence() == "POSTERN_POWERSHELL is 'none', so there is no PowerShell."


@pytest.mark.parametrize("named", ["/nowhere", "archive.tar.xz", "packed", "path/other"])
def test_what_is_named_and_not_there_is_one_sentence(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(powershell.VARIABLE, str(tmp_path / named))
    with pytest.raises(powershell.PowerShellError, match=r"which is no program named powershell or pwsh, nor "):
        powershell.find()
