# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of ``sshd_configuration``: proves key logons and confirms changes over new connections."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleError

from ..plugin_utils.guarded_action import KEY_ONLY, GuardedAction, short


class ActionModule(GuardedAction):
    """Runs the module, and lets it turn passwords off only over a connection that a key opened."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module and confirm; what can't be undone comes after that."""
        result = super().run(tmp, task_vars)
        if not result.get("failed") and not self._task.check_mode:
            for name in result.get("withdrawn_accounts", ()):
                removed = self._execute_module(
                    module_name="ansible.builtin.user",
                    module_args={"name": name, "state": "absent"},
                    task_vars=task_vars,
                )
                if removed.get("failed"):
                    return {**result, "failed": True, "msg": f"The account {name} can't be removed: {removed['msg']}"}
        return result

    def change(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Run the module; where passwords are still on, first prove that a key does."""
        result = super().change(task_vars)
        if not result.get("needs_key_logon"):
            return result
        try:
            return self._with_key(task_vars)
        except AnsibleError:
            # Perhaps the key is among those that are to be installed: these first, and passwords stay on meanwhile.
            prepared = self._execute_module(
                module_args={**self._task.args, "key_logon": "awaited"}, task_vars=task_vars
            )
        prepared = self.confirmed(prepared, task_vars, extra=KEY_ONLY)
        if prepared.get("failed"):
            return {**prepared, "msg": f"Passwords stay on: {prepared['msg']}"}
        try:
            result = self._with_key(task_vars)
        except AnsibleError as error:
            return {
                "failed": True,
                "msg": f"No key logon worked for the account that Ansible uses ({short(str(error))}), so passwords "
                "stay on; add its public key to sshd_authorized_keys and run again.",
            }
        return {**result, "warnings": [*prepared.get("warnings", ()), *result.get("warnings", ())]}

    def _with_key(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        arguments = {**self._task.args, "key_logon": "proven"}
        return self.over_new_connection(self._task.action, arguments, task_vars, extra=KEY_ONLY)
