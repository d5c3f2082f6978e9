"""What is sound and may not be meant: preflight warns of it."""

from __future__ import annotations

from typing import Any

import pytest
from tools.declared import declared

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.validation import check, doubts, survey


@pytest.mark.parametrize(
    ("changes", "doubtful"),
    [
        ({}, []),
        ({"certificate.names": ["mail.example.com", "example.org", "*.example.org", "a.b.example.com"]}, []),
        # The hostname may be a provider's.
        ({"hostname": "mail.provider.net", "certificate.names": ["mail.provider.net"]}, []),
        ({"certificate.names": ["mail.example.com", "webmail.exmaple.com"]}, ['names[1] is "webmail.exmaple.com"']),
        (
            {"certificate.names": ["mail.example.com", "notexample.com", "*.example.net"]},
            ['names[1] is "notexample.com"', 'names[2] is "*.example.net"'],
        ),
    ],
)
def test_a_name_outside_of_the_domains_is_doubted(changes: dict[str, Any], doubtful: list[str]) -> None:
    declaration, inventory = declared(changes)
    site = check(declaration, inventory).site
    assert not check(declaration, inventory).problems
    assert [str(problem) for problem in doubts(site)] == [
        f"mail_gateway.certificate.{place}, which is in none of mail_gateway.domains (example.com and example.org); "
        "correct it, unless it is meant."
        for place in doubtful
    ]


def test_servers_without_connectors_for_the_gateways_are_doubted() -> None:
    site = check(*declared({"smtp.relay_clients": [], "hosts.gw1": {}, "hosts.gw2": {}})).site
    (problem,) = doubts(site)
    assert str(problem) == (
        "mail_gateway_egress_address of gw1 and gw2 is missing, so the servers get no receive connectors for the "
        "gateways: mail goes by the servers' own, with their limits for a single source; set it, unless that is meant."
    )


def test_a_group_that_is_nearly_called_as_it_should_be_is_doubted() -> None:
    site = check(*declared({"groups.exchange_legcy": ["old1"]})).site
    (problem,) = doubts(site)
    assert str(problem) == (
        'mail_gateway.exchange.legacy_group is "exchange_legacy", but the inventory has "exchange_legcy", which isn\'t '
        "looked at; did you mean that?"
    )


def test_several_gateways_behind_one_address_have_ports_of_their_own() -> None:
    behind = {"gw1.ansible_host": "203.0.113.1", "gw2.ansible_host": "203.0.113.1", "gw2.ansible_port": 2222}
    assert not check(*declared(behind)).problems


def test_a_gateway_that_is_named_by_its_address_is_known_by_it() -> None:
    changes = {"groups.gateways": ["203.0.113.1", "203.0.113.2"], "certificate.authority": "letsencrypt"}
    hosts = {"hosts": {"203.0.113.1": {}, "203.0.113.2": {}, "ex1": {"ansible_host": "10.10.0.21"}, "ex2": {}}}
    checked = check(*declared({**changes, **hosts, "smtp.relay_clients": []}))
    assert not checked.problems
    assert [str(one.peer_address) for one in checked.site.gateways] == ["203.0.113.1", "203.0.113.2"]


def test_a_doubt_says_whose_it_is_where_there_are_several_sites() -> None:
    declaration, inventory = declared({"site": "north"})
    other, _ = declared({"site": "south", "certificate.names": ["mail.example.com", "mail.exmaple.com"]})
    found = survey({"gw1": declaration, "gw2": other, "ex1": declaration, "ex2": declaration}, inventory)
    assert found.problems == ()
    (sentence,) = found.doubts
    assert sentence.startswith(
        'In the site south: mail_gateway.certificate.names[1] is "mail.exmaple.com", which is in none of'
    )
