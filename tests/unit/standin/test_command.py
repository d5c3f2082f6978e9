from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standin_client import LONG, Ports, Standin, make_certificate, within

from standin import dovecot
from standin.journal import Journal, forget, read
from standin.serve import Tls
from standin.state import load


def test_set_is_in_force_when_it_returns(standin: Standin) -> None:
    for number in range(20):
        standin.set("ReceiveConnector[Default Frontend EX1].Banner", f"220 number {number}")
        with socket.create_connection(("127.0.0.1", standin.ports[25])) as connection:
            assert connection.recv(100) == f"220 number {number}\r\n".encode()


def test_get(standin: Standin) -> None:
    status, out, _ = standin.command("get", "ReceiveConnector[Default Frontend EX1].MaxMessageSize")
    assert (status, json.loads(out)) == (0, "36 MB (37,748,736 bytes)")
    assert set(json.loads(standin.command("get")[1])) >= {"ReceiveConnector", "Service", "Mailbox"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["get", "Nothing"], "isn't in the state"),
        (["set", "ReceiveConnector[Default Frontend EX1].Enabled", '"no"'], "true or false"),
        (["set", "ReceiveConnector[Default Frontend EX1].Enabled"], "pairs of a path and a JSON value"),
        (["set", "ReceiveConnector[Default Frontend EX1].Banner", "220 x"], "needs its double quotes"),
        (["set", "ReceiveConnector[None].Banner", '"220 x"'], "has no None"),
        (["set", "ExchangeServer.Name", '"EX2"', "WebBinding[0].protocol", '"ftp"'], "http, https"),
        (["fresh", "--name", "EX1", "--fqdn", "x", "--domain", "d", "--mailboxes", "-"], "That failed"),
        (["fresh", "--name", "EX1", "--fqdn", "x", "--domain", "d", "--mailboxes", "/nowhere"], "No such file"),
    ],
)
def test_wrong_command_changes_nothing(standin: Standin, arguments: list[str], says: str) -> None:
    before = standin.command("get")[1]
    status, out, err = standin.command(*arguments, stdin="no json")
    assert status == 1
    assert out == ""
    assert says in err
    assert err.count("\n") == 1
    assert standin.command("get")[1] == before


def test_what_cannot_be_brought_into_force_is_taken_back(standin: Standin) -> None:
    before = standin.command("get")[1]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        value = json.dumps([f"127.0.0.1:{port}"])
        path = "ReceiveConnector[Default Frontend EX1].Bindings"
        status, _, err = standin.command("set", path, value)
    assert status == 1
    assert f"127.0.0.1:{port} can't be listened on: Address already in use. Nothing was changed." in err
    assert standin.command("get")[1] == before
    with socket.create_connection(("127.0.0.1", standin.ports[25])) as connection:
        assert connection.recv(100).startswith(b"220 ex1.example.test")


def test_file_that_another_program_edits(standin: Standin) -> None:
    document = standin.document()
    document["ReceiveConnector"][2]["Banner"] = "220 edited"
    standin.write(document)
    assert within(LONG, lambda: banner(standin) == "220 edited")
    document["ReceiveConnector"][2]["Banner"] = "wrong"
    standin.write(document)
    event = standin.event("state_error")
    assert "begin with `220 `" in event["text"]
    assert banner(standin) == "220 edited"
    (standin.directory / "state.json").write_text("{")
    assert within(LONG, lambda: len(standin.events("state_error")) == 2)
    assert "isn't JSON" in standin.events("state_error")[1]["text"]
    assert banner(standin) == "220 edited"
    standin.reset()
    assert within(LONG, lambda: banner(standin).startswith("220 ex1"))


def banner(standin: Standin) -> str:
    with socket.create_connection(("127.0.0.1", standin.ports[25])) as connection:
        return connection.recv(200).decode().rstrip("\r\n")


def test_events(standin: Standin) -> None:
    banner(standin)
    standin.event("smtp_session")
    banner(standin)
    assert within(LONG, lambda: len(standin.events("smtp_session")) == 2)
    first, second = standin.events("smtp_session")
    assert second["n"] > first["n"]
    assert first["time"].startswith("20")
    _, out, _ = standin.command("events", "--since", str(first["n"]))
    assert first["n"] not in [json.loads(line)["n"] for line in out.splitlines()]
    standin.command("forget")
    assert standin.events() == []
    banner(standin)
    assert standin.event("smtp_session")["n"] > second["n"], "numbers go on"


def test_journal_survives_what_a_crash_leaves(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.write("a", x=1)
    journal.write("b", x=2)
    journal.close()
    with path.open("ab") as file:
        file.write(b'{"n":3,"kind":"a","cut')
    assert [event["x"] for event in read(path)] == [1, 2]
    assert [event["x"] for event in read(path, kind="b")] == [2]
    assert [event["x"] for event in read(path, since=1)] == [2]
    journal = Journal(path)
    journal.write("c")
    journal.close()
    assert [event["n"] for event in read(path)] in ([1, 2], [1, 2, 3])
    forget(path)
    assert list(read(path)) == []
    assert list(read(tmp_path / "none")) == []


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.11", "0.0.0.0"])
def test_a_port_is_nobody_elses_while_nobody_listens_on_it(standin: Standin, source: str) -> None:
    """A client elsewhere on loopback would keep it, and then all addresses can't be listened on."""
    port = standin.ports[25]
    standin.connector(25, Enabled=False)
    with socket.socket() as other, pytest.raises(OSError, match="Address already in use"):
        other.bind((source, port))
    for where in ("0.0.0.0", "127.0.0.1"):
        standin.connector(25, Enabled=True, Bindings=[f"{where}:{port}"])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            assert connection.recv(100).startswith(b"220 ")


@pytest.fixture
def two_ports() -> Iterator[list[int]]:
    held = Ports(2)
    yield held.numbers
    held.give_back()


def test_whole_program(tmp_path: Path, certificate: Path, two_ports: list[int]) -> None:
    """As on a host: fresh, serve, set, the end by a signal."""
    smtp, https = two_ports
    tests = Path(__file__).resolve().parents[2]

    def command(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "standin", "--directory", str(tmp_path), *arguments],
            cwd=tests,
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
            timeout=30,
        )

    early = command("get")
    assert early.returncode == 1
    assert "make it with `python3 -m standin fresh`" in early.stderr
    mailboxes = json.dumps({"anna@example.test": "secret"})
    assert (
        command(
            "fresh",
            "--name",
            "EX1",
            "--fqdn",
            "ex1.example.test",
            "--domain",
            "example.test",
            "--mailboxes",
            "-",
            stdin=mailboxes,
        ).returncode
        == 0
    )
    assert (tmp_path / "state.json").stat().st_mode & 0o077 == 0, "it holds passwords"
    connector = {"Name": "Only", "Bindings": [f"127.0.0.1:{smtp}"], "RemoteIPRanges": ["127.0.0.1"]}
    web = [{"protocol": "https", "bindingInformation": f"127.0.0.1:{https}:"}]
    assert command("set", "ReceiveConnector", json.dumps([connector]), "WebBinding", json.dumps(web)).returncode == 0
    serve = subprocess.Popen(
        [
            *[sys.executable, "-m", "standin", "--directory", str(tmp_path)],
            *["serve", "--tls", str(certificate), "--run", str(tmp_path / "run")],
        ],
        cwd=tests,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert within(LONG, lambda: any(read(tmp_path / "journal.jsonl", "started")))
        assert command("set", "ReceiveConnector[Only].Banner", '"220 in force"').returncode == 0
        with socket.create_connection(("127.0.0.1", smtp)) as connection:
            assert connection.recv(100) == b"220 in force\r\n"
    finally:
        serve.terminate()
        _, err = serve.communicate(timeout=LONG)
    assert serve.returncode == 0
    assert err == ""
    assert not (tmp_path / "control.sock").exists()
    # Without a server the file is all there is to change.
    assert command("set", "ReceiveConnector[Only].Banner", '"220 later"').returncode == 0


@pytest.mark.parametrize(
    ("state", "says"),
    [("{", "isn't JSON"), ('{"ExchangeServer": {}}', "has no ReceiveConnector"), (None, "can't be read")],
)
def test_server_says_why_it_does_not_start(tmp_path: Path, state: str | None, says: str) -> None:
    if state is not None:
        (tmp_path / "state.json").write_text(state)
    done = subprocess.run(
        [sys.executable, "-m", "standin", "--directory", str(tmp_path), "serve", "--tls", str(tmp_path / "none")],
        cwd=Path(__file__).resolve().parents[2],
        text=True,
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_renewed_certificate_is_taken(tmp_path: Path, certificate: Path) -> None:
    path = tmp_path / "tls.pem"
    tls = Tls(path)
    tls.look()
    assert tls.context is None
    path.write_bytes(certificate.read_bytes())
    tls.look()
    first, context = tls.certificate, tls.context
    assert first
    path.write_text("nonsense")
    tls.look()
    assert tls.context is context
    assert tls.certificate == first


def test_new_handshakes_show_the_renewed_certificate(standin: Standin, certificate: Path) -> None:
    def shown() -> str:
        return ssl.get_server_certificate(("127.0.0.1", standin.https))

    before, kept = shown(), certificate.read_bytes()
    try:
        make_certificate(certificate)
        assert within(LONG, lambda: shown() != before)
    finally:
        certificate.write_bytes(kept)
        assert within(LONG, lambda: shown() == before)


# Dovecot's configuration; Dovecot itself is asked in the lab (tests/standin/acceptance)


@pytest.mark.parametrize(
    ("paths", "served"),
    [
        ({}, []),
        ({"MSExchangeImap4": "Running"}, []),
        ({"MSExchangeImap4": "Running", "MSExchangeIMAP4BE": "Running"}, ["imap"]),
        ({"MSExchangePop3": "Running", "MSExchangePOP3BE": "Running"}, ["pop3"]),
        ({"MSExchangeImap4": "Running", "MSExchangeIMAP4BE": "Running", "ImapProxy": "Inactive"}, []),
    ],
)
def test_when_mail_access_is_served(standin: Standin, paths: dict[str, str], served: list[str]) -> None:
    document = standin.document()
    for item in document["Service"]:
        item["Status"] = paths.get(item["Name"], item["Status"])
    for item in document["ServerComponentState"]:
        item["State"] = paths.get(item["Component"], item["State"])
    state = load(document)
    assert [protocol.name for protocol in dovecot.PROTOCOLS if dovecot.wanted(protocol, state)] == served


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ({}, ["ssl = required", "disable_plaintext_auth = yes"]),
        ({"LoginType": "PlainTextAuthentication"}, ["ssl = yes", "disable_plaintext_auth = yes"]),
        ({"LoginType": "PlainTextLogin"}, ["ssl = yes", "disable_plaintext_auth = no"]),
        ({"EnableGSSAPIAndNTLMAuth": True}, ["auth_mechanisms = plain login ntlm", "auth_use_winbind = yes"]),
        ({"EnableGSSAPIAndNTLMAuth": False}, ["auth_mechanisms = plain login", "auth_use_winbind = no"]),
        ({"Banner": "Ready."}, ["login_greeting = Ready."]),
        ({"SSLBindings": ["10.1.1.21:1993"]}, ["    address = 10.1.1.21", "    port = 1993"]),
    ],
)
def test_configuration_follows_the_settings(standin: Standin, settings: dict[str, Any], lines: list[str]) -> None:
    document = standin.document()
    document["ImapSettings"] |= settings
    text = dovecot.configuration(dovecot.PROTOCOLS[0], load(document), Path("/run/x"), Path("/mail"), Path("/tls.pem"))
    assert set(lines) <= set(text.splitlines())


def test_users_of_dovecot(standin: Standin) -> None:
    lines = dovecot.users(load(standin.document())).splitlines()
    assert {line.partition(":")[0] for line in lines if "user=anna@" in line} == {
        "anna",
        "anna@example.test",
        "example\\\\anna",
    }
