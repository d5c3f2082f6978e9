# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Receive connectors, and the extended rights of accounts on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..accounts import ANONYMOUS_SID, AUTHENTICATED_SID
from ..concepts import Call, Kind, Mark, Part, Property
from ..ranges import Binding
from ..values import (
    BINDINGS,
    BOOLEAN,
    COUNT_OR_UNLIMITED,
    INTEGER,
    NAME,
    NAMES,
    RANGES,
    SIZE,
    SPAN,
    TEXT,
    choice,
    flags,
)
from ._each import COUNT, DAY, LOGGING_LEVEL, several

if TYPE_CHECKING:
    from ..actual import Server
    from ..changes import Change
    from ..desired import DesiredObject

AUTH_MECHANISM = flags(
    "list of mechanisms",
    "Tls",
    "Integrated",
    "BasicAuth",
    "BasicAuthRequireTLS",
    "ExchangeServer",
    "ExternalAuthoritative",
)
PERMISSION_GROUPS = flags(
    "list of permission groups",
    "AnonymousUsers",
    "ExchangeUsers",
    "ExchangeServers",
    "ExchangeLegacyServers",
    "Partners",
    # What a server shows where somebody has rights of his own, which aren't a group's.
    nothing=("Custom",),
)

JUDGED_BY = (
    "Enabled",
    "TransportRole",
    "AuthMechanism",
    "PermissionGroups",
    "Fqdn",
    "Banner",
    "Bindings",
    "RemoteIPRanges",
    "Comment",
)
"""The properties by which a connector is judged, and known to be ours."""

EXTENDED_RIGHTS = Part(
    argument="extended_rights",
    get=Call("Get-ADPermission", by="Identity"),
    add=Call("Add-ADPermission", by="Identity"),
    remove=Call("Remove-ADPermission", by="Identity"),
    read=("User", "AccessRights", "ExtendedRights", "Deny", "IsInherited"),
)


def default_name(server: str, version: str) -> str:
    """The name that setup gives to the connector by which other servers reach this one."""
    return f"Default {server}" if version == "2010" else f"Default Frontend {server}"


def own_bindings(connector: DesiredObject) -> list[Binding]:
    """The bindings to one address that the connector is to have."""
    wanted = connector.properties.get("Bindings")
    if wanted is None or not connector.present:
        return []
    return sorted(item for item in (wanted.value or frozenset()) | wanted.add if not item.everywhere)


def has_its_addresses(connector: DesiredObject, _changes: Sequence[Change], server: Server) -> Iterable[str]:
    """A connector that listens on an address that the server hasn't is one that Exchange can't start."""
    if server.addresses is None:
        return
    for binding in own_bindings(connector):
        if (binding.version, binding.address) not in server.addresses:
            yield (
                f"{connector.path}.properties.Bindings has {binding}, but {server.name} has no such address; give one "
                f"of its own, or {Binding(binding.version, 0, binding.port)} for all of them."
            )


RECEIVE_CONNECTOR = Kind(
    variable="exchange_receive_connectors",
    title="receive connector",
    key="Name",
    get=Call("Get-ReceiveConnector", by="Server"),
    new=Call("New-ReceiveConnector", by="Server", always=(("Usage", "Custom"),)),
    set=Call("Set-ReceiveConnector", by="Identity"),
    remove=Call("Remove-ReceiveConnector", by="Identity"),
    default=default_name,
    mark=Mark("Comment", added_to="RemoteIPRanges"),
    switch="Enabled",
    # By these each one is judged, whoever made it, and known to be ours.
    read=("DistinguishedName", *JUDGED_BY),
    needed=("Bindings", "RemoteIPRanges"),
    shown=("Bindings", "RemoteIPRanges", "AuthMechanism", "PermissionGroups"),
    parts=(EXTENDED_RIGHTS,),
    rules=(has_its_addresses,),
    properties=(
        Property("Bindings", BINDINGS),
        Property("RemoteIPRanges", RANGES),
        Property(
            "TransportRole",
            choice("transport role", "FrontendTransport", "HubTransport"),
            "2013",
            first="FrontendTransport",
        ),
        # What a new one is judged by is said, whatever Exchange would give it.
        Property("AuthMechanism", AUTH_MECHANISM, first="Tls"),
        Property("PermissionGroups", PERMISSION_GROUPS, first="None"),
        Property("Fqdn", NAME),
        Property("Banner", TEXT),
        Property("Comment", TEXT),
        Property("ProtocolLoggingLevel", LOGGING_LEVEL),
        Property("SizeEnabled", choice("size mode", "Enabled", "Disabled", "EnabledWithoutValue")),
        Property("ExtendedProtectionPolicy", choice("policy", "None", "Allow", "Require"), first="None"),
        Property("MessageRateSource", flags("list of sources", "IPAddress", "User", every="All")),
        Property("DefaultDomain", NAME),
        Property("ServiceDiscoveryFqdn", NAME, "2013"),
        Property("TlsCertificateName", NAME, "2013"),
        Property("TlsDomainCapabilities", NAMES),
        Property("BareLinefeedRejectionEnabled", BOOLEAN, new=False),
        Property("SmtpUtf8Enabled", BOOLEAN, "2013", new=False),
        *several(
            BOOLEAN,
            "Enabled AdvertiseClientSettings BinaryMimeEnabled ChunkingEnabled DeliveryStatusNotificationEnabled "
            "DomainSecureEnabled EightBitMimeEnabled EnableAuthGSSAPI EnhancedStatusCodesEnabled LongAddressesEnabled "
            "OrarEnabled PipeliningEnabled RequireEHLODomain RequireTLS SuppressXAnonymousTls",
        ),
        *several(
            BOOLEAN,
            "RejectReservedSecondLevelRecipientDomains RejectReservedTopLevelRecipientDomains "
            "RejectSingleLabelRecipientDomains",
            "2016",
        ),
        *several(SPAN, "ConnectionInactivityTimeout ConnectionTimeout", bounds=DAY),
        *several(SPAN, "MaxAcknowledgementDelay TarpitInterval", bounds=("00:00:00", "00:10:00")),
        Property("AuthTarpitInterval", SPAN, "2016", bounds=("00:00:00", "00:10:00")),
        Property("MaxHeaderSize", SIZE, bounds=("1B", "2147483647B")),
        Property("MaxMessageSize", SIZE, bounds=("64KB", "2147483647B")),
        *several(COUNT_OR_UNLIMITED, "MaxInboundConnection MessageRateLimit", bounds=COUNT),
        Property("MaxInboundConnectionPerSource", COUNT_OR_UNLIMITED, bounds=(1, 10000)),
        Property("MaxProtocolErrors", COUNT_OR_UNLIMITED, bounds=(0, 2147483647)),
        Property("MaxHopCount", INTEGER, bounds=(1, 500)),
        Property("MaxInboundConnectionPercentagePerSource", INTEGER, bounds=(1, 100)),
        Property("MaxLocalHopCount", INTEGER, bounds=(0, 50)),
        Property("MaxLogonFailures", INTEGER, bounds=(0, 10)),
        Property("MaxRecipientsPerMessage", INTEGER, bounds=(1, 512000)),
    ),
)


@dataclass(frozen=True)
class DefaultConnector:
    """A receive connector that setup makes, named after the server behind ``title``, in the texts of a session."""

    title: str
    port: int
    role: str
    mechanisms: str
    groups: str


_LOGONS = "Tls, Integrated, BasicAuth, BasicAuthRequireTLS"
_SERVERS = f"{_LOGONS}, ExchangeServer"
_FRONT, _HUB = "FrontendTransport", "HubTransport"
DEFAULT_CONNECTORS = (
    DefaultConnector(
        "Default Frontend", 25, _FRONT, _SERVERS, "AnonymousUsers, ExchangeServers, ExchangeLegacyServers"
    ),
    DefaultConnector("Client Frontend", 587, _FRONT, _LOGONS, "ExchangeUsers"),
    DefaultConnector("Outbound Proxy Frontend", 717, _FRONT, _SERVERS, "ExchangeServers"),
    DefaultConnector("Default", 2525, _HUB, _SERVERS, "ExchangeUsers, ExchangeServers, ExchangeLegacyServers"),
    DefaultConnector("Client Proxy", 465, _HUB, _SERVERS, "ExchangeUsers, ExchangeServers"),
)
"""Those of a Mailbox server since Exchange 2013 ("Default Receive connectors created during setup")."""

ANONYMOUS = r"NT AUTHORITY\ANONYMOUS LOGON"
ANY_RECIPIENT = "ms-Exch-SMTP-Accept-Any-Recipient"

GROUP_RIGHTS = {
    "AnonymousUsers": (
        ANONYMOUS_SID,
        (
            "ms-Exch-SMTP-Accept-Any-Sender",
            "ms-Exch-SMTP-Accept-Authoritative-Domain-Sender",
            "ms-Exch-Accept-Headers-Routing",
            "ms-Exch-SMTP-Submit",
        ),
    ),
    "ExchangeUsers": (
        AUTHENTICATED_SID,
        (
            "ms-Exch-SMTP-Accept-Any-Recipient",
            "ms-Exch-Accept-Headers-Routing",
            "ms-Exch-Bypass-Anti-Spam",
            "ms-Exch-SMTP-Submit",
        ),
    ),
}
"""What a permission group grants, and to whom: those rights come and go with the group (the published table of
permission groups, in "Receive connectors")."""
