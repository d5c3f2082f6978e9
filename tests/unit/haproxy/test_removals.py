"""No server is taken out of service that nobody named: a running HAProxy is asked, or else its file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from ansible_collections.postern.mail_gateway.plugins.module_utils.haproxy.removals import in_service, leaving

Serve = Callable[[str, str], AbstractContextManager[Path]]

BACKENDS = """\
backend exchange_owa
    server ex1 127.0.0.1:1
    server ex2 127.0.0.2:1
backend exchange_smtp_relay
    server ex3 localhost:1
backend website_www
    server www1 127.0.0.9:1
backend acme
    server here 127.0.0.1:842
"""
WANTED = {"ex1": "127.0.0.1", "ex2": "127.0.0.2", "ex3": "localhost"}


def test_a_running_haproxy_is_asked(serve: Serve, short: Path) -> None:
    with serve("maxconn 100", BACKENDS) as socket:
        assert in_service(str(socket), short / "haproxy.cfg") == WANTED
        # Somebody took the file away; HAProxy still serves.
        assert set(in_service(str(socket), short / "none.cfg")) == set(WANTED)


def test_without_a_process_the_file_counts(tmp_path: Path) -> None:
    """HAProxy is stopped for a moment, and would start with it."""
    path = tmp_path / "haproxy.cfg"
    path.write_text(BACKENDS)
    assert in_service(str(tmp_path / "none.sock"), path) == WANTED
    assert in_service(str(tmp_path / "none.sock"), tmp_path / "none.cfg") == {}


def test_the_backends_of_0_1_0_count(tmp_path: Path) -> None:
    path = tmp_path / "haproxy.cfg"
    path.write_text("backend smtp\n    server ex1 10.0.0.1:25\nbackend mine\n    server x 10.0.0.2:25\n")
    assert in_service(str(tmp_path / "none.sock"), path) == {"ex1": "10.0.0.1"}


@pytest.mark.parametrize(
    ("servers", "removable", "gone"),
    [
        ([], [], ["ex1", "ex2", "ex3"]),
        ([("ex1", "127.0.0.1"), ("ex2", "127.0.0.2")], [], ["ex3"]),
        ([("ex1", "127.0.0.1"), ("ex2", "127.0.0.2")], ["ex3"], []),
        ([("ex1", "127.0.0.1"), ("ex3", "localhost")], ["127.0.0.2"], []),
        # Renamed, and moved.
        ([("mail1", "127.0.0.1"), ("ex2", "127.0.0.5"), ("mail3", "LOCALHOST")], [], []),
        ([("ex3", "localhost")], ["ex4"], ["ex1", "ex2"]),
    ],
)
def test_who_leaves(servers: list[tuple[str, str]], removable: list[str], gone: list[str]) -> None:
    assert leaving(WANTED, [{"name": name, "address": address} for name, address in servers], removable) == gone


def test_one_declared_server_stands_for_one_that_is_there() -> None:
    there = {"ex1": "10.0.0.1", "ex2": "10.0.0.2"}
    assert leaving(there, [{"name": "ex1", "address": "10.0.0.2"}], ()) == ["ex2"]
    assert leaving(there, [{"name": "ex2", "address": "10.0.0.1"}, {"name": "ex1", "address": "10.0.0.2"}], ()) == []
    assert leaving(there, [{"name": "a", "address": "10.0.0.1"}, {"name": "b", "address": "10.0.0.2"}], ()) == []
