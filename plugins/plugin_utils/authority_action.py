# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of the modules that ask an ACME authority: the root of the authority's own certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase


class AuthorityAction(ActionBase):
    """Reads ``authority_ca_file`` into ``authority_ca`` and runs the module of the task's name on the host."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Read the file and run the module; see ``ActionBase.run``."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        name = arguments.pop("authority_ca_file", "")
        if name:
            try:
                arguments["authority_ca"] = Path(self._find_needle("files", name)).read_text(encoding="utf-8")
            except (AnsibleError, OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
                return {
                    **result,
                    "failed": True,
                    "msg": f"letsencrypt_authority_ca_file '{name}' can't be read on the controller ({reason}); "
                    "nothing was changed, give a readable PEM file with the authority's root.",
                }
        return {**result, **self._execute_module(module_args=arguments, task_vars=task_vars)}
