# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DKIM keys (RFC 6376, 8301, 8463): what a TXT record says of a key, and whether receivers can use it."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from .tags import TagProblem, tags

SHORTEST = 1024  # RFC 8301: verifiers must not accept less
GOOD = 2048


@dataclass(frozen=True)
class Key:
    """A key, or why it isn't one: ``cause`` is empty, ``revoked``, ``unusable`` or ``short``."""

    kind: str = "rsa"
    bits: int = 0
    testing: bool = False
    cause: str = ""
    reason: str = ""


def parse(text: str) -> Key:
    """Read a key's record."""
    try:
        found = tags(text)
    except TagProblem as problem:
        return Key(cause="unusable", reason=str(problem))
    if "v" in found and (next(iter(found)) != "v" or found["v"] != "DKIM1"):
        return Key(cause="unusable", reason="v=DKIM1 isn't its first tag")
    if "p" not in found:
        return Key(cause="unusable", reason="it has no tag p, which holds the key")
    kind = found.get("k", "rsa").lower()
    testing = "y" in _listed(found.get("t", ""))
    if not re.sub(r"\s", "", found["p"]):
        return Key(kind, testing=testing, cause="revoked", reason="p is empty: the key was revoked")
    if "h" in found and "sha256" not in _listed(found["h"]):
        return Key(kind, testing=testing, cause="unusable", reason=f"it allows {found['h'][:40]} and not sha256")
    if "s" in found and not {"*", "email"} & set(_listed(found["s"])):
        return Key(kind, testing=testing, cause="unusable", reason=f"it isn't for mail: s={found['s'][:40]}")
    try:
        key = base64.b64decode(re.sub(r"\s", "", found["p"]), validate=True)
    except (binascii.Error, ValueError):
        return Key(kind, testing=testing, cause="unusable", reason="p isn't base64")
    if kind == "ed25519":
        if len(key) != 32:
            return Key(kind, testing=testing, cause="unusable", reason=f"an Ed25519 key has 32 bytes, not {len(key)}")
        return Key(kind, 256, testing)
    if kind != "rsa":
        return Key(kind, testing=testing, cause="unusable", reason=f"nobody knows keys of the kind {kind[:40]}")
    return _rsa(key, testing=testing)


def _listed(text: str) -> list[str]:
    return [word.strip().lower() for word in text.split(":")]


def _rsa(key: bytes, *, testing: bool) -> Key:
    """An RSA key, as SPKI or as bare PKCS#1."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        found = load_der_public_key(key)
    except Exception as error:  # noqa: BLE001 (hostile bytes: whatever its readers raise, it isn't a key)
        return Key(testing=testing, cause="unusable", reason=f"p isn't an RSA key ({type(error).__name__})")
    if not isinstance(found, RSAPublicKey):
        return Key(testing=testing, cause="unusable", reason="p is another key than RSA")
    if found.key_size < SHORTEST:
        reason = f"it has {found.key_size} bits, and receivers take {SHORTEST} or more"
        return Key("rsa", found.key_size, testing, "short", reason)
    return Key("rsa", found.key_size, testing)
