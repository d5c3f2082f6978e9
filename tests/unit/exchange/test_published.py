"""Whatever the tables and scripts can send is a published cmdlet with published parameters, in each version.

``published.json`` holds facts of the published help (Exchange, NetSecurity, NetTCPIP, NetAdapter, DnsClient):
each cmdlet's parameters with the versions that know them (none named: all that know the cmdlet).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from adapters import loopback
from organisation import Machine, fresh, planned, relay_connector

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange import scripts
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.concepts import VERSIONS, Kind
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.desired import read_desired
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.kinds import KINDS
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.questions import queries

PUBLISHED: dict[str, Any] = json.loads((Path(__file__).parent / "published.json").read_text())
# Windows PowerShell's own, and functions of windows.ps1.
OWN = {
    *("Get-Service", "Set-Service", "Start-Service", "Stop-Service"),
    *re.findall(r"^function (\w+-\w+)", scripts.read("windows.ps1"), re.MULTILINE),
}


def known(command: str, parameter: str, version: str) -> bool:
    entry = PUBLISHED[command]
    if version not in entry.get("versions", VERSIONS) or parameter not in entry["parameters"]:
        return False
    versions = entry["parameters"][parameter].split()
    return not versions or version in versions


def emitted(kind: Kind, version: str) -> Iterator[tuple[str, str]]:
    """Each cmdlet and parameter that a kind can send to a server of a version."""
    for call in kind.calls:
        yield from ((call.named(version), name) for name in (call.by, *dict(call.always)) if name)
    yield kind.set.named(version), "Confirm"
    if kind.new and kind.remove:
        yield from ((call.name, "Confirm") for call in (kind.new, kind.remove))
        yield kind.new.name, kind.key
    for entry in kind.properties:
        if VERSIONS.index(entry.since) <= VERSIONS.index(version):
            yield kind.set.named(version), entry.name
            if kind.new and entry.new:
                yield kind.new.name, entry.name


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.variable)
def test_kinds_send_what_is_published(kind: Kind, version: str) -> None:
    if VERSIONS.index(version) < VERSIONS.index(kind.since):
        return
    strangers = [pair for pair in emitted(kind, version) if not known(*pair, version)]
    assert strangers == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.variable)
def test_no_property_is_kept_from_a_version_that_has_it(kind: Kind, version: str) -> None:
    """Except for the one that the help lists for every version and describes for some."""
    withheld = [
        entry.name
        for entry in kind.properties
        if VERSIONS.index(entry.since) > VERSIONS.index(version)
        and known(kind.set.named(version), entry.name, version)
        and entry.name != "EnableGSSAPIAndNTLMAuth"
    ]
    assert withheld == []


@pytest.mark.parametrize("version", ["2013", "2016", "2019", "SE"])
def test_questions_and_operations_are_what_is_published(version: str) -> None:
    arguments: dict[str, Any] = {
        "receive_connectors": [relay_connector("10.0.0.25")],
        "imap": {"enabled": True, "properties": {"LoginType": "PlainTextLogin"}},
        "edge_traversal_ports": [143],
        "direct_return": {"addresses": ["203.0.113.10"]},
    }
    machine = Machine(fresh("EX1", version))
    machine.state["components"][1]["State"] = "Inactive"
    server = fresh("EX1", version)
    made = loopback("Direct server return", "203.0.113.9/32")
    sent = [(query["command"], name) for query in queries(read_desired(arguments)) for name in query["parameters"]]
    sent += [(query["command"], query["server_parameter"]) for query in queries(read_desired(arguments))]
    sent += [
        (operation.command, name)
        for plan in (
            planned(machine, **arguments),
            planned(
                Machine({**server, "interfaces": [*server["interfaces"], made]}), direct_return={"state": "absent"}
            ),
        )
        for operation in plan.operations
        for name in (*operation.parameters, *(["Identity"] if operation.connector else []))
    ]
    assert len({command for command, _ in sent}) > 8
    strangers = [
        (command, name) for command, name in sent if name and command not in OWN and not known(command, name, version)
    ]
    assert strangers == []


def test_every_command_of_the_tables_is_on_the_scripts_lists() -> None:
    engine = scripts.read("engine.ps1")
    lists = re.findall(r"^\$\w+Commands = @\((.*?)^\)", engine, re.MULTILINE | re.DOTALL)
    allowed = {name for part in lists for name in re.findall(r"'([A-Z]\w+-\w+)'", part)}
    assert len(lists) == 2
    needed = {name for kind in KINDS for call in kind.calls for name in call.names}
    assert needed <= allowed
    functions = set(re.findall(r"^function ([A-Z]\w+-\w+)", scripts.read("windows.ps1"), re.MULTILINE))
    assert allowed <= set(PUBLISHED) | OWN | functions


def called(script: str) -> Iterator[tuple[str, str]]:
    """Each published cmdlet and parameter in a script, those of splatted tables among them."""
    tables = {
        name: re.findall(r"(\w+) =", body) for name, body in re.findall(r"\$(\w+) = @\{(.+)\}$", script, re.MULTILINE)
    }
    for line in script.splitlines():
        for command, rest in re.findall(r"\b([A-Z]\w+-\w+)((?: +[-@$'\w.:]+)*)", line.partition("# ")[0]):
            if command in PUBLISHED:
                yield from ((command, name) for name in re.findall(r" -(\w+)", rest))
                yield from ((command, name) for table in re.findall(r" @(\w+)", rest) for name in tables[table])


def test_functions_call_published_cmdlets_with_published_parameters() -> None:
    pairs = set(called(scripts.read("windows.ps1")))
    assert {("Set-NetIPAddress", "SkipAsSource"), ("Rename-NetAdapter", "NewName")} <= pairs
    assert [pair for pair in sorted(pairs) if not known(*pair, "2019")] == []
    named = set(
        re.findall(r"\b(?:Get|Set|New|Remove|Rename|Enable|Disable)-(?:Net|Dns)\w+", scripts.read("windows.ps1"))
    )
    assert named - OWN <= set(PUBLISHED)
