"""What safety says of a connection, against what a server does with it: two readings of the same published rules.

Generated organisations are planned, the plan is carried out, and a stand-in that serves the resulting connectors is
asked over SMTP from several addresses.
"""

from __future__ import annotations

import ipaddress
import smtplib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from organisation import ACCOUNTS, ANONYMOUS, RELAY, SERVER_AUTH, Machine, connector, planned, server_of

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.desired import read_desired
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.judged import listener_of
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.listeners import Listener, choose
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.ranges import read_range
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.refusals import Refused

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "standin"))

from standin_client import LONG, Standin, make_certificate

HERE = "127.0.0.1"
SOURCES = (HERE, "127.0.0.11", "127.0.0.111", "127.1.2.3", "127.200.0.1")
# No two of one size, since Exchange's help doesn't say which of those wins.
RANGES = (
    "127.0.0.11",
    "127.0.0.110-127.0.0.111",
    "127.0.0.96/27",
    "127.0.0.0/24",
    "127.0.0.0-127.9.255.255",
    "127.0.0.0/8",
    "0.0.0.0-255.255.255.255",
)
MECHANISMS = ("Tls", "Tls, BasicAuth", SERVER_AUTH, "ExternalAuthoritative")
GROUPS = ("AnonymousUsers", "ExchangeUsers", "ExchangeServers")


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standin]:
    folder = tmp_path_factory.mktemp("standin")
    server = Standin(folder, make_certificate(folder / "tls.pem"), tmp_path_factory.mktemp("run"))
    yield server
    server.stop()


@st.composite
def organisations(draw: Any) -> tuple[Machine, list[dict[str, Any]]]:
    """A server with connectors of others on port 25, and more that are desired."""
    machine = Machine()
    properties = {
        "Bindings": st.lists(st.sampled_from(["0.0.0.0:25", f"{HERE}:25"]), min_size=1, unique=True),
        "RemoteIPRanges": st.lists(st.sampled_from(RANGES), min_size=1, max_size=2, unique=True),
        "AuthMechanism": st.sampled_from(MECHANISMS),
        "PermissionGroups": st.lists(st.sampled_from(GROUPS), unique=True),
    }
    for name in draw(st.sets(st.sampled_from(["Others", "Scanner"]))):
        drawn = draw(st.fixed_dictionaries(properties))
        drawn |= {"PermissionGroups": ", ".join(drawn["PermissionGroups"]) or "None", "Fqdn": f"{name}.example.test"}
        made = connector("EX1", name, **drawn, Enabled=draw(st.booleans()))
        machine.state["exchange_receive_connectors"].append(made)
        # No server has what no server can have.
        assume(len(pairs(machine)) == len(set(pairs(machine))))
        if draw(st.booleans()):
            machine.run("Add-ADPermission", {"User": ANONYMOUS, "ExtendedRights": [RELAY]}, made["Identity"])
    desired = [
        {
            "name": name,
            "properties": {**draw(st.fixed_dictionaries(properties)), "Fqdn": f"{name}.example.test"},
            "extended_rights": [{"user": ANONYMOUS, "rights": [RELAY]}] if draw(st.booleans()) else [],
        }
        for name in draw(st.sets(st.sampled_from(["Gateway", "Relay"]), min_size=1))
    ]
    return machine, desired


def pairs(machine: Machine) -> list[tuple[str, str]]:
    """Every binding with each range of its connector."""
    return [
        (binding, entry)
        for item in machine.state["exchange_receive_connectors"]
        for binding in item["Bindings"]
        for entry in item["RemoteIPRanges"]
    ]


def serve(standin: Standin, machine: Machine) -> None:
    """Have the stand-in serve the machine's connectors for port 25, on its own port."""
    document = standin.document()
    port = standin.ports[25]
    theirs = [item for item in document["ReceiveConnector"] if not item["Bindings"][0].endswith(f":{port}")]
    for item in machine.state["exchange_receive_connectors"]:
        here = [text for text in item["Bindings"] if text in ("0.0.0.0:25", f"{HERE}:25")]
        bindings = [text.replace(":25", f":{port}") for text in here]
        if bindings:
            own = {name: value for name, value in item.items() if name != "DistinguishedName"}
            theirs.append({**own, "Bindings": bindings, "TarpitInterval": "00:00:00"})
    rights = [
        {
            "Identity": item["Of"],
            "User": item["User"],
            "ExtendedRights": item["ExtendedRights"] or [],
            "AccessRights": item.get("AccessRights", []),
            "IsInherited": item["IsInherited"],
            "Deny": str(item["Deny"]).lower() == "true",
        }
        for item in machine.state["permissions"]
    ]
    standin.set("ReceiveConnector", theirs, "ADPermission", rights)


def said(standin: Standin, source: str) -> tuple[str, bool, bool]:
    """What the server does: the name by which it answers ('' where it doesn't), whether it takes mail, and relays."""
    try:
        with smtplib.SMTP(HERE, standin.ports[25], timeout=LONG, source_address=(source, 0)) as client:
            status, text = client.ehlo("probe.example.test")
            assert status == 250, text
            name = text.split()[0].decode().lower()
            if client.mail("a@outside.example")[0] != 250:
                return name, False, False
            return name, True, client.rcpt("somebody@elsewhere.example")[0] == 250
    except (smtplib.SMTPConnectError, smtplib.SMTPServerDisconnected, ConnectionError):
        return "", False, False


def foretold(machine: Machine, source: str) -> Listener | None:
    listeners = [listener_of(found) for found in server_of(machine, read_desired({})).connectors]
    return choose(listeners, 4, int(ipaddress.ip_address(HERE)), 25, read_range(source))


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(organisations())
def test_safety_and_the_server_agree(standin: Standin, organisation: tuple[Machine, list[dict[str, Any]]]) -> None:
    machine, desired = organisation
    standin.set("Standin.Choice", "Binding")
    try:
        plan = planned(machine, receive_connectors=desired)
    except Refused:
        event("refused")  # what others have made is served all the same
    else:
        event("accepted")
        assert not machine.carry_out(plan)
    serve(standin, machine)
    for source in SOURCES:
        winner = foretold(machine, source)
        name, takes, relays = said(standin, source)
        if winner is None:
            assert name == ""
            continue
        assert name == winner.fqdn.lower(), source
        # A right without the permission group that lets one submit is of no use; safety counts it all the same.
        assert relays <= winner.anonymous_relay, (source, winner)
        if not winner.external:
            assert takes == ("AnonymousUsers" in winner.groups), (source, winner)
            assert relays == (takes and winner.granted_to_anybody), (source, winner)
        else:
            assert relays == ("ExchangeServers" in winner.groups), (source, winner)


# --- no stranger relays ----------------------------------------------------------------------------------------------

GATEWAYS = ("127.0.0.11", "127.200.0.1")
"""Addresses by which anybody's mail comes: who relays from them is a stranger."""

GIVEN: tuple[dict[str, Any], ...] = (
    {"ExtendedRights": [RELAY]},
    {"ExtendedRights": [RELAY], "IsInherited": True},
    {"ExtendedRights": None, "AccessRights": ["GenericAll"]},
    {"ExtendedRights": None, "AccessRights": ["GenericAll"], "IsInherited": True},
    {"ExtendedRights": None, "AccessRights": ["ExtendedRight"]},
    {"ExtendedRights": None, "AccessRights": ["GenericRead"]},
    {"ExtendedRights": [RELAY], "Deny": True},
)
# Some overlap in part, some are one in another spelling, some have an adapter behind them.
OVERLAPPING = (
    *RANGES,
    "127.0.0.8-127.0.0.40",
    "127.0.0.0(255.255.255.0)",
    "fe80::39bd:88f7:6969:d223%11",
    "10.0.0.0/8",
)


@st.composite
def strange_organisations(draw: Any) -> tuple[Machine, list[dict[str, Any]], str]:
    """A server in some language whose connectors got rights in any way, what is desired of some, how it chooses."""
    machine = Machine(language=draw(st.sampled_from(["en", "de", "it"])))
    drawn = st.fixed_dictionaries(
        {
            "RemoteIPRanges": st.lists(st.sampled_from(OVERLAPPING), min_size=1, max_size=2, unique=True),
            "AuthMechanism": st.sampled_from(MECHANISMS),
        }
    )
    there = draw(st.sets(st.sampled_from(["Others", "Scanner"])))
    for name in sorted(there):
        made = connector("EX1", name, **draw(drawn), Bindings=["0.0.0.0:25"], PermissionGroups="AnonymousUsers")
        machine.state["exchange_receive_connectors"].append({**made, "Fqdn": f"{name}.example.test"})
    assume(len(pairs(machine)) == len(set(pairs(machine))))
    # Rights are kept with their object: a connector that isn't there has none.
    for name in (*sorted(there), "Default Frontend EX1"):
        for form in draw(st.lists(st.sampled_from(GIVEN), max_size=2)):
            if name != "Default Frontend EX1" or draw(st.integers(0, 9)) == 0:
                sid = draw(st.sampled_from(sorted(ACCOUNTS)))
                entry = {"Of": f"EX1\\{name}", "User": ACCOUNTS[sid]["en"], "Deny": False, "IsInherited": False}
                machine.state["permissions"].append({**entry, **form})
    # What the container gives shows on others beforehand, or those that are new have it and no other.
    inherited = draw(st.sampled_from(["by none", "by all", "by new ones"]))
    if inherited != "by none":
        account = draw(st.sampled_from(sorted(ACCOUNTS)))
        machine.container = [{"User": ACCOUNTS[account]["en"], "Deny": False, **draw(st.sampled_from(GIVEN))}]
        for item in machine.state["exchange_receive_connectors"] if inherited == "by all" else ():
            machine.inherit(item["Identity"])
    ranges = st.lists(st.sampled_from(RANGES), min_size=1, max_size=2, unique=True)
    relaying = st.sampled_from([ANONYMOUS, "S-1-5-7", "Everyone"]).map(lambda user: [{"user": user, "rights": [RELAY]}])
    desired = [
        {
            "name": name,
            "properties": {
                "Bindings": [draw(st.sampled_from(["0.0.0.0:25", f"{HERE}:25"]))],
                "RemoteIPRanges": draw(ranges),
                "PermissionGroups": ["AnonymousUsers"],
                "Fqdn": f"{name}.example.test",
            },
            "extended_rights": draw(st.just([]) | relaying),
        }
        for name in draw(st.sets(st.sampled_from(["Gateway", "Others"])))
    ]
    if inherited == "by new ones":
        # One that takes a gateway's mail is there in any case, or nothing would be tried.
        properties = {
            "RemoteIPRanges": [GATEWAYS[0]],
            "Bindings": [f"{HERE}:25"],
            "PermissionGroups": ["AnonymousUsers"],
        }
        desired.append({"name": "New", "properties": properties, "extended_rights": []})
    return machine, desired, draw(st.sampled_from(["Binding", "Range"]))


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(strange_organisations())
def test_what_is_accepted_relays_for_no_stranger(
    standin: Standin, organisation: tuple[Machine, list[dict[str, Any]], str]
) -> None:
    machine, desired, choice = organisation
    try:
        plan = planned(machine, receive_connectors=desired, gateway_addresses=list(GATEWAYS))
    except Refused:
        event("refused")
        return
    event("accepted")
    if machine.carry_out(plan):
        try:
            plan = planned(machine, receive_connectors=desired, gateway_addresses=list(GATEWAYS))
        except Refused:
            event("made, and refused then")
        else:
            event("made, and accepted then")
            assert not machine.carry_out(plan)
    serve(standin, machine)
    standin.set("Standin.Choice", choice)
    for source in GATEWAYS:
        assert not said(standin, source)[2], source
