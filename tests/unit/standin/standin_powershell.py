"""A PowerShell of this machine, with the stand-in's modules. Where there is none, the tests that need one say so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from powershell import find_or_skip

HERE = Path(__file__).resolve().parents[2] / "standin"
PROGRAM = HERE / "powershell" / "powershell"


def environment(directory: Path) -> dict[str, str]:
    return {
        **os.environ,
        "STANDIN_POWERSHELL": str(find_or_skip()),
        "COMPUTERNAME": directory.name.upper(),
        "STANDIN_DIRECTORY": str(directory),
        "STANDIN_ORGANISATION": str(directory.parent),
        "STANDIN_PYTHON": sys.executable,
    }


def run(directory: Path, script: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a script as an Exchange server's powershell.exe would."""
    return subprocess.run(
        [sys.executable, PROGRAM, "-NoProfile", "-Command", script],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env=environment(directory),
    )


def result(directory: Path, script: str) -> Any:
    """What the script's `$result` is, as JSON."""
    done = run(
        directory, f"{script}\n[Console]::Out.Write('<<<' + (ConvertTo-Json $result -Depth 5 -Compress) + '>>>')"
    )
    assert "<<<" in done.stdout, done.stdout + done.stderr
    return json.loads(done.stdout.split("<<<")[1].split(">>>")[0])
