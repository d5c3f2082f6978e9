# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of checks: everything that ``verify`` knows how to judge. The page ``docs/verify.md`` is made from it.

A check has a name here, its judge in ``judge/``, and a right and a wrong case in the tests.
"""

from __future__ import annotations

from .outcomes import Check, Level

MUST, SHOULD, NOTE = Level.MUST, Level.SHOULD, Level.NOTE

#: Group → its heading.
GROUPS = {
    "dns": "DNS of mail",
    "auto": "Autodiscover",
    "bl": "Block lists",
    "tls": "Certificates and TLS",
}

_TABLE = (
    Check(
        "dns.names",
        "the addresses of the host name and of each name in a certificate, in the world and at the place itself",
        "service addresses, all of them the gateways'",
        MUST,
        {
            "": "{subject} leads to {addresses} from {place}: mend the record, or the zone that {place} is shown.",
            "nowhere": "{subject} leads nowhere from {place}: publish an A record with {expected}.",
        },
        "RFC 1034",
        "Each address must be one that the declaration names. At a place inside, the addresses inside count as well.",
    ),
    Check(
        "dns.mx",
        "the MX records of each domain",
        "a server of ours among those with the lowest number; names with addresses, no CNAME, no literal address",
        MUST,
        {
            "": "{subject} has no usable MX record: publish one that names {host}.",
            "second": "Mail for {subject} goes to {first} first: give {host} the lowest number.",
            "strange": "{subject} names {first} and not {host} in its MX records: publish one that names {host}.",
            "literal": "The MX record {name} of {subject} is an address: publish one that names {host}.",
            "alias": "The MX record {name} of {subject} is a CNAME, which RFC 2181 forbids: name {target} itself.",
            "nowhere": "The MX record {name} of {subject} leads nowhere: publish its address, or take the record out.",
        },
        "RFC 5321, section 5.1; RFC 2181, section 10.3",
        "A server before the gateways is a warning: a filter in front is somebody's decision.",
    ),
    Check(
        "dns.mx_target",
        "the addresses of the MX record's name",
        "the service addresses, and no others",
        SHOULD,
        {"": "{name} leads to {addresses} as well, where none of the gateways serves: take it out."},
        "RFC 5321, section 5.1",
    ),
    Check(
        "dns.null_mx",
        "the MX records of each domain",
        "not the one that says that the domain takes no mail",
        MUST,
        {"": "{subject} says that it takes no mail (MX 0 .): publish the name of {host} in its place."},
        "RFC 7505",
    ),
    Check(
        "dns.spf",
        "the TXT records of each domain",
        "one SPF record, with nothing wrong in it",
        SHOULD,
        {
            "": "{subject} has no SPF record: publish v=spf1, the addresses that send for it, and -all.",
            "several": "{subject} has {number} SPF records, which receivers take for an error: make one of them.",
            "syntax": "Receivers can't use the SPF record of {subject}, because {reason}: mend it.",
        },
        "RFC 7208, sections 3 to 5",
    ),
    Check(
        "dns.spf_limits",
        "everything that the SPF record includes",
        "at most 10 lookups, at most 2 of which find nothing",
        MUST,
        {
            "": "The SPF record of {subject} takes {lookups} lookups, and receivers give up after 10: "
            "put addresses in the place of {mechanism}.",
            "void": "{void} lookups of {subject}'s SPF record find nothing, and receivers give up after 2: "
            "take out what is gone.",
            "error": "The SPF record of {subject} ends in an error, because {reason}: mend or take out that term.",
        },
        "RFC 7208, section 4.6.4",
        "All terms are counted, since which one a receiver reaches depends on the sender.",
    ),
    Check(
        "dns.spf_covers",
        "the SPF record, as a receiver does for each outgoing address",
        "pass",
        MUST,
        {"": "{address} sends for {subject}, and SPF says {result}: add {mechanism} to the record."},
        "RFC 7208, section 4",
    ),
    Check(
        "dns.spf_end",
        "the end of the SPF record",
        "-all or ~all; no ptr",
        SHOULD,
        {
            "": "The SPF record of {subject} ends in {end}, so that anybody may send for it: end it in -all.",
            "ptr": "The SPF record of {subject} uses ptr, which RFC 7208 advises against: put addresses in its place.",
        },
        "RFC 7208, sections 5.1 and 5.5",
    ),
    Check(
        "dns.dmarc",
        "the TXT records of _dmarc before each domain, and up the tree",
        "one record; quarantine or reject, and not for a test",
        SHOULD,
        {
            "": "{subject} has no DMARC record: publish _dmarc.{subject} with v=DMARC1; p=quarantine.",
            "several": "{at} has {number} DMARC records, of which none counts: leave one.",
            "weak": "DMARC of {subject} says {policy}, so that forged mail is delivered: say quarantine or reject.",
            "testing": "DMARC of {subject} has t=y, so that {policy} isn't done: take it out when reports are good.",
            "syntax": "The DMARC record of {subject} has a mistake, {reason}: mend it.",
        },
        "RFC 9989, sections 4.7 to 4.10",
    ),
    Check(
        "dns.dmarc_reports",
        "the addresses that get DMARC reports (rua, ruf)",
        "mail addresses, whose domain agrees to take them",
        SHOULD,
        {
            "": "{destination} doesn't agree to take reports about {subject}: have its owner publish "
            "{subject}._report._dmarc.{destination} with v=DMARC1.",
            "syntax": "Nobody can send reports about {subject} to {destination}: write mailto: and an address.",
        },
        "RFC 9990, section 4",
    ),
    Check(
        "dns.dmarc_old_tags",
        "the tags of the DMARC record",
        "none of pct, rf and ri",
        NOTE,
        {"": "The DMARC record of {subject} has {names}, which RFC 9989 removed: say what is meant by p and t."},
        "RFC 9989, appendix C",
    ),
    Check(
        "dns.dkim",
        "the TXT record of each DKIM selector of each domain",
        "one usable key",
        MUST,
        {
            "absent": "{name} doesn't lead to a DKIM key: publish the record that the signer gives.",
            "several": "{name} has {number} records, and which of them counts is undefined: leave one.",
            "revoked": "The DKIM key {name} was revoked (p is empty): publish the one that the signer uses.",
            "unusable": "Receivers can't use the DKIM key {name}, because {reason}: publish the record that the signer "
            "gives.",
            "short": "The DKIM key {name} is too short, {reason}: make one of 2048.",
            "weak": "The DKIM key {name} has {bits} bits: make one of 2048.",
            "testing": "The DKIM key {name} has t=y, so that receivers may ignore it: take it out.",
        },
        "RFC 6376, section 3.6; RFC 8301; RFC 8463",
        "Of a pair of selectors, between which a provider changes, one may be absent or revoked.",
    ),
    Check(
        "dns.ptr",
        "the PTR record of each address that mail goes out from, and where its name leads",
        "one name, which leads back, and is the one in EHLO",
        MUST,
        {
            "": "{subject} has no PTR record, so that many receivers refuse its mail: ask its owner for one to {host}.",
            "several": "{subject} has {number} PTR records: ask its owner to leave {host}.",
            "unconfirmed": "{subject} is called {name}, which doesn't lead back to it: give {name} that address.",
            "other": "{subject} is called {name} and says EHLO {host}: make the two one.",
        },
        "RFC 1912, section 2.1; RFC 5321, section 4.1.4",
        "Another name than in EHLO is a warning, as long as it leads back.",
    ),
    Check(
        "dns.mta_sts",
        "the TXT record of _mta-sts before each domain, and the policy on its web server",
        "both or neither; the policy covers every MX record",
        MUST,
        {
            "several": "There are {number} records at _mta-sts.{subject}, so that senders see no policy: leave one.",
            "": "Senders get no MTA-STS policy for {subject}: {reason}. Mend it, or take out _mta-sts.{subject}.",
            "uncovered": "The MTA-STS policy of {subject} allows {allowed}, and the MX record is {name}: senders that "
            "honour it can't deliver. Add {name} to the policy, and then change the id.",
            "testing": "The MTA-STS policy of {subject} says {mode}, so that nobody is bound by it: say enforce.",
        },
        "RFC 8461, sections 3 and 4",
        "A domain without MTA-STS passes, and the row says so.",
    ),
    Check(
        "dns.tls_rpt",
        "the TXT record of _smtp._tls before each domain",
        "one record with an address",
        NOTE,
        {
            "": "Publish _smtp._tls.{subject} with v=TLSRPTv1; rua=mailto: and an address, to hear of failed TLS.",
            "wrong": "Nobody can send TLS reports about {subject}, because {reason}: mend _smtp._tls.{subject}.",
        },
        "RFC 8460, section 3",
    ),
    Check(
        "dns.caa",
        "the CAA records of each name in a certificate, and up the tree",
        "none, or the authority that issues is allowed",
        MUST,
        {"": "CAA records of {at} forbid {authority}, because {reason}: allow it, or the renewal will fail."},
        "RFC 8659; RFC 8657",
    ),
    Check(
        "dns.delegation",
        "the MX records of each domain, from every name server of the zone",
        "the same answer from all",
        SHOULD,
        {
            "": "The name servers of {subject} disagree about its MX records ({differences}): look at the transfer.",
            "silent": "{server} is a name server of {subject} and doesn't answer: mend it, or take it out.",
        },
        "RFC 1034, section 4.2",
    ),
    Check(
        "dns.split_view",
        "the MX records of each domain, from the zone's servers and from the resolver of the place",
        "the same answer",
        NOTE,
        {"": "The world sees {world} for {subject}, and {place} sees {here}: see that this is meant."},
        "RFC 6950, section 4",
    ),
    Check(
        "auto.dns",
        "autodiscover before each domain, or its SRV record",
        "a service address, or a name that is ours",
        MUST,
        {"": "Outlook can't find {subject}: publish autodiscover.{subject}, or _autodiscover._tcp.{subject}."},
        "MS-OXDISCO, section 3.1.5",
        "Another address than ours is a failure, because clients would send passwords there.",
    ),
    Check(
        "bl.listed",
        "each service and outgoing address, at each block list that can be used",
        "not listed",
        SHOULD,
        {"": "{subject} is on {title} ({reason}): mend the cause, then ask for its removal at {url}."},
        "RFC 5782",
        "Must for Spamhaus ZEN, a note for UCEPROTECT. A code that isn't known as a listing is unknown.",
    ),
    Check(
        "bl.usable",
        "127.0.0.2 and 127.0.0.1, at each block list",
        "the first listed, the second not",
        NOTE,
        {"": "{subject} can't be used from here ({reason}): ask by a resolver of your own, or with a key."},
        "RFC 5782, section 5",
        "Where it isn't so, nothing of that list is tested.",
    ),
    Check(
        "tls.chain",
        "the certificate of every TLS port, STARTTLS included",
        "verified by the authorities that the place trusts",
        MUST,
        {
            "name": "{subject} presents a certificate for {names}, and not for {name}: add it to the certificate.",
            "expired": "The certificate of {subject} ended on {date}: renew it now.",
            "not_yet": "The certificate of {subject} begins on {date} only: set its clock or yours right, or wait.",
            "clock": "The clock of {place} is {minutes} minutes off those of the gateways, so that nobody can judge "
            "the certificate of {subject} there: set up time synchronisation.",
            "self_signed": "{subject} presents a certificate that it signed itself: get one from an authority.",
            "root": "{place} doesn't know the authority {issuer} of {subject}: get a certificate from a public one, or "
            "have {place} trust it.",
            "intermediate": "{subject} sends its own certificate alone, and {place} doesn't know its issuer {issuer}: "
            "add that of {issuer}, or have {place} trust it where it is a root.",
            "other": "The certificate of {subject} doesn't verify, because {reason}.",
        },
        "RFC 5280, section 6; RFC 9525",
        "A wrong clock is told apart from a wrong certificate by the clocks of the gateways.",
    ),
    Check(
        "tls.expiry",
        "the end of the certificate of every TLS port",
        "more than a tenth of its lifetime left",
        MUST,
        {
            "": "The certificate of {subject} ends on {date}, and nobody has renewed it: renew it now.",
            "overdue": "The certificate of {subject} should be renewed by now (it ends on {date}).",
        },
        "RFC 5280, section 4.1.2.5",
        "Less than a fifth is a warning. Fractions, since there are certificates of six days.",
    ),
    Check(
        "tls.key",
        "the key and the signature of the certificate of every TLS port",
        "RSA of 2048 bits or more, or EC of 256; no SHA-1",
        MUST,
        {"": "{subject} presents a certificate with {reason}: issue another one, with a key of 2048 bits."},
        "CA/Browser Forum, Baseline Requirements, section 6.1.5",
    ),
    Check(
        "tls.old_versions",
        "a hello by hand for SSL 3, TLS 1.0 and TLS 1.1 on every TLS port",
        "refused",
        SHOULD,
        {"": "{subject} still offers {versions}: turn it off there."},
        "RFC 8996",
        "A note on port 25, where mail without TLS would be the alternative.",
    ),
)

CHECKS = {check.id: check for check in _TABLE}


def page() -> str:
    """The checks as tables, a group each, for the documentation."""
    parts = []
    for group, heading in GROUPS.items():
        lines = [f"### {heading}", "", "| check | asked | right | level | source |", "|---|---|---|---|---|"]
        for check in _TABLE:
            if check.group == group:
                right = f"{check.wanted}. {check.judged}" if check.judged else check.wanted
                lines.append(f"| `{check.id}` | {check.asked} | {right} | {check.level} | {check.source} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"
