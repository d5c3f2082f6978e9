"""Arithmetic of addresses: as if every entry were compared with every other one, and without doing so."""

import ipaddress
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import netaddr
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools.declared import declared

from ansible_collections.postern.mail_gateway.plugins.plugin_utils import addresses
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.addresses import (
    Addresses,
    Network,
    in_order,
    overlapping,
    without_parts,
)
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.tree import Inventory
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.validation import survey, validate
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.derivation.exchange import derive_servers
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.derivation.hosts import derive_all


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Networks so close to each other that they often overlap, of both families."""
    if draw(st.booleans()):
        bits, prefix = draw(st.integers(0, 255)), draw(st.sampled_from([0, 8, 24, 25, 28, 30, 31, 32]))
        return ipaddress.IPv4Network((0x0A000000 + bits, prefix), strict=False)
    bits, prefix = draw(st.integers(0, 255)), draw(st.sampled_from([0, 16, 120, 121, 124, 127, 128]))
    return ipaddress.IPv6Network(((0x2001 << 112) + bits, prefix), strict=False)


def holds(one: Network, other: Network) -> bool:
    return one.version == other.version and other.subnet_of(one)  # type: ignore[arg-type]


@given(st.lists(networks(), max_size=12))
def test_overlapping(found: list[Network]) -> None:
    wanted = {}
    for later, one in enumerate(found):
        earlier = (place for place in range(later) if holds(found[place], one) or holds(one, found[place]))
        if (earliest := next(earlier, None)) is not None:
            wanted[later] = earliest
    assert overlapping(found) == wanted


@given(st.lists(networks(), max_size=12))
def test_without_parts(found: list[Network]) -> None:
    wanted = {one for one in found if not any(one != other and holds(other, one) for other in found)}
    kept = without_parts(found)
    assert set(kept) == wanted
    assert [str(one) for one in kept] == in_order(wanted)


@given(st.lists(networks(), max_size=12))
def test_in_order(found: list[Network]) -> None:
    key: Callable[[Network], Any] = lambda one: (one.version, int(one.network_address), one.prefixlen)  # noqa: E731
    assert in_order(found) == [str(one) for one in sorted(found, key=key)]


@given(st.lists(networks(), max_size=12), networks())
def test_addresses_within(found: list[Network], network: Network) -> None:
    known = [one.network_address for one in found]
    wanted = sorted({one for one in known if one.version == network.version and one in network}, key=int)
    assert Addresses(known).within(network) == wanted


@pytest.mark.parametrize(
    ("library", "sentence"),
    [
        (None, "The Python library netaddr is missing on the controller; "),
        ("0.10.1", "The Python library netaddr is 0.10.1 on the controller, but must be 1.0 or later; "),
        ("1.3.0", ""),
        ("12.0", ""),
    ],
)
def test_a_library_that_is_missing_or_old_is_a_sentence(
    library: str | None, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library is None:
        monkeypatch.setattr(addresses, "netaddr", None)
    else:
        monkeypatch.setattr(netaddr, "__version__", library)
    how = f"install it for {sys.executable}: pip install 'netaddr>=1.0'."
    assert addresses.needed() == (f"{sentence}{how}" if sentence else "")


# --- the cost of a list ----------------------------------------------------------------------------------------------


def counted(work: Callable[[], Any]) -> int:
    """How many functions are called, Python's own included: a cost that is the same on every machine."""
    count = 0

    def count_one(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(count_one)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def hosts(number: int, base: str = "10.64.0.0") -> Iterator[str]:
    first = int(ipaddress.ip_address(base))
    return (str(ipaddress.ip_address(first + 2 * place)) for place in range(number))


MANY: dict[str, Callable[[int], list[Any]]] = {
    "smtp.relay_clients": lambda number: list(hosts(number)),
    "admin_networks": lambda number: [f"{host}/31" for host in hosts(number)],
    "monitoring_networks": lambda number: list(hosts(number, "2001:db8:64::")),
    "domains": lambda number: ["example.com", "example.org", *(f"d{place}.example.net" for place in range(number))],
    "certificate": lambda number: ["mail.example.com", *(f"h{place}.example.com" for place in range(number))],
    "websites": lambda number: [
        {"name": f"w{place}", "hostnames": [f"w{place}.example.com"], "servers": [{"address": "10.40.0.1", "port": 80}]}
        for place in range(number)
    ],
    "fail2ban": lambda number: [f"10.{place // 256}.{place % 256}.0/24" for place in range(number)],
}


@pytest.mark.parametrize("place", MANY)
def test_four_times_the_entries_cost_four_times_as_much(place: str) -> None:
    def cost(number: int) -> int:
        value: Any = MANY[place](number)
        holder = {"fail2ban": "ignored_networks", "certificate": "names"}.get(place)
        declaration, inventory = declared({place: {holder: value} if holder else value})
        problems: list[Any] = []
        found = counted(lambda: problems.extend(validate(declaration, inventory)))
        assert problems == []
        return found

    few, some, many = cost(0) if place != "admin_networks" else cost(1), cost(500), cost(2000)
    assert (many - few) / (some - few) < 4.5


def test_relay_clients_cost_the_same_for_one_gateway_and_for_many() -> None:
    """The list is spelt, read and put in order once for all who share the declaration."""

    def cost(gateways: int, clients: int) -> int:
        declaration, _ = declared({"smtp.relay_clients": list(hosts(clients))})
        names = [f"g{number}" for number in range(gateways)]
        inventory = Inventory(
            {"gateways": tuple(names), "exchange": ("ex1",)},
            {
                "ex1": {"ansible_host": "10.10.0.21"},
                **{
                    name: {
                        "mail_gateway_egress_address": f"10.10.1.{number}",
                        "mail_gateway_relay_address": f"10.10.2.{number}",
                    }
                    for number, name in enumerate(names, 1)
                },
            },
        )

        def work() -> None:
            found = survey(dict.fromkeys([*names, "ex1"], declaration), inventory)
            assert found.problems == ()
            derive_all(found, derive_servers(found), names)

        return counted(work)

    one, many = (cost(gateways, 1000) - cost(gateways, 1) for gateways in (1, 20))
    assert many / one < 1.2


def test_wrong_entries_cost_no_more() -> None:
    """Each is said, and one network around all the others is compared with each of them once."""

    def cost(number: int) -> int:
        declaration, inventory = declared({"smtp.relay_clients": [*hosts(number), "10.64.0.0/12", *hosts(number)]})
        return counted(lambda: validate(declaration, inventory))

    assert cost(1600) / cost(400) < 4.5
