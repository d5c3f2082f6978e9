"""A new server's settings are those that the published help gives as defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.concepts import Kind
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.kinds.mail_access import IMAP, POP
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.kinds.transport import (
    FRONTEND_TRANSPORT,
    TRANSPORT,
)
from standin import defaults, management
from standin.fresh import fresh


def shown(cmdlet: str, version: str = "2019") -> dict[str, Any]:
    document = fresh("EX1", "ex1.example.test", ["example.test"], {}, version)
    server = management.Server(Path("/nowhere"), document)
    noun = cmdlet.partition("-")[2]
    if noun.endswith("Settings"):
        return dict(management.show_mail_settings(server, noun).properties)
    return dict(management.show_service(server, noun).properties)


@pytest.mark.parametrize(
    ("cmdlet", "name", "value"),
    [
        ("Get-TransportService", "ConnectivityLogMaxDirectorySize", "1000 MB (1,048,576,000 bytes)"),
        ("Get-TransportService", "AgentLogMaxAge", "7.00:00:00"),
        ("Get-TransportService", "DnsLogPath", None),
        ("Get-TransportService", "MaxPerDomainOutboundConnections", "40"),
        ("Get-TransportService", "MessageRetryInterval", "00:05:00"),
        ("Get-TransportService", "RoutingTableLogMaxDirectorySize", "50 MB (52,428,800 bytes)"),
        ("Get-FrontendTransportService", "DnsLogMaxDirectorySize", "100 MB (104,857,600 bytes)"),
        ("Get-FrontendTransportService", "ReceiveProtocolLogMaxAge", "30.00:00:00"),
        ("Get-MailboxTransportService", "MailboxDeliveryThrottlingLogMaxDirectorySize", "200 MB (209,715,200 bytes)"),
        ("Get-ImapSettings", "LogFileRollOverSettings", "Hourly"),
        ("Get-ImapSettings", "InternalConnectionSettings", ["ex1.example.test:993:SSL", "ex1.example.test:143:TLS"]),
        ("Get-ImapSettings", "ProxyTargetPort", 1993),
        ("Get-PopSettings", "ProxyTargetPort", 1995),
        ("Get-PopSettings", "MaxCommandSize", 512),
    ],
)
def test_a_default_is_the_helps(cmdlet: str, name: str, value: Any) -> None:
    assert shown(cmdlet)[name] == value


def test_a_log_is_cut_each_day_before_2016() -> None:
    assert shown("Get-PopSettings", "2013")["LogFileRollOverSettings"] == "Daily"


@pytest.mark.parametrize("kind", [TRANSPORT, FRONTEND_TRANSPORT, IMAP, POP], ids=lambda kind: kind.variable)
def test_every_setting_of_a_log_has_a_published_default(kind: Kind) -> None:
    noun = kind.get.name.partition("-")[2]
    known = defaults.of_mail(noun, "2019") if kind in (IMAP, POP) else defaults.of_transport(noun)
    logs = [entry.name for entry in kind.properties if "Log" in entry.name]
    # Logs are on where the help says nothing else, and a logon is no log.
    unsaid = {name for name in logs if name not in known}
    assert {name for name in unsaid if not name.endswith("Enabled")} <= {"LoginType"}
    assert {name: shown(kind.get.name)[name] for name in logs if name in known} == {
        name: known[name] for name in logs if name in known
    }
    assert all(shown(kind.get.name)[name] is True for name in unsaid - {"LoginType"})
