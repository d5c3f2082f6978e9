"""Who is on a list is who was meant: a running HAProxy is told by PROXY protocol where each client comes from.

The lists are those of relay clients, administrators and monitoring. Python says what was meant, HAProxy what it takes.
"""

from __future__ import annotations

import csv
import io
import re
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_gate import MAIL, Gate

RELAY = ["172.20.30.25/32", "10.1.1.64/26", "2001:db8:25::/64"]
ADMIN = ["198.51.100.0/25", "2001:db8:a::7/128"]
MONITORING = ["198.51.100.192/26", "2001:db8:b::/48"]
LISTS = {"relay": RELAY, "admin": ADMIN, "monitoring": MONITORING}
# What stands for an IPv4 address, with the number of bits behind it.
WRAPPED = {"2002::": 80, "::": 0, "64:ff9b::": 0}

Address = IPv4Address | IPv6Address


class Proxied(Gate):
    """Takes a client's word for where it comes from, by then: rules of connections are of sessions here."""

    def here(self, text: str) -> str:
        """As elsewhere, and each listener waits for a line of the PROXY protocol."""
        text = re.sub(r"^( +bind 127\.0\.0\.1:\d+)", r"\1 accept-proxy", super().here(text), flags=re.MULTILINE)
        text = re.sub(r"^ +source .*\n", "", text, flags=re.MULTILINE)  # addresses that this machine hasn't
        return text.replace("tcp-request connection ", "tcp-request session ")

    def connected(self, source: Address, port: int) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.ports[port]), timeout=30)
        here = "127.0.0.1" if source.version == 4 else "::1"
        made.sendall(f"PROXY TCP{source.version} {source} {here} 1025 {port}\r\n".encode())
        return made

    def status(self, source: Address, port: int, path: str) -> int:
        """The status of an answer; 0 where the connection is closed."""
        request = f"GET {path} HTTP/1.1\r\nHost: {MAIL}\r\nConnection: close\r\n\r\n".encode()
        try:
            with self.connected(source, port) as plain:
                spoken = self.context.wrap_socket(plain, server_hostname=MAIL) if port == 443 else plain
                with spoken:
                    spoken.sendall(request)
                    answer = b""
                    while block := spoken.recv(65536):
                        answer += block
        except OSError:
            return 0
        return int(answer.split()[1]) if answer else 0

    def relayed(self) -> int:
        """How many connections the backend for relay clients has had."""
        table = csv.DictReader(io.StringIO(self.asked("show stat").removeprefix("# ")))
        (line,) = [one for one in table if (one["pxname"], one["svname"]) == ("exchange_smtp_relay", "BACKEND")]
        return int(line["stot"])

    def relays(self, source: Address) -> bool:
        """Whether mail of a client comes from the address that may relay."""
        before = self.relayed()
        try:
            with self.connected(source, 25) as client:
                client.sendall(b"x\r\n\r\n")
                while client.recv(65536):
                    pass
        except OSError:
            pass
        return self.relayed() > before


@pytest.fixture(scope="module")
def proxied(haproxy: str, certificates: Path) -> Iterator[Proxied]:
    with TemporaryDirectory(prefix="hx") as folder:
        made = Proxied(
            haproxy,
            certificates,
            Path(folder),
            haproxy_egress_address="10.1.1.11",
            haproxy_relay_address="10.1.1.12",
            haproxy_relay_networks=RELAY,
            haproxy_admin_networks=ADMIN,
            haproxy_monitoring_networks=MONITORING,
        )
        yield made
        made.close()


def meant(address: Address, networks: list[str]) -> bool:
    """Whether a client is on a list; an IPv4 client of a socket that takes both families is one of IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    real = mapped or address
    if real.is_loopback:  # the gateway itself, which may look at its own statistics
        return networks is MONITORING
    return any(real in ip_network(network) for network in networks)


def wrapping(prefix: str, bits: int, address: IPv4Address) -> IPv6Address:
    return IPv6Address(int(IPv6Address(prefix)) | int(address) << bits | (1 if bits else 0))


EDGES = [
    ip_address(int(edge) + step)
    for network in map(ip_network, (*RELAY, *ADMIN, *MONITORING))
    for edge in (network[0], network[-1])
    for step in (-1, 0, 1)
]
OF_IPV4 = [edge for edge in EDGES if isinstance(edge, IPv4Address)]
CLIENTS = st.one_of(
    st.sampled_from(EDGES),
    st.builds(wrapping, *(st.shared(st.sampled_from(sorted(WRAPPED)), key="p").map(f) for f in (str, WRAPPED.get)),
              st.sampled_from(OF_IPV4)),
    st.sampled_from(OF_IPV4).map(lambda address: IPv6Address(f"::ffff:{address}")),
    st.ip_addresses(v=4).filter(lambda address: int(address) > 1 << 24),
    st.ip_addresses(v=6),
)  # fmt: skip


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(address=CLIENTS)
@example(address=IPv6Address("2002:ac14:1e19::1"))
@example(address=IPv6Address("::172.20.30.25"))
@example(address=IPv6Address("64:ff9b::198.51.100.7"))
@example(address=IPv4Address("172.20.30.25"))
def test_who_is_on_a_list_is_who_was_meant(proxied: Proxied, address: Address) -> None:
    taken = {
        "relay": proxied.relays(address),
        "admin": proxied.status(address, 443, "/owa/healthcheck.htm") == 200,
        "monitoring": proxied.status(address, 8404, "/metrics") == 200,
    }
    assert taken == {name: meant(address, networks) for name, networks in LISTS.items()}
