# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SPF (RFC 7208): a record as terms, what it says of a sender, and what it costs.

``check_host`` is section 4 of the RFC, ``cost`` walks the whole record and everything that it includes, whatever the
sender: a receiver that meets the eleventh lookup gives up, and which one that is depends on the sender.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from .dns import Answer, Ask, Kind, is_name, reverse_name

LOOKUPS = 10  # section 4.6.4
VOID = 2
NAMES = 10  # of one MX or PTR answer
_COST_ENDS = 200  # records that include each other in a circle cost without end

_NOBODY = ipaddress.IPv4Address(0)

_QUALIFIERS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9\-_.]*)=(.*)", re.DOTALL)
_MECHANISM = re.compile(r"([+\-?~]?)([A-Za-z][A-Za-z0-9\-_.]*)((?:[:/].*)?)", re.DOTALL)
_MACRO = re.compile(r"%(?:\{([A-Za-z])(\d*)([rR]?)([.\-+,/_=]*)\}|([%_-]))")
_LITERAL = re.compile(r"[\x21-\x24\x26-\x7e]*")
_END = re.compile(r"\.(?:[A-Za-z0-9]*[A-Za-z][A-Za-z0-9]*|[A-Za-z0-9]+-[A-Za-z0-9-]*[A-Za-z0-9])\.?$")
_LENGTH = re.compile(r"0|[1-9][0-9]*")
_TARGET = re.compile(r"(.*?)(?:/([0-9]+))?(?://([0-9]+))?", re.DOTALL)
_LETTERS = "slodiphv"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SyntaxProblem(ValueError):
    """A record that no receiver can use, and the term that makes it so."""


class _Ended(Exception):
    """The evaluation has a result before its time: an error, for the most part."""

    def __init__(self, result: str, reason: str) -> None:
        super().__init__(reason)
        self.result = result
        self.reason = reason


@dataclass(frozen=True)
class Term:
    """A mechanism. ``text`` is how it stands in the record."""

    text: str
    qualifier: str
    name: str
    target: str = ""
    network: Network | None = None
    length4: int = 32
    length6: int = 128


@dataclass(frozen=True)
class Record:
    """A record without what isn't used here (``exp`` and unknown modifiers, whose syntax is checked all the same)."""

    terms: tuple[Term, ...]
    redirect: str = ""


@dataclass
class Result:
    """What a receiver finds, why, and what it had to ask."""

    result: str = "none"
    reason: str = ""
    lookups: int = 0
    void: int = 0
    asked: list[str] = field(default_factory=list)  # the terms that cost a lookup, in order


def is_spf(text: str) -> bool:
    """Whether a TXT record is one for SPF."""
    return text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")


def records(answer: Answer) -> list[str]:
    """The SPF records of an answer."""
    return [text for text in answer.records if is_spf(text)]


def parse(text: str) -> Record:
    """Read a record.

    Raises:
        SyntaxProblem: A term is wrong.
    """
    if not text.isascii():
        raise SyntaxProblem("it has characters beside ASCII")
    terms: list[Term] = []
    modifiers: dict[str, str] = {}
    for word in text[len("v=spf1") :].split(" "):
        if not word:
            continue
        if found := _MODIFIER.fullmatch(word):
            name, value = found[1].lower(), found[2]
            if name in ("redirect", "exp"):
                if name in modifiers:
                    raise SyntaxProblem(f"it has {name} twice")
                _check_domain(value, word)
                modifiers[name] = value
            else:
                _check_macros(value, word)
        else:
            terms.append(_mechanism(word))
    redirect = "" if any(term.name == "all" for term in terms) else modifiers.get("redirect", "")
    return Record(tuple(terms), redirect)


def _mechanism(word: str) -> Term:
    """Read a mechanism."""
    found = _MECHANISM.fullmatch(word)
    wrong = SyntaxProblem(f"{word} isn't a term of SPF")
    if not found:
        raise wrong
    qualifier, name, rest = found[1] or "+", found[2].lower(), found[3]
    if name == "all" and not rest:
        return Term(word, qualifier, name)
    if name in ("ip4", "ip6") and rest.startswith(":"):
        return Term(word, qualifier, name, network=_network(rest[1:], name, word))
    if name in ("include", "exists") and rest.startswith(":"):
        return Term(word, qualifier, name, _check_domain(rest[1:], word))
    if name == "ptr" and (not rest or rest.startswith(":")):
        return Term(word, qualifier, name, _check_domain(rest[1:], word) if rest else "")
    if name in ("a", "mx"):
        target, length4, length6 = _lengths(rest.removeprefix(":"), word)
        if rest.startswith(":") or target:
            _check_domain(target, word)
        return Term(word, qualifier, name, target, length4=length4, length6=length6)
    raise wrong


def _lengths(rest: str, word: str) -> tuple[str, int, int]:
    """A target, and the lengths of its prefixes behind it."""
    found = _TARGET.fullmatch(rest)
    assert found  # it takes anything
    lengths = []
    for text, most in ((found[2], 32), (found[3], 128)):
        if text is not None and (not _LENGTH.fullmatch(text) or int(text) > most):
            raise SyntaxProblem(f"the length of the prefix in {word} is wrong")
        lengths.append(most if text is None else int(text))
    return found[1], lengths[0], lengths[1]


def _network(text: str, name: str, word: str) -> Network:
    """An ``ip4`` or ``ip6`` network; host bits may be set."""
    address, slash, length = text.partition("/")
    of_version = ipaddress.IPv4Network if name == "ip4" else ipaddress.IPv6Network
    if "%" in address or (slash and not _LENGTH.fullmatch(length)):
        raise SyntaxProblem(f"{word} isn't an address or network")
    try:
        return of_version(text, strict=False)
    except ValueError:
        raise SyntaxProblem(f"{word} isn't an address or network") from None


def _check_macros(text: str, word: str) -> None:
    """Refuse what isn't a macro-string."""
    if not _LITERAL.fullmatch(_MACRO.sub("", text)):
        raise SyntaxProblem(f"{word} has a % that begins no macro, or a character that has no place there")
    for letter, digits, _unused, _unused, plain in _MACRO.findall(text):
        if not plain and (letter.lower() not in _LETTERS or (digits and int(digits) == 0)):
            raise SyntaxProblem(f"{word} has a macro that there isn't")


def _check_domain(text: str, word: str) -> str:
    """Return a domain-spec as it is; refuse what isn't one."""
    _check_macros(text, word)
    ends_in_macro = any(found.end() == len(text) for found in _MACRO.finditer(text))
    if not ends_in_macro and not _END.search(text):
        raise SyntaxProblem(f"{word} doesn't name a domain")
    return text


class _Evaluation:
    """One question of a receiver."""

    def __init__(self, ask: Ask, address: Address, sender: str, helo: str, *, whole: bool) -> None:
        self._ask = ask
        self._address = address
        self._sender = sender
        self._helo = helo
        self._whole = whole  # walk everything: no limit ends it, nothing matches
        self.result = Result()

    def check(self, domain: str) -> tuple[str, str]:
        """``check_host``: the result for a domain, and why."""
        if not is_name(domain) or "." not in domain.removesuffix("."):
            return "none", f"{domain or 'nothing'} isn't a domain"
        answer = self._ask(domain, "TXT")
        if not answer.known:
            raise _Ended("temperror", answer.reason)
        found = records(answer)
        if not found:
            return "none", f"{domain} has no SPF record"
        if len(found) > 1:
            raise _Ended("permerror", f"{domain} has {len(found)} SPF records")
        try:
            record = parse(found[0])
        except SyntaxProblem as problem:
            raise _Ended("permerror", f"in the SPF record of {domain}, {problem}") from None
        return self._walk(record, domain)

    def _walk(self, record: Record, domain: str) -> tuple[str, str]:
        for term in record.terms:
            if self._whole and term.name == "all":
                break  # nobody reads on
            if self._matches(term, domain) and not self._whole:
                return _QUALIFIERS[term.qualifier], f"{term.text} of {domain}"
        if record.redirect:
            self._count(f"redirect={record.redirect}")
            target = self._expand(record.redirect, domain)
            result, reason = self.check(target)
            if result == "none":
                raise _Ended("permerror", f"{domain} redirects to {target}, and {reason}")
            return result, reason
        return "neutral", f"nothing in the SPF record of {domain} matches"

    def _matches(self, term: Term, domain: str) -> bool:
        """Whether a mechanism matches; what it asks is counted."""
        if term.name == "all":
            return True
        if term.network is not None:
            return self._address in term.network
        self._count(term.text)
        target = self._expand(term.target, domain) if term.target else domain
        if term.name == "include":
            result, reason = self.check(target)
            if result == "none":
                raise _Ended("permerror", f"{domain} includes {target}, and {reason}")
            return result == "pass"
        if term.name == "exists":
            return self._lookup(target, "A").kind is Kind.ANSWER
        if term.name == "a":
            return self._has_address(target, term)
        if term.name == "mx":
            found = self._lookup(target, "MX").records
            if len(found) > NAMES:
                raise _Ended("permerror", f"{term.text} of {domain} stands for {len(found)} names, {NAMES} are allowed")
            hosts = [record.split()[1] for record in sorted(found, key=lambda record: int(record.split()[0]))]
            return any([self._has_address(host, term) for host in hosts])  # noqa: C419 (voids of all count)
        return any(name == target.lower() or name.endswith(f".{target.lower()}") for name in self._validated())

    def _has_address(self, name: str, term: Term) -> bool:
        """Whether a name's addresses, widened to the term's prefix, hold the sender's."""
        version = self._address.version
        length = term.length4 if version == 4 else term.length6
        found = self._lookup(name, "A" if version == 4 else "AAAA").records
        return any(self._address in ipaddress.ip_network(f"{one}/{length}", strict=False) for one in found)

    def _validated(self) -> list[str]:
        """The names that PTR records give the sender, as far as they lead back."""
        pointers = self._ask(reverse_name(str(self._address)), "PTR")
        if pointers.kind is Kind.NOTHING:
            self._void()
        kind = "A" if self._address.version == 4 else "AAAA"
        return [
            name.lower().removesuffix(".")
            for name in pointers.records[:NAMES]
            if any(ipaddress.ip_address(one) == self._address for one in self._ask(name, kind).records)
        ]

    def _lookup(self, name: str, kind: str) -> Answer:
        answer = self._ask(name, kind) if is_name(name) else Answer(Kind.NOTHING)
        if not answer.known:
            raise _Ended("temperror", answer.reason)
        if answer.kind is Kind.NOTHING:
            self._void()
        return answer

    def _void(self) -> None:
        self.result.void += 1
        if self.result.void > VOID and not self._whole:
            raise _Ended("permerror", f"more than {VOID} lookups find nothing")

    def _count(self, term: str) -> None:
        self.result.lookups += 1
        self.result.asked.append(term)
        if self.result.lookups > (_COST_ENDS if self._whole else LOOKUPS):
            raise _Ended("permerror", f"it takes more than {LOOKUPS} lookups")

    def _expand(self, text: str, domain: str) -> str:
        """Expand the macros of a domain-spec (section 7)."""
        expanded = _MACRO.sub(lambda found: self._macro(found, domain), text).removesuffix(".")
        while len(expanded) > 253 and "." in expanded:
            expanded = expanded.partition(".")[2]
        return expanded

    def _macro(self, found: re.Match[str], domain: str) -> str:
        letter, digits, reverse, delimiters, plain = found.groups()
        if plain:
            return {"%": "%", "_": " ", "-": "%20"}[plain]
        local, _unused, of_sender = self._sender.rpartition("@")
        exploded = self._address.exploded.replace(":", "")
        values = {
            "s": self._sender,
            "l": local,
            "o": of_sender,
            "d": domain,
            "i": str(self._address) if self._address.version == 4 else ".".join(exploded),
            "h": self._helo,
            "v": "in-addr" if self._address.version == 4 else "ip6",
        }
        # The name of the sender costs lookups, so it is found out only where it is asked for.
        value = self._name_of_sender(domain) if letter in "pP" else values[letter.lower()]
        parts = re.split(f"[{re.escape(delimiters or '.')}]", value)
        if reverse:
            parts.reverse()
        if digits:
            parts = parts[-int(digits) :]
        value = ".".join(parts)
        return quote(value, safe="-._~") if letter.isupper() else value

    def _name_of_sender(self, domain: str) -> str:
        """The validated name for the macro ``p``: the domain itself, then one below it, then any."""
        names = self._validated()
        domain = domain.lower()
        below = [name for name in names if name.endswith(f".{domain}")]
        return domain if domain in names else next(iter([*below, *names]), "unknown")


def check_host(ask: Ask, address: str, domain: str, sender: str = "", helo: str = "unknown") -> Result:
    """What a receiver finds for mail of a domain that comes from an address."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    local, at, of_sender = (sender or f"postmaster@{domain}").rpartition("@")
    evaluation = _Evaluation(ask, ip, f"{local or 'postmaster'}{at or '@'}{of_sender}", helo, whole=False)
    return _end(evaluation, domain)


def cost(ask: Ask, domain: str) -> Result:
    """What a domain's record costs a receiver for whom nothing in it matches: its lookups, and those that are void.

    Its ``result`` is ``permerror`` or ``temperror`` where the walk itself met an error. A mechanism with macros is
    asked for a sender that nobody has.
    """
    return _end(_Evaluation(ask, _NOBODY, f"postmaster@{domain}", domain, whole=True), domain)


def _end(evaluation: _Evaluation, domain: str) -> Result:
    found = evaluation.result
    try:
        found.result, found.reason = evaluation.check(domain)
    except _Ended as ended:
        found.result, found.reason = ended.result, ended.reason
    return found


def ends(ask: Ask, domain: str, seen: Sequence[str] = ()) -> tuple[str, bool]:
    """How a domain's record ends, through redirects (``-all`` …; empty: not at all), and whether it uses ``ptr``."""
    found = records(ask(domain, "TXT"))
    if len(found) != 1 or domain in seen or len(seen) > LOOKUPS:
        return "", False
    try:
        record = parse(found[0])
    except SyntaxProblem:
        return "", False
    pointers = any(term.name == "ptr" for term in record.terms)
    for term in record.terms:
        if term.name == "all":
            return f"{term.qualifier}all", pointers
    if record.redirect and "%" not in record.redirect:
        end, more = ends(ask, record.redirect.removesuffix("."), (*seen, domain))
        return end, pointers or more
    return "", pointers
