"""Direct server return as a director and its clients see it: packets for an address that a server doesn't announce."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from lab import Lab

DIRECTOR = "relay"
"""The host that does a director's part."""
KINDS = ("NetAdapter", "NetAdapterBinding", "NetIPInterface", "NetIPAddress", "DnsClient")
"""Where a server's state has its network."""
ASK = """
import socket, sys
try:
    client = socket.create_connection((sys.argv[1], 25), timeout=2)
    print(client.getpeername()[0], client.recv(3).decode())
except TimeoutError:
    print("silence")
"""


@contextlib.contextmanager
def handed_on(lab: Lab, addresses: Iterable[str], server: str) -> Iterator[None]:
    """Have the director send what is for these addresses to a server's own hardware address."""
    routes = [[address, "via", lab.address(server, "inside")] for address in addresses]
    for route in routes:
        lab.exec(DIRECTOR, ["ip", "route", "replace", *route])
    yield
    for route in routes:
        lab.exec(DIRECTOR, ["ip", "route", "delete", *route])


def answer(lab: Lab, address: str) -> str:
    """Who answers there on port 25, with how the answer begins; or ``silence``."""
    return lab.exec(DIRECTOR, ["python3", "-c", ASK, address]).stdout.strip()
