"""The declaration changes, or somebody changes a server by hand: the next run makes it as declared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from servers import (
    ANYBODY,
    ONE,
    RELAY,
    change,
    cmdlets,
    configure,
    imap_capabilities,
    outcome,
    own_mail,
    restore,
    state,
)

from lab import Lab
from lab.hosts import fresh_state
from lab.topology import EXCHANGE

pytestmark = pytest.mark.usefixtures("given_back")


def done(run: Any) -> Any:
    assert run.status == 0, run.output
    return run


def test_what_the_organization_has_is_set_by_one_server_and_shown_by_all(lab: Lab) -> None:
    variables: dict[str, Any] = {
        "exchange_organization_config": {"properties": {"MapiHttpEnabled": False}},
        "exchange_transport_config": {"properties": {"MaxReceiveSize": "50MB", "InternalSMTPServers": ["10.99.0.11"]}},
        "exchange_outlook_providers": [{"name": "EXPR", "properties": {"CertPrincipalName": "msstd:*.example.test"}}],
        "exchange_client_access_service": {
            "properties": {"AutoDiscoverServiceInternalUri": "https://autodiscover.example.test/Autodiscover/a.xml"}
        },
    }
    shared = ("Set-OrganizationConfig", "Set-TransportConfig", "Set-OutlookProvider")
    before = {server: cmdlets(lab, server) for server in EXCHANGE}
    checked = done(configure("--check", "--diff", **variables))
    assert checked.output.count("-  MapiHttpEnabled: True") == 1
    done(configure(**variables))
    called = {server: cmdlets(lab, server)[len(before[server]) :] for server in EXCHANGE}
    assert {server: [called[server].count(name) for name in shared] for server in EXCHANGE} == {
        "ex1": [1, 1, 1],
        "ex2": [0, 0, 0],
    }
    assert [called[server].count("Set-ClientAccessService") for server in EXCHANGE] == [1, 1]
    for server in EXCHANGE:
        assert state(lab, server)["OrganizationConfig"]["MapiHttpEnabled"] is False
    assert done(configure(**variables)).changed == 0


def test_what_leaves_the_declaration_goes_and_what_is_others_stays(lab: Lab, declaration: dict[str, Any]) -> None:
    relay = lab.relay_address("gw1")
    own = {**next(item for item in state(lab, "ex1")["ReceiveConnector"] if item["Name"] == "Mail gateway relay")}
    own |= {"Name": "Scanner", "Identity": "EX1\\Scanner", "Comment": "", "RemoteIPRanges": ["10.99.0.7"]}
    change(lab, "ex1", "ReceiveConnector[Scanner]", {key: own[key] for key in own if key != "Guid"})
    declaration["smtp"]["relay_clients"] = []
    declaration["imap"] = {"ntlm": True}
    declaration["exchange"]["edge_traversal"] = True

    checked = done(configure(*ONE, "--check", "--diff", mail_gateway=declaration))
    assert "-receive connector EX1\\Mail gateway relay" in checked.output
    assert outcome(lab, "ex1", "gw1", relay) == "Mail gateway relay"

    done(configure(*ONE, mail_gateway=declaration))
    assert outcome(lab, "ex1", "gw1", relay).startswith("550 5.7.54")
    assert own_mail(lab, "ex1", "gw1") == "Mail gateway"
    assert "AUTH=NTLM" in imap_capabilities(lab, "ex1")
    after = state(lab, "ex1")
    assert "Scanner" in {item["Name"] for item in after["ReceiveConnector"]}
    assert [item for item in after["ADPermission"] if item["Identity"].endswith("Mail gateway relay")] == []
    policies = {
        port: rule["EdgeTraversalPolicy"]
        for rule in after["NetFirewallRule"]
        for port in rule["LocalPort"]
        if port in ("143", "993", "1993", "25")
    }
    assert {policies[port] for port in ("143", "993")} == {"Allow"}
    assert {policies[port] for port in ("1993", "25") if port in policies} == {"Block"}
    assert done(configure(*ONE, mail_gateway=declaration)).changed == 0


def test_a_right_that_somebody_gave_by_hand_is_withdrawn(lab: Lab) -> None:
    gift = {"Identity": "EX1\\Mail gateway", "User": ANYBODY, "ExtendedRights": [RELAY], "Deny": False}
    change(lab, "ex1", "ADPermission[+]", gift)
    assert outcome(lab, "ex1", "gw1") == "Mail gateway", "everybody relays now"
    run = done(configure(*ONE, "--diff"))
    assert f"-  right: {RELAY} for {ANYBODY}" in run.output
    assert outcome(lab, "ex1", "gw1").startswith("550 5.7.54")


def test_an_older_servers_default_connector_names_the_new_ones(
    lab: Lab, declaration: dict[str, Any], tmp_path: Path
) -> None:
    """ex2 becomes an Exchange 2013 on which a narrower connector takes what ex1 sends, and doesn't know servers."""
    default = "Default Frontend EX2"
    older = fresh_state("ex2", lab, "2013")
    restore(lab, "ex2", {**older, "Mailbox": state(lab, "ex2")["Mailbox"]})
    branch = next(item for item in state(lab, "ex2")["ReceiveConnector"] if item["Name"] == default)
    network = f"10.{lab.slot}.1.0/24"
    branch |= {"Name": "Branch", "Identity": "EX2\\Branch", "RemoteIPRanges": [network], "AuthMechanism": "Tls"}
    branch["PermissionGroups"] = "AnonymousUsers"
    change(lab, "ex2", "ReceiveConnector[Branch]", {key: branch[key] for key in branch if key != "Guid"})
    assert own_mail(lab, "ex2", "ex1") == "Branch"

    # A second new server, which will leave: the host that is the name server.
    inventory = tmp_path / "older.yml"
    hosts: dict[str, Any] = {"ex1": {}, "ex3": {"mail_gateway_server_address": lab.address("dns", "inside")}}
    both = ("-i", str(inventory), "--limit", "ex2,localhost")
    declaration["exchange"]["group"] = "newer"

    def run_on_both(*arguments: str) -> Any:
        groups = {"newer": {"hosts": hosts}, "exchange_legacy": {"hosts": {"ex2": {}}}}
        inventory.write_text(json.dumps({"all": {"children": groups}}))
        return done(configure(*both, *arguments, mail_gateway=declaration))

    run = run_on_both("--diff")
    assert f"+  RemoteIPRanges: {lab.address('ex1', 'inside')}" in run.output
    assert own_mail(lab, "ex2", "ex1") == own_mail(lab, "ex2", "dns") == default
    # Everybody else comes in as before, and nobody relays.
    assert own_mail(lab, "ex2", "relay") == "Branch"
    assert outcome(lab, "ex2", "relay").startswith("550 5.7.54")
    assert run_on_both().changed == 0

    del hosts["ex3"]
    run = run_on_both("--diff")
    assert f"-  RemoteIPRanges: {lab.address('dns', 'inside')}" in run.output
    assert own_mail(lab, "ex2", "dns") == "Branch"
    assert own_mail(lab, "ex2", "ex1") == default
