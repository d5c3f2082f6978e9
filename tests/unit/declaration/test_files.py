"""The certificate files that a declaration names: each kind of wrong file, and the sentence about it."""

import datetime as dt
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tools.declared import declared

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.validation import validate

PLACES = ("certificate.file", "websites[0].certificate_file", "exchange.ca_file")


NAMES = ("*.example.com", "autodiscover.example.org", "example.com")


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A key with its certificate, another such pair, and a key with a passphrase, as texts."""
    folder = tmp_path_factory.mktemp("pem")
    texts = {}
    for name in ("one", "two"):
        key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={name}.example.com",
                "-addext", f"subjectAltName={','.join(f'DNS:{one}' for one in NAMES)}",
                "-keyout", str(key), "-out", str(certificate))  # fmt: skip
        texts |= {f"{name} key": key.read_text(), f"{name} certificate": certificate.read_text()}
    locked = folder / "locked.key"
    openssl("pkcs8", "-topk8", "-in", str(folder / "one.key"), "-out", str(locked), "-passout", "pass:secret")
    return {**texts, "locked key": locked.read_text()}


def problems(place: str, path: Path) -> list[str]:
    return [str(problem) for problem in validate(*declared({place: str(path)}))]


def test_good_files(pem: dict[str, str], tmp_path: Path) -> None:
    whole, chain, reverse, authority = (tmp_path / name for name in ("whole", "chain", "reverse", "authority"))
    whole.write_text(pem["one key"] + pem["one certificate"])
    chain.write_text("Issued to mail.example.com\n" + whole.read_text() + pem["two certificate"])
    reverse.write_text(pem["one certificate"] + pem["one key"])
    authority.write_text(pem["one certificate"] + pem["two certificate"])
    for path in (whole, chain, reverse):
        assert problems("certificate.file", path) == []
        assert problems("websites[0].certificate_file", path) == []
    assert problems("exchange.ca_file", authority) == []


@pytest.mark.parametrize("place", PLACES[:2])
def test_a_certificate_is_good_today_and_for_its_names(place: str, tmp_path: Path) -> None:
    """Each wrong in one way, with a key that fits."""
    key, path = ec.generate_private_key(ec.SECP256R1()), tmp_path / "mail.pem"
    today = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)

    def said(begins: dt.datetime, ends: dt.datetime, *names: str) -> list[str]:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.example.com")])
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        made = made.serial_number(1).not_valid_before(begins).not_valid_after(ends)
        if names:
            made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        pem = serialization.Encoding.PEM
        plain = serialization.NoEncryption()
        path.write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
            + made.sign(key, hashes.SHA256()).public_bytes(pem)
        )
        return problems(place, path)

    begin = f'mail_gateway.{place} is "{path}", whose certificate '
    assert said(today - day, today + day, *NAMES) == []
    assert said(today - 3 * day, today - day, *NAMES) == [f"{begin}expired on {today - day:%Y-%m-%d}; renew it."]
    (sentence,) = said(today + day, today + 3 * day, *NAMES)
    assert sentence.startswith(f"{begin}isn't valid before {today + day:%Y-%m-%d}")
    missing = "autodiscover.example.org" if place == PLACES[0] else "example.com"
    own = [name for name in NAMES if name != missing]
    assert said(today - day, today + day, *own) == [
        f"{begin}isn't for {missing} (it is for {own[0]} and {own[1]}); take another, or declare the names that it has."
    ]
    (sentence,) = said(today - day, today + day)
    assert "(it has no alternative names at all)" in sentence


def test_a_vaulted_file_is_left_to_whoever_has_the_password(tmp_path: Path) -> None:
    vaulted = tmp_path / "mail.pem"
    vaulted.write_text("$ANSIBLE_VAULT;1.1;AES256\n6162\n")
    assert problems("certificate.file", vaulted) == []


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([], "which holds no certificate; it must be a PEM file with the private key, the certificate and its chain"),
        (
            ["one key"],
            "which holds no certificate; it must be a PEM file with the private key, the certificate and its chain",
        ),
        (
            ["one certificate"],
            "which holds no private key; it must be a PEM file with the private key, the certificate and its chain",
        ),
        (
            ["one key", "two certificate"],
            "whose private key belongs to another certificate; the server's own must come first",
        ),
        (
            ["one key", "two certificate", "one certificate"],
            "whose private key belongs to another certificate; the server's own must come first",
        ),
        (
            ["locked key", "one certificate"],
            "whose private key has a passphrase; HAProxy can't ask for it, so write the key without one",
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("place", PLACES[:2])
def test_bad_certificate_files(place: str, content: list[str], text: str, pem: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "mail.pem"
    path.write_text("".join(pem[part] for part in content))
    assert problems(place, path) == [f'mail_gateway.{place} is "{path}", {text}.']


def test_damaged_files(pem: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "mail.pem"
    path.write_text(pem["one key"] + pem["one certificate"].replace("M", "!"))
    text = "which holds a damaged certificate or private key; export it again"
    assert problems("certificate.file", path) == [f'mail_gateway.certificate.file is "{path}", {text}.']
    path.write_text(pem["one certificate"].replace("M", "!"))
    text = "which holds a damaged certificate; export it again"
    assert problems("exchange.ca_file", path) == [f'mail_gateway.exchange.ca_file is "{path}", {text}.']
    path.write_bytes(os.urandom(2000))
    text = "which holds no certificate; it must be the authority's certificate as a PEM file"
    assert problems("exchange.ca_file", path) == [f'mail_gateway.exchange.ca_file is "{path}", {text}.']


def test_an_authority_with_its_key_stays_at_home(pem: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(pem["one key"] + pem["one certificate"])
    text = "which holds a private key; it is copied to the gateways, so it must hold certificates only"
    assert problems("exchange.ca_file", path) == [f'mail_gateway.exchange.ca_file is "{path}", {text}.']


@pytest.mark.parametrize("place", PLACES)
def test_files_that_cannot_be_read(place: str, tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path, text in (
        (tmp_path / "none.pem", "but there is no such file on the controller"),
        (tmp_path, "but that is a folder, not a file"),
        (loop, "but the file can't be read (Too many levels of symbolic links)"),
        (tmp_path / "mail.pem" / "x", "but there is no such file on the controller"),
    ):
        found = [problem.sentence for problem in validate(*declared({place: str(path)}))]
        assert found == [f'mail_gateway.{place} is "{path}", {text}.']


def test_files_are_looked_at_only_when_their_place_is_right(tmp_path: Path) -> None:
    found: list[Any] = validate(*declared({"websites[0].certificate_file": "www.pem"}))
    assert len(found) == 1
