"""A stand-in that really serves, on loopback with ports of its own, and the command line that steers it."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Tests are imported by their path, not as packages, so that what they share is found by its folder.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from standin_client import LONG, Dialogue, Standin, make_certificate, within


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate in one file."""
    return make_certificate(tmp_path_factory.mktemp("tls") / "tls.pem")


@pytest.fixture(scope="session")
def trust(certificate: Path) -> ssl.SSLContext:
    """What a client trusts."""
    return ssl.create_default_context(cafile=str(certificate))


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[Standin]:
    server = Standin(tmp_path_factory.mktemp("standin"), certificate, tmp_path_factory.mktemp("run"))
    yield server
    server.stop()


@pytest.fixture
def standin(running: Standin) -> Standin:
    """The running stand-in, as new."""
    running.server.smtp.submissions.clear()
    running.set(*(item for pair in running.document().items() for item in pair))
    for kind in set(running.server.state().document) - set(running.document()):
        running.set(kind, {} if kind.endswith(("Settings", "InForce")) else [])
    # Sessions of the test before would count against its successor's limits.
    assert within(LONG, lambda: not running.server.smtp.sessions)
    running.command("forget")
    return running


@pytest.fixture
def raw(standin: Standin) -> Iterator[Callable[..., Dialogue]]:
    """`raw(port)`: an SMTP connection for words that smtplib wouldn't send."""
    opened: list[Dialogue] = []

    def connect(port: int = 25, source: str = "127.0.0.1") -> Dialogue:
        opened.append(Dialogue(standin.ports[port], source))
        return opened[-1]

    yield connect
    for dialogue in opened:
        dialogue.close()
