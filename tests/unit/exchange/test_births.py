"""A new connector is off until its rights were seen: what is given to new ones alone shows nowhere before."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from organisation import (
    ACCOUNTS,
    ANONYMOUS,
    OWN_ACCOUNTS,
    RELAY,
    Machine,
    converged,
    is_foreseen,
    planned,
    relay_connector,
    server_of,
)
from shell import Action, Windows, over_python
from standin_host import StandinHost

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange import scripts
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.actual import read_answer
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.desired import read_desired
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.judged import listener_of
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.marks import MARK, UNSEEN
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.operations import Foreseen
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.questions import standard_input
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.refusals import Refused
from standin import state

GATEWAY = {"gateway_addresses": ["10.1.1.11"]}
MINE = {**relay_connector("10.1.1.11", extended_rights=[]), "name": "Mail gateway"}
OPEN = (
    r"Mail gateway\) would be an open relay: its range 10\.1\.1\.11 holds 10\.1\.1\.11, by which anybody's mail comes "
    r"from a gateway; name the relay address alone; the right to relay is inherited or given in general, so take that "
    r"off in Active Directory; it is new, and stays off until then\."
)

GENERAL = {"ExtendedRights": [], "AccessRights": ["GenericAll"]}
ANY_RIGHT = {"ExtendedRights": [], "AccessRights": ["ExtendedRight"]}


def made(machine: Machine, name: str = "Mail gateway") -> dict[str, Any]:
    found = [one for one in machine.state["exchange_receive_connectors"] if one["Name"] == name]
    assert len(found) == 1
    return dict(found[0])


@pytest.fixture
def host(tmp_path: Path) -> StandinHost:
    return StandinHost(tmp_path)


def served(host: StandinHost) -> set[str]:
    return {connector.Name for connector in state.load(host.state).connectors if connector.Enabled}


def test_a_connector_is_made_off_and_switched_on_last() -> None:
    machine = Machine()
    plan = converged(machine, receive_connectors=[relay_connector("10.0.0.25")])
    first, last = plan.operations[0].parameters, plan.operations[-1]
    assert (first["Enabled"], first["Comment"]) == (False, UNSEEN)
    assert last.parameters == {"Identity": "EX1\\Relay", "Enabled": True, "Comment": MARK, "Confirm": False}
    assert last.foreseen is not None
    assert f"{ANONYMOUS}|{RELAY}" in last.foreseen.grants
    assert RELAY.lower() not in last.foreseen.rights
    assert not {"*", "genericall", "extendedright"} & set(last.foreseen.rights)
    assert made(machine, "Relay")["Enabled"] is True
    assert plan.diff()["after"].count(MARK) == 1


def test_a_new_connector_with_rights_that_nobody_foresaw_is_never_in_force(host: StandinHost) -> None:
    """The run ends with the sentence, and so does each one after it, until the right is gone."""
    host.set("Standin.Inherited", [{"User": "Everyone", **GENERAL}])
    for _run in range(2):
        with pytest.raises(Refused, match=OPEN):
            host.configure(receive_connectors=[MINE], **GATEWAY)
        assert "Mail gateway" not in served(host)
    calls = [*host.cmdlets("New-ReceiveConnector"), *host.cmdlets("Set-ReceiveConnector")]
    assert [call["parameters"].get("Enabled") for call in calls] == [False]
    host.set("ADPermission", [], "Standin.Inherited", [])
    assert host.configure(receive_connectors=[MINE], **GATEWAY)["changed"]
    assert "Mail gateway" in served(host)


@pytest.mark.parametrize(
    "given",
    [
        {"User": ANONYMOUS, "ExtendedRights": [RELAY]},
        {"User": "Everyone", "ExtendedRights": [RELAY]},
        {"User": ANONYMOUS, **GENERAL},
        {"User": ANONYMOUS, **ANY_RIGHT},
        # What the class of the object gives isn't inherited.
        {"User": ANONYMOUS, "ExtendedRights": [RELAY], "IsInherited": False},
        {"User": "EXAMPLE\\nobody", **GENERAL},
    ],
)
def test_it_is_never_switched_on(given: dict[str, Any]) -> None:
    machine = Machine()
    machine.container = [{"Deny": False, **given}]
    mine = {**MINE, "extended_rights": None}
    for _run in range(2):
        with pytest.raises(Refused, match=r"would be an open relay|can't be judged: it lets"):
            Action(over_python(machine)).configure(receive_connectors=[mine], **GATEWAY)
        assert (made(machine)["Enabled"], made(machine)["Comment"]) == (False, UNSEEN)
    assert len(machine.applied) == 1


@pytest.mark.parametrize("right", ["8a1b0f5c-1111-2222-3333-444444444444", "All-Extended-Rights", RELAY])
def test_what_others_have_is_harmless_only_where_it_is_for_anybody(right: str) -> None:
    """A right that may be all rights shows on somebody's connector for an account that has logged on."""
    machine = Machine()
    own = {"Of": "EX1\\Default EX1", "User": "EXAMPLE\\svc", "Deny": False, "IsInherited": False}
    machine.state["permissions"].append({**own, "ExtendedRights": [right]})
    machine.container = [{"User": ANONYMOUS, "Deny": False, "ExtendedRights": [right]}]
    with pytest.raises(Refused, match=r"would be an open relay"):
        Action(over_python(machine)).configure(receive_connectors=[MINE], **GATEWAY)
    assert made(machine)["Enabled"] is False


@pytest.mark.parametrize(
    ("given", "calls"),
    [
        ([], 3),
        ([{"User": ANONYMOUS, "ExtendedRights": [RELAY], "Deny": True}], 3),
        ([{"User": ANONYMOUS, "ExtendedRights": [], "AccessRights": ["GenericRead"]}], 3),
        # Those nobody knows yet are asked about first.
        ([{"User": ANONYMOUS, "ExtendedRights": ["ms-Exch-Bypass-Anti-Spam-Never-Seen"]}], 5),
        ([{"User": "EXAMPLE\\svc", **GENERAL}], 5),
    ],
)
def test_what_is_new_but_harmless_is_judged_and_the_connector_comes_on(given: list[dict[str, Any]], calls: int) -> None:
    machine = Machine()
    machine.container = [{"Deny": False, **entry} for entry in given]
    action = Action(over_python(machine))
    assert action.configure(receive_connectors=[MINE], **GATEWAY)["changed"]
    assert len(action.calls) == calls
    assert (made(machine)["Enabled"], made(machine)["Comment"]) == (True, MARK)
    assert not Action(over_python(machine)).configure(receive_connectors=[MINE], **GATEWAY)["changed"]


HARMLESS = "ms-Exch-SMTP-Submit"
ENTRIES: tuple[tuple[dict[str, Any], bool], ...] = (
    ({"User": ANONYMOUS, "ExtendedRights": [RELAY]}, False),
    ({"User": ANONYMOUS, "ExtendedRights": [HARMLESS, RELAY]}, False),
    ({"User": ANONYMOUS, "ExtendedRights": [HARMLESS]}, True),
    ({"User": ANONYMOUS, "ExtendedRights": [HARMLESS], "AccessRights": ["GenericAll"]}, False),
    ({"User": ANONYMOUS, "ExtendedRights": [HARMLESS], "AccessRights": ["ReadProperty, GenericAll"]}, False),
    ({"User": ANONYMOUS, "ExtendedRights": None, "AccessRights": ["ExtendedRight"]}, False),
    ({"User": ANONYMOUS, "ExtendedRights": None, "AccessRights": ["ReadProperty, GenericExecute"]}, True),
    ({"User": ANONYMOUS, "ExtendedRights": None, "AccessRights": None}, False),
    ({"User": ANONYMOUS, "ExtendedRights": ["8a1b0f5c-1111-2222-3333-444444444444"]}, False),
    ({"User": ANONYMOUS, "ExtendedRights": [RELAY], "Deny": True}, True),
    ({"User": ANONYMOUS, "ExtendedRights": [RELAY], "Deny": "perhaps"}, False),
    ({"User": "Printers", "ExtendedRights": [RELAY.upper()]}, True),
    ({"User": "Printers", "ExtendedRights": None, "AccessRights": ["GenericAll"]}, False),
    ({"User": "Example\\SVC", "ExtendedRights": None, "AccessRights": ["GenericAll"]}, True),
    ({"User": None, "ExtendedRights": [RELAY]}, False),
)
LOOK = """
function Invoke-Command51 {
    param($Name, $Parameters)
    if ($Name -eq 'Get-ADPermission') { $script:Entry } else { [pscustomobject]@{ Identity = 'EX1\\A' } }
}
function Invoke-ExchangeConfiguration {
    param($Data)
    $found = foreach ($one in $Data.entries) { $script:Entry = $one; Test-Foreseen $Data.foreseen }
    Write-Answer @{ found = @($found) }
}
"""


def test_the_server_sees_what_was_not_foreseen(tmp_path: Path) -> None:
    harmless = ("genericexecute", HARMLESS.lower(), "readproperty")
    foreseen = Foreseen("EX1\\A", ("example\\svc",), harmless, (f"Printers|{RELAY}",))
    entries = [{"AccessRights": ["ExtendedRight"], "Deny": False, **entry} for entry, _as_foreseen in ENTRIES]
    data = {"foreseen": dataclasses.asdict(foreseen), "entries": entries}
    sent = standard_input([*map(scripts.read, scripts.SCRIPTS), LOOK], data)
    done = Windows(tmp_path).run(scripts.read(scripts.BOOTSTRAP), sent)
    answer = read_answer(done.stdout)
    assert answer is not None, done.stderr
    found = zip(ENTRIES, answer.document["found"], strict=True)
    assert [entry for (entry, as_foreseen), said in found if said != as_foreseen] == []
    # The tests' own machine sees the same.
    assert [is_foreseen(entry, data["foreseen"]) for entry in entries] == [
        as_foreseen for _entry, as_foreseen in ENTRIES
    ]


RIGHTS = [RELAY, RELAY.lower(), HARMLESS, "All-Extended-Rights", "8a1b0f5c-1111-2222-3333-444444444444", "ms-Exch-New"]
ACCESS = ["ExtendedRight", "GenericAll", "GenericRead", "ReadProperty, ExtendedRight", "WriteDacl", "Unheard"]
given_rights = st.fixed_dictionaries(
    {
        "User": st.sampled_from([*(names["en"] for names in ACCOUNTS.values()), *OWN_ACCOUNTS, "EXAMPLE\\nobody"]),
        "ExtendedRights": st.none() | st.lists(st.sampled_from(RIGHTS), max_size=2),
        "AccessRights": st.none() | st.lists(st.sampled_from(ACCESS), max_size=2),
        "Deny": st.sampled_from([True, False, "False", "perhaps"]),
        "IsInherited": st.booleans(),
    }
)


@given(
    language=st.sampled_from(["en", "de", "it"]),
    elsewhere=st.lists(given_rights, max_size=3),
    here=st.lists(given_rights, min_size=1, max_size=3),
    relays=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_what_was_foreseen_is_no_more_than_what_was_judged(
    language: str, elsewhere: list[dict[str, Any]], here: list[dict[str, Any]], relays: bool
) -> None:
    """Whatever else there is: where the server switches it on at once, nobody without a logon relays but by plan."""
    machine = Machine(language=language)
    machine.state["permissions"] += [{"Of": "EX1\\Client Proxy EX1", **entry} for entry in elsewhere]
    one = relay_connector("10.1.1.12", extended_rights=[{"user": ANONYMOUS, "rights": [RELAY]}] if relays else [])
    try:
        last = planned(machine, receive_connectors=[one]).operations[-1]
    except Refused:
        return
    machine.run("New-ReceiveConnector", {"Server": "EX1", "Usage": "Custom", "Name": "Relay", **one["properties"]})
    machine.state["permissions"] += [{"Of": "EX1\\Relay", **entry} for entry in here]
    if not machine.as_foreseen(dataclasses.asdict(last.foreseen)):
        return
    (found,) = [one for one in server_of(machine, read_desired({})).connectors if one.name == "Relay"]
    assert found.doubts == ()
    assert listener_of(found).granted_to_anybody <= relays


def test_three_calls_make_a_connector_on_a_server(host: StandinHost) -> None:
    """Though its container's usual entries show on it as they do on all others."""
    action = host.action()
    assert host.configure(action, receive_connectors=[relay_connector("10.1.1.12")])["changed"]
    assert len(action.calls) == 3
    assert "Relay" in served(host)


@pytest.mark.parametrize("killed_after", range(4))
def test_a_run_that_is_killed_anywhere_leaves_it_off_and_the_next_one_goes_on(killed_after: int) -> None:
    machine = Machine()
    arguments = {"receive_connectors": [{**relay_connector("10.1.1.12"), "name": "Mail gateway"}]}
    plan = planned(machine, **arguments)
    machine.apply(json.loads(json.dumps([operation.document() for operation in plan.operations[:killed_after]])))
    if 0 < killed_after < len(plan.operations):
        assert made(machine)["Enabled"] is False
    Action(over_python(machine)).configure(**arguments)
    assert made(machine)["Enabled"] is True
    assert planned(machine, **arguments).operations == []


def test_one_that_is_declared_off_stays_off() -> None:
    machine = Machine()
    off = {**MINE, "properties": {**MINE["properties"], "Enabled": False}}
    plan = converged(machine, receive_connectors=[off])
    assert [operation.command for operation in plan.operations] == ["New-ReceiveConnector"]
    assert (made(machine)["Enabled"], made(machine)["Comment"]) == (False, MARK)


def test_one_that_a_person_switched_off_stays_off() -> None:
    machine = Machine()
    converged(machine, receive_connectors=[MINE])
    machine.run("Set-ReceiveConnector", {"Identity": "EX1\\Mail gateway", "Enabled": False})
    assert planned(machine, receive_connectors=[MINE]).operations == []


def test_one_that_is_off_because_it_is_new_goes_when_it_leaves_the_variables() -> None:
    machine = Machine()
    before = copy.deepcopy(machine.state)
    plan = planned(machine, receive_connectors=[MINE])
    machine.run(plan.operations[0].command, dict(plan.operations[0].parameters))
    converged(machine)
    assert machine.state == before


@pytest.mark.parametrize("sid", sorted(ACCOUNTS))
def test_only_who_has_certainly_logged_on_may_have_any_right(sid: str) -> None:
    machine = Machine(language="de")
    name = machine.local(ACCOUNTS[sid]["en"])
    machine.state["permissions"].append(
        {"Of": "EX1\\Default EX1", "User": ACCOUNTS[sid]["en"], "ExtendedRights": ["ms-Exch-SMTP-Submit"]}
        | {"Deny": False, "IsInherited": True}
    )
    found = planned(machine, receive_connectors=[MINE]).operations[-1].foreseen
    assert found is not None
    anybody = sid in ("S-1-1-0", "S-1-5-2", "S-1-5-7", "S-1-5-32-546", "S-1-5-32-554") or sid.endswith("-501")
    assert (name.lower() in found.accounts) != anybody


def test_what_a_new_connector_is_judged_by_is_said_whatever_exchange_would_give_it(host: StandinHost) -> None:
    born = {"AuthMechanism": "Tls, ExternalAuthoritative", "PermissionGroups": "ExchangeServers, ExchangeUsers"}
    born |= {"ExtendedProtectionPolicy": "Require", "TransportRole": "HubTransport", "Enabled": True}
    host.set("Standin.Born", {"ReceiveConnector": born})
    mine = {"name": "Plain", "properties": {"Bindings": ["0.0.0.0:26"], "RemoteIPRanges": ["10.1.1.12"]}}
    host.configure(receive_connectors=[mine])
    (found,) = [one for one in host.state["ReceiveConnector"] if one["Name"] == "Plain"]
    assert {name: found[name] for name in born} == {
        "AuthMechanism": "Tls",
        "PermissionGroups": "None",
        "ExtendedProtectionPolicy": "None",
        "TransportRole": "FrontendTransport",
        "Enabled": True,
    }
