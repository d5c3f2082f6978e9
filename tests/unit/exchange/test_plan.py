"""From what is desired to operations: only what is named, removed when it goes, and nothing on a second look."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from organisation import ANONYMOUS, EVERYBODY, RELAY, Machine, connector, converged, fresh, planned, relay_connector

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.marks import MARK
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.refusals import Refused

few = settings(max_examples=40, deadline=None)


def commands(plan: Any) -> list[str]:
    return [operation.command for operation in plan.operations]


def refused(machine: Machine, **arguments: Any) -> str:
    with pytest.raises(Refused) as error:
        planned(machine, **arguments)
    return str(error.value)


# --- receive connectors ----------------------------------------------------------------------------------------------


def test_a_connector_comes_with_its_rights_and_goes_when_it_leaves_the_variables() -> None:
    machine = Machine()
    before = copy.deepcopy(machine.state)
    plan = converged(machine, receive_connectors=[relay_connector("10.0.0.25")])
    assert commands(plan) == ["New-ReceiveConnector", "Add-ADPermission", "Set-ReceiveConnector"]
    created = plan.operations[0].parameters
    assert created["RemoteIPRanges"] == ["10.0.0.25"]
    assert created["TransportRole"] == "FrontendTransport"
    assert plan.operations[-1].parameters["Comment"] == MARK
    assert plan.operations[1].parameters["User"] == ANONYMOUS
    assert plan.operations[1].connector == "EX1\\Relay"

    gone = converged(machine)
    assert commands(gone) == ["Remove-ReceiveConnector"]
    assert machine.state == before


def test_what_is_set_after_creating_is_what_the_creating_cmdlet_does_not_take() -> None:
    desired = relay_connector("10.0.0.25")
    desired["properties"] |= {"BareLinefeedRejectionEnabled": True, "Comment": "printers"}
    plan = converged(Machine(), receive_connectors=[desired])
    assert commands(plan) == [
        *["New-ReceiveConnector", "Set-ReceiveConnector", "Add-ADPermission", "Set-ReceiveConnector"],
    ]
    assert plan.operations[-1].parameters["Comment"] == f"printers {MARK}"
    assert plan.operations[1].parameters["BareLinefeedRejectionEnabled"] is True


def test_connectors_of_others_are_left_alone() -> None:
    machine = Machine()
    machine.state["exchange_receive_connectors"].append(
        connector("EX1", "Scanner", RemoteIPRanges=["10.0.0.9"], Comment="by hand")
    )
    assert converged(machine).operations == []


def test_only_the_named_properties_of_a_connector_are_touched() -> None:
    machine = Machine()
    desired = {"name": "Default Frontend {server}", "properties": {"MaxMessageSize": "50MB", "Enabled": True}}
    plan = converged(machine, receive_connectors=[desired])
    assert [dict(operation.parameters) for operation in plan.operations] == [
        {"Identity": "EX1\\Default Frontend EX1", "MaxMessageSize": "50MB", "Confirm": False}
    ]
    assert plan.diff() == {
        "before": "receive connector EX1\\Default Frontend EX1\n  MaxMessageSize: 36MB\n",
        "after": "receive connector EX1\\Default Frontend EX1\n  MaxMessageSize: 50MB\n",
    }


def test_addresses_are_added_to_the_default_connector_beside_what_is_there() -> None:
    machine = Machine(fresh("OLD1", "2013"))
    plan = converged(
        machine,
        receive_connectors=[{"default": True, "properties": {"RemoteIPRanges": {"add": ["10.0.0.21", "10.0.0.22"]}}}],
        server_addresses=["10.0.0.21", "10.0.0.22"],
    )
    (operation,) = plan.operations
    assert operation.parameters["RemoteIPRanges"] == [
        "0.0.0.0-255.255.255.255",
        "10.0.0.21",
        "10.0.0.22",
        "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ]
    assert "+" not in plan.diff()["before"]
    assert set(plan.diff()["after"].splitlines()) - set(plan.diff()["before"].splitlines()) == {
        "  RemoteIPRanges: 10.0.0.21",
        "  RemoteIPRanges: 10.0.0.22",
        "  Comment: [postern.mail_gateway added 10.0.0.21, 10.0.0.22]",
    }


def adding(*ranges: str, **more: Any) -> dict[str, Any]:
    """What is desired of the default connector: that it names these ranges beside what it has."""
    return {"default": True, "properties": {"RemoteIPRanges": {"add": list(ranges)}, **more}}


def test_ranges_that_were_added_go_when_they_leave_the_variables_and_others_stay() -> None:
    machine = Machine(fresh("OLD1", "2013"))
    default = machine.found(machine.state["exchange_receive_connectors"], "OLD1\\Default Frontend OLD1")
    default |= {"RemoteIPRanges": [*EVERYBODY, "10.0.0.9", "10.0.0.22"], "Comment": "of the branch"}

    def has() -> tuple[set[str], str]:
        return set(default["RemoteIPRanges"]) - set(EVERYBODY), default["Comment"]

    converged(machine, receive_connectors=[adding("10.0.0.21", "10.0.0.22", "10.0.0.23")])
    added = "of the branch [postern.mail_gateway added 10.0.0.21, 10.0.0.23]"
    assert has() == ({"10.0.0.9", "10.0.0.21", "10.0.0.22", "10.0.0.23"}, added)
    plan = converged(machine, receive_connectors=[adding("10.0.0.23")])
    # 10.0.0.22 was there before, so it is somebody else's.
    assert has() == ({"10.0.0.9", "10.0.0.22", "10.0.0.23"}, "of the branch [postern.mail_gateway added 10.0.0.23]")
    assert "  RemoteIPRanges: 10.0.0.21\n" in plan.diff()["before"]
    converged(machine)
    assert has() == ({"10.0.0.9", "10.0.0.22"}, "of the branch")


def test_a_range_that_was_added_is_put_back_and_a_comment_may_be_given_too() -> None:
    machine = Machine()
    converged(machine, receive_connectors=[adding("10.0.0.21")])
    default = machine.found(machine.state["exchange_receive_connectors"], "EX1\\Default Frontend EX1")
    default["RemoteIPRanges"] = list(EVERYBODY)
    converged(machine, receive_connectors=[adding("10.0.0.21", Comment="for all")])
    assert default["Comment"] == "for all [postern.mail_gateway added 10.0.0.21]"
    assert "10.0.0.21" in default["RemoteIPRanges"]
    # Somebody's own words in the place of ours are nothing that was added.
    default["Comment"] = "[postern.mail_gateway added whatever]"
    assert converged(machine).operations == []


def test_the_last_range_of_a_connector_stays() -> None:
    machine = Machine()
    name = {"name": "Scanner", "properties": {"RemoteIPRanges": {"add": ["10.0.0.30"]}}}
    scanner = connector("EX1", "Scanner", RemoteIPRanges=["10.0.0.9"], Comment="by hand")
    machine.state["exchange_receive_connectors"].append(scanner)
    converged(machine, receive_connectors=[name])
    scanner["RemoteIPRanges"] = ["10.0.0.30"]
    assert converged(machine).operations == []
    assert scanner["RemoteIPRanges"] == ["10.0.0.30"]


def test_the_default_connector_of_2010_has_another_name_and_no_transport_role() -> None:
    state = fresh("OLD", "2010")
    old = connector(
        "OLD",
        "Default OLD",
        AuthMechanism="Tls, ExchangeServer",
        PermissionGroups="ExchangeUsers, ExchangeServers",
    )
    del old["TransportRole"]
    state["exchange_receive_connectors"] = [old]
    machine = Machine(state)
    plan = converged(
        machine,
        receive_connectors=[
            {"default": True, "properties": {"RemoteIPRanges": {"add": ["10.0.0.21"]}}},
            relay_connector("10.0.0.25"),
        ],
    )
    assert plan.operations[0].parameters["Identity"] == "OLD\\Default OLD"
    assert "TransportRole" not in plan.operations[1].parameters


def test_rights_that_leave_the_variables_are_withdrawn_and_those_of_groups_stay() -> None:
    machine = Machine()
    converged(machine, receive_connectors=[relay_connector("10.0.0.25")])
    for user, rights in (
        (ANONYMOUS, ["ms-Exch-SMTP-Submit", "ms-Exch-Bypass-Anti-Spam"]),
        ("MS Exchange\\Hub Transport Servers", ["ms-Exch-Bypass-Anti-Spam"]),
        ("EXAMPLE\\svc", [RELAY]),
    ):
        machine.run("Add-ADPermission", {"User": user, "ExtendedRights": rights}, "EX1\\Relay")
    plan = converged(machine, receive_connectors=[relay_connector("10.0.0.25", extended_rights=[])])
    withdrawn = [(op.parameters["User"], tuple(op.parameters["ExtendedRights"])) for op in plan.operations]
    assert commands(plan) == ["Remove-ADPermission"] * 2
    assert withdrawn == [("EXAMPLE\\svc", (RELAY,)), (ANONYMOUS, ("ms-Exch-Bypass-Anti-Spam", RELAY))]


def test_rights_are_nobodys_business_where_they_are_not_named() -> None:
    machine = Machine()
    converged(machine, receive_connectors=[relay_connector("10.0.0.25")])
    desired = relay_connector("10.0.0.25")
    del desired["extended_rights"]
    assert converged(machine, receive_connectors=[desired]).operations == []


def test_rights_go_before_a_range_grows_and_come_after_it_shrank() -> None:
    machine = Machine()
    converged(machine, receive_connectors=[relay_connector("10.0.0.25")])
    wider = relay_connector("10.0.0.0/8", extended_rights=[])
    assert commands(converged(machine, receive_connectors=[wider])) == ["Remove-ADPermission", "Set-ReceiveConnector"]
    narrow = relay_connector("10.0.0.25")
    assert commands(converged(machine, receive_connectors=[narrow])) == ["Set-ReceiveConnector", "Add-ADPermission"]


def test_a_connector_is_removed_when_it_is_declared_absent() -> None:
    machine = Machine()
    machine.state["exchange_receive_connectors"].append(connector("EX1", "Scanner", RemoteIPRanges=["10.0.0.9"]))
    plan = converged(machine, receive_connectors=[{"name": "scanner", "state": "absent"}])
    assert commands(plan) == ["Remove-ReceiveConnector"]
    assert plan.diff()["after"] == ""


def test_two_connectors_of_one_name_are_named() -> None:
    machine = Machine()
    machine.state["exchange_receive_connectors"].append(connector("EX1", "default ex1", RemoteIPRanges=["10.0.0.9"]))
    assert refused(machine) == (
        "EX1 has two receive connectors 'default ex1', so that neither can be meant; rename or remove one."
    )


def test_entries_that_deny_or_are_inherited_are_nobodys_to_withdraw() -> None:
    machine = Machine()
    machine.state["permissions"] = [
        {
            "Of": "EX1\\Default Frontend EX1",
            "User": "EXAMPLE\\svc",
            "ExtendedRights": [RELAY],
            "Deny": deny,
            "IsInherited": i,
        }
        for deny, i in (("True", False), ("False", "True"))
    ]
    desired = {"name": "Default Frontend EX1", "properties": {}, "extended_rights": []}
    assert planned(machine, receive_connectors=[desired]).operations == []


# --- IMAP, POP, services ---------------------------------------------------------------------------------------------

NO_NTLM = {"enabled": True, "properties": {"EnableGSSAPIAndNTLMAuth": False}}


def test_imap_is_set_enabled_and_started() -> None:
    machine = Machine()
    plan = converged(machine, imap=NO_NTLM)
    assert commands(plan) == ["Set-ImapSettings", "Set-Service", "Start-Service", "Set-Service", "Start-Service"]
    names = [operation.parameters.get("Name") for operation in plan.operations[1:]]
    assert names == ["MSExchangeIMAP4BE", "MSExchangeIMAP4BE", "MSExchangeImap4", "MSExchangeImap4"]


def test_running_services_are_stopped_for_a_change_and_started_in_any_case() -> None:
    machine = Machine()
    converged(machine, imap={"enabled": True})
    plan = converged(machine, imap=NO_NTLM)
    assert commands(plan) == ["Stop-Service", "Stop-Service", "Set-ImapSettings", "Start-Service", "Start-Service"]
    assert [operation.always for operation in plan.operations] == [False, False, False, True, True]


@pytest.mark.parametrize("killed_after", range(6))
def test_a_run_that_is_killed_anywhere_is_healed_by_the_next(killed_after: int) -> None:
    machine = Machine()
    converged(machine, imap={"enabled": True})
    for operation in planned(machine, imap=NO_NTLM).operations[:killed_after]:
        machine.run(operation.command, dict(operation.parameters))
    set_already = machine.state["exchange_imap"][0]["EnableGSSAPIAndNTLMAuth"] is False
    running = [entry["Name"] for entry in machine.state["services"] if entry["Status"] == "Running"]
    # A service with the old settings in its memory must not be taken for one with the new.
    assert not set_already or len(running) == max(0, killed_after - 3)
    converged(machine, imap=NO_NTLM)
    assert [entry["Status"] for entry in machine.state["services"][:2]] == ["Running"] * 2


def test_services_that_nobody_asked_for_are_not_started() -> None:
    plan = converged(Machine(), pop={"properties": {"LoginType": "PlainTextLogin"}})
    assert commands(plan) == ["Set-PopSettings"]


def test_services_are_stopped_and_no_longer_start_by_themselves() -> None:
    machine = Machine()
    converged(machine, pop={"enabled": True})
    plan = converged(machine, pop={"enabled": False})
    assert commands(plan) == ["Stop-Service", "Set-Service", "Stop-Service", "Set-Service"]


def test_an_inactive_component_is_activated_unless_the_server_is_in_maintenance() -> None:
    machine = Machine()
    machine.state["components"][1]["State"] = "Inactive"
    plan = converged(machine, imap={"enabled": True})
    # Before the services, which would end at once, or serve nobody.
    assert plan.operations[0].parameters["Component"] == "ImapProxy"
    assert commands(plan)[1:] == ["Set-Service", "Start-Service"] * 2


def test_a_component_that_somebody_else_holds_stays_and_is_told_at_once() -> None:
    machine = Machine()
    machine.state["components"][1] |= {
        "State": "Inactive",
        "LocalStates": [
            "Requestor:Functional; State:Inactive; Timestamp:1/5/2026 8:30:00 AM",
            "Requestor:HealthAPI; State:Active; Timestamp:1/5/2026 8:31:00 AM",
        ],
    }
    plan = converged(machine, imap={"enabled": True})
    assert commands(plan) == ["Set-Service", "Set-Service"]
    assert plan.warnings == [
        (
            "ImapProxy of EX1 is held Inactive by Functional, so that MSExchangeIMAP4 and MSExchangeIMAP4BE aren't "
            "started; activate it with Set-ServerComponentState -Requester Functional."
        )
    ]


def test_a_server_in_maintenance_stays_in_it_and_its_services_stay_stopped() -> None:
    machine = Machine()
    for entry in machine.state["components"]:
        entry |= {"State": "Inactive", "ServerWideOfflineIsOffline": True}
    plan = converged(machine, imap=NO_NTLM)
    assert commands(plan) == ["Set-ImapSettings", "Set-Service", "Set-Service"]
    assert plan.warnings == [
        (
            "EX1 is in maintenance (ServerWideOffline), so that ImapProxy stays Inactive, and MSExchangeIMAP4 and "
            "MSExchangeIMAP4BE aren't started."
        )
    ]
    # What ran was somebody's wish: it runs again after a change.
    for entry in machine.state["services"]:
        entry["Status"] = "Running"
    again = {"enabled": True, "properties": {"EnableGSSAPIAndNTLMAuth": True}}
    assert commands(converged(machine, imap=again))[-2:] == ["Start-Service", "Start-Service"]


def test_transport_services_are_set() -> None:
    desired = {"IntraOrgConnectorProtocolLoggingLevel": "verbose", "ReceiveProtocolLogMaxAge": "14.00:00:00"}
    plan = converged(Machine(), transport={"properties": desired})
    assert [dict(operation.parameters) for operation in plan.operations] == [
        {
            "Identity": "EX1",
            "IntraOrgConnectorProtocolLoggingLevel": "Verbose",
            "ReceiveProtocolLogMaxAge": "14.00:00:00",
            "Confirm": False,
        }
    ]


# --- Windows firewall ------------------------------------------------------------------------------------------------


def test_edge_traversal_is_for_the_rules_of_clients_alone() -> None:
    plan = converged(Machine(), edge_traversal_ports=[143, 993])
    assert [operation.parameters["Name"] for operation in plan.operations] == ["imap", "imap-any"]


def test_a_rule_of_group_policy_is_named() -> None:
    machine = Machine()
    machine.state["firewall"][4]["PolicyStoreSourceType"] = "GroupPolicy"
    assert "comes from group policy" in refused(machine, edge_traversal_ports=[995])


def test_a_server_without_such_a_rule_is_named() -> None:
    machine = Machine()
    machine.state["firewall"] = []
    assert "no firewall rule" in planned(machine, edge_traversal_ports=[995]).warnings[0]


def test_back_pressure_is_told_and_nothing_is_done_about_it() -> None:
    machine = Machine()
    machine.state["pressure"] = [{"Result": "<A>_x000D_<AggregateUse>High</AggregateUse></A>"}]
    plan = planned(machine)
    assert plan.operations == []
    assert "back pressure (High)" in plan.warnings[0]


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "arguments", "sentence"),
    [
        (
            "2019",
            {"receive_connectors": [{"name": "A", "properties": {"MaxMesageSize": "1MB"}}]},
            "exchange_receive_connectors[0].properties.MaxMesageSize isn't known; did you mean MaxMessageSize?",
        ),
        (
            "2019",
            {"receive_connectors": [{"name": "A", "properties": {"MaxMessageSize": "big"}}]},
            'exchange_receive_connectors[0].properties.MaxMessageSize is "big", but must be a size such as 25MB.',
        ),
        (
            "2013",
            {
                "receive_connectors": [
                    {"name": "Default Frontend EX1", "properties": {"AuthTarpitInterval": "00:00:05"}}
                ]
            },
            (
                "exchange_receive_connectors[0].properties.AuthTarpitInterval is known to Exchange from "
                "2016 on, and this "
                "server is 2013; take it out."
            ),
        ),
        (
            "2010",
            {"frontend_transport": {"properties": {}}},
            "exchange_frontend_transport is for Exchange 2013 and later, and this server is 2010; take it out.",
        ),
        (
            "2019",
            {"receive_connectors": [{"name": "New", "properties": {"Bindings": ["0.0.0.0:25"]}}]},
            (
                "exchange_receive_connectors[0].properties has no RemoteIPRanges, which a new connector "
                "needs, and EX1 has "
                "no receive connector 'New' yet; add what is missing."
            ),
        ),
        (
            "2019",
            {"receive_connectors": [{"name": "A", "default": True}]},
            "exchange_receive_connectors[0] must have either a name or default: true.",
        ),
        (
            "2019",
            {"receive_connectors": [relay_connector("10.0.0.1"), relay_connector("10.0.0.2", name="RELAY")]},
            (
                'exchange_receive_connectors[1] has the name "RELAY", which exchange_receive_connectors[0] '
                "has already; put both "
                "into one entry."
            ),
        ),
        (
            "2019",
            {"receive_connectors": [{"name": "Default Frontend {server}"}, {"default": True}]},
            "Two entries of exchange_receive_connectors mean one connector of EX1; make one of them.",
        ),
        (
            "2019",
            {"receive_connectors": [{"name": "A\\B"}]},
            (
                'exchange_receive_connectors[0].name is "A\\\\B", but must be at most 64 characters on one '
                "line, without "
                "backslash, and without spaces around it."
            ),
        ),
        (
            "2019",
            {"receive_connectors": [{"name": "A", "extended_rights": [{"user": "x", "rights": ["all"]}]}]},
            (
                'exchange_receive_connectors[0].extended_rights[0].rights is "all", but must be an extended '
                "right such as "
                "ms-Exch-SMTP-Accept-Any-Recipient."
            ),
        ),
        (
            "2019",
            {"edge_traversal_ports": [1993]},
            (
                "exchange_edge_traversal_ports is 1993, but must be one of 110, 143, 993 and 995, the ports "
                "of IMAP and "
                "POP clients."
            ),
        ),
        (
            "2019",
            {"gateway_addresses": ["10.0.0.0/8"]},
            'exchange_gateway_addresses[0] is "10.0.0.0/8", but must be one address.',
        ),
        (
            "2019",
            {"imap": {"properties": {"OwaServerUrl": "https://x"}}},
            (
                "exchange_imap.properties.OwaServerUrl isn't among the properties of the IMAP settings of EX1; "
                "take it out."
            ),
        ),
    ],
)
def test_bad_input_is_one_sentence(version: str, arguments: dict[str, Any], sentence: str) -> None:
    assert refused(Machine(fresh("EX1", version)), **arguments) == sentence


def test_an_unknown_version_is_named() -> None:
    machine = Machine()
    machine.state["server"]["AdminDisplayVersion"] = "Version 16.0 (Build 1.2)"
    assert "not Exchange 2010 to SE" in refused(machine)


# --- whatever is declared ---------------------------------------------------------------------------------------------

hosts = st.sampled_from(["10.0.0.25", "10.0.1.0/28", "192.168.1.5-192.168.1.9", "fd00::25"])
names = st.sampled_from(["Relay", "Drucker für alle", "a'b", 'x"$(calc)`;\u2603'])


@st.composite
def desired(draw: Any) -> list[dict[str, Any]]:
    """Connectors that clash in nothing, each with what may be declared of it."""
    made = []
    for number, name in enumerate(draw(st.lists(names, unique=True, max_size=3))):
        properties: dict[str, Any] = {
            "Bindings": [f"0.0.0.0:{2600 + number}", f"[::]:{2600 + number}"],
            "RemoteIPRanges": draw(st.lists(hosts, min_size=1, unique=True)),
            "TransportRole": "FrontendTransport",
        }
        properties |= draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "MaxMessageSize": st.sampled_from(["25MB", 65536, "36 MB (37,748,736 bytes)"]),
                    "TarpitInterval": st.sampled_from(["00:00:00", "0:1"]),
                    "MaxInboundConnectionPerSource": st.sampled_from([5, "unlimited"]),
                    "PermissionGroups": st.lists(st.sampled_from(["AnonymousUsers", "ExchangeUsers"])),
                    "BareLinefeedRejectionEnabled": st.booleans(),
                    "Comment": st.text(max_size=5),
                    "TlsCertificateName": st.just(None),
                },
            )
        )
        rights = draw(st.none() | st.just([]) | st.just([{"user": ANONYMOUS, "rights": [RELAY]}]))
        made.append({"name": name, "properties": properties, "extended_rights": rights})
    return made


@few
@given(desired(), desired())
def test_any_declaration_leads_to_any_other_and_back(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    machine = Machine()
    before = copy.deepcopy(machine.state["exchange_receive_connectors"])
    converged(machine, receive_connectors=one)
    converged(machine, receive_connectors=other)
    converged(machine)
    assert machine.state["exchange_receive_connectors"] == before
    assert all(entry["RemoteIPRanges"] == EVERYBODY for entry in before)
