"""Who is in the lab, and where: hosts, networks, addresses, and the slot that keeps two checkouts apart.

A slot is a number A. Its networks are 10.A.N.0/24 and fd77:A:N::/64, with A written in decimal in both.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from lab.errors import LabError

Network = IPv4Network | IPv6Network

DOMAIN = "example.test"
#: Each network and the third group of its addresses.
NETWORKS = {"inside": 1, "outside": 2, "admin": 3}
SLOTS = range(100, 228)


@dataclass(frozen=True)
class Host:
    """A container: the image that it runs and its host number on each network that it is on."""

    name: str
    image: str
    numbers: dict[str, int]


HOSTS = {
    host.name: host
    for host in (
        Host("gw1", "gateway-bookworm", {"inside": 11, "outside": 11, "admin": 11}),
        Host("gw2", "gateway-trixie", {"inside": 12, "outside": 12, "admin": 12}),
        Host("ex1", "service", {"inside": 21}),
        Host("ex2", "service", {"inside": 22}),
        Host("dns", "service", {"inside": 53, "outside": 53, "admin": 53}),
        Host("relay", "service", {"inside": 25}),
        Host("client", "service", {"outside": 100}),
        Host("admin", "service", {"admin": 10}),
        Host("acme", "service", {"outside": 80}),
    )
}
GATEWAYS = ("gw1", "gw2")
EXCHANGE = ("ex1", "ex2")
#: The language of each Exchange server's Windows: names of accounts, numbers, some errors.
CULTURES = {"ex1": "en-US", "ex2": "de-DE"}
#: The hosts that playbooks reach by SSH, and on which network.
REACHED = dict.fromkeys(GATEWAYS, "admin") | dict.fromkeys(EXCHANGE, "inside")
#: Host number, on the inside network, of the second address that a gateway sends mail of relay clients from.
RELAY_NUMBERS = {"gw1": 111, "gw2": 112}


def subnets(slot: int, network: str) -> tuple[IPv4Network, IPv6Network]:
    """Return the IPv4 and IPv6 subnet of a network of the slot."""
    group = NETWORKS[network]
    return IPv4Network(f"10.{slot}.{group}.0/24"), IPv6Network(f"fd77:{slot}:{group}::/64")


def address(slot: int, network: str, number: int, family: int = 4) -> str:
    """Return the address with this host number; in IPv6 it is written with the same digits."""
    group = NETWORKS[network]
    return f"10.{slot}.{group}.{number}" if family == 4 else f"fd77:{slot}:{group}::{number}"


def hardware_address(slot: int, network: str, number: int) -> str:
    """Return the MAC address of a host, the same each time, so that its neighbours know it again after a reset."""
    return f"02:77:00:{slot:02x}:{NETWORKS[network]:02x}:{number:02x}"


def _is_free(slot: int, used: Iterable[Network]) -> bool:
    wanted = [subnet for network in NETWORKS for subnet in subnets(slot, network)]
    return not any(subnet.version == other.version and subnet.overlaps(other) for subnet in wanted for other in used)


def choose_slot(owner: str, used: Iterable[Network], remembered: int | None = None) -> int:
    """Choose the slot of a lab.

    Args:
        owner: The lab's working copy, and its number if it is the second one there. This decides where the search
            begins, so that it mostly gets the same.
        used: Subnets that belong to somebody else: networks of other labs, routes and addresses of this machine.
        remembered: The slot that this lab had last time.

    Raises:
        LabError: Every slot is taken.
    """
    used = [network for network in used if network.prefixlen > 0]
    start = int.from_bytes(hashlib.sha256(owner.encode()).digest()[:4], "big") % len(SLOTS)
    candidates = [SLOTS[(start + step) % len(SLOTS)] for step in range(len(SLOTS))]
    if remembered is not None and remembered in SLOTS:
        candidates.insert(0, remembered)
    for slot in candidates:
        if _is_free(slot, used):
            return slot
    raise LabError(f"10.{SLOTS[0]}.0.0/16 to 10.{SLOTS[-1]}.0.0/16 are all in use on this machine: free one of them.")


def parse_network(text: str) -> Network | None:
    """Read a subnet, a route's destination or an interface address; None for what is neither (``default``)."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
