# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of ``letsencrypt_authority_info``: the authority's root."""

from __future__ import annotations

from ..plugin_utils.authority_action import AuthorityAction


class ActionModule(AuthorityAction):
    """Reads ``authority_ca_file`` and runs the module on the host."""
