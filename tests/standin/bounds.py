# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Least and greatest values, as the published help of each cmdlet gives them."""

from __future__ import annotations

from typing import Any

from . import values as v

_INT = 2147483647
_LONG = 9223372036854775807
_AGE = ("00:00:00", "24855.03:14:07")
_DAY = ("00:00:01", "1.00:00:00")
_DELAY = ("00:00:00", "00:10:00")
_TRANSPORT: dict[str, tuple[Any, Any]] = {
    "ConnectivityLogMaxAge": _AGE,
    "ConnectivityLogMaxDirectorySize": (1, _LONG),
    "ConnectivityLogMaxFileSize": (1, _LONG),
    "MaxConnectionRatePerMinute": (1, _INT),
    "TransientFailureRetryCount": (0, 15),
    "TransientFailureRetryInterval": ("00:00:01", "12:00:00"),
}
_CONNECTOR: dict[str, tuple[Any, Any]] = {
    "AuthTarpitInterval": _DELAY,
    "ConnectionInactivityTimeout": _DAY,
    "ConnectionTimeout": _DAY,
    "MaxAcknowledgementDelay": _DELAY,
    "MaxHeaderSize": (1, _INT),
    "MaxHopCount": (1, 500),
    "MaxInboundConnection": (1, _INT),
    "MaxInboundConnectionPerSource": (1, 10000),
    "MaxInboundConnectionPercentagePerSource": (1, 100),
    "MaxLocalHopCount": (0, 50),
    "MaxLogonFailures": (0, 10),
    "MaxMessageSize": (65536, _INT),
    "MaxProtocolErrors": (0, _INT),
    "MaxRecipientsPerMessage": (1, 512000),
    "MessageRateLimit": (1, _INT),
    "TarpitInterval": _DELAY,
}
# The help's "1:00:00" of the first is a day: "Set connection limits for IMAP4" (and POP3) has 86,400 seconds.
_MAIL: dict[str, tuple[Any, Any]] = {
    "AuthenticatedConnectionTimeout": ("00:00:30", "1.00:00:00"),
    "PreAuthenticatedConnectionTimeout": ("00:00:30", "01:00:00"),
    "MaxConnectionFromSingleIP": (1, _INT),
    "MaxConnections": (1, _INT),
    "MaxConnectionsPerUser": (1, _INT),
}
BOUNDS: dict[str, dict[str, tuple[Any, Any]]] = {
    "New-ReceiveConnector": _CONNECTOR,
    "Set-ReceiveConnector": _CONNECTOR,
    "Set-ImapSettings": {**_MAIL, "MaxCommandSize": (1024, 16384)},
    "Set-PopSettings": {**_MAIL, "MaxCommandSize": (40, 1024)},
    "Set-FrontendTransportService": _TRANSPORT,
    "Set-TransportService": {
        **_TRANSPORT,
        "DelayNotificationTimeout": ("00:00:01", "30.00:00:00"),
        "IntraOrgConnectorSmtpMaxMessagesPerConnection": (0, _INT),
        "MaxOutboundConnections": (1, _INT),
        "MaxPerDomainOutboundConnections": (1, _INT),
        "MessageExpirationTimeout": ("00:00:05", "90.00:00:00"),
        "MessageRetryInterval": _DAY,
        "MessageTrackingLogMaxAge": _AGE,
        "MessageTrackingLogMaxDirectorySize": (1, _LONG),
        "MessageTrackingLogMaxFileSize": (1, 4294967296),
        "OutboundConnectionFailureRetryInterval": ("00:00:01", "20.00:00:00"),
    },
    "Set-OrganizationConfig": {
        "ActivityBasedAuthenticationTimeoutInterval": ("00:05:00", "08:00:00"),
        "SCLJunkThreshold": (0, 9),
    },
    "Set-TransportConfig": {
        "ExternalDsnMaxMessageAttachSize": (0, _INT),
        "InternalDsnMaxMessageAttachSize": (0, _INT),
        "MaxDumpsterTime": _AGE,
        "MaxRecipientEnvelopeLimit": (0, _INT),
        "MaxRetriesForLocalSiteShadow": (0, 255),
        "MaxRetriesForRemoteSiteShadow": (0, 255),
        "ShadowHeartbeatFrequency": _DAY,
        "ShadowHeartbeatRetryCount": (1, 15),
        "ShadowHeartbeatTimeoutInterval": _DAY,
        "ShadowMessageAutoDiscardInterval": ("00:00:05", "90.00:00:00"),
        "ShadowResubmitTimeSpan": _DAY,
    },
    "Set-OutlookProvider": {"TTL": (0, _INT)},
}


def violated(cmdlet: str, name: str, value: Any, other: dict[str, Any] | None = None) -> str:
    """What Exchange says of a value that is out of its range; empty where it isn't. `other` bounds go first."""
    known = {**BOUNDS.get(cmdlet, {}), **(other or {}).get(cmdlet, {})}
    if value is None or value == "Unlimited" or name not in known:
        return ""
    least, most = known[name]
    if _number(least) <= _number(value) <= _number(most):
        return ""
    return f'The property value "{value}" of {name} is out of its range from {least} to {most}.'


def _number(value: Any) -> float:
    """Seconds of a time span, octets of a size, or the number itself."""
    text = str(value)
    if ":" in text:
        return v.span(text)
    exact = text.partition("(")[2] or text  # "36 MB (37,748,736 bytes)"
    return int(exact.replace(",", "").partition(" ")[0])
