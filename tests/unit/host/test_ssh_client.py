"""Where Ansible comes from is found above processes that hide it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.postern.mail_gateway.plugins.module_utils.host.ssh_client import Origin, origin

COLLECTIONS = Path(__file__).resolve().parents[3] / ".cache" / "collections"
ASK = "from ansible_collections.postern.mail_gateway.plugins.module_utils.host.ssh_client import origin;print(origin())"


def asked(connection: str | None, *, hidden: bool) -> str:
    """What a program says that runs below another one, which has the variable and (if hidden) doesn't hand it on."""
    inner = [sys.executable, "-c", ASK]
    clean = ["env", "-i", f"PYTHONPATH={COLLECTIONS}", *inner] if hidden else inner
    # The shell stays, since it has something to do afterwards.
    argv = ["sh", "-c", '"$@"; true', "sh", *clean]
    environment = {key: value for key, value in os.environ.items() if key != "SSH_CONNECTION"}
    environment |= {"PYTHONPATH": str(COLLECTIONS), "LOGNAME": "anna"}
    if connection is not None:
        environment["SSH_CONNECTION"] = connection
    return subprocess.run(argv, check=True, capture_output=True, text=True, env=environment).stdout.strip()


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize(
    ("connection", "wanted"),
    [
        ("192.0.2.1 40000 192.0.2.2 22", Origin("192.0.2.1", 40000, "192.0.2.2", 22, "anna")),
        ("2001:db8::1 40000 2001:db8::2 2222", Origin("2001:db8::1", 40000, "2001:db8::2", 2222, "anna")),
        ("::ffff:192.0.2.1 40000 ::ffff:192.0.2.2 22", Origin("192.0.2.1", 40000, "192.0.2.2", 22, "anna")),
        ("fe80::1%eth0 40000 fe80::2%eth0 22", Origin("fe80::1", 40000, "fe80::2", 22, "anna")),
    ],
)
def test_it_is_found(connection: str, wanted: Origin, hidden: bool) -> None:
    assert asked(connection, hidden=hidden) == str(wanted)


@pytest.mark.parametrize("connection", [None, "", "UNKNOWN", "a b c d"])
def test_nothing_is_invented(connection: str | None) -> None:
    # None, unless somebody runs these tests over SSH.
    assert asked(connection, hidden=False) == str(origin())


@pytest.mark.parametrize("hidden", [False, True])
def test_the_account_is_that_of_the_session_although_sudo_keeps_the_connection(hidden: bool) -> None:
    """``Defaults env_keep += SSH_CONNECTION`` hands the connection on to a process that is called root."""
    connection = "192.0.2.1 40000 192.0.2.2 22"
    sudo = ["env", "LOGNAME=root", "USER=root", "sh", "-c", '"$@"; true', "sh"]
    inner = [sys.executable, "-c", ASK]
    clean = ["env", "-i", f"PYTHONPATH={COLLECTIONS}", *inner] if hidden else inner
    environment = {**os.environ, "PYTHONPATH": str(COLLECTIONS), "LOGNAME": "anna", "SSH_CONNECTION": connection}
    argv = ["sh", "-c", '"$@"; true', "sh", *sudo, *clean]
    said = subprocess.run(argv, check=True, capture_output=True, text=True, env=environment).stdout.strip()
    assert said == str(Origin("192.0.2.1", 40000, "192.0.2.2", 22, "anna"))


def test_a_session_below_an_sshd_that_was_started_in_another_one_has_its_own_account() -> None:
    outer = {**os.environ, "PYTHONPATH": str(COLLECTIONS), "LOGNAME": "root"}
    outer["SSH_CONNECTION"] = "192.0.2.7 1 192.0.2.2 22"
    inner = ["env", "LOGNAME=anna", "SSH_CONNECTION=192.0.2.1 40000 192.0.2.2 22", sys.executable, "-c", ASK]
    argv = ["sh", "-c", '"$@"; true', "sh", *inner]
    said = subprocess.run(argv, check=True, capture_output=True, text=True, env=outer).stdout.strip()
    assert said == str(Origin("192.0.2.1", 40000, "192.0.2.2", 22, "anna"))
