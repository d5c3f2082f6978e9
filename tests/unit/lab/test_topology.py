from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import topology
from lab.errors import LabError


def every_subnet(slot: int) -> list[topology.Network]:
    return [subnet for network in topology.NETWORKS for subnet in topology.subnets(slot, network)]


def test_a_checkout_gets_the_same_slot_again() -> None:
    assert topology.choose_slot("/srv/one", []) == topology.choose_slot("/srv/one", [])


@given(st.text(), st.sets(st.sampled_from(topology.SLOTS), max_size=len(topology.SLOTS) - 1), st.none() | st.integers())
def test_a_slot_is_never_somebody_elses(path: str, taken: set[int], remembered: int | None) -> None:
    slot = topology.choose_slot(path, [every_subnet(other)[0] for other in taken], remembered)
    assert slot in topology.SLOTS
    assert slot not in taken


def test_the_slot_of_last_time_is_kept_while_it_is_free() -> None:
    first = topology.choose_slot("/srv/one", [])
    other = 100 if first != 100 else 101
    assert topology.choose_slot("/srv/one", [], other) == other
    assert topology.choose_slot("/srv/one", every_subnet(other), other) == first


@pytest.mark.parametrize("subnet", ["10.0.0.0/8", "10.{}.3.128/25", "fd77:{}:2::/64", "fd77::/16"])
def test_overlap_of_any_size_and_family_counts(subnet: str) -> None:
    slot = topology.choose_slot("/srv/one", [])
    used = ip_network(subnet.format(slot))
    if used.prefixlen <= 16:
        with pytest.raises(LabError, match="in use"):
            topology.choose_slot("/srv/one", [used])
    else:
        assert topology.choose_slot("/srv/one", [used]) == topology.SLOTS[(slot - 100 + 1) % len(topology.SLOTS)]


def test_the_default_route_is_nobodys_subnet() -> None:
    assert topology.choose_slot("/srv/one", [ip_network("0.0.0.0/0"), ip_network("::/0")]) in topology.SLOTS


@pytest.mark.parametrize(
    ("text", "expected"),
    [("default", None), ("10.1.2.3/24", "10.1.2.0/24"), ("fd00::2", "fd00::2/128"), ("unreachable", None)],
)
def test_routes_are_read(text: str, expected: str | None) -> None:
    found = topology.parse_network(text)
    assert (str(found) if found else None) == expected


@pytest.mark.parametrize("slot", topology.SLOTS)
def test_addresses_are_in_their_subnets_and_unique(slot: int) -> None:
    seen = set()
    for host in topology.HOSTS.values():
        for network, number in host.numbers.items():
            for family, subnet in zip((4, 6), topology.subnets(slot, network), strict=True):
                address = topology.address(slot, network, number, family)
                assert ip_address(address) in subnet
                assert address not in seen
                seen.add(address)
