"""Silent connections: how long somebody else waits for the first byte while thousands of them stand.

Runs on a host of the lab with Python's standard library alone as well: ``python3 - JSON`` holds the connections, asks
from another address before and meanwhile, and prints what came.
"""

from __future__ import annotations

import json
import resource
import select
import socket
import ssl
import statistics
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ADDRESSES, EACH = 50, 100
ASKED = 40  # times, before and meanwhile
PAUSE = 5.0
MOST = 1.5
#: What the silent ones are connected to, and what the other client asks there.
PORTS = {"HTTPS": 443, "HTTP": 80, "SMTP": 25, "submission": 587, "IMAPS": 993}


@dataclass(frozen=True)
class Waiting:
    """What came on one port.

    Attributes:
        held: connections that stood on average, while the other client asked.
        before, meanwhile: its seconds until the first byte, medians.
        refused: how often it wasn't served while they stood.
    """

    protocol: str
    held: int
    before: float
    meanwhile: float
    refused: int

    @property
    def ratio(self) -> float:
        return self.meanwhile / self.before


class Silent:
    """Connections that say nothing. Those that the gateway ends are opened again after a while: this is no flood."""

    def __init__(self, target: tuple[str, int], sources: list[str], each: int) -> None:
        self.target = target
        self.sources = [source for source in sources for _ in range(each)]
        self.open: dict[int, tuple[socket.socket, str]] = {}
        self.ended = False
        self.poll = select.epoll()
        self.thread = threading.Thread(target=self._hold, daemon=True)

    def _connect(self, source: str) -> None:
        one = socket.socket()
        one.setblocking(False)
        one.bind((source, 0))
        one.connect_ex(self.target)
        self.open[one.fileno()] = (one, source)
        self.poll.register(one.fileno(), select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR)

    def _hold(self) -> None:
        waiting = [(0.0, source) for source in self.sources]
        while not self.ended:
            # As many at a time as no limit on new connections minds.
            due = [source for when, source in waiting[:50] if when <= time.monotonic()]
            for source in due:
                self._connect(source)
            waiting = waiting[len(due) :]
            for number, event in self.poll.poll(0.05):
                one, source = self.open[number]
                try:
                    gone = event & (select.EPOLLHUP | select.EPOLLERR) or not one.recv(1000)
                except OSError:
                    gone = True
                if gone:
                    self.poll.unregister(number)
                    del self.open[number]
                    one.close()
                    waiting.append((time.monotonic() + PAUSE, source))
        for one, _source in self.open.values():
            one.close()


def first_byte(target: tuple[str, int], source: str, protocol: str, authority: str) -> float:
    """Return the seconds from the connection's begin to the first byte of the answer.

    :raises OSError: there was none.
    """
    start = time.monotonic()
    with socket.create_connection(target, 20, (source, 0)) as plain:
        stream = plain
        if protocol in ("HTTPS", "IMAPS"):
            context = ssl.create_default_context(cafile=authority)
            stream = context.wrap_socket(plain, server_hostname="mail.example.test")
        if protocol.startswith("HTTP"):
            stream.sendall(b"GET /owa/ HTTP/1.1\r\nHost: mail.example.test\r\nConnection: close\r\n\r\n")
        if not stream.recv(1):
            raise ConnectionError("no answer")
        return time.monotonic() - start


def hold_and_ask(order: dict[str, Any]) -> dict[str, Any]:
    """Do it, on the client. The order has address, port, protocol, sources, other, authority, each, asked."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (20_000, 20_000))
    target = (order["address"], order["port"])

    def ask() -> list[float]:
        found = []
        for _ in range(order["asked"]):
            try:
                found.append(first_byte(target, order["other"], order["protocol"], order["authority"]))
            except OSError:
                found.append(-1.0)
            time.sleep(0.05)
        return found

    before = ask()
    silent = Silent(target, order["sources"], order["each"])
    silent.thread.start()
    time.sleep(8)
    held = [len(silent.open)]
    meanwhile = ask()
    held.append(len(silent.open))
    silent.ended = True
    silent.thread.join()
    return {"before": before, "meanwhile": meanwhile, "held": held}


def measure(lab: Any, gateway: str, sources: list[str], other: str) -> list[Waiting]:
    """Hold silent connections to each port of a gateway in turn.

    :param sources: addresses of the outside client, which hold them.
    :param other: another one of its addresses.
    """
    found = []
    for protocol, port in PORTS.items():
        order = {
            "address": lab.address(gateway, "outside"),
            "port": port,
            "protocol": protocol,
            "sources": sources[:ADDRESSES],
            "other": other,
            "authority": "/etc/ssl/certs/lab-ca.pem",
            "each": EACH,
            "asked": ASKED,
        }
        done = lab.exec("client", ["python3", "-", json.dumps(order)], input=Path(__file__).read_text())
        came = json.loads(done.stdout)
        served = [one for one in came["meanwhile"] if one >= 0]
        found.append(
            Waiting(
                protocol,
                int(statistics.mean(came["held"])),
                statistics.median(one for one in came["before"] if one >= 0),
                statistics.median(served) if served else float("inf"),
                came["meanwhile"].count(-1.0),
            )
        )
    return found


if __name__ == "__main__":
    print(json.dumps(hold_and_ask(json.loads(sys.argv[1]))))
