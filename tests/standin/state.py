# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's state: what the file may hold, and what it means.

The file is one JSON object. Its keys are the nouns of Exchange's `Get-…` cmdlets, its values are the objects
that those cmdlets show, with their own property names and texts. Loading is strict: a wrong state raises
StateError, whose text is one sentence.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from . import values as v

Document = dict[str, Any]

ACCEPT_ANY_RECIPIENT = "Ms-Exch-SMTP-Accept-Any-Recipient"


class StateError(Exception):
    """A wrong state; its text is one sentence that names the place, the value and what is expected."""


@dataclass(frozen=True)
class Kind:
    """One kind of object.

    acted:   property -> (reader, default); the stand-in acts on these.
    carried: further properties that may be there; None allows any that isn't a misspelling of an acted one.
    key:     the properties by which a path may select one of a list; none for an object that exists once.
    needed:  properties without a default.
    """

    acted: Mapping[str, tuple[v.Reader, Any]]
    carried: frozenset[str] | None = frozenset()
    key: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    single: bool = False


_DIRECTORY_OBJECT = (
    "AdminDisplayName DistinguishedName ExchangeVersion Guid Id Identity IsValid Name ObjectCategory ObjectClass "
    "ObjectState OrganizationId OriginatingServer WhenChanged WhenChangedUTC WhenCreated WhenCreatedUTC"
).split()

_AUTH_MECHANISMS = v.some_of(
    "Tls", "Integrated", "BasicAuth", "BasicAuthRequireTLS", "ExchangeServer", "ExternalAuthoritative"
)
_PERMISSION_GROUPS = v.some_of(
    "AnonymousUsers", "ExchangeUsers", "ExchangeServers", "ExchangeLegacyServers", "Partners", "Custom"
)

# Defaults are those of New-ReceiveConnector -Usage Custom.
_CONNECTOR = Kind(
    key=("Name", "Identity"),
    needed=("Name", "Bindings", "RemoteIPRanges"),
    acted={
        "Name": (v.some_text, None),
        "Bindings": (v.list_of(v.binding, "bindings"), None),
        "RemoteIPRanges": (v.list_of(v.remote_range, "address ranges"), None),
        "TransportRole": (v.one_of("FrontendTransport", "HubTransport"), "FrontendTransport"),
        "Enabled": (v.flag, True),
        "Fqdn": (v.text, ""),
        "Banner": (v.text, ""),
        "AuthMechanism": (_AUTH_MECHANISMS, "Tls"),
        "PermissionGroups": (_PERMISSION_GROUPS, "None"),
        "RequireTLS": (v.flag, False),
        "RequireEHLODomain": (v.flag, False),
        "SizeEnabled": (v.one_of("Enabled", "EnabledWithoutValue", "Disabled"), "Enabled"),
        "PipeliningEnabled": (v.flag, True),
        "DeliveryStatusNotificationEnabled": (v.flag, True),
        "EnhancedStatusCodesEnabled": (v.flag, True),
        "EightBitMimeEnabled": (v.flag, True),
        "BinaryMimeEnabled": (v.flag, True),
        "ChunkingEnabled": (v.flag, True),
        "SmtpUtf8Enabled": (v.flag, True),
        "MaxMessageSize": (v.size, "36 MB (37,748,736 bytes)"),
        "MaxHeaderSize": (v.size, "256 KB (262,144 bytes)"),
        "MaxHopCount": (v.integer, 60),
        "MaxRecipientsPerMessage": (v.integer, 200),
        "MaxInboundConnection": (v.limit, "5000"),
        "MaxInboundConnectionPerSource": (v.limit, "20"),
        "MaxInboundConnectionPercentagePerSource": (v.integer, 2),
        "MaxProtocolErrors": (v.limit, "5"),
        "MaxLogonFailures": (v.integer, 3),
        "MessageRateLimit": (v.limit, "Unlimited"),
        "MessageRateSource": (v.some_of("IPAddress", "User", "All"), "IPAddress"),
        "TarpitInterval": (v.span, "00:00:05"),
        "AuthTarpitInterval": (v.span, "00:00:05"),
        "ConnectionTimeout": (v.span, "00:10:00"),
        "ConnectionInactivityTimeout": (v.span, "00:05:00"),
    },
    carried=frozenset(
        [
            *_DIRECTORY_OBJECT,
            *"AcceptConsumerMail AdvertiseClientSettings BareLinefeedRejectionEnabled Comment DefaultDomain".split(),
            *"DomainSecureEnabled EnableAuthGSSAPI ExtendedProtectionPolicy LiveCredentialEnabled".split(),
            *"LongAddressesEnabled MaxAcknowledgementDelay MaxLocalHopCount OrarEnabled ProtocolLoggingLevel".split(),
            *"ProxyEnabled RejectReservedSecondLevelRecipientDomains RejectReservedTopLevelRecipientDomains".split(),
            *"RejectSingleLabelRecipientDomains Server ServiceDiscoveryFqdn SuppressXAnonymousTls".split(),
            *"TlsCertificateName TlsDomainCapabilities".split(),
        ]
    ),
)


def _mail_settings(plain: int, tls: int, name: str) -> Kind:
    both = [f"[::]:{plain}", f"0.0.0.0:{plain}"], [f"[::]:{tls}", f"0.0.0.0:{tls}"]
    return Kind(
        single=True,
        acted={
            "UnencryptedOrTLSBindings": (v.list_of(v.binding, "bindings"), both[0]),
            "SSLBindings": (v.list_of(v.binding, "bindings"), both[1]),
            "LoginType": (v.one_of("PlainTextLogin", "PlainTextAuthentication", "SecureLogin"), "SecureLogin"),
            "EnableGSSAPIAndNTLMAuth": (v.flag, True),
            "Banner": (v.text, f"The Microsoft Exchange {name} service is ready."),
            "MaxConnections": (v.integer, 2147483647),
            "MaxConnectionFromSingleIP": (v.integer, 2147483647),
            "MaxConnectionsPerUser": (v.integer, 16),
            "X509CertificateName": (v.text, ""),
        },
        carried=frozenset(
            [
                *_DIRECTORY_OBJECT,
                *"AuthenticatedConnectionTimeout CalendarItemRetrievalOption EnableExactRFC822Size".split(),
                *"EnforceCertificateErrors ExtendedProtectionPolicy ExternalConnectionSettings".split(),
                *"InternalConnectionSettings LogFileLocation LogFileRollOverSettings LogPerFileSizeQuota".split(),
                *"MaxCommandSize MessageRetrievalMimeFormat MessageRetrievalSortOrder OwaServerUrl".split(),
                *"PreAuthenticatedConnectionTimeout ProtocolLogEnabled ProtocolName ProxyTargetPort Server".split(),
                *"ShowHiddenFoldersEnabled SuppressReadReceipt".split(),
            ]
        ),
    )


_AUTHENTICATION_METHODS = v.some_of(
    "Basic", "Ntlm", "Negotiate", "OAuth", "WindowsIntegrated", "WSSecurity", "Fba", "Digest", "Certificate", "None"
)


def _directory(**methods: tuple[v.Reader, Any]) -> Kind:
    return Kind(
        single=False,
        key=("Name", "Identity"),
        needed=("Name",),
        carried=None,
        acted={
            "Name": (v.some_text, None),
            "InternalUrl": (v.text, ""),
            "ExternalUrl": (v.text, ""),
            "ExtendedProtectionTokenChecking": (v.one_of("None", "Allow", "Require"), "None"),
            **methods,
        },
    )


_OFF, _ON = (v.flag, False), (v.flag, True)
_LEVEL = v.one_of("Low", "Medium", "High")

KINDS: dict[str, Kind] = {
    "ExchangeServer": Kind(
        single=True,
        needed=("Name", "Fqdn"),
        carried=None,
        acted={"Name": (v.some_text, None), "Fqdn": (v.some_text, None)},
    ),
    "ReceiveConnector": _CONNECTOR,
    "AcceptedDomain": Kind(
        key=("Name", "DomainName"),
        needed=("DomainName",),
        carried=None,
        acted={
            "DomainName": (v.some_text, None),
            "DomainType": (v.one_of("Authoritative", "InternalRelay", "ExternalRelay"), "Authoritative"),
            "MatchSubDomains": (v.flag, False),
        },
    ),
    "ADPermission": Kind(
        needed=("Identity", "User", "ExtendedRights"),
        carried=frozenset(("InheritanceType", "IsValid", "Properties")),
        acted={
            "Identity": (v.some_text, None),
            "User": (v.some_text, None),
            "ExtendedRights": (v.list_of(v.some_text, "rights"), None),
            "Deny": (v.flag, False),
            "AccessRights": (v.list_of(v.some_text, "access rights"), []),
            "IsInherited": (v.flag, False),
        },
    ),
    # The language of Windows.
    "Culture": Kind(single=True, acted={"Name": (v.some_text, "en-US")}),
    "Service": Kind(
        key=("Name",),
        needed=("Name", "Status"),
        carried=None,
        acted={
            "Name": (v.some_text, None),
            "Status": (v.one_of("Running", "Stopped", "Paused", "StartPending", "StopPending"), None),
            "StartType": (v.one_of("Automatic", "Manual", "Disabled", "Boot", "System"), "Manual"),
        },
    ),
    "ServerComponentState": Kind(
        key=("Component",),
        needed=("Component", "State"),
        carried=frozenset(
            "Identity IsValid LocalStates ObjectState RemoteStates ServerFqdn ServerWideOfflineIsOffline".split()
        ),
        acted={
            "Component": (v.some_text, None),
            "State": (v.one_of("Active", "Inactive", "Draining", "Unknown"), None),
        },
    ),
    "ImapSettings": _mail_settings(143, 993, "IMAP4"),
    "PopSettings": _mail_settings(110, 995, "POP3"),
    "OwaVirtualDirectory": _directory(
        BasicAuthentication=_ON,
        FormsAuthentication=_ON,
        WindowsAuthentication=_OFF,
        LogonFormat=(v.one_of("FullDomain", "PrincipalName", "UserName"), "FullDomain"),
        DefaultDomain=(v.text, ""),
    ),
    "EcpVirtualDirectory": _directory(
        BasicAuthentication=_ON, FormsAuthentication=_ON, WindowsAuthentication=_OFF, AdminEnabled=_ON
    ),
    "WebServicesVirtualDirectory": _directory(BasicAuthentication=_OFF, WindowsAuthentication=_ON),
    "MapiVirtualDirectory": _directory(IISAuthenticationMethods=(_AUTHENTICATION_METHODS, "Ntlm, OAuth, Negotiate")),
    "OutlookAnywhere": _directory(IISAuthenticationMethods=(_AUTHENTICATION_METHODS, "Basic, Ntlm, Negotiate")),
    "OabVirtualDirectory": _directory(BasicAuthentication=_OFF, WindowsAuthentication=_ON),
    "ActiveSyncVirtualDirectory": _directory(BasicAuthEnabled=_ON, WindowsAuthEnabled=_OFF),
    "AutodiscoverVirtualDirectory": _directory(BasicAuthentication=_ON, WindowsAuthentication=_ON),
    "PowerShellVirtualDirectory": _directory(BasicAuthentication=_OFF, WindowsAuthentication=_OFF),
    "WebAppPoolState": Kind(
        key=("Name",),
        needed=("Name", "Value"),
        carried=frozenset(("ItemXPath", "PSPath")),
        acted={"Name": (v.some_text, None), "Value": (v.one_of("Started", "Stopped"), None)},
    ),
    "ExchangeDiagnosticInfo": Kind(
        single=True,
        acted={"ResourceThrottling": (v.anything, {})},
    ),
    "Mailbox": Kind(
        key=("PrimarySmtpAddress", "SamAccountName", "Name"),
        needed=("PrimarySmtpAddress", "Password"),
        carried=None,
        acted={
            "PrimarySmtpAddress": (v.some_text, None),
            "EmailAddresses": (v.list_of(v.some_text, "addresses"), []),
            "SamAccountName": (v.text, ""),
            "Password": (v.some_text, None),
        },
    ),
    "WebBinding": Kind(
        needed=("protocol", "bindingInformation"),
        carried=frozenset(("certificateHash", "certificateStoreName", "sslFlags")),
        acted={"protocol": (v.one_of("http", "https"), None), "bindingInformation": (v.some_text, None)},
    ),
    # Settings that the running mail services still have, until those in `Until` have started again.
    "SettingsInForce": Kind(
        single=True,
        acted=dict.fromkeys(("ImapSettings", "PopSettings", "Transport"), (v.anything, None)),
    ),
    # What tests want of the server beside Exchange's own settings. `Faults` is for the management cmdlets.
    "Standin": Kind(
        single=True,
        acted={
            "JournalRequests": (v.flag, True),
            "Faults": (v.anything, {}),
            "Replication": (v.anything, {}),
            # Nothing published says whether a binding to the very address or the smaller range decides.
            "Choice": (v.one_of("Binding", "Range"), "Binding"),
            "ServicesEndWithComponent": (v.flag, False),
            # Seconds until transport serves what was changed; what the cmdlets show is changed at once.
            "InForce": (v.anything, {}),
            # IMAP and POP offer no TLS while X509CertificateName names no certificate.
            "CertificateNameDecides": (v.flag, False),
            # Get-ExchangeCertificate gives whole objects, as a shell with Exchange's own types does.
            "WholeCertificates": (v.flag, False),
            # Rights that a connector's container gives to one that is made from now on.
            "Inherited": (v.list_of(v.anything, "rights"), []),
            # What a new object gets where nobody says otherwise, by its kind.
            "Born": (v.anything, {}),
            # Other bounds than the published ones: by cmdlet and parameter, the least and the greatest value.
            "Bounds": (v.anything, {}),
        },
    ),
}

# Kinds that are kept for whoever edits the file, and that no protocol here acts on.
KEPT = frozenset(
    (
        "AuthConfig CASMailbox ClientAccessRule ClientAccessService DnsClient EdgeSubscription EmailAddressPolicy "
        "ExchangeCertificate FrontendTransportService IntraOrganizationConfiguration MailboxServer "
        "MailboxTransportService NetAdapter NetAdapterBinding NetFirewallRule NetIPAddress NetIPConfiguration "
        "NetIPInterface OrganizationConfig OutlookProvider RestVirtualDirectory SendConnector TransportConfig "
        "TransportService"
    ).split()
)

_NEEDED_KINDS = ("ExchangeServer", "ReceiveConnector", "AcceptedDomain", "Service", "ServerComponentState")

_BINDING_INFORMATION = re.compile(r"^(\*|[0-9.]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5}):([^:]*)$")


def _show(value: Any) -> str:
    shown = json.dumps(value, default=str)
    return shown if len(shown) <= 80 else shown[:77] + "…"


def _nearest(name: str, known: list[str], cutoff: float = 0.7) -> str:
    near = difflib.get_close_matches(name.lower(), {k.lower(): k for k in known}, 1, cutoff)
    return next(k for k in known if k.lower() == near[0]) if near else ""


def read_object(kind_name: str, path: str, raw: Any) -> SimpleNamespace:
    """One object of the file, its acted properties read, defaults filled in. Raises StateError."""
    kind = KINDS[kind_name]
    if not isinstance(raw, dict):
        raise StateError(f"{path} is {_show(raw)}, but it has to be an object with {kind_name}'s properties.")
    for name in raw:
        if name in kind.acted or (kind.carried is not None and name in kind.carried):
            continue
        near = _nearest(name, [*kind.acted, *(kind.carried or ())], 0.7 if kind.carried is not None else 0.93)
        if kind.carried is not None or near:
            hint = f"; the nearest one is {near}" if near else ""
            raise StateError(f"{path} has the property {name}, which {kind_name} doesn't have{hint}.")
    for name in kind.needed:
        if name not in raw:
            raise StateError(f"{path} has no {name}, and {kind_name} needs one.")
    result = {}
    for name, (reader, default) in kind.acted.items():
        try:
            result[name] = reader(raw.get(name, default))
        except ValueError as problem:
            raise StateError(f"{path}.{name} is {_show(raw.get(name, default))}, but it has to be {problem}.") from None
    return SimpleNamespace(**result)


def label(kind_name: str, raw: Any, index: int) -> str:
    """How a path names this item of a list: by its key, else by its position."""
    for key in KINDS[kind_name].key if kind_name in KINDS else ("Name",):
        if isinstance(raw, dict) and isinstance(raw.get(key), str):
            return f"{kind_name}[{raw[key]}]"
    return f"{kind_name}[{index}]"


@dataclass
class State:
    """A loaded state. Objects are namespaces with Exchange's property names and typed values."""

    document: Document
    server: SimpleNamespace
    connectors: list[SimpleNamespace]
    accepted_domains: list[SimpleNamespace]
    permissions: list[SimpleNamespace]
    services: dict[str, SimpleNamespace]
    components: dict[str, SimpleNamespace]
    imap: SimpleNamespace
    pop: SimpleNamespace
    directories: dict[str, SimpleNamespace]
    stopped_pools: frozenset[str]
    mailboxes: list[SimpleNamespace]
    web_bindings: list[tuple[str, v.Binding]]
    pressure: str
    journal_requests: bool
    by_range: bool = False
    certificate_name_decides: bool = False
    # When transport serves something else than it does now, although nobody changes anything.
    until: float = math.inf
    _accounts: dict[str, SimpleNamespace] = field(default_factory=dict)

    def running(self, service: str) -> bool:
        """Whether the Windows service runs. One that isn't listed isn't installed."""
        found = self.services.get(service.lower())
        return found is not None and found.Status == "Running"

    def component(self, name: str) -> str:
        """A component's state as Get-ServerComponentState shows it: `ServerWideOffline` takes the others along."""
        lasting = name in ("Monitoring", "RecoveryActionsEnabled")
        everything = self.components.get("serverwideoffline")
        if not lasting and everything is not None and everything.State != "Active":
            return "Inactive"
        found = self.components.get(name.lower())
        return found.State if found is not None else "Inactive"

    def active(self, component: str) -> bool:
        return self.component(component) == "Active"

    def accepts_domain(self, domain: str) -> bool:
        """Whether mail to the domain is accepted without a relay right."""
        domain = domain.lower()
        for accepted in self.accepted_domains:
            name = accepted.DomainName.lower()
            below = name.startswith("*.") or accepted.MatchSubDomains
            name = name.removeprefix("*.")
            if domain == name or (below and domain.endswith("." + name)):
                return True
        return False

    def mailbox(self, name: str) -> SimpleNamespace | None:
        """The mailbox of an address or of a logon name: `DOMAIN\\account`, `account@domain` or `account`."""
        return self._accounts.get(name.lower().rpartition("\\")[2])

    def log_on(self, name: str, password: str) -> SimpleNamespace | None:
        found = self.mailbox(name)
        return found if found is not None and found.Password == password else None


def load(document: Any) -> State:
    """Check a whole document and give it its meaning. Raises StateError with one sentence."""
    if not isinstance(document, dict):
        raise StateError("The state isn't a JSON object; write a fresh one with `python3 -m standin fresh`.")
    for name in document:
        if name not in KINDS and name not in KEPT:
            near = _nearest(name, [*KINDS, *KEPT])
            hint = f"; the nearest one is {near}" if near else ""
            raise StateError(f"The state has {name}, which no Get- cmdlet here shows{hint}.")
    for name in _NEEDED_KINDS:
        if name not in document:
            raise StateError(f"The state has no {name}; write a fresh one with `python3 -m standin fresh`.")

    objects: dict[str, Any] = {}
    for name, kind in KINDS.items():
        raw = document.get(name, {} if kind.single else [])
        if kind.single:
            objects[name] = read_object(name, name, raw)
            continue
        if not isinstance(raw, list):
            raise StateError(f"{name} is {_show(raw)}, but it has to be a list of objects.")
        objects[name] = []
        seen: dict[tuple[str, str], int] = {}
        for index, item in enumerate(raw):
            path = label(name, item, index)
            objects[name].append(read_object(name, path, item))
            for key in kind.key[:1]:
                identity = str(item.get(key, "")).lower()
                if identity and (key, identity) in seen:
                    raise StateError(f"{path} is there twice, and {key} has to be unique.")
                seen[key, identity] = index

    _check_connectors(objects["ReceiveConnector"])
    until = _still_served(objects)
    state = State(
        document=document,
        server=objects["ExchangeServer"],
        connectors=objects["ReceiveConnector"],
        accepted_domains=objects["AcceptedDomain"],
        permissions=objects["ADPermission"],
        services={item.Name.lower(): item for item in objects["Service"]},
        components={item.Component.lower(): item for item in objects["ServerComponentState"]},
        imap=_in_force(objects, "ImapSettings"),
        pop=_in_force(objects, "PopSettings"),
        directories={name: items[0] for name, items in objects.items() if _is_directory(name) and items},
        stopped_pools=frozenset(p.Name.lower() for p in objects["WebAppPoolState"] if p.Value == "Stopped"),
        mailboxes=objects["Mailbox"],
        web_bindings=[pair for i, item in enumerate(objects["WebBinding"]) for pair in _web_binding(item, i)],
        pressure=_pressure(objects["ExchangeDiagnosticInfo"].ResourceThrottling),
        journal_requests=objects["Standin"].JournalRequests,
        by_range=objects["Standin"].Choice == "Range",
        certificate_name_decides=objects["Standin"].CertificateNameDecides,
        until=until,
    )
    for connector in state.connectors:
        connector.Fqdn = connector.Fqdn or state.server.Fqdn
    _name_mailboxes(state)
    return state


def _in_force(objects: dict[str, Any], kind_name: str) -> SimpleNamespace:
    """The settings that the running services took when they started; without a note of them, the present ones."""
    kept = getattr(objects["SettingsInForce"], kind_name)
    if not isinstance(kept, dict) or not kept.get("Until"):
        found: SimpleNamespace = objects[kind_name]
        return found
    return read_object(kind_name, f"SettingsInForce.{kind_name}.Settings", kept.get("Settings", {}))


def lag_of_transport(document: Document) -> float:
    """How many seconds transport goes on as before after a change."""
    return float((document.get("Standin", {}).get("InForce") or {}).get("Delay", 0))


def _still_served(objects: dict[str, Any]) -> float:
    """Put the connectors and rights of before in the place of those that aren't in force yet; until when."""
    kept = objects["SettingsInForce"].Transport
    delay = float((objects["Standin"].InForce or {}).get("Delay", 0))
    if not isinstance(kept, dict) or not delay or kept.get("Until", 0) <= time.time():
        return math.inf
    for kind in ("ReceiveConnector", "ADPermission"):
        objects[kind] = [read_object(kind, label(kind, item, index), item) for index, item in enumerate(kept[kind])]
    return float(kept["Until"])


def _is_directory(kind_name: str) -> bool:
    return kind_name.endswith("VirtualDirectory") or kind_name == "OutlookAnywhere"


def _check_connectors(connectors: list[SimpleNamespace]) -> None:
    roles: dict[int, SimpleNamespace] = {}
    taken: dict[tuple[v.Binding, v.Range], SimpleNamespace] = {}
    for connector in connectors:
        path = f"ReceiveConnector[{connector.Name}]"
        banner = connector.Banner
        if banner and not (re.fullmatch(r"220 [ -~]+", banner) and len(banner) <= 510):
            raise StateError(f"{path}.Banner is {_show(banner)}, but it has to begin with `220 `, in printable ASCII.")
        mechanism = connector.AuthMechanism
        if "ExternalAuthoritative" in mechanism and mechanism & {"BasicAuth", "BasicAuthRequireTLS", "Integrated"}:
            raise StateError(f"{path}.AuthMechanism has ExternalAuthoritative, which goes with no other logon.")
        for binding in connector.Bindings:
            other = roles.setdefault(binding.port, connector)
            if other.TransportRole != connector.TransportRole:
                raise StateError(
                    f"{path}.Bindings has port {binding.port}, which {other.Name} has for {other.TransportRole}; "
                    f"connectors of different transport roles can't share a port."
                )
            for remote in connector.RemoteIPRanges:
                other = taken.setdefault((binding, remote), connector)
                if other is not connector:
                    raise StateError(
                        f"{path} has the binding {binding} with the range {remote.first}-{remote.last}, "
                        f"and so has {other.Name}; each pair has to be unique."
                    )


def _web_binding(item: SimpleNamespace, index: int) -> list[tuple[str, v.Binding]]:
    found = _BINDING_INFORMATION.match(item.bindingInformation)
    try:
        if found and 0 < int(found[2]) < 65536:
            hosts = ("0.0.0.0", "::") if found[1] == "*" else (str(ipaddress.ip_address(found[1].strip("[]"))),)
            return [(item.protocol, v.Binding(host, int(found[2]))) for host in hosts]
    except ValueError:
        pass
    raise StateError(
        f"WebBinding[{index}].bindingInformation is {_show(item.bindingInformation)}, "
        f"but it has to be address:port:host, such as *:443: ."
    )


def _pressure(throttling: Any) -> str:
    """The aggregate use of the resource tracker: `Low`, `Medium` or `High`."""
    tracker = throttling.get("ResourceTracker", {}) if isinstance(throttling, dict) else None
    use = tracker.get("AggregateUse", "Low") if isinstance(tracker, dict) else None
    try:
        return str(_LEVEL(use))
    except ValueError as problem:
        raise StateError(
            f"ExchangeDiagnosticInfo.ResourceThrottling.ResourceTracker.AggregateUse is {_show(use)}, "
            f"but it has to be {problem}."
        ) from None


def _name_mailboxes(state: State) -> None:
    for mailbox in state.mailboxes:
        path = f"Mailbox[{mailbox.PrimarySmtpAddress}]"
        names = [mailbox.PrimarySmtpAddress, mailbox.SamAccountName or mailbox.PrimarySmtpAddress.partition("@")[0]]
        names += [name.partition(":")[2] if ":" in name else name for name in mailbox.EmailAddresses]
        for name in names[:1] + names[2:]:
            # Addresses become folder names for IMAP: nothing that could lead out of the folder.
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*@[A-Za-z0-9.-]+", name):
                raise StateError(f"{path} has the address {_show(name)}, which isn't one.")
        for name in names:
            other = state._accounts.setdefault(name.lower(), mailbox)
            if other is not mailbox:
                raise StateError(f"{path} and {other.PrimarySmtpAddress} both have the name {name}.")


# Paths --------------------------------------------------------------------------------------------

_STEP = re.compile(r"([^.\[\]]+)((?:\[[^\]]*\])?)(?:\.|$)")


def _steps(path: str) -> list[str | tuple[str, str]]:
    """`A[b].C` as ["A", ("select", "b"), "C"]."""
    steps: list[str | tuple[str, str]] = []
    position = 0
    while position < len(path):
        found = _STEP.match(path, position)
        if not found:
            raise StateError(f"{path} is no path; one looks like ReceiveConnector[Default Frontend EX1].Banner.")
        steps.append(found[1])
        if found[2]:
            steps.append(("select", found[2][1:-1]))
        position = found.end()
    if not steps or path.endswith("."):
        raise StateError(f"{path!r} is no path; one looks like ReceiveConnector[Default Frontend EX1].Banner.")
    return steps


def _select(items: list[Any], wanted: str, kind_name: str) -> int | None:
    keys = KINDS[kind_name].key if kind_name in KINDS else ("Name", "Identity", "Resource")
    for index, item in enumerate(items):
        for key in keys or ("Name",):
            if isinstance(item, dict) and str(item.get(key, "")).lower() == wanted.lower():
                return index
    return int(wanted) if wanted.isdigit() and int(wanted) < len(items) else None


def get(document: Document, path: str) -> Any:
    """What stands at the path; the whole document for the empty one. Raises StateError where nothing stands."""
    here: Any = document
    kind_name = ""
    for step in _steps(path) if path else []:
        if isinstance(step, tuple):
            index = _select(here, step[1], kind_name) if isinstance(here, list) else None
            if index is None:
                raise StateError(f"{path} isn't in the state: {kind_name} has no {step[1]}.")
            here = here[index]
        else:
            found = next((key for key in here if key.lower() == step.lower()), None) if isinstance(here, dict) else None
            if found is None:
                raise StateError(f"{path} isn't in the state: there is no {step}.")
            here, kind_name = here[found], found
    return here


def put(document: Document, path: str, value: Any) -> None:
    """Put the value at the path.

    `Kind[name]` replaces an item or adds it, `Kind[+]` adds one, and null as the value of an item removes it.
    Properties keep the spelling that the file has. Raises StateError.
    """
    steps = _steps(path)
    here: Any = document
    kind_name = ""
    for number, step in enumerate(steps):
        last = number == len(steps) - 1
        if isinstance(step, tuple):
            if not isinstance(here, list):
                raise StateError(f"{path} isn't in the state: {kind_name} is no list.")
            index = None if step[1] == "+" else _select(here, step[1], kind_name)
            if index is None and last and value is not None:
                here.append(value)
                break
            if index is None:
                raise StateError(f"{path} isn't in the state: {kind_name} has no {step[1]}.")
            if not last:
                here = here[index]
            elif value is None:
                del here[index]
            else:
                here[index] = value
            continue
        if not isinstance(here, dict):
            raise StateError(f"{path} isn't in the state: what is before {step} has no properties.")
        name = next((key for key in here if key.lower() == step.lower()), step)
        if last:
            here[name] = value
        else:
            kind_name = name
            if name not in here and name in KINDS and not KINDS[name].single:
                here[name] = []
            here = here.setdefault(name, {})
