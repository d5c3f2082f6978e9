"""What must never be: each refusal with its sentence, and over generated organisations no outsider who relays."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from organisation import ANONYMOUS, RELAY, SERVER_AUTH, Machine, connector, converged, fresh, planned, relay_connector

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.listeners import Listener
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.refusals import Refused

AROUND = {
    "server_addresses": ["10.0.0.21", "10.0.0.22"],
    "gateway_addresses": ["10.0.0.11", "10.0.0.12"],
    "relay_addresses": ["10.0.0.111", "10.0.0.112"],
}


def refused(machine: Machine | None = None, **arguments: Any) -> list[str]:
    with pytest.raises(Refused) as error:
        planned(machine or Machine(), **{**AROUND, **arguments})
    return error.value.sentences


def desired(name: str = "X", **properties: Any) -> dict[str, Any]:
    return {"name": name, "properties": {"Bindings": ["0.0.0.0:25"], **properties}}


WHO = "exchange_receive_connectors[0] (receive connector EX1\\"


def test_a_fresh_server_and_the_relay_connector_are_accepted() -> None:
    plan = planned(Machine(), receive_connectors=[relay_connector("10.0.0.111", "10.0.0.112")], **AROUND)
    table = {
        (row["who"], row["address"]): (row["connector"], row["anonymous"], row["relay"]) for row in plan.connections
    }
    assert table == {
        ("server", "10.0.0.21"): ("Default Frontend EX1", True, False),
        ("server", "10.0.0.22"): ("Default Frontend EX1", True, False),
        ("gateway", "10.0.0.11"): ("Default Frontend EX1", True, False),
        ("gateway", "10.0.0.12"): ("Default Frontend EX1", True, False),
        ("relay clients", "10.0.0.111"): ("Relay", True, True),
        ("relay clients", "10.0.0.112"): ("Relay", True, True),
        ("internet", "any"): ("Default Frontend EX1", True, False),
    }
    assert plan.warnings == []


def test_a_relay_address_that_another_connector_takes_is_told() -> None:
    plan = planned(
        Machine(),
        receive_connectors=[relay_connector("10.0.0.104/29"), desired("Y", RemoteIPRanges=["10.0.0.111"])],
        **AROUND,
    )
    assert plan.warnings == [
        (
            "10.0.0.111, which only relay clients use, is taken by the receive connector EX1\\Y, which doesn't relay; "
            "give the relay connector this very address."
        ),
        (
            "10.0.0.112, which only relay clients use, is taken by the receive connector EX1\\Default Frontend EX1, "
            "which doesn't relay; give the relay connector this very address."
        ),
    ]


@pytest.mark.parametrize(
    ("ranges", "why"),
    [
        (["0.0.0.0/0"], "its range 0.0.0.0-255.255.255.255 is everybody"),
        (["::/0"], "its range ::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff is everybody"),
        (["0.0.0.0/1", "128.0.0.0/1"], "its range 0.0.0.0/1 holds public addresses"),
        (["0.0.0.1-255.255.255.255"], "holds public addresses"),
        (["198.51.100.0/31"], "its range 198.51.100.0/31 holds public addresses"),
        (["2001:db8::/64"], "its range 2001:db8::/64 holds public addresses"),
        (["9.255.255.255-10.0.0.20"], "holds public addresses"),
        (["10.0.0.0/24"], "holds 10.0.0.11 and 10.0.0.12, by which anybody's mail comes from a gateway"),
        (["10.0.0.11"], "its range 10.0.0.11 holds 10.0.0.11, by which anybody's mail comes"),
    ],
)
def test_an_open_relay_is_refused(ranges: list[str], why: str) -> None:
    sentences = refused(receive_connectors=[relay_connector(*ranges)])
    assert sentences[0].startswith(f"{WHO}Relay) would be an open relay: ")
    assert why in sentences[0]


def test_public_hosts_one_by_one_and_acknowledged_networks_may_relay() -> None:
    planned(Machine(), receive_connectors=[relay_connector("198.51.100.7", "2001:db8::7")], **AROUND)
    desired = [relay_connector("198.51.100.0/28")]
    planned(Machine(), receive_connectors=desired, acknowledged_relay_networks=["198.51.100.0/24"], **AROUND)
    assert refused(receive_connectors=desired, acknowledged_relay_networks=["198.51.100.0/29"])


@pytest.mark.parametrize(
    "networks",
    [
        ["0.0.0.0-255.255.255.254"],
        ["0.0.0.0/1", "128.0.0.0/1"],
        ["::/1", "8000::/1"],
        ["2.0.0.0/8", "3.0.0.0/32"],
    ],
)
def test_networks_that_are_the_internet_together_are_not_acknowledged(networks: list[str]) -> None:
    desired = [relay_connector("198.51.100.0/28")]
    sentences = refused(receive_connectors=desired, acknowledged_relay_networks=networks)
    assert sentences[0].startswith("exchange_acknowledged_relay_networks holds more IPv")
    planned(
        Machine(), receive_connectors=desired, acknowledged_relay_networks=["198.0.0.0/8", "198.51.0.0/16"], **AROUND
    )


@pytest.mark.parametrize("user", [ANONYMOUS, "nt authority\\anonymous logon", "Everyone", "S-1-1-0", "S-1-5-7"])
def test_everybody_has_many_names(user: str) -> None:
    rights = [{"user": user, "rights": [RELAY.upper().replace("MS-EXCH", "ms-Exch")]}]
    assert refused(receive_connectors=[relay_connector("0.0.0.0/0", extended_rights=rights)])


def test_a_default_connector_never_relays() -> None:
    entry = {"default": True, "extended_rights": [{"user": ANONYMOUS, "rights": [RELAY]}]}
    first = refused(receive_connectors=[entry])[0]
    assert first == (
        f"{WHO}Default Frontend EX1) would let anybody relay by a default connector; make a connector of its own for "
        "relay clients."
    )


@pytest.mark.parametrize(
    "properties", [{"Enabled": False}, {"AuthMechanism": ["Tls"]}, {"PermissionGroups": ["AnonymousUsers"]}]
)
def test_a_default_connector_stays_for_servers_whose_addresses_nobody_knows(properties: dict[str, Any]) -> None:
    around = {**AROUND, "server_addresses": []}
    assert refused(receive_connectors=[{"default": True, "properties": properties}], **around) == [
        (
            f"{WHO}Default Frontend EX1) is a default connector and would not be for servers any more (enabled, "
            "ExchangeServer, ExchangeServers); leave these as they are."
        )
    ]


def test_an_open_relay_of_somebody_else_stops_the_run() -> None:
    machine = Machine()
    machine.state["exchange_receive_connectors"].append(connector("EX1", "Old relay", Bindings=["0.0.0.0:26"]))
    machine.run("Add-ADPermission", {"User": ANONYMOUS, "ExtendedRights": [RELAY]}, "EX1\\Old relay")
    assert refused(machine)[0].startswith(
        "The receive connector EX1\\Old relay, which the variables don't name, would be an open relay"
    )


def test_a_range_that_grows_under_a_right_that_is_there_is_refused() -> None:
    machine = Machine()
    machine.state["exchange_receive_connectors"].append(connector("EX1", "Relay", RemoteIPRanges=["10.0.0.25"]))
    machine.run("Add-ADPermission", {"User": ANONYMOUS, "ExtendedRights": [RELAY]}, "EX1\\Relay")
    assert refused(
        machine, receive_connectors=[{"name": "Relay", "properties": {"RemoteIPRanges": {"add": ["0.0.0.0/0"]}}}]
    )


@pytest.mark.parametrize("outside", ["0.0.0.0/0", "198.51.100.7", "10.0.0.11", "10.0.0.111", "10.0.0.0/8"])
def test_externally_secured_is_nothing_for_what_comes_from_outside(outside: str) -> None:
    sentences = refused(
        receive_connectors=[
            desired(
                RemoteIPRanges=[outside], AuthMechanism=["ExternalAuthoritative"], PermissionGroups=["ExchangeServers"]
            )
        ]
    )
    assert any("has ExternalAuthoritative and can be reached from outside" in sentence for sentence in sentences)


def test_externally_secured_within_is_accepted_but_never_with_the_right_as_well() -> None:
    entry = desired(
        RemoteIPRanges=["10.5.0.0/24"], AuthMechanism=["ExternalAuthoritative"], PermissionGroups=["ExchangeServers"]
    )
    planned(Machine(), receive_connectors=[entry], **AROUND)
    both = {**entry, "extended_rights": [{"user": ANONYMOUS, "rights": [RELAY]}]}
    assert "has both ExternalAuthoritative and the right" in refused(receive_connectors=[both])[0]


@pytest.mark.parametrize("mechanisms", [{"ExternalAuthoritative"}, {"Tls", "ExternalAuthoritative"}])
def test_externally_secured_is_a_relay_without_any_right(mechanisms: set[str]) -> None:
    listener = Listener("X", frozenset(), frozenset(), mechanisms=frozenset(mechanisms))
    assert listener.anonymous_relay
    assert not Listener("X", frozenset(), frozenset(), mechanisms=frozenset(("Tls",))).anonymous_relay


@pytest.mark.parametrize("port", [25, 2525])
def test_a_range_that_captures_another_server_is_refused(port: int) -> None:
    role = "FrontendTransport" if port == 25 else "HubTransport"
    entry = desired(Bindings=[f"0.0.0.0:{port}"], RemoteIPRanges=["10.0.0.0/27"], TransportRole=role)
    assert refused(receive_connectors=[entry]) == [
        f"{WHO}X) would take the mail that comes from the Exchange server {address} on port {port}, and isn't for "
        "servers (ExchangeServer, ExchangeServers); take that address out of its range."
        for address in ("10.0.0.21", "10.0.0.22")
    ]


def test_a_range_that_captures_a_server_on_one_address_alone_is_refused() -> None:
    entry = desired(Bindings=["10.0.0.21:25"], RemoteIPRanges=["10.0.0.0/8"])
    assert "would take the mail that comes from the Exchange server 10.0.0.22" in str(
        refused(receive_connectors=[entry])
    )


def test_a_range_of_somebody_else_that_captures_a_server_already_is_told_and_holds_nothing_up() -> None:
    machine = Machine()
    branch = connector("EX1", "Branch", RemoteIPRanges=["10.0.0.0/27"], PermissionGroups="AnonymousUsers")
    machine.state["exchange_receive_connectors"].append(branch)
    plan = planned(machine, receive_connectors=[relay_connector("10.0.0.111")], **AROUND)
    assert plan.operations
    assert plan.warnings[:2] == [
        "The receive connector EX1\\Branch, which the variables don't name, takes the mail that comes from the "
        f"Exchange server {address} on port 25, and isn't for servers (ExchangeServer, ExchangeServers); take that "
        "address out of its range."
        for address in ("10.0.0.21", "10.0.0.22")
    ]
    # Made any worse, it is refused.
    wider = {"name": "Branch", "properties": {"RemoteIPRanges": {"add": ["10.0.1.0/24"]}}}
    assert "would take the mail" in refused(machine, receive_connectors=[wider])[0]


@pytest.mark.parametrize(
    "properties",
    [
        {"AuthMechanism": ["Tls"]},
        {"PermissionGroups": ["AnonymousUsers"]},
        {"Enabled": False},
        {"RemoteIPRanges": ["10.5.0.0/24"]},
        {"Bindings": ["0.0.0.0:26"]},
    ],
)
def test_a_default_connector_stays_for_servers(properties: dict[str, Any]) -> None:
    sentences = refused(receive_connectors=[{"default": True, "properties": properties}])
    assert all(sentence.startswith(WHO + "Default Frontend EX1)") for sentence in sentences)


def test_a_default_connector_is_not_removed() -> None:
    entry = {"name": "Default Frontend EX1", "state": "absent"}
    assert any("leave it there" in sentence for sentence in refused(receive_connectors=[entry]))


@pytest.mark.parametrize("banner", ["220 ", "220 ~", "220 " + "x" * 506])
def test_a_banner_may_be_as_long_as_a_reply(banner: str) -> None:
    planned(Machine(), receive_connectors=[{"default": True, "properties": {"Banner": banner}}], **AROUND)


@pytest.mark.parametrize("banner", ["250 hello", "220", "220 h\u00e9llo", "220 a\r\nb", "220 " + "x" * 507])
def test_a_banner_that_breaks_mail_is_refused(banner: str) -> None:
    sentences = refused(receive_connectors=[{"default": True, "properties": {"Banner": banner}}])
    assert "must begin with '220 '" in sentences[0]


@pytest.mark.parametrize("fqdn", ["mail.example.com.", "mail example", "-a.example.com", "a..b", "m\u00fcller.example"])
def test_a_name_that_breaks_mail_is_refused(fqdn: str) -> None:
    sentences = refused(receive_connectors=[desired(RemoteIPRanges=["10.5.0.1"], Fqdn=fqdn)])
    assert "must be a name of letters, digits, hyphens and dots" in sentences[0]


def test_with_server_authentication_the_name_is_the_servers() -> None:
    (sentence,) = refused(receive_connectors=[{"default": True, "properties": {"Fqdn": "mail.example.com"}}])
    assert sentence.endswith("but with ExchangeServer it must be ex1.example.com, EX1 or none.")
    for fqdn in ("EX1", "ex1.EXAMPLE.com", None):
        planned(Machine(), receive_connectors=[{"default": True, "properties": {"Fqdn": fqdn}}])


def test_two_connectors_with_one_binding_and_range_are_refused() -> None:
    entries = [desired("X", RemoteIPRanges=["10.5.0.0/24"]), desired("Y", RemoteIPRanges=["10.5.0.0-10.5.0.255"])]
    assert refused(receive_connectors=entries) == [
        (
            f"{WHO.replace('[0]', '[1]')}Y) has the binding 0.0.0.0:25 with the range 10.5.0.0/24, as has X; each such "
            "pair belongs to one connector: take it out of one."
        )
    ]


def test_a_port_belongs_to_one_transport_role() -> None:
    (sentence,) = refused(receive_connectors=[desired(RemoteIPRanges=["10.5.0.1"], TransportRole="HubTransport")])
    assert "is of HubTransport, but port 25 is taken by Default Frontend EX1 of FrontendTransport" in sentence


# --- over generated organisations ------------------------------------------------------------------------------------

# Public addresses on and beside the ends of the ranges below, and some that are in none.
OUTSIDE = [
    "8.8.8.8",
    "198.51.100.6",
    "198.51.100.8",
    "9.255.255.255",
    "11.0.0.0",
    "1.0.0.0",
    "255.255.255.254",
    "2a00::1",
]
RANGES = [
    "0.0.0.0/0",
    "::/0",
    "0.0.0.0/1",
    "128.0.0.0/1",
    "198.51.100.7",
    "198.51.100.0/29",
    "10.0.0.0/8",
    "10.0.0.111",
    "10.0.0.11",
    "10.0.0.25",
    "2a00::/16",
    "9.0.0.0-10.1.0.0",
    "fd00::/64",
]
ranges = st.lists(st.sampled_from(RANGES), min_size=1, max_size=3, unique=True)
groups = st.lists(st.sampled_from(["AnonymousUsers", "ExchangeUsers", "ExchangeServers"]), unique=True)
mechanisms = st.sampled_from(["Tls", SERVER_AUTH, "ExternalAuthoritative", "None"])
rights = st.none() | st.just([]) | st.just([{"user": ANONYMOUS, "rights": [RELAY]}])


@st.composite
def organisations(draw: Any) -> tuple[Machine, list[dict[str, Any]]]:
    """A server with connectors of others, and what is desired of some of them and of new ones."""
    machine = Machine(fresh("EX1", draw(st.sampled_from(["2013", "2016", "2019", "SE"]))))
    for name in draw(st.sets(st.sampled_from(["A", "B"]))):
        old = connector(
            "EX1",
            name,
            Bindings=[f"0.0.0.0:{draw(st.sampled_from([25, 2600]))}"],
            RemoteIPRanges=draw(ranges),
            AuthMechanism=draw(mechanisms),
            PermissionGroups=", ".join(draw(groups)) or "None",
            Enabled=draw(st.booleans()),
        )
        machine.state["exchange_receive_connectors"].append(old)
        if draw(st.booleans()):
            machine.run("Add-ADPermission", {"User": ANONYMOUS, "ExtendedRights": [RELAY]}, f"EX1\\{name}")
    desired = []
    for name in draw(st.sets(st.sampled_from(["A", "B", "C", "Default Frontend EX1"]))):
        properties = draw(
            st.fixed_dictionaries(
                {
                    "Bindings": st.sampled_from([["0.0.0.0:25"], ["[::]:25"], ["0.0.0.0:2600"]]),
                    "RemoteIPRanges": ranges,
                },
                optional={"AuthMechanism": mechanisms, "PermissionGroups": groups, "Enabled": st.just(True)},
            )
        )
        desired.append({"name": name, "properties": properties, "extended_rights": draw(rights)})
    return machine, desired


def holds(text: str, address: Any) -> bool:
    """Whether a range holds an address; an own reading, so that it can't be wrong in the same way."""
    if "-" in text:
        first, last = (ipaddress.ip_address(part) for part in text.split("-"))
        return address.version == first.version and first <= address <= last
    return address in ipaddress.ip_network(text)


def relays(machine: Machine, text: str) -> list[str]:
    """The connectors by which an outsider could send to anybody, however connections are shared out among them."""
    address = ipaddress.ip_address(text)
    found = []
    for entry in machine.state["exchange_receive_connectors"]:
        granted = any(
            RELAY in right["ExtendedRights"]
            for right in machine.state["permissions"]
            if right["Of"] == entry["Identity"]
        )
        trusted = "ExternalAuthoritative" in entry["AuthMechanism"]
        if (granted or trusted) and any(holds(part, address) for part in entry["RemoteIPRanges"]):
            found.append(entry["Identity"])
    return found


@settings(max_examples=150, deadline=None)
@given(organisations())
def test_no_accepted_plan_lets_an_outsider_relay(organisation: tuple[Machine, list[dict[str, Any]]]) -> None:
    machine, desired = organisation
    try:
        plan = planned(machine, receive_connectors=desired, **AROUND)
    except Refused:
        return
    for operation in plan.operations:
        machine.run(operation.command, dict(operation.parameters), operation.connector)
    for address in [*OUTSIDE, *AROUND["gateway_addresses"]]:
        assert relays(machine, address) == []


@settings(max_examples=100, deadline=None)
@given(organisations())
def test_no_step_on_the_way_opens_what_was_closed(organisation: tuple[Machine, list[dict[str, Any]]]) -> None:
    machine, desired = organisation
    assume(not any(relays(machine, address) for address in OUTSIDE))
    try:
        plan = planned(machine, receive_connectors=desired, **AROUND)
    except Refused:
        return
    for operation in plan.operations:
        machine.run(operation.command, dict(operation.parameters), operation.connector)
        assert not any(relays(machine, address) for address in OUTSIDE)


def gateways(*addresses: str, **more: Any) -> dict[str, Any]:
    """What is desired of a server for these gateways, as it is derived."""
    around = {**AROUND, "gateway_addresses": list(addresses), "relay_addresses": []}
    return {"receive_connectors": [desired(RemoteIPRanges=list(addresses))], **around, **more}


def test_a_gateway_that_the_inventory_lacks_stays_in_service_until_it_is_named() -> None:
    """An inventory that was read in part isn't a decision, whatever is left of it."""
    machine = Machine()
    converged(machine, **gateways("10.0.0.11", "10.0.0.12", removable_addresses=["10.0.0.11", "10.0.0.12"]))
    sentence = (
        "The receive connector EX1\\X names 10.0.0.12, and no host of the inventory has it; put the host back or, "
        "where that is meant, name it once: -e mail_gateway_removed=10.0.0.12"
    )
    assert refused(machine, **gateways("10.0.0.11", removable_addresses=["10.0.0.11"])) == [sentence]
    with pytest.raises(Refused) as error:
        planned(machine, **{**gateways(removable_addresses=[]), "receive_connectors": []})
    assert "names 10.0.0.11, 10.0.0.12," in str(error.value)
    converged(machine, **gateways("10.0.0.11", removable_addresses=["10.0.0.11", "10.0.0.12"]))


def test_a_gateway_that_is_there_may_leave_a_connector() -> None:
    """Relay clients that left the declaration, say."""
    machine = Machine()
    converged(machine, **gateways("10.0.0.11", "10.0.0.12"))
    everybody = ["10.0.0.11", "10.0.0.12"]
    converged(machine, **{**gateways(*everybody, removable_addresses=everybody), "receive_connectors": []})


def test_a_new_server_that_the_inventory_lacks_stays_known_to_the_older_ones() -> None:
    machine = Machine()
    older = [{"default": True, "properties": {"RemoteIPRanges": {"add": ["10.0.0.31", "10.0.0.32"]}}}]
    converged(machine, receive_connectors=older, **AROUND)
    less = [{"default": True, "properties": {"RemoteIPRanges": {"add": ["10.0.0.31"]}}}]
    (sentence,) = refused(machine, receive_connectors=less, removable_addresses=["10.0.0.31"])
    assert "names 10.0.0.32, and no host of the inventory has it" in sentence
    converged(machine, receive_connectors=less, removable_addresses=["10.0.0.32"], **AROUND)
