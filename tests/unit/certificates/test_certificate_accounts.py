"""The account by which other gateways bring certificates."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.postern.mail_gateway.plugins.filter.certificate_accounts import certificate_accounts


def told(**keys: str) -> dict[str, Any]:
    return {"results": [{"item": name, "identity": {"public_key": key}} for name, key in keys.items()]}


def test_each_gateway_lets_the_others_in_and_not_itself() -> None:
    identities = told(gw3="three", gw1="one", gw2="two")
    assert certificate_accounts(identities, "gw1") == [{"name": "certificates", "keys": ["two", "three"]}]
    assert certificate_accounts(identities, "gw3") == [{"name": "certificates", "keys": ["one", "two"]}]


@pytest.mark.parametrize(
    "identities",
    [
        {"skipped": True},
        {"results": []},
        told(gw1="one"),
        told(gw1="one", gw2=""),
        {"results": [{"item": "gw2", "unreachable": True}, {"item": "gw3", "skipped": True}]},
    ],
)
def test_nobody_else_no_account(identities: dict[str, Any]) -> None:
    assert certificate_accounts(identities, "gw1") == []


def test_a_gateway_that_is_down_may_still_bring_them() -> None:
    """Its key stays, as this gateway knows it, or another one where this one is new."""
    remembered = {"gw2": {"public_key": "two", "host_keys": []}}
    down = {"item": "gw2", "identity": {}}
    mine = {"item": "gw1", "identity": {"public_key": "one", "peers": remembered}}
    new = {"item": "gw3", "identity": {"public_key": "three", "peers": {}}}
    asked = {"results": [mine, down, new]}
    assert certificate_accounts(asked, "gw1") == [{"name": "certificates", "keys": ["two", "three"]}]
    assert certificate_accounts(asked, "gw3") == [{"name": "certificates", "keys": ["one", "two"]}]
