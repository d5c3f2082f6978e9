from __future__ import annotations

import ssl
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standin_client import authenticate, negotiate, read_challenge

from standin import ntlm


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        # RFC 1320, appendix A.5
        (b"", "31d6cfe0d16ae931b73c59d7e0c089c0"),
        (b"a", "bde52cb31de33e46245e05fbdbd6fb24"),
        (b"abc", "a448017aaf21d8525fc10ae87aa6729d"),
        (b"message digest", "d9130a8164549fe818874806e1c7014b"),
        (
            b"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
            "e33b4ddc9c38f2199c3e7b164fcc0536",
        ),
        # MS-NLMP section 4.2.2.1.2: NTOWFv1 of "Password"
        ("Password".encode("utf-16-le"), "a4f49c406510bdcab6824ee7c30fd852"),
    ],
)
def test_md4(text: bytes, digest: str) -> None:
    assert ntlm.md4(text).hex() == digest


def test_published_exchange_is_verified() -> None:
    """MS-NLMP section 4.2.4: user User, domain Domain, password Password, fixed challenges."""
    information = bytes.fromhex("02000c0044006f006d00610069006e0001000c0053006500720076006500720000000000")
    blob = bytes.fromhex("0101" + "00" * 14 + "aa" * 8 + "00" * 4) + information + bytes(4)
    answer = ntlm.Answer("User", "Domain", bytes.fromhex("68cd0ab851e51c96aabc927bebef6a1c"), blob)
    sent = ntlm.Challenge(bytes.fromhex("0123456789abcdef"), b"")
    assert ntlm.verify(answer, sent, "Password")
    assert not ntlm.verify(answer, sent, "password")


@given(st.text(max_size=30), st.sampled_from(["", "EXAMPLE", "example.test"]))
def test_right_password_is_proved(password: str, domain: str) -> None:
    password = password.encode("utf-8", "ignore").decode()
    sent = ntlm.challenge("EX1", "ex1.example.test")
    answer = ntlm.read_answer(authenticate(sent.message, "anna", domain, password))
    assert (answer.user, answer.domain) == ("anna", domain)
    assert ntlm.verify(answer, sent, password)
    assert not ntlm.verify(answer, sent, password + "x")
    assert not ntlm.verify(answer, ntlm.challenge("EX1", "ex1.example.test"), password)


def test_challenge_names_the_server() -> None:
    nonce, information = read_challenge(ntlm.challenge("EX1", "ex1.example.test").message)
    assert len(nonce) == 8
    for name in ("EX1", "EXAMPLE", "ex1.example.test", "example.test"):
        assert name.encode("utf-16-le") in information


def test_channel_bindings_are_found(certificate: Path) -> None:
    text = certificate.read_text()
    first = text[text.index("-----BEGIN CERT") :]
    expected = ntlm.channel_bindings(ssl.PEM_cert_to_DER_cert(first))
    sent = ntlm.challenge("EX1", "ex1.example.test")
    assert ntlm.read_answer(authenticate(sent.message, "anna", "", "x", expected)).channel_bindings == expected
    assert ntlm.read_answer(authenticate(sent.message, "anna", "", "x")).channel_bindings == b""


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"NTLMSSP",
        b"KERBEROS" + bytes(40),
        negotiate(),
        ntlm.SIGNATURE + struct.pack("<I", 3),
        ntlm.SIGNATURE + struct.pack("<I", 3) + bytes(52),
        ntlm.SIGNATURE + struct.pack("<I", 3) + b"\xff" * 60,
    ],
)
def test_malformed_answers(message: bytes) -> None:
    with pytest.raises(ntlm.Malformed):
        ntlm.read_answer(message)
