# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single values of the declaration: is it an address, a network, a name, a file of the right kind?

Each ``read_…`` function takes what stands in the YAML file and returns the value in its exact form (an
``ipaddress`` object, a name in lower case …), or raises ``Unfit``, whose text continues the sentence
"<path> is <value>, " and says what is expected or what to do.
"""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import itertools
import json
import re
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ...module_utils.certificates.authorities import AUTHORITIES, HMAC_KEY_FORM, KEY_ID_FORM
from ..addresses import Address, Network, as_network, range_as_networks

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z")
_IDENTIFIER = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?\Z")
_DIRECTORY = re.compile(r"https://[^/\s]+(/\S*)?\Z")
_EMAIL = re.compile(r"[^@\s,]+@[^@\s,]+\.[^@\s,]+\Z")
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_.-]{0,31}\Z")
_KEY_TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
_SHOWN = 160  # characters of a value that a sentence quotes
_LONGEST = 1000  # characters of a value that is looked at closely


class _Span(NamedTuple):
    """A network as two numbers: a list of 50,000 is held against each of the tables below."""

    version: int
    first: int
    last: int

    def within(self, other: _Span) -> bool:
        return self.version == other.version and other.first <= self.first and self.last <= other.last


def _span(network: Network) -> _Span:
    first = int(network.network_address)
    return _Span(network.version, first, first | ((1 << (network.max_prefixlen - network.prefixlen)) - 1))


# What isn't the public Internet: RFC 1918, RFC 6598, RFC 4193, and the ranges for documentation and benchmarks
# (RFC 5737, RFC 3849, RFC 9637, RFC 2544), which stand for real ones in examples and laboratories.
_NOT_PUBLIC = tuple(
    _span(ipaddress.ip_network(network))
    for network in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "192.0.2.0/24",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "198.18.0.0/15",
        "fc00::/7",
        "2001:db8::/32",
        "3fff::/20",
    )
)


# What no other host can be reached by, or be known by, each with the end of the sentence about it.
_SPECIAL = tuple(
    (_span(ipaddress.ip_network(network)), text)
    for network, text in (
        ("0.0.0.0/32", "but must be a real address, not the unspecified one"),
        ("::/128", "but must be a real address, not the unspecified one"),
        ("0.0.0.0/8", "but must not be in 0.0.0.0/8, which is reserved"),
        ("127.0.0.0/8", "but must not be loopback, which is another host everywhere"),
        ("::1/128", "but must not be loopback, which is another host everywhere"),
        ("169.254.0.0/16", "but must not be link-local, which means nothing beyond one link"),
        ("fe80::/10", "but must not be link-local, which means nothing beyond one link"),
        ("224.0.0.0/4", "but must not be multicast"),
        ("ff00::/8", "but must not be multicast"),
        ("240.0.0.0/4", "but must not be in 240.0.0.0/4, which is reserved"),
    )
)
_MAPPED = _span(ipaddress.IPv6Network("::ffff:0:0/96"))
# IPv6 addresses that wrap an IPv4 one: compatible, mapped (RFC 4291 2.5.5), 6to4 (RFC 3056), NAT64 (RFC 6052). HAProxy
# takes some of them for that one in a list, and looks every IPv4 client up as a mapped one.
_WRAPPED = tuple(
    (network, _span(ipaddress.IPv6Network(network)))
    for network in ("::/96", "::ffff:0:0/96", "2002::/16", "64:ff9b::/96")
)


class Unfit(ValueError):
    """A value that isn't what it should be; the text ends the sentence about it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Hidden(Unfit):
    """A value that isn't what it should be, and must not be quoted."""


def show(value: Any) -> str:
    """The value as a person would recognise it from the YAML file, on one line, and not too long."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=_show_other)
    except (TypeError, ValueError, RecursionError):  # keys that aren't texts, a list that holds itself
        text = f"a {kind(value)}"
    text = printable(text)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def printable(text: str) -> str:
    """The text with escapes in the place of what isn't seen, or could end the line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _show_other(value: Any) -> str:
    """A value of a type that JSON doesn't know; YAML has one, the date."""
    return value.isoformat() if isinstance(value, dt.date) else f"<{type(value).__name__}>"


def kind(value: Any) -> str:
    """What a value is, in YAML's terms."""
    if value is None:
        return "null"
    for types, name in (
        (bool, "boolean"),
        ((int, float), "number"),
        (str, "text"),
        ((list, tuple), "list"),
        (dict, "dictionary"),
        (dt.date, "date"),
    ):
        if isinstance(value, types):
            return name
    return type(value).__name__


def listed(words: Iterable[str], conjunction: str = "and") -> str:
    """The words as a person lists them: a, b and c."""
    *most, last = words
    return f"{', '.join(most)} {conjunction} {last}" if most else last


def is_public(network: Network) -> bool:
    """Whether the network holds any address of the public Internet."""
    return not any(map(_span(network).within, _NOT_PUBLIC))


def short(network: Network) -> str:
    """The network as a person writes it: an address alone for one host."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def read_text(value: Any, expected: str) -> str:
    """A text with something in it and no space around it. ``expected`` names what is expected, with its article."""
    if isinstance(value, bool):
        raise Unfit(
            f"but must be {expected}; YAML reads yes, no, on and off as true or false, so put such a text in quotes"
        )
    if isinstance(value, (int, float)):
        raise Unfit(f"but must be {expected}; YAML reads it as a number, so put it in quotes")
    if isinstance(value, dt.date):
        raise Unfit(f"but must be {expected}; YAML reads it as a date, so put it in quotes")
    if not isinstance(value, str):
        raise Unfit(f"but must be {expected}, not a {kind(value)}")
    # Whatever goes on to the roles has nothing in it that an older ansible-core would evaluate once more.
    if any(mark in value for mark in ("{{", "{%", "{#")):
        raise Unfit("a template that could not be evaluated; define what it refers to")
    if not value.strip():
        raise Unfit(f"but must be {expected}")
    if len(value) > _LONGEST:
        raise Unfit(f"but must be {expected}, and this is a text of {len(value)} characters")
    if value != value.strip():
        raise Unfit(f"with white space around it; write {show(value.strip())}")
    return value


def read_boolean(value: Any) -> bool:
    """True or false, and none of the texts that look like it."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else value
    if word in ("yes", "true", "on", "y", "1", 1):
        raise Unfit("but must be true or false; write true, without quotes")
    if word in ("no", "false", "off", "n", "0", 0):
        raise Unfit("but must be true or false; write false, without quotes")
    raise Unfit("but must be true or false")


def read_integer(value: Any, minimum: int | None, maximum: int | None) -> int:
    """A whole number within the limits, both included."""
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", value, re.ASCII):
        raise Unfit(f"but must be a whole number; write {int(value)}, without quotes")
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e9:
        raise Unfit(f"but must be a whole number; write {int(value)}")
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unfit("but must be a whole number")
    if (minimum is not None and value < minimum) or (maximum is not None and value > maximum):
        raise Unfit(f"but must be from {minimum} to {maximum}")
    return value


def read_address(value: Any) -> Address:
    """One address that a host can have: no network, no loopback, multicast, link-local or unspecified one."""
    expected = "an address such as 192.0.2.10 or 2001:db8::10"
    text = read_text(value, expected)
    address = _parse_address(text)
    if address is None:
        if re.fullmatch(r"[^/]+/[0-9]+", text) and _parse_address(text.partition("/")[0]):
            raise Unfit(f"but must be one address; write {text.partition('/')[0]}")
        if "-" in text and all(_parse_address(part.strip()) for part in text.split("-", 1)):
            raise Unfit("but must be one address, not a range")
        raise Unfit(_why_no_address(text, expected))
    _refuse_special(as_network(address))
    return address


def read_network(value: Any) -> Network:
    """A network in CIDR notation without host bits, or one address. 0.0.0.0/0 passes: rules decide on that."""
    expected = "a network such as 192.0.2.0/24, or an address"
    text = read_text(value, expected)
    first, slash, prefix = text.partition("/")
    if not slash:
        address = _parse_address(text)
        if address is None:
            raise Unfit(_why_no_address(text, expected))
        network = as_network(address)
    else:
        if _parse_address(first) is None or re.search(r"[,;\s]", prefix):
            raise Unfit(_why_no_address(text, expected))
        if not re.fullmatch(r"[0-9]{1,3}", prefix, re.ASCII):
            raise Unfit(_why_no_prefix(first, prefix))
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            most = 32 if "." in first else 128
            raise Unfit(f"but the number after the slash must be from 0 to {most}") from None
        if str(network.network_address) != str(ipaddress.ip_address(first)):
            raise Unfit(
                f"which has host bits set; write {network} for the network or {ipaddress.ip_address(first)} for the "
                "one host"
            )
    _refuse_special(network)
    return network


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
    if labels[-1].isdigit():
        raise Unfit(f"but must be {expected}, and no top-level domain is a number")
    return name


def read_host(value: Any, loopback: bool = False) -> Address | str:
    """An address, or a host name, which may be short: the gateway's resolver decides.

    With ``loopback`` it may be the gateway itself: 127.0.0.1, ::1, localhost.
    """
    expected = "an address or a host name"
    text = read_text(value, expected)
    address = _parse_address(text)
    if address is not None:
        if not (loopback and address.is_loopback):
            _refuse_special(as_network(address))
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
    if name.split(".")[-1] in ("localhost", "localdomain") and not (loopback and name == "localhost"):
        raise Unfit("but must be an address or a host name that means the same on every gateway")
    return name


def read_identifier(value: Any) -> str:
    """A name that may become part of names in HAProxy's configuration."""
    text = read_text(value, "a short name of the letters a-z, digits and hyphens")
    if not _IDENTIFIER.match(text) or len(text) > 32:
        raise Unfit(
            "but must be a name of at most 32 letters a-z, digits and hyphens, which begins with a letter and doesn't "
            "end with a hyphen"
        )
    return text


def read_account(value: Any) -> str:
    """The name of an account, as Debian's adduser takes it by default (adduser.conf(5), NAME_REGEX)."""
    expected = "the name of an account"
    text = read_text(value, expected)
    if not _ACCOUNT.match(text):
        raise Unfit(f"but must be {expected}: letters a-z, digits, hyphens, dots and underscores, a letter first")
    return text


def read_authority(value: Any) -> str:
    """The word or the address by which an ACME authority is known."""
    expected = f"{', '.join(AUTHORITIES)}, or the https:// address of an ACME directory"
    text = read_text(value, expected)
    if text not in AUTHORITIES and not _DIRECTORY.match(text):
        raise Unfit(f"but must be {expected}")
    return text


def read_email(value: Any) -> str:
    """One e-mail address."""
    expected = "one e-mail address, such as hostmaster@example.com"
    text = read_text(value, expected)
    if not _EMAIL.match(text):
        raise Unfit(f"but must be {expected}")
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
    if not isinstance(value, str) or not re.fullmatch(HMAC_KEY_FORM, value):
        raise Hidden("but must be base64url (letters, digits, - and _) as the authority gave it; copy it once more")
    return value


def read_comment(value: Any) -> str:
    """A few words that a firewall rule can carry: ufw takes no quotes in them."""
    expected = "a few words"
    text = read_text(value, expected)
    if len(text) > 60 or not text.isprintable() or set(text) & set("'\"\\`$"):
        raise Unfit(f"but must be {expected}: at most 60 characters, without quotes, backslashes and dollar signs")
    return text


def read_public_key(value: Any) -> str:
    """A public key on one line: what it says it is, and is (RFC 4253 6.6: the blob begins with the key's type).

    Options before it, which sshd(8) allows, stay. A private key is never quoted in a sentence.
    """
    expected = "a public key, the line of a .pub file"
    if isinstance(value, str) and "PRIVATE KEY" in value:
        raise Hidden(f"but must be {expected}, and this is a private key; take it out and use another pair from now on")
    text = read_text(value, expected)
    if "\n" in text:
        raise Unfit(f"but must be {expected}; give each key an entry of its own")
    words = text.split()
    for word, blob in itertools.pairwise(words):
        if word in _KEY_TYPES:
            try:
                decoded = base64.b64decode(blob, validate=True)
            except ValueError:
                decoded = b""
            if decoded[:4] == len(word).to_bytes(4, "big") and decoded[4 : 4 + len(word)] == word.encode():
                return text
            raise Unfit(f"but what stands behind {word} isn't such a key; copy the whole line of the .pub file")
    raise Unfit(f"but must be {expected}: {listed(_KEY_TYPES[:2], 'or')} and so on, and the key behind it")


def read_path(value: Any) -> str:
    """An absolute path on the controller. Whether there is a file, and of what kind, is asked separately."""
    text = read_text(value, "the path of a file")
    if not Path(text).is_absolute() or "\0" in text:
        name = Path(text.replace("\0", "")).name or "mail.pem"
        raise Unfit(f'but must be an absolute path on the controller, such as "{{{{ inventory_dir }}}}/files/{name}"')
    return text


def check_certificate_file(path: str) -> None:
    """The file must be a PEM with a private key and the certificate that belongs to it; else Unfit.

    What is encrypted with Ansible Vault isn't looked into: the password may not be at hand.
    """
    text = _read_pem(path)
    if text.startswith("$ANSIBLE_VAULT;"):
        return
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise Unfit(
            "which holds no certificate; it must be a PEM file with the private key, the certificate and its chain"
        )
    if "PRIVATE KEY-----" not in text:
        raise Unfit(
            "which holds no private key; it must be a PEM file with the private key, the certificate and its chain"
        )
    if "-----BEGIN ENCRYPTED PRIVATE KEY-----" in text or "Proc-Type: 4,ENCRYPTED" in text:
        raise Unfit("whose private key has a passphrase; HAProxy can't ask for it, so write the key without one")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, password=lambda: "")
    except (ssl.SSLError, OSError, ValueError) as error:
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            raise Unfit("whose private key belongs to another certificate; the server's own must come first") from None
        raise Unfit("which holds a damaged certificate or private key; export it again") from None


def check_authority_file(path: str) -> None:
    """The file must be a PEM with certificates only; else Unfit."""
    text = _read_pem(path)
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise Unfit("which holds no certificate; it must be the authority's certificate as a PEM file")
    if "PRIVATE KEY-----" in text:
        raise Unfit("which holds a private key; it is copied to the gateways, so it must hold certificates only")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError, ValueError):
        raise Unfit("which holds a damaged certificate; export it again") from None


def _read_pem(path: str) -> str:
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            return file.read(1_000_000)
    except FileNotFoundError:
        raise Unfit("but there is no such file on the controller") from None
    except IsADirectoryError:
        raise Unfit("but that is a folder, not a file") from None
    except (OSError, ValueError) as error:
        raise Unfit(f"but the file can't be read ({getattr(error, 'strerror', None) or 'bad path'})") from None


def _parse_address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return address


def _refuse_special(network: Network) -> None:
    """Raise Unfit for a network (of one host, for an address) that lies in a range for special use."""
    if getattr(network.network_address, "scope_id", None):
        raise Unfit("but must be without a zone (the part after %)")
    span = _span(network)
    if span.within(_MAPPED):
        bits = int(network.network_address) & 0xFFFFFFFF
        meant = ipaddress.ip_network((bits, network.prefixlen - 96), strict=False)
        raise Unfit(f"but must be written as the IPv4 that it stands for; write {short(meant)}")
    for special, text in _SPECIAL:
        if span.within(special):
            raise Unfit(text)
    for name, wrapped in _WRAPPED if network.prefixlen else ():
        if span.within(wrapped):
            raise Unfit(f"but must not be in {name}, whose addresses wrap an IPv4 one; write the IPv4 that is meant")
        # (2000::/3 is all of the Internet, and a rule's to judge.)
        if wrapped.within(span) and name != "2002::/16":
            raise Unfit(f"but must not hold {name}, which stands for IPv4 addresses; write the networks that are meant")


def _why_no_address(text: str, expected: str) -> str:
    """Why a text that should be an address (or the first half of a network) isn't one."""
    if re.search(r"[,;]|[^-\s]\s+[^-\s]", text):
        return "but must be one address or network, without a comma or space in it"
    first, dash, last = (part.strip() for part in text.partition("-"))
    low, high = _parse_address(first), _parse_address(last)
    if dash and low is not None and high is not None and low.version == high.version:
        if low <= high:  # type: ignore[operator]
            networks = [short(network) for network in range_as_networks(low, high)]
            if len(networks) <= 8:
                return f"but must not be a range; write {', '.join(networks)}"
        return "but must not be a range; write networks"
    inner = re.fullmatch(r"\[(.*)\](:[0-9]+)?", text)
    if inner and _parse_address(inner.group(1)):
        return f"but must be without brackets and port; write {inner.group(1)}"
    host, colon, port = text.partition(":")
    if colon and port.isdigit() and _parse_address(host):
        return f"but must be without a port; write {host}"
    if re.fullmatch(r"[0-9]+(\.[0-9]+){3}", text, re.ASCII):
        parts = [str(int(part)) if len(part) < 10 else part for part in text.split(".")]
        if _parse_address(".".join(parts)):
            return f"but must be without leading zeros; write {'.'.join(parts)}"
        return f"but must be {expected}; each of the four numbers is at most 255"
    if re.fullmatch(r"[0-9]+(\.[0-9]+){0,2}", text, re.ASCII):
        return f"but must be {expected}; an IPv4 address has four numbers"
    if re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?", text):
        return f"but must be {expected}, not a name"
    return f"but must be {expected}"


def _why_no_prefix(first: str, prefix: str) -> str:
    try:
        network = ipaddress.ip_network(f"{first}/{prefix}", strict=False)
    except ValueError:
        most = 32 if "." in first else 128
        return f"but the number after the slash must be from 0 to {most}"
    return f"but must have the number of bits after the slash; write {network}"


def _looks_like_something_else(text: str) -> bool:
    return re.search(r"[:/@\s,;]", text) is not None or _parse_address(text) is not None


def _why_no_name(text: str, expected: str) -> str:
    """Why a text that should be a name isn't one, by what it looks like instead."""
    if "://" in text:
        name = re.split(r"[/:]", text.partition("://")[2])[0]
        return f"but must be a name alone, not a URL{f'; write {name}' if name else ''}"
    if "@" in text:
        return "but must be a name alone, not a mail address"
    if _parse_address(text.strip("[]")) is not None:
        return f"but must be {expected}, not an address"
    if re.search(r"[\s,;]", text):
        return "but must be one name, without a comma or space in it"
    if "/" in text:
        return f"but must be {expected}, not a path or a network"
    if ":" in text:
        return f"but must be a name alone, without a port; write {text.partition(':')[0] or expected}"
    return _punycode(text)


def _punycode(text: str) -> str:
    try:
        ascii_name = text.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return "but must be of the letters a-z, digits, hyphens and dots"
    return f"but must be in its ASCII form (punycode); write {ascii_name}"


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
