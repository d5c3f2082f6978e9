"""Accounts by number, in whatever language the server speaks; and rights that nobody gave on the connector itself."""

from __future__ import annotations

from typing import Any

import pytest
from organisation import ACCOUNTS, ANONYMOUS, RELAY, Machine, connector, converged, planned, relay_connector

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.refusals import Refused

LANGUAGES = ("en", "de", "it")
GROUP = [
    "ms-Exch-SMTP-Accept-Any-Sender",
    "ms-Exch-SMTP-Accept-Authoritative-Domain-Sender",
    "ms-Exch-Accept-Headers-Routing",
    "ms-Exch-SMTP-Submit",
]
NAME = {language: ACCOUNTS["S-1-5-7"][language] for language in LANGUAGES}


def grant(machine: Machine, name: str, user: str = ANONYMOUS, **more: Any) -> None:
    """An entry of the access control list of a connector, as others have made it."""
    entry = {"Of": f"EX1\\{name}", "User": user, "ExtendedRights": [RELAY], "Deny": False, "IsInherited": False}
    machine.state["permissions"].append({**entry, "AccessRights": ["ExtendedRight"], **more})


def refused(machine: Machine, **arguments: Any) -> str:
    with pytest.raises(Refused) as error:
        planned(machine, **arguments)
    return str(error.value)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("user", [ANONYMOUS, "S-1-5-7", "local"])
def test_relay_is_granted_under_the_servers_own_name_and_the_groups_rights_stay(language: str, user: str) -> None:
    machine = Machine(language=language)
    given = NAME[language] if user == "local" else user
    desired = relay_connector("10.0.0.25", extended_rights=[{"user": given, "rights": [RELAY]}])
    plan = converged(machine, receive_connectors=[desired])
    (granted,) = [one for one in plan.operations if one.command == "Add-ADPermission"]
    assert granted.parameters["User"] == NAME[language]
    # What the permission group gives shows as rights of the same account, and is the group's own business.
    grant(machine, "Relay", ExtendedRights=GROUP)
    assert planned(machine, receive_connectors=[desired]).operations == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("sid", ["S-1-5-7", "S-1-1-0"])
def test_an_open_relay_is_refused_in_any_language(language: str, sid: str) -> None:
    machine = Machine(language=language)
    machine.state["exchange_receive_connectors"].append(connector("EX1", "Old", Bindings=["0.0.0.0:26"]))
    grant(machine, "Old", ACCOUNTS[sid]["en"])
    assert "would be an open relay: its range 0.0.0.0-255.255.255.255 is everybody" in refused(machine)


def test_an_account_that_the_server_does_not_know_is_named() -> None:
    desired = relay_connector("10.0.0.25", extended_rights=[{"user": "EXAMPLE\\nobody", "rights": [RELAY]}])
    assert refused(Machine(), receive_connectors=[desired]) == (
        'exchange_receive_connectors[0].extended_rights is for "EXAMPLE\\\\nobody", but EX1 knows no such account; '
        "give it as DOMAIN\\name, or its SID."
    )


GENERAL = [
    {"IsInherited": True},
    {"IsInherited": "perhaps"},
    {"Deny": "perhaps"},
    {"ExtendedRights": None, "AccessRights": ["GenericAll"]},
    {"ExtendedRights": None, "AccessRights": "GenericAll"},
    {"ExtendedRights": None},
    {"ExtendedRights": ["All-Extended-Rights"]},
    {"ExtendedRights": None, "AccessRights": ["983551"]},
    {"ExtendedRights": ["{ab721a54-1e2f-11d0-9819-00aa0040529b}"], "AccessRights": ["ExtendedRight"]},
]


@pytest.mark.parametrize("entry", GENERAL)
@pytest.mark.parametrize("user", [ANONYMOUS, "Everyone"])
def test_a_right_that_is_inherited_general_or_unreadable_relays_as_well(entry: dict[str, Any], user: str) -> None:
    machine = Machine()
    grant(machine, "Default Frontend EX1", user, **entry)
    assert "would let anybody relay by a default connector" in refused(machine)


@pytest.mark.parametrize("access", [["GenericRead"], ["ReadProperty", "ListObject"], ["WriteDacl"]])
def test_other_access_is_no_right_to_relay(access: list[str]) -> None:
    machine = Machine()
    grant(machine, "Default Frontend EX1", ExtendedRights=None, AccessRights=access)
    assert planned(machine).operations == []


def test_what_is_inherited_is_told_and_not_withdrawn() -> None:
    machine = Machine()
    converged(machine, receive_connectors=[relay_connector("10.0.0.25")])
    grant(machine, "Relay", IsInherited=True)
    open_to_all = relay_connector("0.0.0.0/0", extended_rights=[])
    assert "is inherited or given in general, so take that off in Active Directory" in refused(
        machine, receive_connectors=[open_to_all]
    )
    grant(machine, "Relay", "EXAMPLE\\svc", IsInherited=True)
    plan = planned(machine, receive_connectors=[relay_connector("10.0.0.25")])
    assert plan.operations == []


def test_an_account_that_cannot_be_told_is_a_doubt_of_others_and_a_refusal_of_ours() -> None:
    machine = Machine()
    odd = connector("EX1", "Odd", Bindings=["0.0.0.0:26"], RemoteIPRanges=["10.9.0.1"])
    machine.state["exchange_receive_connectors"].append(odd)
    grant(machine, "Odd", "GONE\\who")
    plan = planned(machine, receive_connectors=[relay_connector("10.0.0.25")])
    assert plan.operations
    assert plan.warnings == [
        (
            "The receive connector EX1\\Odd, which the variables don't name, can't be judged: it lets 'GONE\\\\who' "
            "relay, an account that the server doesn't know; see for yourself that it is no open relay."
        )
    ]
    touched = {"name": "Odd", "properties": {"Comment": "mine"}}
    assert "can't be judged: it lets 'GONE\\\\who' relay" in refused(machine, receive_connectors=[touched])


@pytest.mark.parametrize("user", ["EXAMPLE\\ExchangeLegacyInterop", "MS Exchange\\Partner Servers"])
def test_groups_of_servers_are_known_by_their_names(user: str) -> None:
    machine = Machine()
    grant(machine, "Default Frontend EX1", user)
    plan = planned(machine, receive_connectors=[{"default": True, "extended_rights": []}])
    assert plan.operations == []
    assert plan.warnings == []


ODD = [
    ({"AuthMechanism": "Tls, Kerberos"}, "AuthMechanism", '"Kerberos"'),
    ({"AuthMechanism": 39}, "AuthMechanism", "39"),
    ({"PermissionGroups": "AnonymousUsers, Strangers"}, "PermissionGroups", '"Strangers"'),
    ({"RemoteIPRanges": ["10.9.0.1", "somewhere"]}, "RemoteIPRanges", '"somewhere"'),
    ({"Bindings": ["0.0.0.0:26", "here"]}, "Bindings", '"here"'),
]


@pytest.mark.parametrize(("properties", "name", "item"), ODD)
def test_an_odd_connector_of_others_is_told_and_holds_nothing_up(
    properties: dict[str, Any], name: str, item: str
) -> None:
    machine = Machine()
    given = {"Bindings": ["0.0.0.0:26"], "RemoteIPRanges": ["10.9.0.1"], **properties}
    machine.state["exchange_receive_connectors"].append(connector("EX1", "Odd", **given))
    plan = converged(machine, receive_connectors=[relay_connector("10.0.0.25")])
    text = f"can't be judged: its {name} holds {item}, which isn't understood"
    assert text in "\n".join(plan.warnings)
    assert text in refused(machine, receive_connectors=[{"name": "Odd", "properties": {"Banner": "220 x"}}])
    # Given as it is to be, there is nothing left that isn't understood.
    whole = {"AuthMechanism": ["Tls"], "PermissionGroups": [], "RemoteIPRanges": ["10.9.0.1"]}
    whole |= {"Bindings": ["0.0.0.0:26"]}
    converged(machine, receive_connectors=[{"name": "Odd", "properties": {name: whole[name]}}])


def test_what_is_understood_of_an_odd_connector_counts() -> None:
    machine = Machine()
    odd = connector("EX1", "Odd", AuthMechanism="Tls, ExternalAuthoritative, Kerberos", Bindings=["0.0.0.0:26"])
    machine.state["exchange_receive_connectors"].append(odd)
    assert "has ExternalAuthoritative and can be reached from outside" in refused(machine)


def test_a_relay_of_others_whose_ranges_are_not_understood_stops_the_run() -> None:
    machine = Machine()
    odd = connector("EX1", "Odd", RemoteIPRanges=["10.9.0.1", "somewhere"], Bindings=["0.0.0.0:26"])
    machine.state["exchange_receive_connectors"].append(odd)
    grant(machine, "Odd")
    assert "can't be judged: its RemoteIPRanges holds" in refused(machine)


@pytest.mark.parametrize("shown", [None, "", [], "  ", [""], [None], [" ", None]])
def test_a_relay_of_others_that_shows_no_ranges_stops_the_run(shown: Any) -> None:
    machine = Machine()
    odd = connector("EX1", "Odd", Bindings=["0.0.0.0:26"])
    odd["RemoteIPRanges"] = shown
    machine.state["exchange_receive_connectors"].append(odd)
    grant(machine, "Odd")
    assert "can't be judged: its RemoteIPRanges isn't shown" in refused(machine)
    del odd["RemoteIPRanges"]
    assert "can't be judged: its RemoteIPRanges isn't shown" in refused(machine)


@pytest.mark.parametrize("identity", [None, "", "EX1\\Other"])
def test_rights_that_are_no_connectors_stop_the_run(identity: str | None) -> None:
    machine = Machine()
    machine.state["exchange_receive_connectors"].append(connector("EX1", "Odd", Bindings=["0.0.0.0:26"]))
    grant(machine, "Odd")
    for entry in machine.state["permissions"]:
        if entry["Of"] == "EX1\\Odd":
            entry["Of"] = identity
    assert "which is none of its receive connectors" in refused(machine)


@pytest.mark.parametrize("shown", [None, "  ", [None], [""]])
@pytest.mark.parametrize("name", ["Bindings", "AuthMechanism", "PermissionGroups"])
def test_what_a_connector_of_others_does_not_show_is_told(name: str, shown: Any) -> None:
    machine = Machine()
    odd = connector("EX1", "Odd", Bindings=["0.0.0.0:26"], RemoteIPRanges=["10.9.0.1"])
    odd[name] = shown
    machine.state["exchange_receive_connectors"].append(odd)
    plan = planned(machine, receive_connectors=[relay_connector("10.0.0.25")])
    assert f"can't be judged: its {name} isn't shown" in "\n".join(plan.warnings)


def test_published_forms_of_others_are_understood_and_kept() -> None:
    machine = Machine()
    shown = ["fe80::39bd:88f7:6969:d223%11", "10.7.0.0(255.255.0.0)", "10.9.0.1"]
    others = connector("EX1", "Others", RemoteIPRanges=shown, Bindings=["0.0.0.0:26", "[fe80::1%11]:26"])
    machine.state["exchange_receive_connectors"].append(others)
    plan = converged(
        machine, receive_connectors=[{"name": "Others", "properties": {"RemoteIPRanges": {"add": ["10.9.0.2"]}}}]
    )
    assert plan.warnings == []
    assert plan.operations[0].parameters["RemoteIPRanges"] == [
        "10.7.0.0/16",
        "10.9.0.1",
        "10.9.0.2",
        "fe80::39bd:88f7:6969:d223%11",
    ]
    written = {"name": "Mine", "properties": {"Bindings": ["0.0.0.0:27"], "RemoteIPRanges": ["fe80::1%11"]}}
    assert 'RemoteIPRanges is ["fe80::1%11"], but must be an address' in refused(machine, receive_connectors=[written])
