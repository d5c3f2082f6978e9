# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""By what clients find their server: Autodiscover's service connection point, and the providers of Outlook."""

from __future__ import annotations

from ..concepts import Call, Kind, Property
from ..values import INTEGER, NAME, NAMES, URL, flags

CLIENT_ACCESS_SERVICE = Kind(
    variable="exchange_client_access_service",
    title="client access service",
    get=Call("Get-ClientAccessService", by="Identity", former=("Get-ClientAccessServer", "2016")),
    set=Call("Set-ClientAccessService", by="Identity", former=("Set-ClientAccessServer", "2016")),
    properties=(
        Property("AutoDiscoverServiceInternalUri", URL),
        Property("AutoDiscoverSiteScope", NAMES),
    ),
)

OUTLOOK_PROVIDER = Kind(
    variable="exchange_outlook_providers",
    title="Outlook provider",
    shared=True,
    key="Name",
    get=Call("Get-OutlookProvider"),
    set=Call("Set-OutlookProvider", by="Identity"),
    properties=(
        # Outlook Anywhere alone reads it; null clears it.
        Property("CertPrincipalName", NAME),
        Property(
            "OutlookProviderFlags",
            flags("list of flags", "ServerExclusiveConnect", "ExternalClientsRequireSSL", "InternalClientsRequireSSL"),
        ),
        Property("Server", NAME),
        Property("TTL", INTEGER, bounds=(0, 2147483647)),
    ),
)
