"""Calls of podman, with the lab's own settings and errors in one sentence."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.errors import LabError

ENVIRONMENT = {**os.environ, "CONTAINERS_CONF": str(Path(__file__).parent / "containers.conf")}
WATCHERS = 1024
LOST = 50  # containers without a network, of all labs of the machine, that are brought to light
#: What a command in a host finds in its environment.
INSIDE = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "TERM": "xterm"}
NEEDED = {
    "podman": "podman",
    "runc": "runc",
    "mmdebstrap": "mmdebstrap",
    "ssh-keygen": "openssh-client",
    "openssl": "openssl",
    "ip": "iproute2",
    "nsenter": "util-linux",
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


def first_process(container: str) -> int:
    """Return the number of a container's first process, 0 if the container isn't at work, whatever podman lists."""
    done = podman("container", "inspect", "--format={{.State.Pid}}", container, check=False)
    number = int(done.stdout) if done.returncode == 0 else 0
    return number if start_time(number) else 0


def start_time(number: int) -> str:
    """Return when a process was started, which tells it from a later one of the same number; empty if it is dead."""
    try:
        # The name, in parentheses, may hold anything. A zombie has no namespaces any more.
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def inside(number: int, argv: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Return the command that runs another one in the container of this first process, as ``podman exec`` would.

    Only without starting podman, conmon and runc for it, which cost more than most commands.
    """
    namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid")
    # No command may do more to this machine than the host it is in: set the clock, for one.
    status = Path(f"/proc/{number}/status").read_text()
    bounds = int(status.partition("CapBnd:")[2].split()[0], 16)
    allowed = ",".join(f"+cap_{bit}" for bit in range(bounds.bit_length()) if bounds >> bit & 1)
    assignments = [f"{name}={value}" for name, value in (INSIDE | dict(environment)).items()]
    entering = ["nsenter", f"--target={number}", *namespaces, "--", "setpriv", f"--bounding-set=-all,{allowed}"]
    return [*entering, "env", "-i", *assignments, *argv]


def run(
    command: Sequence[str],
    what: str,
    data: str | None,
    timeout: float | None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command with this text on standard input (none: nothing), and return what it printed.

    Raises:
        LabError: It took more seconds than ``timeout``; the sentence begins with ``what``.
    """
    try:
        return subprocess.run(
            command,
            input=data,
            capture_output=True,
            text=True,
            env=environment,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL if data is None else None,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{what} did not finish within {timeout:.0f} seconds.") from error


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
        done = run(["podman", *arguments], f"'podman {what}'", data, timeout, ENVIRONMENT)
    except FileNotFoundError as error:
        raise LabError("The program podman isn't installed: run 'make setup'.") from error
    if check and done.returncode:
        raise LabError(f"'podman {what}' failed: {last_line(done.stderr)}")
    return done


def containers(label: str) -> list[dict[str, Any]]:
    """Return podman's entries of all containers with this label, running or not."""
    command = ("ps", "--all", "--filter", f"label={label}", "--format", "json")
    done = podman(*command, check=False)
    for _ in range(LOST):
        if done.returncode == 0 or not _mend(done.stderr):
            break
        done = podman(*command, check=False)
    if done.returncode:
        raise LabError(f"'podman ps' failed: {last_line(done.stderr)}")
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return found


def _mend(said: str) -> bool:
    """Give a lab's container a network namespace again, so that podman can list it; tell whether there was one.

    podman lists nothing at all once the namespace of one container is gone, as when the mounts of whoever started it
    went with him. Such a container is of no use: it is found dead, and made anew or removed.
    """
    lost = re.search(r"container ([0-9a-f]{64}).*?(/run/netns/netns-[0-9a-f-]+)", said)
    if not lost:
        return False
    label = '{{index .Config.Labels "postern.checkout"}}'
    if not podman("container", "inspect", f"--format={label}", lost[1], check=False).stdout.strip():
        return False
    # Nor is there the directory, where the machine was started anew.
    Path(lost[2]).parent.mkdir(parents=True, exist_ok=True)
    Path(lost[2]).touch()
    return subprocess.run(["unshare", f"--net={lost[2]}", "true"], capture_output=True, check=False).returncode == 0


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
