"""HAProxy itself, as the tests of this folder ask it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory

import pytest

from ansible_collections.postern.mail_gateway.plugins.module_utils.haproxy.runtime import running

sys.path.insert(0, str(Path(__file__).resolve().parent))

Serve = Callable[[str], AbstractContextManager[Path]]
Check = Callable[[Path], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def haproxy() -> str:
    """The path of the program: this machine's, or another one that `make trials` has the tests ask."""
    found = os.environ.get("POSTERN_HAPROXY") or which("haproxy") or which("haproxy", path="/usr/sbin:/usr/local/sbin")
    assert found, "These tests ask HAProxy itself, and this machine has none: install the package haproxy."
    return found


@pytest.fixture(scope="session")
def check(haproxy: str) -> Check:
    """A function that has HAProxy check a configuration file."""

    def run(path: Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([haproxy, "-c", "-f", str(path)], check=False, capture_output=True, text=True)

    return run


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with key and certificate (`good.pem`), and with what is wrong in one way each."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("one", "two"):
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
                *("-days", "1", "-subj", f"/CN={name}.example.test"),
                *("-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")),
            ],
            check=True,
            capture_output=True,
        )
    key, certificate = (folder / "one.key").read_text(), (folder / "one.crt").read_text()
    (folder / "good.pem").write_text(key + certificate)
    (folder / "mismatch.pem").write_text((folder / "two.key").read_text() + certificate)
    (folder / "no_key.pem").write_text(certificate)
    (folder / "no_certificate.pem").write_text(key)
    (folder / "garbage.pem").write_text("no PEM at all\n")
    return folder


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a path that is short enough for a Unix socket (108 bytes), which pytest's may not be."""
    with TemporaryDirectory(prefix="hx") as made:
        yield Path(made)


@pytest.fixture
def serve(haproxy: str, short: Path) -> Serve:
    """A function that runs HAProxy in the foreground for a while; its socket is `admin.sock` in `short`.

    What it gets are lines of the section `global`, and the sections after the first `defaults`.
    """

    @contextmanager
    def run(settings: str, sections: str = "") -> Iterator[Path]:
        path = short / "admin.sock"
        (short / "haproxy.cfg").write_text(
            f"global\n    {settings}\n    stats socket {path} mode 600 level admin\n"
            "defaults\n    mode http\n    timeout client 5s\n    timeout server 5s\n    timeout connect 5s\n"
            f"{sections}"
            f"frontend f\n    bind unix@{short}/web.sock\n    http-request return status 200\n"
        )
        with (
            (short / "said").open("w") as said,
            subprocess.Popen([haproxy, "-db", "-f", str(short / "haproxy.cfg")], stdout=said, stderr=said) as process,
        ):
            try:
                deadline = time.monotonic() + 10
                while running(str(path)) is None and process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.02)
                assert process.poll() is None, (short / "said").read_text()
                found = running(str(path))
                assert found is not None
                assert found.pid == process.pid
                yield path
            finally:
                process.kill()

    return run
