"""Calls of podman, with the lab's own settings and errors in one sentence."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.errors import LabError

ENVIRONMENT = {**os.environ, "CONTAINERS_CONF": str(Path(__file__).parent / "containers.conf")}
WATCHERS = 1024
NEEDED = {
    "podman": "podman",
    "runc": "runc",
    "mmdebstrap": "mmdebstrap",
    "ssh-keygen": "openssh-client",
    "openssl": "openssl",
    "ip": "iproute2",
}


def check_machine() -> None:
    """Raise LabError if the lab can't run here: who calls isn't root, or programs are missing."""
    if os.geteuid() != 0:
        raise LabError("The lab needs root, because it makes network bridges: run it as root.")
    missing = sorted(package for program, package in NEEDED.items() if not shutil.which(program))
    if missing:
        raise LabError(f"The lab needs {', '.join(missing)}: run 'make setup', which installs what is missing.")


def make_room() -> None:
    """Raise the machine's limit of file watchers, which a dozen of systemds would exhaust, if it is low."""
    limit = Path("/proc/sys/fs/inotify/max_user_instances")
    if int(limit.read_text()) < WATCHERS:
        limit.write_text(f"{WATCHERS}\n")


def last_line(text: str) -> str:
    """Return the last line that says something, for a sentence."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def podman(
    *arguments: str, data: str | None = None, check: bool = True, timeout: float | None = 300
) -> subprocess.CompletedProcess[str]:
    """Run podman and return what it printed.

    Args:
        arguments: Its command line.
        data: Standard input.
        check: Raise when the exit status isn't 0.
        timeout: Seconds.

    Raises:
        LabError: podman isn't there, failed, or took too long.
    """
    what = " ".join(arguments[:2])
    try:
        done = subprocess.run(
            ["podman", *arguments],
            input=data,
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL if data is None else None,
        )
    except FileNotFoundError as error:
        raise LabError("The program podman isn't installed: run 'make setup'.") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"'podman {what}' did not finish within {timeout:.0f} seconds.") from error
    if check and done.returncode:
        raise LabError(f"'podman {what}' failed: {last_line(done.stderr)}")
    return done


def containers(label: str) -> list[dict[str, Any]]:
    """Return podman's entries of all containers with this label, running or not."""
    found: list[dict[str, Any]] = json.loads(
        podman("ps", "--all", "--filter", f"label={label}", "--format", "json").stdout or "[]"
    )
    return found


def networks() -> list[dict[str, Any]]:
    """Return podman's entries of all networks of this machine."""
    # Another lab's may go between the two questions.
    for attempt in range(5):
        names = podman("network", "ls", "--quiet").stdout.split()
        asked = podman("network", "inspect", *names, check=attempt == 4) if names else None
        if asked is None or asked.returncode == 0:
            break
    found: list[dict[str, Any]] = json.loads(asked.stdout) if asked else []
    return found


def remove_containers(names: Sequence[str]) -> None:
    """Remove containers at once, whatever state they are in. Names that aren't there are no error."""
    command = ["rm", "--force", "--ignore", "--time", "0", "--volumes", *names]
    # podman takes a container whose process was killed for a running one, finds out, and then refuses once.
    for attempt in range(3 if names else 0):
        if podman(*command, check=attempt == 2).returncode == 0:
            return
        time.sleep(0.5)


def image_exists(name: str) -> bool:
    """Tell whether an image is in the machine's storage."""
    return podman("image", "exists", name, check=False).returncode == 0
