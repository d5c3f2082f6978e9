import re
from ipaddress import ip_address

import dns.rdatatype
import dns.reversename
import dns.zone
import pytest

from lab import topology, zones

SLOT = 123
VIEWS = tuple(topology.NETWORKS)


def forward(view: str) -> dns.zone.Zone:
    return dns.zone.from_text(zones.forward_zone(SLOT, view), origin="example.test.", relativize=False)


def values(zone: dns.zone.Zone, name: str, kind: str) -> list[str]:
    found = zone.get_rdataset(name, kind)
    return sorted(str(item) for item in found) if found else []


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", zones.PUBLISHED)
def test_published_names_are_both_gateways_on_the_network_that_asks(view: str, name: str) -> None:
    zone = forward(view)
    for family, kind in ((4, "A"), (6, "AAAA")):
        expected = sorted(topology.address(SLOT, view, number, family) for number in (11, 12))
        assert values(zone, f"{name}.example.test.", kind) == expected


@pytest.mark.parametrize("view", VIEWS)
def test_every_host_has_a_name_in_every_view(view: str) -> None:
    zone = forward(view)
    for host in topology.HOSTS.values():
        network = view if view in host.numbers else next(iter(host.numbers))
        for family, kind in ((4, "A"), (6, "AAAA")):
            expected = [topology.address(SLOT, network, host.numbers[network], family)]
            assert values(zone, f"{host.name}.example.test.", kind) == expected


def test_mail_goes_to_the_gateways_and_comes_from_them() -> None:
    zone = forward("outside")
    assert values(zone, "example.test.", "MX") == ["10 mail.example.test."]
    (spf,) = values(zone, "example.test.", "TXT")
    for number in (11, 12):
        assert f"ip4:{topology.address(SLOT, 'outside', number)} " in spf
        assert f"ip6:{topology.address(SLOT, 'outside', number, 6)} " in spf
    assert spf.endswith(' -all"')


@pytest.mark.parametrize("network", VIEWS)
@pytest.mark.parametrize("family", [4, 6])
def test_pointers_lead_back(network: str, family: int) -> None:
    origin = zones.reverse_name(network, SLOT, family)
    zone = dns.zone.from_text(zones.reverse_zone(SLOT, network, family), origin=f"{origin}.", relativize=False)
    names = forward(network)
    count = 0
    for owner, node in zone.nodes.items():
        pointer = node.get_rdataset(1, dns.rdatatype.PTR)
        if pointer:
            address = dns.reversename.to_address(owner)
            found = values(names, str(pointer[0]), "A" if family == 4 else "AAAA")
            assert [ip_address(item) for item in found] == [ip_address(address)]
            count += 1
    hosts = sum(network in host.numbers for host in topology.HOSTS.values())
    relay = len(topology.RELAY_NUMBERS) if (network, family) == ("inside", 4) else 0
    assert count == hosts + relay


def test_the_name_server_has_each_file_that_it_is_told_to_read() -> None:
    files = zones.name_server_files(SLOT)
    named = set(re.findall(r'/etc/bind/lab/([^"]+)', files["named.conf"]))
    assert named == set(files) - {"named.conf"}
    assert files["named.conf"].count("{") == files["named.conf"].count("}")
