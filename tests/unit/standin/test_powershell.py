"""The stand-in as a script for a real server meets it: sessions, binding, objects, errors."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from standin_powershell import HERE, environment, result, run

from powershell import find_or_skip
from standin import clixml, published, store
from standin.fresh import fresh

OPEN = """
$ErrorActionPreference = 'Stop'
$session = New-PSSession -ConfigurationName Microsoft.Exchange -Authentication Kerberos `
    -ConnectionUri http://ex1.example.test/PowerShell/
$null = Import-PSSession $session -DisableNameChecking -AllowClobber
function Get-Problem { param([scriptblock] $Script)
    try { $null = & $Script; 'none' } catch { "$($_.FullyQualifiedErrorId) $($_.Exception.GetType().Name): $_" } }
"""


@pytest.fixture
def server(tmp_path: Path) -> Path:
    for name in ("EX1", "EX2"):
        directory = tmp_path / name.lower()
        directory.mkdir()
        document = fresh(name, f"{name.lower()}.example.test", ["example.test"], {}, "2019", ["10.1.1.21/24"])
        (directory / "state.json").write_text(json.dumps(document))
    return tmp_path / "ex1"


def managed(server: Path, kind: str) -> list[dict[str, Any]]:
    lines = (server / "management.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["kind"] == kind]


def test_an_imported_session(server: Path) -> None:
    found = result(
        server,
        OPEN
        + """
    $name = 'EX1'
    $c = Get-ReceiveConnector 'EX1\\Default Frontend EX1'
    $null = New-ReceiveConnector -Name 'Relay ä $(1)' -Usage Custom -TransportRole FrontendTransport `
        -Bindings 0.0.0.0:25 -RemoteIPRanges 10.1.1.111, 10.1.1.112
    Get-ReceiveConnector 'EX1\\Relay ä $(1)' | Set-ReceiveConnector -MaxMessageSize 25MB -ProtocolLoggingLevel Verbose `
        -RemoteIPRanges @{Add = '10.2.0.0/16'; Remove = '10.1.1.112'} -TarpitInterval ([timespan]'00:00:10')
    $r = Get-ReceiveConnector 'EX1\\Relay ä $(1)'
    $result = [ordered]@{
        Type = $c.PSObject.TypeNames[0]; List = $c.Bindings.GetType().Name; Groups = $c.PermissionGroups.GetType().Name
        Guid = $c.Guid.GetType().Name; Computer = $c.PSComputerName; Nothing = $null -eq $c.DefaultDomain
        Ranges = @($r.RemoteIPRanges); Size = $r.MaxMessageSize; Tarpit = $r.TarpitInterval; Name = $r.Name
        Servers = @(Get-ExchangeServer | ForEach-Object { $_.Name })
        Inside = (Invoke-Command -Session $session { Get-ImapSettings -Server $using:name }).Identity
        Given = (Invoke-Command -Session $session { param($s) Get-PopSettings -Server $s } -ArgumentList EX2).Server
    }
    Remove-PSSession $session
    """,
    )
    assert found["Type"] == "Deserialized.Microsoft.Exchange.Data.Directory.SystemConfiguration.ReceiveConnector"
    assert (found["List"], found["Groups"], found["Guid"]) == ("ArrayList", "String", "Guid")
    assert found["Computer"] == "ex1.example.test"
    assert found["Nothing"] is True
    assert found["Ranges"] == ["10.1.1.111", "10.2.0.0/16"]
    assert (found["Size"], found["Tarpit"]) == ("25 MB (26,214,400 bytes)", "00:00:10")
    assert found["Name"] == "Relay ä $(1)"
    assert found["Servers"] == ["EX1", "EX2"]
    assert (found["Inside"], found["Given"]) == ("EX1\\1", "EX2")
    assert [event["open"] for event in managed(server, "session_opened")] == [1]
    assert [event["open"] for event in managed(server, "session_closed")] == [0]


def test_what_binding_refuses_and_what_exchange_refuses(server: Path) -> None:
    found = result(
        server,
        OPEN
        + """
    $result = [ordered]@{
        Unknown = Get-Problem { Set-ReceiveConnector 'EX1\\Default EX1' -Baner x }
        Value = Get-Problem { Set-ReceiveConnector 'EX1\\Default EX1' -AuthMechanism Foo }
        Missing = Get-Problem { Set-ReceiveConnector -Banner x }
        Gone = Get-Problem { Set-ReceiveConnector 'EX1\\Gone' -Banner '220 x' -ErrorAction Stop }
        Fqdn = Get-Problem { Set-ReceiveConnector 'EX1\\Default EX1' -Fqdn mail.example.test -ErrorAction Stop }
        Asked = Get-Problem { Remove-ReceiveConnector 'EX1\\Default EX1' }
        Online = Get-Problem { Get-AcceptedDomain -ResultSize 5 }
        Script = Get-Problem { Invoke-Command -Session $session { $x = 1; Get-ExchangeServer } -ErrorAction Stop }
        Service = Get-Problem { Get-Service Nope -ErrorAction Stop }
        Number = (Get-Service MSExchangeTransport | Select-Object Status | ConvertTo-Json -Compress)
    }
    """,
    )
    assert found["Unknown"].startswith("NamedParameterNotFound,Set-ReceiveConnector ParameterBindingException:")
    assert found["Value"].startswith("ParameterArgumentTransformationError,Set-ReceiveConnector ")
    assert found["Missing"].startswith("MissingMandatoryParameter,Set-ReceiveConnector ")
    assert re.match(
        r"\[Server=EX1,RequestId=[-0-9a-f]{36},TimeStamp=.*\] "
        r"\[FailureCategory=Cmdlet-ManagementObjectNotFoundException\] [0-9A-F]+,Set-ReceiveConnector RemoteException: "
        r"The operation couldn't be performed because object 'EX1\\Gone' couldn't be found on 'dc1.example.test'.",
        found["Gone"],
    )
    assert 'the NetBIOS name of the transport server "EX1", or $null.' in found["Fqdn"]
    assert "NonInteractive" in found["Asked"]
    assert found["Online"].startswith("NamedParameterNotFound,")
    assert found["Script"].startswith("ScriptsNotAllowed,")
    assert found["Service"].startswith("NoServiceFoundForGivenName,Microsoft.PowerShell.Commands.GetServiceCommand")
    assert found["Number"] == '{"Status":4}'
    assert len(store.read(server)["ReceiveConnector"]) == 5
    # The script ended without closing its session, and that is on record.
    assert len(managed(server, "session_lost")) == 1


def test_the_management_shell_greets_on_the_output(server: Path) -> None:
    done = run(
        server,
        """
        . "$env:ExchangeInstallPath\\bin\\RemoteExchange.ps1"
        Connect-ExchangeServer -auto -ClientApplication:ManagementShell
        (Get-ExchangeServer EX2).Fqdn
        """,
    )
    assert "Welcome to the Exchange Management Shell!" in done.stdout
    assert done.stdout.splitlines()[-1] == "ex2.example.test"
    assert [event["way"] for event in managed(server, "session_opened")] == ["shell"]


def test_the_snap_in_gives_live_objects(server: Path) -> None:
    found = result(
        server,
        """
        Add-PSSnapin Microsoft.Exchange.Management.PowerShell.SnapIn
        $result = @((Get-ExchangeServer EX1).PSObject.Properties['PSComputerName'], (Get-ImapSettings).LoginType)
        """,
    )
    assert found == [None, "SecureLogin"]


def test_faults_reach_the_script(server: Path) -> None:
    document = store.read(server)
    document["Standin"]["Faults"] = {
        "MissingCmdlets": ["New-ReceiveConnector"],
        "Cmdlets": [
            {"Cmdlet": "Get-ImapSettings", "Noise": ["Please wait…"]},
            {"Cmdlet": "Get-PopSettings", "Message": "The server is busy."},
            {"Cmdlet": "Get-TransportService", "Die": True},
        ],
    }
    store.replace(server, document)
    done = run(
        server,
        OPEN
        + """
        $null = Get-ImapSettings
        Get-Problem { New-ReceiveConnector -Name x }
        Get-Problem { Get-PopSettings -ErrorAction Stop }
        Get-TransportService
        'never'
        """,
    )
    assert done.returncode != 0
    lines = done.stdout.splitlines()
    assert lines[0] == "Please wait…"
    assert lines[1].startswith("CommandNotFoundException ")
    assert [line for line in lines if line.endswith("RemoteException: The server is busy.")]
    assert "never" not in done.stdout
    document["Standin"]["Faults"] = {"SessionRefused": "Access is denied."}
    store.replace(server, document)
    done = run(server, OPEN)
    assert done.returncode == 1
    assert (
        "[ex1.example.test] Connecting to remote server ex1.example.test failed with the following error" in done.stderr
    )
    assert "Access is denied." in done.stderr


def test_windows_cmdlets_come_by_themselves(server: Path) -> None:
    found = result(
        server,
        """
        $ErrorActionPreference = 'Stop'
        netsh interface ipv4 set interface 7 weakhostreceive=enabled | Out-Null
        $code = $LASTEXITCODE
        netsh interface ipv4 set interface 99 weakhostreceive=enabled | Out-Null
        $i = Get-NetAdapter Ethernet | Get-NetIPInterface -AddressFamily IPv4
        Set-NetIPInterface -InterfaceIndex 7 -AddressFamily IPv4 -InterfaceMetric 254
        $null = New-NetIPAddress -InterfaceIndex 7 -IPAddress 10.9.9.9 -PrefixLength 32 -SkipAsSource $true
        Disable-NetAdapterBinding -Name Ethernet -ComponentID ms_server, ms_tcpip6
        Set-DnsClient -InterfaceIndex 7 -RegisterThisConnectionsAddress $false
        $c = Get-CimInstance Win32_NetworkAdapterConfiguration -Filter 'InterfaceIndex = 7'
        $set = Invoke-CimMethod -InputObject $c -MethodName SetTcpipNetbios -Arguments @{
            TcpipNetbiosOptions = [uint32]2
        }
        $after = Get-CimInstance Win32_NetworkAdapterConfiguration -Filter 'InterfaceIndex=7'
        $v4 = Get-NetIPInterface -InterfaceIndex 7 -AddressFamily IPv4
        Get-NetFirewallPortFilter | Where-Object { $_.LocalPort -contains '143' } | Get-NetFirewallRule |
            Set-NetFirewallRule -EdgeTraversalPolicy Allow
        $result = [ordered]@{
            Codes = @($code, $LASTEXITCODE)
            Text = "$($i.WeakHostReceive) $($i.AddressFamily) $($i.InterfaceMetric.GetType().Name)"
            Equal = $i.WeakHostReceive -eq 'Enabled'
            Json = $i | Select-Object WeakHostReceive | ConvertTo-Json -Compress
            Metric = "$($v4.InterfaceMetric) $($v4.AutomaticMetric)"
            Skip = (Get-NetIPAddress 10.9.9.9).SkipAsSource
            Bound = @(Get-NetAdapterBinding Ethernet | Where-Object Enabled | ForEach-Object ComponentID)
            Dns = (Get-DnsClient -InterfaceIndex 7).RegisterThisConnectionsAddress
            NetBios = @($set.ReturnValue, $after.TcpipNetbiosOptions)
            Edge = @(Get-NetFirewallRule -EdgeTraversalPolicy Allow | ForEach-Object DisplayName)
        }
        try { Get-NetAdapter Nope } catch { $result['Missing'] = $_.FullyQualifiedErrorId }
        try { Set-NetIPInterface -InterfaceIndex 7 -WeakHostSend Maybe }
        catch { $result['Value'] = $_.FullyQualifiedErrorId }
        """,
    )
    assert found == {
        "Codes": [0, 1],
        "Text": "Enabled IPv4 UInt32",
        "Equal": True,
        "Json": '{"WeakHostReceive":1}',
        "Metric": "254 Disabled",
        "Skip": True,
        "Bound": ["ms_msclient", "ms_pacer", "ms_tcpip", "ms_lldp", "ms_lltdio", "ms_rspndr"],
        "Dns": False,
        "NetBios": [0, 2],
        "Edge": ["MSExchangeIMAP4 (TCP-In)", "MSExchangeIMAP4 (GFW) (TCP-In)"],
        "Missing": "CmdletizationQuery_NotFound_Name,Get-NetAdapter",
        "Value": "ParameterArgumentTransformationError,Set-NetIPInterface",
    }


def test_every_script_is_held_to_5_1(tmp_path: Path) -> None:
    """Those of the modules, and the functions that are made of the published parameters."""
    scripts = [*HERE.glob("powershell/**/*.ps*1")]
    made = {
        "windows": published.module(published.of_windows()),
        **{
            version: published.module(published.of_exchange(version), version)
            for version in ("2013", "2016", "2019", "SE")
        },
    }
    for name, text in made.items():
        path = tmp_path / f"{name}.psm1"
        path.write_text(text)
        scripts.append(path)
    assert len(scripts) == 9
    done = subprocess.run(
        [str(find_or_skip()), *scripts],
        capture_output=True,
        text=True,
        check=False,
        env={**environment(tmp_path), "POWERSHELL_CHECK": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


# win_shell

WIN_SHELL = HERE / "collections/ansible_collections/ansible/windows/plugins/modules/win_shell.py"


def win_shell(server: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module as Ansible's own runner starts it: arguments on standard input, a result on standard output."""
    wrapper = server.parent / "bin"
    wrapper.mkdir(exist_ok=True)
    link = wrapper / "powershell"
    if not link.exists():
        link.symlink_to(HERE / "powershell" / "powershell")
    variables = environment(server)
    done = subprocess.run(
        [sys.executable, WIN_SHELL],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        capture_output=True,
        text=True,
        check=False,
        env={**variables, "PATH": f"{wrapper}:{variables['PATH']}"},
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_win_shell_runs_a_script_with_standard_input(server: Path) -> None:
    script = "$text = [Console]::In.ReadToEnd()\n[Console]::Out.Write(\"read $text`n\")\nWrite-Error 'only said'\n'end'"
    found = win_shell(server, {"_raw_params": script, "stdin": "grüße"})
    assert found["changed"] is True
    assert found["cmd"] == script
    assert found["stdout"].startswith("read grüße\r\n")
    assert found["rc"] == 0
    assert "only said" in found["stderr"]
    assert found["invocation"]["module_args"]["stdin"] == "grüße"
    assert re.fullmatch(r"\d:\d\d:\d\d\.\d{6}", found["delta"])


def test_win_shell_fails_by_the_exit_status(server: Path) -> None:
    found = win_shell(server, {"cmd": "exit 3", "_ansible_no_log": True})
    assert (found["rc"], found["failed"], found["msg"]) == (3, True, "non-zero return code")
    assert "invocation" not in found


def test_win_shell_takes_no_longer_script_than_windows_does(server: Path) -> None:
    def length(script: str) -> int:
        return len(base64.b64encode(script.encode("utf-16-le")))

    assert win_shell(server, {"_raw_params": "#" * 11900})["rc"] == 0
    found = win_shell(server, {"_raw_params": "#" * 12300})
    assert (found["rc"], found["changed"]) == (206, False)
    assert "filename or extension is too long" in found["msg"]
    assert length("#" * 12300) > 32767


def test_win_shell_is_not_run_in_check_mode(server: Path) -> None:
    found = win_shell(server, {"_raw_params": "exit 3", "_ansible_check_mode": True})
    assert found["skipped"] is True
    assert "check mode" in found["msg"]
    assert not (server / "management.jsonl").exists()


# The form on the wire


def test_values_survive_the_wire(server: Path) -> None:
    hostile = "a'\"`$(1);\n\r\t_x000A_ ä 漢 😀 <&>"
    script = (
        "$v = [System.Management.Automation.PSSerializer]::Deserialize([Console]::In.ReadToEnd());"
        "$x = [System.Management.Automation.PSSerializer]::Serialize(@{ v = $v }, 5) -replace '\\r?\\n\\s*', '';"
        "[Console]::Out.Write($x)"
    )
    sent = {"text": hostile, "list": ["a", ""], "number": 5, "big": 2**40, "flag": True, "nothing": None}
    done = run(server, script, stdin=clixml.write(sent))
    back = clixml.read(done.stdout)["v"].properties
    assert back == sent


def test_accounts_have_the_names_of_the_systems_language(server: Path) -> None:
    document = json.loads((server / "state.json").read_text()) | {"Culture": {"Name": "de-DE"}}
    right = {"Identity": "EX1\\Default Frontend EX1", "User": "Everyone", "ExtendedRights": ["ms-Exch-SMTP-Submit"]}
    (server / "state.json").write_text(json.dumps(document | {"ADPermission": [right]}))
    found = result(
        server,
        OPEN
        + """
    function Get-Sid { param($Name) (New-Object Security.Principal.NTAccount $Name).Translate(
        [System.Security.Principal.SecurityIdentifier]).Value }
    $anonymous = New-Object Security.Principal.SecurityIdentifier 'S-1-5-7'
    $null = New-ReceiveConnector -Name New -Bindings 0.0.0.0:26 -RemoteIPRanges 10.1.1.1
    Set-ReceiveConnector 'EX1\\New' -MaxMessageSize 25MB
    $c = Get-ReceiveConnector 'EX1\\Default Frontend EX1'
    $english = try { Get-Sid 'Everyone' } catch { $_.Exception.GetBaseException().GetType().Name }
    $result = [ordered]@{
        Name = $anonymous.Translate([System.Security.Principal.NTAccount]).Value
        Sid = Get-Sid 'Jeder'; Group = Get-Sid 'EXAMPLE\\Exchange Servers'
        English = $english
        Users = @($c | Get-ADPermission | ForEach-Object { $_.User } | Sort-Object -Unique)
        Size = $c.MaxMessageSize; New = (Get-ReceiveConnector 'EX1\\New').MaxMessageSize
    }""",
    )
    assert found["Name"] == "NT-AUTORITÄT\\ANONYMOUS-ANMELDUNG"
    assert found["Sid"] == "S-1-1-0"
    assert found["Group"].startswith("S-1-5-21-")
    assert found["English"] == "IdentityNotMappedException"
    assert {"Jeder", "NT-AUTORITÄT\\ANONYMOUS-ANMELDUNG"} <= set(found["Users"])
    assert "Everyone" not in found["Users"]
    assert found["Size"] == "36 MB (37.748.736 bytes)"
    assert found["New"] == "25 MB (26.214.400 bytes)"


def test_a_session_brings_the_raw_data_of_certificates_and_nothing_else(server: Path) -> None:
    document = json.loads((server / "state.json").read_text())
    raw = base64.b64encode(b"a certificate").decode()
    document["ExchangeCertificate"] = [{"RawData": raw, "Services": "IMAP", "Thumbprint": "AA"}]
    (server / "state.json").write_text(json.dumps(document))
    found = result(
        server,
        OPEN
        + """
    $c = @(Get-ExchangeCertificate -Server EX1)[0]
    $names = @($c.PSObject.Properties | ForEach-Object { $_.Name })
    $result = @{ Type = $c.RawData.GetType().Name; Text = [Text.Encoding]::ASCII.GetString($c.RawData)
        Has = @($names | Where-Object { $_ -notlike '*PS*' -and $_ -ne 'RunspaceId' }) }
    """,
    )
    assert found == {"Type": "Byte[]", "Text": "a certificate", "Has": ["RawData"]}
