"""One parser for each kind of value: what it returns is in its exact form, and all else is refused in one sentence."""

from __future__ import annotations

import base64
import ipaddress
import re
import string
from collections.abc import Callable
from typing import Any

import pytest
from hostile import PRIVATE_KEY, SECRET, texts
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.postern.mail_gateway.plugins.module_utils.values.addresses import read_address, read_network
from ansible_collections.postern.mail_gateway.plugins.module_utils.values.keys import read_public_key
from ansible_collections.postern.mail_gateway.plugins.module_utils.values.names import (
    read_authority,
    read_email,
    read_hmac_key,
    read_host,
    read_inventory_name,
    read_key_id,
    read_name,
    read_url,
)
from ansible_collections.postern.mail_gateway.plugins.module_utils.values.sentences import (
    Hidden,
    Unfit,
    show,
)
from ansible_collections.postern.mail_gateway.plugins.module_utils.values.texts import (
    read_account,
    read_comment,
    read_identifier,
    read_path,
)

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
HOST = set(string.ascii_lowercase + string.digits + ".-:")
WORD = set(string.ascii_letters + string.digits + "-_")
PRINTABLE = set(map(chr, range(0x20, 0x7F)))

# A parser, sound values of its kind, and what characters its result may have.
PARSERS: dict[str, tuple[Callable[[Any], Any], tuple[str, ...], set[str] | None]] = {
    "address": (read_address, ("192.0.2.10", "2001:db8::10"), HOST),
    "any address": (lambda value: read_address(value, special=True), ("127.0.0.1", "::1", "::"), HOST),
    "network": (read_network, ("192.0.2.0/24", "2001:db8::/32", "192.0.2.1"), HOST | {"/"}),
    "any network": (lambda value: read_network(value, special=True), ("fe80::/10", "224.0.0.18"), HOST | {"/"}),
    "name": (read_name, ("mail.example.com",), HOST),
    "wildcard": (lambda value: read_name(value, wildcard=True), ("*.example.com",), HOST | {"*"}),
    "host": (lambda value: read_host(value, loopback=True), ("ex1", "ex1.example.com", "::1", "10.0.0.1"), HOST),
    "inventory name": (
        read_inventory_name,
        ("gw1", "Gw_1.example.com", "2001:db8::1"),
        WORD | set(".:"),
    ),
    "mail address": (read_email, ("hostmaster@example.com",), PRINTABLE - set(' "(),:;<>[\\]%`')),
    "URL": (read_url, ("https://ca.example.com:8443/acme/directory",), PRINTABLE - set(' "<>\\^`{|}')),
    "authority": (read_authority, ("letsencrypt", "https://ca.example.com/dir"), PRINTABLE - set(' "<>\\^`{|}')),
    "identifier": (read_identifier, ("www", "smtp-2"), HOST - set(".:")),
    "account": (read_account, ("anna",), HOST - {":"} | {"_"}),
    "key identifier": (read_key_id, ("Zk3vT9sQ",), PRINTABLE - set(" \"'`%#;\\$\n")),
    "HMAC key": (read_hmac_key, ("c2VjcmV0",), WORD | {"="}),
    "comment": (read_comment, ("node exporter",), None),
    "path": (read_path, ("/etc/pki/mail.pem",), None),
    "public key": (read_public_key, (f"{ED25519} anna", f'from="10.0.0.0/8" {ED25519}'), None),
}


def outcome(parser: Callable[[Any], Any], value: object) -> str | Unfit:
    """What the parser returns, as it would be written down; or why it refuses."""
    try:
        return str(parser(value))
    except Unfit as unfit:
        return unfit


@pytest.mark.parametrize("kind", PARSERS)
@settings(max_examples=300)
@given(data=st.data())
def test_a_value_is_in_its_exact_form_or_refused(kind: str, data: st.DataObject) -> None:
    parser, seeds, allowed = PARSERS[kind]
    value = data.draw(texts(*seeds))
    text = outcome(parser, value)
    if isinstance(text, Unfit):
        sentence = f"{text.text} {'' if isinstance(text, Hidden) else show(value)}"
        assert sentence.isprintable()
        assert "\n" not in sentence
        assert SECRET not in sentence
        return
    assert text.isprintable()
    assert "{{" not in text
    assert len(text) < 8001
    if allowed is not None:
        assert set(text) <= allowed, text
    assert str(parser(text)) == text, "what came out of it goes through it"


@pytest.mark.parametrize("value", ["\x1b:", "\u2028:443"])
def test_what_a_sentence_says_to_write_is_seen(value: str) -> None:
    with pytest.raises(Unfit) as unfit:
        read_name(value)
    assert unfit.value.text.isprintable()


@given(texts("mail.example.com", PRIVATE_KEY, "$ANSIBLE_VAULT;1.1;AES256\n6162"))
def test_what_a_sentence_quotes_is_on_one_line_and_no_secret(value: str) -> None:
    shown = show(value)
    assert shown.isprintable()
    assert len(shown) <= 160
    assert SECRET not in shown
    assert SECRET not in show([{"keys": [value]}])


ZONE = "but must be without a zone (the part after %)"


@pytest.mark.parametrize(
    ("parser", "value", "sentence"),
    [
        (lambda value: read_host(value, loopback=True), "::1%1]:80 init-addr none\nfrontend f\n    bind :25\n#", ZONE),
        (read_host, "fe80::1%eth0", ZONE),
        (read_address, "fe80::1%eth0", ZONE),
        (read_network, "fe80::1%1", ZONE),
        (read_network, "fe80::%1/64", ZONE),
        (read_host, "0x10", "what ends in a number is an address to the resolver"),
        (read_host, "0x7f.1", "but must be an address or a host name"),
        (read_host, "ex.0x1", "what ends in a number is an address to the resolver"),
        (read_host, "10.0.0.1-10.0.0.9", "what ends in a number is an address to the resolver"),
        (read_host, "017", "but must be an address or a host name"),
        (read_name, "mail.example.0x10", "no top-level domain is a number"),
        (read_name, "straße.example", "write xn--strae-oqa.example"),
        (read_host, "Bücher.example", "write xn--bcher-kva.example"),
        (read_name, "βόλος.example", "write xn--nxasmm1c.example"),
        (read_name, "a\u200db.example", "but must be of the letters a-z, digits, hyphens and dots"),
        (read_email, "a,b@example.com", "but must be one e-mail address"),
        (read_email, "--agree-tos@example.com", "but must be one e-mail address"),
        (read_email, "a@b@example.com", "but must be one e-mail address"),
        (read_email, 'a"\n@example.com', "but must be one e-mail address"),
        (read_email, "hostmaster@0x7f.1", "but must be one e-mail address"),
        (read_url, "http://ca.example.com/", "but must be an https:// address"),
        (read_url, "https://ca.example.com:0/", "but must be an https:// address"),
        (read_url, "https://ca.example.com/a b", "but must be an https:// address"),
        (read_url, "https://ca.example.com/#x", "but must be an https:// address"),
        (read_url, "https://0x7f.1/", 'and "0x7f.1" is no host'),
        (read_public_key, f"# {ED25519}", "this is a comment to sshd; take the # out"),
        (read_public_key, ED25519[:-8], "but what stands behind ssh-ed25519 isn't such a key"),
        (read_public_key, f"{ED25519}AAAA", "but what stands behind ssh-ed25519 isn't such a key"),
        (read_public_key, f"x {ED25519}", "but what stands before the key's type is none of sshd's options"),
        (read_public_key, f'command="x {ED25519}', "but what stands before the key's type is none of sshd's options"),
        (read_public_key, f"restrict, {ED25519}", "but what stands before the key's type is none of sshd's options"),
        (lambda value: read_public_key(value, options=False), f"restrict {ED25519}", "nothing before the key's type"),
        (read_public_key, "ssh-ed25519", "and the key behind it"),
    ],
)  # fmt: skip
def test_what_is_refused_and_why(parser: Callable[[Any], Any], value: str, sentence: str) -> None:
    with pytest.raises(Unfit) as refused:
        parser(value)
    assert sentence in refused.value.text


@pytest.mark.parametrize("value", [PRIVATE_KEY, "https://anna:geheim@ca.example.com/"])
def test_secrets_are_refused_without_a_word_of_them(value: str) -> None:
    with pytest.raises(Hidden) as refused:
        read_public_key(value) if "PRIVATE" in value else read_url(value)
    assert SECRET not in refused.value.text
    assert "geheim" not in refused.value.text


def wire(*fields: bytes) -> str:
    """A public key as its fields are put together (RFC 4251 5, string), in Base64."""
    return base64.b64encode(b"".join(len(one).to_bytes(4, "big") + one for one in fields)).decode()


@pytest.mark.parametrize(
    "line",
    [
        f'restrict,command="echo \\"a b\\"",from="10.0.0.0/8,::1" {ED25519} Anna Müller',
        "ecdsa-sha2-nistp256 " + wire(b"ecdsa-sha2-nistp256", b"nistp256", bytes(65)),
        "ssh-rsa " + wire(b"ssh-rsa", b"\x01\x00\x01", b"\xff" * 256) + " anna@example.com",
        "ssh-rsa " + wire(b"ssh-rsa", b"\x01\x00\x01", b"\xff" * 2048),
        "sk-ssh-ed25519@openssh.com " + wire(b"sk-ssh-ed25519@openssh.com", bytes(32), b"ssh:"),
    ],
)
def test_public_keys_that_sshd_takes(line: str) -> None:
    assert read_public_key(line) == line


@given(st.ip_addresses())
def test_special_addresses_pass_only_where_they_may(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    special = address.is_loopback or address.is_unspecified or address.is_link_local or address.is_multicast
    wraps = bool(re.match(r"::([0-9a-f]{0,4}:)?[0-9a-f]{0,4}$|::ffff:|2002:|64:ff9b::", str(address)))
    assert isinstance(outcome(read_address, str(address)), Unfit) >= (special or wraps)
    found = outcome(lambda value: read_address(value, special=True), str(address))
    assert isinstance(found, Unfit) == (wraps and str(address) not in ("::", "::1"))
