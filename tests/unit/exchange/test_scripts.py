"""The scripts themselves, under PowerShell: held to 5.1, no value becomes script, and each answer is one document."""

from __future__ import annotations

import base64
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from organisation import ANONYMOUS, RELAY, VERSIONS, relay_connector
from shell import Action, Windows, over_powershell

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange import scripts
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.questions import standard_input
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.refusals import Refused
from powershell import find_or_skip

FOLDER = Path(scripts.__file__).parent
HOSTILE = "a\"'`$(New-Item {0})$env:PATH;New-Item {0};#\\{{\u2603}}"


@pytest.fixture
def windows(tmp_path: Path) -> Windows:
    return Windows(tmp_path)


def test_all_scripts_are_held_to_5_1() -> None:
    files = sorted(FOLDER.glob("*.ps1"))
    assert {file.name for file in files} == {scripts.BOOTSTRAP, *scripts.SCRIPTS}
    done = subprocess.run(
        [str(find_or_skip()), *map(str, files)],
        env={**os.environ, "POWERSHELL_CHECK": "1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_scripts_are_plain_ascii_and_the_one_on_the_command_line_is_short() -> None:
    for name in (scripts.BOOTSTRAP, *scripts.SCRIPTS):
        assert scripts.read(name).isascii()
    # Windows ends a command line at 32,767 characters, of which a script takes 8/3 a character.
    assert len(scripts.read(scripts.BOOTSTRAP)) < 2000


def test_no_script_makes_script_of_text() -> None:
    text = "".join(scripts.read(name) for name in scripts.SCRIPTS)
    assert not re.search(r"(?i)invoke-expression|\biex\b|scriptblock\]|\bAddScript\b|(?<!Get)-Command ", text)
    assert scripts.read(scripts.BOOTSTRAP).count("[scriptblock]::Create($script)") == 1


def test_a_cmdlet_is_called_by_the_name_that_the_session_has(windows: Windows) -> None:
    about = {**windows.state["server"], "AdminDisplayVersion": VERSIONS["2013"]}
    windows.write({**windows.state, "server": about})
    properties = {"AutoDiscoverServiceInternalUri": "https://mail.example.com/Autodiscover/Autodiscover.xml"}
    action = Action(over_powershell(windows), check_mode=True)
    result = action.configure(client_access_service={"properties": properties})
    assert result["operations"] == ["client access service of EX1 has its AutoDiscoverServiceInternalUri"]
    assert {"command": "Get-ClientAccessServer", "Identity": "EX1"} in windows.calls


def test_a_relay_connector_is_made_confirmed_and_left_alone(windows: Windows) -> None:
    action = Action(over_powershell(windows))
    desired = relay_connector("10.0.0.25", name="Drucker f\u00fcr alle")
    result = action.configure(receive_connectors=[desired])
    assert result["changed"]
    assert len(action.calls) == 3
    made = windows.state["connectors"][-1]
    assert made["Identity"] == "EX1\\Drucker f\u00fcr alle"
    assert made["RemoteIPRanges"] == ["10.0.0.25"]
    (right,) = windows.state["permissions"]
    assert right["Identity"] == made["DistinguishedName"]
    assert (right["User"], right["ExtendedRights"]) == (ANONYMOUS, [RELAY])

    again = Action(over_powershell(windows))
    result = again.configure(receive_connectors=[desired])
    assert not result["changed"]
    assert "diff" not in result
    assert len(again.calls) == 1
    assert result["back_pressure"] == "Low"


def test_check_mode_says_the_same_and_does_nothing(windows: Windows) -> None:
    before = windows.state
    checked = Action(over_powershell(windows), check_mode=True).configure(
        receive_connectors=[relay_connector("10.0.0.25")]
    )
    assert windows.state == before
    assert not [call for call in windows.calls if not call["command"].startswith("Get-")]
    done = Action(over_powershell(windows)).configure(receive_connectors=[relay_connector("10.0.0.25")])
    assert checked == done


def test_a_hostile_value_is_a_value_and_nothing_else(windows: Windows, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    hostile = HOSTILE.format(trap)
    desired = relay_connector("10.0.0.25", name=hostile.replace("\\", "")[:64])
    desired["properties"]["Comment"] = hostile + "\n" + hostile
    desired["extended_rights"][0]["user"] = hostile
    windows.write({**windows.state, "accounts": [{"sid": "S-1-5-21-1-2-3-1107", "name": hostile}]})
    Action(over_powershell(windows)).configure(receive_connectors=[desired])
    made = windows.state["connectors"][-1]
    assert made["Name"] == hostile.replace("\\", "")[:64]
    assert made["Comment"].startswith(hostile + "\n" + hostile)
    assert windows.state["permissions"][0]["User"] == hostile
    assert not trap.exists()


def test_an_operation_that_fails_is_told_with_what_was_done_and_the_next_run_goes_on(windows: Windows) -> None:
    windows.write({**windows.state, "fails": ["Add-ADPermission"]})
    with pytest.raises(Refused) as refused:
        Action(over_powershell(windows)).configure(receive_connectors=[relay_connector("10.0.0.25")])
    first, rest = refused.value.sentences
    assert first == (
        f"EX1 refused Add-ADPermission ({RELAY} is granted to {ANONYMOUS} on receive connector EX1\\Relay): The "
        'operation couldn\'t be performed because of "Add-ADPermission". Try again.'
    )
    relay = "receive connector EX1\\Relay"
    assert rest.startswith(f"Done before that: {relay} is created. Not done: {relay} is on.")
    windows.write({**windows.state, "fails": []})
    result = Action(over_powershell(windows)).configure(receive_connectors=[relay_connector("10.0.0.25")])
    assert [call["command"] for call in windows.calls][-1].startswith("Get-")
    assert result["operations"] == [
        f"{RELAY} is granted to {ANONYMOUS} on receive connector EX1\\Relay",
        "receive connector EX1\\Relay has its Comment and Enabled",
    ]


def test_a_server_that_changed_in_between_is_left_alone(windows: Windows) -> None:
    call = over_powershell(windows)

    def meddled(arguments: dict[str, Any]) -> dict[str, Any]:
        done: dict[str, Any] = call(arguments)
        state = windows.state
        state["connectors"][2]["RemoteIPRanges"].append("10.9.9.9")
        windows.write(state)
        return done

    with pytest.raises(Refused, match="changed by somebody else after it was read; nothing was changed here"):
        Action(meddled).configure(receive_connectors=[relay_connector("10.0.0.25")])
    assert len(windows.state["connectors"]) == 5


def test_a_command_that_is_not_on_the_list_is_not_run(windows: Windows) -> None:
    data = {
        "mode": "read",
        "server": "EX1",
        "session": "present",
        "accounts": [],
        "controller": "",
        "queries": [
            {
                "name": "x",
                "command": "Get-ChildItem",
                "former": "Get-ChildItem",
                "parameters": {},
                "server_parameter": "",
                "properties": ["Name"],
                "each": "",
                "volatile": False,
            }
        ],
    }
    sent = [scripts.read(name) for name in scripts.SCRIPTS]
    done = windows.run(scripts.read(scripts.BOOTSTRAP), standard_input(sent, data))
    assert "The command Get-ChildItem is not one that this program runs." in done.stdout


def test_a_secret_reaches_a_command_as_a_secure_string_and_is_no_commands_parameter(windows: Windows) -> None:
    """Windows' module log has the parameters of every command: none may hold the secret."""
    engine = scripts.read("engine.ps1").rpartition("function Invoke-ExchangeConfiguration")[0]
    spy = """
        function Invoke-ExchangeConfiguration {
            param($Data)
            $table = ConvertTo-ParameterTable $Data.parameters
            $password = $table['Password']
            $text = (New-Object Net.NetworkCredential '', $password).Password
            [Console]::Out.Write($password.GetType().Name + ' ' + $text)
        }
    """
    secret = 'pa$$"w\u00f6rd'
    data = {"parameters": {"Password": {"secret": 1}}}
    sent = standard_input([engine, spy], data, ["another", secret])
    # What is on the first line is all that a command reads, and every script is in it.
    assert secret not in sent
    done = windows.run(scripts.read(scripts.BOOTSTRAP), sent)
    assert done.stdout == f"SecureString {secret}", done.stderr
    texts = scripts.read(scripts.BOOTSTRAP) + "".join(map(scripts.read, scripts.SCRIPTS))
    assert not re.search(r"ConvertTo-SecureString|-AsPlainText|\$secret\b[^.]*\|", texts)


# Every command that is called from here on is noted with what it is given, as Windows' module logging does it.
LOGGING = """
    $log = 'LOG'
    $ExecutionContext.InvokeCommand.PostCommandLookupAction = {
        param($name, $found)
        $command = $found.Command
        if ($null -eq $command -or $command.Source -eq 'FakeExchange') { return }
        $found.CommandScriptBlock = {
            $texts = foreach ($item in $args) {
                if ($item -is [Collections.IDictionary]) { @($item.Keys) + @($item.Values) } else { $item }
            }
            [IO.File]::AppendAllText($log, $command.Name + ' ' + (@($texts) -join ' ') + "`n")
            & $command @args
        }.GetNewClosure()
    }
"""


@pytest.mark.parametrize("leak", [False, True])
def test_no_command_is_given_a_secret_in_plain_text(windows: Windows, leak: bool, tmp_path: Path) -> None:
    log = tmp_path / "log"
    secret = "Anna's pa$$word"
    engine = scripts.read("engine.ps1").rpartition("function Invoke-ExchangeConfiguration")[0]
    use = "$null = Get-Random -InputObject $text" if leak else "$null = Get-Random -InputObject $table['Password']"
    spy = (
        "function Invoke-ExchangeConfiguration { param($Data); $table = ConvertTo-ParameterTable $Data.parameters\n"
        "$text = (New-Object Net.NetworkCredential '', $table['Password']).Password\n"
        f"{use}\n[Console]::Out.Write('used') }}"
    )
    sent = standard_input([engine, spy], {"parameters": {"Password": {"secret": 0}}}, [secret])
    done = windows.run(LOGGING.replace("LOG", str(log)) + scripts.read(scripts.BOOTSTRAP), sent)
    assert done.stdout == "used", done.stderr
    noted = log.read_text()
    assert "ConvertFrom-Json" in noted
    encoded = base64.b64encode(secret.encode()).decode()
    assert (secret in noted or encoded in noted) == leak
    # What the scripts' own text says is in the other log.
    assert secret not in sent.partition("\n")[0]


def test_firewall_rules_are_found_by_port_with_their_programs(windows: Windows) -> None:
    result = Action(over_powershell(windows), check_mode=True).configure(edge_traversal_ports=[143, 993])
    assert result["operations"] == [
        "firewall rule imap (Regel imap) allows edge traversal",
        "firewall rule imap-any (Regel imap-any) allows edge traversal",
    ]


@pytest.mark.parametrize(
    ("state", "server", "session", "sentence"),
    [
        (
            {"fails": ["Get-ExchangeServer"]},
            "EX1",
            "present",
            "EX1 isn't an Exchange server, or doesn't let the account",
        ),
        (
            {"fails": ["Get-ReceiveConnector"]},
            "EX1",
            "present",
            "Get-ReceiveConnector can't be read on EX1: The operation",
        ),
        ({}, "ex1.example.com", "remote", "No Exchange session opens on ex1.example.com in the way 'remote'"),
        ({}, "ex1.example.com", "management_shell", "The Exchange management shell is not installed"),
        ({}, "a b;c", "remote", "That is not the name of a server"),
    ],
)
def test_what_cannot_be_reached_is_told(
    tmp_path: Path, state: dict[str, Any], server: str, session: str, sentence: str
) -> None:
    windows = Windows(tmp_path, **state)
    before = windows.state
    with pytest.raises(Refused) as refused:
        Action(over_powershell(windows)).configure(
            server=server, session=session, receive_connectors=[relay_connector("10.0.0.25")]
        )
    assert sentence in str(refused.value)
    assert windows.state == before


def test_a_command_that_the_account_may_not_run_is_named(windows: Windows) -> None:
    with pytest.raises(Refused, match="Get-ImapSettings can't be read on EX1: the account has no right to run"):
        Action(over_powershell(windows)).configure(imap={"properties": {"LoginType": "SecureLogin"}})
