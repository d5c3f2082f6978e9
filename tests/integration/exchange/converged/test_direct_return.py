"""Direct server return, from the role to the packets: what a director sends to a server is answered from its address.

`relay` does a director's part: it sends packets for the service address to the server's own hardware address.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from servers import ONE, change, configure, restore, sessions, state

from lab import Lab
from plays import Run
from probes.direct_return import KINDS, answer, handed_on

SERVER = "ex1"
LAN = "Ethernet"
ADAPTER = "Direct server return"
DEVICE = r"ROOT\POSTERN\0000"
# Addresses of the inside network that nobody has.
NUMBERS = (200, 201)


class Server:
    """The Exchange server, and `relay` that asks it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.own = lab.address(SERVER, "inside")
        self.addresses = [f"{self.own.rpartition('.')[0]}.{number}" for number in NUMBERS]

    def get(self, kind: str) -> Any:
        return state(self.lab, SERVER)[kind]

    def network(self) -> dict[str, Any]:
        """The state of the network, without what is made up anew with each adapter."""
        return {kind: [{**item, "InterfaceGuid": ""} for item in self.get(kind)] for kind in KINDS}

    def interface(self, name: str) -> dict[str, Any]:
        (found,) = [
            item
            for item in self.get("NetIPInterface")
            if item["InterfaceAlias"] == name and item["AddressFamily"] == "IPv4"
        ]
        return dict(found)

    def switch_off(self, name: str, flag: str) -> None:
        """Somebody else's hand."""
        interfaces = self.get("NetIPInterface")
        for item in interfaces:
            if item["InterfaceAlias"] == name and item["AddressFamily"] == "IPv4":
                item[flag] = "Disabled"
        change(self.lab, SERVER, "NetIPInterface", interfaces)

    def answer(self, address: str) -> str:
        return answer(self.lab, address)

    def loopbacks(self) -> list[tuple[str, str]]:
        return [
            (item["Name"], item["PnPDeviceID"]) for item in self.get("NetAdapter") if item["ComponentID"] == "*msloop"
        ]


def provision(*arguments: str, **desired: Any) -> Run:
    """The playbook for the servers, with direct server return in their variables."""
    return configure(*ONE, *arguments, exchange_direct_return=desired)


@pytest.fixture
def exchange(lab: Lab) -> Iterator[Server]:
    """The server as the declaration has it, without a loopback adapter; given back as it was found."""
    server = Server(lab)
    before = state(lab, SERVER)
    with handed_on(lab, server.addresses, SERVER):
        yield server
    restore(lab, SERVER, before)


def assert_as_promised(exchange: Server, vip: str) -> None:
    """All that packets don't show."""
    assert exchange.loopbacks() == [(ADAPTER, DEVICE)]
    (loop,) = [item for item in exchange.get("NetAdapter") if item["Name"] == ADAPTER]
    assert loop["TcpipNetbiosOptions"] == 2
    bound = [item for item in exchange.get("NetAdapterBinding") if item["Name"] == ADAPTER and item["Enabled"]]
    assert [item["ComponentID"] for item in bound] == ["ms_tcpip"]
    wanted = {
        "InterfaceMetric": 254,
        "AutomaticMetric": "Disabled",
        "Dhcp": "Disabled",
        "WeakHostSend": "Enabled",
        "WeakHostReceive": "Enabled",
    }
    interface = exchange.interface(ADAPTER)
    assert {name: interface[name] for name in wanted} == wanted
    assert exchange.interface(LAN)["WeakHostReceive"] == "Enabled"
    assert exchange.interface(LAN)["WeakHostSend"] == "Disabled"
    index = loop["InterfaceIndex"]
    addresses = [item for item in exchange.get("NetIPAddress") if item["InterfaceIndex"] == index]
    assert addresses == [{"IPAddress": vip, "PrefixLength": 32, "InterfaceIndex": index, "SkipAsSource": True}]
    (client,) = [item for item in exchange.get("DnsClient") if item["InterfaceIndex"] == index]
    assert client["RegisterThisConnectionsAddress"] is False


def test_a_packet_is_answered_from_the_service_address_and_no_second_run_changes_anything(exchange: Server) -> None:
    vip = exchange.addresses[0]
    before = exchange.network()
    assert exchange.answer(vip) == "silence"

    checked = provision("--check", "--diff", addresses=[vip])
    assert checked.status == 0, checked.output
    assert checked.recap[SERVER]["changed"] == 1
    assert exchange.network() == before
    assert exchange.answer(vip) == "silence"
    added = [line[1:].strip() for line in checked.output.splitlines() if line.startswith("+") and line[1:2] != "+"]
    assert f"network adapter {ADAPTER}" in added
    assert f"address: {vip}/32, skipped as source" in added
    assert "bound: ms_tcpip" in added
    assert "weak host receive: on" in added

    opened = sessions(exchange.lab, SERVER)
    done = provision("--diff", addresses=[vip])
    assert done.status == 0, done.output
    assert done.recap[SERVER]["changed"] == 1
    assert sessions(exchange.lab, SERVER) == opened + 3
    said = [line for line in done.output.splitlines() if line.startswith(("+", "-", "@@", " "))]
    assert said == [line for line in checked.output.splitlines() if line.startswith(("+", "-", "@@", " "))]
    assert_as_promised(exchange, vip)
    assert exchange.answer(vip) == f"{vip} 220"
    # The server's own address goes on as before, and is what it sends from.
    assert exchange.answer(exchange.own) == f"{exchange.own} 220"

    converged = exchange.network()
    opened = sessions(exchange.lab, SERVER)
    again = provision("--diff", addresses=[vip])
    assert again.status == 0, again.output
    assert again.recap[SERVER]["changed"] == 0
    assert sessions(exchange.lab, SERVER) == opened + 1
    assert exchange.network() == converged

    gone = provision("--diff", state="absent")
    assert gone.status == 0, gone.output
    assert gone.recap[SERVER]["changed"] == 1
    assert exchange.answer(vip) == "silence"
    assert exchange.network() == before
    assert provision(state="absent").recap[SERVER]["changed"] == 0


def test_without_a_flag_or_with_another_address_there_is_silence(exchange: Server) -> None:
    vip = exchange.addresses[0]
    assert provision(addresses=[vip]).status == 0
    for name, flag in ((LAN, "WeakHostReceive"), (ADAPTER, "WeakHostSend")):
        assert exchange.answer(vip) == f"{vip} 220"
        exchange.switch_off(name, flag)
        assert exchange.answer(vip) == "silence"
        assert provision(addresses=[vip]).recap[SERVER]["changed"] == 1
        assert exchange.answer(vip) == f"{vip} 220"
    # Another address: what the first one got is silence.
    second = exchange.addresses[1]
    assert provision(addresses=[second]).recap[SERVER]["changed"] == 1
    assert [exchange.answer(address) for address in (vip, second)] == ["silence", f"{second} 220"]


OWN, VIP = "192.0.2.21", "192.0.2.200"  # stand for the server's own address and a service address in this table
# One that is told before the server is asked, and one that needs its answer; the others are among the unit tests.
REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"addresses": [OWN]},
        (
            f'addresses[0] is "{OWN}", which is in exchange_server_addresses too; a service address '
            "isn't a server's own."
        ),
    ),
    (
        {"addresses": [VIP], "adapter": LAN},
        f'adapter is "{LAN}", which is an adapter of EX1 that is no loopback adapter; give another name.',
    ),
]


@pytest.mark.parametrize(("desired", "sentence"), REFUSED)
def test_what_cannot_be_is_refused_and_the_server_is_as_before(
    exchange: Server, desired: dict[str, Any], sentence: str
) -> None:
    before = exchange.network()
    text = json.dumps([desired, sentence]).replace(VIP, exchange.addresses[0]).replace(OWN, exchange.own)
    declared, expected = json.loads(text)
    run = provision(**declared)
    assert run.status != 0
    assert run.failures[SERVER] == f"exchange_direct_return.{expected}"
    assert exchange.network() == before
