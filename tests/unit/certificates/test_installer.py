"""The installer with a real HAProxy: what goes live, what is refused, and what a kill at any line leaves behind."""

from __future__ import annotations

import ast
import inspect
import json
import os
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from certificate_host import NAMES, Authority, Changed, Host, openssl

from ansible_collections.postern.mail_gateway.plugins.module_utils.certificates import (
    haproxy_swap,
    settings,
    x509,
)
from ansible_collections.postern.mail_gateway.plugins.module_utils.haproxy.admin_socket import ask
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.errors import HostError


def leaf_of(pem: bytes) -> str:
    return x509.bundle_from(pem).leaf.fingerprint


def refused(host: Host, pem: bytes, origin: str = "issued") -> str:
    """Install, which must fail with one sentence and leave everything as it was; return the sentence."""
    before = host.target.read_bytes(), host.presents(), host.files
    with pytest.raises(HostError) as caught:
        host.installer.install(pem, origin)
    assert (host.target.read_bytes(), host.presents(), host.files) == before
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert "PRIVATE KEY" not in sentence
    assert settings.read_state(host.settings, "mail").last_error == sentence
    return sentence


def test_first_certificate_replaces_the_self_signed_one_without_a_reload(host: Host, pems: dict[str, bytes]) -> None:
    # An umask that would lock HAProxy's own user out, or let others in, makes no difference.
    for umask, pem in ((0o777, pems["first"]), (0o000, pems["second"])):
        before = os.umask(umask)
        try:
            assert host.installer.install(pem, "issued", "https://acme.example.test/dir")
        finally:
            os.umask(before)
        assert host.presents() == leaf_of(pem)
        assert host.target.stat().st_mode & 0o7777 == 0o600
    assert host.files == ["mail.pem"]
    assert host.reloads() == 0
    assert not host.installer.install(pems["second"], "issued")
    state = settings.read_state(host.settings, "mail")
    assert (state.last_error, state.names, state.origin) == ("", list(NAMES), "issued")
    assert state.authority == "https://acme.example.test/dir"
    # What is on the disk is what the next process presents.
    host.stop()
    host.start()
    assert host.presents() == leaf_of(pems["second"])


def test_open_connections_go_on(host: Host, pems: dict[str, bytes]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", host.settings.port))
    with context.wrap_socket(plain, server_hostname=NAMES[0]) as connection:
        for pem in pems.values():
            assert host.installer.install(pem, "issued")
            connection.sendall(b"GET / HTTP/1.1\r\nHost: mail.example.test\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_no_handshake_fails_meanwhile(host: Host, pems: dict[str, bytes]) -> None:
    stop, failed, seen = threading.Event(), [], set()

    def ask() -> None:
        while not stop.is_set():
            found = haproxy_swap.presented("127.0.0.1", host.settings.port, NAMES[0])
            seen.add(found)
            if not found:
                failed.append(time.monotonic())

    clients = [threading.Thread(target=ask) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        for _ in range(4):
            for pem in pems.values():
                assert host.installer.install(pem, "issued")
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert not failed
    assert {leaf_of(pem) for pem in pems.values()} <= seen


BAD = [
    ("other key", "The private key doesn't belong to the certificate."),
    ("no key", "The PEM holds 0 whole private keys and 2 whole certificates"),
    ("cut off", "The PEM holds 1 whole private keys and 1 whole certificates"),
    ("encrypted", "The private key can't be read; it must be whole and not encrypted."),
    ("garbage", "The PEM holds 0 whole private keys and 0 whole certificates"),
    ("order", "Certificate 2 of the chain didn't sign certificate 1; the order is wrong."),
    ("no chain", "The certificate's chain is not sound: unable to get local issuer certificate."),
    ("names", "The certificate is for mail.example.test and lacks autodiscover.example.test."),
    ("expired", "The certificate expired at "),
    ("future", "The certificate is valid from "),
    ("ecdsa", "The certificate's key is ecdsa, where rsa is asked for."),
    ("small", "The certificate's RSA key has 1024 bits; 2048 are the least."),
    ("expired chain", "The certificate's chain is not sound: certificate has expired."),
    ("forged", "The certificate's chain is not sound: "),
]


def bad_pem(authority: Authority, kind: str) -> bytes:
    good = authority.pem()
    key, leaf, intermediate = x509.BLOCK.findall(good) and [m[0] + b"\n" for m in x509.BLOCK.finditer(good)]
    if kind == "encrypted":
        key = openssl("pkey", "-aes128", "-passout", "pass:secret", data=key)
    if kind == "expired chain":
        old = authority.sign("Intermediate", "intermediate", (authority.root, "root"), ends=-60, authority=True)
        return key + leaf + old
    if kind == "forged":
        # The same subject, another key.
        return key + leaf + authority.sign("Intermediate", "other", (authority.root, "root"), authority=True)
    return {
        "other key": authority.keys["other"].read_bytes() + leaf + intermediate,
        "no key": leaf + intermediate,
        "cut off": good[:-100],
        "encrypted": key + leaf + intermediate,
        "garbage": b"no PEM at all\n",
        "order": key + leaf + authority.root + intermediate,
        "no chain": key + leaf,
        "names": authority.pem(names=NAMES[:1]) if kind == "names" else b"",
        "expired": authority.pem(ends=-60) if kind == "expired" else b"",
        "future": authority.pem(begins=3600) if kind == "future" else b"",
        "ecdsa": authority.pem(key="ecdsa") if kind == "ecdsa" else b"",
        "small": authority.pem(key="small") if kind == "small" else b"",
    }[kind]


@pytest.mark.parametrize(("kind", "sentence"), BAD, ids=[kind for kind, _ in BAD])
def test_what_haproxy_should_not_present_is_refused(host: Host, authority: Authority, kind: str, sentence: str) -> None:
    assert refused(host, bad_pem(authority, kind)).startswith(sentence)


def test_ecdsa_is_installed_where_it_is_asked_for(changed: Changed, authority: Authority) -> None:
    host = changed(key_type="ecdsa")
    pem = authority.pem(key="ecdsa")
    assert host.installer.install(pem, "issued")
    assert host.presents() == leaf_of(pem)


def test_a_full_disk_is_told(host: Host, pems: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system of its own, and full."""
    folder = host.target.parent
    kept = host.target.read_bytes()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k,mode=700", "tmpfs", str(folder)], check=True)
    try:
        host.target.write_bytes(kept)
        host.target.chmod(0o600)
        filler = folder / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(bytes(64 * 1024))
        sentence = refused(host, pems["first"])
        assert "No space left on device" in sentence
        filler.unlink()
        assert host.installer.install(pems["first"], "issued")
    finally:
        host.stop()
        subprocess.run(["umount", str(folder)], check=True)


def test_what_haproxy_refuses_stays_away(host: Host, pems: dict[str, bytes]) -> None:
    # Somebody has broken the configuration: a reload would fail, so nothing is changed.
    with (host.folder / "etc" / "haproxy.cfg").open("a") as stream:
        stream.write("    nonsense here\n")
    sentence = refused(host, pems["first"])
    assert "HAProxy refuses its configuration with the new certificate" in sentence
    assert "nonsense" in sentence


def test_the_old_one_returns_where_another_certificate_comes(
    host: Host, pems: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(haproxy_swap, "PATIENCE", 2)
    # A more exact entry answers for both names, so that the new certificate is never seen.
    (host.target.parent / "other.pem").write_bytes(pems["first"])
    entries = f"certificates/other.pem {' '.join(NAMES)}\ncertificates/mail.pem\n"
    (host.folder / "etc" / "certificates.crt-list").write_text(entries)
    host.stop()
    host.start()
    sentence = refused(host, pems["second"])
    assert "HAProxy doesn't present the new certificate" in sentence
    assert "the old one is in use again" in sentence
    serial = x509.describe(host.target.read_bytes()).serial
    assert f"Serial: {serial.upper()}" in ask(host.settings.socket, "show ssl cert certificates/mail.pem")


def test_a_certificate_that_nobody_uses_is_refused(host: Host, pems: dict[str, bytes]) -> None:
    (host.target.parent / "other.pem").write_bytes(host.target.read_bytes())
    (host.folder / "etc" / "certificates.crt-list").write_text("certificates/other.pem\n")
    host.stop()
    host.start()
    assert "list 'mail' in haproxy_certificates" in refused(host, pems["first"])


def test_haproxy_that_is_down_gets_it_at_its_start(host: Host, pems: dict[str, bytes]) -> None:
    host.stop()
    assert host.installer.install(pems["first"], "issued")
    assert host.files == ["mail.pem"]
    host.start()
    assert host.presents() == leaf_of(pems["first"])


def test_a_reload_does_it_where_a_hot_swap_cannot(
    host: Host, pems: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(haproxy_swap.Installer, "_hot_swap", lambda *_: "it doesn't work here")
    assert host.installer.install(pems["first"], "issued")
    assert host.presents() == leaf_of(pems["first"])
    assert host.reloads() == 1


def test_two_at_once_come_one_after_the_other(host: Host, pems: dict[str, bytes]) -> None:
    for name, pem in pems.items():
        host.lineage(pem, name)
    runs = []
    command = [sys.executable, "-IB", str(host.program), "--settings", str(host.folder / "settings.json")]
    for pem in (pems["first"], pems["second"]):
        host.lineage(pem)
        runs.append(
            subprocess.Popen(
                [*command, "install", "mail"],
                stderr=subprocess.PIPE,
            )
        )
        time.sleep(0.3)  # it has read the lineage by then, or reads the next one: both are whole
    assert [(run.communicate()[1], run.returncode) for run in runs] == [(b"", 0)] * 2
    assert host.presents() == leaf_of(pems["second"])
    assert host.files == ["mail.pem"]


def test_somebody_who_keeps_the_lock_is_told(host: Host) -> None:
    with (
        settings.hold(host.settings, "certificates"),
        pytest.raises(HostError, match="wait for it to end and run again"),
        settings.hold(host.settings, "certificates", 0),
    ):
        pass


# --- killed at any line ---------------------------------------------------------------------------------------------

KILLER = """
import os, runpy, signal, sys
function, line, code, program = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
def trace(frame, event, _):
    if frame.f_code.co_filename != code or frame.f_code.co_name != function:
        return None if frame.f_code.co_filename != code else trace
    if event == "line" and frame.f_lineno == line:
        os.kill(os.getpid(), signal.SIGKILL)
    return trace
sys.settrace(trace)
sys.argv = sys.argv[4:]
runpy.run_path(program, run_name="__main__")
"""
STEPS = (
    "write_new", "_write", "_validate", "_swap", "_known_as", "_go_live", "_hot_swap", "_waits_for", "_install",
    "install",
)  # fmt: skip


def statements() -> list[tuple[str, int]]:
    """Return each statement of the steps that a good run passes, as function and line."""
    source = inspect.getsource(haproxy_swap)
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef) or node.name not in STEPS:
            continue
        for one in ast.walk(node):
            inside_error = isinstance(one, ast.Raise)
            if isinstance(one, ast.stmt) and one is not node and not inside_error:
                found.append((node.name, one.lineno))
    return sorted(set(found), key=lambda entry: entry[1])


@pytest.fixture(scope="session")
def passed_lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    script = tmp_path_factory.mktemp("killer") / "killer.py"
    script.write_text(KILLER)
    return script


def kill_points() -> list[tuple[str, int]]:
    """Each step after which something is different."""
    telling = {"_swap", "_hot_swap", "_go_live", "_install"}
    return [point for number, point in enumerate(statements()) if point[0] in telling]


def test_a_kill_at_any_step_is_healed(host: Host, pems: dict[str, bytes], passed_lines: Path) -> None:
    """Two dozen points in turn, on one host: each time a whole pair is served, and the next run completes."""
    turn, killed = list(pems.values()), 0
    code = host.program.resolve().parent / "postern" / "certificates" / "haproxy_swap.py"
    host.lineage(turn[0])
    assert host.run("install", "mail").returncode == 0
    for number, (function, line) in enumerate(kill_points()):
        before, pem = host.presents(), turn[(number + 1) % len(turn)]
        host.lineage(pem)
        done = subprocess.run(
            [sys.executable, str(passed_lines), function, str(line), str(code), str(host.program),
             "--settings", str(host.folder / "settings.json"), "install", "mail"],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        where = f"killed in {function} at line {line}"
        assert done.returncode in (0, -9), f"{where}: {done.stderr}"
        killed += done.returncode == -9
        # A whole pair is presented (the handshake proves the key), and the file holds a whole pair.
        assert host.presents() in (before, leaf_of(pem)), where
        judged = x509.bundle_from(host.target.read_bytes())
        x509.judge(judged, host.settings.certificates[0], host.settings)
        checked = subprocess.run(["haproxy", "-c", "-q", "-f", str(host.folder / "etc" / "haproxy.cfg")], check=False)
        assert checked.returncode == 0, where
        done = host.run("install", "mail")
        assert done.returncode == 0, f"{where}: {done.stderr}"
        assert host.presents() == leaf_of(pem), where
        assert x509.bundle_from(host.target.read_bytes()).leaf.fingerprint == leaf_of(pem), where
        assert host.files == ["mail.pem"], where
    assert killed >= 15, f"only {killed} of the points are on the way"


# --- what is seen ---------------------------------------------------------------------------------------------------


def test_the_check_says_how_it_is(host: Host, authority: Authority, pems: dict[str, bytes]) -> None:
    done = host.run("--check")
    assert done.returncode == 2
    assert "mail: CRITICAL" in done.stdout
    assert "it is self-signed, so clients refuse it" in done.stdout
    host.installer.install(pems["first"], "issued")
    done = host.run("--check", "--json")
    assert done.returncode == 0, done.stdout
    (found,) = json.loads(done.stdout)
    assert found["names"] == list(NAMES)
    assert found["presented"] is True
    assert found["not_after"].endswith("+00:00")
    # A fifth of the lifetime left, then a tenth: seen well before the end, whatever the lifetime is.
    for begins, ends, status in ((-8100, 1900, 1), (-9100, 900, 2)):
        host.installer.install(authority.pem(begins=begins, ends=ends), "issued")
        done = host.run("--check")
        assert (done.returncode, "it wasn't renewed and ends at" in done.stdout) == (status, True), done.stdout


def test_a_failed_attempt_and_a_file_that_isnt_presented_are_seen(host: Host, pems: dict[str, bytes]) -> None:
    host.installer.install(pems["first"], "issued")
    with pytest.raises(HostError):
        host.installer.install(b"nothing", "issued")
    done = host.run("--check")
    assert done.returncode == 1
    assert "the last attempt at" in done.stdout
    host.target.write_bytes(pems["second"])
    done = host.run("--check")
    assert done.returncode == 2
    assert "HAProxy presents another one" in done.stdout
    host.stop()
    assert "HAProxy presents none" in host.run("--check").stdout


def test_metrics_are_what_prometheus_reads(host: Host, pems: dict[str, bytes]) -> None:
    host.lineage(pems["first"])
    assert host.run("install", "mail").returncode == 0
    text = Path(host.settings.metrics).read_text()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    leaf = x509.bundle_from(pems["first"]).leaf
    assert float(values['postern_certificate_not_after_seconds{name="mail"}']) == leaf.not_after
    assert values['postern_certificate_presented{name="mail"}'] == "1"
    assert values['postern_certificate_status{name="mail"}'] == "0"
    for name in {key.partition("{")[0] for key in values}:
        assert f"# TYPE {name} gauge" in text


def test_wrong_use_is_told(host: Host) -> None:
    done = host.run()
    assert (done.returncode, textwrap.shorten(done.stderr, 400)) == (2, textwrap.shorten(done.stderr, 400))
    assert "give one of install, receive, renew and --check" in done.stderr
    done = host.run("install", "nothing")
    assert done.returncode == 1
    assert done.stderr.startswith("certbot has no certificate 'nothing'")
