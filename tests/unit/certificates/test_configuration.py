"""The role's variables: what is refused, and what becomes of the rest."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from certificate_host import Authority
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.postern.mail_gateway.plugins.module_utils.certificates import (
    configuration,
    identity,
    settings,
)
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.errors import HostError
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.files import HostFile

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f comment"


def variables(**more: Any) -> dict[str, Any]:
    return {
        "certificates": [{"name": "mail", "names": ["mail.example.com"]}],
        "authority": "letsencrypt",
        "authority_ca": "",
        "external_account_key_id": "",
        "external_account_hmac_key": "",
        "contact": "hostmaster@example.com",
        "key_type": "rsa",
        "key_size": 2048,
        "http_port": 842,
        "self_test": True,
        "host": "gw1",
        "gateways": ["gw1", "gw2"],
        "peers": [{"name": "gw2", "address": "10.0.0.2", "port": 22, "host_keys": [KEY]}],
        "account": "certificates",
        "metrics_file": "",
        "tls_address": "127.0.0.1",
        "tls_port": 443,
        **more,
    }


def named(*names: str) -> dict[str, Any]:
    return {"certificates": [{"name": "mail", "names": list(names)}]}


BAD = [
    (
        {"authority": "letsencrypt-stagging"},
        'letsencrypt_authority is "letsencrypt-stagging", but must be letsencrypt, letsencrypt-staging, or the',
    ),
    ({"authority": "http://acme.example.com/dir"}, 'letsencrypt_authority is "http://acme.example.com/dir"'),
    (named(), "letsencrypt_certificates[0].names is empty"),
    (named("*.example.com"), 'letsencrypt_certificates[0].names[0] is "*.example.com", a wildcard, and HTTP-01'),
    (
        named("a.example.com", "203.0.113.5"),
        'letsencrypt_certificates[0].names[1] is "203.0.113.5", but must be a full name',
    ),
    (named("2001:db8::1"), 'is "2001:db8::1", but must be a full name such as mail.example.com, not an address'),
    (named("mail"), 'is "mail", but must be a full name such as mail.example.com, with a domain'),
    (named("-mail.example.com"), "but no label may begin or end with a hyphen"),
    (named("mäil.example.com"), "write xn--mil-qla.example.com"),
    (named("mail.example.com; rm -rf /"), "but must be one name, without a comma or space in it"),
    (named("a.example.com", "A.example.com"), "has a name twice"),
    (named(*(f"n{number}.example.com" for number in range(101))), "has 101 names, and authorities take 100 at most"),
    (
        {"certificates": [{"name": "../etc", "names": ["a.b"]}]},
        'letsencrypt_certificates[0].name is "../etc", but must be a name of at most 63',
    ),
    (
        {"certificates": [{"name": "mail", "names": ["a.b"]}] * 2},
        'letsencrypt_certificates[1].name is "mail", which is there twice',
    ),
    ({"contact": "hostmaster"}, 'letsencrypt_contact is "hostmaster", but must be one e-mail address'),
    ({"gateways": ["gw2", "gw3"]}, "letsencrypt_gateways (gw2, gw3) lacks this host, gw1."),
    ({"peers": [{"name": "gw1", "address": "a", "host_keys": [KEY]}]}, "letsencrypt_peers[0] is this host itself"),
    ({"peers": [{"name": "gw2", "address": "a", "host_keys": []}]}, "letsencrypt_peers[0].host_keys is empty"),
    ({"authority_ca": "not a certificate"}, "letsencrypt_authority_ca_file holds no PEM certificate"),
    (
        {"external_account_key_id": "a"},
        "letsencrypt_external_account_hmac_key is missing beside letsencrypt_external_account_key_id; the",
    ),
    (
        {"external_account_hmac_key": "c2VjcmV0"},
        "letsencrypt_external_account_key_id is missing beside letsencrypt_external_account_hmac_key; the",
    ),
    (
        {"external_account_key_id": "two words", "external_account_hmac_key": "c2VjcmV0"},
        'letsencrypt_external_account_key_id is "two words", but must be the key identifier',
    ),
    (
        {"external_account_key_id": "a", "external_account_hmac_key": "secret+/key"},
        "letsencrypt_external_account_hmac_key is not shown, but must be base64url",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), BAD)
def test_what_cant_be_right_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(HostError) as caught:
        configuration.settings(variables(**change))
    assert sentence in str(caught.value)
    assert str(caught.value).endswith(".")
    assert change.get("external_account_hmac_key", "secret") not in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=80))
def test_no_name_gets_through_that_a_shell_or_a_file_would_take_for_something_else(name: str) -> None:
    try:
        configuration.settings(variables(**named(name)))
    except HostError:
        return
    assert set(name.lower()) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert not name.startswith("-")


def test_staging_is_one_word() -> None:
    assert configuration.settings(variables(authority="letsencrypt-staging")).authority.startswith(
        "https://acme-staging-v02."
    )
    assert configuration.settings(variables()).key_type == "rsa"


def files(**more: Any) -> dict[Path, HostFile]:
    given_ = variables(**more)
    return {file.path: file for file in configuration.host_files(configuration.settings(given_), given_)}


def test_the_secret_is_in_one_file_that_root_alone_reads(authority: Authority) -> None:
    account = {"external_account_key_id": "kid", "external_account_hmac_key": "secret-hmac_"}
    found = files(**account, authority_ca=authority.root.decode())
    holders = [file for file in found.values() if file.content and b"secret-hmac_" in file.content]
    assert [(file.path, file.mode, file.secret) for file in holders] == [(configuration.OPTIONS, 0o600, True)]
    assert found[configuration.BUNDLE].content == authority.root


def test_a_single_gateway_has_nothing_for_peers() -> None:
    found = files(peers=[], gateways=[])
    assert {path for path, file in found.items() if file.content is None} == {
        configuration.BUNDLE, configuration.OPTIONS, configuration.PATH_UNIT, configuration.RECEIVER,
        configuration.STATE / "known_hosts",
    }  # fmt: skip
    assert configuration.settings(variables(peers=[], gateways=[])).rank == 0


def test_without_certificates_nothing_is_there() -> None:
    assert all(file.content is None for file in files(certificates=[]).values())


def test_the_host_keys_of_peers_are_pinned_by_name() -> None:
    (line,) = files()[configuration.STATE / "known_hosts"].content.decode().splitlines()
    assert line == f"gw2 {KEY.removesuffix(' comment')}"


def test_host_keys_are_those_given_or_read_or_known() -> None:
    peer = {"name": "gw2", "address": "10.0.0.2", "host_keys": []}
    read = [{"item": "gw2", "identity": {"host_keys": ["read"]}}, {"item": "gw3", "unreachable": True}]
    known = "gw2 known one\ngw3 known two\n"

    def keys(peer: dict[str, Any], identities: list[dict[str, Any]], known: str) -> list[str]:
        (found,) = identity.with_host_keys([peer], identities, known, "gw1")
        return list(found["host_keys"])

    assert keys({**peer, "host_keys": ["given"]}, read, known) == ["given"]
    assert keys(peer, read, known) == ["read"]
    assert keys(peer, [], known) == ["known one"]
    # A gateway that is down keeps what was known of it, here or on another one.
    assert keys({**peer, "name": "gw3"}, read, known) == ["known two"]
    elsewhere = [{"item": "gw2", "identity": {"peers": {"gw3": {"host_keys": ["told by gw2"]}}}}, *read[1:]]
    assert keys({**peer, "name": "gw3"}, elsewhere, "") == ["told by gw2"]
    assert keys({**peer, "name": "gw4"}, read, known) == []


def test_a_gateway_that_is_down_and_that_nobody_knows_waits_for_its_turn() -> None:
    peers = [{"name": name, "address": "10.0.0.2", "host_keys": []} for name in ("gw2", "gw3")]
    asked = [{"item": "gw1", "identity": {"public_key": KEY}}, {"item": "gw2", "identity": {}}]
    assert [peer["name"] for peer in identity.with_host_keys(peers, asked, "", "gw1")] == ["gw3"]
    # gw3 wasn't asked at all, and that is a mistake in the play.
    with pytest.raises(HostError, match="without gw3's host keys nobody can tell it apart"):
        configuration.settings(variables(peers=identity.with_host_keys(peers, asked, "", "gw1")))


def test_a_host_remembers_its_peers_by_the_comment_of_their_keys() -> None:
    keys = (
        "ssh-ed25519 two certificates@gw2\nssh-ed25519 mine anna@certificates\n"
        "# ssh-ed25519 old certificates@gw5\nrestrict ssh-ed25519 three certificates@gw3.example.com\n"
    )
    assert identity.remembered(keys, "gw2 ssh-rsa r\ngw2 ssh-ed25519 e\ngw4 ssh-ed25519 f\n") == {
        "gw2": {"public_key": "ssh-ed25519 two certificates@gw2", "host_keys": ["ssh-rsa r", "ssh-ed25519 e"]},
        "gw3.example.com": {"public_key": "restrict ssh-ed25519 three certificates@gw3.example.com", "host_keys": []},
        "gw4": {"public_key": "", "host_keys": ["ssh-ed25519 f"]},
    }
    assert identity.remembered("", "") == {}


@given(
    st.sets(st.sampled_from(["gw1", "gw2", "gw3", "gw4"])),
    st.dictionaries(st.sampled_from(["gw1", "gw2", "gw3"]), st.sets(st.sampled_from(["gw1", "gw2", "gw3", "gw4"]))),
)
def test_of_a_gateway_that_is_down_anybodys_memory_is_enough(up: set[str], memories: dict[str, set[str]]) -> None:
    def told(name: str) -> dict[str, Any]:
        peers = {peer: {"public_key": f"{peer} by {name}", "host_keys": [name]} for peer in memories.get(name, ())}
        return {"public_key": f"{name} itself", "host_keys": [f"{name} itself"], "peers": peers}

    asked = [{"item": name, "identity": told(name) if name in up else {}} for name in ("gw3", "gw2", "gw1", "gw4")]
    found = identity.known_identities(asked, "gw1")
    for name in ("gw1", "gw2", "gw3", "gw4"):
        tellers = [teller for teller in ("gw1", "gw2", "gw3") if teller in up and name in memories.get(teller, ())]
        wanted = f"{name} itself" if name in up else f"{name} by {tellers[0]}" if tellers else ""
        assert found[name]["public_key"] == wanted
        assert bool(found[name]["host_keys"]) == bool(wanted)


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for path, file in files().items():
        if configuration.UNITS in path.parents and path.parent == configuration.UNITS:
            assert file.content is not None
            # The program isn't on this machine.
            text = file.content.decode().replace(str(settings.PROGRAM), "/bin/true")
            (tmp_path / path.name).write_text(text.replace("After=haproxy.service", "After=basic.target"))
    units = [str(path) for path in sorted(tmp_path.iterdir())]
    assert len(units) == 2
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], check=False, capture_output=True, text=True
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if "postern" in line]) == (0, [])


def test_withdrawn_certificates_are_those_that_were_there() -> None:
    before = configuration.settings(variables(certificates=[{"name": n, "names": ["a.b"]} for n in ("mail", "www")]))
    assert configuration.withdrawn(before, configuration.settings(variables())) == ["www"]
    assert configuration.withdrawn(None, configuration.settings(variables())) == []
