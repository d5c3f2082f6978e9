"""A PFX is what openssl, and so Windows, reads: with the right encryption, whole, and under its password alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from certificate_host import openssl

from ansible_collections.postern.mail_gateway.plugins.module_utils.certificates import (
    pfx,
    x509,
)
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.errors import HostError

PASSWORD = "a password, long enough"


def info(content: bytes, password: str = PASSWORD) -> str:
    """Return what ``openssl pkcs12 -info`` says of the encryption; the legacy one needs its provider."""
    done = subprocess.run(
        ["openssl", "pkcs12", "-info", "-noout", "-legacy", "-passin", f"pass:{password}"],
        input=content, check=True, capture_output=True,
    )  # fmt: skip
    return done.stderr.decode()


@pytest.mark.parametrize(
    ("windows", "cipher", "mac"),
    [(2012, "pbeWithSHA1And3-KeyTripleDES-CBC", "MAC: sha1"), (2016, "pbeWithSHA1And3-KeyTripleDES-CBC", "MAC: sha1"),
     (2019, "AES-256-CBC", "MAC: sha256"), (2025, "AES-256-CBC", "MAC: sha256")],
)  # fmt: skip
def test_each_windows_gets_what_it_reads(pems: dict[str, bytes], windows: int, cipher: str, mac: str) -> None:
    made = pfx.make_pfx(pems["first"], PASSWORD, pfx.encryption_for(windows), "mail.example.test")
    said = info(made)
    assert said.count(cipher) == 2, said  # the key and the certificates
    assert mac in said


def test_key_certificate_and_chain_are_in_it(pems: dict[str, bytes]) -> None:
    made = pfx.make_pfx(pems["first"], PASSWORD, name="mail.example.test")
    text = pfx.read_pfx(made, PASSWORD)
    bundle, before = x509.bundle_from(text), x509.bundle_from(pems["first"])
    assert bundle.leaf == before.leaf
    assert bundle.chain == before.chain
    keys = [openssl("pkey", "-pubout", data=one.key) for one in (bundle, before)]
    assert keys[0] == keys[1]
    assert b"friendlyName: mail.example.test" in text
    assert f"Microsoft CSP Name: {pfx.PROVIDER}".encode() in text


def test_another_password_opens_nothing(pems: dict[str, bytes]) -> None:
    made = pfx.make_pfx(pems["first"], PASSWORD)
    with pytest.raises(HostError, match="Mac verify error"):
        pfx.read_pfx(made, PASSWORD + "x")
    assert b"PRIVATE KEY" not in made
    assert len({pfx.new_password() for _ in range(50)}) == 50
    assert min(len(pfx.new_password()) for _ in range(50)) >= 24


@pytest.mark.parametrize(
    ("pem", "password", "encryption", "sentence"),
    [
        ("first", "short", "aes256", "must be one line of 12 characters or more"),
        ("first", "two lines\nof a password", "aes256", "must be one line of 12 characters or more"),
        ("first", PASSWORD, "rot13", "'rot13' is no encryption of a PFX; it is one of aes256, 3des."),
        ("", PASSWORD, "aes256", "needs a PEM with one private key and its certificate"),
        ("broken", PASSWORD, "aes256", "openssl makes no PFX of it: "),
    ],
)
def test_what_makes_no_pfx_is_told(
    pems: dict[str, bytes], pem: str, password: str, encryption: str, sentence: str
) -> None:
    content = {"": b"", "broken": pems["first"].replace(b"MII", b"MIJ")}.get(pem) if pem != "first" else pems["first"]
    assert content is not None
    with pytest.raises(HostError) as caught:
        pfx.make_pfx(content, password, encryption)
    assert sentence in str(caught.value)
    assert str(caught.value).endswith(".")
    assert PASSWORD not in str(caught.value)


def test_no_command_line_has_the_password(
    pems: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An openssl that writes down how it was called, and then is the real one."""
    real = shutil.which("openssl")
    (tmp_path / "openssl").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/called\nexec {real} "$@"\n')
    (tmp_path / "openssl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    pfx.read_pfx(pfx.make_pfx(pems["first"], PASSWORD), PASSWORD)
    called = (tmp_path / "called").read_text()
    assert called.count("pkcs12") == 2
    assert PASSWORD not in called
    assert "PRIVATE" not in called
