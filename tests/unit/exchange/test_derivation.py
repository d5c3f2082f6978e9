"""The servers' side of the declaration: each address of a gateway is in the connector meant for it, and in no other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from organisation import Machine, converged, fresh
from tools.declared import DROP, declared, derive_exchange

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.validation import survey
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.derivation.exchange import derive_servers
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.derivation.hosts import derive_all

ELSEWHERE = {
    "groups.gateways": ["gw1", "gw2", "gw3"],
    "groups.elsewhere": ["ex9"],
    "hosts.gw3": {"mail_gateway_egress_address": "10.99.0.11", "mail_gateway_relay_address": "10.99.0.111"},
    "hosts.ex9": {"ansible_host": "10.99.0.21"},
}
OLDER = {"groups.exchange_legacy": ["old1"], "hosts.old1": {"ansible_host": "10.10.0.31"}}


def derived(changes: dict[str, Any] | None = None, host: str = "ex1") -> dict[str, Any]:
    declaration, inventory = declared(changes)
    return derive_exchange(declaration, host, inventory)


def ranges(variables: dict[str, Any]) -> dict[str, list[str]]:
    return {c["name"]: c["properties"]["RemoteIPRanges"] for c in variables["exchange_receive_connectors"]}


def arguments(variables: dict[str, Any]) -> dict[str, Any]:
    """The role's variables as the module's arguments."""
    return {name.removeprefix("exchange_"): value or None for name, value in variables.items()}


def test_each_address_of_a_gateway_is_in_the_connector_meant_for_it() -> None:
    variables = derived()
    egress, relay = ["10.10.0.11", "10.10.0.12"], ["10.10.0.111", "10.10.0.112"]
    assert ranges(variables) == {
        "Mail gateway": egress,
        "Mail gateway submission": egress,
        "Mail gateway relay": relay,
    }
    rights = {c["name"]: c["extended_rights"] for c in variables["exchange_receive_connectors"]}
    assert rights["Mail gateway"] == []
    assert rights["Mail gateway submission"] == []
    assert rights["Mail gateway relay"] == [
        {"user": "NT AUTHORITY\\ANONYMOUS LOGON", "rights": ["ms-Exch-SMTP-Accept-Any-Recipient"]}
    ]
    assert variables["exchange_server_addresses"] == ["10.10.0.21", "10.10.0.22"]
    assert variables["exchange_gateway_addresses"] == egress
    assert variables["exchange_relay_addresses"] == relay
    assert variables["exchange_edge_traversal_ports"] == []


def test_only_the_connectors_of_port_25_take_senders_without_a_logon() -> None:
    connectors = {c["name"]: c["properties"] for c in derived()["exchange_receive_connectors"]}
    assert {name: (one["PermissionGroups"], one["AuthMechanism"]) for name, one in connectors.items()} == {
        "Mail gateway": (["AnonymousUsers"], ["Tls"]),
        "Mail gateway submission": (["ExchangeUsers"], ["Tls", "Integrated", "BasicAuth", "BasicAuthRequireTLS"]),
        "Mail gateway relay": (["AnonymousUsers"], ["Tls"]),
    }


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"smtp.relay_clients": []}, ["Mail gateway", "Mail gateway submission"]),
        ({"smtp.submission": False}, ["Mail gateway", "Mail gateway relay"]),
        ({"smtp.enabled": False}, []),
        (
            {
                "smtp.relay_clients": [],
                "gw1.mail_gateway_egress_address": DROP,
                "gw2.mail_gateway_egress_address": DROP,
            },
            [],
        ),
    ],
)
def test_connectors_follow_what_is_published(changes: dict[str, Any], names: list[str]) -> None:
    assert list(ranges(derived(changes))) == names


def test_ntlm_is_off_for_imap_unless_it_is_asked_for() -> None:
    assert derived()["exchange_imap"]["properties"]["EnableGSSAPIAndNTLMAuth"] is False
    assert derived({"imap.ntlm": True})["exchange_imap"]["properties"]["EnableGSSAPIAndNTLMAuth"] is True
    assert derived({"imap.enabled": False})["exchange_imap"] == {}
    assert derived({"pop.enabled": False})["exchange_pop"] == {}


def test_logging_and_edge_traversal_follow_their_keys() -> None:
    assert derived({"exchange.protocol_logging": False})["exchange_transport"] == {}
    ports = derived({"exchange.edge_traversal": True, "pop.enabled": False})["exchange_edge_traversal_ports"]
    assert ports == [143, 993]


def test_an_older_server_names_the_new_ones_and_nothing_else_of_it_is_touched() -> None:
    variables = derived(OLDER, host="old1")
    assert variables["exchange_receive_connectors"] == [
        {"default": True, "properties": {"RemoteIPRanges": {"add": ["10.10.0.21", "10.10.0.22"]}}}
    ]
    assert variables["exchange_imap"] == variables["exchange_pop"] == variables["exchange_transport"] == {}
    assert "10.10.0.31" in derived(OLDER)["exchange_server_addresses"]


def test_a_new_server_without_an_address_cannot_be_named_by_an_older_one() -> None:
    with pytest.raises(ValueError, match="old1 must name its address; set mail_gateway_server_address to it"):
        derived({**OLDER, "ex1.ansible_host": "ex1.example.com"})


def test_a_server_of_two_sites_takes_mail_from_the_gateways_of_both() -> None:
    north, inventory = declared({"site": "north", **ELSEWHERE})
    south = {**north, "site": "south", "exchange": {"managed": False}}
    far = {**north, "site": "far", "exchange": {"group": "elsewhere"}}
    found = survey({"gw1": north, "gw2": south, "gw3": far, "ex1": north, "ex2": north}, inventory)
    assert found.problems == ()
    servers = derive_servers(found)
    assert set(servers) == {"ex1", "ex2", "ex9"}
    assert servers["ex1"] == derived()
    assert ranges(servers["ex9"])["Mail gateway"] == ["10.99.0.11"]


def test_a_server_of_one_site_is_not_taken_by_another_that_sets_servers_up() -> None:
    """Both leave exchange.group as it is, so each would send its clients to all servers."""
    north, inventory = declared({"site": "north", **ELSEWHERE})
    south = {**north, "site": "south", "hostname": "mail.south.example"}
    found = survey({"gw1": north, "gw2": south, "ex1": north, "ex2": south}, inventory)
    told = [text for text in found.problems if text.startswith("The server ")]
    assert sorted(text.partition(" would send")[0] for text in told) == [
        "The server ex1 is of the site north, but the site south",
        "The server ex2 is of the site south, but the site north",
    ]
    assert all("give each site its own exchange.group" in text for text in told)


@pytest.mark.parametrize(
    ("taking_part", "elected"),
    [
        ({"gw1", "ex1", "ex2", "old1"}, ["ex1"]),
        ({"ex2"}, ["ex2"]),
        ({"old1"}, ["ex1"]),  # which doesn't take part: an older server has other parameters
    ],
)
def test_one_server_of_a_site_is_elected_for_what_the_organization_has(
    taking_part: set[str], elected: list[str]
) -> None:
    declaration, inventory = declared(OLDER)
    found = survey(dict.fromkeys(("gw1", "gw2", "ex1", "ex2", "old1"), declaration), inventory)
    hosts = derive_all(found, derive_servers(found), taking_part)
    assert "old1" in hosts
    assert [host for host, one in hosts.items() if one["variables"].get("exchange_organization_settings")] == elected


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["2016", "2019", "SE"]),
    st.fixed_dictionaries(
        {},
        optional={
            "smtp.relay_clients": st.just([]),
            "smtp.submission": st.booleans(),
            "imap.ntlm": st.booleans(),
            "imap.enabled": st.booleans(),
            "pop.enabled": st.booleans(),
            "exchange.protocol_logging": st.booleans(),
            "exchange.edge_traversal": st.booleans(),
            "certificate.file": st.just(""),
        },
    ),
)
def test_what_is_derived_is_accepted_and_leaves_nothing_to_do(version: str, changes: dict[str, Any]) -> None:
    machine = Machine(fresh("EX1", version))
    converged(machine, **arguments(derived(changes)))
    converged(machine, **arguments(derived()))
