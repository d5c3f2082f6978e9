"""What is derived from a declaration for certificates: by example, and for any declaration."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools.declared import declared, sound_site

from ansible_collections.postern.mail_gateway.plugins.module_utils.certificates import configuration
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.site import Site
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.validation import validate
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.derivation.haproxy import derive_haproxy
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.derivation.letsencrypt import derive_letsencrypt
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.derivation.role import Derived

WHO = ("letsencrypt", "hostmaster@example.com")
ISSUED = {"certificate": dict(zip(("authority", "contact"), WHO, strict=True))}
SITE = {"name": "www", "hostnames": ["www.example.com"], "servers": [{"address": "10.40.0.10", "port": 8080}]}


def site(changes: dict[str, Any]) -> Site:
    return sound_site(*declared(changes))


def derived(one: Site, host: str = "gw1") -> Derived:
    return derive_letsencrypt(one, one.gateway(host))


def challenges(one: Site) -> dict[str, Any]:
    """What HAProxy does with challenges."""
    variables = derive_haproxy(one, one.gateway("gw1")).variables
    return {name: value for name, value in variables.items() if name.startswith("haproxy_acme_")}


def test_the_gateways_share_what_the_authority_issues() -> None:
    for host, other in (("gw1", "gw2"), ("gw2", "gw1")):
        found = derived(site({**ISSUED, "websites": [SITE]}), host).variables
        assert [entry["name"] for entry in found["letsencrypt_certificates"]] == ["mail", "www"]
        assert found["letsencrypt_certificates"][1]["names"] == ["www.example.com"]
        assert (found["letsencrypt_authority"], found["letsencrypt_contact"]) == (
            "letsencrypt",
            "hostmaster@example.com",
        )
        assert found["letsencrypt_gateways"] == ["gw1", "gw2"]
        assert [peer["name"] for peer in found["letsencrypt_peers"]] == [other]
        assert found["letsencrypt_tls_address"] == "127.0.0.1"


def test_peers_are_where_they_speak_from() -> None:
    one = site(ISSUED)
    (peer,) = derived(one).variables["letsencrypt_peers"]
    egress = {gateway.name: str(gateway.egress) for gateway in one.neighbours}
    assert peer == {"name": "gw2", "address": egress["gw2"], "port": 22}
    assert challenges(one) == {"haproxy_acme_port": 842, "haproxy_acme_peers": [egress["gw2"]]}
    (opening,) = derived(one).openings
    assert (opening.ports, opening.sources, opening.destinations) == ((22,), (egress["gw2"],), ())


def test_service_addresses_leave_a_way_for_challenges() -> None:
    """Whoever has the service addresses hands on what it is asked, to the address that is always the other one's."""
    one = site({**ISSUED, "service_addresses": ["203.0.113.10"]})
    assert derived(one).variables["letsencrypt_tls_address"] == "203.0.113.10"
    assert [(opening.ports, opening.destinations) for opening in derived(one).openings] == [
        ((22,), ()),
        ((80,), (str(one.gateways[0].egress),)),
    ]


@pytest.mark.parametrize(
    "changes",
    [{}, {"certificate": {"authority": "letsencrypt", "file": "/srv/mail.pem"}, "websites": []},
     {"certificate": {"authority": "letsencrypt"}, "https": {"enabled": False}, "websites": []}],
)  # fmt: skip
def test_nothing_is_issued_where_nothing_is_asked_for(changes: dict[str, Any]) -> None:
    one = site(changes)
    found = derived(one).variables
    assert (found["letsencrypt_certificates"], found["letsencrypt_peers"]) == ([], [])
    assert challenges(one) == {"haproxy_acme_port": 0, "haproxy_acme_peers": []}
    assert derived(one).openings == ()


BAD = [
    (
        {"authority": "letsencrypt-stagging"},
        "certificate.authority is 'letsencrypt-stagging', but must be",
    ),
    (
        {"authority": "http://acme.example.com/dir"},
        "certificate.authority is 'http://acme.example.com/dir'",
    ),
    (
        {"authority": "letsencrypt", "contact": "hostmaster"},
        "certificate.contact is 'hostmaster', but must",
    ),
    (
        {"authority": "letsencrypt", "names": ["mail.example.com", "*.example.com"]},
        "certificate.names[1] is '*.example.com', a wildcard, which mail_gateway.certificate",
    ),
    (
        {"authority": "letsencrypt", "names": ["mail.example.com", *(f"n{n}.example.com" for n in range(100))]},
        "certificate.names comes to 101 names, and a certificate holds 100; leave some out.",
    ),
    (
        {"authority": "letsencrypt", "authority_ca_file": "/nowhere/root.pem"},
        "certificate.authority_ca_file is '/nowhere/root.pem', but there is no such file",
    ),
]


@pytest.mark.parametrize(("certificate", "sentence"), BAD)
def test_what_cant_be_issued_is_told(certificate: dict[str, Any], sentence: str) -> None:
    declaration, inventory = declared({"certificate": certificate})
    found = [str(problem) for problem in validate(declaration, inventory)]
    assert [told for told in found if sentence in told.replace('"', "'")], found


@given(st.booleans(), st.booleans(), st.sampled_from(["", "letsencrypt", "letsencrypt-staging", "https://a.example/d"]))
def test_what_is_derived_suits_both_roles(websites: bool, own: bool, authority: str) -> None:
    """Each certificate is in HAProxy under its name without a file, and the role takes the variables."""
    certificate = {"authority": authority, **({"file": "/srv/mail.pem"} if own else {})}
    one = site({"certificate": certificate, "websites": [SITE] if websites else []})
    found, haproxy = derived(one).variables, derive_haproxy(one, one.gateway("gw1")).variables
    files = {entry["name"]: entry for entry in haproxy["haproxy_certificates"]}
    wanted = {name for name, entry in files.items() if not entry["file"]} if authority else set()
    assert {entry["name"] for entry in found["letsencrypt_certificates"]} == wanted
    assert all(entry["names"] == files[entry["name"]]["names"] for entry in found["letsencrypt_certificates"])
    given_ = {name.removeprefix("letsencrypt_"): value for name, value in found.items()}
    given_["peers"] = [
        {**peer, "host_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"]}
        for peer in given_["peers"]
    ]
    settings = configuration.settings({
        "key_type": "rsa", "key_size": 2048, "http_port": 842, "self_test": True, "host": "gw1",
        "account": "certificates", "metrics_file": "", "tls_port": 443, "authority_ca": "",
        "external_account_hmac_key": "",
        **given_,
    })  # fmt: skip
    assert settings.rank == 0
