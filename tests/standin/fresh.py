# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of an Exchange 2019 mailbox server right after its setup."""

from __future__ import annotations

import uuid
from typing import Any

from .state import Document

_EVERYBODY = ["::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "0.0.0.0-255.255.255.255"]
_BASIC = "Tls, Integrated, BasicAuth, BasicAuthRequireTLS"

_SERVICES = {
    "FMS": "Microsoft Filtering Management Service",
    "HostControllerService": "Microsoft Exchange Search Host Controller",
    "IISADMIN": "IIS Admin Service",
    "MSExchangeADTopology": "Microsoft Exchange Active Directory Topology",
    "MSExchangeAntispamUpdate": "Microsoft Exchange Anti-spam Update",
    "MSExchangeCompliance": "Microsoft Exchange Compliance Service",
    "MSExchangeDagMgmt": "Microsoft Exchange DAG Management",
    "MSExchangeDelivery": "Microsoft Exchange Mailbox Transport Delivery",
    "MSExchangeDiagnostics": "Microsoft Exchange Diagnostics",
    "MSExchangeEdgeSync": "Microsoft Exchange EdgeSync",
    "MSExchangeFastSearch": "Microsoft Exchange Search",
    "MSExchangeFrontEndTransport": "Microsoft Exchange Frontend Transport",
    "MSExchangeHM": "Microsoft Exchange Health Manager",
    "MSExchangeHMRecovery": "Microsoft Exchange Health Manager Recovery",
    "MSExchangeImap4": "Microsoft Exchange IMAP4",
    "MSExchangeIMAP4BE": "Microsoft Exchange IMAP4 Backend",
    "MSExchangeIS": "Microsoft Exchange Information Store",
    "MSExchangeMailboxAssistants": "Microsoft Exchange Mailbox Assistants",
    "MSExchangeMailboxReplication": "Microsoft Exchange Mailbox Replication",
    "MSExchangeMitigation": "Microsoft Exchange Emergency Mitigation Service",
    "MSExchangePop3": "Microsoft Exchange POP3",
    "MSExchangePOP3BE": "Microsoft Exchange POP3 Backend",
    "MSExchangeRepl": "Microsoft Exchange Replication",
    "MSExchangeRPC": "Microsoft Exchange RPC Client Access",
    "MSExchangeServiceHost": "Microsoft Exchange Service Host",
    "MSExchangeSubmission": "Microsoft Exchange Mailbox Transport Submission",
    "MSExchangeThrottling": "Microsoft Exchange Throttling",
    "MSExchangeTransport": "Microsoft Exchange Transport",
    "MSExchangeTransportLogSearch": "Microsoft Exchange Transport Log Search",
    "NetTcpPortSharing": "Net.Tcp Port Sharing Service",
    "SearchExchangeTracing": "Tracing Service for Search in Exchange",
    "W3SVC": "World Wide Web Publishing Service",
    "WinRM": "Windows Remote Management (WS-Management)",
    "WMSVC": "Web Management Service",
}
_MANUAL = {"MSExchangeImap4", "MSExchangeIMAP4BE", "MSExchangePop3", "MSExchangePOP3BE"}

_COMPONENTS = (
    "ServerWideOffline HubTransport FrontendTransport Monitoring RecoveryActionsEnabled AutoDiscoverProxy "
    "ActiveSyncProxy EcpProxy EwsProxy ImapProxy OabProxy OwaProxy PopProxy PushNotificationsProxy RpsProxy "
    "RwsProxy RpcProxy XropProxy HttpProxyAvailabilityGroup ForwardSyncDaemon ProvisioningRps MapiProxy "
    "EdgeTransport HighAvailability SharedCache MailboxDeliveryProxy RoutingUpdates RestProxy DefaultProxy Lsass "
    "RoutingService E4EProxy CafeLAMv2 LogExportProvider"
).split()
_BORN_INACTIVE = {"ForwardSyncDaemon", "ProvisioningRps"}


def _connector(server: str, fqdn: str, title: str, port: int, role: str, **properties: Any) -> Document:
    name = f"{title} {server}"
    return {
        "Name": name,
        "Identity": f"{server}\\{name}",
        "Guid": str(uuid.uuid4()),
        "Server": server,
        "TransportRole": role,
        "Enabled": True,
        "Bindings": [f"[::]:{port}", f"0.0.0.0:{port}"],
        "RemoteIPRanges": list(_EVERYBODY),
        "Fqdn": fqdn,
        "Banner": "",
        "AuthMechanism": f"{_BASIC}, ExchangeServer",
        "PermissionGroups": "ExchangeUsers, ExchangeServers",
        "RequireTLS": False,
        "RequireEHLODomain": False,
        "SizeEnabled": "Enabled",
        "PipeliningEnabled": True,
        "DeliveryStatusNotificationEnabled": True,
        "EnhancedStatusCodesEnabled": True,
        "EightBitMimeEnabled": True,
        "BinaryMimeEnabled": True,
        "ChunkingEnabled": True,
        "SmtpUtf8Enabled": True,
        "BareLinefeedRejectionEnabled": False,
        "LongAddressesEnabled": False,
        "OrarEnabled": False,
        "SuppressXAnonymousTls": False,
        "ProxyEnabled": False,
        "AdvertiseClientSettings": False,
        "AcceptConsumerMail": False,
        "LiveCredentialEnabled": False,
        "RejectReservedSecondLevelRecipientDomains": False,
        "RejectReservedTopLevelRecipientDomains": False,
        "RejectSingleLabelRecipientDomains": False,
        "DomainSecureEnabled": False,
        "EnableAuthGSSAPI": False,
        "ExtendedProtectionPolicy": "None",
        "DefaultDomain": None,
        "ServiceDiscoveryFqdn": None,
        "TlsCertificateName": None,
        "TlsDomainCapabilities": [],
        "Comment": "",
        "ConnectionTimeout": "00:10:00",
        "ConnectionInactivityTimeout": "00:05:00",
        "MaxAcknowledgementDelay": "00:00:30",
        "TarpitInterval": "00:00:05",
        "AuthTarpitInterval": "00:00:05",
        "MaxMessageSize": "36 MB (37,748,736 bytes)",
        "MaxHeaderSize": "256 KB (262,144 bytes)",
        "MaxHopCount": 60,
        "MaxLocalHopCount": 5,
        "MaxLogonFailures": 3,
        "MaxProtocolErrors": "5",
        "MaxRecipientsPerMessage": 200,
        "MaxInboundConnection": "5000",
        "MaxInboundConnectionPerSource": "20",
        "MaxInboundConnectionPercentagePerSource": 2,
        "MessageRateLimit": "Unlimited",
        "MessageRateSource": "IPAddress",
        "ProtocolLoggingLevel": "None",
        "IsValid": True,
        "ObjectState": "Unchanged",
        **properties,
    }


def _connectors(server: str, fqdn: str) -> list[Document]:
    return [
        _connector(
            server,
            fqdn,
            "Default",
            2525,
            "HubTransport",
            PermissionGroups="ExchangeUsers, ExchangeServers, ExchangeLegacyServers",
            SizeEnabled="EnabledWithoutValue",
            MaxInboundConnectionPerSource="Unlimited",
            MaxInboundConnectionPercentagePerSource=100,
            MaxRecipientsPerMessage=5000,
        ),
        _connector(
            server,
            fqdn,
            "Client Proxy",
            465,
            "HubTransport",
            EnableAuthGSSAPI=True,
            MessageRateLimit="5",
            MessageRateSource="User",
        ),
        _connector(
            server,
            fqdn,
            "Default Frontend",
            25,
            "FrontendTransport",
            PermissionGroups="AnonymousUsers, ExchangeServers, ExchangeLegacyServers",
            DomainSecureEnabled=True,
            ProtocolLoggingLevel="Verbose",
        ),
        _connector(
            server,
            fqdn,
            "Outbound Proxy Frontend",
            717,
            "FrontendTransport",
            PermissionGroups="ExchangeServers",
            DomainSecureEnabled=True,
            TarpitInterval="00:00:00",
            ProtocolLoggingLevel="Verbose",
        ),
        _connector(
            server,
            fqdn,
            "Client Frontend",
            587,
            "FrontendTransport",
            AuthMechanism=_BASIC,
            PermissionGroups="ExchangeUsers",
            EnableAuthGSSAPI=True,
            MessageRateLimit="5",
            MessageRateSource="User",
        ),
    ]


def _directories(server: str, fqdn: str) -> Document:
    def directory(title: str, url: str, **properties: Any) -> list[Document]:
        name = f"{title} (Default Web Site)"
        return [
            {
                "Name": name,
                "Identity": f"{server}\\{name}",
                "Server": server,
                "InternalUrl": f"https://{fqdn}{url}" if url else None,
                "ExternalUrl": None,
                "ExtendedProtectionTokenChecking": "None",
                "ExtendedProtectionFlags": [],
                "ExtendedProtectionSPNList": [],
                **properties,
            }
        ]

    forms = {"BasicAuthentication": True, "FormsAuthentication": True, "WindowsAuthentication": False}
    return {
        "OwaVirtualDirectory": directory("owa", "/owa", **forms, LogonFormat="FullDomain", DefaultDomain=""),
        "EcpVirtualDirectory": directory("ecp", "/ecp", **forms, AdminEnabled=True),
        # Setup leaves Basic off for EWS; it is on here, as on most servers that serve other than Outlook.
        "WebServicesVirtualDirectory": directory(
            "EWS", "/EWS/Exchange.asmx", BasicAuthentication=True, WindowsAuthentication=True, OAuthAuthentication=True
        ),
        "MapiVirtualDirectory": directory("mapi", "/mapi", IISAuthenticationMethods=["Ntlm", "OAuth", "Negotiate"]),
        "OutlookAnywhere": directory("Rpc", "", IISAuthenticationMethods=["Basic", "Ntlm", "Negotiate"]),
        "OabVirtualDirectory": directory("OAB", "/OAB", BasicAuthentication=False, WindowsAuthentication=True),
        "ActiveSyncVirtualDirectory": directory(
            "Microsoft-Server-ActiveSync",
            "/Microsoft-Server-ActiveSync",
            BasicAuthEnabled=True,
            WindowsAuthEnabled=False,
        ),
        "AutodiscoverVirtualDirectory": directory(
            "Autodiscover", "", BasicAuthentication=True, WindowsAuthentication=True
        ),
        "PowerShellVirtualDirectory": directory(
            "PowerShell", "/powershell", BasicAuthentication=False, WindowsAuthentication=False
        ),
    }


def _mail_settings(server: str, protocol: str, plain: int, tls: int, banner: str) -> Document:
    return {
        "Identity": f"{server}\\1",
        "Server": server,
        "Name": "1",
        "ProtocolName": protocol,
        "UnencryptedOrTLSBindings": [f"[::]:{plain}", f"0.0.0.0:{plain}"],
        "SSLBindings": [f"[::]:{tls}", f"0.0.0.0:{tls}"],
        "InternalConnectionSettings": [],
        "ExternalConnectionSettings": [],
        "X509CertificateName": server,
        "Banner": f"The Microsoft Exchange {banner} service is ready.",
        "LoginType": "SecureLogin",
        "EnableGSSAPIAndNTLMAuth": True,
        "ExtendedProtectionPolicy": "None",
        "AuthenticatedConnectionTimeout": "00:30:00",
        "PreAuthenticatedConnectionTimeout": "00:01:00",
        "MaxConnections": 2147483647,
        "MaxConnectionFromSingleIP": 2147483647,
        "MaxConnectionsPerUser": 16,
        "MaxCommandSize": 10240 if protocol == "IMAP4" else 512,
        "ProtocolLogEnabled": False,
    }


def fresh(name: str, fqdn: str, domains: list[str], mailboxes: dict[str, str]) -> Document:
    """A new server's state.

    name: the server's short name (`EX1`); fqdn: its full one; domains: the accepted ones, the first is the
    default; mailboxes: address -> password.
    """
    return {
        "ExchangeServer": {
            "Name": name,
            "Identity": name,
            "Fqdn": fqdn,
            "AdminDisplayVersion": "Version 15.2 (Build 1748.10)",
            "ServerRole": "Mailbox",
            "Edition": "Standard",
            "IsEdgeServer": False,
        },
        "AcceptedDomain": [
            {
                "Name": domain,
                "DomainName": domain,
                "DomainType": "Authoritative",
                "MatchSubDomains": False,
                "Default": domain == domains[0],
            }
            for domain in domains
        ],
        "ReceiveConnector": _connectors(name, fqdn),
        "ADPermission": [],
        "Service": [
            {
                "Name": service,
                "DisplayName": title,
                "Status": "Stopped" if service in _MANUAL else "Running",
                "StartType": "Manual" if service in _MANUAL else "Automatic",
            }
            for service, title in _SERVICES.items()
        ],
        "ServerComponentState": [
            {
                "Identity": name,
                "ServerFqdn": fqdn,
                "Component": component,
                "State": "Inactive" if component in _BORN_INACTIVE else "Active",
            }
            for component in _COMPONENTS
        ],
        "ImapSettings": _mail_settings(name, "IMAP4", 143, 993, "IMAP4"),
        "PopSettings": _mail_settings(name, "POP3", 110, 995, "POP3"),
        **_directories(name, fqdn),
        "WebBinding": [{"protocol": "https", "bindingInformation": "*:443:"}],
        "ExchangeDiagnosticInfo": {"ResourceThrottling": {"ResourceTracker": {"AggregateUse": "Low"}}},
        "Mailbox": [
            {
                "Name": address.partition("@")[0],
                "SamAccountName": address.partition("@")[0],
                "PrimarySmtpAddress": address,
                "EmailAddresses": [f"SMTP:{address}"],
                "Password": password,
            }
            for address, password in mailboxes.items()
        ],
        "Standin": {"JournalRequests": True},
    }
