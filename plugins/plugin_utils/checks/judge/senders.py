# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges who may send for a domain: SPF, DMARC, DKIM, PTR."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from .. import dkim as dkim_keys
from .. import dmarc as dmarc_records
from .. import spf as spf_records
from ..dns import Answer, Ask, Kind, reverse_name
from ..outcomes import Row
from ..table import CHECKS


def spf(ask: Ask, domain: str, place: str, outgoing: Sequence[str]) -> Iterator[Row]:
    """Judge the SPF record of a domain, for the addresses that its mail goes out from."""
    answer = ask(domain, "TXT")
    is_there, limits, covers, end = (CHECKS[f"dns.spf{name}"] for name in ("", "_limits", "_covers", "_end"))
    why_not = ""
    if not answer.known:
        why_not = answer.reason
        yield is_there.unknown(domain, place, answer.reason)
    elif why_not := _no_spf(answer, domain):
        yield _spf_missing(answer, domain, place)
    else:
        yield is_there.passed(domain, place, spf_records.records(answer)[0])
    if why_not:
        yield limits.not_tested(domain, place, why_not)
        yield end.not_tested(domain, place, why_not)
        for address in outgoing:
            yield covers.not_tested(f"{domain} from {address}", place, why_not)
        return
    yield _limits(ask, domain, place)
    for address in outgoing:
        yield _covers(ask, domain, place, address)
    yield _end(ask, domain, place)


def _no_spf(answer: Answer, domain: str) -> str:
    """Why there is no record to judge."""
    found = spf_records.records(answer)
    if len(found) != 1:
        return f"{domain} has {len(found)} SPF records" if found else f"{domain} has no SPF record"
    try:
        spf_records.parse(found[0])
    except spf_records.SyntaxProblem as problem:
        return str(problem)
    return ""


def _spf_missing(answer: Answer, domain: str, place: str) -> Row:
    check, found = CHECKS["dns.spf"], spf_records.records(answer)
    if not found:
        return check.failed(domain, place, "none")
    if len(found) > 1:
        return check.failed(domain, place, f"{len(found)} records", cause="several", number=len(found), evidence=found)
    return check.failed(domain, place, found[0], cause="syntax", reason=_no_spf(answer, domain))


def _limits(ask: Ask, domain: str, place: str) -> Row:
    check, found = CHECKS["dns.spf_limits"], spf_records.cost(ask, domain)
    came = f"{found.lookups} lookups, {found.void} find nothing"
    if found.lookups > spf_records.LOOKUPS:
        late = found.asked[spf_records.LOOKUPS]
        return check.failed(domain, place, came, lookups=found.lookups, mechanism=late, evidence=found.asked)
    if found.result == "temperror":
        return check.unknown(domain, place, found.reason)
    if found.result == "permerror":
        return check.failed(domain, place, found.reason, cause="error", reason=found.reason)
    if found.void > spf_records.VOID:
        return check.failed(domain, place, came, cause="void", void=found.void, evidence=found.asked)
    return check.passed(domain, place, came)


def _covers(ask: Ask, domain: str, place: str, address: str) -> Row:
    check, subject = CHECKS["dns.spf_covers"], f"{domain} from {address}"
    found = spf_records.check_host(ask, address, domain)
    came = f"{found.result}: {found.reason}"
    if found.result == "temperror":
        return check.unknown(subject, place, found.reason)
    if found.result == "pass":
        return check.passed(subject, place, came)
    mechanism = f"ip{6 if ':' in address else 4}:{address}"
    return check.failed(subject, place, came, about=domain, address=address, result=found.result, mechanism=mechanism)


def _end(ask: Ask, domain: str, place: str) -> Row:
    check = CHECKS["dns.spf_end"]
    end, pointers = spf_records.ends(ask, domain)
    if end not in ("-all", "~all"):
        outcome = check.failed if end == "+all" else check.warned
        return outcome(domain, place, end or "no all", end=end or "nothing")
    if pointers:
        return check.warned(domain, place, f"ptr, and {end}", cause="ptr")
    return check.passed(domain, place, end)


def dmarc(ask: Ask, domain: str, place: str) -> Iterator[Row]:
    """Judge the DMARC record that holds for a domain, and where its reports go."""
    policy, reports, old = (CHECKS[f"dns.dmarc{name}"] for name in ("", "_reports", "_old_tags"))
    try:
        found = dmarc_records.discover(ask, domain)
    except dmarc_records.Unknown as unknown:
        for check in (policy, reports, old):
            yield check.unknown(domain, place, str(unknown))
        return
    if found.record is None:
        if found.several > 1:
            at, came = f"_dmarc.{domain}", f"{found.several} records"
            yield policy.failed(domain, place, came, cause="several", at=at, number=found.several)
        else:
            yield policy.failed(domain, place, "none")
        for check in (reports, old):
            yield check.not_tested(domain, place, f"{domain} has no DMARC record")
        return
    record = found.record
    yield _policy(found, domain, place)
    yield _reports(ask, record, found.at, domain, place)
    came = "; ".join(f"{name}={value}" for name, value in record.values.items())
    if names := [name for name in dmarc_records.OLD_TAGS if name in record.values]:
        yield old.warned(domain, place, came, names=" and ".join(names))
    else:
        yield old.passed(domain, place, came)


def _policy(found: dmarc_records.Found, domain: str, place: str) -> Row:
    check, record = CHECKS["dns.dmarc"], found.record
    if not record:
        raise AssertionError(record)
    inherited = found.at != domain
    policy = record.for_subdomains() if inherited else record.policy
    came = f"{policy}, by _dmarc.{found.at}" if inherited else policy
    if record.problems:
        return check.warned(domain, place, came, cause="syntax", reason=record.problems[0], evidence=record.problems)
    if policy == "none":
        return check.warned(domain, place, came, cause="weak", policy=policy)
    if record.testing:
        return check.warned(domain, place, f"{came}, for a test", cause="testing", policy=policy)
    return check.passed(domain, place, came)


def _reports(ask: Ask, record: dmarc_records.Record, at: str, domain: str, place: str) -> Row:
    check = CHECKS["dns.dmarc_reports"]
    addresses, wrong = [], []
    for tag in ("rua", "ruf"):
        good, bad = record.destinations(tag)
        addresses += good
        wrong += bad
    came = ", ".join([*addresses, *wrong]) or "none are asked for"
    if wrong:
        return check.failed(domain, place, came, cause="syntax", destination=wrong[0])
    for destination in dict.fromkeys(address.rpartition("@")[2].lower() for address in addresses):
        try:
            if not dmarc_records.takes_reports(ask, at, destination):
                return check.failed(domain, place, came, destination=destination)
        except dmarc_records.Unknown as unknown:
            return check.unknown(domain, place, str(unknown))
    return check.passed(domain, place, came)


def dkim(ask: Ask, domain: str, place: str, selectors: Sequence[str], *, pair: bool = False) -> Iterator[Row]:
    """Judge the keys of a domain's selectors. Of a ``pair`` one is enough."""
    rows = [_key(ask, domain, place, selector) for selector in selectors]
    check = CHECKS["dns.dkim"]
    usable = any(row.outcome in ("pass", "warn") for row in rows)
    for row, (selector, cause) in zip(rows, [(name, _cause(ask, domain, name)) for name in selectors], strict=True):
        if pair and usable and cause in ("absent", "revoked"):
            yield check.passed(f"{domain}, {selector}", place, f"{row.came}; the other one of the pair is usable")
        else:
            yield row


def _name(domain: str, selector: str) -> str:
    return f"{selector}._domainkey.{domain}"


def _cause(ask: Ask, domain: str, selector: str) -> str:
    """Why a selector has no usable key; empty where it has, and where nobody knows."""
    answer = ask(_name(domain, selector), "TXT")
    if not answer.known:
        return ""
    if not answer.records:
        return "absent"
    return "several" if len(answer.records) > 1 else dkim_keys.parse(answer.records[0]).cause


def _key(ask: Ask, domain: str, place: str, selector: str) -> Row:
    check, name, subject = CHECKS["dns.dkim"], _name(domain, selector), f"{domain}, {selector}"
    answer, cause = ask(name, "TXT"), _cause(ask, domain, selector)
    if not answer.known:
        return check.unknown(subject, place, answer.reason)
    if cause == "absent":
        where = f"{answer.reason} at {answer.canonical}" if answer.canonical else answer.reason
        return check.failed(subject, place, where, cause=cause, name=name)
    if cause == "several":
        number = len(answer.records)
        return check.failed(subject, place, f"{number} records", cause=cause, name=name, number=number)
    key = dkim_keys.parse(answer.records[0])
    if cause:
        return check.failed(
            subject, place, key.reason, cause=cause, name=name, reason=key.reason, evidence=answer.records
        )
    came = f"{key.kind}, {key.bits} bits" + (f", at {answer.canonical}" if answer.canonical else "")
    if key.kind == "rsa" and key.bits < dkim_keys.GOOD:
        return check.warned(subject, place, came, cause="weak", name=name, bits=key.bits)
    if key.testing:
        return check.warned(subject, place, f"{came}, for a test", cause="testing", name=name)
    return check.passed(subject, place, came)


def ptr(ask: Ask, address: str, place: str, host: str) -> Row:
    """Judge the name of an address that mail goes out from; ``host`` is the one that it says in EHLO."""
    check, answer = CHECKS["dns.ptr"], ask(reverse_name(address), "PTR")
    if not answer.known:
        return check.unknown(address, place, answer.reason)
    if answer.kind is Kind.NOTHING:
        return check.failed(address, place, answer.reason, host=host)
    came = ", ".join(answer.records)
    if len(answer.records) > 1:
        return check.warned(address, place, came, cause="several", number=len(answer.records), host=host)
    name = answer.records[0]
    back = ask(name, "AAAA" if ":" in address else "A")
    if not back.known:
        return check.unknown(address, place, f"{name}: {back.reason}")
    if not any(_same(one, address) for one in back.records):
        return check.failed(
            address,
            place,
            f"{name}, which leads to {', '.join(back.records) or 'nothing'}",
            cause="unconfirmed",
            name=name,
        )
    if name.lower() != host.lower():
        return check.warned(address, place, name, cause="other", name=name, host=host)
    return check.passed(address, place, name)


def _same(one: str, other: str) -> bool:
    return ipaddress.ip_address(one) == ipaddress.ip_address(other)
