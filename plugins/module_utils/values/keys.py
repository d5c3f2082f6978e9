# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Public keys of SSH, read as sshd reads them: the options (sshd(8)), the type, and the numbers behind it."""

from __future__ import annotations

import base64
import itertools
import re
from typing import Any

from .sentences import Hidden, Unfit, listed
from .texts import read_line

# Each type with the lengths in bytes of what follows its name in the key, None for any (RFC 4253 6.6, RFC 5656 3.1,
# RFC 8709 4, OpenSSH's PROTOCOL.u2f). Points of elliptic curves are uncompressed.
_TYPES: dict[str, tuple[int | None, ...]] = {
    "ssh-ed25519": (32,),
    "ssh-rsa": (None, None),
    "ecdsa-sha2-nistp256": (8, 65),
    "ecdsa-sha2-nistp384": (8, 97),
    "ecdsa-sha2-nistp521": (8, 133),
    "sk-ssh-ed25519@openssh.com": (32, None),
    "sk-ecdsa-sha2-nistp256@openssh.com": (8, 65, None),
}
_SMALLEST_RSA = 1024 // 8
_LONGEST = 8000  # characters; an RSA key of 16,384 bits has 2,800

# sshd(8), AUTHORIZED_KEYS FILE FORMAT: one that it doesn't know makes it pass over the key.
_OPTIONS = frozenset(
    "agent-forwarding cert-authority command environment expiry-time from no-agent-forwarding no-port-forwarding "
    "no-pty no-touch-required no-user-rc no-x11-forwarding permitlisten permitopen port-forwarding principals pty "
    "restrict tunnel user-rc verify-required x11-forwarding".split()
)
_OPTION = re.compile(r'([A-Za-z0-9-]+)(?:="(?:\\"|[^"])*")?(?:,|\Z)')


def read_public_key(value: Any, options: bool = True) -> str:
    """A public key on one line: what it says it is, and is.

    A private key is never quoted in a sentence.

    :param options: whether options of ``authorized_keys`` may stand before it; they stay.
    """
    expected = "a public key, the line of a .pub file"
    if isinstance(value, str) and "PRIVATE KEY" in value:
        raise Hidden(f"but must be {expected}, and this is a private key; take it out and use another pair from now on")
    if isinstance(value, str) and "\n" in value.strip():
        raise Unfit(f"but must be {expected}; give each key an entry of its own")
    text = read_line(value, expected, _LONGEST)
    if text.startswith("#"):
        raise Unfit(f"but must be {expected}, and this is a comment to sshd; take the # out")
    for word, blob in itertools.pairwise(text.split(" ")):
        if word in _TYPES:
            if not _is_key(word, blob):
                raise Unfit(f"but what stands behind {word} isn't such a key; copy the whole line of the .pub file")
            before = text[: text.index(f"{word} {blob}")].strip()
            if before and not options:
                raise Unfit(f"but must be {expected}, and nothing before the key's type")
            _check_options(before)
            return text
    raise Unfit(f"but must be {expected}: {listed(list(_TYPES)[:2], 'or')} and so on, and the key behind it")


def is_public_key(text: str) -> bool:
    """Whether a text is a public key of a type that is still in use."""
    try:
        read_public_key(text)
    except Unfit:
        return False
    return True


def _check_options(text: str) -> None:
    """Raise Unfit for options that sshd doesn't know, since it takes no key behind them."""
    place = 0
    while place < len(text):
        found = _OPTION.match(text, place)
        if not found or found[1].lower() not in _OPTIONS or (text[place:].endswith(",") and found.end() == len(text)):
            raise Unfit(
                "but what stands before the key's type is none of sshd's options, so it would pass over the key"
            )
        place = found.end()


def _is_key(name: str, blob: str) -> bool:
    """Whether Base64 holds a key of this type, all of it and nothing behind it."""
    try:
        content = base64.b64decode(blob, validate=True)
    except ValueError:
        return False
    fields, place = [], 0
    while place < len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        field = content[place + 4 : place + 4 + length]
        if len(content) < place + 4 + length:
            return False
        fields.append(field)
        place += 4 + length
    lengths = (len(name), *_TYPES[name])
    if len(fields) != len(lengths) or fields[0] != name.encode():
        return False
    if name == "ssh-rsa" and len(fields[2].lstrip(b"\0")) < _SMALLEST_RSA:
        return False
    return all(field if length is None else len(field) == length for field, length in zip(fields, lengths, strict=True))
