# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to name servers, and the four kinds of answer that there are.

A judge is given an ``Ask``, a function from a name and a type to an ``Answer``, and doesn't know who answers: the
zone's own servers, the resolver of a place, or a test.
"""

from __future__ import annotations

import enum
import ipaddress
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

try:
    import dns.exception
    import dns.flags
    import dns.message
    import dns.name
    import dns.query
    import dns.rcode
    import dns.rdatatype
    import dns.resolver
    import dns.version
except ImportError:  # needed() says so
    dns = None  # type: ignore[assignment]

_OLDEST = (2, 1)


def needed() -> str:
    """The sentence for a controller without a dnspython that is recent enough; empty where there is one."""
    how = f"install it for {sys.executable}: pip install 'dnspython>={'.'.join(map(str, _OLDEST))}'"
    if not hasattr(dns, "version"):
        return f"The Python library dnspython is missing on the controller; {how}."
    if (dns.version.MAJOR, dns.version.MINOR) < _OLDEST:
        version, oldest = dns.version.version, ".".join(map(str, _OLDEST))
        return f"The Python library dnspython is {version} on the controller, but must be {oldest} or later; {how}."
    return ""


class Kind(enum.Enum):
    """What kind of answer it is. "There is none" and "nobody knows" are never the same."""

    ANSWER = "answer"
    NOTHING = "nothing"  # NXDOMAIN, or no record of that type
    FAILED = "failed"  # SERVFAIL, no answer in time, or one that can't be read
    REFUSED = "refused"


@dataclass(frozen=True)
class Answer:
    """What came. Texts of TXT records are joined, a byte a character; names have no dot at their end, but the root."""

    kind: Kind
    records: tuple[str, ...] = ()
    reason: str = ""
    exists: bool = True  # false: the name itself doesn't
    canonical: str = ""  # where CNAMEs led, if they did

    @property
    def known(self) -> bool:
        """Whether it says what there is, or that there is nothing."""
        return self.kind in (Kind.ANSWER, Kind.NOTHING)


Ask = Callable[[str, str], Answer]

NO_NAME = Answer(Kind.NOTHING, reason="that can't be a name", exists=False)


def is_name(name: str) -> bool:
    """Whether a name server can be asked for it: ASCII, labels of 1 to 63 characters, 253 in all."""
    labels = name.removesuffix(".").split(".")
    return name.isascii() and len(name.removesuffix(".")) <= 253 and all(1 <= len(label) <= 63 for label in labels)


def reverse_name(address: str) -> str:
    """The name that PTR records of an address have."""
    return ipaddress.ip_address(address).reverse_pointer


class Server:
    """One or several name servers that know the same: addresses, each perhaps with a port behind ``#``.

    They are asked in turn until one knows. Several are no reason for a long wait: each has ``timeout`` seconds.
    """

    def __init__(self, servers: Sequence[str], *, timeout: float = 3, recursive: bool = True) -> None:
        self._servers = [
            (host, int(port or 53)) for host, _unused, port in (server.partition("#") for server in servers)
        ]
        self._timeout = timeout
        self._recursive = recursive

    def __call__(self, name: str, kind: str) -> Answer:
        """Ask them."""
        if not is_name(name):
            return NO_NAME
        answer = Answer(Kind.FAILED, reason="there is no name server to ask")
        for host, port in self._servers:
            answer = self._ask(name, kind, host, port)
            if answer.known:
                break
        return answer

    def _ask(self, name: str, kind: str, host: str, port: int) -> Answer:
        """Ask one of them."""
        question = dns.message.make_query(_to_wire(name), kind, use_edns=True, payload=1232)
        if not self._recursive:
            question.flags &= ~dns.flags.RD
        try:
            reply, _unused = dns.query.udp_with_fallback(question, host, self._timeout, port, ignore_unexpected=True)
        except dns.exception.Timeout:
            return Answer(Kind.FAILED, reason=f"{host} doesn't answer")
        except (OSError, dns.exception.DNSException) as error:
            return Answer(Kind.FAILED, reason=f"{host}: {type(error).__name__}: {error}")
        return _read(reply, name, kind, host)


def system_servers() -> list[str]:
    """The resolvers that this machine is set up with."""
    try:
        found = dns.resolver.Resolver().nameservers
    except dns.exception.DNSException:
        return []
    return [str(server) for server in found]


class Zones:
    """The name servers of each zone, found by way of a resolver and asked themselves: as the world sees it now."""

    def __init__(self, resolver: Ask, *, timeout: float = 3, port: int = 53) -> None:
        self._resolver = resolver
        self._timeout = timeout
        self._port = port
        self._servers: dict[str, tuple[str, ...]] = {}

    def servers_of(self, name: str) -> dict[str, tuple[str, ...]]:
        """Name server → addresses, of the zone that a name is in; empty where nobody says."""
        labels = name.removesuffix(".").split(".")
        for start in range(len(labels)):
            answer = self._resolver(".".join(labels[start:]), "NS")
            if answer.kind is Kind.ANSWER and not answer.canonical:
                return {server: self._addresses(server) for server in sorted(answer.records)}
            if not answer.known:
                break
        return {}

    def _addresses(self, server: str) -> tuple[str, ...]:
        if server not in self._servers:
            self._servers[server] = tuple(
                address for kind in ("A", "AAAA") for address in self._resolver(server, kind).records
            )
        return self._servers[server]

    def __call__(self, name: str, kind: str) -> Answer:
        """Ask the zone's own servers, from zone to zone where a CNAME leads to another one."""
        if not is_name(name):
            return NO_NAME
        followed = name
        for _unused in range(8):
            addresses = [f"{one}#{self._port}" for found in self.servers_of(followed).values() for one in found]
            if not addresses:
                return Answer(Kind.FAILED, reason=f"nobody says which name servers {followed} has")
            answer = Server(addresses, timeout=self._timeout, recursive=False)(followed, kind)
            if answer.kind is not Kind.NOTHING or not answer.canonical:
                reached = answer.canonical or (followed if followed != name else "")
                return Answer(answer.kind, answer.records, answer.reason, answer.exists, reached)
            followed = answer.canonical
        return Answer(Kind.FAILED, reason=f"the CNAME of {name} leads through more than 8 names")


class Cached:
    """Asks each question once; ``prefetch`` asks many at the same time."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._known: dict[tuple[str, str], Answer] = {}

    def __call__(self, name: str, kind: str) -> Answer:
        """Ask, unless it is known."""
        question = (name.lower().removesuffix("."), kind)
        if question not in self._known:
            self._known[question] = self._ask(*question)
        return self._known[question]

    def prefetch(self, questions: Iterable[tuple[str, str]], threads: int = 64) -> None:
        """Ask them all at the same time."""
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda question: self(*question), set(questions)))


def _to_wire(name: str) -> dns.name.Name:
    """The name as it is, byte by byte: dnspython's own reader knows escapes and other alphabets."""
    return dns.name.Name([*(label.encode("ascii") for label in name.removesuffix(".").split(".")), b""])


def _plain(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _record(record: Any, kind: str) -> str:
    """A record as judges read it."""
    if kind == "TXT":
        return b"".join(record.strings).decode("latin-1")
    if kind == "MX":
        return f"{record.preference} {_plain(record.exchange)}"
    if kind in ("PTR", "NS", "CNAME"):
        return _plain(record.target)
    if kind == "CAA":
        return f"{record.flags} {record.tag.decode('latin-1')} {record.value.decode('latin-1')}"
    return str(record.to_text())


def _read(reply: dns.message.Message, name: str, kind: str, host: str) -> Answer:
    """What a reply says."""
    code = reply.rcode()
    if code == dns.rcode.REFUSED:
        return Answer(Kind.REFUSED, reason=f"{host} refuses to answer")
    if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return Answer(Kind.FAILED, reason=f"{host} says {dns.rcode.to_text(code)}")
    wanted = dns.rdatatype.from_text(kind)
    at, seen = _plain(_to_wire(name)), set[str]()
    by_name: dict[tuple[str, int], list[Any]] = {}
    for found in reply.answer:
        by_name.setdefault((_plain(found.name), found.rdtype), []).extend(found)
    while at not in seen:
        seen.add(at)
        if records := by_name.get((at, wanted)):
            canonical = at if len(seen) > 1 else ""
            return Answer(Kind.ANSWER, tuple(sorted(_record(one, kind) for one in records)), canonical=canonical)
        if aliases := by_name.get((at, dns.rdatatype.CNAME)):
            at = _plain(aliases[0].target)
    canonical = at if len(seen) > 1 else ""
    if not reply.answer and not reply.flags & (dns.flags.AA | dns.flags.RA):
        return Answer(Kind.FAILED, reason=f"{host} isn't a name server of that zone")
    reason = "no such name" if code == dns.rcode.NXDOMAIN else f"no {kind} record"
    return Answer(Kind.NOTHING, reason=reason, exists=code != dns.rcode.NXDOMAIN, canonical=canonical)
