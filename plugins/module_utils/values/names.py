# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of hosts, mail addresses and URLs."""

from __future__ import annotations

import re
import unicodedata
from typing import Any
from urllib.parse import urlsplit

from ..certificates.authorities import AUTHORITIES, HMAC_KEY_FORM, KEY_ID_FORM
from .addresses import Address, as_network, parse_address, refuse_special
from .sentences import Hidden, Unfit, show
from .texts import read_text

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z")
# What libc takes for a number of an IPv4 address (inet_aton(3)), and browsers too.
_NUMBER = re.compile(r"[0-9]+\Z|0x[0-9a-f]*\Z")
_INVENTORY_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?\Z")
_MAILBOX = re.compile(r"[A-Za-z0-9_][A-Za-z0-9!#$&'*+/=?^_{|}~-]*(\.[A-Za-z0-9!#$&'*+/=?^_{|}~-]+)*\Z")
_URL_REST = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*\Z")  # RFC 3986 2


def read_name(value: Any, wildcard: bool = False) -> str:
    """A fully qualified name in lower case, of letters, digits and hyphens (RFC 1123, RFC 5890 for the rest).

    With ``wildcard`` the leftmost label may be ``*`` (RFC 6125).
    """
    expected = "a full name such as mail.example.com"
    text = read_text(value, expected)
    if _looks_like_something_else(text) or not text.isascii():
        raise Unfit(_why_no_name(text, expected))
    if text.endswith("."):
        raise Unfit(f"with a dot at its end; write {show(text.rstrip('.'))}")
    name = text.lower()
    labels = name.split(".")
    if "*" in name:
        if not wildcard:
            raise Unfit("but a wildcard isn't possible here; write each name")
        if labels[0] != "*" or "*" in "".join(labels[1:]):
            raise Unfit("but a wildcard must be the whole first label, as in *.example.com")
        if len(labels) < 3:
            raise Unfit("but a wildcard needs a domain of two labels or more, as in *.example.com")
        labels = labels[1:]
    _check_labels(name, labels)
    if len(labels) < 2:
        raise Unfit(f"but must be {expected}, with a domain")
    if _NUMBER.match(labels[-1]):
        raise Unfit(f"but must be {expected}, and no top-level domain is a number")
    return name


def read_host(value: Any, loopback: bool = False) -> Address | str:
    """An address, or a host name, which may be short: the gateway's resolver decides.

    With ``loopback`` it may be the gateway itself: 127.0.0.1, ::1, localhost.
    """
    expected = "an address or a host name"
    text = read_text(value, expected)
    address = parse_address(text)
    if address is None and "%" in text and parse_address(text.partition("%")[0]):
        raise Unfit("but must be without a zone (the part after %)")
    if address is not None:
        if not (loopback and address.is_loopback):
            refuse_special(as_network(address))
        return address
    if re.fullmatch(r"\[?[0-9a-fA-F:.]+\]?:[0-9]+|[A-Za-z0-9.-]+:[0-9]+", text):
        raise Unfit("but must be an address or a host name alone, without a port")
    if "://" in text:
        raise Unfit("but must be an address or a host name alone, not a URL")
    if "/" in text or ":" in text or re.fullmatch(r"[0-9.]+", text):
        raise Unfit(f"but must be {expected}")
    if any(c.isspace() for c in text) or "," in text or ";" in text:
        raise Unfit("but must be one address or host name, without a comma or space in it")
    if text.endswith("."):
        raise Unfit(f"with a dot at its end; write {show(text.rstrip('.'))}")
    if not text.isascii():
        raise Unfit(_punycode(text))
    name = text.lower()
    _check_labels(name, name.split("."))
    if _NUMBER.match(name.rpartition(".")[2]):
        raise Unfit(f"but must be {expected}; what ends in a number is an address to the resolver")
    if name.split(".")[-1] in ("localhost", "localdomain") and not (loopback and name == "localhost"):
        raise Unfit("but must be an address or a host name that means the same on every gateway")
    return name


def read_inventory_name(value: Any) -> str:
    """The name of a host in the inventory, as it goes into names of servers, files and keys."""
    expected = "a host's name in the inventory"
    text = read_text(value, expected)
    if parse_address(text) is not None:
        return text
    if len(text) > 253 or not _INVENTORY_NAME.match(text):
        raise Unfit(f"but must be {expected} of letters, digits, dots, hyphens and underscores")
    return text


def read_url(value: Any, expected: str = "an https:// address") -> str:
    """The address of something on the web, over TLS: a host that can be, no password, nothing behind a #."""
    text = read_text(value, expected)
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise Unfit(f"but must be {expected}") from None
    if "@" in parts.netloc:
        raise Hidden(f"but must be {expected}, without a name and a password in it")
    if parts.scheme != "https" or parts.fragment or port == 0 or not _URL_REST.match(text):
        raise Unfit(f"but must be {expected}")
    try:
        read_host(host, loopback=True)
    except Unfit:
        raise Unfit(f"but must be {expected}, and {show(host)} is no host") from None
    return text


def read_authority(value: Any) -> str:
    """The word or the address by which an ACME authority is known."""
    expected = f"{', '.join(AUTHORITIES)}, or the https:// address of an ACME directory"
    text = read_text(value, expected)
    return text if text in AUTHORITIES else read_url(text, expected)


def read_email(value: Any) -> str:
    """One e-mail address, as SMTP takes it without quotes (RFC 5321 4.1.2, Dot-string)."""
    expected = "one e-mail address, such as hostmaster@example.com"
    text = read_text(value, expected)
    mailbox, at, domain = text.rpartition("@")
    if not at or len(mailbox) > 64 or not _MAILBOX.match(mailbox):
        raise Unfit(f"but must be {expected}")
    try:
        read_name(domain)
    except Unfit:
        raise Unfit(f"but must be {expected}") from None
    return text


def read_key_id(value: Any) -> str:
    """The key identifier of an account at an authority (RFC 8555 7.3.4)."""
    expected = "the key identifier that the authority gave, one word"
    text = read_text(value, expected)
    if not re.fullmatch(KEY_ID_FORM, text):
        raise Unfit(f"but must be {expected}")
    return text


def read_hmac_key(value: Any) -> str:
    """The secret that belongs to a key identifier."""
    if not isinstance(value, str) or len(value) > 1000 or not re.fullmatch(HMAC_KEY_FORM, value):
        raise Hidden("but must be base64url (letters, digits, - and _) as the authority gave it; copy it once more")
    return value


def _looks_like_something_else(text: str) -> bool:
    return re.search(r"[:/@\s,;]", text) is not None or parse_address(text) is not None


def _why_no_name(text: str, expected: str) -> str:
    """Why a text that should be a name isn't one, by what it looks like instead."""
    if "://" in text:
        name = re.split(r"[/:]", text.partition("://")[2])[0]
        return f"but must be a name alone, not a URL{f'; write {name}' if name else ''}"
    if "@" in text:
        return "but must be a name alone, not a mail address"
    if parse_address(text.strip("[]")) is not None:
        return f"but must be {expected}, not an address"
    if re.search(r"[\s,;]", text):
        return "but must be one name, without a comma or space in it"
    if "/" in text:
        return f"but must be {expected}, not a path or a network"
    if ":" in text:
        return f"but must be a name alone, without a port; write {text.partition(':')[0] or expected}"
    return _punycode(text)


def _punycode(text: str) -> str:
    ascii_name = _to_ascii(text)
    if not ascii_name:
        return "but must be of the letters a-z, digits, hyphens and dots"
    return f"but must be in its ASCII form (punycode); write {ascii_name}"


def _to_ascii(text: str) -> str:
    """The ASCII form of a name with other letters by IDNA 2008 (RFC 5891 4), empty where this can't be told.

    Python's own codec goes by IDNA 2003, to which ß is ss: somebody else's domain. Letters with rules of their own
    (joiners, say) are left to whoever registered the name.
    """
    labels = []
    for label in unicodedata.normalize("NFC", text.lower()).split("."):
        if label.isascii():
            labels.append(label)
        elif all(unicodedata.category(one) in ("Ll", "Lo", "Lm", "Mn", "Mc", "Nd") or one == "-" for one in label):
            labels.append(f"xn--{label.encode('punycode').decode('ascii')}")
        else:
            return ""
    name = ".".join(labels)
    try:
        _check_labels(name, labels)
    except Unfit:
        return ""
    return name


def _check_labels(name: str, labels: list[str]) -> None:
    if len(name) > 253:
        raise Unfit(f"but must have at most 253 characters, and this has {len(name)}")
    for label in labels:
        if not label:
            raise Unfit("but must not begin with a dot or have two in a row")
        if len(label) > 63:
            raise Unfit(f"but a label has at most 63 characters, and this has one of {len(label)}")
        if "_" in label:
            raise Unfit("but must not hold an underscore, which isn't allowed in the name of a host")
        if label.startswith("-") or label.endswith("-"):
            raise Unfit(f"but no label may begin or end with a hyphen, as {show(label)} does")
        if not _LABEL.match(label):
            raise Unfit("but must be of the letters a-z, digits, hyphens and dots")
