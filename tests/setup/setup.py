#!/usr/bin/env python3
"""Set up what `make` needs on a Debian machine: packages, a virtual environment, a PowerShell, the lab's images.

What is there already is used again, by content: a virtual environment belongs to one version of Python and one list of
requirements, the PowerShell to its archive, an image to all that it is made from.
"""

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import powershell
from progress import progress, say

CACHE = ROOT / ".cache"
VENV = CACHE / "venv"
REQUIREMENTS = ROOT / "tests" / "requirements.txt"
#: The oldest ansible-core that is promised, in an environment of its own, and a folder with its programs alone.
OLDEST = CACHE / "venv-oldest"
OLDEST_REQUIREMENTS = ROOT / "tests" / "requirements-oldest.txt"
OLDEST_PROGRAMS = OLDEST / "programs"
STORAGE = Path("/var/lib/containers")
SPF_ARCHIVE = "pyspf==2.0.14"
SPF_CASES = CACHE / "published" / "rfc7208-tests.yml"
POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = "#!/bin/sh\n# Of the set-up of postern.mail_gateway, which removes it again.\nexit 101\n"
#: Settings of pip about where packages come from. Others, about where they go to, aren't for this environment.
PIP_KEEPS = re.compile(
    "PIP_(.*INDEX.*|FIND_LINKS|.*CERT|PROXY|.*TIMEOUT|RETRIES|TRUSTED_HOST|CACHE_DIR|NO_CACHE_DIR|CONFIG_FILE|KEYRING.*)"
)
OS_RELEASE = Path("/etc/os-release")
RELEASES = ("12", "13")
SPACE = {ROOT: 1, Path("/var"): 4}  # GB that the cache takes, and packages and images with three labs at work
ATTEMPTS = 3
PAUSE = 10  # seconds between two attempts


ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PIP_", "PYTHON")) or PIP_KEEPS.fullmatch(name)
}


class SetupError(Exception):
    """One sentence that says what is missing and what to do about it."""


def run(command: list[str], **environment: str) -> None:
    """Run a command that depends on a mirror, up to three times.

    Raises:
        SetupError: It failed each time.
    """
    for attempt in range(1, ATTEMPTS + 1):
        done = subprocess.run(
            command,
            env={**ENVIRONMENT, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return
        if done.returncode in (-signal.SIGINT, 128 + signal.SIGINT):
            raise KeyboardInterrupt
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()] or ["no message"]
        problem = f"'{' '.join(command[:3])}' failed: {lines[-1]}"
        if attempt == ATTEMPTS:
            say("\n".join(f"    {line}" for line in lines[-20:]))
            raise SetupError(problem)
        say(f"    {problem} Attempt {attempt} of {ATTEMPTS}; again in {PAUSE} seconds")
        time.sleep(PAUSE)


def check_system(*, lab: bool) -> None:
    """Find out in a second what would fail in minutes, with or without a lab.

    Raises:
        SetupError: This isn't Debian 12 or 13, nobody is root, the clone's path has a space, podman can't have its
            images here, or the disk is too full for what the first time takes.
    """
    lines = OS_RELEASE.read_text().splitlines() if OS_RELEASE.exists() else []
    system = {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}
    if system.get("ID") != "debian" or system.get("VERSION_ID") not in RELEASES:
        name = system.get("PRETTY_NAME", "an unknown system")
        raise SetupError(f"This needs Debian 12 or 13, and this machine runs {name}: use another one, or a container.")
    if re.search(r"\s", str(ROOT)):
        raise SetupError(
            f"The path of this clone, '{ROOT}', has a space, which OpenSSH's options can't: move the clone."
        )
    if lab and os.geteuid() != 0:
        raise SetupError("The lab needs root, because it makes network bridges: run this as root.")
    if lab and _file_system(STORAGE) == "overlayfs":
        raise SetupError(
            f"podman can't stack its images at {STORAGE}, which is on an overlay itself: in a container, give it a "
            "volume there."
        )
    if VENV.exists():
        return
    needed: dict[int, float] = {}  # by file system
    for folder, gigabytes in SPACE.items():
        device = folder.stat().st_dev
        needed[device] = needed.get(device, 0) + gigabytes
        free = shutil.disk_usage(folder).free / 1e9
        if free < needed[device]:
            raise SetupError(
                f"The disk of {folder} has {free:.1f} GB left, and this needs {needed[device]}: make room there."
            )


def _file_system(folder: Path) -> str:
    """Return the kind of file system that the folder is on, or will be."""
    while not folder.exists():
        folder = folder.parent
    command = ["stat", "--file-system", "--format=%T", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def listed(file: Path) -> list[str]:
    """Read a list: one item a line, `#` begins a comment."""
    lines = (line.split("#")[0].strip() for line in file.read_text().splitlines())
    return [line for line in lines if line]


def missing_packages() -> list[str]:
    """Return the packages of the list that aren't installed."""
    wanted = listed(Path(__file__).parent / "packages.txt")
    if importlib.util.find_spec("ensurepip") is None:
        # Debian's own Python comes without what a virtual environment is made with.
        wanted.append("python3-venv")
    query = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *wanted]
    shown = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    installed = {line.split()[0] for line in shown.splitlines() if line.endswith(" installed")}
    return [package for package in wanted if package not in installed]


@contextlib.contextmanager
def _no_service_starts() -> Iterator[None]:
    """Keep packages from starting their services, which nobody wants on this machine (HAProxy's, for one)."""
    # One with our words was left by a set-up that was killed.
    if POLICY.exists() and POLICY.read_text() != POLICY_TEXT:
        yield
        return
    POLICY.write_text(POLICY_TEXT)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def install_packages() -> None:
    """Install the Debian packages that are missing.

    Raises:
        SetupError: Nobody is root, or apt failed three times.
    """
    missing = missing_packages()
    if not missing:
        return
    if os.geteuid() != 0:
        raise SetupError(f"These Debian packages are missing, and only root can install them: {' '.join(missing)}.")
    with progress(f"Debian packages: {' '.join(missing)}"), _no_service_starts():
        run(["apt-get", "-o", "Acquire::Retries=3", "update"])
        run(
            ["apt-get", "-o", "Acquire::Retries=3", "--yes", "--no-install-recommends", "install", *missing],
            DEBIAN_FRONTEND="noninteractive",
        )


def make_venv(venv: Path | None = None, requirements: Path | None = None) -> None:
    """Make a virtual environment, that of the tests by default, unless the one that is there was made from the same."""
    venv, requirements = venv or VENV, requirements or REQUIREMENTS
    # Not the interpreter of the environment itself, which may be what runs this and is about to go.
    python = Path(sys.executable).resolve()
    material = f"{python} {sys.version_info}\n{venv}\n{requirements.read_text()}"
    made_from = hashlib.sha256(material.encode()).hexdigest()
    mark = venv / "made-from"
    if mark.is_file() and mark.read_text() == made_from and _lacking(venv, requirements) == []:
        return
    with progress(f"Python packages of tests/{requirements.name}"):
        shutil.rmtree(venv, ignore_errors=True)
        run([str(python), "-m", "venv", str(venv)])
        # Most of it is never imported, so what is gets compiled when it first is.
        run([str(venv / "bin" / "pip"), "install", "--no-compile", "--no-deps", "--requirement", str(requirements)])
        if lacking := _lacking(venv, requirements):
            raise SetupError(f"pip says nothing, but didn't install {' '.join(lacking)}: look at 'pip config list'.")
        mark.write_text(made_from)


def make_oldest() -> None:
    """Make the environment of the oldest ansible-core, and the folder of its programs: no Python, no pip."""
    make_venv(OLDEST, OLDEST_REQUIREMENTS)
    OLDEST_PROGRAMS.mkdir(exist_ok=True)
    for program in OLDEST.glob("bin/ansible*"):
        link = OLDEST_PROGRAMS / program.name
        if not link.is_symlink():
            link.symlink_to(program)


def _lacking(venv: Path | None = None, requirements: Path | None = None) -> list[str]:
    """Return the requirements that a virtual environment doesn't have in the version asked for."""
    venv, requirements = venv or VENV, requirements or REQUIREMENTS
    found: set[str] = set()
    if (venv / "bin" / "pip").exists():
        for folder in venv.glob("lib/python*/site-packages/*.dist-info"):
            name, _, version = folder.name.removesuffix(".dist-info").rpartition("-")
            found.add(_plain(f"{name}=={version}"))
    return [pin for pin in listed(requirements) if _plain(pin) not in found]


def _plain(pin: str) -> str:
    """Return a package's name and version as all spellings of them are compared."""
    name, _, version = pin.partition("==")
    return f"{re.sub('[-_.]+', '-', name).lower()}=={version}"


def unpack_powershell() -> None:
    """Unpack the PowerShell of the tests, unless it is there, and say what is done without one.

    Raises:
        SetupError: It isn't there, or damaged, or POSTERN_POWERSHELL names another one that isn't there.
    """
    try:
        if powershell.is_missing():
            with progress("The PowerShell of the tests"):
                powershell.unpack()
        if powershell.find() is None:
            say(f"    {powershell.absence()} What needs one is left out.")
    except powershell.PowerShellError as error:
        raise SetupError(str(error)) from error


def fetch_spf_cases() -> None:
    """Fetch the published cases of RFC 7208, which the source archive of a library carries, unless they are there."""
    if SPF_CASES.is_file():
        return
    with progress("The published cases of SPF"), tempfile.TemporaryDirectory(dir=CACHE) as folder:
        options = ["--quiet", "--no-deps", "--no-binary", ":all:", "--dest", folder]
        run([str(VENV / "bin" / "pip"), "download", *options, SPF_ARCHIVE])
        (archive,) = Path(folder).glob("*.tar.gz")
        with tarfile.open(archive) as content:
            (member,) = (one for one in content if one.name.endswith(f"/test/{SPF_CASES.name}"))
            cases = content.extractfile(member)
            assert cases is not None
            fresh = Path(folder) / "cases"
            fresh.write_bytes(cases.read())
        SPF_CASES.parent.mkdir(exist_ok=True)
        fresh.replace(SPF_CASES)


def link_collections() -> None:
    """Make the working copy usable as the collection, without building it, and the tests' own win_shell beside it.

    Ansible and Python both find a collection by its place: `ansible_collections/NAMESPACE/NAME` below a search path.
    Several processes may do this at once, so a link is made under a name of its own and renamed into place.
    """
    collections = CACHE / "collections" / "ansible_collections"
    standin = ROOT / "tests" / "standin" / "collections" / "ansible_collections"
    links = {"postern/mail_gateway": ROOT, "ansible/windows": standin / "ansible" / "windows"}
    for name, target in links.items():
        link = collections / name
        if link.is_symlink() and link.resolve() == target:
            continue
        link.parent.mkdir(parents=True, exist_ok=True)
        fresh = link.with_name(f".{link.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.path.relpath(target, link.parent))
        fresh.replace(link)


def make_images() -> None:
    """Make the images of the lab that are missing; the lab says what it does.

    Raises:
        SetupError: They couldn't be made; the lab has said why.
    """
    command = [sys.executable, str(ROOT / "tests" / "lab" / "lab"), "images"]
    if subprocess.run(command, check=False).returncode:
        raise SetupError("The images of the lab could not be made.")


def main() -> int:
    """Do what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(description="Set up what the tests and the lab need.")
    parser.add_argument("--images", action="store_true", help="make the images of the lab, too")
    parser.add_argument("--oldest", action="store_true", help="make the environment of the oldest ansible-core, too")
    asked = parser.parse_args()
    images = asked.images
    ready = threading.Event()

    def machine() -> None:
        try:
            install_packages()
        finally:
            ready.set()
        if images:
            make_images()

    def python() -> None:
        if importlib.util.find_spec("ensurepip") is None:
            ready.wait()
        make_venv()
        if asked.oldest:
            make_oldest()
        fetch_spf_cases()
        unpack_powershell()
        link_collections()

    CACHE.mkdir(exist_ok=True)
    lock = (CACHE / "setup.lock").open("w")
    try:
        # Two at once would take each other's environment away.
        fcntl.flock(lock, fcntl.LOCK_EX)
        check_system(lab=images)
        # The one mostly waits for a mirror while the other computes.
        with ThreadPoolExecutor() as pool:
            for job in [pool.submit(machine), pool.submit(python)]:
                job.result()
    except (SetupError, OSError) as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())
