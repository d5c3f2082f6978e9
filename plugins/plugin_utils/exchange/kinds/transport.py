# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transport services of each server."""

from __future__ import annotations

from collections.abc import Iterator

from ..concepts import Call, Kind, Property
from ..values import BOOLEAN, COUNT_OR_UNLIMITED, INTEGER, PATH, SIZE, SIZE_OR_UNLIMITED, SPAN
from ._each import COUNT, DAY, LOG_AGE, LOG_SIZE, LOGGING_LEVEL, several

_LOGS = "Agent Connectivity Dns"
_PROTOCOL_LOGS = "ReceiveProtocol SendProtocol"


def _log(name: str) -> Iterator[Property]:
    yield Property(f"{name}LogPath", PATH)
    bounded = name == "Connectivity"  # for the others the help publishes none
    size = LOG_SIZE if bounded else None
    yield Property(f"{name}LogMaxAge", SPAN, bounds=LOG_AGE if bounded else None)
    yield Property(f"{name}LogMaxDirectorySize", SIZE_OR_UNLIMITED, bounds=size)
    yield Property(f"{name}LogMaxFileSize", SIZE_OR_UNLIMITED, bounds=size)


_TRANSPORT = (
    Property("IntraOrgConnectorProtocolLoggingLevel", LOGGING_LEVEL),
    Property("MaxConnectionRatePerMinute", INTEGER, bounds=COUNT),
    Property("TransientFailureRetryCount", INTEGER, bounds=(0, 15)),
    Property("TransientFailureRetryInterval", SPAN, bounds=("00:00:01", "12:00:00")),
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
        Property("IntraOrgConnectorSmtpMaxMessagesPerConnection", INTEGER, bounds=(0, 2147483647)),
        *several(COUNT_OR_UNLIMITED, "MaxOutboundConnections MaxPerDomainOutboundConnections", bounds=COUNT),
        Property("DelayNotificationTimeout", SPAN, bounds=("00:00:01", "30.00:00:00")),
        Property("MessageExpirationTimeout", SPAN, bounds=("00:00:05", "90.00:00:00")),
        Property("MessageRetryInterval", SPAN, bounds=DAY),
        Property("OutboundConnectionFailureRetryInterval", SPAN, bounds=("00:00:01", "20.00:00:00")),
        Property("MessageTrackingLogMaxAge", SPAN, bounds=LOG_AGE),
        *several(BOOLEAN, "MessageTrackingLogEnabled MessageTrackingLogSubjectLoggingEnabled"),
        Property("MessageTrackingLogPath", PATH),
        Property("MessageTrackingLogMaxDirectorySize", SIZE_OR_UNLIMITED, bounds=LOG_SIZE),
        Property("MessageTrackingLogMaxFileSize", SIZE, bounds=("1B", "4GB")),
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
