# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NTLM's three messages (MS-NLMP), the server's half: a challenge goes out, an NTLMv2 answer is verified."""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

SIGNATURE = b"NTLMSSP\0"
# UNICODE, REQUEST_TARGET, NTLM, ALWAYS_SIGN, TARGET_TYPE_DOMAIN, EXTENDED_SESSIONSECURITY, TARGET_INFO, 128, 56
_FLAGS = 0x00000001 | 0x4 | 0x200 | 0x8000 | 0x10000 | 0x80000 | 0x800000 | 0x20000000 | 0x80000000
_NETBIOS_SERVER, _NETBIOS_DOMAIN, _DNS_SERVER, _DNS_DOMAIN, _TIME, _CHANNEL_BINDINGS = 1, 2, 3, 4, 7, 10


class Malformed(ValueError):
    """The message isn't NTLM."""


def message_type(message: bytes) -> int:
    """1 (negotiate), 2 (challenge) or 3 (authenticate). Raises Malformed."""
    if len(message) < 12 or not message.startswith(SIGNATURE):
        raise Malformed("no NTLM signature")
    return int(struct.unpack_from("<I", message, 8)[0])


@dataclass(frozen=True)
class Challenge:
    """The challenge that a connection was sent, and has to be answered on it."""

    nonce: bytes
    message: bytes


def challenge(server: str, server_fqdn: str) -> Challenge:
    """A type 2 message with a fresh nonce. The domain is taken from the server's full name."""
    dns_domain = server_fqdn.partition(".")[2] or server_fqdn
    domain = dns_domain.partition(".")[0].upper()
    pairs = [
        (_NETBIOS_DOMAIN, domain.encode("utf-16-le")),
        (_NETBIOS_SERVER, server.upper().encode("utf-16-le")),
        (_DNS_DOMAIN, dns_domain.encode("utf-16-le")),
        (_DNS_SERVER, server_fqdn.encode("utf-16-le")),
        # Windows counts tenths of microseconds from 1601.
        (_TIME, struct.pack("<Q", int((time.time() + 11644473600) * 10_000_000))),
        (0, b""),
    ]
    information = b"".join(struct.pack("<HH", number, len(value)) + value for number, value in pairs)
    target = domain.encode("utf-16-le")
    nonce = os.urandom(8)
    header = 56
    message = (
        SIGNATURE
        + struct.pack("<I", 2)
        + struct.pack("<HHI", len(target), len(target), header)
        + struct.pack("<I", _FLAGS)
        + nonce
        + bytes(8)
        + struct.pack("<HHI", len(information), len(information), header + len(target))
        + bytes((10, 0, 0x63, 0x45, 0, 0, 0, 15))  # version 10.0.17763, NTLM revision 15
        + target
        + information
    )
    return Challenge(nonce, message)


@dataclass(frozen=True)
class Answer:
    """A type 3 message, read."""

    user: str
    domain: str
    proof: bytes
    blob: bytes

    @property
    def channel_bindings(self) -> bytes:
        """The hash of the TLS channel that the client saw (RFC 5929, for Extended Protection); empty if none."""
        position = 28
        while position + 4 <= len(self.blob):
            number, length = struct.unpack_from("<HH", self.blob, position)
            if number == 0:
                break
            if number == _CHANNEL_BINDINGS:
                value = self.blob[position + 4 : position + 4 + length]
                return b"" if value == bytes(16) else value
            position += 4 + length
        return b""


def read_answer(message: bytes) -> Answer:
    """A type 3 message. Raises Malformed; an NTLMv1 answer is malformed too, since servers refuse it."""
    if message_type(message) != 3 or len(message) < 64:
        raise Malformed("not an authenticate message")

    def part(offset: int) -> bytes:
        length, _, start = struct.unpack_from("<HHI", message, offset)
        if start + length > len(message):
            raise Malformed("a field leads out of the message")
        return message[start : start + length]

    response = part(20)
    encoding = "utf-16-le" if struct.unpack_from("<I", message, 60)[0] & 1 else "latin-1"
    if len(response) < 16 + 28:
        raise Malformed("no NTLMv2 response")
    try:
        return Answer(part(36).decode(encoding), part(28).decode(encoding), response[:16], response[16:])
    except UnicodeDecodeError:
        raise Malformed("a name isn't text") from None


def verify(answer: Answer, sent: Challenge, password: str) -> bool:
    """Whether the answer proves the password (NTLMv2, MS-NLMP section 3.3.2)."""
    secret = hmac.digest(
        md4(password.encode("utf-16-le")), (answer.user.upper() + answer.domain).encode("utf-16-le"), "md5"
    )
    return hmac.compare_digest(hmac.digest(secret, sent.nonce + answer.blob, "md5"), answer.proof)


def channel_bindings(certificate: bytes) -> bytes:
    """What `Answer.channel_bindings` is for a TLS connection whose server showed this certificate (DER).

    MD5 of the gss_channel_bindings structure over `tls-server-end-point:` and the certificate's hash.
    """
    data = b"tls-server-end-point:" + hashlib.sha256(certificate).digest()
    return hashlib.md5(bytes(16) + struct.pack("<I", len(data)) + data, usedforsecurity=False).digest()


def md4(data: bytes) -> bytes:
    """RFC 1320. OpenSSL 3 keeps it in its legacy provider, which is seldom loaded."""

    def rotate(value: int, count: int) -> int:
        value &= 0xFFFFFFFF
        return (value << count | value >> (32 - count)) & 0xFFFFFFFF

    rounds: tuple[tuple[Callable[[int, int, int], int], int, tuple[int, ...], tuple[int, ...]], ...] = (
        (lambda x, y, z: (x & y) | (~x & z), 0, tuple(range(16)), (3, 7, 11, 19)),
        (
            lambda x, y, z: (x & y) | (x & z) | (y & z),
            0x5A827999,
            (0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
            (3, 5, 9, 13),
        ),
        (
            lambda x, y, z: x ^ y ^ z,
            0x6ED9EBA1,
            (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15),
            (3, 9, 11, 15),
        ),
    )
    padded = data + b"\x80" + bytes((55 - len(data)) % 64) + struct.pack("<Q", len(data) * 8)
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476]
    for start in range(0, len(padded), 64):
        words = struct.unpack_from("<16I", padded, start)
        a, b, c, d = state
        for mix, constant, order, shifts in rounds:
            for step, index in enumerate(order):
                a, b, c, d = d, rotate(a + mix(b, c, d) + words[index] + constant, shifts[step % 4]), b, c
        state = [(old + new) & 0xFFFFFFFF for old, new in zip(state, (a, b, c, d), strict=True)]
    return struct.pack("<4I", *state)
