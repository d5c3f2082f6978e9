# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words that a recording may hold: Exchange's and Windows', and this collection's. All others are replaced."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator

from ....module_utils.values.sentences import Unfit
from ..concepts import Property
from ..kinds import KINDS
from ..kinds.receive_connectors import DEFAULT_CONNECTORS, JUDGED_BY
from ..marks import MARK, UNSEEN
from ..values import ValueType

WORD = re.compile(r"[^\W_]+")

_WORDS = """
    a accesssystemsecurity active adapter added administrative administrators admins aggregateuse all allow am an and
    anonymous any are as at authenticated authority automatic backendtransport banner be bin boot both build builtin
    by client clientaccess cn com commandnotfound component components configuration connector connectors createchild
    dc default delete deletechild deletetree deny deployment diagnostics direct disabled dll domain draining edge
    enabled enterprise esmtp ethernet everyone example exch exchange exchangelegacyinterop exe extendedright
    externally false files first for from frontend frontendtransport functional fydibohf23spdlt gateway genericall
    genericexecute genericread genericwrite group grouppolicy groups gssapi guests healthapi high http https hub
    hubtransport i imap imap4 imap4be imap4service imapproxy implat in inactive inbound inherited interface internal
    intra ip ipv4 ipv6 is km lan listchildren listobject lldp lltdio local localport logging logon logs loopback low
    mail mailbox maintenance management manual medium microsoft ms msclient msexchange msloop net network no none ntlm
    null o object objects of on or org organization ou out outbound pacer partner paused pm pop pop3 pop3be
    pop3service popimap popproxy postern present processinfo program protocollog protocols proxy pseudo readcontrol
    readproperty ready receive relay remote requester requestor resourcethrottling resourcetracker result return root
    rspndr running s schema secured self send server serverrole servers serverwideoffline service services shell
    sidelined smtp smtpreceive smtpsend ssl startpending state stopped stoppending submission synchronize sys system
    tcp tcpip tcpip6 test the timestamp tls to transport transportroles true udp users v14 v15 version vmbus with
    writedacl writeowner writeproperty xml yes
"""
# Ports, and the parts of device numbers.
_NUMBERS = "25 80 110 143 443 444 465 475 587 717 993 995 1993 1995 2525 9933 9955 0000 0001 220"
_TYPE_NAME = re.compile(r"[A-Z][A-Za-z]*(Exception|Error)", re.ASCII)

# What is of a type that takes none of these is a word of Exchange's own: a flag, a number, a size, a time.
_ANYBODYS = ("contoso", "10.20.30.40", "10.20.30.40:25", "C:\\contoso", "https://contoso.example/owa")
_PLAIN = re.compile(r"[A-Za-z0-9 ,.:()$'\u2019\u00a0\u202f-]{0,200}")
_VERSION = re.compile(r"Version \d{1,3}\.\d{1,3} \(Build \d{1,6}\.\d{1,6}\)", re.ASCII)
_RIGHT = re.compile(r"(ms-exch|send-as|receive-as)[A-Za-z0-9-]*", re.ASCII | re.IGNORECASE)


def words_of(texts: Iterable[str]) -> Iterator[str]:
    """Each word, in whatever case it is written."""
    for text in texts:
        yield from (word.lower() for word in WORD.findall(text))


@functools.cache
def vocabulary() -> frozenset[str]:
    """The words that are nobody's own."""
    texts = [_WORDS, _NUMBERS, MARK, UNSEEN, *JUDGED_BY, *(default.title for default in DEFAULT_CONNECTORS)]
    for kind in KINDS:
        texts += [kind.variable, kind.title, *(name for call in kind.calls for name in call.names)]
        texts += [name for effect in kind.effects for name in (*effect.services, effect.component)]
        texts += [*(entry.name for entry in kind.properties), *(part.argument for part in kind.parts)]
    return frozenset(words_of(texts))


def is_public_word(word: str) -> bool:
    """Whether a word is in the vocabulary, or says nothing: one character, or the name of a kind of error."""
    return len(word) == 1 or word.lower() in vocabulary() or _TYPE_NAME.fullmatch(word) is not None


@functools.cache
def _properties() -> dict[str, list[Property]]:
    found: dict[str, list[Property]] = {}
    for kind in KINDS:
        for entry in kind.properties:
            found.setdefault(entry.name.lower(), []).append(entry)
    return found


def is_public(name: str, text: str) -> bool:
    """Whether the value of a property is Exchange's own word: a flag, a number, a size, a time, a version, a right."""
    if name == "AdminDisplayVersion":
        return _VERSION.fullmatch(text) is not None
    if name == "ExtendedRights":
        return _RIGHT.fullmatch(text) is not None
    if name in ("LocalPort", "Component", "State", "Status", "StartType", "ServerRole"):
        return re.fullmatch(r"[A-Za-z0-9, -]+", text, re.ASCII) is not None
    known = _properties().get(name.lower(), [])
    return bool(known) and not any(_takes_names(entry.type) for entry in known) and bool(_PLAIN.fullmatch(text))


def _takes_names(value_type: ValueType) -> bool:
    """Whether values of this type may say something about somebody."""
    for text in _ANYBODYS:
        try:
            value_type.read(text)
        except Unfit:
            continue
        return True
    return False
