"""What the tools of publishing share: an environment of their own below `.cache/`, and copies of what git knows."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "publish"


class ToolsError(Exception):
    """One sentence that says what is missing."""


def environment() -> Path:
    """The programs of requirements.txt; they are apart because they want other libraries than the tests.

    Raises:
        ToolsError: pip can't install them.
    """
    requirements = Path(__file__).with_name("requirements.txt")
    venv = CACHE / "venv"
    mark = venv / "made-from"
    made_from = hashlib.sha256(f"{sys.version}{requirements.read_text()}".encode()).hexdigest()
    if not mark.is_file() or mark.read_text() != made_from:
        shutil.rmtree(venv, ignore_errors=True)
        # The interpreter behind ours: an environment made from an environment finds the libraries of both.
        _run([str(Path(sys.executable).resolve()), "-m", "venv", str(venv)])
        _run([str(venv / "bin" / "pip"), "install", "--quiet", "--no-deps", "--requirement", str(requirements)])
        mark.write_text(made_from)
    return venv / "bin"


def copy(source: Path, target: Path) -> None:
    """Copy what git tracks, and what it would add."""
    for name in known(source):
        if (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)


def known(source: Path) -> list[str]:
    """Every file of the project by name."""
    command = ["git", "-c", f"safe.directory={source}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=source, check=True, capture_output=True, text=True).stdout
    return sorted(set(filter(None, listing.split("\0"))))


def _run(command: list[str]) -> None:
    ran = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ran.returncode:
        lines = ran.stdout.strip().splitlines() or ["no message"]
        raise ToolsError(f"'{' '.join(command[:3])}' failed: {lines[-1]}")
