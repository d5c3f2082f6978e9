# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges how mail and clients find the gateways: MX, MTA-STS, TLS-RPT, names, Autodiscover, CAA, name servers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence

from .. import caa as caa_records
from .. import mta_sts as policies
from ..dns import Ask, Kind
from ..outcomes import Row
from ..table import CHECKS


def _sorted(addresses: Sequence[str]) -> list[str]:
    """Addresses in the one spelling that they have, IPv4 first."""
    found = {ipaddress.ip_address(address) for address in addresses}
    return [str(one) for one in sorted(found, key=lambda one: (one.version, int(one)))]


def addresses(ask: Ask, name: str) -> tuple[list[str], str]:
    """The addresses of a name; why nobody knows, if nobody does."""
    answers = [ask(name, kind) for kind in ("A", "AAAA")]
    if unknown := [answer.reason for answer in answers if not answer.known]:
        return [], unknown[0]
    return _sorted([record for answer in answers for record in answer.records]), ""


def mx_records(ask: Ask, domain: str) -> tuple[list[tuple[int, str]], str]:
    """The MX records of a domain, lowest number first; why nobody knows."""
    answer = ask(domain, "MX")
    if not answer.known:
        return [], answer.reason
    split = [record.split() for record in answer.records]
    return sorted((int(number), name.lower().removesuffix(".") or ".") for number, name in split), ""


def mx(ask: Ask, domain: str, place: str, host: str, service: Sequence[str]) -> Iterator[Row]:
    """Judge the MX records of a domain, whose mail the host takes at the service addresses."""
    records, unknown = mx_records(ask, domain)
    null, check, target = CHECKS["dns.null_mx"], CHECKS["dns.mx"], CHECKS["dns.mx_target"]
    if unknown:
        for one in (null, check, target):
            yield one.unknown(domain, place, unknown)
        return
    came = ", ".join(f"{number} {name}" for number, name in records) or "none"
    if any(name == "." for _unused, name in records):
        yield null.failed(domain, place, came, host=host)
        yield check.not_tested(domain, place, "the domain says that it takes no mail")
        yield target.not_tested(domain, place, "the domain says that it takes no mail")
        return
    yield null.passed(domain, place, came)
    found = {name: addresses(ask, name) for _unused, name in records}
    yield _mx(ask, domain, place, host, _sorted(service), records, found, came)
    yield _mx_target(domain, place, _sorted(service), found)


def _mx(
    ask: Ask,
    domain: str,
    place: str,
    host: str,
    service: Sequence[str],
    records: Sequence[tuple[int, str]],
    found: Mapping[str, tuple[Sequence[str], str]],
    came: str,
) -> Row:
    check = CHECKS["dns.mx"]
    if not records:
        return check.failed(domain, place, came, host=host)
    for _unused, name in records:
        if _is_address(name):
            return check.failed(domain, place, came, cause="literal", name=name, host=host)
        if canonical := ask(name, "A").canonical or ask(name, "AAAA").canonical:
            return check.failed(domain, place, came, cause="alias", name=name, target=canonical)
        known, unknown = found[name]
        if unknown:
            return check.unknown(domain, place, f"{name}: {unknown}")
        if not known:
            return check.failed(domain, place, came, cause="nowhere", name=name)
    ours = {name for name, (known, _unused) in found.items() if set(known) & set(service)}
    lowest = [name for number, name in records if number == records[0][0]]
    if not ours:
        return check.failed(domain, place, came, cause="strange", first=lowest[0], host=host)
    if not ours & set(lowest):
        return check.warned(domain, place, came, cause="second", first=lowest[0], host=host)
    return check.passed(domain, place, came)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _mx_target(domain: str, place: str, service: Sequence[str], found: Mapping[str, tuple[Sequence[str], str]]) -> Row:
    check = CHECKS["dns.mx_target"]
    if unknown := [f"{name}: {why}" for name, (_unused, why) in found.items() if why]:
        return check.unknown(domain, place, unknown[0])
    ours = {name: known for name, (known, _unused) in found.items() if set(known) & set(service)}
    if not ours:
        return check.not_tested(domain, place, "no MX record leads to a service address")
    for name, known in ours.items():
        if strangers := [one for one in known if one not in service]:
            return check.failed(domain, place, ", ".join(known), name=name, addresses=", ".join(strangers))
    return check.passed(domain, place, ", ".join(sorted({one for known in ours.values() for one in known})))


def mta_sts(ask: Ask, domain: str, place: str, fetched: policies.Fetched | None) -> Row:
    """Judge the MTA-STS policy of a domain; ``fetched`` is None where nobody fetched it."""
    check, answer = CHECKS["dns.mta_sts"], ask(f"_mta-sts.{domain}", "TXT")
    if not answer.known:
        return check.unknown(domain, place, answer.reason)
    found = policies.records(answer.records, "STSv1")
    if not found:
        return check.passed(domain, place, "the domain has no MTA-STS")
    if len(found) > 1:
        return check.failed(domain, place, f"{len(found)} records", cause="several", number=len(found))
    if fetched is None:
        return check.not_tested(domain, place, "nobody fetched the policy")
    try:
        policies.read_id(found[0])
        policy = policies.read_policy(fetched)
    except policies.PolicyProblem as problem:
        return check.failed(domain, place, str(problem), reason=str(problem), evidence=(found[0],))
    records, unknown = mx_records(ask, domain)
    if unknown:
        return check.unknown(domain, place, unknown)
    came = f"{policy.mode}: {', '.join(policy.mx) or 'no server'}"
    if policy.mode == "none":
        return check.warned(domain, place, came, cause="testing", mode=policy.mode)
    for _unused, name in records:
        if not policy.covers(name):
            return check.failed(domain, place, came, cause="uncovered", allowed=", ".join(policy.mx), name=name)
    if policy.mode != "enforce":
        return check.warned(domain, place, came, cause="testing", mode=policy.mode)
    return check.passed(domain, place, came)


def tls_rpt(ask: Ask, domain: str, place: str) -> Row:
    """Judge where reports of failed TLS go."""
    check, answer = CHECKS["dns.tls_rpt"], ask(f"_smtp._tls.{domain}", "TXT")
    if not answer.known:
        return check.unknown(domain, place, answer.reason)
    found = policies.records(answer.records, "TLSRPTv1")
    if not found:
        return check.warned(domain, place, "none")
    if len(found) > 1:
        reason = f"it has {len(found)} records, of which none counts"
        return check.warned(domain, place, reason, cause="wrong", reason=reason)
    try:
        return check.passed(domain, place, ", ".join(policies.read_destinations(found[0])))
    except policies.PolicyProblem as problem:
        return check.warned(domain, place, found[0], cause="wrong", reason=str(problem))


def name(ask: Ask, subject: str, place: str, expected: Sequence[str]) -> Row:
    """Judge where a name of ours leads."""
    check, wanted = CHECKS["dns.names"], _sorted(expected)
    known, unknown = addresses(ask, subject)
    if unknown:
        return check.unknown(subject, place, unknown)
    came = ", ".join(known)
    if not known:
        return check.failed(subject, place, "nothing", cause="nowhere", expected=" and ".join(wanted))
    if strangers := [one for one in known if one not in wanted]:
        return check.failed(subject, place, came, addresses=", ".join(strangers))
    return check.passed(subject, place, came)


def autodiscover(ask: Ask, domain: str, place: str, service: Sequence[str], names: Sequence[str]) -> Row:
    """Judge how Outlook finds a domain: by the name, or by an SRV record that leads to one of our names."""
    check, wanted, direct = CHECKS["auto.dns"], _sorted(service), f"autodiscover.{domain}"
    known, unknown = addresses(ask, direct)
    if unknown:
        return check.unknown(domain, place, f"{direct}: {unknown}")
    if known:
        came = f"{direct} leads to {', '.join(known)}"
        return check.passed(domain, place, came) if set(known) <= set(wanted) else check.failed(domain, place, came)
    answer = ask(f"_autodiscover._tcp.{domain}", "SRV")
    if not answer.known:
        return check.unknown(domain, place, answer.reason)
    for record in answer.records:
        _unused, _unused, port, target = record.split()
        target = target.lower().removesuffix(".")
        came = f"_autodiscover._tcp leads to {target}, port {port}"
        if port == "443" and target in [one.lower() for one in names]:
            return check.passed(domain, place, came)
        return check.failed(domain, place, came)
    return check.failed(domain, place, "neither the name nor an SRV record")


def caa(ask: Ask, subject: str, place: str, authority: str, method: str = "http-01") -> Row:
    """Judge whether the authority that issues for a name may."""
    check = CHECKS["dns.caa"]
    found = caa_records.may_issue(ask, subject, authority, method)
    if found.unknown:
        return check.unknown(subject, place, f"{found.at}: {found.unknown}")
    if not found.allowed:
        return check.failed(subject, place, found.reason, at=found.at, authority=authority, reason=found.reason)
    return check.passed(subject, place, f"{found.at} allows {authority}" if found.at else "no CAA record")


def delegation(servers: Mapping[str, Ask], domain: str, place: str) -> Row:
    """Judge whether a zone's name servers agree about the MX records of a domain."""
    check = CHECKS["dns.delegation"]
    if not servers:
        return check.unknown(domain, place, f"nobody says which name servers {domain} has")
    answers = {server: ask(domain, "MX") for server, ask in servers.items()}
    for server, answer in answers.items():
        if not answer.known:
            return check.failed(domain, place, f"{server}: {answer.reason}", cause="silent", server=server)
    said = {server: ", ".join(answer.records) or answer.reason for server, answer in answers.items()}
    if len(set(said.values())) > 1:
        differences = "; ".join(f"{server}: {text}" for server, text in said.items())
        return check.failed(domain, place, differences, differences=differences)
    return check.passed(domain, place, f"{len(said)} servers say {next(iter(said.values()))}")


def split_view(world: Ask, here: Ask, domain: str, place: str) -> Row:
    """Judge whether a place sees the MX records that the world sees."""
    check, answers = CHECKS["dns.split_view"], (world(domain, "MX"), here(domain, "MX"))
    for answer in answers:
        if not answer.known:
            return check.unknown(domain, place, answer.reason)
    outside, inside = (
        ", ".join(sorted(answer.records)) if answer.kind is Kind.ANSWER else answer.reason for answer in answers
    )
    if outside != inside:
        return check.warned(domain, place, inside, world=outside, here=inside)
    return check.passed(domain, place, inside)
