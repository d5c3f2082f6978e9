"""The Windows half of direct server return: the adapter that setupapi makes, and packets that come for its address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from standin_exchange import SERVER, Exchange

# One address of the inside network that nobody has.
NUMBER = 200
ASK = """
import socket, sys
try:
    client = socket.create_connection((sys.argv[1], 25), timeout=2)
    print(client.getpeername()[0], client.recv(3).decode())
except TimeoutError:
    print("silence")
"""


@pytest.fixture
def address(exchange: Exchange) -> Iterator[str]:
    """An address that `relay` sends to the server's hardware, as a director does."""
    network = ".".join(exchange.lab.address(SERVER, "inside").split(".")[:3])
    address = f"{network}.{NUMBER}"
    kinds = ("NetAdapter", "NetAdapterBinding", "NetIPInterface", "NetIPAddress", "DnsClient")
    before = {kind: exchange.get(kind) for kind in kinds}
    route = [address, "via", exchange.lab.address(SERVER, "inside")]
    exchange.lab.exec("relay", ["ip", "route", "replace", *route])
    yield address
    exchange.lab.exec("relay", ["ip", "route", "delete", *route])
    exchange.set(*(item for kind in kinds for item in (kind, before[kind])))


def answer(exchange: Exchange, address: str) -> str:
    return exchange.lab.exec("relay", ["python3", "-c", ASK, address]).stdout.strip()


def test_an_address_answers_with_the_weak_host_flags_alone(exchange: Exchange, address: str) -> None:
    exchange.command("adapter")
    adapters = exchange.get("NetAdapter")
    index = adapters[-1]["InterfaceIndex"]
    assert adapters[-1]["ComponentID"] == "*msloop"
    assert answer(exchange, address) == "silence"
    exchange.set("NetIPAddress[+]", {"IPAddress": address, "PrefixLength": 32, "InterfaceIndex": index})
    assert answer(exchange, address) == "silence"
    exchange.flag("Ethernet", "WeakHostReceive", "Enabled")
    assert answer(exchange, address) == "silence"
    exchange.flag(adapters[-1]["Name"], "WeakHostSend", "Enabled")
    assert answer(exchange, address) == f"{address} 220"
    exchange.flag("Ethernet", "WeakHostReceive", "Disabled")
    assert answer(exchange, address) == "silence"
    # Nobody says that the address is here: a neighbour that asks gets no answer.
    exchange.flag("Ethernet", "WeakHostReceive", "Enabled")
    exchange.lab.exec("dns", ["ip", "neighbour", "flush", "all"])
    assert (
        "lladdr"
        not in exchange.lab.exec(
            "dns", ["sh", "-c", f"python3 -c '{ASK}' {address}; ip n show {address}"], check=False
        ).stdout
    )


def test_setupapi_adds_the_adapter(exchange: Exchange, address: str) -> None:
    script = (Path(__file__).parent / "loopback.ps1").read_text()
    found = exchange.powershell(script)
    assert found.splitlines()[-1] == "Microsoft KM-TEST Loopback Adapter *msloop"
    assert [item["ComponentID"] for item in exchange.get("NetAdapter")].count("*msloop") == 1
