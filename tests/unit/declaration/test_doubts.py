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


def test_a_doubt_says_whose_it_is_where_there_are_several_sites() -> None:
    declaration, inventory = declared({"site": "north"})
    other, _ = declared({"site": "south", "certificate.names": ["mail.example.com", "mail.exmaple.com"]})
    found = survey({"gw1": declaration, "gw2": other, "ex1": declaration, "ex2": declaration}, inventory)
    assert found.problems == ()
    (sentence,) = found.doubts
    assert sentence.startswith(
        'In the site south: mail_gateway.certificate.names[1] is "mail.exmaple.com", which is in none of'
    )
