"""HAProxy itself, as the tests of this folder ask it."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which

import pytest

Check = Callable[[Path], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def haproxy() -> str:
    """The path of the program."""
    found = which("haproxy") or which("haproxy", path="/usr/sbin:/usr/local/sbin")
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
