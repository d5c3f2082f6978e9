"""A server in Python that answers as the scripts do, for tests that need many of them; and values to ask for."""

from __future__ import annotations

import base64
import copy
import datetime as dt
import functools
import hashlib
import json
from typing import Any

import adapters
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.actual import (
    Answer,
    Server,
    read_server,
)
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.desired import (
    Desired,
    accounts_of,
    read_desired,
)
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.kinds import KINDS
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.kinds.receive_connectors import (
    RECEIVE_CONNECTOR,
)
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.operations import Plan
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.plan import make_plan
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.questions import queries

EVERYBODY = ["::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "0.0.0.0-255.255.255.255"]
ANONYMOUS = "NT AUTHORITY\\ANONYMOUS LOGON"
RELAY = "ms-Exch-SMTP-Accept-Any-Recipient"
# Built-in accounts as Windows in several languages calls them; by number they are the same.
ACCOUNTS = {
    "S-1-5-7": {"en": ANONYMOUS, "de": "NT-AUTORIT\u00c4T\\ANONYMOUS-ANMELDUNG", "it": "NT AUTHORITY\\ACCESSO ANONIMO"},
    "S-1-1-0": {"en": "Everyone", "de": "Jeder", "it": "Tutti"},
    "S-1-5-11": {
        "en": "NT AUTHORITY\\Authenticated Users",
        "de": "NT-AUTORIT\u00c4T\\Authentifizierte Benutzer",
        "it": "NT AUTHORITY\\Authenticated Users",
    },
}
OWN_ACCOUNTS = {"EXAMPLE\\svc": "S-1-5-21-1-2-3-1107", "EXAMPLE\\Exchange Servers": "S-1-5-21-1-2-3-1120"}


def sid_of(name: str, language: str) -> str | None:
    """The number of the account that a server in this language calls so."""
    own = {account.lower(): sid for account, sid in OWN_ACCOUNTS.items()}
    built_in = {names[language].lower(): sid for sid, names in ACCOUNTS.items()}
    return (own | built_in).get(name.lower())


def name_of(sid: str, language: str) -> str | None:
    """What a server in this language calls the account of this number."""
    own = {number: account for account, number in OWN_ACCOUNTS.items()}
    return own.get(sid) or ACCOUNTS.get(sid, {}).get(language)


VERSIONS = {
    "2010": "Version 14.3 (Build 123.4)",
    "2013": "Version 15.0 (Build 1497.2)",
    "2016": "Version 15.1 (Build 2507.6)",
    "2019": "Version 15.2 (Build 1748.10)",
    "SE": "Version 15.2 (Build 2562.17)",
}
SERVER_AUTH = "Tls, Integrated, BasicAuth, BasicAuthRequireTLS, ExchangeServer"

# What a new connector has, in the texts of a remote session.
CUSTOM = {
    "Enabled": True,
    "AuthMechanism": "Tls",
    "PermissionGroups": "None",
    "Banner": "",
    "Comment": "",
    "ProtocolLoggingLevel": "None",
    "SizeEnabled": "Enabled",
    "ExtendedProtectionPolicy": "None",
    "MessageRateSource": "IPAddress",
    "DefaultDomain": None,
    "TlsCertificateName": None,
    "TlsDomainCapabilities": [],
    "MaxMessageSize": "36 MB (37,748,736 bytes)",
    "MaxHeaderSize": "256 KB (262,144 bytes)",
    "MaxInboundConnectionPerSource": "20",
    "MaxInboundConnectionPercentagePerSource": 2,
    "MaxInboundConnection": "5000",
    "MaxProtocolErrors": "5",
    "MessageRateLimit": "Unlimited",
    "MaxRecipientsPerMessage": 200,
    "TarpitInterval": "00:00:05",
    "ConnectionTimeout": "00:10:00",
    "ConnectionInactivityTimeout": "00:05:00",
    "RequireTLS": False,
    "EnableAuthGSSAPI": False,
    "SmtpUtf8Enabled": True,
    "BareLinefeedRejectionEnabled": False,
}


def connector(server: str, name: str, **properties: Any) -> dict[str, Any]:
    """A connector as ``Get-ReceiveConnector`` shows it."""
    return {
        "Name": name,
        "Identity": f"{server}\\{name}",
        "DistinguishedName": f"CN={name},CN=SMTP Receive Connectors,CN=Protocols,CN={server}",
        "Server": server,
        "Fqdn": f"{server.lower()}.example.com",
        **CUSTOM,
        "Bindings": ["0.0.0.0:25", "[::]:25"],
        "RemoteIPRanges": list(EVERYBODY),
        "TransportRole": "FrontendTransport",
        **properties,
    }


def fresh(name: str = "EX1", version: str = "2019") -> dict[str, Any]:
    """The state of a new server."""

    def made(title: str, port: int, role: str, **properties: Any) -> dict[str, Any]:
        properties.setdefault("AuthMechanism", SERVER_AUTH)
        return connector(
            name,
            f"{title} {name}",
            Bindings=[f"0.0.0.0:{port}", f"[::]:{port}"],
            TransportRole=role,
            **properties,
        )

    front, hub = "FrontendTransport", "HubTransport"
    servers = "ExchangeUsers, ExchangeServers, ExchangeLegacyServers"
    connectors = [
        made("Default", 2525, hub, PermissionGroups=servers, MaxInboundConnectionPerSource="Unlimited"),
        made("Client Proxy", 465, hub, PermissionGroups="ExchangeUsers, ExchangeServers"),
        made("Default Frontend", 25, front, PermissionGroups="AnonymousUsers, ExchangeServers, ExchangeLegacyServers"),
        made("Outbound Proxy Frontend", 717, front, PermissionGroups="ExchangeServers"),
        made("Client Frontend", 587, front, PermissionGroups="ExchangeUsers", AuthMechanism="Tls, BasicAuth"),
    ]
    settings = {
        "EnableGSSAPIAndNTLMAuth": True,
        "LoginType": "SecureLogin",
        "X509CertificateName": name,
        "ExternalConnectionSettings": [],
        "MaxConnections": 2147483647,
        "PreAuthenticatedConnectionTimeout": "00:01:00",
        "Banner": "The Microsoft Exchange service is ready.",
    }
    return {
        "server": {
            "Name": name,
            "Fqdn": f"{name.lower()}.example.com",
            "AdminDisplayVersion": VERSIONS[version],
            "ServerRole": "Mailbox",
            "IsEdgeServer": False,
        },
        "exchange_receive_connectors": connectors,
        "permissions": [],
        "exchange_imap": [dict(settings)],
        "exchange_pop": [dict(settings)],
        "exchange_transport": [
            {"IntraOrgConnectorProtocolLoggingLevel": "None", "ReceiveProtocolLogMaxAge": "30.00:00:00"}
        ],
        "exchange_frontend_transport": [{"IntraOrgConnectorProtocolLoggingLevel": "None"}],
        "exchange_client_access_service": [
            {
                "AutoDiscoverServiceInternalUri": f"https://{name.lower()}.example.com/Autodiscover/Autodiscover.xml",
                "AutoDiscoverSiteScope": ["Default-First-Site-Name"],
            }
        ],
        "exchange_organization_config": [{"MapiHttpEnabled": True, "EwsEnabled": None, "EwsAllowList": None}],
        "exchange_transport_config": [
            {
                "MaxReceiveSize": "10 MB (10,485,760 bytes)",
                "InternalSMTPServers": [],
                "MaxRecipientEnvelopeLimit": "500",
            }
        ],
        "exchange_outlook_providers": [
            {"Name": one, "Identity": one, "CertPrincipalName": None, "TTL": 1} for one in ("EXCH", "EXPR", "WEB")
        ],
        "services": [
            {"Name": service, "Status": "Stopped", "StartType": "Manual"}
            for service in ("MSExchangeImap4", "MSExchangeIMAP4BE", "MSExchangePop3", "MSExchangePOP3BE")
        ],
        "components": [
            {"Component": component, "State": "Active", "ServerWideOfflineIsOffline": False}
            for component in ("ServerWideOffline", "ImapProxy", "PopProxy")
        ],
        "firewall": [
            rule("imap", ["143", "993"], r"C:\Exchange\FrontEnd\PopImap\Microsoft.Exchange.Imap4Service.exe"),
            rule("imap-any", ["143", "993"], "Any"),
            rule("imap-be", ["1993", "9933"], r"C:\Exchange\ClientAccess\PopImap\Microsoft.Exchange.Imap4.exe"),
            rule("other", ["143"], r"C:\Other\other.exe"),
            rule("pop", ["110", "995"], r"C:\Exchange\FrontEnd\PopImap\Microsoft.Exchange.Pop3Service.exe"),
        ],
        "certificates": [{"RawData": certificate(*names)} for names in (("mail.example.com",), ("*.example.net",))],
        "addresses": [{"IPAddress": address} for address in ("10.0.0.21", "127.0.0.1", "fe80::21%7", "::1")],
        "interfaces": [adapters.pseudo(), adapters.adapter("Ethernet", "10.0.0.21/24")],
        "pressure": [{"Result": "<Diagnostics><AggregateUse>Low</AggregateUse></Diagnostics>"}],
    }


@functools.cache
def certificate(*names: str, days: int = 90) -> str:
    """A certificate for these names, as the raw data of a session; one of negative days ended so long ago."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=200))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, names))), critical=False)
        .sign(key, hashes.SHA256())
    )
    return base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode()


def rule(name: str, ports: list[str], program: str, **more: Any) -> dict[str, Any]:
    """A firewall rule as the scripts show it."""
    return {
        "Name": name,
        "DisplayName": f"Regel {name}",
        "Direction": "Inbound",
        "LocalPort": ports,
        "Program": program,
        "EdgeTraversalPolicy": "Block",
        "PolicyStoreSourceType": "Local",
        **more,
    }


def is_foreseen(entry: dict[str, Any], foreseen: dict[str, Any]) -> bool:
    """Whether an entry of an access control list may be there, as the scripts see it."""
    user = str(entry["User"] or "").lower()
    if str(entry["Deny"]).lower() == "true" or user in foreseen["accounts"]:
        return True
    named = [right.lower() for right in entry.get("ExtendedRights") or ()]
    access = [part.strip().lower() for text in entry.get("AccessRights") or () for part in text.split(",")]
    rights = named + [part for part in access if not (named and part == "extendedright")]
    known = {text.lower() for text in (*foreseen["rights"], *foreseen["grants"])}
    return bool(rights) and all({right, f"{user}|{right}"} & known for right in rights)


class Machine:
    """Answers questions, and acts on operations, as the scripts on a real server do.

    Its state has the accounts by their English names; it shows and takes them in its own language.
    """

    def __init__(self, state: dict[str, Any] | None = None, language: str = "en") -> None:
        self.state = state or fresh()
        self.language = language
        # What connectors inherit: entries of their container's access control list.
        self.container: list[dict[str, Any]] = []
        self.host = self.state["server"]["Name"].lower()
        self.questions: list[dict[str, Any]] = []
        self.applied: list[dict[str, Any]] = []
        self.fail_at: int | None = None

    # --- reading

    def read(self, question: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for query in question["queries"]:
            objects = copy.deepcopy(self.state[query["name"]])
            if query["name"] == "permissions":
                objects = [{**entry, "User": self.local(entry["User"])} for entry in objects]
            kept = {*query["properties"], "Of"}
            found[query["name"]] = {
                "objects": [{name: value for name, value in entry.items() if name in kept} for entry in objects]
            }
        return found

    def local(self, user: str) -> str:
        """An account in the server's language."""
        sid = sid_of(user, "en")
        return (name_of(sid, self.language) if sid else None) or user

    def accounts(self, asked: list[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for text in {*asked, *(self.local(entry["User"]) for entry in self.state["permissions"])}:
            sid = text if text.startswith("S-1-") else sid_of(text, self.language)
            found[text] = {"sid": sid, "name": name_of(sid, self.language) if sid else None}
        return found

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        question = json.loads(json.dumps(question))
        self.questions.append(question)
        read = self.read(question)
        steady = {name: value for name, value in read.items() if name != "pressure"}
        digest = hashlib.sha256(json.dumps(steady, sort_keys=True).encode()).hexdigest()
        about = {**self.state["server"], "OriginatingServer": "dc1.example.com"}
        document: dict[str, Any] = {"server": about, "digest": digest, "host": self.host}
        document["controller"] = question.get("controller") or "dc1.example.com"
        if question["mode"] == "read":
            document["read"] = read
            document["accounts"] = self.accounts(question.get("accounts", []))
        elif question["expected"] != digest:
            document["moved"] = True
        else:
            document["operations"] = self.apply(question["operations"])
        return document

    # --- changing

    def carry_out(self, plan: Plan) -> bool:
        """Whether something was withheld."""
        sent = json.loads(json.dumps([operation.document() for operation in plan.operations]))
        return any(outcome["state"] == "withheld" for outcome in self.apply(sent))

    def apply(self, operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        outcomes: list[dict[str, Any]] = []
        failed = False
        for number, operation in enumerate(operations):
            if failed and not operation["always"]:
                outcomes.append({"state": "left"})
            elif number == self.fail_at:
                failed = True
                error = {"message": "The operation couldn't be performed.", "id": "X", "reason": "Y"}
                outcomes.append({"state": "failed", "error": {**error, "command": operation["command"]}})
            elif operation["foreseen"] and not self.as_foreseen(operation["foreseen"]):
                outcomes.append({"state": "withheld"})
            else:
                self.run(operation["command"], dict(operation["parameters"]), operation["connector"])
                self.applied.append(operation)
                outcomes.append({"state": "done"})
        return outcomes

    def as_foreseen(self, foreseen: dict[str, Any]) -> bool:
        own = [entry for entry in self.state["permissions"] if entry["Of"].lower() == foreseen["object"].lower()]
        return all(is_foreseen({**entry, "User": self.local(entry["User"])}, foreseen) for entry in own)

    def run(self, command: str, parameters: dict[str, Any], connector_identity: str = "") -> None:
        parameters.pop("Confirm", None)
        if "ReceiveConnector" in command or "ADPermission" in command:
            self.run_connector(command, parameters, connector_identity)
        elif command in ("Start-Service", "Stop-Service", "Set-Service"):
            service = next(e for e in self.state["services"] if e["Name"].lower() == parameters["Name"].lower())
            if command == "Set-Service":
                service["StartType"] = parameters["StartupType"]
            else:
                service["Status"] = "Running" if command == "Start-Service" else "Stopped"
        elif command == "Set-ServerComponentState":
            for entry in self.state["components"]:
                if entry["Component"] == parameters["Component"]:
                    entry["State"] = parameters["State"]
        elif command in adapters.COMMANDS:
            adapters.act(self.state["interfaces"], command, parameters)
        elif command == "Set-NetFirewallRule":
            for entry in self.state["firewall"]:
                if entry["Name"] == parameters["Name"]:
                    entry["EdgeTraversalPolicy"] = parameters["EdgeTraversalPolicy"]
        else:
            (kind,) = [one for one in KINDS if command in one.set.names]
            objects = self.state[kind.variable]
            by = parameters.pop(kind.set.by) if kind.set.by else ""
            if kind.key:
                self.found(objects, by).update(self.texts(parameters))
            else:
                assert by == ("" if kind.shared else self.state["server"]["Name"])
                objects[0].update(self.texts(parameters))

    def run_connector(self, command: str, parameters: dict[str, Any], identity: str) -> None:
        connectors = self.state["exchange_receive_connectors"]
        if command == "New-ReceiveConnector":
            server = parameters.pop("Server")
            parameters.pop("Usage")
            connectors.append(connector(server, parameters.pop("Name"), **self.texts(parameters)))
            self.inherit(connectors[-1]["Identity"])
        elif command == "Set-ReceiveConnector":
            self.found(connectors, parameters.pop("Identity")).update(self.texts(parameters))
        elif command == "Remove-ReceiveConnector":
            connectors.remove(self.found(connectors, parameters["Identity"]))
            self.state["permissions"] = [
                entry for entry in self.state["permissions"] if entry["Of"] != parameters["Identity"]
            ]
        elif command == "Add-ADPermission":
            self.found(connectors, identity)
            # Only what it calls itself is an account to the server.
            sid = sid_of(parameters["User"], self.language)
            parameters["User"] = (name_of(sid, "en") if sid else None) or parameters["User"]
            self.state["permissions"].append(
                {
                    "Of": identity,
                    "User": parameters["User"],
                    "ExtendedRights": list(parameters["ExtendedRights"]),
                    "Deny": "False",
                    "IsInherited": False,
                }
            )
        elif command == "Remove-ADPermission":
            gone = {right.lower() for right in parameters["ExtendedRights"]}
            sid = sid_of(parameters["User"], self.language)
            parameters["User"] = (name_of(sid, "en") if sid else None) or parameters["User"]
            for entry in self.state["permissions"]:
                if entry["Of"] == identity and entry["User"].lower() == parameters["User"].lower():
                    entry["ExtendedRights"] = [right for right in entry["ExtendedRights"] if right.lower() not in gone]

    def inherit(self, identity: str) -> None:
        """Give a connector what its container has."""
        self.state["permissions"] += [{"Of": identity, "IsInherited": True, **entry} for entry in self.container]

    @staticmethod
    def found(connectors: list[dict[str, Any]], identity: str) -> dict[str, Any]:
        (one,) = [entry for entry in connectors if identity.lower() == entry["Identity"].lower()]
        return one

    @staticmethod
    def texts(parameters: dict[str, Any]) -> dict[str, Any]:
        """Parameters as the server shows them afterwards."""
        shown = {}
        for name, value in parameters.items():
            known = RECEIVE_CONNECTOR.known(name)
            many = known is not None and known.type.many and not known.type.joined
            shown[name] = [] if value is None and many else value
        return shown


def server_of(machine: Machine, desired: Desired) -> Server:
    """The server as the planner sees it."""
    document = machine.answer(
        {
            "mode": "read",
            "server": "",
            "session": "present",
            "queries": queries(desired),
            "accounts": accounts_of(desired),
        }
    )
    return read_server(Answer(document), desired)


def planned(machine: Machine, **arguments: Any) -> Plan:
    """The plan for these arguments of the module."""
    desired = read_desired(arguments)
    return make_plan(desired, server_of(machine, desired))


def converged(machine: Machine, **arguments: Any) -> Plan:
    """Apply the plan; it must leave nothing to do."""
    plan = planned(machine, **arguments)
    machine.carry_out(plan)
    again = planned(machine, **arguments)
    assert again.operations == []
    assert again.differences == []
    return plan


def relay_connector(*ranges: str, **more: Any) -> dict[str, Any]:
    """What is desired of a connector by which anonymous clients relay."""
    return {
        "name": "Relay",
        "properties": {
            "Bindings": ["0.0.0.0:25"],
            "RemoteIPRanges": list(ranges),
            "PermissionGroups": ["AnonymousUsers"],
        },
        "extended_rights": [{"user": ANONYMOUS, "rights": [RELAY]}],
        **more,
    }
