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


def _mail_settings(server: str, fqdn: str, protocol: str, plain: int, tls: int) -> Document:
    return {
        "Identity": f"{server}\\1",
        "Server": server,
        "Name": "1",
        "ProtocolName": protocol,
        "UnencryptedOrTLSBindings": [f"[::]:{plain}", f"0.0.0.0:{plain}"],
        "SSLBindings": [f"[::]:{tls}", f"0.0.0.0:{tls}"],
        "InternalConnectionSettings": [f"{fqdn}:{tls}:SSL", f"{fqdn}:{plain}:TLS"],
        "ExternalConnectionSettings": [],
        "X509CertificateName": server,
        "Banner": f"The Microsoft Exchange {protocol} service is ready.",
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


_BUILDS = {"2013": "15.0 (Build 1497.2)", "2016": "15.1 (Build 2507.6)", "2019": "15.2 (Build 1748.10)"}
_BUILDS["SE"] = "15.2 (Build 2562.17)"
_PROGRAMS = "C:\\Program Files\\Microsoft\\Exchange Server\\V15\\"
# Components that bind to an adapter: who is bound on a new one, and who isn't.
_COMPONENT_IDS = {
    "ms_msclient": "Client for Microsoft Networks",
    "ms_server": "File and Printer Sharing for Microsoft Networks",
    "ms_pacer": "QoS Packet Scheduler",
    "ms_tcpip": "Internet Protocol Version 4 (TCP/IPv4)",
    "ms_tcpip6": "Internet Protocol Version 6 (TCP/IPv6)",
    "ms_lldp": "Microsoft LLDP Protocol Driver",
    "ms_lltdio": "Link-Layer Topology Discovery Mapper I/O Driver",
    "ms_rspndr": "Link-Layer Topology Discovery Responder",
    "ms_implat": "Microsoft Network Adapter Multiplexor Protocol",
}


def adapter(document: Document, name: str, index: int, *, loopback: bool = False, device: str | None = None) -> None:
    """Add a network adapter, as Windows does when it finds one. A loopback adapter asks for DHCP, in vain."""
    mac = ":".join(("02", *(f"{(index * step) % 256:02X}" for step in (3, 5, 7, 11, 13)))).replace(":", "-")
    description = "Microsoft KM-TEST Loopback Adapter" if loopback else "Microsoft Hyper-V Network Adapter"
    document.setdefault("NetAdapter", []).append(
        {
            "Name": name,
            "InterfaceDescription": description,
            "InterfaceIndex": index,
            "InterfaceGuid": "{" + str(uuid.uuid4()).upper() + "}",
            "Status": "Up",
            "MacAddress": mac,
            "LinkSpeed": "1.2 Gbps" if loopback else "10 Gbps",
            "ComponentID": "*msloop" if loopback else "VMBUS\\{f8615163-df3e-46c5-913f-f2d2f965ed0e}",
            "PnPDeviceID": device or f"ROOT\\NET\\{index:04}"
            if loopback
            else "VMBUS\\{F8615163-DF3E-46C5-913F-F2D2F965ED0E}",
            "DriverFileName": "loop.sys" if loopback else "netvsc.sys",
            "TcpipNetbiosOptions": 0,
        }
    )
    document.setdefault("NetAdapterBinding", []).extend(
        {"Name": name, "ComponentID": key, "DisplayName": title, "Enabled": key != "ms_implat"}
        for key, title in _COMPONENT_IDS.items()
    )
    _interfaces(document, name, index, 75 if loopback else 15, dhcp=loopback)
    document.setdefault("DnsClient", []).append(
        {
            "InterfaceAlias": name,
            "InterfaceIndex": index,
            "ConnectionSpecificSuffix": "",
            "RegisterThisConnectionsAddress": True,
            "UseSuffixWhenRegistering": False,
        }
    )


def remove_adapter(document: Document, index: int) -> None:
    """Take an adapter away, with all that was set for it."""
    names = [item["Name"] for item in document["NetAdapter"] if item["InterfaceIndex"] == index]
    for kind in ("NetAdapter", "NetIPInterface", "NetIPAddress", "DnsClient"):
        document[kind] = [item for item in document[kind] if item["InterfaceIndex"] != index]
    document["NetAdapterBinding"] = [item for item in document["NetAdapterBinding"] if item["Name"] not in names]


def _interfaces(document: Document, name: str, index: int, metric: int, *, dhcp: bool = False) -> None:
    document.setdefault("NetIPInterface", []).extend(
        {
            "InterfaceAlias": name,
            "InterfaceIndex": index,
            "AddressFamily": family,
            "NlMtu": 1500,
            "InterfaceMetric": metric,
            "AutomaticMetric": "Enabled",
            "Dhcp": "Enabled" if dhcp else "Disabled",
            "Forwarding": "Disabled",
            "Advertising": "Disabled",
            "WeakHostSend": "Disabled",
            "WeakHostReceive": "Disabled",
            "ConnectionState": "Connected",
        }
        for family in ("IPv4", "IPv6")
    )


def network(addresses: list[str]) -> Document:
    """A server with one adapter that has these addresses, such as 10.1.1.21/24."""
    document: Document = {"NetIPAddress": []}
    _interfaces(document, "Loopback Pseudo-Interface 1", 1, 75)
    adapter(document, "Ethernet", 7)
    for address in addresses:
        host, _, length = address.partition("/")
        document["NetIPAddress"].append(
            {"IPAddress": host, "PrefixLength": int(length or 32), "InterfaceIndex": 7, "SkipAsSource": False}
        )
    return document


def _rules() -> list[Document]:
    """The firewall rules that Exchange's setup makes for mail clients and mail, and one of Windows' own."""

    def rule(name: str, ports: list[str], program: str) -> Document:
        return {
            "Name": str(uuid.uuid4()).upper().join("{}"),
            "DisplayName": name,
            "Group": "Microsoft Exchange",
            "Enabled": "True",
            "Direction": "Inbound",
            "Action": "Allow",
            "Profile": "Any",
            "EdgeTraversalPolicy": "Block",
            "PolicyStoreSourceType": "Local",
            "Protocol": "TCP",
            "LocalPort": ports,
            "Program": program,
        }

    front, back = _PROGRAMS + "FrontEnd\\PopImap\\", _PROGRAMS + "ClientAccess\\PopImap\\"
    rules = []
    for title, program, ports, inside in (
        ("IMAP4", "Microsoft.Exchange.Imap4Service.exe", ["143", "993"], ["1993", "9933"]),
        ("POP3", "Microsoft.Exchange.Pop3Service.exe", ["110", "995"], ["1995", "9955"]),
    ):
        rules += [
            rule(f"MSExchange{title} (TCP-In)", ports, front + program),
            rule(f"MSExchange{title} (GFW) (TCP-In)", ports, "Any"),
            rule(f"MSExchange{title}BE (TCP-In)", inside, back + program),
        ]
    rules.append(
        rule("MSExchangeTransportWorker (TCP-In)", ["25", "587", "2525"], _PROGRAMS + "Bin\\edgetransport.exe")
    )
    remote = rule("Remote Desktop - User Mode (TCP-In)", ["3389"], "%SystemRoot%\\system32\\svchost.exe")
    return [*rules, remote | {"Name": "RemoteDesktop-UserMode-In-TCP", "Group": "@FirewallAPI.dll,-28752"}]


def _of_version(document: Document, version: str) -> Document:
    """What an older server doesn't have yet."""
    if version == "2013":
        for connector in document["ReceiveConnector"]:
            for name in [n for n in connector if n == "AuthTarpitInterval" or n.startswith("Reject")]:
                del connector[name]
        document["ServerComponentState"] = [
            item for item in document["ServerComponentState"] if item["Component"] not in _SINCE_2016
        ]
    return document


_SINCE_2016 = ("RestProxy", "DefaultProxy", "Lsass", "RoutingService", "E4EProxy", "CafeLAMv2", "LogExportProvider")


def fresh(
    name: str,
    fqdn: str,
    domains: list[str],
    mailboxes: dict[str, str],
    version: str = "2019",
    addresses: list[str] | None = None,
    culture: str = "en-US",
) -> Document:
    """A new server's state.

    name: the server's short name (`EX1`); fqdn: its full one; domains: the accepted ones, the first is the
    default; mailboxes: address -> password; version: 2013, 2016, 2019 or SE; addresses: of its adapter, with prefix;
    culture: of its Windows, such as de-DE.
    """
    document = {
        "ExchangeServer": {
            "Name": name,
            "Identity": name,
            "Fqdn": fqdn,
            "AdminDisplayVersion": f"Version {_BUILDS[version]}",
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
        "Culture": {"Name": culture},
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
        "ImapSettings": _mail_settings(name, fqdn, "IMAP4", 143, 993),
        "PopSettings": _mail_settings(name, fqdn, "POP3", 110, 995),
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
        **network(addresses or []),
        "NetFirewallRule": _rules(),
        "Standin": {"JournalRequests": True},
    }
    return _of_version(document, version)
