"""A machine that holds nothing but a clone: what set-up and lab stand on, the project's own files install or bring.

In a mount namespace, home, /usr/local, /opt and the folder of this working copy are empty, and so is the environment. A
folder beside the working copy, or a Python that only a developer has, isn't found there.
"""

from __future__ import annotations

import fcntl
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import powershell
from lab.lab import FRESH as PLACE

ROOT = Path(__file__).resolve().parents[3]
HIDDEN = ["/root", "/home", "/usr/local", "/opt"]
#: Folders that a system can't do without, should somebody have cloned right into one of them.
NEEDED = {"/", "/boot", "/dev", "/etc", "/mnt", "/proc", "/run", "/sys", "/usr", "/usr/bin", "/var", "/var/lib"}
if str(ROOT.parent) not in NEEDED:
    HIDDEN.append(str(ROOT.parent))
ENTER = """
set -e
clone=$1 place=$2; shift 2
# What is mounted in here stays in here. Only namespaces of networks are to be seen outside, by other labs' podman.
findmnt --raw --noheadings --output TARGET | while read -r target; do
    case $target in
        /run/netns*) ;;
        *) mount --make-private "$(printf %b "$target")" ;;
    esac
done
mount --bind "$clone" "$place"
while [ "$1" != -- ]; do
    if [ -d "$1" ]; then
        if [ "$(findmnt --noheadings --output PROPAGATION --target "$1")" != private ]; then
            echo "$1 is on a mount that is shared with others." >&2
            exit 1
        fi
        mount -t tmpfs tmpfs "$1"
    fi
    shift
done
shift
cd "$place"
exec "$@"
"""
ENTERING = ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", ENTER, "sh"]
ENVIRONMENT = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"]

#: Whether this processor is one that the project's own PowerShell runs on.
FITS = platform.machine().lower() in powershell.PROCESSORS

Run = Callable[..., str]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git knows of this working copy, with changes that aren't committed; a file that was never added is none."""
    folder = tmp_path_factory.mktemp("fresh") / "clone"
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    return folder


@pytest.fixture(scope="module")
def run(clone: Path) -> Iterator[Run]:
    """``run("make", "lab")``: run a command there; return what it printed."""
    lock = (ROOT / ".cache" / "fresh.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)  # there is one place
    PLACE.mkdir(exist_ok=True)
    # From then on /run/netns is a mount that namespaces share, whoever came first.
    subprocess.run(["ip", "netns", "delete", PLACE.name], check=False, capture_output=True)  # of a run that was killed
    for verb in ("add", "delete"):
        subprocess.run(["ip", "netns", verb, PLACE.name], check=True)

    def in_place(*command: str, status: int = 0) -> str:
        done = subprocess.run(
            [*ENTERING, str(clone), str(PLACE), *HIDDEN, "--", "env", "-i", *ENVIRONMENT, *command],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    yield in_place
    in_place("make", "lab-down")
    PLACE.rmdir()
    shutil.rmtree(clone)
    lock.close()


@pytest.fixture(scope="module")
def set_up(run: Run) -> str:
    return run("make", "setup")


@pytest.fixture(scope="module")
def lab(run: Run, set_up: str) -> str:
    return run("make", "lab")


def test_nothing_is_there_but_the_clone(run: Run) -> None:
    shown = run("sh", "-c", 'for folder; do if [ -d "$folder" ]; then ls -A "$folder"; fi; done', "sh", *HIDDEN)
    assert shown == ""
    assert any(Path(folder).is_dir() and any(Path(folder).iterdir()) for folder in HIDDEN), "they are hidden here too"


def test_set_up_needs_nothing_else_and_says_what_it_does(set_up: str) -> None:
    assert "==> Python packages of tests/requirements.txt" in set_up
    assert ("==> The PowerShell of the tests" in set_up) == FITS


def test_a_second_set_up_has_nothing_to_do(run: Run, set_up: str) -> None:
    assert "==>" not in run("make", "setup")


@pytest.mark.usefixtures("lab")
def test_every_host_of_the_lab_is_at_work(run: Run) -> None:
    status = run("/usr/bin/python3", "tests/lab/lab", "status")
    assert "down" not in status
    assert status.count("running") >= 8


@pytest.mark.skipif(not FITS, reason="The PowerShell of the tests doesn't fit this processor.")
@pytest.mark.usefixtures("lab")
def test_exchange_servers_run_the_projects_own_powershell(run: Run) -> None:
    version = "[Console]::Out.Write($PSVersionTable.PSVersion.ToString(2))"
    command = ["powershell", "-NoProfile", "-Command", version]
    assert run("/usr/bin/python3", "tests/lab/lab", "exec", "ex1", "--", *command).endswith("5.1")


@pytest.mark.usefixtures("set_up")
def test_the_tools_of_the_tests_run(run: Run) -> None:
    assert "ansible-playbook [core 2." in run(".cache/venv/bin/ansible-playbook", "--version")
    assert run(".cache/venv/bin/pytest", "-q", "tests/unit/lab/test_check.py").count("passed") == 1


def test_another_system_gets_one_sentence(tmp_path: Path, set_up: str, run: Run, clone: Path) -> None:
    (clone / "os-release").write_text('ID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04.1 LTS"\n')
    said = run("sh", "-c", "mount --bind os-release /etc/os-release && exec make setup", status=2)
    (clone / "os-release").unlink()
    assert "setup: This needs Debian 12 or 13, and this machine runs Ubuntu 24.04.1 LTS: use another one" in said
    assert "Traceback" not in said
