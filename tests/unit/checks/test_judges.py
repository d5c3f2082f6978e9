"""Each check of the table: right in a world where everything is, wrong for each cause, and never a pass unasked."""

from __future__ import annotations

import re

import pytest
from world import DOMAIN, HOST, LIST, Change, World, give, put, put_in, right, rsa_key
from zones import REFUSED, SERVFAIL

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks.mta_sts import Fetched
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks.outcomes import Outcome, Row
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks.table import CHECKS

GROUPS = ("dns", "auto", "bl")
DMARC, STS, TLS_RPT, S1 = f"_dmarc.{DOMAIN}", f"_mta-sts.{DOMAIN}", f"_smtp._tls.{DOMAIN}", f"s1._domainkey.{DOMAIN}"


def spf(record: str) -> Change:
    return put_in(DOMAIN, TXT=[record])


def dmarc(record: str) -> Change:
    return put(DMARC, TXT=[record])


def policy(text: str, status: int = 200, content_type: str = "text/plain", error: str = "") -> Change:
    return give(fetched=Fetched(status, content_type, text, error))


def with_list(zone: str, name: str, *codes: str) -> Change:
    """Ask another list, which works, and says something of an address."""

    def change(world: World) -> None:
        world.list = zone
        world.zones[f"2.0.0.127.{zone}"] = {"A": ["127.0.0.2"]}
        world.zones[f"{name}.{zone}"] = {"A": list(codes), "TXT": ["https://list.test/?<b>"]}

    return change


MANY = "v=spf1 " + " ".join(f"a:a{number}.test" for number in range(11)) + " -all"
OTHER_MX = "version: STSv1\nmode: enforce\nmx: *.other.test\nmax_age: 1\n"

#: Check, cause, what is wrong in the world, and what then is said.
WRONG: list[tuple[str, str, Change, str]] = [
    ("dns.names", "", put_in(HOST, A=["198.51.100.1"]), "mail.example.test leads to 198.51.100.1 from controller: "),
    ("dns.names", "nowhere", put(HOST), "publish an A record with 192.0.2.10 and 2001:db8::10."),
    ("dns.mx", "", put_in(DOMAIN, MX=[]), "publish one that names mail.example.test."),
    (
        "dns.mx",
        "second",
        lambda world: world.zones.update(
            {DOMAIN: {**right()[DOMAIN], "MX": ["5 filter.test", f"10 {HOST}"]}, "filter.test": {"A": ["198.51.100.1"]}}
        ),
        "Mail for example.test goes to filter.test first",
    ),
    ("dns.mx", "strange", put_in(HOST, A=["198.51.100.1"], AAAA=[]), "example.test names mail.example.test and not"),
    (
        "dns.mx",
        "literal",
        put_in(DOMAIN, MX=["10 192.0.2.10"]),
        "The MX record 192.0.2.10 of example.test is an address",
    ),
    (
        "dns.mx",
        "alias",
        put(HOST, CNAME=["out.example.test"]),
        "is a CNAME, which RFC 2181 forbids: name out.example.test",
    ),
    ("dns.mx", "nowhere", put(HOST), "The MX record mail.example.test of example.test leads nowhere"),
    ("dns.mx_target", "", put_in(HOST, A=["192.0.2.10", "198.51.100.1"]), "leads to 198.51.100.1 as well"),
    ("dns.null_mx", "", put_in(DOMAIN, MX=["0 ."]), "example.test says that it takes no mail (MX 0 .)"),
    ("dns.spf", "", put_in(DOMAIN, TXT=["other"]), "example.test has no SPF record"),
    ("dns.spf", "several", put_in(DOMAIN, TXT=["v=spf1 -all", "v=spf1 mx -all"]), "has 2 SPF records"),
    ("dns.spf", "syntax", spf("v=spf1 ipv4:192.0.2.1 -all"), "because ipv4:192.0.2.1 isn't a term of SPF"),
    (
        "dns.spf_limits",
        "",
        spf(MANY),
        "takes 11 lookups, and receivers give up after 10: put addresses in the place of",
    ),
    ("dns.spf_limits", "void", spf("v=spf1 a:1.test a:2.test a:3.test -all"), "3 lookups of example.test's SPF record"),
    ("dns.spf_limits", "error", spf("v=spf1 include:gone.test -all"), "because example.test includes gone.test, and"),
    (
        "dns.spf_covers",
        "",
        spf("v=spf1 mx -all"),
        "192.0.2.20 sends for example.test, and SPF says fail: add ip4:192.0.2.20",
    ),
    ("dns.spf_end", "", spf("v=spf1 mx +all"), "ends in +all, so that anybody may send"),
    ("dns.spf_end", "ptr", spf("v=spf1 ptr -all"), "uses ptr, which RFC 7208 advises against"),
    ("dns.dmarc", "", put(DMARC), "publish _dmarc.example.test with v=DMARC1; p=quarantine."),
    (
        "dns.dmarc",
        "several",
        put(DMARC, TXT=["v=DMARC1; p=none", "v=DMARC1"]),
        "has 2 DMARC records, of which none counts",
    ),
    ("dns.dmarc", "weak", dmarc("v=DMARC1; p=none"), "DMARC of example.test says none"),
    ("dns.dmarc", "testing", dmarc("v=DMARC1; p=reject; t=y"), "has t=y, so that reject isn't done"),
    ("dns.dmarc", "syntax", dmarc("v=DMARC1; p=refuse"), 'has a mistake, p can\'t be "refuse"'),
    (
        "dns.dmarc_reports",
        "",
        put(f"{DOMAIN}._report._dmarc.reports.test"),
        "reports.test doesn't agree to take reports",
    ),
    ("dns.dmarc_reports", "syntax", dmarc("v=DMARC1; p=reject; rua=a@b.test"), "Nobody can send reports about"),
    ("dns.dmarc_old_tags", "", dmarc("v=DMARC1; p=reject; pct=50; ri=60"), "has pct and ri, which RFC 9989 removed"),
    ("dns.dkim", "absent", put(S1), "s1._domainkey.example.test doesn't lead to a DKIM key"),
    ("dns.dkim", "several", put(S1, TXT=["v=DKIM1; p=a", "v=DKIM1; p=b"]), "has 2 records"),
    ("dns.dkim", "revoked", put(S1, TXT=["v=DKIM1; p="]), "s1._domainkey.example.test was revoked"),
    ("dns.dkim", "unusable", put(S1, TXT=["v=DKIM1; p=%%%"]), "because p isn't base64"),
    ("dns.dkim", "short", put(S1, TXT=[f"p={rsa_key(768)}"]), "is too short, it has 768 bits"),
    ("dns.dkim", "weak", put(S1, TXT=[f"p={rsa_key(1024)}"]), "has 1024 bits: make one of 2048."),
    ("dns.dkim", "testing", put(S1, TXT=[f"t=y:s; p={rsa_key(2048)}"]), "has t=y"),
    ("dns.ptr", "", put("20.2.0.192.in-addr.arpa"), "ask its owner for one to out.example.test."),
    ("dns.ptr", "several", put("20.2.0.192.in-addr.arpa", PTR=["a.test", "b.test"]), "192.0.2.20 has 2 PTR records"),
    ("dns.ptr", "unconfirmed", put("20.2.0.192.in-addr.arpa", PTR=[HOST]), "which doesn't lead back"),
    (
        "dns.ptr",
        "other",
        lambda world: world.zones.update(
            {"20.2.0.192.in-addr.arpa": {"PTR": ["dsl.test"]}, "dsl.test": {"A": ["192.0.2.20"]}}
        ),
        "is called dsl.test and says EHLO out.example.test",
    ),
    (
        "dns.mta_sts",
        "several",
        put(STS, TXT=["v=STSv1; id=1", "v=STSv1; id=2"]),
        "There are 2 records at _mta-sts.example.test",
    ),
    ("dns.mta_sts", "", policy("", 301), "the policy's server answers 301, but must 200"),
    ("dns.mta_sts", "uncovered", policy(OTHER_MX), "allows *.other.test, and the MX record is mail.example.test"),
    ("dns.mta_sts", "testing", policy("version: STSv1\nmode: none\nmax_age: 1"), "says none, so that nobody is bound"),
    ("dns.tls_rpt", "", put(TLS_RPT), "Publish _smtp._tls.example.test"),
    ("dns.tls_rpt", "wrong", put(TLS_RPT, TXT=["v=TLSRPTv1; rua=a@b"]), '"a@b" is neither mailto: nor https:'),
    (
        "dns.caa",
        "",
        give(authority="other.test"),
        "CAA records of example.test forbid other.test, because it lets letsencrypt",
    ),
    (
        "dns.delegation",
        "",
        give(servers={"ns1.test": right(), "ns2.test": {DOMAIN: {"MX": ["10 old.test"]}}}),
        "ns1.test: 10 mail.example.test; ns2.test: 10 old.test",
    ),
    (
        "dns.delegation",
        "silent",
        give(servers={"ns1.test": right(), "ns2.test": {DOMAIN: {"MX": [SERVFAIL]}}}),
        "ns2.test is a name server of example.test and doesn't answer",
    ),
    ("dns.split_view", "", give(here={DOMAIN: {"MX": ["10 inner.test"]}}), "The world sees 10 mail.example.test for"),
    ("auto.dns", "", put(f"autodiscover.{DOMAIN}"), "publish autodiscover.example.test, or _autodiscover._tcp"),
    (
        "bl.listed",
        "",
        with_list(LIST, "20.2.0.192", "127.0.0.2"),
        "192.0.2.20 is on bl.example.test (127.0.0.2 listed)",
    ),
    ("bl.usable", "", put(f"2.0.0.127.{LIST}"), "can't be used from here (it doesn't list its own test address"),
]


def of(rows: list[Row], check: str) -> list[Row]:
    return [row for row in rows if row.id == check]


def test_where_everything_is_right_everything_passes() -> None:
    rows = World().rows()
    assert {row.id for row in rows} == {check for check in CHECKS if check.partition(".")[0] in GROUPS}
    assert {row.outcome for row in rows} <= {Outcome.PASS, Outcome.NOT_TESTED}
    # The list of the test has IPv4 addresses and IPv6 ones; so nothing is left out.
    assert [row.came for row in rows if row.outcome is Outcome.NOT_TESTED] == []
    assert not [row for row in rows if row.remedy]


@pytest.mark.parametrize(("check", "cause", "change", "said"), WRONG, ids=[f"{one[0]} {one[1]}" for one in WRONG])
def test_what_is_wrong_is_said_with_what_to_do(check: str, cause: str, change: Change, said: str) -> None:
    world = World()
    change(world)
    found = [row for row in of(world.rows(), check) if row.outcome in (Outcome.FAIL, Outcome.WARN)]
    assert found, f"{check} passes."
    assert said in found[0].remedy
    template = re.escape(re.sub(r"\{\w+\}", "\0", CHECKS[check].remedies[cause])).replace("\0", ".*")
    assert re.fullmatch(template, found[0].remedy)


def test_every_cause_of_every_check_is_tried() -> None:
    tried = {(check, cause) for check, cause, _, _ in WRONG}
    there = {(check.id, cause) for check in CHECKS.values() if check.group in GROUPS for cause in check.remedies}
    assert tried == there


@pytest.mark.parametrize("failure", [SERVFAIL, REFUSED])
@pytest.mark.parametrize("check", sorted(check for check in CHECKS if check.partition(".")[0] in GROUPS))
def test_what_nobody_answers_never_passes(check: str, failure: str) -> None:
    world = World()
    world.zones = {name: {"*": [failure]} for name in [
        *world.zones, "provider.test", "reports.test", "test", f"1.0.0.127.{LIST}", f"2.0.0.127.{LIST}",
        f"_autodiscover._tcp.{DOMAIN}",
    ]}  # fmt: skip
    for row in of(world.rows(), check):
        if check == "dns.delegation":
            assert row.outcome is Outcome.FAIL
        elif check == "bl.usable":
            assert row.outcome is Outcome.WARN
        else:
            assert row.outcome in (Outcome.UNKNOWN, Outcome.NOT_TESTED), row
        assert row.came


def test_of_a_pair_of_selectors_one_may_be_absent() -> None:
    world = World()
    put(S1)(world)
    world.pair = True
    assert {row.outcome for row in of(world.rows(), "dns.dkim")} == {Outcome.PASS}
    put(f"s2._domainkey.{DOMAIN}", TXT=["v=DKIM1; p="])(world)
    assert {row.outcome for row in of(world.rows(), "dns.dkim")} == {Outcome.FAIL}


@pytest.mark.parametrize(
    ("codes", "outcome"),
    [
        (["127.0.0.2"], Outcome.FAIL),
        (["127.0.0.4", "127.0.0.2"], Outcome.FAIL),
        (["127.0.0.10"], Outcome.FAIL),
        (["127.255.255.252"], Outcome.UNKNOWN),
        (["127.255.255.254"], Outcome.UNKNOWN),
        (["127.255.255.255", "127.0.0.2"], Outcome.UNKNOWN),
        (["127.0.0.77"], Outcome.UNKNOWN),
        (["203.0.113.9"], Outcome.UNKNOWN),
    ],
)
def test_codes_of_a_list_are_told_apart(codes: list[str], outcome: Outcome) -> None:
    world = World()
    with_list("zen.spamhaus.org", "20.2.0.192", *codes)(world)
    rows = {row.subject: row for row in of(world.rows(), "bl.listed")}
    assert rows["192.0.2.20 at Spamhaus ZEN"].outcome is outcome
    assert rows["192.0.2.10 at Spamhaus ZEN"].outcome is Outcome.PASS


def test_a_policy_list_means_nothing_for_an_address_that_sends_nothing() -> None:
    world = World()
    with_list("zen.spamhaus.org", "10.2.0.192", "127.0.0.10")(world)
    assert {row.outcome for row in of(world.rows(), "bl.listed")} == {Outcome.PASS}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (put(f"1.0.0.127.{LIST}", A=["127.0.0.2"]), "it lists 127.0.0.1, and so everything"),
        (put(f"2.0.0.127.{LIST}", A=["203.0.113.9"]), "somebody else answers in its place"),
        (put(f"2.0.0.127.{LIST}", A=[SERVFAIL]), "SERVFAIL"),
        (put(f"2.0.0.127.{LIST}", A=[REFUSED]), "refuses"),
        (put(f"2.0.0.127.{LIST}"), "it doesn't list its own test address"),
    ],
)
def test_a_list_that_cannot_be_used_says_nothing_of_anybody(change: Change, reason: str) -> None:
    world = World()
    change(world)
    rows = world.rows()
    assert reason in of(rows, "bl.usable")[0].came
    assert {row.outcome for row in of(rows, "bl.listed")} == {Outcome.NOT_TESTED}


def test_autodiscover_may_be_an_srv_record_to_a_name_of_ours_and_nobody_elses() -> None:
    world = World()
    put(f"autodiscover.{DOMAIN}")(world)
    world.zones[f"_autodiscover._tcp.{DOMAIN}"] = {"SRV": [f"0 0 443 {HOST}."]}
    assert of(world.rows(), "auto.dns")[0].outcome is Outcome.PASS
    world.zones[f"_autodiscover._tcp.{DOMAIN}"] = {"SRV": ["0 0 443 evil.test."]}
    assert of(world.rows(), "auto.dns")[0].outcome is Outcome.FAIL


def test_a_domain_without_mta_sts_passes_and_says_so() -> None:
    world = World()
    put(STS)(world)
    (row,) = of(world.rows(), "dns.mta_sts")
    assert (row.outcome, row.came) == (Outcome.PASS, "the domain has no MTA-STS")
    world = World()
    world.fetched = None
    (row,) = of(world.rows(), "dns.mta_sts")
    assert row.outcome is Outcome.NOT_TESTED
