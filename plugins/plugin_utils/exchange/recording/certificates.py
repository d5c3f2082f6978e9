# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate in the place of a certificate: for other names, with a key that everybody knows."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

_LONG_AGO, _LAST_YEAR, _FOREVER = (dt.datetime(year, 1, 1, tzinfo=dt.UTC) for year in (2001, 2002, 2099))


def names(raw: str) -> list[str]:
    """The names that a certificate (DER in base64) is for, the common name first."""
    certificate = _read(raw)
    if certificate is None:
        return []
    found = [str(entry.value) for entry in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    with contextlib.suppress(ValueError, x509.ExtensionNotFound):
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        found += extension.value.get_values_for_type(x509.DNSName)
    return found


def another(raw: str, renamed: Callable[[str], str], number: int) -> str:
    """One for the new names. It is valid for good, or was long ago, or isn't one, as the other is now."""
    certificate = _read(raw)
    if certificate is None:
        return base64.b64encode(f"no certificate {number}".encode()).decode()
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    found = [renamed(name) for name in names(raw)]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in found[:1]])
    now = dt.datetime.now(dt.UTC)
    valid = certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), number + 1)
        .not_valid_before(_LONG_AGO)
        .not_valid_after(_FOREVER if valid else _LAST_YEAR)
    )
    if found:
        made = made.add_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, found))), critical=False)
    return base64.b64encode(made.sign(key, None).public_bytes(serialization.Encoding.DER)).decode()


def _read(raw: str) -> x509.Certificate | None:
    try:
        return x509.load_der_x509_certificate(base64.b64decode(raw))
    except ValueError:
        return None
