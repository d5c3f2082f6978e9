# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the organization has once, in Active Directory: every server of it shows the same."""

from __future__ import annotations

from typing import Any

from . import published
from .clixml import Item, Scalar
from .management import Call, Server, chosen, cmdlet, converted, filled, guid, not_found, presented

_SYSTEM = "Microsoft.Exchange.Data.Directory.SystemConfiguration"
_PROVIDERS = ("EXCH", "EXPR", "WEB")
# Defaults that the help of Set-TransportConfig gives; what it leaves open is empty.
_TRANSPORT: dict[str, Any] = {
    "AddressBookPolicyRoutingEnabled": False,
    "AgentGeneratedMessageLoopDetectionInSmtpEnabled": False,
    "AgentGeneratedMessageLoopDetectionInSubmissionEnabled": False,
    "ClearCategories": True,
    "ConvertDisclaimerWrapperToEml": False,
    "DSNConversionMode": "PreserveDSNBody",
    "DiagnosticsAggregationServicePort": 9710,
    "ExternalDelayDsnEnabled": True,
    "ExternalDsnLanguageDetectionEnabled": True,
    "ExternalDsnMaxMessageAttachSize": "10 MB (10,485,760 bytes)",
    "ExternalDsnSendHtml": True,
    "GenerateCopyOfDSNFor": [],
    "HeaderPromotionModeSetting": "NoCreate",
    "InternalDelayDsnEnabled": True,
    "InternalDsnLanguageDetectionEnabled": True,
    "InternalDsnMaxMessageAttachSize": "10 MB (10,485,760 bytes)",
    "InternalDsnSendHtml": True,
    "InternalSMTPServers": [],
    "MaxAllowedAgentGeneratedMessageDepth": 3,
    "MaxAllowedAgentGeneratedMessageDepthPerAgent": 2,
    "MaxDumpsterSizePerDatabase": "18 MB (18,874,368 bytes)",
    "MaxDumpsterTime": "7.00:00:00",
    "MaxReceiveSize": "10 MB (10,485,760 bytes)",
    "MaxRecipientEnvelopeLimit": "500",
    "MaxRetriesForLocalSiteShadow": 2,
    "MaxRetriesForRemoteSiteShadow": 4,
    "MaxSendSize": "10 MB (10,485,760 bytes)",
    "QueueDiagnosticsAggregationInterval": "00:01:00",
    "RejectMessageOnShadowFailure": False,
    "Rfc2231EncodingEnabled": False,
    "SafetyNetHoldTime": "2.00:00:00",
    "ShadowHeartbeatFrequency": "00:02:00",
    "ShadowHeartbeatRetryCount": 12,
    "ShadowHeartbeatTimeoutInterval": "00:15:00",
    "ShadowMessageAutoDiscardInterval": "2.00:00:00",
    "ShadowMessagePreferenceSetting": "PreferRemote",
    "ShadowRedundancyEnabled": True,
    "ShadowResubmitTimeSpan": "03:00:00",
    "SupervisionTags": ["Reject", "Allow"],
    "TLSReceiveDomainSecureList": [],
    "TLSSendDomainSecureList": [],
    "TransportRuleAttachmentTextScanLimit": "1 MB (1,048,576 bytes)",
    "VerifySecureSubmitEnabled": False,
    "VoicemailJournalingEnabled": True,
    "Xexch50Enabled": True,
}


def _show(server: Server, kind: str) -> Item:
    raw = server.document.get(kind, {})
    if kind == "OrganizationConfig":
        return presented(kind, raw, server, filled("{ORGANIZATION}", server))
    told = {
        name: _TRANSPORT.get(name)
        for name, fact in published.parameters("Set-TransportConfig", server.version).items()
        if name not in ("Identity", "DomainController") and fact["type"] != "SwitchParameter"
    }
    identity = "Transport Settings"
    ends = {"Identity": identity, "Id": identity, "Guid": Scalar("G", guid(kind, identity)), "IsValid": True}
    return Item(f"{_SYSTEM}.TransportConfigContainer", {**told, **raw, **ends}, identity)


@cmdlet("Get-OrganizationConfig", "Get-TransportConfig")
def get_configuration(call: Call) -> list[Any]:
    return [_show(call.home, call.name.partition("-")[2])]


@cmdlet("Set-OrganizationConfig", "Set-TransportConfig")
def set_configuration(call: Call) -> list[Any]:
    kind = call.name.partition("-")[2]
    before = _show(call.home, kind).properties
    wanted = converted(call, before)
    if not {key for key, value in wanted.items() if before.get(key) != value}:
        call.warn(f"The command completed successfully but no settings of '{before['Identity']}' have been modified.")
    elif not call.get("WhatIf"):
        for known in call.management.servers():
            with call.management.editing(known) as server:
                server.document.setdefault(kind, {}).update(wanted)
        call.changed = True
    return []


def _providers(server: Server) -> list[dict[str, Any]]:
    """Those that setup makes, with what was changed about them."""
    changed = {entry["Name"]: entry for entry in server.items("OutlookProvider")}
    return [
        {
            "Name": name,
            "CertPrincipalName": None,
            "Server": None,
            "TTL": 1,
            "OutlookProviderFlags": "None",
            "RequiredClientVersions": [],
            **changed.get(name, {}),
        }
        for name in _PROVIDERS
    ]


@cmdlet("Get-OutlookProvider")
def get_outlook_provider(call: Call) -> list[Any]:
    found = []
    for raw in _providers(call.home):
        ends = {"Identity": raw["Name"], "Id": raw["Name"], "IsValid": True}
        ends["Guid"] = Scalar("G", guid("OutlookProvider", raw["Name"]))
        found.append(Item(f"{_SYSTEM}.OutlookProvider", {**raw, **ends}, raw["Name"]))
    return chosen(call, found)


@cmdlet("Set-OutlookProvider")
def set_outlook_provider(call: Call) -> list[Any]:
    name = str(call.get("Identity"))
    raw = next((entry for entry in _providers(call.home) if entry["Name"].lower() == name.lower()), None)
    if raw is None:
        raise not_found(name, call.home)
    wanted = converted(call, raw)
    if all(raw.get(key) == value for key, value in wanted.items()):
        call.warn(f"The command completed successfully but no settings of '{raw['Name']}' have been modified.")
    elif not call.get("WhatIf"):
        for known in call.management.servers():
            with call.management.editing(known) as server:
                kept = [entry for entry in server.items("OutlookProvider") if entry["Name"] != raw["Name"]]
                server.document["OutlookProvider"] = [*kept, {**raw, **wanted}]
        call.changed = True
    return []
