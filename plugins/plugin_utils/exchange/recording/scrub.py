# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replaces what is private in a document, one to one: a name by a name, an address by an address, a SID by a SID.

What isn't known to be public is private: each word that isn't in the vocabulary gets another one, the same wherever it
stands and in whatever case. So nothing depends on anybody knowing beforehand where a name may be.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ....module_utils.values.addresses import Address
from . import certificates
from .addresses import Addresses, ends_of
from .vocabulary import WORD, is_public, is_public_word, words_of

_GUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_V4 = r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}"
_TOKEN = re.compile(
    rf"(?P<sid>(?<![\w-])S-1(?:-[0-9]+)+(?![\w-]))|(?P<guid>(?<!\w){_GUID}(?!\w))"
    rf"|(?P<address>(?<![\w:.])(?:(?:[0-9a-f]{{0,4}}:){{2,7}}(?:{_V4}|[0-9a-f]{{0,4}})(?![\w:])|{_V4}(?!\w|\.[0-9])))"
    rf"(?P<zone>%[0-9]{{1,10}})?(?P<prefix>/(?:{_V4}|[0-9]{{1,3}})|\({_V4}\))?"
    r"|(?P<word>[^\W_]+)",
    re.IGNORECASE,
)
# Accounts that have the same number everywhere, and so a name that is Windows' own, in its language.
_WELL_KNOWN = re.compile(r"S-1-[0-3]-[0-9]+|S-1-5-[0-9]{1,2}|S-1-5-32-[0-9]+", re.ASCII | re.IGNORECASE)
_OWN_RIDS = 1000
_SECRET = re.compile(r"password|secret|credential|private_?key|file_?data|passphrase", re.IGNORECASE)
# These say what is to be done with the property that they are in.
_PARTS = ("add", "remove", "set")
CERTIFICATE = "RawData"


def is_well_known(sid: str) -> bool:
    """Whether a SID is the same on every server."""
    return _WELL_KNOWN.fullmatch(sid) is not None


def strings(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Each text of a document, with the name of the property that it is in; the names of accounts among them."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if name == "accounts":
                yield name, str(key)
            yield from strings(item, name if key in _PARTS else str(key))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings(item, name)


def without_secrets(value: Any) -> Any:
    """The document without whatever may be a secret."""
    if isinstance(value, Mapping):
        return {str(key): without_secrets(item) for key, item in value.items() if not _SECRET.search(str(key))}
    return [without_secrets(item) for item in value] if isinstance(value, (list, tuple)) else value


def public_name(name: str) -> str:
    """The name by which the vocabulary knows a property."""
    return "ExtendedRights" if name == "rights" else name


class Scrubber:
    """What stands for what in one document.

    :raises Dense: where its addresses can't be replaced.
    """

    def __init__(self, document: Any) -> None:
        self.public = frozenset(words_of(_constants(document)))
        self.addresses = Addresses()
        self.words: dict[str, str] = {}
        self.numbers: dict[str, str] = {}
        self._certificates: dict[str, str] = {}
        seen = list(strings(document))
        # Nothing that is there stands for something else.
        self._taken = {taken for _unused, text in seen for taken in (*words_of([text]), *re.findall(r"[0-9]+", text))}
        for name, text in seen:
            if name == CERTIFICATE:
                for part in certificates.names(text):
                    self._learn(part)
                self._certificates.setdefault(text, "")
            elif not is_public(public_name(name), text):
                self._learn(text)
        self.addresses.choose()
        for number, raw in enumerate(self._certificates):
            self._certificates[raw] = certificates.another(raw, self.text, number)

    def is_private(self, word: str) -> bool:
        """Whether nobody but the server's owner may see this word. A short number may be a part of anything."""
        short = word.isdigit() and len(word) < 4
        return bool(word) and not short and not is_public_word(word) and word.lower() not in self.public

    # --- learning

    def _learn(self, text: str) -> None:
        for found in _TOKEN.finditer(text):
            address, prefix = _address(found)
            if address is not None:
                self.addresses.see(address, prefix)
            elif found["sid"]:
                self._learn_sid(found["sid"])
            elif found["guid"]:
                self._new_number(found["guid"].lower(), "guid")
            else:
                for word in WORD.findall(found[0]):
                    self._learn_word(word)

    def _learn_word(self, word: str) -> None:
        key = word.lower()
        if is_public_word(word) or key in self.public or key in self.words:
            return
        if word.isdigit():
            self._new_number(key, "number")
            return
        for number in range(1, len(self.words) + len(self._taken) + 2):
            new = f"n{number}" if word.isascii() else f"n\u00e4{number}"
            if new not in self._taken:
                self.words[key] = new
                self._taken.add(new)
                return

    def _learn_sid(self, sid: str) -> None:
        if is_well_known(sid):
            return
        first, *parts = sid.upper().split("-")[3:]
        for place, part in enumerate(parts):
            if not _keeps(first, parts, place):
                self._new_number(part, "number")

    def _new_number(self, key: str, what: str) -> None:
        if key in self.numbers:
            return
        number = 1000 + len(self.numbers)
        while str(number) in self._taken:
            number += 1
        self._taken.add(str(number))
        self.numbers[key] = str(number) if what == "number" else f"00000000-0000-4000-8000-{number:012}"

    # --- what stands in the place of it

    def document(self, value: Any, name: str = "") -> Any:
        """The document with everything private replaced."""
        if isinstance(value, str):
            return self._value(name, value)
        if isinstance(value, Mapping):
            return {
                self.text(str(key)) if name == "accounts" else key: self.document(item, name if key in _PARTS else key)
                for key, item in value.items()
            }
        return [self.document(item, name) for item in value] if isinstance(value, (list, tuple)) else value

    def _value(self, name: str, text: str) -> str:
        if name == CERTIFICATE:
            return self._certificates[text]
        if is_public(public_name(name), text):
            # A word of Exchange's, unless it is somebody's name as well.
            return WORD.sub(lambda found: _in_case(found[0], self.words.get(found[0].lower())), text)
        return self.text(text)

    def text(self, text: str) -> str:
        """A text with everything private in it replaced."""
        return _TOKEN.sub(self._token, text)

    def _token(self, found: re.Match[str]) -> str:
        address, prefix = _address(found)
        if address is not None:
            return self._network(address, prefix, found)
        if found["sid"]:
            return self._sid(found["sid"])
        if found["guid"]:
            return self.numbers[found["guid"].lower()]
        return WORD.sub(lambda word: self._word(word[0]), found[0])

    def _network(self, address: Address, prefix: int | None, found: re.Match[str]) -> str:
        new = str(self.addresses.new(address))
        zone = found["zone"] or ""
        if prefix is None:
            return f"{new}{zone}"
        first, last = ends_of(address, prefix)
        ends = ends_of(self.addresses.new(address), prefix)
        if address == first != last and ends != (self.addresses.new(first), self.addresses.new(last)):
            # A public network; there is none of its size among the documentation's.
            return f"{self.addresses.new(first)}-{self.addresses.new(last)}"
        return f"{new}{zone}{found['prefix']}"

    def _sid(self, sid: str) -> str:
        if is_well_known(sid):
            return sid
        head, (first, *parts) = sid.split("-")[:3], sid.split("-")[3:]
        new = [part if _keeps(first, parts, place) else self.numbers[part] for place, part in enumerate(parts)]
        return "-".join([*head, first, *new])

    def _word(self, word: str) -> str:
        key = word.lower()
        return self.numbers.get(key) or _in_case(word, self.words.get(key))


def _constants(document: Any) -> Iterator[str]:
    """The texts of a document that are this collection's own or Windows' own."""
    for query in document.get("question", {}).get("queries", ()):
        for _unused, text in strings({key: value for key, value in query.items() if key != "parameters"}):
            yield text
    for text, entry in (document.get("answer", {}).get("accounts") or {}).items():
        if is_well_known(str(entry.get("sid") or "")):
            yield from (str(text), str(entry.get("name") or ""))


def _keeps(first: str, parts: list[str], place: int) -> bool:
    """Whether a part of a SID says nothing: the last one of an account that each domain has (501: guests)."""
    last = place == len(parts) - 1
    return first == "21" and last and len(parts) == 4 and int(parts[place]) < _OWN_RIDS


def _address(found: re.Match[str]) -> tuple[Address | None, int | None]:
    """The address in a token, and the length of its network's prefix."""
    if not found["address"]:
        return None, None
    try:
        address = ipaddress.ip_address(found["address"])
        text = (found["prefix"] or "").strip("/()")
        return address, ipaddress.ip_network(f"{address}/{text}", strict=False).prefixlen if text else None
    except ValueError:
        return None, None


def _in_case(word: str, new: str | None) -> str:
    """The other word in the case of the one that it stands for; that one where there is no other."""
    if new is None:
        return word
    return new.upper() if word.isupper() or word.istitle() else new


_RUN = re.compile(r"[0-9a-f:.]*[:.][0-9a-f:.]+", re.IGNORECASE)


def leftovers(document: Any, scrubber: Scrubber, scrubbed: Any) -> list[str]:
    """What of the original is in what is to be written: looked for by other means than those that replaced it."""
    everything = "\n".join(text for _unused, text in strings(scrubbed)).lower()
    words = set(re.split(r"[\W_]+", everything))
    addresses = {_read(run) for run in _RUN.findall(everything)}
    found = [str(address) for address in scrubber.addresses.private() if address in addresses]
    for name, text in strings(document):
        if name == CERTIFICATE:
            found += [text] if text and text.lower() in everything else []
        elif not is_public(public_name(name), text):
            found += [guid for guid in re.findall(_GUID, text, re.IGNORECASE) if guid.lower() in everything]
            rest = _RUN.sub(lambda run: " " if _read(run[0]) else run[0], re.sub(_GUID, " ", text, flags=re.IGNORECASE))
            found += [word for word in re.split(r"[\W_]+", rest) if word.lower() in words and scrubber.is_private(word)]
    return list(dict.fromkeys(found))


def _read(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.strip("."))
    except ValueError:
        return None
