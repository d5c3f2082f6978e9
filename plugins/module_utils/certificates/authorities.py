# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What certificate authorities are called, and what they hand out."""

from __future__ import annotations

AUTHORITIES = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}
"""Certificate authorities that have a name here, with their ACME directories."""

# Of an external account (RFC 8555 7.3.4).
KEY_ID_FORM = r"[A-Za-z0-9._~+/=:@-]{1,200}"
HMAC_KEY_FORM = r"(?=.)([A-Za-z0-9_-]{4})*([A-Za-z0-9_-]{2}(==)?|[A-Za-z0-9_-]{3}=?)?"  # with or without padding
