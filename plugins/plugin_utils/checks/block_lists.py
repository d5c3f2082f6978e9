# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Block lists by DNS (RFC 5782): which there are, and what the codes of each mean.

Only a code that is known as a listing is one. Each list has codes with which it says that it won't answer; a code
that nobody knows is no listing either.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from .dns import Answer, Ask, Kind
from .outcomes import Level

_LISTED = {"127.0.0.2": "listed"}
#: Codes of Spamhaus with which it refuses.
_SPAMHAUS_ERRORS = {
    "127.255.255.252": "the zone's name is misspelt",
    "127.255.255.254": "the question came by a public resolver, or one without a name",
    "127.255.255.255": "this resolver has asked too many questions",
}


@dataclass(frozen=True)
class BlockList:
    """A list. ``own_senders_only``: codes that mean something for addresses that send, and nothing for others."""

    zone: str
    title: str
    removal: str
    listings: Mapping[str, str] = field(default_factory=lambda: _LISTED)
    errors: Mapping[str, str] = field(default_factory=dict)
    own_senders_only: tuple[str, ...] = ()
    level: Level = Level.SHOULD
    ipv6: bool = False


LISTS = (
    BlockList(
        "zen.spamhaus.org",
        "Spamhaus ZEN",
        "https://check.spamhaus.org/",
        {
            "127.0.0.2": "SBL: sources of spam",
            "127.0.0.3": "CSS: snowshoe senders",
            "127.0.0.4": "XBL: a machine that was taken over",
            "127.0.0.9": "DROP: a network that was taken over",
            "127.0.0.10": "PBL: its provider says that it sends no mail itself",
            "127.0.0.11": "PBL: it should send no mail itself",
            "127.0.0.30": "BCL: it commands machines that were taken over",
        },
        _SPAMHAUS_ERRORS,
        own_senders_only=("127.0.0.10", "127.0.0.11"),
        level=Level.MUST,
        ipv6=True,
    ),
    BlockList("bl.spamcop.net", "SpamCop", "https://www.spamcop.net/bl.shtml"),
    BlockList("b.barracudacentral.org", "Barracuda", "https://www.barracudacentral.org/rbl/removal-request"),
    BlockList("psbl.surriel.com", "PSBL", "https://psbl.org/remove"),
    BlockList("dnsbl-1.uceprotect.net", "UCEPROTECT 1", "https://www.uceprotect.net/en/rblcheck.php", level=Level.NOTE),
)
BY_ZONE = {one.zone: one for one in LISTS}


def named(zone: str) -> BlockList:
    """The list of a zone; one that nobody here knows has the code that RFC 5782 gives."""
    return BY_ZONE.get(zone) or BlockList(zone, zone, f"https://{zone}/", ipv6=True)


def question(zone: str, address: str) -> str:
    """The name that is asked for an address."""
    reverse = ipaddress.ip_address(address).reverse_pointer
    return f"{reverse.removesuffix('.in-addr.arpa').removesuffix('.ip6.arpa')}.{zone}"


@dataclass(frozen=True)
class Verdict:
    """What a list says of an address: listings, or why nobody knows."""

    listings: tuple[str, ...] = ()
    unknown: str = ""


def read(one: BlockList, answer: Answer, *, sends: bool) -> Verdict:
    """What an answer means for an address that sends mail, or that doesn't."""
    if not answer.known:
        return Verdict(unknown=answer.reason)
    if answer.kind is Kind.NOTHING:
        return Verdict()
    if wrong := [code for code in answer.records if code in one.errors]:
        return Verdict(unknown=f"{wrong[0]}: {one.errors[wrong[0]]}")
    strange = [code for code in answer.records if code not in one.listings]
    known = [code for code in answer.records if code in one.listings and (sends or code not in one.own_senders_only)]
    if known:
        return Verdict(tuple(f"{code} {one.listings[code]}" for code in known))
    return Verdict(unknown=f"{', '.join(strange)}: a code that nobody knows") if strange else Verdict()


def usable(one: BlockList, ask: Ask) -> str:
    """Why a list can't be used; empty where it can: its test address is listed, and 127.0.0.1 isn't."""
    listed, unlisted = ask(question(one.zone, "127.0.0.2"), "A"), ask(question(one.zone, "127.0.0.1"), "A")
    for answer in (listed, unlisted):
        if not answer.known:
            return answer.reason
        if wrong := [code for code in answer.records if code in one.errors]:
            return f"{wrong[0]}: {one.errors[wrong[0]]}"
    if not listed.records:
        return "it doesn't list its own test address 127.0.0.2"
    if unlisted.records:
        return "it lists 127.0.0.1, and so everything"
    if not any(ipaddress.ip_address(code) in ipaddress.ip_network("127.0.0.0/8") for code in listed.records):
        return f"it answers {listed.records[0]}, which isn't in 127.0.0.0/8: somebody else answers in its place"
    return ""
