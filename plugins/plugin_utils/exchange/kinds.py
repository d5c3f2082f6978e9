# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of Exchange objects that can be configured, as data: a new kind is a new entry.

Cmdlets, parameters and the versions that know them are those of the published help (learn.microsoft.com/powershell,
module ExchangePowerShell); values of enumerations are those that the help's texts name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .accounts import ANONYMOUS_SID, AUTHENTICATED_SID
from .values import (
    BINDINGS,
    BOOLEAN,
    COUNT_OR_UNLIMITED,
    INTEGER,
    NAME,
    NAMES,
    PATH,
    RANGES,
    SIZE,
    SIZE_OR_UNLIMITED,
    SPAN,
    TEXT,
    UNLIMITED,
    ValueType,
    choice,
    flags,
)

VERSIONS = ("2010", "2013", "2016", "2019", "SE")
"""Exchange's versions, oldest first."""


@dataclass(frozen=True)
class Property:
    """A property of a kind: its name, its type, the first version that knows it.

    ``new`` says that the cmdlet that creates the object takes it; otherwise it is set afterwards. ``bounds`` are the
    least and the greatest value that the help publishes, as variables have them.
    """

    name: str
    type: ValueType
    since: str = "2010"
    new: bool = True
    bounds: tuple[Any, Any] | None = None

    def fits(self, exact: Any) -> bool:
        """Whether an exact value is within the published bounds."""
        if self.bounds is None or exact in (None, UNLIMITED):
            return True
        least, most = map(self.type.read, self.bounds)
        return bool(least <= exact <= most)


@dataclass(frozen=True)
class Kind:
    """A kind of objects: how they are got, created, set and removed, and what they have.

    ``get_by`` and ``set_by`` are the parameters that name the server (for what each server has one of) or the object.
    ``services`` read their settings when they start; the first is the one that clients reach. ``component`` must be
    active for them to work.
    """

    variable: str
    title: str
    get: str
    get_by: str
    set: str
    set_by: str
    properties: tuple[Property, ...]
    new: str = ""
    remove: str = ""
    since: str = "2010"
    services: tuple[str, ...] = ()
    component: str = ""

    def known(self, name: str) -> Property | None:
        """The property of this name, in any case."""
        return next((entry for entry in self.properties if entry.name.lower() == name.lower()), None)


def _several(
    value_type: ValueType, names: str, since: str = "2010", bounds: tuple[Any, Any] | None = None
) -> Iterator[Property]:
    for name in names.split():
        yield Property(name, value_type, since, bounds=bounds)


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
LOGGING_LEVEL = choice("logging level", "None", "Verbose")

RECEIVE_CONNECTOR = Kind(
    variable="exchange_receive_connectors",
    title="receive connector",
    get="Get-ReceiveConnector",
    get_by="Server",
    new="New-ReceiveConnector",
    set="Set-ReceiveConnector",
    set_by="Identity",
    remove="Remove-ReceiveConnector",
    properties=(
        Property("Bindings", BINDINGS),
        Property("RemoteIPRanges", RANGES),
        Property("TransportRole", choice("transport role", "FrontendTransport", "HubTransport"), "2013"),
        Property("AuthMechanism", AUTH_MECHANISM),
        Property("PermissionGroups", PERMISSION_GROUPS),
        Property("Fqdn", NAME),
        Property("Banner", TEXT),
        Property("Comment", TEXT),
        Property("ProtocolLoggingLevel", LOGGING_LEVEL),
        Property("SizeEnabled", choice("size mode", "Enabled", "Disabled", "EnabledWithoutValue")),
        Property("ExtendedProtectionPolicy", choice("policy", "None", "Allow", "Require")),
        Property("MessageRateSource", flags("list of sources", "IPAddress", "User", every="All")),
        Property("DefaultDomain", NAME),
        Property("ServiceDiscoveryFqdn", NAME, "2013"),
        Property("TlsCertificateName", NAME, "2013"),
        Property("TlsDomainCapabilities", NAMES),
        Property("BareLinefeedRejectionEnabled", BOOLEAN, new=False),
        Property("SmtpUtf8Enabled", BOOLEAN, "2013", new=False),
        *_several(
            BOOLEAN,
            "Enabled AdvertiseClientSettings BinaryMimeEnabled ChunkingEnabled DeliveryStatusNotificationEnabled "
            "DomainSecureEnabled EightBitMimeEnabled EnableAuthGSSAPI EnhancedStatusCodesEnabled LongAddressesEnabled "
            "OrarEnabled PipeliningEnabled RequireEHLODomain RequireTLS SuppressXAnonymousTls",
        ),
        *_several(
            BOOLEAN,
            "RejectReservedSecondLevelRecipientDomains RejectReservedTopLevelRecipientDomains "
            "RejectSingleLabelRecipientDomains",
            "2016",
        ),
        *_several(SPAN, "ConnectionInactivityTimeout ConnectionTimeout", bounds=("00:00:01", "1.00:00:00")),
        *_several(SPAN, "MaxAcknowledgementDelay TarpitInterval", bounds=("00:00:00", "00:10:00")),
        Property("AuthTarpitInterval", SPAN, "2016", bounds=("00:00:00", "00:10:00")),
        *_several(SIZE, "MaxHeaderSize MaxMessageSize"),
        *_several(
            COUNT_OR_UNLIMITED,
            "MaxInboundConnection MaxInboundConnectionPerSource MaxProtocolErrors MessageRateLimit",
        ),
        Property("MaxHopCount", INTEGER, bounds=(1, 500)),
        Property("MaxInboundConnectionPercentagePerSource", INTEGER, bounds=(1, 100)),
        Property("MaxLocalHopCount", INTEGER, bounds=(0, 50)),
        Property("MaxLogonFailures", INTEGER, bounds=(0, 10)),
        Property("MaxRecipientsPerMessage", INTEGER, bounds=(1, 512000)),
    ),
)

CERTIFICATE_NAME = "X509CertificateName"
"""The property of IMAP and POP that names their certificate."""

# The help lists EnableGSSAPIAndNTLMAuth for every version; its text says that it acts from 2016 on.
_MAIL_ACCESS = (
    Property("EnableGSSAPIAndNTLMAuth", BOOLEAN, "2016"),
    Property("LoginType", choice("logon type", "PlainTextLogin", "PlainTextAuthentication", "SecureLogin")),
    Property(CERTIFICATE_NAME, NAME),
    Property("Banner", TEXT),
    Property("ExtendedProtectionPolicy", choice("policy", "None", "Allow", "Require")),
    Property("LogFileLocation", PATH),
    Property("LogFileRollOverSettings", choice("time", "Hourly", "Daily", "Weekly", "Monthly")),
    Property("LogPerFileSizeQuota", SIZE_OR_UNLIMITED),
    Property("CalendarItemRetrievalOption", choice("way", "iCalendar", "IntranetUrl", "InternetUrl", "Custom")),
    Property(
        "MessageRetrievalMimeFormat",
        choice(
            "format",
            "TextOnly",
            "HtmlOnly",
            "HtmlAndTextAlternative",
            "TextEnrichedOnly",
            "TextEnrichedAndTextAlternative",
            "BestBodyFormat",
            "Tnef",
        ),
    ),
    Property("OwaServerUrl", NAME),
    *_several(NAMES, "ExternalConnectionSettings InternalConnectionSettings"),
    *_several(BINDINGS, "SSLBindings UnencryptedOrTLSBindings"),
    *_several(SPAN, "AuthenticatedConnectionTimeout PreAuthenticatedConnectionTimeout"),
    *_several(BOOLEAN, "EnableExactRFC822Size EnforceCertificateErrors ProtocolLogEnabled SuppressReadReceipt"),
    *_several(INTEGER, "MaxCommandSize MaxConnectionFromSingleIP MaxConnections MaxConnectionsPerUser ProxyTargetPort"),
)

IMAP = Kind(
    variable="exchange_imap",
    title="IMAP settings",
    get="Get-ImapSettings",
    get_by="Server",
    set="Set-ImapSettings",
    set_by="Server",
    properties=(*_MAIL_ACCESS, Property("ShowHiddenFoldersEnabled", BOOLEAN)),
    services=("MSExchangeIMAP4", "MSExchangeIMAP4BE"),
    component="ImapProxy",
)
POP = Kind(
    variable="exchange_pop",
    title="POP settings",
    get="Get-PopSettings",
    get_by="Server",
    set="Set-PopSettings",
    set_by="Server",
    properties=(*_MAIL_ACCESS, Property("MessageRetrievalSortOrder", choice("order", "Ascending", "Descending"))),
    services=("MSExchangePOP3", "MSExchangePOP3BE"),
    component="PopProxy",
)

_LOGS = "Agent Connectivity Dns"
_PROTOCOL_LOGS = "ReceiveProtocol SendProtocol"


def _log(name: str) -> Iterator[Property]:
    yield Property(f"{name}LogPath", PATH)
    yield Property(f"{name}LogMaxAge", SPAN)
    yield Property(f"{name}LogMaxDirectorySize", SIZE_OR_UNLIMITED)
    yield Property(f"{name}LogMaxFileSize", SIZE_OR_UNLIMITED)


_TRANSPORT = (
    Property("IntraOrgConnectorProtocolLoggingLevel", LOGGING_LEVEL),
    Property("MaxConnectionRatePerMinute", INTEGER),
    Property("TransientFailureRetryCount", INTEGER),
    Property("TransientFailureRetryInterval", SPAN),
    *(Property(f"{name}LogEnabled", BOOLEAN) for name in _LOGS.split()),
    *(entry for name in f"{_LOGS} {_PROTOCOL_LOGS}".split() for entry in _log(name)),
)

TRANSPORT = Kind(
    variable="exchange_transport",
    title="transport service",
    get="Get-TransportService",
    get_by="Identity",
    set="Set-TransportService",
    set_by="Identity",
    since="2013",
    properties=(
        *_TRANSPORT,
        Property("IntraOrgConnectorSmtpMaxMessagesPerConnection", INTEGER),
        Property("MaxOutboundConnections", COUNT_OR_UNLIMITED),
        Property("MaxPerDomainOutboundConnections", COUNT_OR_UNLIMITED),
        *_several(
            SPAN,
            "DelayNotificationTimeout MessageExpirationTimeout MessageRetryInterval "
            "OutboundConnectionFailureRetryInterval MessageTrackingLogMaxAge",
        ),
        *_several(BOOLEAN, "MessageTrackingLogEnabled MessageTrackingLogSubjectLoggingEnabled"),
        Property("MessageTrackingLogPath", PATH),
        Property("MessageTrackingLogMaxDirectorySize", SIZE_OR_UNLIMITED),
        Property("MessageTrackingLogMaxFileSize", SIZE),
    ),
)
FRONTEND_TRANSPORT = Kind(
    variable="exchange_frontend_transport",
    title="front end transport service",
    get="Get-FrontendTransportService",
    get_by="Identity",
    set="Set-FrontendTransportService",
    set_by="Identity",
    since="2013",
    properties=_TRANSPORT,
)

SETTINGS = (TRANSPORT, FRONTEND_TRANSPORT, IMAP, POP)
"""The kinds of which each server has one object."""
MAIL_ACCESS = (IMAP, POP)
KINDS = (RECEIVE_CONNECTOR, *SETTINGS)


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
