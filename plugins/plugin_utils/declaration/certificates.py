# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates on the controller: are they good today, and for the names that they are declared for?"""

from __future__ import annotations

import datetime as dt
import re
import ssl
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509

from ...module_utils.values.sentences import Unfit, listed
from .site import covered

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_SHOWN = 5  # names in a sentence


def check_certificate(path: str, names: Iterable[str], now: dt.datetime | None = None) -> None:
    """The server's own certificate, which is the first one in the file, must be valid now and for all the names.

    What can't be read here is ``check_certificate_file``'s to say; what Ansible Vault encrypts isn't looked into.

    :raises Unfit: with the end of the sentence about the file.
    """
    found = _PEM.search(Path(path).read_text(encoding="utf-8", errors="replace"))
    if found is None:
        return
    certificate = x509.load_der_x509_certificate(ssl.PEM_cert_to_DER_cert(found[0]))
    begins, ends = (_moment(certificate, which) for which in ("not_valid_before", "not_valid_after"))
    today = now or dt.datetime.now(dt.UTC)
    if today >= ends:
        raise Unfit(f"whose certificate expired on {ends:%Y-%m-%d}; renew it")
    if today < begins:
        raise Unfit(
            f"whose certificate isn't valid before {begins:%Y-%m-%d %H:%M} UTC; wait, or set the controller's clock"
        )
    own = _names(certificate)
    missing = [name for name in names if name not in own and not covered(name, own)]
    if missing:
        has = f"it is for {listed(_some(own))}" if own else "it has no alternative names at all"
        raise Unfit(
            f"whose certificate isn't for {listed(_some(missing))} ({has}); take another, or declare the names that it "
            "has"
        )


def _moment(certificate: x509.Certificate, name: str) -> dt.datetime:
    """A moment of the certificate; cryptography before 42 has them without their time zone alone."""
    aware: dt.datetime | None = getattr(certificate, f"{name}_utc", None)
    if aware is not None:
        return aware
    naive: dt.datetime = getattr(certificate, name)
    return naive.replace(tzinfo=dt.UTC)


def _names(certificate: x509.Certificate) -> list[str]:
    """The host names that clients look at: the alternative ones (RFC 6125 6.4.4)."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in extension.value.get_values_for_type(x509.DNSName)]


def _some(names: Iterable[str]) -> list[str]:
    every = list(names)
    more = len(every) - _SHOWN
    return every if more < 2 else [*every[:_SHOWN], f"{more} more"]
