# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DMARC (RFC 9989, reports RFC 9990): records, the walk up the tree, and who may get reports.

No public suffix list: whoever holds a name says so in its record (``psd``), and eight questions are the most.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .dns import Ask, is_name
from .tags import TagProblem, tags

POLICIES = ("none", "quarantine", "reject")
#: Tags of RFC 7489 that RFC 9989 has no more. Receivers of before honour them still.
OLD_TAGS = ("pct", "rf", "ri")
_WALK = 8
_VALUES = {
    "p": re.compile("none|quarantine|reject"),
    "sp": re.compile("none|quarantine|reject"),
    "np": re.compile("none|quarantine|reject"),
    "adkim": re.compile("[rs]"),
    "aspf": re.compile("[rs]"),
    "psd": re.compile("[ynu]"),
    "t": re.compile("[yn]"),
    "fo": re.compile("[01ds](?: *: *[01ds])*"),
}
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):([^,!;\s]+)(![0-9]+[kmgtKMGT]?)?")


class Unknown(Exception):
    """A name server gave no usable answer."""


@dataclass(frozen=True)
class Record:
    """What a record says, and what in it nobody understands."""

    values: dict[str, str]
    problems: tuple[str, ...] = ()

    @property
    def policy(self) -> str:
        """What shall become of mail that fails; without ``p``, or with a wrong one, nothing."""
        policy = self.values.get("p", "none").lower()
        return policy if policy in POLICIES else "none"

    @property
    def testing(self) -> bool:
        """Whether receivers shall act a step milder than the policy says."""
        return self.values.get("t", "n").lower() == "y"

    def for_subdomains(self, *, exists: bool = True) -> str:
        """The policy for names below."""
        for tag in ("sp",) if exists else ("np", "sp"):
            if self.values.get(tag, "").lower() in POLICIES:
                return self.values[tag].lower()
        return self.policy

    def destinations(self, tag: str) -> tuple[list[str], list[str]]:
        """Where reports go (``rua`` or ``ruf``): mail addresses, and what isn't one."""
        good, wrong = [], []
        for text in filter(None, (part.strip() for part in self.values.get(tag, "").split(","))):
            uri = _URI.fullmatch(text)
            if not uri or (uri[1].lower() == "mailto" and "@" not in uri[2]):
                wrong.append(text)
            elif uri[1].lower() == "mailto":
                good.append(uri[2].partition("?")[0])
        return good, wrong


def is_dmarc(text: str) -> bool:
    """Whether a TXT record is one for DMARC: its version first, in capitals."""
    return re.match(r"v[ \t]*=[ \t]*DMARC1[ \t]*(;|$)", text) is not None


def parse(text: str) -> Record:
    """Read a record; what is wrong with it is in ``problems``, since receivers ignore what they don't understand."""
    problems: list[str] = []
    values: dict[str, str] = {}
    for part in text.split(";"):
        try:
            found = {name.lower(): value for name, value in tags(part).items()}
        except TagProblem as problem:
            problems.append(str(problem))
            continue
        for name, value in found.items():
            if name in values:
                problems.append(f"the tag {name} is there twice")
            elif name in _VALUES and not _VALUES[name].fullmatch(value.lower()):
                problems.append(f'{name} can\'t be "{value[:40]}"')
                values[name] = value
            else:
                values[name] = value
    return Record(values, tuple(problems))


@dataclass(frozen=True)
class Found:
    """The record that holds for a domain: where it is, and how many there are in its place if there isn't one."""

    record: Record | None = None
    at: str = ""
    several: int = 0
    asked: tuple[str, ...] = field(default=())


def at(ask: Ask, domain: str) -> tuple[Record | None, int]:
    """The record of exactly that name, and how many records it has: of several none counts.

    Raises:
        Unknown: Nobody says.
    """
    name = f"_dmarc.{domain}"
    if not is_name(name):
        return None, 0
    answer = ask(name, "TXT")
    if not answer.known:
        raise Unknown(answer.reason)
    found = [text for text in answer.records if is_dmarc(text)]
    return (parse(found[0]) if len(found) == 1 else None), len(found)


def walk(domain: str) -> list[str]:
    """The names that are asked on the way up (RFC 9989, section 4.10): the domain, then from at most seven labels."""
    labels = domain.lower().removesuffix(".").split(".")
    rest = labels[1:] if len(labels) <= _WALK else labels[-(_WALK - 1) :]
    return [".".join(labels), *(".".join(rest[start:]) for start in range(len(rest)))]


def organisation(ask: Ask, domain: str) -> str:
    """The organisational domain of a domain: the domain itself where nothing says another one.

    Raises:
        Unknown: Nobody says.
    """
    names = walk(domain)
    best = names[0]
    for number, name in enumerate(names):
        record, _unused = at(ask, name)
        if record is None:
            continue
        says = record.values.get("psd", "u").lower()
        if says == "n":
            return name
        if says == "y" and number > 0:
            # The one below is registered there.
            return ".".join(names[0].split(".")[-(name.count(".") + 2) :])
        best = name
    return best


def discover(ask: Ask, domain: str) -> Found:
    """The record that holds for mail of a domain: its own, else that of the organisation.

    Raises:
        Unknown: Nobody says.
    """
    own, several = at(ask, domain)
    if own is not None:
        return Found(own, domain, asked=(domain,))
    above = organisation(ask, domain)
    if above != domain.lower().removesuffix("."):
        record, _unused = at(ask, above)
        return Found(record, above, several, (domain, above))
    return Found(None, "", several, (domain,))


def takes_reports(ask: Ask, domain: str, destination: str) -> bool:
    """Whether the domain of a report's address agrees to take reports about another organisation's domain (RFC 9990).

    Raises:
        Unknown: Nobody says.
    """
    if organisation(ask, destination) == organisation(ask, domain):
        return True
    answer = ask(f"{domain}._report._dmarc.{destination}", "TXT")
    if not answer.known:
        raise Unknown(answer.reason)
    return any(is_dmarc(text) for text in answer.records)
