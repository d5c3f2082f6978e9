# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the whole organization has once."""

from __future__ import annotations

from ..concepts import Call, Effect, Kind, Property
from ..values import BOOLEAN, COUNT_OR_UNLIMITED, INTEGER, NAME, NAMES, RANGES, SIZE, SIZE_OR_UNLIMITED, SPAN, choice
from ._each import DAY, LOG_AGE, several

ORGANIZATION_CONFIG = Kind(
    variable="exchange_organization_config",
    title="organization configuration",
    shared=True,
    get=Call("Get-OrganizationConfig"),
    set=Call("Set-OrganizationConfig"),
    properties=(
        *several(BOOLEAN, "MapiHttpEnabled OAuth2ClientProfileEnabled PublicComputersDetectionEnabled", "2013"),
        *several(BOOLEAN, "EnableDownloadDomains MitigationsEnabled RefreshSessionEnabled", "2016"),
        *several(
            BOOLEAN,
            "ActivityBasedAuthenticationTimeoutEnabled ActivityBasedAuthenticationTimeoutWithSingleSignOnEnabled "
            "CustomerFeedbackEnabled EwsAllowEntourage EwsAllowMacOutlook EwsAllowOutlook EwsEnabled "
            "MailTipsAllTipsEnabled MailTipsExternalRecipientsTipsEnabled MailTipsGroupMetricsEnabled "
            "MailTipsMailboxSourcedTipsEnabled ReadTrackingEnabled",
        ),
        Property("ActivityBasedAuthenticationTimeoutInterval", SPAN, bounds=("00:05:00", "08:00:00")),
        Property("EwsApplicationAccessPolicy", choice("policy", "EnforceAllowList", "EnforceBlockList")),
        *several(NAMES, "EwsAllowList EwsBlockList"),
        Property("MailTipsLargeAudienceThreshold", INTEGER),
        Property("SCLJunkThreshold", INTEGER, bounds=(0, 9)),
    ),
    effects=(
        Effect(
            of=("MapiHttpEnabled",),
            warning="MapiHttpEnabled of the organization changes: Outlook asks its users to start it anew.",
        ),
    ),
)

TRANSPORT_CONFIG = Kind(
    variable="exchange_transport_config",
    title="transport configuration",
    shared=True,
    get=Call("Get-TransportConfig"),
    set=Call("Set-TransportConfig"),
    properties=(
        *several(SIZE_OR_UNLIMITED, "MaxReceiveSize MaxSendSize"),
        Property("MaxRecipientEnvelopeLimit", COUNT_OR_UNLIMITED, bounds=(0, 2147483647)),
        Property("InternalSMTPServers", RANGES),
        *several(NAME, "ExternalDsnReportingAuthority ExternalPostmasterAddress InternalDsnReportingAuthority"),
        *several(NAMES, "TLSReceiveDomainSecureList TLSSendDomainSecureList"),
        *several(
            BOOLEAN,
            "ClearCategories ConvertDisclaimerWrapperToEml ExternalDelayDsnEnabled ExternalDsnLanguageDetectionEnabled "
            "ExternalDsnSendHtml InternalDelayDsnEnabled InternalDsnLanguageDetectionEnabled InternalDsnSendHtml "
            "Rfc2231EncodingEnabled ShadowRedundancyEnabled VerifySecureSubmitEnabled VoicemailJournalingEnabled "
            "Xexch50Enabled",
        ),
        *several(
            BOOLEAN,
            "AddressBookPolicyRoutingEnabled AgentGeneratedMessageLoopDetectionInSmtpEnabled "
            "AgentGeneratedMessageLoopDetectionInSubmissionEnabled RejectMessageOnShadowFailure",
            "2013",
        ),
        *several(SIZE, "ExternalDsnMaxMessageAttachSize InternalDsnMaxMessageAttachSize", bounds=("0B", "2147483647B")),
        Property("MaxDumpsterTime", SPAN, bounds=LOG_AGE),
        Property("SafetyNetHoldTime", SPAN, "2013"),
        *several(SPAN, "ShadowHeartbeatFrequency ShadowResubmitTimeSpan", "2013", bounds=DAY),
        Property("ShadowHeartbeatTimeoutInterval", SPAN, bounds=DAY),
        Property("ShadowMessageAutoDiscardInterval", SPAN, bounds=("00:00:05", "90.00:00:00")),
        *several(INTEGER, "MaxRetriesForLocalSiteShadow MaxRetriesForRemoteSiteShadow", "2013", bounds=(0, 255)),
        Property("ShadowHeartbeatRetryCount", INTEGER, bounds=(1, 15)),
        Property(
            "ShadowMessagePreferenceSetting",
            choice("preference", "LocalOnly", "PreferRemote", "RemoteOnly"),
            "2013",
        ),
    ),
)
