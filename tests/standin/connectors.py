# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which receive connector takes a connection, and what its sessions may do."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from types import SimpleNamespace

from .values import Address, Binding

# What the permission groups grant, from the published table of default receive connector permissions.
_SUBMIT = "Ms-Exch-SMTP-Submit"
_ANY_SENDER = "Ms-Exch-SMTP-Accept-Any-Sender"
_OWN_DOMAIN_SENDER = "Ms-Exch-SMTP-Accept-Authoritative-Domain-Sender"
_ANY_RECIPIENT = "Ms-Exch-SMTP-Accept-Any-Recipient"
_NO_SPAM_CHECK = "Ms-Exch-Bypass-Anti-Spam"
GROUP_RIGHTS: dict[str, frozenset[str]] = {
    "AnonymousUsers": frozenset((_SUBMIT, _ANY_SENDER, _OWN_DOMAIN_SENDER)),
    "ExchangeUsers": frozenset((_SUBMIT, _ANY_RECIPIENT, _NO_SPAM_CHECK)),
    "ExchangeServers": frozenset((_SUBMIT, _ANY_SENDER, _OWN_DOMAIN_SENDER, _ANY_RECIPIENT, _NO_SPAM_CHECK)),
}

EXTENDED_RIGHTS = frozenset(
    right.lower() for right in (_SUBMIT, _ANY_SENDER, _OWN_DOMAIN_SENDER, _ANY_RECIPIENT, _NO_SPAM_CHECK)
)

ANONYMOUS = "NT AUTHORITY\\ANONYMOUS LOGON"
AUTHENTICATED = "NT AUTHORITY\\Authenticated Users"
EVERYBODY = frozenset(("Everyone", "NT AUTHORITY\\NETWORK"))
EXTERNALLY_SECURED = "MS Exchange\\Externally Secured Servers"


def address_of(host: str) -> Address:
    """The address of a socket's peer; an IPv4 one that came in over IPv6 is IPv4."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def choose(
    connectors: Iterable[SimpleNamespace], local: Address, port: int, remote: Address, *, by_range: bool = False
) -> SimpleNamespace | None:
    """The enabled connector that takes a connection from `remote` to `local`:`port`, or None.

    A binding to the very local address goes before one to all addresses, unless the range decides alone. Among the
    connectors with such a binding, the smallest remote range that holds the address wins; the order of the connectors
    doesn't matter.
    """
    everywhere = "0.0.0.0" if local.version == 4 else "::"
    best: tuple[int, int, int] | None = None
    winner = None
    for connector in connectors:
        if not connector.Enabled:
            continue
        distances = [
            0 if binding.address == str(local) else 1
            for binding in connector.Bindings
            if binding.port == port and binding.address in (str(local), everywhere)
        ]
        for remote_range in connector.RemoteIPRanges if distances else ():
            if remote in remote_range:
                # Ranges of one size that overlap in part: the lower one, so that there is one answer.
                rank = (0 if by_range else min(distances), remote_range.count, int(remote_range.first))
                if best is None or rank < best:
                    best, winner = rank, connector
    return winner


def bindings(connectors: Iterable[SimpleNamespace]) -> dict[Binding, str]:
    """The bindings that enabled connectors listen on, each with its transport role."""
    return {b: connector.TransportRole for connector in connectors if connector.Enabled for b in connector.Bindings}


def rights(
    connector: SimpleNamespace, permissions: Iterable[SimpleNamespace], server: str, *, authenticated: bool
) -> frozenset[str]:
    """The extended rights of a session on the connector, in lower case.

    An unauthenticated session is anonymous, unless the connector declares its clients as secured by other
    means (ExternalAuthoritative): then it has what Exchange servers have.
    """
    if authenticated:
        principals, group = {AUTHENTICATED}, "ExchangeUsers"
    elif "ExternalAuthoritative" in connector.AuthMechanism:
        principals, group = {EXTERNALLY_SECURED}, "ExchangeServers"
    else:
        principals, group = {ANONYMOUS}, "AnonymousUsers"
    known = {name.lower() for name in principals | EVERYBODY}
    granted = {right.lower() for right in GROUP_RIGHTS[group]} if group in connector.PermissionGroups else set()
    denied: set[str] = set()
    for entry in permissions:
        if entry.User.lower() in known and is_connector(entry.Identity, connector, server):
            # Whoever has all access has all extended rights; so has one who has "the extended right" without a name.
            access = getattr(entry, "AccessRights", ())
            general = "GenericAll" in access or ("ExtendedRight" in access and not entry.ExtendedRights)
            given = EXTENDED_RIGHTS if general else {right.lower() for right in entry.ExtendedRights}
            (denied if entry.Deny else granted).update(given)
    return frozenset(granted - denied)


def is_connector(identity: str, connector: SimpleNamespace, server: str) -> bool:
    """Whether an identity (`SERVER\\Name`, or the name alone) means this connector."""
    return identity.lower() in (connector.Name.lower(), f"{server}\\{connector.Name}".lower())


def may_submit(granted: frozenset[str]) -> bool:
    return _SUBMIT.lower() in granted


def may_relay(granted: frozenset[str]) -> bool:
    return _ANY_RECIPIENT.lower() in granted


def may_send_as_anyone(granted: frozenset[str]) -> bool:
    return _ANY_SENDER.lower() in granted


def may_send_as_own_domain(granted: frozenset[str]) -> bool:
    return _OWN_DOMAIN_SENDER.lower() in granted
