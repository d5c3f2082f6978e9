"""The four kinds of answer, from a real name server; zones asked at their own servers; each question once."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from name_server import NameServer, name_server
from zones import Zones

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks import dns
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks.dns import Answer, Cached, Kind, Server

RECORDS = {
    "example.test": ["MX 10 Mail.Example.Test.", 'TXT "v=spf1 " "mx -all"', 'CAA 0 issue "letsencrypt.org"'],
    "mail.example.test": ["A 192.0.2.1"],
    "alias.example.test": ["CNAME mail.example.test."],
    "away.example.test": ["CNAME host.provider.test."],
    "null.test": ["MX 0 ."],
    "_autodiscover._tcp.example.test": ["SRV 0 0 443 mail.example.test."],
}


@pytest.fixture
def server() -> Iterator[NameServer]:
    with name_server(RECORDS) as running:
        yield running


@pytest.mark.parametrize(
    ("question", "kind", "records"),
    [
        ("example.test MX", Kind.ANSWER, ("10 mail.example.test",)),
        ("EXAMPLE.test. TXT", Kind.ANSWER, ("v=spf1 mx -all",)),
        ("example.test CAA", Kind.ANSWER, ("0 issue letsencrypt.org",)),
        ("null.test MX", Kind.ANSWER, ("0 .",)),
        ("_autodiscover._tcp.example.test SRV", Kind.ANSWER, ("0 0 443 mail.example.test.",)),
        ("example.test AAAA", Kind.NOTHING, ()),
        ("gone.test A", Kind.NOTHING, ()),
        ("servfail.test A", Kind.FAILED, ()),
        ("refused.test A", Kind.REFUSED, ()),
        ("silent.test A", Kind.FAILED, ()),
        (f"{'a' * 64}.test A", Kind.NOTHING, ()),
        ("a..test A", Kind.NOTHING, ()),
        ("straße.test A", Kind.NOTHING, ()),
    ],
)
def test_four_kinds_of_answer(server: NameServer, question: str, kind: Kind, records: tuple[str, ...]) -> None:
    answer = Server([server.address], timeout=0.3)(*question.split())
    assert (answer.kind, answer.records) == (kind, records)
    assert bool(answer.reason) == (kind is not Kind.ANSWER)
    assert answer.known == (kind in (Kind.ANSWER, Kind.NOTHING))


def test_a_name_that_does_not_exist_is_told_from_one_without_such_records(server: NameServer) -> None:
    ask = Server([server.address])
    assert ask("example.test", "AAAA").exists
    assert not ask("gone.test", "A").exists


def test_nobody_there_is_no_answer() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert Server([f"127.0.0.1#{port}"], timeout=0.3)("example.test", "A").kind is Kind.FAILED
    assert Server([])("example.test", "A").kind is Kind.FAILED


def test_the_next_server_is_asked_where_one_does_not_know(server: NameServer) -> None:
    with name_server({}, authoritative=False) as lame:
        # Nothing, and "no such name", from somebody who neither has the zone nor asks around, are no answers.
        assert Server([lame.address])("mail.example.test", "A").kind is Kind.FAILED
        lame.records["mail.example.test"] = []
        assert Server([lame.address])("mail.example.test", "A").kind is Kind.FAILED
        assert Server([lame.address, server.address])("mail.example.test", "A").records == ("192.0.2.1",)


def test_zones_are_asked_at_their_own_servers_and_across_zones(server: NameServer) -> None:
    with name_server({"host.provider.test": ["A 192.0.2.2"]}) as other:
        resolver = Zones(
            {
                "example.test": {"NS": ["ns.example.test"]},
                "ns.example.test": {"A": ["127.0.0.1"]},
                "provider.test": {"NS": ["ns.provider.test"]},
                "ns.provider.test": {"A": ["127.0.0.1"]},
            }
        )
        zones = dns.Zones(resolver, timeout=0.3, port=server.port)
        assert zones("mail.example.test", "A") == Answer(Kind.ANSWER, ("192.0.2.1",))
        assert server.asked == [("mail.example.test A", False)]
        assert zones.servers_of("a.b.example.test") == {"ns.example.test": ("127.0.0.1",)}
        other.records |= RECORDS
        led = dns.Zones(resolver, timeout=0.3, port=other.port)("away.example.test", "A")
        assert (led.records, led.canonical) == (("192.0.2.2",), "host.provider.test")
        assert zones("nowhere.org", "A").kind is Kind.FAILED


def test_each_question_is_asked_once() -> None:
    zones = Zones({"a.test": {"A": "192.0.2.1"}})
    ask = Cached(zones)
    ask.prefetch([("a.test", "A"), ("A.test.", "A"), ("b.test", "A")])
    assert ask("a.test", "A").records == ask("A.TEST", "A").records == ("192.0.2.1",)
    ask("b.test", "A")
    assert zones.asked.count(("b.test", "A")) == 1


def test_a_missing_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dns.needed() == ""
    monkeypatch.setattr(dns.dns.version, "MAJOR", 1)
    assert "but must be 2.1 or later; install it for " in dns.needed()
    monkeypatch.setattr(dns, "dns", None)
    assert dns.needed().startswith("The Python library dnspython is missing on the controller; install it for ")
