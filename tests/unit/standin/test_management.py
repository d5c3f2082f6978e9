"""Exchange's cmdlets over the state: what the published help says of them, and what a mail client then finds."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from standin_client import LONG, Dialogue, Standin, within

from standin import organization, published, store, windows
from standin.clixml import Item, Thing
from standin.connectors import choose
from standin.fresh import fresh
from standin.management import CMDLETS, Management
from standin.state import load

ANONYMOUS = "NT AUTHORITY\\ANONYMOUS LOGON"
RELAY = "ms-Exch-SMTP-Accept-Any-Recipient"
assert organization  # its cmdlets, as those of windows, are known once it is imported
assert windows


class Shell:
    """Cmdlets by their names, in a remote session, as at the far end of one."""

    def __init__(self, directory: Path, organisation: Path | None = None, way: str = "remote") -> None:
        self.management = Management(directory, organisation)
        target = self.management.home().fqdn
        self.number = self.management.open(way, target, "Kerberos")["Session"]
        self.warnings: list[str] = []

    def ask(self, name: str, **parameters: Any) -> dict[str, Any]:
        session = self.number if "versions" in published.cmdlets()[name] else 0
        answer = self.management.answer({"What": "run", "Name": name, "Parameters": parameters, "Session": session})
        self.warnings = answer["Warnings"]
        return answer

    def __call__(self, name: str, **parameters: Any) -> list[dict[str, Any]]:
        answer = self.ask(name, **parameters)
        assert "Error" not in answer, answer["Error"]["Message"]
        return [item.properties for item in answer["Objects"]]

    def one(self, name: str, **parameters: Any) -> dict[str, Any]:
        (found,) = self(name, **parameters)
        return found

    def refused(self, name: str, **parameters: Any) -> dict[str, Any]:
        problem: dict[str, Any] = self.ask(name, **parameters)["Error"]
        return problem


def make(directory: Path, name: str = "EX1", version: str = "2019") -> Path:
    directory.mkdir(parents=True)
    document = fresh(name, f"{name.lower()}.example.test", ["example.test"], {}, version, ["10.1.1.21/24"])
    (directory / "state.json").write_text(json.dumps(document))
    return directory


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(make(tmp_path / "ex1"), tmp_path)


@pytest.fixture
def two(tmp_path: Path) -> Shell:
    """A shell on EX1, in an organisation with EX2."""
    make(tmp_path / "ex2", "EX2")
    return Shell(make(tmp_path / "ex1"), tmp_path)


def relay(shell: Shell, **parameters: Any) -> dict[str, Any]:
    told = {
        "Name": "Relay",
        "TransportRole": "FrontendTransport",
        "Usage": "Custom",
        "Bindings": "0.0.0.0:25",
        "RemoteIPRanges": ["10.1.1.111", "10.1.1.112"],
        "PermissionGroups": "AnonymousUsers",
    }
    return shell.one("New-ReceiveConnector", **{**told, **parameters})


# Receive connectors


def test_a_new_server_has_the_five_connectors_of_a_real_one(shell: Shell) -> None:
    found = shell("Get-ReceiveConnector", Server="EX1")
    assert [(c["Identity"], c["TransportRole"], c["Bindings"]) for c in found] == [
        ("EX1\\Default EX1", "HubTransport", ["[::]:2525", "0.0.0.0:2525"]),
        ("EX1\\Client Proxy EX1", "HubTransport", ["[::]:465", "0.0.0.0:465"]),
        ("EX1\\Default Frontend EX1", "FrontendTransport", ["[::]:25", "0.0.0.0:25"]),
        ("EX1\\Outbound Proxy Frontend EX1", "FrontendTransport", ["[::]:717", "0.0.0.0:717"]),
        ("EX1\\Client Frontend EX1", "FrontendTransport", ["[::]:587", "0.0.0.0:587"]),
    ]


def test_objects_have_the_properties_and_texts_of_real_ones(shell: Shell) -> None:
    shape = published.shapes()["ReceiveConnector"]["properties"]
    for found in shell("Get-ReceiveConnector"):
        assert set(found) == set(shape)
        assert found["MaxMessageSize"] == "36 MB (37,748,736 bytes)"
        assert found["AuthMechanism"].split(", ")[0] == "Tls"
        assert found["RemoteIPRanges"] == ["::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "0.0.0.0-255.255.255.255"]
        assert found["DefaultDomain"] is None
        assert found["MaxHopCount"] == 60
        assert found["MaxProtocolErrors"] == "5"


def test_what_comes_through_a_session_says_so(shell: Shell) -> None:
    item: Item = shell.ask("Get-ReceiveConnector", Identity="EX1\\Default EX1")["Objects"][0]
    assert item.notes["PSComputerName"] == "ex1.example.test"
    assert item.type == "Microsoft.Exchange.Data.Directory.SystemConfiguration.ReceiveConnector"


@pytest.mark.parametrize(
    ("usage", "needed", "groups", "mechanism"),
    [
        ("Custom", {}, "None", "Tls"),
        ("Internet", {"RemoteIPRanges": None}, "AnonymousUsers", "Tls"),
        ("Internal", {"Bindings": None}, "ExchangeServers, ExchangeLegacyServers", "Tls, ExchangeServer"),
        ("Client", {"Bindings": None}, "ExchangeUsers", "Tls, Integrated, BasicAuth, BasicAuthRequireTLS"),
        ("Partner", {"Bindings": None}, "Partners", "Tls"),
    ],
)
def test_a_usage_type_gives_permission_groups_and_logons(
    shell: Shell, usage: str, needed: dict[str, Any], groups: str, mechanism: str
) -> None:
    told: dict[str, Any] = {
        "Name": "New",
        "Usage": usage,
        "Bindings": "10.1.1.21:2526",
        "RemoteIPRanges": "10.5.0.0/16",
    }
    told = {key: value for key, value in told.items() if key not in needed}
    if "Bindings" in needed:
        told["TransportRole"] = "FrontendTransport"  # all addresses, port 25
    else:
        told["TransportRole"] = "HubTransport"
    made = shell.one("New-ReceiveConnector", **told)
    assert (made["PermissionGroups"], made["AuthMechanism"]) == (groups, mechanism)
    assert made["Fqdn"] == "ex1.example.test"


@pytest.mark.parametrize("missing", ["Bindings", "RemoteIPRanges"])
def test_a_custom_connector_needs_bindings_and_ranges(shell: Shell, missing: str) -> None:
    told = {"Name": "New", "Usage": "Custom", "Bindings": "10.1.1.21:2526", "RemoteIPRanges": "10.5.0.0/16"}
    del told[missing]
    assert shell.refused("New-ReceiveConnector", **told)["Identifier"] == "MissingMandatoryParameter"


def test_values_show_as_exchange_shows_them(shell: Shell) -> None:
    relay(shell)
    shell(
        "Set-ReceiveConnector",
        Identity="EX1\\Relay",
        MaxMessageSize="25MB",
        TarpitInterval="0.00:00:10",
        MaxInboundConnectionPerSource="unlimited",
        AuthMechanism=["basicauth", "TLS"],
        RemoteIPRanges=["10.0.0.0/24", "FD77::0/64", "10.9.0.1-10.9.0.7"],
        ProtocolLoggingLevel="verbose",
    )
    found = shell.one("Get-ReceiveConnector", Identity="relay")
    assert found["MaxMessageSize"] == "25 MB (26,214,400 bytes)"
    assert found["TarpitInterval"] == "00:00:10"
    assert found["MaxInboundConnectionPerSource"] == "Unlimited"
    assert found["AuthMechanism"] == "Tls, BasicAuth"
    assert found["RemoteIPRanges"] == ["10.0.0.0/24", "fd77::/64", "10.9.0.1-10.9.0.7"]
    assert found["ProtocolLoggingLevel"] == "Verbose"


def test_lists_take_what_is_added_and_removed(shell: Shell) -> None:
    relay(shell)
    change = {"Add": ["10.2.0.0/16", "10.1.1.111"], "Remove": "10.1.1.112"}
    shell("Set-ReceiveConnector", Identity="EX1\\Relay", RemoteIPRanges=change)
    assert shell.one("Get-ReceiveConnector", Identity="EX1\\Relay")["RemoteIPRanges"] == ["10.1.1.111", "10.2.0.0/16"]


def test_a_change_that_changes_nothing_is_a_warning(shell: Shell) -> None:
    shell("Set-ReceiveConnector", Identity="EX1\\Default EX1", Enabled=True)
    assert shell.warnings == [
        "The command completed successfully but no settings of 'EX1\\Default EX1' have been modified."
    ]


@pytest.mark.parametrize(
    ("parameter", "value", "reason"),
    [
        ("AuthMechanism", "Kerberos", "Specify one of the following enumerator names and try again: None, Tls,"),
        ("Enabled", "true", "Boolean parameters accept only Boolean values and numbers"),
        ("MaxHopCount", "many", "Input string was not in a correct format."),
        ("MaxMessageSize", "36 MiB", "isn't a valid ByteQuantifiedSize"),
        ("TarpitInterval", "5 seconds", "was not recognized as a valid TimeSpan"),
        ("RemoteIPRanges", "10.0.0.300", "isn't a valid IP address range"),
        ("RemoteIPRanges", {"Append": "10.0.0.1"}, "only the keys Add and Remove"),
        ("RemoteIPRanges", ["10.0.0.1", "10.0.0.1"], "is already present in the collection"),
        ("Bindings", "25", "isn't a valid binding"),
        ("Fqdn", "two words", "isn't a valid fully qualified domain name"),
        ("MaxInboundConnection", "endless", "Input string was not in a correct format."),
    ],
)
def test_a_value_of_the_wrong_type_fails_as_binding_fails(
    shell: Shell, parameter: str, value: Any, reason: str
) -> None:
    problem = shell.refused("Set-ReceiveConnector", Identity="EX1\\Default EX1", **{parameter: value})
    assert problem["Identifier"] == "ParameterArgumentTransformationError"
    assert problem["Message"].startswith(f"Cannot process argument transformation on parameter '{parameter}'.")
    assert reason in problem["Message"]


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"Banner": "Welcome"}, "DataValidationException", 'The banner must start with "220 "'),
    ({"Banner": "220 ä"}, "DataValidationException", "printable ASCII"),
    ({"Fqdn": "mail.example.test", "AuthMechanism": "Tls, ExchangeServer"}, "FqdnOnServerAuthException", "or $null."),
    ({"AuthMechanism": "ExternalAuthoritative"}, "DataValidationException", "PermissionGroups parameter"),
    (
        {"AuthMechanism": "ExternalAuthoritative, BasicAuth", "PermissionGroups": "ExchangeServers"},
        "DataValidationException",
        "together with other values than Tls",
    ),
    ({"AuthMechanism": "BasicAuthRequireTLS"}, "DataValidationException", "BasicAuth and Tls as well"),
    ({"AuthMechanism": "None", "RequireTLS": True}, "DataValidationException", "RequireTLS parameter"),
    ({"PermissionGroups": "Custom"}, "CustomCannotBeSetForPermissionGroupsException", "Add-ADPermission"),
    ({"Bindings": "0.0.0.0:2525"}, "ReceiveConnectorRoleConflictException", "different Transport roles"),
    (
        {"RemoteIPRanges": ["10.7.0.0/24", "0.0.0.0-255.255.255.255"]},
        "ConnectorMappingConflictException",
        '"EX1\\Default Frontend EX1"',
    ),
    ({"RemoteIPRanges": []}, "DataValidationException", "can't be empty"),
    ({"MaxInboundConnectionPercentagePerSource": 101}, "DataValidationException", "from 1 to 100"),
    ({"TarpitInterval": "00:10:01"}, "DataValidationException", "00:10:00"),
    ({"ConnectionTimeout": "00:04:00"}, "DataValidationException", "greater than the ConnectionInactivityTimeout"),
    ({"Name": "A\\B"}, "DataValidationException", "no backslash"),
]


@pytest.mark.parametrize(("settings", "kind", "words"), REFUSED, ids=[" ".join(case[0]) for case in REFUSED])
def test_what_exchange_refuses_changes_nothing(shell: Shell, settings: dict[str, Any], kind: str, words: str) -> None:
    relay(shell)
    before = store.read(shell.management.directory)
    problem = shell.refused("Set-ReceiveConnector", Identity="EX1\\Relay", **settings)
    assert problem["Type"] == kind
    assert words in problem["Message"]
    assert f"[FailureCategory=Cmdlet-{kind}]" in problem["Identifier"]
    assert store.read(shell.management.directory) == before


def test_an_fqdn_of_the_servers_own_is_taken(shell: Shell) -> None:
    for fqdn in ("ex1.example.test", "EX1", None):
        shell("Set-ReceiveConnector", Identity="EX1\\Default EX1", Fqdn=fqdn)
        assert shell.one("Get-ReceiveConnector", Identity="EX1\\Default EX1")["Fqdn"] == fqdn


def test_a_name_that_is_taken_and_one_that_is_unknown(shell: Shell) -> None:
    relay(shell)
    told = {"Name": "relay", "Usage": "Custom", "Bindings": "0.0.0.0:26", "RemoteIPRanges": "10.5.0.0/16"}
    problem = shell.refused("New-ReceiveConnector", **told)
    assert problem["Type"] == "ADObjectAlreadyExistsException"
    problem = shell.refused("Set-ReceiveConnector", Identity="EX1\\Gone", Enabled=False)
    assert problem["Type"] == "ManagementObjectNotFoundException"
    assert problem["Message"] == (
        "The operation couldn't be performed because object 'EX1\\Gone' couldn't be found on 'dc1.example.test'."
    )


def test_a_connector_is_renamed_with_its_rights_and_removed_with_them(shell: Shell) -> None:
    relay(shell)
    shell("Add-ADPermission", Identity="EX1\\Relay", User=ANONYMOUS, ExtendedRights=RELAY)
    shell("Set-ReceiveConnector", Identity="EX1\\Relay", Name="Gateway")
    assert RELAY in rights(shell, "EX1\\Gateway")
    shell("Remove-ReceiveConnector", Identity="EX1\\Gateway")
    document = store.read(shell.management.directory)
    assert document["ADPermission"] == []
    assert len(document["ReceiveConnector"]) == 5


# Permissions


def rights(shell: Shell, identity: str, user: str = ANONYMOUS) -> set[str]:
    found = shell("Get-ADPermission", Identity=identity, User=user)
    return {right for entry in found if not entry["Deny"] for right in entry["ExtendedRights"] or []}


def test_a_permission_group_shows_as_the_rights_it_grants(shell: Shell) -> None:
    relay(shell)
    assert rights(shell, "EX1\\Relay") == {
        "ms-Exch-SMTP-Submit",
        "ms-Exch-SMTP-Accept-Any-Sender",
        "ms-Exch-SMTP-Accept-Authoritative-Domain-Sender",
        "ms-Exch-Accept-Headers-Routing",
    }
    assert {e["User"] for e in shell("Get-ADPermission", Identity="EX1\\Default EX1")} >= {
        "NT AUTHORITY\\Authenticated Users",
        "EXAMPLE\\Exchange Servers",
        "EXAMPLE\\ExchangeLegacyInterop",
    }


@pytest.mark.parametrize("user", [ANONYMOUS, "nt authority\\anonymous logon", "ANONYMOUS LOGON", "S-1-5-7"])
def test_a_right_is_granted_and_withdrawn(shell: Shell, user: str) -> None:
    relay(shell)
    (entry,) = shell("Add-ADPermission", Identity="EX1\\Relay", User=user, ExtendedRights=RELAY.upper())
    assert (entry["User"], entry["ExtendedRights"], entry["Deny"]) == (ANONYMOUS, [RELAY], False)
    assert shell.one("Get-ReceiveConnector", Identity="EX1\\Relay")["PermissionGroups"] == "AnonymousUsers, Custom"
    shell("Add-ADPermission", Identity="EX1\\Relay", User=user, ExtendedRights=[RELAY])
    assert "already present" in shell.warnings[0]
    shell("Remove-ADPermission", Identity="EX1\\Relay", User=user, ExtendedRights=RELAY)
    assert RELAY not in rights(shell, "EX1\\Relay")
    assert shell.one("Get-ReceiveConnector", Identity="EX1\\Relay")["PermissionGroups"] == "AnonymousUsers"
    shell("Remove-ADPermission", Identity="EX1\\Relay", User=user, ExtendedRights=RELAY)
    assert "isn't present" in shell.warnings[0]


def test_an_entry_from_get_can_be_removed(shell: Shell) -> None:
    relay(shell)
    shell("Add-ADPermission", Identity="EX1\\Relay", User=ANONYMOUS, ExtendedRights=RELAY)
    (entry,) = (e for e in shell("Get-ADPermission", Identity="EX1\\Relay") if e["ExtendedRights"] == [RELAY])
    shell("Remove-ADPermission", Instance=Thing(["ADAcePresentationObject"], "", entry))
    assert RELAY not in rights(shell, "EX1\\Relay")


def test_a_right_of_a_group_that_is_withdrawn_leaves_the_groups_others(shell: Shell) -> None:
    relay(shell)
    before = rights(shell, "EX1\\Relay")
    shell("Remove-ADPermission", Identity="EX1\\Relay", User=ANONYMOUS, ExtendedRights="ms-Exch-SMTP-Accept-Any-Sender")
    assert rights(shell, "EX1\\Relay") == before - {"ms-Exch-SMTP-Accept-Any-Sender"}
    assert shell.one("Get-ReceiveConnector", Identity="EX1\\Relay")["PermissionGroups"] == "Custom"


def test_unknown_users_and_rights_are_errors(shell: Shell) -> None:
    told = {"Identity": "EX1\\Default EX1", "User": ANONYMOUS, "ExtendedRights": RELAY}
    assert "wasn't found" in shell.refused("Add-ADPermission", **{**told, "User": "NOBODY"})["Message"]
    assert "couldn't be found" in shell.refused("Add-ADPermission", **{**told, "ExtendedRights": "Relay"})["Message"]


# The organisation and versions


def test_servers_see_each_other_as_in_active_directory(two: Shell) -> None:
    assert [s["Name"] for s in two("Get-ExchangeServer")] == ["EX1", "EX2"]
    assert len(two("Get-ReceiveConnector")) == 10
    assert {c["Server"] for c in two("Get-ReceiveConnector", Server="ex2.example.test")} == {"EX2"}
    two("Set-ReceiveConnector", Identity="EX2\\Default EX2", MaxHopCount=30)
    assert two.one("Get-ReceiveConnector", Identity="EX2\\Default EX2")["MaxHopCount"] == 30
    assert two.one("Get-ReceiveConnector", Identity="EX1\\Default EX1")["MaxHopCount"] == 60
    # The same name on both: without its server it is ambiguous.
    for server in ("EX1", "EX2"):
        relay(two, Server=server)
    assert (
        two.refused("Set-ReceiveConnector", Identity="Relay", Enabled=False)["Type"]
        == "ManagementObjectAmbiguousException"
    )
    assert "couldn't be found" in two.refused("Get-ReceiveConnector", Server="EX9")["Message"]


@pytest.mark.parametrize(("version", "has"), [("2013", False), ("2016", True), ("2019", True), ("SE", True)])
def test_a_version_has_the_parameters_of_its_help(tmp_path: Path, version: str, has: bool) -> None:
    shell = Shell(make(tmp_path / "ex1", version=version), tmp_path)
    assert shell.management.home().version == version
    text = shell.management.open("remote", "ex1.example.test", "Kerberos")["Module"]
    assert ("${AuthTarpitInterval}" in text) == has
    assert ("function Set-ClientAccessService " in text) == has
    assert ("AuthTarpitInterval" in shell.one("Get-ReceiveConnector", Identity="EX1\\Default EX1")) == has


# Mail access, services, components, back pressure


def test_mail_settings_wait_for_a_restart_of_both_services(shell: Shell) -> None:
    directory = shell.management.directory

    def ntlm() -> bool:
        return bool(load(store.read(directory)).imap.EnableGSSAPIAndNTLMAuth)

    for service in ("MSExchangeImap4", "MSExchangeIMAP4BE"):
        shell("Set-Service", Name=service, StartupType="Automatic", Status="Running")
    shell("Set-ImapSettings", Server="EX1", EnableGSSAPIAndNTLMAuth=False)
    (warning,) = shell.warnings
    assert warning.startswith("Changes to IMAP4 settings will only take effect after all Microsoft Exchange IMAP4 ")
    assert warning.endswith("services are restarted on server EX1.")
    assert shell.one("Get-ImapSettings")["EnableGSSAPIAndNTLMAuth"] is False
    assert ntlm()
    shell("Restart-Service", Name="MSExchangeImap4")
    assert ntlm()
    shell("Restart-Service", Name="MSExchangeIMAP4BE")
    assert not ntlm()


def test_a_stopped_service_takes_its_settings_when_it_starts(shell: Shell) -> None:
    shell("Set-PopSettings", LoginType="PlainTextLogin")
    assert load(store.read(shell.management.directory)).pop.LoginType == "PlainTextLogin"


def test_mail_services_are_manual_and_stopped_at_first(shell: Shell) -> None:
    found = shell("Get-Service", Name="msexchangeimap4*")
    assert [(s["Name"], s["Status"], s["StartType"]) for s in found] == [
        ("MSExchangeImap4", "Stopped", "Manual"),
        ("MSExchangeIMAP4BE", "Stopped", "Manual"),
    ]


def test_services_that_cant(shell: Shell) -> None:
    problem = shell.refused("Get-Service", Name="Nope")
    assert problem["Message"] == "Cannot find any service with service name 'Nope'."
    assert problem["Identifier"] == "NoServiceFoundForGivenName,Microsoft.PowerShell.Commands.GetServiceCommand"
    assert "dependent services" in shell.refused("Stop-Service", Name="FMS")["Message"]
    shell("Restart-Service", Name="FMS", Force=True)
    assert shell.one("Get-Service", Name="MSExchangeTransport")["Status"] == "Running"
    shell("Set-Service", Name="MSExchangePop3", StartupType="Disabled")
    assert "cannot be started" in shell.refused("Start-Service", Name="MSExchangePop3")["Message"]
    assert "ServiceStartMode" in shell.refused("Set-Service", Name="MSExchangePop3", StartupType="Often")["Message"]


def test_a_component_is_active_when_everybody_says_so(shell: Shell) -> None:
    def state() -> str:
        return str(shell.one("Get-ServerComponentState", Identity="EX1", Component="ImapProxy")["State"])

    told = {"Identity": "EX1", "Component": "ImapProxy"}
    shell("Set-ServerComponentState", **told, Requester="Maintenance", State="Inactive")
    assert state() == "Inactive"
    shell("Set-ServerComponentState", **told, Requester="HealthAPI", State="Active")
    assert state() == "Inactive"
    shell("Set-ServerComponentState", **told, Requester="Maintenance", State="Active")
    assert state() == "Active"
    assert "isn't valid" in shell.refused("Set-ServerComponentState", **told, Requester="Me", State="Active")["Message"]


def test_back_pressure_is_in_the_diagnostic_info(shell: Shell) -> None:
    document = store.read(shell.management.directory)
    document["ExchangeDiagnosticInfo"]["ResourceThrottling"]["ResourceTracker"]["AggregateUse"] = "Medium"
    store.replace(shell.management.directory, document)
    told = {"Server": "EX1", "Process": "EdgeTransport", "Component": "ResourceThrottling"}
    text = shell.one("Get-ExchangeDiagnosticInfo", **told)["Result"]
    assert "<AggregateUse>Medium</AggregateUse>" in text
    assert "<ResourceThrottling>" not in shell.one("Get-ExchangeDiagnosticInfo", Server="EX1")["Result"]


def test_the_hidden_connector_logs_when_it_is_told_to(shell: Shell) -> None:
    assert shell.one("Get-TransportService", Identity="EX1")["IntraOrgConnectorProtocolLoggingLevel"] == "None"
    shell("Set-TransportService", Identity="EX1", IntraOrgConnectorProtocolLoggingLevel="Verbose")
    assert shell.one("Get-TransportService", Identity="EX1")["IntraOrgConnectorProtocolLoggingLevel"] == "Verbose"
    told = {"Identity": "EX1", "ReceiveProtocolLogPath": "logs"}
    assert "isn't a valid local full path" in shell.refused("Set-FrontendTransportService", **told)["Message"]


def test_every_cmdlet_that_reads_answers_on_a_fresh_server(shell: Shell) -> None:
    for name in published.of_exchange("2019"):
        if name.startswith("Get-") and name != "Get-ADPermission":
            shell(name, **({"Identity": "EX1"} if "ComponentState" in name else {}))
    assert set(published.of_exchange("2019")) | set(published.of_windows()) <= set(CMDLETS)


# Faults


@pytest.fixture
def faulty(shell: Shell) -> Callable[..., Shell]:
    def put(**faults: Any) -> Shell:
        document = store.read(shell.management.directory)
        document["Standin"]["Faults"] = faults
        store.replace(shell.management.directory, document)
        return shell

    return put


def test_a_session_can_be_refused_and_sessions_are_counted(faulty: Callable[..., Shell]) -> None:
    shell = faulty(SessionRefused="Access is denied.")
    with pytest.raises(Exception, match="Access is denied"):
        shell.management.open("remote", "ex1.example.test", "Kerberos")
    shell.management.close(shell.number)
    lines = [json.loads(line) for line in (shell.management.directory / "management.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["session_opened", "session_refused", "session_closed"]


@pytest.mark.parametrize(
    ("target", "authentication", "words"),
    [("mail.example.test", "Kerberos", "Kerberos"), ("ex1.example.test", "Basic", "Access is denied")],
)
def test_a_session_needs_the_servers_own_name_and_kerberos(
    shell: Shell, target: str, authentication: str, words: str
) -> None:
    with pytest.raises(Exception, match=words):
        shell.management.open("remote", target, authentication)


def test_a_missing_permission_is_a_missing_cmdlet_or_parameter(faulty: Callable[..., Shell]) -> None:
    shell = faulty(MissingCmdlets=["Add-ADPermission"], MissingParameters={"Set-ReceiveConnector": ["Banner"]})
    text = shell.management.open("remote", "ex1.example.test", "Kerberos")["Module"]
    assert "function Add-ADPermission " not in text
    assert "${Banner}" not in text.split("function Set-ReceiveConnector ")[1].split("function ")[0]
    assert "${Banner}" in text.split("function New-ReceiveConnector ")[1].split("function ")[0]
    assert "function Add-ADPermission " in shell.management.open("snapin", "", "")["Module"]


def test_an_operation_can_fail_in_the_middle_and_a_server_change_meanwhile(faulty: Callable[..., Shell]) -> None:
    shell = faulty(
        Cmdlets=[
            {"Cmdlet": "Set-*", "After": 1, "Times": 1, "Message": "The domain controller went away."},
            {"Cmdlet": "Get-ImapSettings", "After": 1, "Change": [["ImapSettings.LoginType", "PlainTextLogin"]]},
        ]
    )
    told = {"Identity": "EX1\\Default EX1"}
    shell("Set-ReceiveConnector", **told, MaxHopCount=30)
    assert (
        shell.refused("Set-ReceiveConnector", **told, MaxHopCount=31)["Message"] == "The domain controller went away."
    )
    shell("Set-ReceiveConnector", **told, MaxHopCount=32)
    assert shell.one("Get-ImapSettings")["LoginType"] == "SecureLogin"
    assert shell.one("Get-ImapSettings")["LoginType"] == "PlainTextLogin"


# On the wire: what a cmdlet sets is what a mail client finds.


@pytest.fixture
def wired(standin: Standin) -> Iterator[tuple[Standin, Shell]]:
    yield standin, Shell(standin.directory)
    (standin.directory / "management.jsonl").unlink()


def recipient(dialogue: Dialogue) -> str:
    dialogue.say("EHLO client.example.net")
    dialogue.say("MAIL FROM:<a@example.net>")
    return dialogue.say("RCPT TO:<b@example.org>")


def test_a_relay_connector_relays_and_without_its_right_no_more(
    wired: tuple[Standin, Shell], raw: Callable[..., Dialogue]
) -> None:
    standin, shell = wired
    assert recipient(raw(25)).startswith("550 5.7.54")
    relay(shell, Bindings=f"127.0.0.1:{standin.ports[25]}", RemoteIPRanges="127.0.0.1", Banner="220 relay")
    dialogue = raw(25)
    assert dialogue.banner == "220 relay"
    assert recipient(dialogue).startswith("550 5.7.54")
    shell("Add-ADPermission", Identity="EX1\\Relay", User=ANONYMOUS, ExtendedRights=RELAY)
    assert recipient(raw(25)).startswith("250")
    shell("Remove-ADPermission", Identity="EX1\\Relay", User=ANONYMOUS, ExtendedRights=RELAY)
    assert recipient(raw(25)).startswith("550 5.7.54")
    shell("Remove-ReceiveConnector", Identity="EX1\\Relay")
    assert raw(25).banner != "220 relay"


def test_transport_goes_on_as_before_for_a_while(
    wired: tuple[Standin, Shell], raw: Callable[..., Dialogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    standin, shell = wired
    standin.set("Standin.InForce", {"Delay": 300})
    relay(shell, Bindings=f"127.0.0.1:{standin.ports[25]}", RemoteIPRanges="127.0.0.1", Banner="220 relay")
    assert shell.one("Get-ReceiveConnector", Identity="EX1\\Relay")["Banner"] == "220 relay"
    shell("Add-ADPermission", Identity="EX1\\Relay", User=ANONYMOUS, ExtendedRights=RELAY)
    assert raw(25).banner != "220 relay"
    now = time.time
    # Nobody changes anything, and the time comes.
    monkeypatch.setattr(time, "time", lambda: now() + 400)
    # Not asked by SMTP, since a client may have only so many connections.
    assert within(LONG, lambda: "Relay" in {connector.Name for connector in standin.server.state().connectors})
    assert raw(25).banner == "220 relay"
    assert recipient(raw(25)).startswith("250")
    # What whoever edits the file says is in force at once.
    shell("Set-ReceiveConnector", Identity="EX1\\Relay", Banner="220 later")
    assert raw(25).banner == "220 relay"
    standin.set("ReceiveConnector[Relay].Banner", "220 now")
    assert raw(25).banner == "220 now"


def test_a_stopped_service_listens_no_more(wired: tuple[Standin, Shell], raw: Callable[..., Dialogue]) -> None:
    _, shell = wired
    shell("Stop-Service", Name="MSExchangeFrontEndTransport")
    with pytest.raises(ConnectionRefusedError):
        raw(25)
    shell("Start-Service", Name="MSExchangeFrontEndTransport")
    assert raw(25).banner.startswith("220")


def test_settings_of_a_connector_are_what_a_client_meets(
    wired: tuple[Standin, Shell], raw: Callable[..., Dialogue]
) -> None:
    _, shell = wired
    told = {"Identity": "EX1\\Default Frontend EX1"}
    shell("Set-ReceiveConnector", **told, MaxMessageSize="7 MB", ChunkingEnabled=False, MaxRecipientsPerMessage=1)
    dialogue = raw(25)
    features = dialogue.say("EHLO client.example.net")
    assert "SIZE 7340032" in features
    assert "CHUNKING" not in features
    dialogue.say("MAIL FROM:<a@example.net>")
    assert dialogue.say("RCPT TO:<anna@example.test>").startswith("250")
    assert dialogue.say("RCPT TO:<berta@example.test>").startswith("452")
    shell("Set-ReceiveConnector", **told, PermissionGroups="ExchangeServers")
    dialogue = raw(25)
    dialogue.say("EHLO client.example.net")
    assert dialogue.say("MAIL FROM:<a@example.net>").startswith("530 5.7.57")


ADDRESSES = [f"127.0.0.{number}" for number in range(1, 9)]
RANGES = st.one_of(
    st.sampled_from(ADDRESSES),
    st.integers(26, 31).map(lambda length: f"127.0.0.0/{length}"),
    st.tuples(st.integers(1, 8), st.integers(0, 3)).map(lambda p: f"127.0.0.{p[0]}-127.0.0.{p[0] + p[1]}"),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(RANGES, st.booleans(), st.booleans()), min_size=1, max_size=4), st.sampled_from(ADDRESSES))
def test_what_the_cmdlets_took_is_what_the_server_does(
    wired: tuple[Standin, Shell], connectors: list[tuple[str, bool, bool]], client: str
) -> None:
    """Whatever set of connectors Exchange lets be made: the client gets one of them, its banner and its rights."""
    standin, shell = wired
    standin.reset()
    standin.set("ADPermission", [])
    made = {}
    for number, (remote, relays, enabled) in enumerate(connectors):
        name = f"C{number}"
        told = {"Name": name, "Bindings": f"127.0.0.1:{standin.ports[25]}", "RemoteIPRanges": remote}
        told |= {"Banner": f"220 {name}"}
        answer = shell.ask(
            "New-ReceiveConnector",
            **told,
            Usage="Custom",
            TransportRole="FrontendTransport",
            PermissionGroups="AnonymousUsers",
            Enabled=enabled,
        )
        if "Error" in answer:
            assert answer["Error"]["Type"] == "ConnectorMappingConflictException"
            continue
        made[name] = relays
        if relays:
            shell("Add-ADPermission", Identity=f"EX1\\{name}", User=ANONYMOUS, ExtendedRights=RELAY)
    shown = {c["Name"]: c for c in shell("Get-ReceiveConnector")}
    winner = choose(
        load(store.read(standin.directory)).connectors,
        ipaddress.ip_address("127.0.0.1"),
        standin.ports[25],
        ipaddress.ip_address(client),
    )
    assert winner is not None
    dialogue = Dialogue(standin.ports[25], client)
    try:
        if winner.Name in made:
            assert dialogue.banner == shown[winner.Name]["Banner"]
        answer_text = recipient(dialogue)
        assert answer_text.startswith("250" if made.get(winner.Name) else "550 5.7.54"), answer_text
        assert ("Custom" in shown[winner.Name]["PermissionGroups"]) == made.get(winner.Name, False)
    finally:
        dialogue.close()


# Domain controllers ------------------------------------------------------------------------------


def test_what_one_controller_was_told_the_other_learns_later(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shell.management.directory / "state.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"Standin": {"Replication": {"Lag": 30}}}))
    first, second = (str(shell.one("Get-ExchangeServer")["OriginatingServer"]), "dc2.example.test")
    assert first == "dc1.example.test"
    relay(shell, DomainController=first)
    assert shell("Get-ReceiveConnector", Identity="EX1\\Relay", DomainController=first)
    problem = shell.refused("Get-ReceiveConnector", Identity="EX1\\Relay", DomainController=second)
    assert "couldn't be found on 'dc2.example.test'" in problem["Message"]
    # The next session has the other one, unless it says which.
    later = Shell(shell.management.directory)
    assert str(later.one("Get-ExchangeServer")["OriginatingServer"]) == second
    assert later.refused("Get-ReceiveConnector", Identity="EX1\\Relay")
    now = time.time()
    monkeypatch.setattr("standin.controllers.time.time", lambda: now + 60)
    assert later("Get-ReceiveConnector", Identity="EX1\\Relay")
    assert "isn't available" in shell.refused("Get-ExchangeServer", DomainController="dc9.example.test")["Message"]


# What the organization has once


def test_every_server_shows_what_the_organization_has(two: Shell, tmp_path: Path) -> None:
    two("Set-TransportConfig", MaxReceiveSize="50MB", InternalSMTPServers={"Add": "10.1.1.11"})
    two("Set-OrganizationConfig", MapiHttpEnabled=False)
    two("Set-OutlookProvider", Identity="expr", CertPrincipalName="msstd:*.example.test")
    other = Shell(tmp_path / "ex2", tmp_path)
    for shell in (two, other):
        shown = shell.one("Get-TransportConfig")
        assert (shown["MaxReceiveSize"], shown["MaxSendSize"]) == (
            "50 MB (52,428,800 bytes)",
            "10 MB (10,485,760 bytes)",
        )
        assert shown["InternalSMTPServers"] == ["10.1.1.11"]
        assert shell.one("Get-OrganizationConfig")["MapiHttpEnabled"] is False
        providers = {one["Name"]: one["CertPrincipalName"] for one in shell("Get-OutlookProvider")}
        assert providers == {"EXCH": None, "EXPR": "msstd:*.example.test", "WEB": None}


def test_what_the_help_bounds_is_bounded(shell: Shell) -> None:
    for cmdlet, parameters in (
        ("Set-TransportConfig", {"ShadowHeartbeatRetryCount": 16}),
        ("Set-OrganizationConfig", {"SCLJunkThreshold": 10}),
        ("Set-ImapSettings", {"MaxCommandSize": 1023}),
        ("Set-PopSettings", {"AuthenticatedConnectionTimeout": "00:00:29"}),
        ("Set-TransportService", {"Identity": "EX1", "MessageExpirationTimeout": "91.00:00:00"}),
        ("Set-ReceiveConnector", {"Identity": "EX1\\Default EX1", "MaxMessageSize": "63KB"}),
    ):
        assert "is out of its range from" in shell.refused(cmdlet, **parameters)["Message"]


def test_a_provider_is_there_or_not(shell: Shell) -> None:
    assert "couldn't be found" in shell.refused("Set-OutlookProvider", Identity="EXPT", TTL=2)["Message"]
    shell("Set-OutlookProvider", Identity="EXCH", TTL=1)
    assert "no settings of 'EXCH' have been modified" in shell.warnings[0]
