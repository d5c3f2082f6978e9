"""A port that HAProxy trusts is one that only root can have; the kernel says which these are."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from ansible_collections.postern.mail_gateway.plugins.module_utils.host.errors import HostError
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.ports import FIRST_UNPRIVILEGED, check_root_port
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration import schema

ANYBODYS = "a port that any account of this host can listen on"


@pytest.fixture
def first(tmp_path: Path) -> Path:
    path = tmp_path / "ip_unprivileged_port_start"
    path.write_text("1024\n")
    return path


@pytest.mark.parametrize("port", [0, 1, 842, 1023])
def test_roots_ports_are_taken(port: int, first: Path) -> None:
    check_root_port("haproxy_acme_port", port, first)


@pytest.mark.parametrize("port", [-1, 1024, 8402, 65535])
def test_anybodys_are_refused(port: int, first: Path) -> None:
    with pytest.raises(
        HostError, match=rf"^haproxy_acme_port is {port}, {ANYBODYS}.*; take one below 1024, such as 842\.$"
    ):
        check_root_port("haproxy_acme_port", port, first)


@pytest.mark.parametrize("content", ["0\n", "", "many", None])
def test_where_any_port_is_anybodys_or_the_kernel_says_nothing_none_is_taken(content: str | None, first: Path) -> None:
    first.unlink() if content is None else first.write_text(content)
    with pytest.raises(HostError, match=f"{ANYBODYS}.*; set net.ipv4.ip_unprivileged_port_start to 1024 there"):
        check_root_port("haproxy_acme_port", 842, first)


def test_the_kernel_agrees() -> None:
    """An account without rights can't have the port that the declaration uses."""
    check_root_port("haproxy_acme_port", schema.ACME_PORT)
    assert int(FIRST_UNPRIVILEGED.read_text()) > schema.ACME_PORT
    script = f"import socket; socket.socket().bind(('127.0.0.1', {schema.ACME_PORT}))"
    command = ["/usr/bin/python3", "-c", script]
    nobody = 65534
    done = subprocess.run(command, user=nobody, group=nobody, check=False, capture_output=True, text=True, cwd="/")
    assert "PermissionError" in done.stderr
    assert os.geteuid() == 0
    with socket.socket() as root:
        root.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        root.bind(("127.0.0.1", schema.ACME_PORT))
