"""A real name server on loopback, for the tests of those who ask one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


class NameServer:
    """Answers from `name → lines of records`; a name that begins with `servfail`, `refused` or `silent` is so."""

    def __init__(self, records: Mapping[str, list[str]], *, authoritative: bool = True) -> None:
        self.records = dict(records)
        self.authoritative = authoritative
        self.asked: list[tuple[str, bool]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.address = f"127.0.0.1#{self.port}"

    def serve(self) -> None:
        """Answer until the socket is closed."""
        while True:
            try:
                data, client = self._socket.recvfrom(4096)
            except OSError:
                return
            if not data:
                return
            if reply := self._answer(dns.message.from_wire(data)):
                self._socket.sendto(reply.to_wire(), client)

    def close(self) -> None:
        """Wake the server up, and end it."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", self.port))

    def _answer(self, question: dns.message.Message) -> dns.message.Message | None:
        (asked,) = question.question
        name, kind = asked.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(asked.rdtype)
        self.asked.append((f"{name} {kind}", bool(question.flags & dns.flags.RD)))
        reply = dns.message.make_response(question)
        if self.authoritative:
            reply.flags |= dns.flags.AA
        if name.startswith("silent"):
            return None
        if name.startswith("servfail"):
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif name.startswith("refused"):
            reply.set_rcode(dns.rcode.REFUSED)
        elif name not in self.records:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        else:
            for line in self.records[name]:
                of, text = line.split(" ", 1)
                if of in (kind, "CNAME"):
                    reply.answer.append(dns.rrset.from_text(asked.name, 60, "IN", of, text))
        return reply


@contextmanager
def name_server(records: Mapping[str, list[str]], *, authoritative: bool = True) -> Iterator[NameServer]:
    """A name server that answers meanwhile."""
    server = NameServer(records, authoritative=authoritative)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()
        server._socket.close()
