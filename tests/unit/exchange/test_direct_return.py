"""Direct server return: from what a server's adapters are to what they are to be, and back again."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from adapters import adapter, loopback, pseudo
from hypothesis import given, settings
from hypothesis import strategies as st
from organisation import Machine, converged, fresh, planned
from shell import Action, over_python

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.desired import read_desired
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.direct_return import DEVICE
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.kinds.windows import (
    DEFAULT_ADAPTER as ADAPTER,
)
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.refusals import Refused

VIP = "203.0.113.10"
DESIRED: dict[str, Any] = {"addresses": [VIP]}
GONE: dict[str, Any] = {"state": "absent"}


def machine_with(*entries: dict[str, Any]) -> Machine:
    """A server with these adapters beside the interface that every Windows has."""
    return Machine({**fresh(), "interfaces": [pseudo(), *entries]})


def entry(machine: Machine, name: str = ADAPTER) -> dict[str, Any]:
    (one,) = [found for found in machine.state["interfaces"] if found["Name"] == name]
    return one


def loops(machine: Machine) -> list[str]:
    return [found["Name"] for found in machine.state["interfaces"] if found["ComponentID"] == "*msloop"]


def commands(plan: Any) -> list[str]:
    return [operation.command for operation in plan.operations]


def refused(machine: Machine, **arguments: Any) -> str:
    before = copy.deepcopy(machine.state)
    with pytest.raises(Refused) as error:
        planned(machine, **arguments)
    assert machine.state == before
    return str(error.value)


# --- what is declared ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("desired", "sentence"),
    [
        ({}, ".addresses is empty; name the service addresses, or say state: absent."),
        ({"addresses": ["mail.example.com"]}, '.addresses[0] is "mail.example.com", but must be an address'),
        ({"addresses": ["10.0.0.256"]}, '.addresses[0] is "10.0.0.256", but must be an address'),
        ({"addresses": ["10.0.0.5-10.0.0.9"]}, '.addresses[0] is "10.0.0.5-10.0.0.9", but must be one address'),
        ({"addresses": [VIP, ""]}, '.addresses[1] is "", but must be an address'),
        ({"addresses": ["2001:db8::10"]}, "but must be an IPv4 address: the loopback adapter has IPv4 alone."),
        ({"addresses": ["2001:db8::10/128"]}, "but must be an IPv4 address: the loopback adapter has IPv4 alone."),
        ({"addresses": ["127.0.0.2"]}, '.addresses[0] is "127.0.0.2", but must not be loopback'),
        ({"addresses": ["169.254.1.1/32"]}, '.addresses[0] is "169.254.1.1/32", but must not be link-local'),
        ({"addresses": ["224.0.0.5"]}, "but must not be multicast"),
        ({"addresses": ["0.0.0.0/32"]}, "but must be a real address, not the unspecified one"),
        (
            {"addresses": [f"{VIP}/33"]},
            f'.addresses[0] is "{VIP}/33", but the number after the slash must be from 1 to',
        ),
        ({"addresses": [f"{VIP}/0"]}, "but the number after the slash must be from 1 to 32."),
        ({"addresses": [f"{VIP}/"]}, "but the number after the slash must be from 1 to 32."),
        ({"addresses": [f"{VIP}/255.255.255.255"]}, "but the number after the slash must be from 1 to 32."),
        ({"addresses": ["203.0.113.0/24"]}, "which no host of 203.0.113.0/24 can have; give the address itself"),
        ({"addresses": ["203.0.113.255/24"]}, "which no host of 203.0.113.0/24 can have; give the address itself"),
        ({"addresses": [VIP, f"{VIP}/24"]}, f'.addresses[1] is "{VIP}/24", which is on the list already; take one of'),
        ({"addresses": ["10.0.0.21"]}, '.addresses[0] is "10.0.0.21", which is in exchange_server_addresses too;'),
        ({"addresses": ["10.0.0.11"]}, '.addresses[0] is "10.0.0.11", which is in exchange_gateway_addresses too;'),
        ({**DESIRED, "adapter": ""}, '.adapter is "", but must be 1 to 64 characters'),
        ({**DESIRED, "adapter": "VIP*"}, '.adapter is "VIP*", but must be 1 to 64 characters without any of'),
        ({**DESIRED, "adapter": "VIP[1]"}, '.adapter is "VIP[1]", but must be 1 to 64 characters without any of'),
        ({**DESIRED, "adapter": " VIP"}, "and without spaces around it."),
        ({**DESIRED, "adapter": "V" * 65}, "but must be 1 to 64 characters"),
        ({**DESIRED, "adapter": "a\nb"}, "but must be 1 to 64 characters"),
        ({**DESIRED, "interfaces": [""]}, '.interfaces[0] is "", but must be the name of a network adapter'),
        (
            {**DESIRED, "interfaces": ["Ethernet", "ETHERNET"]},
            '.interfaces[1] is "ETHERNET", which is on the list already',
        ),
        ({**DESIRED, "interfaces": ["VIP"], "adapter": "vip"}, "but must be an adapter by which mail comes, not the"),
        ({"state": "absent", "addresses": ["x"]}, '.addresses[0] is "x", but must be an address'),
    ],
)
def test_what_is_wrong_is_told(desired: dict[str, Any], sentence: str) -> None:
    arguments = {"server_addresses": ["10.0.0.21"], "gateway_addresses": ["10.0.0.11"]}
    text = refused(Machine(), direct_return={"adapter": ADAPTER, **desired}, **arguments)
    assert sentence in text
    assert text.startswith("exchange_direct_return.")
    assert text.endswith(".")


def test_a_prefix_is_32_unless_it_is_given() -> None:
    desired = read_desired({"direct_return": {"addresses": [VIP, "203.0.113.11/24"]}}).direct_return
    assert desired is not None
    assert {str(address): prefix for address, prefix in desired.addresses.items()} == {VIP: 32, "203.0.113.11": 24}


def test_nothing_declared_asks_for_no_adapter() -> None:
    machine = Machine()
    assert converged(machine).operations == []
    assert not [query for query in machine.questions[-1]["queries"] if query["name"] == "interfaces"]


# --- what is done ----------------------------------------------------------------------------------------------------


def test_a_bare_server_gets_the_adapter_with_all_that_belongs_to_it() -> None:
    machine = Machine()
    plan = converged(machine, direct_return=DESIRED)
    made = entry(machine)
    expected = {
        "PnPDeviceID": DEVICE,
        "Bindings": ["ms_tcpip"],
        "InterfaceMetric": 254,
        "AutomaticMetric": "Disabled",
        "Dhcp": "Disabled",
        "WeakHostSend": "Enabled",
        "WeakHostReceive": "Enabled",
        "DnsRegistration": False,
        "NetbiosOption": 2,
        "Sources": ["169.254.3.4"],
    }
    assert {name: made[name] for name in expected} == expected
    assert f"{VIP}/32" in made["Addresses"]
    assert entry(machine, "Ethernet") == adapter("Ethernet", "10.0.0.21/24", WeakHostReceive="Enabled")
    # Nothing tells the network about the address when it comes, and no packet comes before all is ready.
    order = commands(plan)
    assert order.index("Set-DnsClient") < order.index("Set-LoopbackAddress") < order.index("Set-NetbiosOption")
    assert order[0] == "Install-LoopbackAdapter"
    assert plan.operations[-1].parameters == {"InterfaceAlias": "Ethernet", "WeakHostReceive": "Enabled"}
    assert plan.diff() == {
        "before": "network adapter Ethernet\n  weak host receive: off\n",
        "after": "network adapter Direct server return\n  driver: Microsoft KM-TEST Loopback Adapter\n"
        "  bound: ms_tcpip\n  metric: 254\n  DHCP: off\n  registration in DNS: off\n  weak host send: on\n"
        f"  weak host receive: on\n  address: {VIP}/32, skipped as source\n  NetBIOS: off\n"
        "network adapter Ethernet\n  weak host receive: on\n",
    }
    assert plan.warnings == []


@pytest.mark.parametrize(
    ("change", "command", "before", "after"),
    [
        ({"Bindings": ["ms_tcpip", "ms_tcpip6"]}, "Set-AdapterBinding", "bound: ms_tcpip6", ""),
        ({"Bindings": []}, "Set-AdapterBinding", "", "bound: ms_tcpip"),
        ({"InterfaceMetric": 75}, "Set-NetIPInterface", "metric: 75", "metric: 254"),
        ({"AutomaticMetric": "Enabled"}, "Set-NetIPInterface", "metric: automatic", "metric: 254"),
        ({"Dhcp": "Enabled"}, "Set-NetIPInterface", "DHCP: on", "DHCP: off"),
        ({"DnsRegistration": True}, "Set-DnsClient", "registration in DNS: on", "registration in DNS: off"),
        ({"NetbiosOption": 0}, "Set-NetbiosOption", "NetBIOS: as DHCP says", "NetBIOS: off"),
        ({"NetbiosOption": None}, "Set-NetbiosOption", "NetBIOS: unknown", "NetBIOS: off"),
        ({"WeakHostSend": "Disabled"}, "Set-WeakHost", "weak host send: off", "weak host send: on"),
        ({"WeakHostReceive": "Disabled"}, "Set-WeakHost", "weak host receive: off", "weak host receive: on"),
        ({"Disabled": True}, "Install-LoopbackAdapter", "state: disabled", "state: enabled"),
        ({"Name": "Ethernet 3"}, "Install-LoopbackAdapter", "name: Ethernet 3", f"name: {ADAPTER}"),
        (
            {"Sources": ["169.254.3.4", VIP]},
            "Set-LoopbackAddress",
            f"address: {VIP}/32",
            f"address: {VIP}/32, skipped as source",
        ),
        (
            {"Addresses": ["169.254.3.4/16", f"{VIP}/24"]},
            "Set-LoopbackAddress",
            f"address: {VIP}/24, skipped as source",
            f"address: {VIP}/32, skipped as source",
        ),
        (
            {"Addresses": ["169.254.3.4/16", f"{VIP}/32", "203.0.113.99/32"]},
            "Remove-NetIPAddress",
            "address: 203.0.113.99/32, skipped as source",
            "",
        ),
    ],
)
def test_whatever_somebody_changed_is_put_back_and_nothing_else(
    change: dict[str, Any], command: str, before: str, after: str
) -> None:
    machine = Machine()
    converged(machine, direct_return=DESIRED)
    state = copy.deepcopy(machine.state)
    entry(machine).update(change)
    plan = converged(machine, direct_return=DESIRED)
    assert commands(plan) == [command]
    (difference,) = plan.differences
    assert difference.title == f"network adapter {ADAPTER}"
    had, has = difference.before or (), difference.after or ()
    assert [line for line in had if line not in has] == [before][: bool(before)]
    assert [line for line in has if line not in had] == [after][: bool(after)]
    assert machine.state == state


def test_weak_host_receive_of_the_network_is_put_back() -> None:
    machine = Machine()
    converged(machine, direct_return=DESIRED)
    entry(machine, "Ethernet")["WeakHostReceive"] = "Disabled"
    assert [operation.what for operation in converged(machine, direct_return=DESIRED).operations] == [
        "weak host receive is on for network adapter Ethernet"
    ]


def test_addresses_come_and_go_with_the_declaration() -> None:
    machine = Machine()
    converged(machine, direct_return=DESIRED)
    plan = converged(machine, direct_return={"addresses": ["203.0.113.11/24"]})
    assert commands(plan) == ["Remove-NetIPAddress", "Set-LoopbackAddress"]
    assert plan.diff()["before"].splitlines()[1:] == [f"  address: {VIP}/32, skipped as source"]
    # What Windows itself put there is its own business.
    assert entry(machine)["Addresses"] == ["169.254.3.4/16", "203.0.113.11/24"]


# --- never a second one ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "there",
    [
        loopback(ADAPTER),
        loopback(ADAPTER.upper()),
        loopback("Ethernet 2", device=DEVICE),
        loopback("An older name", "203.0.113.9/32", device=DEVICE.lower()),
        loopback(ADAPTER, device=DEVICE, Disabled=True),
        # A disabled adapter has no interface.
        loopback(
            ADAPTER,
            device=DEVICE,
            Disabled=True,
            InterfaceMetric=None,
            AutomaticMetric=None,
            Dhcp=None,
            NetbiosOption=None,
        ),
    ],
)
def test_an_adapter_that_is_there_is_taken(there: dict[str, Any]) -> None:
    machine = machine_with(adapter("Ethernet", "10.0.0.21/24"), copy.deepcopy(there))
    converged(machine, direct_return=DESIRED)
    assert [name.lower() for name in loops(machine)] == [ADAPTER.lower()]
    assert machine.state["interfaces"][-1]["PnPDeviceID"] == there["PnPDeviceID"]


def test_a_loopback_adapter_of_others_is_left_alone() -> None:
    other = loopback("Lab", "10.99.0.1/24")
    machine = machine_with(adapter("Ethernet", "10.0.0.21/24"), copy.deepcopy(other))
    converged(machine, direct_return=DESIRED)
    assert loops(machine) == ["Lab", ADAPTER]
    assert entry(machine, "Lab") == other


def test_two_that_may_be_meant_are_refused() -> None:
    machine = machine_with(
        adapter("Ethernet", "10.0.0.21/24"), loopback(ADAPTER), loopback("Ethernet 2", device=DEVICE)
    )
    for desired in (DESIRED, GONE):
        assert refused(machine, direct_return=desired) == (
            f'EX1 has two loopback adapters that exchange_direct_return may mean, "{ADAPTER}" and "Ethernet 2"; rename '
            "or remove one."
        )


def test_a_name_that_another_adapter_has_is_refused() -> None:
    assert refused(Machine(), direct_return={**DESIRED, "adapter": "ethernet"}) == (
        'exchange_direct_return.adapter is "ethernet", which is an adapter of EX1 that is no loopback adapter; give '
        "another name."
    )


def test_an_address_that_another_adapter_has_is_refused() -> None:
    machine = machine_with(adapter("Ethernet", "10.0.0.21/24", f"{VIP}/24"))
    assert refused(machine, direct_return=DESIRED) == (
        f'exchange_direct_return.addresses[0] is {VIP}, which the network adapter "Ethernet" of EX1 has already; take '
        "it off there, or out here."
    )


# --- by which adapter mail comes -------------------------------------------------------------------------------------

TWO = (adapter("LAN", "10.0.0.21/24"), adapter("Replication", "10.9.0.21/24"), adapter("Spare", "169.254.7.7/16"))


@pytest.mark.parametrize(
    ("desired", "servers", "on"),
    [
        (DESIRED, ["10.0.0.21", "10.0.0.22"], ["LAN"]),
        (DESIRED, ["10.9.0.21"], ["Replication"]),
        ({**DESIRED, "interfaces": ["replication"]}, ["10.0.0.21"], ["Replication"]),
        ({**DESIRED, "interfaces": ["LAN", "Replication"]}, [], ["LAN", "Replication"]),
    ],
)
def test_the_adapter_by_which_mail_comes_is_named_or_found(
    desired: dict[str, Any], servers: list[str], on: list[str]
) -> None:
    machine = machine_with(*copy.deepcopy(TWO))
    converged(machine, direct_return=desired, server_addresses=servers)
    receiving = [found["Name"] for found in machine.state["interfaces"] if found["WeakHostReceive"] == "Enabled"]
    assert receiving == [*on, ADAPTER]
    converged(machine, direct_return={**desired, "state": "absent"}, server_addresses=servers)
    assert machine.state["interfaces"] == [pseudo(), *TWO]


def test_where_it_cannot_be_found_a_name_is_asked_for() -> None:
    machine = machine_with(*copy.deepcopy(TWO))
    assert refused(machine, direct_return=DESIRED) == (
        "exchange_direct_return.interfaces doesn't say by which network adapter of EX1 mail comes, and none has an "
        'address of exchange_server_addresses; name one of "LAN" and "Replication".'
    )
    assert refused(machine, direct_return={**DESIRED, "interfaces": ["LAN", "Ethernet"]}) == (
        'exchange_direct_return.interfaces[1] is "Ethernet", but EX1 has no such network adapter with an IPv4 address; '
        'name one of "LAN" and "Replication".'
    )
    assert "it has none; give it an address first." in refused(machine_with(), direct_return=DESIRED)


def test_another_adapter_that_receives_is_told_once() -> None:
    machine = machine_with(*copy.deepcopy(TWO))
    converged(machine, direct_return={**DESIRED, "interfaces": ["LAN"]})
    plan = converged(machine, direct_return={**DESIRED, "interfaces": ["Replication"]})
    assert plan.warnings == [
        (
            'Weak host receive is on for the network adapter "LAN" of EX1 too, which isn\'t one of '
            "exchange_direct_return.interfaces; switch it off there if nothing else needs it."
        )
    ]
    assert converged(machine, direct_return={**DESIRED, "interfaces": ["Replication"]}).warnings == []


def test_a_service_address_on_which_no_connector_listens_is_told() -> None:
    machine = Machine()
    for connector in machine.state["exchange_receive_connectors"]:
        connector["Bindings"] = [text.replace("0.0.0.0", "10.0.0.21") for text in connector["Bindings"]]
    assert converged(machine, direct_return=DESIRED).warnings == [
        (
            f"No receive connector of EX1 takes connections to {VIP}:25, an address of exchange_direct_return; let one "
            "listen on 0.0.0.0:25."
        )
    ]


# --- withdrawal ------------------------------------------------------------------------------------------------------


def test_all_of_it_is_taken_back_in_an_order_that_may_be_cut_short() -> None:
    machine = Machine()
    before = copy.deepcopy(machine.state)
    converged(machine, direct_return=DESIRED)
    plan = converged(machine, direct_return=GONE)
    assert commands(plan) == ["Set-WeakHost", "Remove-NetIPAddress", "Uninstall-LoopbackAdapter"]
    assert plan.diff() == {
        "before": "network adapter Ethernet\n  weak host receive: on\n"
        "network adapter Direct server return\n  driver: Microsoft KM-TEST Loopback Adapter\n"
        f"  address: {VIP}/32, skipped as source\n",
        "after": "network adapter Ethernet\n  weak host receive: off\n",
    }
    assert machine.state == before


def test_an_adapter_that_was_made_by_hand_is_emptied_and_disabled() -> None:
    machine = machine_with(adapter("Ethernet", "10.0.0.21/24"), loopback(ADAPTER))
    converged(machine, direct_return=DESIRED)
    plan = converged(machine, direct_return=GONE)
    assert commands(plan) == ["Set-WeakHost", "Remove-NetIPAddress", "Disable-NetAdapter"]
    assert entry(machine)["Addresses"] == []
    assert entry(machine, "Ethernet")["WeakHostReceive"] == "Disabled"


def test_what_another_loopback_adapter_needs_stays() -> None:
    machine = machine_with(adapter("Ethernet", "10.0.0.21/24"), loopback("Other", "203.0.113.77/32"))
    converged(machine, direct_return=DESIRED)
    plan = converged(machine, direct_return=GONE)
    assert commands(plan) == ["Remove-NetIPAddress", "Uninstall-LoopbackAdapter"]
    assert plan.warnings == [
        (
            'Weak host receive stays on for "Ethernet" of EX1, since the loopback adapter "Other" has addresses too; '
            "switch it off if they don't need it."
        )
    ]


def test_where_nothing_was_made_nothing_is_taken_back() -> None:
    machine = machine_with(adapter("Ethernet", "10.0.0.21/24", WeakHostReceive="Enabled"))
    assert converged(machine, direct_return=GONE).operations == []


# --- invariants ------------------------------------------------------------------------------------------------------

ADDRESSES = st.sampled_from(["203.0.113.10", "203.0.113.11/24", "203.0.113.12/32", "198.51.100.7/31"])
SWITCH = st.sampled_from(["Enabled", "Disabled"])
THERE = st.fixed_dictionaries(
    {
        "Name": st.sampled_from([ADAPTER, "Ethernet 2", ADAPTER.lower()]),
        "Disabled": st.booleans(),
        "Bindings": st.lists(st.sampled_from(["ms_tcpip", "ms_tcpip6", "ms_server"]), unique=True),
        "InterfaceMetric": st.sampled_from([None, 75, 254]),
        "AutomaticMetric": SWITCH,
        "Dhcp": SWITCH,
        "WeakHostSend": SWITCH,
        "WeakHostReceive": SWITCH,
        "Addresses": st.lists(st.sampled_from(["203.0.113.10/32", "203.0.113.10/24", "203.0.113.66/32"]), max_size=1),
        "DnsRegistration": st.booleans(),
        "NetbiosOption": st.sampled_from([None, 0, 1, 2]),
    }
)


@given(
    desired=st.lists(
        st.lists(ADDRESSES, min_size=1, max_size=3, unique_by=lambda text: text.partition("/")[0]),
        min_size=1,
        max_size=3,
    ),
    there=st.none() | THERE,
    receiving=SWITCH,
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_there_it_ends_as_declared_and_goes_without_a_trace(
    desired: list[list[str]], there: dict[str, Any] | None, receiving: str
) -> None:
    lan = adapter("Ethernet", "10.0.0.21/24", WeakHostReceive=receiving)
    others = [loopback("Lab"), adapter("Replication", "10.9.0.21/24")]
    mine = [] if there is None else [loopback("", device=DEVICE) | copy.deepcopy(there)]
    machine = machine_with(lan, *copy.deepcopy(others), *mine)
    arguments: dict[str, Any] = {"server_addresses": ["10.0.0.21"]}
    for addresses in desired:
        converged(machine, direct_return={"addresses": addresses}, **arguments)
        loop = next(found for found in machine.state["interfaces"] if found["PnPDeviceID"] == DEVICE)
        texts = {text if "/" in text else f"{text}/32" for text in addresses}
        assert {text for text in loop["Addresses"] if not text.startswith("169.254.")} == texts
        assert not {text.partition("/")[0] for text in texts} & set(loop["Sources"])
        assert len(loops(machine)) == 2
        assert machine.state["interfaces"][2:4] == others
    converged(machine, direct_return=GONE, **arguments)
    assert machine.state["interfaces"] == [pseudo(), {**lan, "WeakHostReceive": "Disabled"}, *others]


@given(cut=st.integers(0, 9), back=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_run_that_fails_anywhere_is_healed_by_the_next_one(cut: int, back: bool) -> None:
    machine = Machine()
    before = copy.deepcopy(machine.state)
    desired = DESIRED
    if back:
        converged(machine, direct_return=DESIRED)
        desired = GONE
    machine.fail_at = cut
    with contextlib.suppress(Refused):
        Action(over_python(machine)).configure(direct_return=desired)
    machine.fail_at = None
    converged(machine, direct_return=desired)
    converged(machine, direct_return=GONE)
    assert machine.state == before


def test_three_calls_change_and_one_finds_nothing_and_check_mode_says_the_same() -> None:
    machine = Machine()
    before = copy.deepcopy(machine.state)
    checked = Action(over_python(machine), check_mode=True).configure(direct_return=DESIRED)
    assert machine.state == before
    action = Action(over_python(machine))
    assert action.configure(direct_return=DESIRED) == checked
    assert len(action.calls) == 3
    again = Action(over_python(machine))
    assert not again.configure(direct_return=DESIRED)["changed"]
    assert len(again.calls) == 1
