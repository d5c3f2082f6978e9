# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates, keys and chains in PEM: what they are, and whether HAProxy should present them. openssl is asked."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import re
import ssl
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..host.commands import last, run
from ..host.errors import HostError
from .settings import Settings, Wanted, moment

BLOCK = re.compile(rb"-----BEGIN (?P<kind>[A-Z0-9 ]+)-----\s.*?-----END (?P=kind)-----", re.DOTALL)


@dataclass(frozen=True)
class Certificate:
    """What is to be known of one certificate. Times are seconds since 1970."""

    names: tuple[str, ...]
    serial: str
    issuer: str
    self_signed: bool
    not_before: float
    not_after: float
    key_type: str
    key_bits: int
    fingerprint: str
    public_key: str

    def left(self, at: float | None = None) -> float:
        """Return the fraction of the lifetime that is left; negative after the end."""
        lifetime = max(self.not_after - self.not_before, 1.0)
        return (self.not_after - (time.time() if at is None else at)) / lifetime


@dataclass(frozen=True)
class Bundle:
    """A private key with its certificate and chain, as PEM, and what is to be known of the certificate."""

    key: bytes
    chain: tuple[bytes, ...]
    leaf: Certificate

    @property
    def pem(self) -> bytes:
        """What HAProxy reads: key, certificate, chain. No empty line, which would end a payload on its socket."""
        return b"".join(block + b"\n" for block in (self.key, *self.chain))


def fingerprint(certificate: bytes) -> str:
    """Return the SHA-256 of a PEM certificate's DER form."""
    body = b"".join(line for line in certificate.splitlines() if not line.startswith(b"-----"))
    return hashlib.sha256(base64.b64decode(body)).hexdigest()


def fingerprint_in(pem: bytes | None) -> str:
    """Return the fingerprint of the first certificate in a file, which may be broken."""
    for match in BLOCK.finditer(pem or b""):
        if match["kind"] == b"CERTIFICATE":
            with contextlib.suppress(ValueError):
                return fingerprint(match[0])
    return ""


@cache
def describe(certificate: bytes) -> Certificate:
    """Read one PEM certificate with openssl, once in a run; HostError where it is none."""
    done = run(
        "openssl", "x509", "-noout", "-serial", "-subject", "-issuer", "-dates", "-ext", "subjectAltName", "-pubkey",
        data=certificate,
    )  # fmt: skip
    said = dict(re.findall(r"^(serial|subject|issuer|notBefore|notAfter)=(.*)$", done.stdout, re.MULTILINE))
    public = re.search(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", done.stdout, re.DOTALL)
    if done.returncode or len(said) < 5 or not public:
        raise HostError(f"The certificate can't be read ({last(done)}).")
    shown = run("openssl", "pkey", "-pubin", "-noout", "-text_pub", data=public[0].encode()).stdout
    bits = re.search(r"\((\d+) bit", shown)
    return Certificate(
        names=tuple(name.lower() for name in re.findall(r"DNS:([^,\s]+)", done.stdout)),
        serial=said["serial"].lower(),
        issuer=said["issuer"].strip(),
        self_signed=said["issuer"] == said["subject"],
        not_before=float(ssl.cert_time_to_seconds(said["notBefore"])),
        not_after=float(ssl.cert_time_to_seconds(said["notAfter"])),
        key_type="rsa" if "Modulus" in shown else "ecdsa" if "ASN1 OID" in shown else "other",
        key_bits=int(bits[1]) if bits else 0,
        fingerprint=fingerprint(certificate),
        public_key="".join(public[0].split()),
    )


def bundle_from(pem: bytes) -> Bundle:
    """Read key, certificate and chain out of PEM text; HostError where something is missing or isn't whole."""
    blocks = [
        (match["kind"].decode(), b"\n".join(line.strip() for line in match[0].splitlines() if line.strip()))
        for match in BLOCK.finditer(pem)
    ]
    keys = [text for kind, text in blocks if kind.endswith("PRIVATE KEY")]
    chain = tuple(text for kind, text in blocks if kind == "CERTIFICATE")
    if len(keys) != 1 or not chain or pem.count(b"-----BEGIN ") != pem.count(b"-----END "):
        raise HostError(
            f"The PEM holds {len(keys)} whole private keys and {len(chain)} whole certificates, where it needs one key "
            "and its certificate with the chain."
        )
    return Bundle(keys[0], chain, describe(chain[0]))


def covers(pattern: str, name: str) -> bool:
    """Tell whether a name of a certificate stands for a host's name (RFC 6125: a wildcard is one label)."""
    return pattern == name or (pattern.startswith("*.") and name.partition(".")[2] == pattern[2:] and "*" not in name)


def missing_names(leaf: Certificate, names: Iterable[str]) -> list[str]:
    """Return the names that a certificate doesn't stand for."""
    return [name for name in names if not any(covers(pattern, name.lower()) for pattern in leaf.names)]


def judge(bundle: Bundle, wanted: Wanted, settings: Settings, at: float | None = None) -> None:
    """Refuse what HAProxy shouldn't present, with the reason."""
    leaf, at = bundle.leaf, time.time() if at is None else at
    public = run("openssl", "pkey", "-pubout", "-passin", "pass:", data=bundle.key)
    if public.returncode:
        raise HostError("The private key can't be read; it must be whole and not encrypted.")
    if "".join(public.stdout.split()) != leaf.public_key:
        raise HostError("The private key doesn't belong to the certificate.")
    if missing := missing_names(leaf, wanted.names):
        raise HostError(f"The certificate is for {', '.join(leaf.names) or 'no name'} and lacks {', '.join(missing)}.")
    if at < leaf.not_before:
        raise HostError(
            f"The certificate is valid from {moment(leaf.not_before)} on; this host's clock is before that."
        )
    if at >= leaf.not_after:
        raise HostError(f"The certificate expired at {moment(leaf.not_after)}.")
    if leaf.key_type != settings.key_type:
        raise HostError(f"The certificate's key is {leaf.key_type}, where {settings.key_type} is asked for.")
    if leaf.key_type == "rsa" and leaf.key_bits < 2048:
        raise HostError(f"The certificate's RSA key has {leaf.key_bits} bits; 2048 are the least.")
    judge_chain(bundle, settings)


def judge_chain(bundle: Bundle, settings: Settings) -> None:
    """Refuse a chain that isn't in order, isn't valid, or isn't there."""
    subjects = [hashes(block) for block in bundle.chain]
    for number, ((_unused, issuer), (subject, _unused)) in enumerate(itertools.pairwise(subjects), 1):
        if issuer != subject:
            raise HostError(
                f"Certificate {number + 1} of the chain didn't sign certificate {number}; the order is wrong."
            )
    with tempfile.TemporaryDirectory(prefix="postern-") as scratch:
        leaf, rest, top = (Path(scratch, name) for name in ("leaf", "rest", "top"))
        leaf.write_bytes(bundle.chain[0] + b"\n")
        rest.write_bytes(b"".join(block + b"\n" for block in bundle.chain[1:-1]))
        arguments = ["-partial_chain", "-purpose", "sslserver"]
        if len(bundle.chain) > 1:
            # The roots are the clients' business: a staging authority's is in nobody's store.
            top.write_bytes(bundle.chain[-1] + b"\n")
            arguments += ["-no-CApath", "-no-CAfile", "-no-CAstore", "-trusted", str(top)]
            arguments += ["-untrusted", str(rest)] if len(bundle.chain) > 2 else []
        elif settings.bundle:
            arguments += ["-CAfile", settings.bundle]
        done = run("openssl", "verify", *arguments, str(leaf))
    if done.returncode:
        said = re.findall(r"error \d+ at \d+ depth lookup: *(.*)", done.stdout + done.stderr)
        reason = said[0].strip() if said else last(done)
        raise HostError(f"The certificate's chain is not sound: {reason}.")


def hashes(certificate: bytes) -> tuple[str, str]:
    """Return the hashes of a certificate's subject and issuer."""
    done = run("openssl", "x509", "-noout", "-subject_hash", "-issuer_hash", data=certificate)
    found = done.stdout.split()
    if len(found) != 2:
        raise HostError(f"A certificate of the chain can't be read ({last(done)}).")
    return found[0], found[1]
