"""Servers that are named: a running HAProxy, with the lines that the role writes, and a name server on loopback."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from rendering import Variables, render
from test_templates import EVERYTHING

from ansible_collections.postern.mail_gateway.plugins.module_utils.haproxy.admin_socket import ask
from ansible_collections.postern.mail_gateway.plugins.module_utils.haproxy.resolution import (
    for_this_host,
    in_hosts_file,
)
from ansible_collections.postern.mail_gateway.plugins.module_utils.haproxy.runtime import server_states

Serve = Callable[[str, str], AbstractContextManager[Path]]
NAME = "ex1.example.test"


class NameServer:
    """Answers for what is in ``zone``, as it is at the moment; ``asked`` counts the questions about each name."""

    def __init__(self) -> None:
        self.zone: dict[str, list[str]] = {}
        self.asked: dict[str, int] = {}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                data, client = self.socket.recvfrom(4096)
            except OSError:
                return
            question = dns.message.from_wire(data)
            name, kind = question.question[0].name.to_text(True), question.question[0].rdtype
            self.asked[name] = self.asked.get(name, 0) + 1
            answer = dns.message.make_response(question)
            if name not in self.zone:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            for address in self.zone.get(name, ()):
                its = dns.rdatatype.AAAA if ":" in address else dns.rdatatype.A
                if its == kind:
                    answer.answer.append(dns.rrset.from_text(f"{name}.", 1, "IN", its, address))
            self.socket.sendto(answer.to_wire(), client)


@pytest.fixture
def names() -> Iterator[NameServer]:
    made = NameServer()
    yield made
    made.socket.close()


def rendered(address: str, egress: str = "10.1.1.11") -> str:
    given: Variables = {
        **EVERYTHING,
        "haproxy_servers": [{"name": "ex1", "address": address}],
        "haproxy_egress_address": egress,
        "haproxy_relay_address": "",
        "haproxy_exchange_ca_file": "",
    }
    return render(given)["haproxy.cfg"]


def sections(text: str, names: NameServer, *, port: int = 1) -> str:
    """The resolvers of a configuration, quicker and with our name server, and the server of its backend for SMTP."""
    resolvers = re.search(r"^resolvers host\n(?: .*\n)+", text, re.MULTILINE)
    server = re.search(r"^backend exchange_smtp .*\n(?:.*\n)*?(    server ex1 .*)\n", text, re.MULTILINE)
    assert server
    quick = resolvers[0] if resolvers else ""
    quick = quick.replace("parse-resolv-conf", f"nameserver here 127.0.0.1:{names.port}")
    quick = re.sub(r"(hold valid|timeout \w+) \w+", r"\1 100ms", quick)
    line = re.sub(r":25 ", f":{port} ", server[1])
    return f"{quick}backend exchange_smtp\n{line}\n"


def address(path: Path) -> str:
    return server_states(ask(str(path), "show servers state"))[0].address


def becomes(path: Path, wanted: str) -> bool:
    deadline = time.monotonic() + 20
    while address(path) != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    return address(path) == wanted


def is_asked(names: NameServer, name: str, times: int) -> bool:
    """Whether HAProxy asks so many times more."""
    deadline, before = time.monotonic() + 20, names.asked.get(name, 0)
    while names.asked.get(name, 0) < before + times and time.monotonic() < deadline:
        time.sleep(0.05)
    return names.asked.get(name, 0) >= before + times


def test_it_starts_though_a_name_does_not_resolve_and_follows_it_without_a_reload(
    serve: Serve, names: NameServer
) -> None:
    with serve("maxconn 100", sections(rendered(NAME), names)) as path:
        assert is_asked(names, NAME, 2)
        assert address(path) == "-"
        names.zone[NAME] = ["127.0.0.5"]
        assert becomes(path, "127.0.0.5")
        names.zone[NAME] = ["127.0.0.6"]
        assert becomes(path, "127.0.0.6")
        # The name server forgets it, or answers for nobody: whether somebody is there is the health check's to say.
        del names.zone[NAME]
        assert is_asked(names, NAME, 10)
        assert address(path) == "127.0.0.6"


@pytest.mark.parametrize(("egress", "wanted"), [("10.1.1.11", "127.0.0.5"), ("", "127.0.0.5"), ("fd77::a:11", "::5")])
def test_a_name_of_both_families_leads_where_connections_can_come_from(
    egress: str, wanted: str, serve: Serve, names: NameServer
) -> None:
    names.zone[NAME] = ["::5", "127.0.0.5"]
    with serve("maxconn 100", sections(rendered(NAME, egress), names)) as path:
        assert becomes(path, wanted)
        assert is_asked(names, NAME, 4)
        assert address(path) == wanted


def test_a_name_in_the_hosts_file_is_taken_from_there(serve: Serve, names: NameServer) -> None:
    """Name servers don't know it, or know another address, and are of no account."""
    names.zone["localhost"] = ["127.0.0.99"]
    text = rendered("localhost")
    assert "resolvers host" in text
    mended = for_this_host(text.encode()).decode()
    server = re.search(r"    server ex1 localhost:25 .*", mended)
    assert server
    assert "resolvers" not in server[0]
    with serve("maxconn 100", sections(mended, names)) as path:
        assert address(path) in ("127.0.0.1", "::1")
        assert names.asked == {}


def test_who_is_in_the_hosts_file_is_asked_of_libc_there_alone() -> None:
    assert in_hosts_file("localhost")
    assert not in_hosts_file("nobody.example.test")


def test_addresses_need_no_name_server() -> None:
    for one in ("10.1.1.21", "2001:db8::21"):
        text = rendered(one)
        assert "resolvers" not in text
        assert for_this_host(text.encode()) == text.encode()


def test_lines_of_names_that_the_hosts_file_lacks_stay() -> None:
    text = rendered(NAME).encode()
    assert for_this_host(text, lambda _: False) == text
