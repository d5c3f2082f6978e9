# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges certificates and TLS by what the probes ``tls`` and ``tls_versions`` saw, each fault by its cause.

OpenSSL names one fault, the first that it meets, in what a client at the place would be told. The others are looked for
in the certificate itself, and are evidence.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.hashes import MD5, SHA1

from ..outcomes import Level, Row
from ..table import CHECKS

#: OpenSSL's codes (X509_V_ERR_…) → cause.
_CAUSES = {9: "not_yet", 10: "expired", 18: "self_signed", 19: "root", 20: "issuer", 21: "issuer", 62: "name"}
_CLOCK = 60  # seconds that clocks may differ
_WRONG, _LATE = 0.1, 0.2  # of the lifetime left
_RSA, _EC = 2048, 256


def certificate(
    answer: Mapping[str, Any], subject: str, place: str, name: str, *, clock: float | None = None
) -> Iterator[Row]:
    """Judge the answer of a probe ``tls`` to a server that should be called ``name``.

    ``clock`` is by how many seconds the place's clock is ahead of the gateways', where somebody knows.
    """
    checks = [CHECKS[f"tls.{one}"] for one in ("chain", "expiry", "key")]
    if why := answer.get("error"):
        for check in checks:
            yield check.unknown(subject, place, str(why))
        return
    try:
        sent = [x509.load_der_x509_certificate(base64.b64decode(one)) for one in answer["chain"]]
    except ValueError as error:
        sent = []
        answer = {**answer, "verify_message": f"it can't be read ({error})"}
    if not sent:
        for check in checks:
            yield check.unknown(subject, place, str(answer.get("verify_message") or "no certificate was sent"))
        return
    now = datetime.fromtimestamp(float(answer["time"]) - (clock or 0), UTC)
    yield _chain(answer, sent, subject, place, name, now, clock)
    yield _expiry(sent[0], subject, place, now)
    yield _key(sent[0], subject, place)


def names_of(one: x509.Certificate) -> list[str]:
    """The host names that a certificate is for; its common name counts no more."""
    try:
        found = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [name.lower() for name in found.get_values_for_type(x509.DNSName)]


def _is_for(names: list[str], name: str) -> bool:
    """Whether the names hold one; a star is the whole first label (RFC 9525)."""
    name = name.lower()
    return name in names or f"*.{name.partition('.')[2]}" in names


def _title(name: x509.Name) -> str:
    """A name as people call it."""
    for kind in (x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATION_NAME):
        for found in name.get_attributes_for_oid(kind):
            return str(found.value)
    return name.rfc4514_string() or "without a name"


def _date(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M UTC")


def _ends(one: x509.Certificate) -> tuple[datetime, datetime]:
    """From when to when it is valid."""
    # cryptography before 42 has the times without their zone alone.
    if hasattr(one, "not_valid_before_utc"):
        return one.not_valid_before_utc, one.not_valid_after_utc
    return one.not_valid_before.replace(tzinfo=UTC), one.not_valid_after.replace(tzinfo=UTC)


def _faults(own: x509.Certificate, name: str, now: datetime) -> list[str]:
    """What is wrong with a certificate by itself."""
    begin, end = _ends(own)
    found = [] if _is_for(names_of(own), name) else [f"it isn't for {name}"]
    found += [f"it begins on {_date(begin)}"] if now < begin else []
    found += [f"it ended on {_date(end)}"] if now > end else []
    return found + (["it is signed by itself"] if own.issuer == own.subject else [])


def _chain(
    answer: Mapping[str, Any],
    sent: list[x509.Certificate],
    subject: str,
    place: str,
    name: str,
    now: datetime,
    clock: float | None,
) -> Row:
    check, own = CHECKS["tls.chain"], sent[0]
    came = f"{_title(own.subject)} by {_title(own.issuer)}, {answer.get('version')}"
    evidence = [f"{_title(one.subject)} by {_title(one.issuer)}" for one in sent] + _faults(own, name, now)
    if answer.get("verified"):
        return check.passed(subject, place, came, evidence=evidence)
    message, code = str(answer.get("verify_message")), int(answer.get("verify_code") or 0)
    begin, end = _ends(own)
    cause = _CAUSES.get(code, "other")
    if cause in ("expired", "not_yet") and clock is not None and abs(clock) > _CLOCK and begin <= now <= end:
        cause = "clock"
    if cause == "issuer":
        cause = "intermediate" if len(sent) == 1 else "root"
    if cause == "expired" and now <= end:
        cause, message = "other", "one of its authorities' certificates has ended"
    return check.failed(
        subject,
        place,
        f"{came}: {message}",
        cause=cause,
        evidence=evidence,
        name=name,
        names=", ".join(names_of(own)) or "no name at all",
        issuer=_title(sent[-1].issuer),
        date=_date(begin if cause == "not_yet" else end),
        minutes=round(abs(clock or 0) / 60),
        reason=message,
    )


def _expiry(own: x509.Certificate, subject: str, place: str, now: datetime) -> Row:
    check = CHECKS["tls.expiry"]
    begin, end = _ends(own)
    left = (end - now) / max(end - begin, timedelta(seconds=1))
    came = f"{max(0, round(left * 100))} % of its lifetime left, until {_date(end)}"
    if left < _WRONG:
        return check.failed(subject, place, came, date=_date(end))
    if left < _LATE:
        return check.warned(subject, place, came, cause="overdue", date=_date(end))
    return check.passed(subject, place, came)


def _key(own: x509.Certificate, subject: str, place: str) -> Row:
    check, key = CHECKS["tls.key"], own.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        came, good = f"RSA of {key.key_size} bits", key.key_size >= _RSA
    elif isinstance(key, ec.EllipticCurvePublicKey):
        came, good = f"EC of {key.key_size} bits", key.key_size >= _EC
    else:
        came, good = type(key).__name__, isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)
    signature = own.signature_hash_algorithm
    if isinstance(signature, SHA1 | MD5):
        came, good = f"a signature by {signature.name.upper()}", False
    return check.passed(subject, place, came) if good else check.failed(subject, place, came, reason=came)


def old_versions(answer: Mapping[str, Any], subject: str, place: str, port: int) -> Row:
    """Judge the answer of a probe ``tls_versions`` for the versions before TLS 1.2."""
    check, level = CHECKS["tls.old_versions"], Level.NOTE if port == 25 else None
    if why := answer.get("error"):
        return check.unknown(subject, place, str(why), level=level)
    every = answer["versions"]
    states = {version: found for version, found in every.items() if version != "TLSv1.2"}
    offered = [version for version, found in states.items() if found["state"] == "offered"]
    evidence = [f"{version}: {found['came']}" for version, found in every.items()]
    if offered:
        listed = " and ".join(offered)
        return check.failed(subject, place, listed, level=level, versions=listed, evidence=evidence)
    if unknown := [f"{version}: {found['came']}" for version, found in states.items() if found["state"] == "unknown"]:
        return check.unknown(subject, place, unknown[0], level=level)
    # Whoever hangs up on every version may not speak TLS at all, or not with this place.
    if not any(found["state"] == "offered" or found["came"].startswith("alert") for found in every.values()):
        return check.unknown(subject, place, "every connection was closed, TLS 1.2 included", level=level)
    return check.passed(subject, place, f"{', '.join(states)} refused", level=level, evidence=evidence)
