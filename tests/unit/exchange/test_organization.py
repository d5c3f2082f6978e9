"""What the organization has once, and by what clients find their server: set by one server, and never made."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from organisation import Machine, converged, fresh, planned, relay_connector
from shell import Action, over_python
from test_action import ALL

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.desired import read_desired
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.kinds import KINDS, WINDOWS
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.questions import queries
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.refusals import Refused

URL = "https://autodiscover.example.com/Autodiscover/Autodiscover.xml"
SHARED: dict[str, Any] = {
    "organization_config": {"properties": {"MapiHttpEnabled": False}},
    "transport_config": {"properties": {"MaxReceiveSize": "50MB", "InternalSMTPServers": {"add": ["10.0.0.11"]}}},
    "outlook_providers": [{"name": "expr", "properties": {"CertPrincipalName": "msstd:*.example.com"}}],
}
OWN: dict[str, Any] = {"client_access_service": {"properties": {"AutoDiscoverServiceInternalUri": URL}}}


def refused(machine: Machine, **arguments: Any) -> str:
    with pytest.raises(Refused) as error:
        planned(machine, **arguments)
    return str(error.value)


def sent(plan: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(operation.command, dict(operation.parameters)) for operation in plan.operations]


def test_what_the_organization_has_is_set_once_and_left_alone_then() -> None:
    plan = converged(Machine(), **SHARED)
    assert sent(plan) == [
        ("Set-TransportConfig", {"MaxReceiveSize": "50MB", "InternalSMTPServers": ["10.0.0.11"], "Confirm": False}),
        ("Set-OrganizationConfig", {"MapiHttpEnabled": False, "Confirm": False}),
        ("Set-OutlookProvider", {"Identity": "EXPR", "CertPrincipalName": "msstd:*.example.com", "Confirm": False}),
    ]
    assert [operation.what for operation in plan.operations] == [
        "transport configuration has its InternalSMTPServers and MaxReceiveSize",
        "organization configuration has its MapiHttpEnabled",
        "Outlook provider EXPR has its CertPrincipalName",
    ]
    assert plan.diff()["before"].startswith("transport configuration\n  MaxReceiveSize: 10MB\n")


def test_what_a_change_asks_of_people_is_told_with_the_change_alone() -> None:
    warning = "MapiHttpEnabled of the organization changes: Outlook asks its users to start it anew."
    assert planned(Machine(), **SHARED).warnings == [warning]
    machine = Machine()
    machine.state["exchange_organization_config"][0]["MapiHttpEnabled"] = False
    assert planned(machine, **SHARED).warnings == []


def test_a_server_that_was_not_elected_neither_asks_nor_sets_what_is_the_organizations() -> None:
    machine = Machine()
    before = copy.deepcopy(machine.state)
    plan = converged(machine, **SHARED, organization_settings=False)
    assert plan.operations == []
    assert machine.state == before
    asked = {query["command"] for query in queries(read_desired({**SHARED, **OWN, "organization_settings": False}))}
    shared = {call.name for kind in KINDS if kind.shared for call in kind.calls}
    assert not asked & shared
    assert "Get-ClientAccessService" in asked


def test_what_is_wrong_about_it_is_said_on_every_server() -> None:
    wrong = {"organization_config": {"properties": {"MapiHttpEnabeld": True}}, "organization_settings": False}
    assert refused(Machine(), **wrong) == (
        "exchange_organization_config.properties.MapiHttpEnabeld isn't known; did you mean MapiHttpEnabled?"
    )


def test_a_provider_that_is_not_there_is_not_made() -> None:
    assert refused(Machine(), outlook_providers=[{"name": "EXPT", "properties": {"TTL": 2}}]) == (
        "exchange_outlook_providers[0] is about the Outlook provider 'EXPT', which EX1 hasn't, and none is made from "
        "here; name one of EXCH, EXPR and WEB, or take it out."
    )


def test_a_stale_name_of_a_certificate_is_cleared() -> None:
    machine = Machine()
    machine.state["exchange_outlook_providers"][1]["CertPrincipalName"] = "msstd:old.example.com"
    plan = converged(machine, outlook_providers=[{"name": "EXPR", "properties": {"CertPrincipalName": None}}])
    assert sent(plan) == [("Set-OutlookProvider", {"Identity": "EXPR", "CertPrincipalName": None, "Confirm": False})]
    assert plan.diff()["after"] == "Outlook provider EXPR\n  CertPrincipalName: none\n"


def test_two_entries_for_one_provider_are_refused() -> None:
    twice = [{"name": name, "properties": {"TTL": 2}} for name in ("EXPR", "expr")]
    assert "exchange_outlook_providers[1] has the name" in refused(Machine(), outlook_providers=twice)


@pytest.mark.parametrize(("version", "verb"), [("2013", "Set-ClientAccessServer"), ("2016", "Set-ClientAccessService")])
def test_a_cmdlet_has_the_name_of_its_version(version: str, verb: str) -> None:
    plan = converged(Machine(fresh("EX1", version)), **OWN)
    assert sent(plan) == [(verb, {"Identity": "EX1", "AutoDiscoverServiceInternalUri": URL, "Confirm": False})]


def test_the_case_of_a_host_is_no_change_and_that_of_a_path_is() -> None:
    machine = Machine()
    found = machine.state["exchange_client_access_service"][0]
    found["AutoDiscoverServiceInternalUri"] = URL.replace("autodiscover.", "AUTODISCOVER.")
    assert planned(machine, **OWN).operations == []
    found["AutoDiscoverServiceInternalUri"] = URL.replace("/Auto", "/auto")
    assert planned(machine, **OWN).operations
    assert "but must be a URL such as" in refused(
        machine, client_access_service={"properties": {"AutoDiscoverServiceInternalUri": "autodiscover.example.com"}}
    )


@pytest.mark.parametrize("number", [1, 100])
def test_the_number_of_calls_grows_with_neither_kinds_nor_objects(number: int) -> None:
    level = {"properties": {"IntraOrgConnectorProtocolLoggingLevel": "Verbose"}}
    everything: dict[str, Any] = {**ALL, **SHARED, **OWN, "pop": ALL["imap"], "frontend_transport": level}
    everything["receive_connectors"] = [relay_connector("10.0.0.25", name=f"R{n}") for n in range(number)]
    for n, one in enumerate(everything["receive_connectors"]):
        one["properties"]["Bindings"] = [f"0.0.0.0:{3000 + n}"]
    everything["direct_return"] = {"addresses": ["203.0.113.10"]}
    assert set(everything) == {kind.argument for kind in (*KINDS, *WINDOWS)}
    machine = Machine()
    action = Action(over_python(machine))
    assert action.configure(**everything)["changed"]
    assert len(action.calls) == 3
    changed = {operation["command"] for operation in machine.applied}
    assert {kind.set.name for kind in KINDS} | {"Set-NetFirewallRule", "Install-LoopbackAdapter"} <= changed
    again = Action(over_python(machine))
    assert not again.configure(**everything)["changed"]
    assert len(again.calls) == 1
