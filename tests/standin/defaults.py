# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new server's settings are, as the published help of each cmdlet gives its defaults."""

from __future__ import annotations

from typing import Any

_INSTALLED = "C:\\Program Files\\Microsoft\\Exchange Server\\V15\\"
_LOGS = f"{_INSTALLED}TransportRoles\\Logs\\"
_MAILBOX_AGENTS = f"{_LOGS}Mailbox\\AgentLog\\"

# By service and log: days, megabytes of the folder and of a file (0: there is no such setting), and the folder.
_LOG_SETTINGS: dict[str, dict[str, tuple[int, int, int, str | None]]] = {
    "TransportService": {
        "ActiveUserStatistics": (30, 250, 10, f"{_LOGS}Hub\\ActiveUsersStats"),
        "Agent": (7, 250, 10, f"{_LOGS}Hub\\AgentLog"),
        "Connectivity": (30, 1000, 10, f"{_LOGS}Hub\\Connectivity"),
        "Dns": (7, 100, 10, None),
        "Irm": (30, 250, 10, f"{_INSTALLED}IRMLogs"),
        "MessageTracking": (30, 1000, 10, f"{_LOGS}MessageTracking"),
        "Queue": (7, 200, 10, f"{_LOGS}Hub\\QueueViewer"),
        "ReceiveProtocol": (30, 250, 10, f"{_LOGS}Hub\\ProtocolLog\\SmtpReceive"),
        "RoutingTable": (7, 50, 0, f"{_LOGS}Hub\\Routing"),
        "SendProtocol": (30, 250, 10, f"{_LOGS}Hub\\ProtocolLog\\SmtpSend"),
        "ServerStatistics": (30, 250, 10, f"{_LOGS}Hub\\ServerStats"),
    },
    "FrontendTransportService": {
        "Agent": (7, 250, 10, f"{_LOGS}FrontEnd\\AgentLog"),
        "Connectivity": (30, 1000, 10, f"{_LOGS}FrontEnd\\Connectivity"),
        "Dns": (7, 100, 10, None),
        "ReceiveProtocol": (30, 250, 10, f"{_LOGS}FrontEnd\\ProtocolLog\\SmtpReceive"),
        "RoutingTable": (7, 250, 0, f"{_LOGS}FrontEnd\\Routing"),
        "SendProtocol": (30, 250, 10, f"{_LOGS}FrontEnd\\ProtocolLog\\SmtpSend"),
    },
    "MailboxTransportService": {
        "Connectivity": (30, 1000, 10, f"{_LOGS}Mailbox\\Connectivity"),
        "MailboxDeliveryAgent": (7, 250, 10, f"{_MAILBOX_AGENTS}Delivery"),
        "MailboxDeliveryThrottling": (7, 200, 10, f"{_LOGS}Throttling\\Delivery"),
        "MailboxSubmissionAgent": (7, 250, 10, f"{_MAILBOX_AGENTS}Submission"),
        "ReceiveProtocol": (30, 250, 10, f"{_LOGS}Mailbox\\ProtocolLog\\SmtpReceive"),
        "RoutingTable": (7, 250, 0, f"{_LOGS}Mailbox\\Routing"),
        "SendProtocol": (30, 250, 10, f"{_LOGS}Mailbox\\ProtocolLog\\SmtpSend"),
    },
}
# Of every transport service that has them.
_TRANSPORT: dict[str, Any] = {
    "AntispamAgentsEnabled": False,
    "ContentConversionTracingEnabled": False,
    "DelayNotificationTimeout": "04:00:00",
    "DnsLogEnabled": False,
    "ExternalDNSAdapterGuid": "00000000-0000-0000-0000-000000000000",
    "ExternalIPAddress": None,
    "InternalDNSAdapterGuid": "00000000-0000-0000-0000-000000000000",
    "IntraOrgConnectorProtocolLoggingLevel": "None",
    "IntraOrgConnectorSmtpMaxMessagesPerConnection": 20,
    "MailboxDeliveryConnectorMaxInboundConnection": "5000",
    "MailboxDeliveryConnectorProtocolLoggingLevel": "None",
    "MaxConcurrentMailboxDeliveries": 20,
    "MaxConcurrentMailboxSubmissions": 20,
    "MaxConnectionRatePerMinute": 1200,
    "MaxOutboundConnections": "1000",
    "MaxPerDomainOutboundConnections": "40",
    "MessageExpirationTimeout": "2.00:00:00",
    "MessageRetryInterval": "00:05:00",
    "OutboundConnectionFailureRetryInterval": "00:10:00",
    "PickupDirectoryMaxHeaderSize": "64 KB (65,536 bytes)",
    "PickupDirectoryMaxMessagesPerMinute": 100,
    "PickupDirectoryMaxRecipientsPerMessage": 100,
    "PickupDirectoryPath": f"{_INSTALLED}TransportRoles\\Pickup",
    "PipelineTracingEnabled": False,
    "PipelineTracingSenderAddress": None,
    "PoisonThreshold": 2,
    "QueueMaxIdleTime": "00:03:00",
    "RecipientValidationCacheEnabled": False,
    "ReplayDirectoryPath": f"{_INSTALLED}TransportRoles\\Replay",
    "RootDropDirectoryPath": None,
    "TransientFailureRetryCount": 6,
    "TransientFailureRetryInterval": "00:05:00",
    "UseDowngradedExchangeServerAuth": False,
}
_MAIL: dict[str, Any] = {
    "CalendarItemRetrievalOption": "iCalendar",
    "EnableExactRFC822Size": False,
    "EnforceCertificateErrors": False,
    "LogPerFileSizeQuota": "0 B (0 bytes)",
    "MessageRetrievalMimeFormat": "BestBodyFormat",
    "OwaServerUrl": None,
    "ProtocolLogEnabled": False,
    "SuppressReadReceipt": False,
}


def _megabytes(number: int) -> str:
    return f"{number} MB ({number * 2**20:,} bytes)"


def of_transport(noun: str) -> dict[str, Any]:
    """Those of a transport service."""
    found = dict(_TRANSPORT)
    known = _LOG_SETTINGS["TransportService" if noun == "TransportServer" else noun]
    for log, (days, folder, file, path) in known.items():
        found |= {f"{log}LogMaxAge": f"{days}.00:00:00", f"{log}LogMaxDirectorySize": _megabytes(folder)}
        found[f"{log}LogPath"] = path
        if file:
            found[f"{log}LogMaxFileSize"] = _megabytes(file)
    return found


def of_mail(kind: str, version: str) -> dict[str, Any]:
    """Those of IMAP or POP."""
    imap = kind == "ImapSettings"
    own: dict[str, Any] = {
        "LogFileLocation": f"{_INSTALLED}Logging\\{'Imap4' if imap else 'Pop3'}",
        "LogFileRollOverSettings": "Daily" if version in ("2010", "2013") else "Hourly",
        "ProxyTargetPort": 1993 if imap else 1995,
    }
    own |= {"ShowHiddenFoldersEnabled": False} if imap else {"MessageRetrievalSortOrder": "Ascending"}
    return {**_MAIL, **own}
