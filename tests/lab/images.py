"""The lab's images: made from Debian's packages, named by all that defines them, shared by every checkout.

base-SUITE is what mmdebstrap makes of base.packages. The others add a layer each, by a script that runs inside:
gateway-SUITE (gateway.sh, offline.packages) and service (service.sh, service.packages).
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.podman import image_exists, last_line, podman
from progress import alive

FILES = Path(__file__).parent / "image"
REPOSITORY = "localhost/postern-lab"
ATTEMPTS = 3
PAUSE = 10  # seconds between two attempts
START = ["--change", 'CMD ["/sbin/init"]', "--change", "STOPSIGNAL SIGRTMIN+3"]

Say = Callable[[str], None]


@dataclass(frozen=True)
class Layer:
    """An image made by running a script inside another one."""

    parent: str
    script: str
    packages: str


BASES = {"base-bookworm": "bookworm", "base-trixie": "trixie"}
LAYERS = {
    "gateway-bookworm": Layer("base-bookworm", "gateway.sh", "offline.packages"),
    "gateway-trixie": Layer("base-trixie", "gateway.sh", "offline.packages"),
    "service": Layer("base-bookworm", "service.sh", "service.packages"),
}


def package_list(name: str) -> list[str]:
    """Read a ``*.packages`` file: one package a line, ``#`` begins a comment."""
    lines = (FILES / name).read_text().splitlines()
    return [line for line in (line.split("#")[0].strip() for line in lines) if line]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def reference(name: str) -> str:
    """Return an image's full name; its tag is the digest of all that the image is made from."""
    if name in BASES:
        parts = [BASES[name], *package_list("base.packages"), *START]
    else:
        layer = LAYERS[name]
        parts = [reference(layer.parent), (FILES / layer.script).read_text(), *package_list(layer.packages)]
    return f"{REPOSITORY}/{name}:{_digest(*parts)}"


def mirror() -> str:
    """Return the address of the Debian mirror that this machine's own apt sources name.

    Raises:
        LabError: The sources name none for this machine's release.
    """
    release = re.search(r"^VERSION_CODENAME=\"?(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    listed = subprocess.run(["apt-get", "update", "--print-uris"], capture_output=True, text=True, check=False)
    if release:
        found = re.search(rf"^'(\S+)/dists/{release[1]}/(?:In)?Release'", listed.stdout, re.MULTILINE)
        if found:
            return found[1]
    raise LabError("The apt sources of this machine name no Debian mirror: add one to /etc/apt/sources.list.d.")


@contextlib.contextmanager
def _only_one(name: str) -> Iterator[None]:
    """Hold a lock of this machine, so that two checkouts don't make the same image twice."""
    with Path(f"/run/lock/postern-lab-{name.rpartition('/')[2]}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _attempt(action: Callable[[], None], say: Say) -> None:
    """Do something that depends on a mirror, up to three times."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return action()
        except LabError as error:
            # No mirror's fault, so it would fail again.
            if attempt == ATTEMPTS or "not supported over overlayfs" in str(error):
                raise
            say(f"{error} Attempt {attempt} of {ATTEMPTS}; again in {PAUSE} seconds")
            time.sleep(PAUSE)
    return None


def _bootstrap(name: str) -> None:
    suite = BASES[name]
    prefix = f"postern-lab-{name}-"
    for left in Path("/var/tmp").glob(f"{prefix}*"):
        shutil.rmtree(left)  # by a run that was killed: nobody else makes this image now
    with tempfile.TemporaryDirectory(prefix=prefix, dir="/var/tmp") as folder:
        archive = Path(folder) / "image.tar"
        done = subprocess.run(
            [
                "mmdebstrap", "--quiet", "--variant=minbase", "--aptopt=Acquire::Retries \"3\"",
                "--aptopt=Acquire::Languages \"none\"",
                f"--include={','.join(package_list('base.packages'))}", suite, str(archive), mirror(),
            ],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": folder, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        if done.returncode:
            raise LabError(f"mmdebstrap could not make a Debian {suite}: {last_line(done.stderr)}.")
        podman("import", *START, "--message", "lab", str(archive), reference(name))


def _add_layer(name: str) -> None:
    layer = LAYERS[name]
    worker = f"postern-lab-build-{name}"
    podman("rm", "--force", "--ignore", "--time", "0", worker, check=False)  # of a run that was killed
    try:
        done = podman(
            "run", "--name", worker, "--network", "host", "--volume", f"{FILES}:/build:ro", "--tmpfs", "/tmp",
            reference(layer.parent), "/bin/sh", f"/build/{layer.script}", check=False, timeout=900,
        )  # fmt: skip
        if done.returncode:
            raise LabError(f"The image {name} could not be made: {last_line(done.stderr)}.")
        podman("commit", "--quiet", *START, worker, reference(name))
    finally:
        podman("rm", "--force", "--ignore", "--time", "0", worker, check=False)


def _make(name: str, say: Say) -> None:
    target = reference(name)
    if image_exists(target):
        return
    with _only_one(target):
        if image_exists(target):
            return
        start = time.monotonic()
        say(f"Making the image {name}")
        with alive(lambda: f"the image {name}"):
            _attempt(lambda: _bootstrap(name) if name in BASES else _add_layer(name), say)
        say(f"Made the image {name} in {time.monotonic() - start:.0f} s")


def make_images(say: Say) -> None:
    """Make the images that aren't there yet, each suite's beside the other's.

    Raises:
        LabError: A mirror failed three times, or podman did.
    """
    missing = [name for name in LAYERS if not image_exists(reference(name))]

    def chain(base: str) -> None:
        wanted = [name for name in missing if LAYERS[name].parent == base]
        if wanted:
            _make(base, say)
        for name in wanted:
            _make(name, say)

    with ThreadPoolExecutor() as pool:
        list(pool.map(chain, BASES))
