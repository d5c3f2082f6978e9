# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IMAP and POP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ....module_utils.values.sentences import show
from ..certificates import why_not
from ..concepts import Call, Effect, Kind, Property
from ..values import BINDINGS, BOOLEAN, INTEGER, NAME, NAMES, PATH, SIZE_OR_UNLIMITED, SPAN, TEXT, choice
from ._each import COUNT, several

if TYPE_CHECKING:
    from ..actual import Server
    from ..changes import Change
    from ..desired import DesiredObject

CERTIFICATE_NAME = "X509CertificateName"
"""The property of IMAP and POP that names their certificate."""

# The help lists EnableGSSAPIAndNTLMAuth for every version; its text says that it acts from 2016 on.
_MAIL_ACCESS = (
    Property("EnableGSSAPIAndNTLMAuth", BOOLEAN, "2016"),
    Property("LoginType", choice("logon type", "PlainTextLogin", "PlainTextAuthentication", "SecureLogin")),
    Property(CERTIFICATE_NAME, NAME),
    Property("Banner", TEXT),
    Property("ExtendedProtectionPolicy", choice("policy", "None", "Allow", "Require")),
    Property("LogFileLocation", PATH),
    Property("LogFileRollOverSettings", choice("time", "Hourly", "Daily", "Weekly", "Monthly")),
    Property("LogPerFileSizeQuota", SIZE_OR_UNLIMITED),
    Property("CalendarItemRetrievalOption", choice("way", "iCalendar", "IntranetUrl", "InternetUrl", "Custom")),
    Property(
        "MessageRetrievalMimeFormat",
        choice(
            "format",
            "TextOnly",
            "HtmlOnly",
            "HtmlAndTextAlternative",
            "TextEnrichedOnly",
            "TextEnrichedAndTextAlternative",
            "BestBodyFormat",
            "Tnef",
        ),
    ),
    Property("OwaServerUrl", NAME),
    *several(NAMES, "ExternalConnectionSettings InternalConnectionSettings"),
    *several(BINDINGS, "SSLBindings UnencryptedOrTLSBindings"),
    # The help's "1:00:00" is a day: "Set connection limits for IMAP4" has 86,400 seconds.
    Property("AuthenticatedConnectionTimeout", SPAN, bounds=("00:00:30", "1.00:00:00")),
    Property("PreAuthenticatedConnectionTimeout", SPAN, bounds=("00:00:30", "01:00:00")),
    *several(BOOLEAN, "EnableExactRFC822Size EnforceCertificateErrors ProtocolLogEnabled SuppressReadReceipt"),
    *several(INTEGER, "MaxConnectionFromSingleIP MaxConnections MaxConnectionsPerUser", bounds=COUNT),
    Property("ProxyTargetPort", INTEGER),
)


def has_its_certificate(settings: DesiredObject, changes: Sequence[Change], server: Server) -> Iterable[str]:
    """A name for which the server has no certificate leaves clients without TLS."""
    for change in changes:
        if change.property.name == CERTIFICATE_NAME and change.after is not None:
            name = change.after.spelling
            if why := why_not(name, server.certificates):
                text = (
                    f"{server.name} {why}; import it first, since {settings.kind.title} with that name would offer no "
                    "TLS"
                )
                yield f"{settings.path}.properties.{CERTIFICATE_NAME} is {show(name)}, but {text}."


IMAP = Kind(
    variable="exchange_imap",
    title="IMAP settings",
    plural=True,
    get=Call("Get-ImapSettings", by="Server"),
    set=Call("Set-ImapSettings", by="Server"),
    properties=(
        *_MAIL_ACCESS,
        Property("MaxCommandSize", INTEGER, bounds=(1024, 16384)),
        Property("ShowHiddenFoldersEnabled", BOOLEAN),
    ),
    effects=(Effect(services=("MSExchangeIMAP4", "MSExchangeIMAP4BE"), component="ImapProxy"),),
    rules=(has_its_certificate,),
)
POP = Kind(
    variable="exchange_pop",
    title="POP settings",
    plural=True,
    get=Call("Get-PopSettings", by="Server"),
    set=Call("Set-PopSettings", by="Server"),
    properties=(
        *_MAIL_ACCESS,
        Property("MaxCommandSize", INTEGER, bounds=(40, 1024)),
        Property("MessageRetrievalSortOrder", choice("order", "Ascending", "Descending")),
    ),
    effects=(Effect(services=("MSExchangePOP3", "MSExchangePOP3BE"), component="PopProxy"),),
    rules=(has_its_certificate,),
)
