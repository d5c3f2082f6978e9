# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of ``haproxy_configuration``: certificate files are read (and decrypted) here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Reads each certificate's ``file`` into ``pems`` and runs the module on the host."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        pems = dict(arguments.get("pems") or {})
        for number, certificate in enumerate(arguments.get("certificates") or []):
            name = certificate.get("file")
            if name:
                try:
                    pems[str(certificate.get("name"))] = self._content(name)
                except (AnsibleError, OSError, UnicodeDecodeError) as error:
                    reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
                    return {
                        **result,
                        "failed": True,
                        "msg": f"haproxy_certificates[{number}].file '{name}' can't be read on the controller "
                        f"({reason}); nothing was changed, give a readable PEM file with key, certificate and chain.",
                    }
        arguments["pems"] = pems
        return {**result, **self._execute_module(module_args=arguments, task_vars=task_vars)}

    def _content(self, name: str) -> str:
        real = self._loader.get_real_file(self._find_needle("files", name), decrypt=True)
        try:
            return Path(real).read_text(encoding="utf-8")
        finally:
            self._loader.cleanup_tmp_file(real)
