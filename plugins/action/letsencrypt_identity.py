# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of ``letsencrypt_identity``: gateways that are down."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ..plugin_utils.guarded_action import short


class ActionModule(ActionBase):
    """Runs the module on the host.

    By delegation one gateway asks another who it is. That the other one is down is no reason to leave this one alone.
    """

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        host = self._task.args.get("host")
        is_other = host != (task_vars or {}).get("inventory_hostname")
        try:
            done = self._execute_module(task_vars=task_vars)
        except AnsibleConnectionFailure as error:
            if not is_other:
                raise
            done = {"failed": True, "msg": str(error)}
        if not (is_other and done.get("failed")):
            return {**result, **done}
        sentence = (
            f"{host} can't be asked who it is ({short(str(done['msg']))}); the other gateways keep what they know of "
            "its keys, run this again when it is well."
        )
        return {**result, "changed": False, "identity": {}, "warnings": [sentence]}
