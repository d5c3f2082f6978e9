"""Certificates with each fault, seen by the real probe over loopback and told apart by the judge."""

from __future__ import annotations

import ast
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from tls_servers import DAY, MIDDLE, NAME, ROOT, leaf, listening, make, pem, presenting

from ansible_collections.postern.mail_gateway.plugins.module_utils.probes import clients, tls
from ansible_collections.postern.mail_gateway.plugins.modules.probes import problem
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks.judge import certificates
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks.outcomes import Level, Outcome, Row
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks.table import CHECKS

PROBES = Path(__file__).resolve().parents[3] / "plugins" / "module_utils" / "probes"
SMTP = ("220-a\r\n220 b ESMTP\r\n", "250-b\r\n250 STARTTLS\r\n", "220 2.0.0 go\r\n")


def seen(port: int, **more: Any) -> dict[str, Any]:
    probe = {"kind": "tls", "connect": "127.0.0.1", "port": port, "server_name": NAME, "trust": pem(ROOT), "timeout": 5}
    return clients.ask({**probe, **more})


def judged(answer: dict[str, Any], **more: Any) -> dict[str, Row]:
    return {row.id: row for row in certificates.certificate(answer, "gw1 port 443", "outside", NAME, **more)}


FAULTS: list[tuple[str, tuple[x509.Certificate, ...], int, str]] = [
    ("name", (leaf(names=("other.test", "*.example.test.evil")), MIDDLE), 62, "and not for mail.example.test"),
    ("expired", (leaf(begin=-90 * DAY, end=-DAY), MIDDLE), 10, "ended on "),
    ("not_yet", (leaf(begin=DAY), MIDDLE), 9, "begins on "),
    ("self_signed", (make(NAME, NAME, names=(NAME,)),), 18, "presents a certificate that it signed itself"),
    ("root", (make(NAME, "Strange", names=(NAME,)), make("Strange", "Strange", authority=True)), 19, "doesn't know"),
    ("root", (make(NAME, "Strange 2", names=(NAME,)), make("Strange 2", "Strange 1", authority=True)), 20, "Strange 1"),
    ("intermediate", (leaf(),), 20, "sends its own certificate alone, and outside doesn't know its issuer Test inter"),
    ("other", (leaf(), make("Test intermediate", "Test root", authority=True, end=-DAY)), 10, "has ended."),
]


@pytest.mark.parametrize(("cause", "chain", "code", "said"), FAULTS, ids=[f"{one[0]}-{one[2]}" for one in FAULTS])
def test_each_fault_is_told_by_its_cause(
    tmp_path: Path, cause: str, chain: tuple[x509.Certificate, ...], code: int, said: str
) -> None:
    with presenting(tmp_path, *chain) as port:
        answer = seen(port)
    assert (answer["verified"], answer["verify_code"]) == (False, code)
    row = judged(answer)["tls.chain"]
    assert row.outcome is Outcome.FAIL
    assert said in row.remedy
    words = CHECKS["tls.chain"].remedies[cause].split("{")[-1].partition("}")[2]
    assert row.remedy.endswith(words)


def test_each_cause_is_tried() -> None:
    assert {fault[0] for fault in FAULTS} | {"clock"} == set(CHECKS["tls.chain"].remedies)


def test_a_good_chain_passes(tmp_path: Path) -> None:
    with presenting(tmp_path, leaf(names=("*.example.test",)), MIDDLE) as port:
        answer = seen(port)
    assert answer["verified"]
    assert len(answer["chain"]) == 2
    assert (answer["peer"], answer["own"]) == ("127.0.0.1", "127.0.0.1")
    assert {row.outcome for row in judged(answer).values()} == {Outcome.PASS}


def test_what_else_is_wrong_is_evidence(tmp_path: Path) -> None:
    with presenting(tmp_path, leaf(names=("other.test",), begin=-90 * DAY, end=-DAY), MIDDLE) as port:
        rows = judged(seen(port))
    assert any("it isn't for mail.example.test" in one for one in rows["tls.chain"].evidence)
    assert any("it ended on" in one for one in rows["tls.chain"].evidence)


def test_a_wrong_clock_is_told_from_a_wrong_certificate(tmp_path: Path) -> None:
    with presenting(tmp_path, leaf(begin=DAY / 2), MIDDLE) as port:
        answer = seen(port)
    slow = judged({**answer, "time": answer["time"]}, clock=-DAY.total_seconds())["tls.chain"]
    assert slow.remedy.startswith("The clock of outside is 1440 minutes off those of the gateways")
    assert judged(answer, clock=2)["tls.chain"].remedy.startswith("The certificate of gw1 port 443 begins on")


@pytest.mark.parametrize(
    ("days", "left", "outcome"),
    [(90, 60, Outcome.PASS), (90, 14, Outcome.WARN), (90, 5, Outcome.FAIL), (6, 4, Outcome.PASS), (6, 1, Outcome.WARN),
     (90, -1, Outcome.FAIL)],
)  # fmt: skip
def test_expiry_is_a_fraction_of_the_lifetime(tmp_path: Path, days: int, left: int, outcome: Outcome) -> None:
    with presenting(tmp_path, leaf(begin=(left - days) * DAY, end=left * DAY), MIDDLE) as port:
        row = judged(seen(port))["tls.expiry"]
    assert row.outcome is outcome
    assert bool(row.remedy) == (outcome is not Outcome.PASS)


@pytest.mark.parametrize(("kind", "outcome"), [("1024", Outcome.FAIL), ("2048", Outcome.PASS), ("ec", Outcome.PASS)])
def test_short_keys_fail(kind: str, outcome: Outcome) -> None:
    import base64

    from cryptography.hazmat.primitives.serialization import Encoding

    der = base64.b64encode(leaf(kind=kind).public_bytes(Encoding.DER)).decode()
    answer = {"verified": True, "chain": [der], "version": "TLSv1.3", "time": 0.0}
    assert judged(answer)["tls.key"].outcome is outcome


@pytest.mark.parametrize(
    "answer",
    [
        {"error": "TimeoutError: timed out"},
        {"verified": False, "chain": [], "verify_message": "", "time": 0.0},
        {"verified": False, "chain": ["AAAA"], "verify_message": "", "time": 0.0},
    ],
)
def test_a_certificate_that_nobody_saw_is_unknown(answer: dict[str, Any]) -> None:
    rows = judged(answer)
    assert {row.outcome for row in rows.values()} == {Outcome.UNKNOWN}
    assert all(row.came for row in rows.values())


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ("smtp", SMTP),
        ("imap", ("* OK ready\r\n", "* CAPABILITY IMAP4\r\na1 OK begin\r\n")),
        ("pop3", ("+OK ready\r\n", "+OK begin\r\n")),
    ],
)
def test_tls_begins_after_a_few_words(tmp_path: Path, protocol: str, words: tuple[str, ...]) -> None:
    with presenting(tmp_path, leaf(), MIDDLE, words=words) as port:
        assert seen(port, starttls=protocol)["verified"]


def test_where_tls_is_not_offered_the_answer_says_so() -> None:
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"220 b ESMTP\r\n")
        connection.recv(1000)
        connection.sendall(b"502 no\r\n")

    with listening(serve) as port:
        assert seen(port, starttls="smtp") == {"error": "ConnectionError: TLS isn't offered: 502 no"}


def says(answer: Callable[[bytes], bytes]) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(answer(connection.recv(4096)))


def server_hello(number: int) -> bytes:
    body = struct.pack("!H", number) + bytes(32) + b"\0\0\x2f\0"
    message = b"\2" + struct.pack("!I", len(body))[1:] + body
    return struct.pack("!BHH", 22, 0x0301, len(message)) + message


def versions(port: int) -> dict[str, Any]:
    return clients.ask(
        {"kind": "tls_versions", "connect": "127.0.0.1", "port": port, "server_name": NAME, "timeout": 2}
    )


def test_old_versions_are_asked_by_hand(tmp_path: Path) -> None:
    with listening(says(lambda said: server_hello(struct.unpack_from("!H", said, 9)[0]))) as port:
        row = certificates.old_versions(versions(port), "gw1", "outside", 443)
        assert (row.outcome, row.came) == (Outcome.FAIL, "SSLv3 and TLSv1 and TLSv1.1")
        note = certificates.old_versions(versions(port), "gw1", "outside", 25)
        assert (note.outcome, note.level) == (Outcome.WARN, Level.NOTE)
    # A server may answer with an older version than was asked for, which refuses the newer one.
    with listening(says(lambda _: server_hello(0x0301))) as port:
        states = {name: one["state"] for name, one in versions(port)["versions"].items()}
        assert states == {"SSLv3": "refused", "TLSv1": "offered", "TLSv1.1": "refused", "TLSv1.2": "refused"}
    with listening(says(lambda _: b"\x15\x03\x01\0\2\2\x46")) as port:
        row = certificates.old_versions(versions(port), "gw1", "outside", 443)
        assert row.outcome is Outcome.PASS
        assert "SSLv3: alert 70" in row.evidence
    with listening(lambda _: None) as port:
        assert certificates.old_versions(versions(port), "gw1", "outside", 443).outcome is Outcome.UNKNOWN
    with listening(says(lambda _: b"220 not TLS at all\r\n")) as port:
        assert certificates.old_versions(versions(port), "gw1", "outside", 443).outcome is Outcome.UNKNOWN
    with presenting(tmp_path, leaf(), MIDDLE) as port:
        answer = versions(port)
    assert answer["versions"]["TLSv1.2"] == {"state": "offered", "came": "a hello of TLSv1.2"}
    assert certificates.old_versions(answer, "gw1", "outside", 443).outcome is Outcome.PASS
    assert certificates.old_versions({"error": "x"}, "gw1", "outside", 443).outcome is Outcome.UNKNOWN


def test_answers_come_in_the_order_of_the_probes_and_few_go_to_one_address_at_once() -> None:
    from threading import Lock
    from time import sleep

    lock, now, most = Lock(), 0, 0

    def count(probe: dict[str, Any]) -> dict[str, Any]:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        sleep(0.02)
        with lock:
            now -= 1
        return {"number": probe["number"]}

    probes = [{"kind": "counted", "connect": "192.0.2.1", "number": number} for number in range(12)]
    clients.KINDS["counted"] = count
    try:
        answers = clients.ask_all(probes, 12, 3)
    finally:
        del clients.KINDS["counted"]
    assert [answer["number"] for answer in answers] == list(range(12))
    assert most <= 3


def test_headers_that_come_several_times_are_kept_apart() -> None:
    reply = (
        b'HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM\r\nWWW-Authenticate: Bearer a="1, 2"\r\nContent-Length: 0\r\n\r\n'
    )
    with listening(says(lambda _: reply)) as port:
        answer = clients.ask({"kind": "http", "url": f"http://mail.test:{port}/EWS/", "connect": "127.0.0.1"})
    assert answer["status"] == 401
    assert answer["authenticate"] == ["NTLM", 'Bearer a="1, 2"']
    assert answer["peer"] == "127.0.0.1"


def test_a_name_is_asked_by_the_family_that_is_wanted() -> None:
    with listening(says(lambda _: b"")) as port:
        probe = {"kind": "tcp", "connect": "localhost", "port": port, "listen": 0.1}
        assert "state" in clients.ask({**probe, "family": 4})
        assert "error" in clients.ask({**probe, "family": 6})


def test_probes_that_cannot_be_asked_are_refused_in_a_sentence() -> None:
    assert problem([{"kind": "tcp"}, {"kind": "imap", "password_of": "anna"}], {"anna": "x"}) == ""
    assert problem([{"kind": "ftp"}], {}).startswith('probes[0].kind is "ftp", but must be one of dialogue, http, ')
    assert (
        problem([{"kind": "pop3", "password_of": "b"}], {}) == 'probes[0].password_of is "b", which isn\'t in secrets.'
    )


@pytest.mark.parametrize("path", sorted(PROBES.glob("*.py")), ids=lambda path: path.name)
def test_probes_run_with_python_3_9(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    # Not there yet: `zip(strict=)`, datetime.UTC, StrEnum; `X | Y` outside of annotations.
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "strict"]
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert not names & {"UTC", "StrEnum", "TypeAlias", "ParamSpec", "Self", "pairwise"}
    assert tls.VERSIONS
