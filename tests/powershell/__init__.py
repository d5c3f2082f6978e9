"""Which PowerShell the tests run scripts for Windows with: the one that lies here, packed, if nobody names another.

Python's library alone: set-up uses this before anything is installed.
"""

import hashlib
import lzma
import os
import platform
import shutil
import tarfile
import tempfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ARCHIVE = Path(__file__).parent / "powershell-linux-x64.tar.xz"
UNPACKED = ROOT / ".cache" / "powershell"
#: What `platform.machine` says where the archive runs.
PROCESSORS = ("x86_64", "amd64")
#: A program, the folder that it is in, or `none`.
VARIABLE = "POSTERN_POWERSHELL"
#: In this order, as in the lab, where the folder alone is seen.
PROGRAMS = ("powershell", "pwsh")


class PowerShellError(Exception):
    """One sentence: the PowerShell that should be taken isn't there."""


def _named() -> str:
    return os.environ.get(VARIABLE, "")


def _is_packed() -> bool:
    """Tell whether the archive is the one to take: nobody names another, and it fits the processor."""
    return not _named() and platform.machine().lower() in PROCESSORS


@cache
def _folder(archive: Path) -> Path:
    """Return the folder that belongs to this archive's content."""
    try:
        content = archive.read_bytes()
    except OSError as error:
        raise PowerShellError(f"{archive} can't be read ({error.strerror}): get it back from git.") from error
    return UNPACKED / hashlib.sha256(content).hexdigest()[:12] / "powershell"


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK) and path.stat().st_size > 0


def is_missing() -> bool:
    """Tell whether the archive is what `find` takes, and isn't unpacked yet.

    Raises:
        PowerShellError: The archive isn't there.
    """
    return _is_packed() and not _is_program(_folder(ARCHIVE) / "powershell")


def unpack() -> None:
    """Unpack the archive below `.cache/`, whether it is needed or not.

    Raises:
        PowerShellError: The archive isn't there, or damaged.
    """
    target = _folder(ARCHIVE)
    target.parent.mkdir(parents=True, exist_ok=True)
    # This may be killed: what is there is complete, and what isn't goes the next time. Set-up does it once at a time.
    for left in target.parent.iterdir():
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=target.parent) as aside:
        try:
            with tarfile.open(ARCHIVE) as packed:
                if hasattr(tarfile, "data_filter"):  # since 3.12, and in the security updates of the others
                    packed.extractall(aside, filter="data")
                else:
                    packed.extractall(aside)  # noqa: S202 - the project's own file
        except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
            raise PowerShellError(f"{ARCHIVE} is damaged: get it back from git.") from error
        (Path(aside) / "powershell").rename(target)


def find() -> Path | None:
    """Return the program to run scripts with; None where there is none.

    What POSTERN_POWERSHELL names (a program, the folder that it is in, or `none`); the archive; a program on the PATH
    only where the archive doesn't fit the processor.

    Raises:
        PowerShellError: The variable names something that isn't one, or the archive wasn't unpacked.
    """
    named = _named()
    if named == "none":
        return None
    if named:
        path = ROOT / named
        candidates = [path / name for name in PROGRAMS] if path.is_dir() else [path]
        for program in candidates:
            if program.name in PROGRAMS and _is_program(program):
                return program.resolve()
        raise PowerShellError(
            f"{VARIABLE} is '{named}', which is no program named {' or '.join(PROGRAMS)}, nor a folder with one: name "
            "one, or say 'none'."
        )
    if _is_packed():
        if is_missing():
            raise PowerShellError("The PowerShell of the tests isn't unpacked: run 'make environment'.")
        return _folder(ARCHIVE) / "powershell"
    on_path = next(filter(None, map(shutil.which, PROGRAMS)), None)
    return Path(on_path).resolve() if on_path else None


def find_or_skip() -> Path:
    """Return the program for a test; where there is none, the test is skipped and says why."""
    import pytest

    found = find()
    if found is None:
        pytest.skip(absence())
    return found


def absence() -> str:
    """Say in one sentence why there is no PowerShell, and what to do, where `find` returns None."""
    if _named() == "none":
        return f"{VARIABLE} is 'none', so there is no PowerShell."
    return (
        f"There is no PowerShell for this machine's processor, {platform.machine()}: put pwsh on the PATH, or name one "
        f"in {VARIABLE}."
    )
