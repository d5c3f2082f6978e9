"""The Windows half of direct server return: the adapter that setupapi makes, and packets that come for its address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from standin_exchange import SERVER, Exchange

from probes.direct_return import ASK, KINDS, answer, handed_on

# One address of the inside network that nobody has.
NUMBER = 200


@pytest.fixture
def address(exchange: Exchange) -> Iterator[str]:
    """An address that `relay` sends to the server's hardware, as a director does."""
    network = ".".join(exchange.lab.address(SERVER, "inside").split(".")[:3])
    address = f"{network}.{NUMBER}"
    before = {kind: exchange.get(kind) for kind in KINDS}
    with handed_on(exchange.lab, [address], SERVER):
        yield address
    exchange.set(*(item for kind in KINDS for item in (kind, before[kind])))


def test_an_address_answers_with_the_weak_host_flags_alone(exchange: Exchange, address: str) -> None:
    exchange.command("adapter")
    adapters = exchange.get("NetAdapter")
    index = adapters[-1]["InterfaceIndex"]
    assert adapters[-1]["ComponentID"] == "*msloop"
    assert answer(exchange.lab, address) == "silence"
    exchange.set("NetIPAddress[+]", {"IPAddress": address, "PrefixLength": 32, "InterfaceIndex": index})
    assert answer(exchange.lab, address) == "silence"
    exchange.flag("Ethernet", "WeakHostReceive", "Enabled")
    assert answer(exchange.lab, address) == "silence"
    exchange.flag(adapters[-1]["Name"], "WeakHostSend", "Enabled")
    assert answer(exchange.lab, address) == f"{address} 220"
    exchange.flag("Ethernet", "WeakHostReceive", "Disabled")
    assert answer(exchange.lab, address) == "silence"
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
