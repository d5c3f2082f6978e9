# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificates that a server holds, from their raw data: what a session shows of them beside that depends on it."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Iterable, Iterator

from cryptography import x509
from cryptography.x509.oid import NameOID


def why_not(name: str, certificates: Iterable[str]) -> str:
    """Why none of these certificates (DER in base64) can be used for a name; empty where one can."""
    found = [certificate for certificate in _read(certificates) if _is_for(certificate, name.lower())]
    if not found:
        return "has no certificate for that name"
    now = dt.datetime.now(dt.UTC)
    if any(entry.not_valid_before_utc <= now < entry.not_valid_after_utc for entry in found):
        return ""
    latest = max(entry.not_valid_after_utc for entry in found)
    return f"has none for that name that is valid today; the last one was until {latest:%Y-%m-%d}"


def _read(certificates: Iterable[str]) -> Iterator[x509.Certificate]:
    for text in certificates:
        try:
            yield x509.load_der_x509_certificate(base64.b64decode(text))
        except ValueError:
            continue  # one that isn't understood is for no name


def _is_for(certificate: x509.Certificate, name: str) -> bool:
    names = {str(entry.value).lower() for entry in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)}
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names |= {entry.lower() for entry in extension.value.get_values_for_type(x509.DNSName)}
    except (ValueError, x509.ExtensionNotFound):
        pass
    # A wildcard stands for one label, and may be named as it is.
    return name in names or f"*.{name.partition('.')[2]}" in names
