"""Which PowerShell the tests run scripts for Windows with: the one that lies here, packed, if nobody names another.

Python's library alone: set-up uses this before anything is installed.
"""

import hashlib
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
#: A path of a program, or `none`.
VARIABLE = "POSTERN_POWERSHELL"
PROGRAMS = ("powershell", "pwsh")


class PowerShellError(Exception):
    """One sentence: the variable names a PowerShell that isn't there."""


@cache
def _folder(archive: Path) -> Path:
    """Return the folder that belongs to this archive's content."""
    return UNPACKED / hashlib.sha256(archive.read_bytes()).hexdigest()[:12] / "powershell"


def _fits() -> bool:
    return ARCHIVE.is_file() and platform.machine().lower() in PROCESSORS


def _named() -> str:
    return os.environ.get(VARIABLE, "")


def missing() -> bool:
    """Tell whether the archive is what `find` takes, and isn't unpacked yet."""
    return not _named() and _fits() and not _folder(ARCHIVE).is_dir()


def unpack() -> None:
    """Unpack the archive below `.cache/`, unless it is there or isn't what `find` takes."""
    if not missing():
        return
    target = _folder(ARCHIVE)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Several processes may do this at once, and each may be killed: what is there is whole.
    with tempfile.TemporaryDirectory(dir=target.parent) as aside, tarfile.open(ARCHIVE) as packed:
        if hasattr(tarfile, "data_filter"):  # since 3.12, and in the security updates of the others
            packed.extractall(aside, filter="data")
        else:
            packed.extractall(aside)  # noqa: S202 - the project's own file
        try:
            (Path(aside) / "powershell").rename(target)
        except OSError:
            if not target.is_dir():
                raise


def find() -> Path | None:
    """Return the program to run scripts with; None where there is none.

    What POSTERN_POWERSHELL names (a program, the folder that it is in, or `none`); the archive; a program on the PATH
    only where the archive doesn't fit the processor.

    Raises:
        PowerShellError: The variable names something that isn't there, or the archive wasn't unpacked.
    """
    named = _named()
    if named == "none":
        return None
    if named:
        found = [path for path in (Path(named), *(Path(named) / name for name in PROGRAMS)) if path.is_file()]
        if not found or not os.access(found[0], os.X_OK):
            raise PowerShellError(
                f"{VARIABLE} is '{named}', where there is no PowerShell: name its program or its folder, or say 'none'."
            )
        return found[0].resolve()
    if _fits():
        if not _folder(ARCHIVE).is_dir():
            raise PowerShellError("The PowerShell of the tests isn't unpacked: run 'make environment'.")
        return _folder(ARCHIVE) / "powershell"
    on_path = next(filter(None, map(shutil.which, PROGRAMS)), None)
    return Path(on_path).resolve() if on_path else None


def absence() -> str:
    """Say in one sentence why there is no PowerShell, and what to do, where `find` returns None."""
    if _named() == "none":
        return f"{VARIABLE} is 'none', so there is no PowerShell."
    return (
        f"There is no PowerShell for this machine's processor, {platform.machine()}: put pwsh on the PATH, or name one "
        f"in {VARIABLE}."
    )
