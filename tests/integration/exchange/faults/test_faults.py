"""What goes wrong on a server: a sentence each, and the next run goes on from there."""

from __future__ import annotations

from typing import Any

import pytest
from servers import ANYBODY, ONE, RELAY, change, configure, fault, outcome, state

from lab import Lab
from plays import Run, play

pytestmark = pytest.mark.usefixtures("given_back")


def spoil(lab: Lab, **faults: Any) -> None:
    """The relay connector is lost, IMAP offers NTLM again, and management has a fault."""
    lose_relay_connector(lab)
    change(lab, "ex1", "ImapSettings.EnableGSSAPIAndNTLMAuth", True)
    fault(lab, "ex1", **faults)


def lose_relay_connector(lab: Lab) -> None:
    """Its rights go with it, as in Active Directory."""
    rights = [item for item in state(lab, "ex1")["ADPermission"] if not item["Identity"].endswith("Mail gateway relay")]
    change(lab, "ex1", "ADPermission", rights)
    change(lab, "ex1", "ReceiveConnector[Mail gateway relay]", None)


def heals(lab: Lab) -> None:
    """Without the fault, the next run brings everything back."""
    fault(lab, "ex1")
    run = configure(*ONE)
    assert run.status == 0, run.output
    assert outcome(lab, "ex1", "gw1", lab.relay_address("gw1")) == "Mail gateway relay"
    assert state(lab, "ex1")["ImapSettings"]["EnableGSSAPIAndNTLMAuth"] is False


def refused(run: Run) -> str:
    assert run.status != 0, run.output
    assert "Traceback" not in run.output
    return str(run.failures["ex1"])


def test_a_session_that_does_not_open_changes_nothing(lab: Lab) -> None:
    spoil(lab, SessionRefused="Access is denied.")
    before = state(lab, "ex1")
    said = refused(configure(*ONE))
    assert said.startswith("No Exchange session opens on ex1.example.test in the way 'remote' of exchange_session:")
    assert "Access is denied" in said
    assert "nothing was changed" in said
    assert state(lab, "ex1") == before


def test_a_command_that_the_account_may_not_run_is_named_with_what_was_done(lab: Lab) -> None:
    spoil(lab, MissingCmdlets=["Add-ADPermission"])
    said = refused(configure(*ONE))
    assert "ex1 refused Add-ADPermission (".upper() in said.upper()
    assert "the account has no right to run Add-ADPermission" in said
    assert "Done before that: receive connector EX1\\Mail gateway relay is created" in said
    # What was made has no right yet that it shouldn't have.
    assert outcome(lab, "ex1", "gw1", lab.relay_address("gw1")).startswith("550 5.7.54")
    heals(lab)


def test_an_operation_that_fails_in_the_middle_is_told_and_the_next_run_goes_on(lab: Lab) -> None:
    message = "The operation couldn't be performed because object 'EX1' couldn't be found on 'dc1.example.test'."
    spoil(lab, Cmdlets=[{"Cmdlet": "New-ReceiveConnector", "Message": message, "Noise": ["WARNING: busy", "{}"]}])
    said = refused(configure(*ONE))
    assert "EX1 refused New-ReceiveConnector (receive connector EX1\\Mail gateway relay is created)" in said
    assert "couldn't be found on 'dc1.example.test'" in said
    assert "Not done:" in said
    heals(lab)
    assert configure(*ONE).changed == 0


def test_a_powershell_that_dies_in_mid_change_is_told_and_the_next_run_goes_on(lab: Lab) -> None:
    spoil(lab, Cmdlets=[{"Cmdlet": "Add-ADPermission", "Die": True}])
    said = refused(configure(*ONE))
    assert said.startswith("PowerShell gave no answer (")
    assert "what was applied before isn't known" in said
    heals(lab)


def test_a_server_that_somebody_else_changes_meanwhile_is_left_alone(lab: Lab) -> None:
    spoil(
        lab,
        Cmdlets=[
            {
                # What is read last; the connectors have been read by then.
                "Cmdlet": "Get-ServerComponentState",
                "Change": [["ReceiveConnector[Default Frontend EX1].Comment", "somebody was here"]],
            }
        ],
    )
    said = refused(configure(*ONE))
    assert said == ("EX1 was changed by somebody else after it was read; nothing was changed here, run again.")
    assert "Mail gateway relay" not in {item["Name"] for item in state(lab, "ex1")["ReceiveConnector"]}
    heals(lab)


def test_a_controller_that_lags_behind_holds_nothing_up(lab: Lab) -> None:
    """Each session has another domain controller, and what one was told the other learns only later."""
    spoil(lab)
    change(lab, "ex1", "Standin.Replication", {"Lag": 300})
    run = configure(*ONE)
    assert run.status == 0, run.output
    assert outcome(lab, "ex1", "gw1", lab.relay_address("gw1")) == "Mail gateway relay"


def test_services_that_end_without_their_component_run_afterwards(lab: Lab) -> None:
    change(lab, "ex1", "Standin.ServicesEndWithComponent", True)
    change(lab, "ex1", "ServerComponentState[ImapProxy].State", "Inactive")
    held = ["Requestor:HealthAPI; State:Inactive; Timestamp:1/5/2026 8:30:00 AM"]
    change(lab, "ex1", "ServerComponentState[ImapProxy].LocalStates", held)
    for service in state(lab, "ex1")["Service"]:
        if service["Name"].lower().startswith("msexchangeimap4"):
            change(lab, "ex1", f"Service[{service['Name']}].Status", "Stopped")
    run = configure(*ONE)
    assert run.status == 0, run.output
    after = {service["Name"].lower(): service["Status"] for service in state(lab, "ex1")["Service"]}
    assert after["msexchangeimap4"] == after["msexchangeimap4be"] == "Running"


def test_another_servers_exchange_is_not_set_up_from_here(lab: Lab) -> None:
    before = {server: state(lab, server) for server in ("ex1", "ex2")}
    said = refused(configure(*ONE, exchange_server="ex2.example.test"))
    assert said.startswith("exchange_server leads to EX2, but this host is EX1: ")
    assert {server: state(lab, server) for server in ("ex1", "ex2")} == before


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            {
                "exchange_receive_connectors": [
                    {
                        "name": "Everybody",
                        "properties": {
                            "Bindings": ["0.0.0.0:25"],
                            "RemoteIPRanges": ["198.51.100.0/24"],
                            "PermissionGroups": ["AnonymousUsers"],
                        },
                        "extended_rights": [{"user": ANYBODY, "rights": [RELAY]}],
                    }
                ]
            },
            "198.51.100.0/24",
        ),
        (
            {
                "exchange_receive_connectors": [
                    {"default": True, "properties": {}, "extended_rights": [{"user": ANYBODY, "rights": [RELAY]}]}
                ]
            },
            "Default Frontend EX1",
        ),
        ({"exchange_imap": {"properties": {"EnableGssApiAndNtlm": False}}}, "did you mean EnableGSSAPIAndNTLMAuth?"),
        (
            {"exchange_imap": {"properties": {"X509CertificateName": "elsewhere.example"}}},
            "but EX1 has no certificate for that name; import it first",
        ),
        ({"exchange_edge_traversal_ports": [1993]}, "must be one of 110, 143, 993 and 995"),
    ],
)
def test_what_must_not_be_is_refused_before_anything_changes(
    lab: Lab, variables: dict[str, Any], sentence: str
) -> None:
    before = state(lab, "ex1")
    said = refused(play("tests/integration/exchange/role.yml", variables=variables))
    assert sentence in said
    assert state(lab, "ex1") == before
    assert outcome(lab, "ex1", "relay").startswith("550 5.7.54")


def test_what_is_sent_by_standard_input_is_in_no_log(lab: Lab) -> None:
    lose_relay_connector(lab)
    run = configure(*ONE, "-vvv")
    assert run.status == 0, run.output
    assert "ConvertTo-PlainJson" not in run.output
    assert outcome(lab, "ex1", "gw1", lab.relay_address("gw1")) == "Mail gateway relay"
