# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of ``ufw_rules``: a change counts once a new connection has got through."""

from __future__ import annotations

from ..plugin_utils.guarded_action import GuardedAction


class ActionModule(GuardedAction):
    """Runs the module and confirms its change."""
