"""What is published of connectors and values: bindings, ranges that overlap, bounds, and what a session shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from organisation import Machine, certificate, connector, converged, planned, relay_connector
from shell import Action, Windows, over_powershell

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.concepts import Kind, Property
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.kinds import KINDS
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.refusals import Refused
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.values import SPAN
from standin import bounds, quantities
from standin import published as standin_help

AROUND = {"server_addresses": ["10.0.0.21"], "gateway_addresses": ["10.0.0.11"], "relay_addresses": ["10.0.0.25"]}


def refused(machine: Machine, **arguments: Any) -> list[str]:
    with pytest.raises(Refused) as error:
        planned(machine, **arguments)
    return error.value.sentences


def bound(name: str, binding: str, *ranges: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "properties": {"Bindings": [binding], "RemoteIPRanges": list(ranges), **more}}


# --- bindings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("binding", "all_of_them"), [("10.0.0.99:26", "0.0.0.0:26"), ("[fd00::9]:26", "[::]:26")])
def test_a_binding_to_an_address_that_the_server_has_not_is_refused(binding: str, all_of_them: str) -> None:
    assert refused(Machine(), receive_connectors=[bound("X", binding, "10.5.0.1")]) == [
        (
            f"exchange_receive_connectors[0].properties.Bindings has {binding}, but EX1 has no such address; give one "
            f"of its own, or {all_of_them} for all of them."
        )
    ]


@pytest.mark.parametrize("binding", ["10.0.0.21:26", "[fe80::21]:26", "127.0.0.1:26", "0.0.0.0:26", "[::]:26"])
def test_a_binding_to_an_address_of_the_server_is_taken(binding: str) -> None:
    converged(Machine(), receive_connectors=[bound("X", binding, "10.5.0.1")])


def test_a_binding_to_a_service_address_that_comes_in_the_same_run_is_taken() -> None:
    there = {"direct_return": {"addresses": ["10.0.0.200"]}, "server_addresses": ["10.0.0.21"]}
    assert planned(Machine(), receive_connectors=[bound("X", "10.0.0.200:26", "10.5.0.1")], **there).operations


def test_the_address_that_a_connector_is_bound_to_is_that_by_which_it_is_asked() -> None:
    relay = relay_connector("10.0.0.25")
    relay["properties"]["Bindings"] = ["10.0.0.21:25"]
    plan = planned(Machine(), receive_connectors=[relay], **AROUND)
    table = {(row["who"], row["address"]): (row["connector"], row["relay"]) for row in plan.connections}
    assert table["relay clients", "10.0.0.25"] == ("Relay", True)
    assert plan.warnings == []


def test_where_nothing_published_decides_that_is_said() -> None:
    wide = bound("Wide", "10.0.0.21:25", "10.0.0.0/28", AuthMechanism=["Tls"])
    small = bound("Small", "0.0.0.0:25", "10.0.0.11")
    plan = planned(Machine(), receive_connectors=[wide, small], **AROUND)
    assert plan.warnings[0] == (
        "Whether Wide (bound to the very address) or Small (smaller range) takes connections from 10.0.0.11 isn't "
        "published; it is taken to be Wide, so bind both alike."
    )


# --- ranges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"), [("10.5.0.1-10.5.0.20", "10.5.0.10-10.5.0.30"), ("fd00::1-fd00::9", "fd00::8/125")]
)
def test_ranges_that_overlap_in_part_are_refused(one: str, other: str) -> None:
    binding = "[::]:26" if ":" in one else "0.0.0.0:26"
    (sentence,) = refused(Machine(), receive_connectors=[bound("X", binding, one), bound("Y", binding, other)])
    assert f"on {binding}, which overlaps with" in sentence
    assert "in part; Exchange wants one to lie in the other, so cut one of them." in sentence


def test_ranges_that_overlap_with_one_that_is_not_the_innermost_are_found() -> None:
    entries = [bound("X", "0.0.0.0:26", "10.5.0.1-10.5.0.10", "10.5.0.2-10.5.0.12")]
    entries.append(bound("Y", "0.0.0.0:26", "10.5.0.3-10.5.0.11"))
    assert len(refused(Machine(), receive_connectors=entries)) == 1


@pytest.mark.parametrize(("one", "other"), [("10.5.0.0/24", "10.5.0.7"), ("10.5.0.1-10.5.0.9", "10.5.0.10-10.5.0.20")])
def test_ranges_in_each_other_or_apart_are_taken(one: str, other: str) -> None:
    converged(Machine(), receive_connectors=[bound("X", "0.0.0.0:26", one), bound("Y", "0.0.0.0:26", other)])


def test_ranges_of_others_that_overlap_are_told_and_hold_nothing_up() -> None:
    machine = Machine()
    for name, entry in (("A", "10.5.0.1-10.5.0.20"), ("B", "10.5.0.10-10.5.0.30")):
        made = connector("EX1", name, Bindings=["0.0.0.0:26"], RemoteIPRanges=[entry])
        machine.state["exchange_receive_connectors"].append(made)
    plan = converged(machine, receive_connectors=[relay_connector("10.0.0.25")])
    assert "which overlaps with 10.5.0.1-10.5.0.20 of A in part" in plan.warnings[0]


# --- the certificate of IMAP and POP ---------------------------------------------------------------------------------


def named(name: str | None) -> dict[str, Any]:
    return {"imap": {"properties": {"X509CertificateName": name}}}


@pytest.mark.parametrize("name", ["mail.example.com", "MAIL.example.com", "imap.example.net", "*.example.net"])
def test_a_certificate_that_the_server_holds_may_be_named(name: str) -> None:
    assert [op.command for op in converged(Machine(), **named(name)).operations] == ["Set-ImapSettings"]


@pytest.mark.parametrize("name", ["other.example.com", "a.imap.example.net", "example.net"])
def test_a_certificate_that_the_server_has_not_is_not_named(name: str) -> None:
    assert refused(Machine(), **named(name)) == [
        (
            f'exchange_imap.properties.X509CertificateName is "{name}", but EX1 has no certificate for that name; '
            "import it first, since IMAP settings with that name would offer no TLS."
        )
    ]


def test_an_expired_certificate_is_none() -> None:
    machine = Machine()
    machine.state["certificates"] = [{"RawData": certificate("old.example.com", days=-3)}, {"RawData": "bm9uZQ=="}]
    (sentence,) = refused(machine, **named("old.example.com"))
    assert "but EX1 has none for that name that is valid today; the last one was until 2" in sentence


def test_a_name_that_is_there_already_is_nobodys_business() -> None:
    machine = Machine()
    machine.state["exchange_imap"][0]["X509CertificateName"] = "gone.example.com"
    assert planned(machine, **named("gone.example.com")).operations == []


# --- bounds ----------------------------------------------------------------------------------------------------------

BOUNDED = [(kind, entry) for kind in KINDS for entry in kind.properties if entry.bounds]
everything_bounded = pytest.mark.parametrize(
    ("kind", "entry"), BOUNDED, ids=[f"{kind.argument}-{entry.name}" for kind, entry in BOUNDED]
)


def asked(kind: Kind, name: str, value: Any) -> dict[str, Any]:
    """What the module is told of one property of one object that there is."""
    object_ = {"properties": {name: value}}
    if kind.key:
        there = {"exchange_receive_connectors": "Default Frontend EX1", "exchange_outlook_providers": "EXPR"}
        return {kind.argument: [{"name": there[kind.variable], **object_}]}
    return {kind.argument: object_}


def around(entry: Property) -> list[tuple[Any, bool]]:
    """The bounds of a property and their neighbours, as variables have them, and whether they are within."""
    least, most = map(entry.type.read, entry.bounds or ())
    step = 10**7 if entry.type is SPAN else 1  # a second
    values = ((least, True), (most, True), (most + step, False), (least - step, False))
    there_is = isinstance((entry.bounds or "")[0], int)  # but no size or span below nothing
    return [(entry.type.write(exact), fits) for exact, fits in values if exact >= 0 or there_is]


@everything_bounded
def test_published_bounds_are_held_before_the_server_is_asked(kind: Kind, entry: Property) -> None:
    assert entry.bounds
    for value, fits in around(entry):
        machine = Machine()
        for shown in machine.state[kind.variable]:
            shown.setdefault(entry.name, value)
        if fits:
            planned(machine, **asked(kind, entry.name, value))
        else:
            (sentence,) = refused(machine, **asked(kind, entry.name, value))
            assert sentence.endswith(f"but must be from {entry.bounds[0]} to {entry.bounds[1]}.")


@everything_bounded
def test_the_server_refuses_what_is_out_of_bounds_and_nothing_else(kind: Kind, entry: Property) -> None:
    """The stand-in's own reading of the help is the same."""
    cmdlet = kind.set.name
    for value, fits in around(entry):
        try:
            taken = quantities.convert(entry.name, the_type(cmdlet, entry.name), value)
            problem = bounds.violated(cmdlet, entry.name, taken)
        except quantities.Unfit as unfit:
            problem = str(unfit)  # more than the parameter's type holds
        assert bool(problem) != fits, (value, problem)


def the_type(cmdlet: str, parameter: str) -> str:
    return str(standin_help.parameters(cmdlet, "SE")[parameter]["type"])


@pytest.mark.parametrize("cmdlet", sorted(bounds.BOUNDS))
def test_every_bound_that_the_server_has_is_published_to_variables(cmdlet: str) -> None:
    (kind,) = [kind for kind in KINDS if cmdlet in {call.name for call in (kind.new, kind.set) if call}]
    assert set(bounds.BOUNDS[cmdlet]) == {entry.name for entry in kind.properties if entry.bounds}


# --- what a session shows --------------------------------------------------------------------------------------------


def test_all_sources_are_one_word() -> None:
    desired = {"name": "Default Frontend EX1", "properties": {"MessageRateSource": ["IPAddress", "User"]}}
    plan = converged(Machine(), receive_connectors=[desired])
    assert plan.operations[0].parameters["MessageRateSource"] == "All"
    machine = Machine()
    machine.state["exchange_receive_connectors"][2]["MessageRateSource"] = "All"
    assert planned(machine, receive_connectors=[desired]).operations == []


def test_an_enumeration_that_came_through_a_session_is_its_name(tmp_path: Path) -> None:
    """It is a number there that shows a name."""
    windows = Windows(tmp_path)
    windows.write({**windows.state, "enumerations": ["TransportRole"]})
    result = Action(over_powershell(windows)).configure(receive_connectors=[relay_connector("10.0.0.25")])
    assert result["changed"]
    assert windows.state["connectors"][0]["TransportRole"] == "HubTransport"
