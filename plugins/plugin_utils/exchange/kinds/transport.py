# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transport services of each server."""

from __future__ import annotations

from collections.abc import Iterator

from ..concepts import Call, Kind, Property
from ..values import BOOLEAN, COUNT_OR_UNLIMITED, INTEGER, PATH, SIZE, SIZE_OR_UNLIMITED, SPAN
from ._each import LOGGING_LEVEL, several

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
    get=Call("Get-TransportService", by="Identity"),
    set=Call("Set-TransportService", by="Identity"),
    since="2013",
    properties=(
        *_TRANSPORT,
        Property("IntraOrgConnectorSmtpMaxMessagesPerConnection", INTEGER),
        Property("MaxOutboundConnections", COUNT_OR_UNLIMITED),
        Property("MaxPerDomainOutboundConnections", COUNT_OR_UNLIMITED),
        *several(
            SPAN,
            "DelayNotificationTimeout MessageExpirationTimeout MessageRetryInterval "
            "OutboundConnectionFailureRetryInterval MessageTrackingLogMaxAge",
        ),
        *several(BOOLEAN, "MessageTrackingLogEnabled MessageTrackingLogSubjectLoggingEnabled"),
        Property("MessageTrackingLogPath", PATH),
        Property("MessageTrackingLogMaxDirectorySize", SIZE_OR_UNLIMITED),
        Property("MessageTrackingLogMaxFileSize", SIZE),
    ),
)
FRONTEND_TRANSPORT = Kind(
    variable="exchange_frontend_transport",
    title="front end transport service",
    get=Call("Get-FrontendTransportService", by="Identity"),
    set=Call("Set-FrontendTransportService", by="Identity"),
    since="2013",
    properties=_TRANSPORT,
)
