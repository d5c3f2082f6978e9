"""DMARC, DKIM, MTA-STS, TLS-RPT and CAA records, as their RFCs have them and as people get them wrong."""

from __future__ import annotations

import pytest
from world import ed25519_key, rsa_key
from zones import SERVFAIL, Zones

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks import caa, dkim, dmarc, mta_sts
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks.mta_sts import Fetched, PolicyProblem


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("v=DMARC1; p=none", True),
        ("v = DMARC1 ; p=none", True),
        ("v=DMARC1", True),
        ("v=dmarc1; p=none", False),
        ("p=none; v=DMARC1", False),
        ("v=DMARC12; p=none", False),
        (" v=DMARC1; p=none", False),
    ],
)
def test_dmarc_version_comes_first_and_in_capitals(text: str, is_one: bool) -> None:
    assert dmarc.is_dmarc(text) == is_one


@pytest.mark.parametrize(
    ("text", "policy", "below", "gone", "problems"),
    [
        ("v=DMARC1; p=reject; sp=quarantine; np=none", "reject", "quarantine", "none", 0),
        ("v=DMARC1; P=Reject;", "reject", "reject", "reject", 0),
        ("v=DMARC1; rua=mailto:a@b.test", "none", "none", "none", 0),
        ("v=DMARC1; p=quarantine; unknown=1; np=reject", "quarantine", "quarantine", "reject", 0),
        ("v=DMARC1; p=rejct; adkim=x; fo=0:1:d", "none", "none", "none", 2),
        ("v=DMARC1; p=reject; p=none", "reject", "reject", "reject", 1),
        ("v=DMARC1; p=reject; nonsense", "reject", "reject", "reject", 1),
    ],
)
def test_dmarc_records(text: str, policy: str, below: str, gone: str, problems: int) -> None:
    record = dmarc.parse(text)
    assert (record.policy, record.for_subdomains(), record.for_subdomains(exists=False)) == (policy, below, gone)
    assert len(record.problems) == problems


def test_dmarc_destinations() -> None:
    record = dmarc.parse("v=DMARC1; rua=mailto:a@b.test!10m, mailto:c@d.test?subject=x,e@f.test,https://g.test/")
    assert record.destinations("rua") == (["a@b.test", "c@d.test"], ["e@f.test"])


def test_dmarc_walks_up_in_at_most_eight_questions() -> None:
    # The example of RFC 9989: a name of many labels goes on with its last seven.
    names = dmarc.walk("a.b.c.d.e.f.g.h.i.j.mail.example.com")
    assert len(names) == 8
    assert names[1:3] == ["g.h.i.j.mail.example.com", "h.i.j.mail.example.com"]
    assert names[-2:] == ["example.com", "com"]
    assert dmarc.walk("example.com") == ["example.com", "com"]


@pytest.mark.parametrize(
    ("zones", "domain", "organisation"),
    [
        ({"example.com": "p=none"}, "mail.example.com", "example.com"),
        ({"example.com": "p=none", "mail.example.com": "p=none; psd=n"}, "a.mail.example.com", "mail.example.com"),
        ({"giant.bank": "p=none", "bank": "p=none; psd=y"}, "mail.giant.bank", "giant.bank"),
        ({"bank": "p=none; psd=y"}, "mail.giant.bank", "giant.bank"),
        ({}, "mail.example.com", "mail.example.com"),
    ],
)
def test_dmarc_organisation(zones: dict[str, str], domain: str, organisation: str) -> None:
    ask = Zones({f"_dmarc.{name}": {"TXT": f"v=DMARC1; {record}"} for name, record in zones.items()})
    assert dmarc.organisation(ask, domain) == organisation


def test_dmarc_of_a_subdomain_is_that_of_the_organisation() -> None:
    ask = Zones({"_dmarc.example.com": {"TXT": "v=DMARC1; p=reject; sp=none"}})
    found = dmarc.discover(ask, "mail.example.com")
    assert (found.at, found.record and found.record.for_subdomains()) == ("example.com", "none")
    assert dmarc.takes_reports(ask, "mail.example.com", "reports.example.com")
    assert not dmarc.takes_reports(ask, "mail.example.com", "example.org")


def test_dmarc_is_unknown_where_nobody_answers() -> None:
    ask = Zones({"_dmarc.example.com": {"TXT": SERVFAIL}})
    with pytest.raises(dmarc.Unknown, match=SERVFAIL):
        dmarc.discover(ask, "mail.example.com")


@pytest.mark.parametrize(
    ("record", "cause", "bits"),
    [
        ("v=DKIM1; p={spki}", "", 2048),
        ("p={pkcs1}", "", 2048),
        ("v=DKIM1; k=rsa; h=sha1:sha256; s=*; t=s; n=a note; p={spki}", "", 2048),
        ("v=DKIM1; k=ed25519; p={ed25519}", "", 256),
        ("v=DKIM1; p=", "revoked", 0),
        ("v=DKIM1; p = ", "revoked", 0),
        ("k=rsa; v=DKIM1; p={spki}", "unusable", 0),
        ("v=DKIM2; p={spki}", "unusable", 0),
        ("v=DKIM1; k=rsa", "unusable", 0),
        ("v=DKIM1; h=sha1; p={spki}", "unusable", 0),
        ("v=DKIM1; s=tlsrpt; p={spki}", "unusable", 0),
        ("v=DKIM1; k=ed25519; p={spki}", "unusable", 0),
        ("v=DKIM1; k=rsa; p={ed25519}", "unusable", 0),
        ("v=DKIM1; k=dsa; p={spki}", "unusable", 0),
        ("v=DKIM1; p={spki}; p={spki}", "unusable", 0),
        ("v=DKIM1; p=AAAA", "unusable", 0),
        ("v=spf1 -all", "unusable", 0),
        ("<script>", "unusable", 0),
        ("p={short}", "short", 768),
    ],
)
def test_dkim_keys(record: str, cause: str, bits: int) -> None:
    keys = {"spki": rsa_key(2048), "pkcs1": rsa_key(2048, "pkcs1"), "ed25519": ed25519_key(), "short": rsa_key(768)}
    key = dkim.parse(record.format(**keys))
    assert (key.cause, key.bits) == (cause, bits), key.reason
    assert bool(key.reason) == bool(cause)


def test_dkim_key_may_be_folded() -> None:
    key = rsa_key(2048)
    assert dkim.parse(f"v=DKIM1; p={key[:100]} {key[100:200]}\t{key[200:]}").bits == 2048


#: The example of RFC 8461.
GOOD = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"


@pytest.mark.parametrize(
    ("fetched", "problem"),
    [
        (Fetched(200, "text/plain", GOOD), ""),
        (Fetched(200, "Text/Plain; charset=utf-8", GOOD.replace("\r\n", "\n")), ""),
        (Fetched(error="the certificate is for another name"), "can't be fetched: the certificate is for another name"),
        (Fetched(301, "text/plain", GOOD), "answers 301"),
        (Fetched(200, "text/html", GOOD), "comes as text/html, not as text/plain"),
        (Fetched(200, "text/plain", GOOD.replace("STSv1", "STSv2")), "doesn't say version: STSv1"),
        (Fetched(200, "text/plain", GOOD.replace("enforce", "reject")), "mode must be one of enforce, testing, none"),
        (Fetched(200, "text/plain", GOOD.replace("604800", "31557601")), "max_age must be 0 to 31557600"),
        (Fetched(200, "text/plain", GOOD.replace("604800", "-1")), "max_age must be 0 to 31557600"),
        (
            Fetched(200, "text/plain", GOOD.replace("*.ex", "*.*.ex")),
            'mx "*.*.example.net" isn\'t the name of a server',
        ),
        (Fetched(200, "text/plain", "version: STSv1\nmode: enforce\nmax_age: 1\n"), "names no mx"),
        (Fetched(200, "text/plain", "<html>"), "without a colon"),
    ],
)
def test_mta_sts_policies(fetched: Fetched, problem: str) -> None:
    if problem:
        with pytest.raises(PolicyProblem) as caught:
            mta_sts.read_policy(fetched)
        assert problem in str(caught.value)
    else:
        assert mta_sts.read_policy(fetched).mode == "enforce"


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        ("mail.example.com", True),
        ("MAIL.example.com.", True),
        ("a.example.net", True),
        ("a.b.example.net", False),
        ("example.net", False),
        ("mail.example.com.evil.test", False),
    ],
)
def test_mta_sts_star_stands_for_one_label(name: str, covered: bool) -> None:
    assert mta_sts.read_policy(Fetched(200, "text/plain", GOOD)).covers(name) == covered


@pytest.mark.parametrize(
    ("text", "right"), [("v=STSv1; id=20160831085700Z;", True), ("v=STSv1; id=a-b", False), ("v=STSv1", False)]
)
def test_mta_sts_id(text: str, right: bool) -> None:
    if right:
        assert mta_sts.read_id(text) == "20160831085700Z"
    else:
        with pytest.raises(PolicyProblem):
            mta_sts.read_id(text)


def test_tls_rpt_destinations() -> None:
    text = "v=TLSRPTv1;rua=mailto:reports@example.com,https://reporting.example.com/v1/tlsrpt"
    assert len(mta_sts.read_destinations(text)) == 2
    for wrong in ("v=TLSRPTv1", "v=TLSRPTv1; rua=http://a.test/", "v=TLSRPTv1; rua=a@b.test"):
        with pytest.raises(PolicyProblem):
            mta_sts.read_destinations(wrong)


@pytest.mark.parametrize(
    ("records", "name", "allowed"),
    [
        ([], "mail.example.com", True),
        (["0 issue letsencrypt.org"], "mail.example.com", True),
        (["0 issue LetsEncrypt.org; accounturi=https://a.test/1"], "mail.example.com", True),
        (["0 issue other.test", "0 issue letsencrypt.org"], "mail.example.com", True),
        (["0 issue other.test"], "mail.example.com", False),
        (["0 issue ;"], "mail.example.com", False),
        (["0 iodef mailto:a@b.test"], "mail.example.com", True),
        (["0 issuewild other.test", "0 issue letsencrypt.org"], "mail.example.com", True),
        (["0 issuewild other.test", "0 issue letsencrypt.org"], "*.example.com", False),
        (["0 issue letsencrypt.org"], "*.example.com", True),
        (["0 issuewild ;"], "mail.example.com", True),
        (["128 strange x"], "mail.example.com", False),
        (["0 strange x"], "mail.example.com", True),
        (["0 issue letsencrypt.org; validationmethods=dns-01"], "mail.example.com", False),
        (["0 issue letsencrypt.org; validationmethods=dns-01,http-01"], "mail.example.com", True),
    ],
)
def test_caa(records: list[str], name: str, allowed: bool) -> None:
    verdict = caa.may_issue(Zones({"example.com": {"CAA": records}}), name, "letsencrypt.org")
    assert verdict.allowed == allowed
    assert bool(verdict.reason) != allowed


def test_caa_of_the_nearest_name_counts() -> None:
    zones = {"mail.example.com": {"CAA": ["0 issue letsencrypt.org"]}, "example.com": {"CAA": ["0 issue other.test"]}}
    assert caa.may_issue(Zones(zones), "mail.example.com", "letsencrypt.org").at == "mail.example.com"
    zones["mail.example.com"] = {"CAA": [SERVFAIL]}
    assert caa.may_issue(Zones(zones), "mail.example.com", "letsencrypt.org").unknown
