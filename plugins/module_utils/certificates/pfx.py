# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PFX for Windows from a key with its certificate and chain, made in memory.

Neither the key nor the password touches a file or a command line: openssl gets both over pipes.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Sequence

from ..host.commands import run_binary
from ..host.errors import HostError

PROVIDER = "Microsoft RSA SChannel Cryptographic Provider"
"""Where Windows keeps the key once it is imported; Exchange wants this provider for RSA keys."""

# Windows Server 2016 and older read nothing newer than 3DES and SHA-1 (openssl-pkcs12(1), "-legacy"); 2019 reads AES.
ENCRYPTIONS: dict[str, tuple[str, ...]] = {
    "aes256": ("-keypbe", "AES-256-CBC", "-certpbe", "AES-256-CBC", "-macalg", "sha256"),
    "3des": ("-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"),
}
OLDEST_FOR_AES = 2019


def encryption_for(windows: int) -> str:
    """Return the encryption that a version of Windows Server reads (2012, 2016, 2019 …)."""
    return "aes256" if windows >= OLDEST_FOR_AES else "3des"


def new_password() -> str:
    """Return a password that is good for one transfer."""
    return secrets.token_urlsafe(24)


def _openssl(arguments: Sequence[str], data: bytes, *passwords: str) -> bytes:
    """Run openssl; each password is behind a descriptor whose number stands where the arguments say ``{N}``."""
    readers = []
    try:
        for password in passwords:
            reader, writer = os.pipe()
            readers.append(reader)
            with os.fdopen(writer, "wb") as stream:
                stream.write(password.encode() + b"\n")
        command = ["openssl", *(argument.format(*readers) for argument in arguments)]
        done = run_binary(*command, data=data, descriptors=readers)
    finally:
        for reader in readers:
            os.close(reader)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        raise HostError(f"openssl makes no PFX of it: {(lines or ['without a reason'])[0].rstrip('.')}.")
    return done.stdout


def make_pfx(pem: bytes, password: str, encryption: str = "aes256", name: str = "") -> bytes:
    """Return a PFX (PKCS 12) with the private key, the certificate and the chain of a PEM.

    :param pem: unencrypted private key, certificate, chain.
    :param password: at least 12 characters, since a PFX can be tried out offline.
    :param encryption: a key of ENCRYPTIONS.
    :param name: the friendly name that Windows shows.
    """
    if len(password) < 12 or "\n" in password:
        raise HostError("The password of a PFX must be one line of 12 characters or more.")
    if encryption not in ENCRYPTIONS:
        raise HostError(f"'{encryption}' is no encryption of a PFX; it is one of {', '.join(ENCRYPTIONS)}.")
    if len(re.findall(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----", pem)) != 1 or b"-----BEGIN CERTIFICATE-----" not in pem:
        raise HostError("A PFX needs a PEM with one private key and its certificate.")
    arguments = ["pkcs12", "-export", "-passin", "pass:", "-passout", "fd:{0}", *ENCRYPTIONS[encryption]]
    arguments += ["-CSP", PROVIDER]
    arguments += ["-name", name.replace("{", "").replace("}", "")] if name else []
    return _openssl(arguments, pem, password)


def read_pfx(pfx: bytes, password: str) -> bytes:
    """Return what a PFX holds as PEM, with the key in the clear; HostError where the password isn't its own."""
    return _openssl(["pkcs12", "-nodes", "-passin", "fd:{0}"], pfx, password)
