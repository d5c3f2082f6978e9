# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All there is of the module role_variables: it runs on the controller. The documentation is in the module's file."""

from __future__ import annotations

from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.release import __version__

from ..plugin_utils.addresses import needed
from ..plugin_utils.declaration.native import evaluate, has_templates
from ..plugin_utils.roles.reading import ROLES, read_variables

_ANSIBLE = tuple(int(number) for number in __version__.split(".")[:2])


class ActionModule(ActionBase):
    """Reads the variables of a role, without a connection to the host."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail with every problem in ``msg``, one a line."""
        super().run(tmp, task_vars)
        _unused, arguments = self.validate_argument_spec(
            argument_spec={"role": {"type": "str", "choices": sorted(ROLES), "required": True}}
        )
        if missing := needed():
            return {"changed": False, "failed": True, "msg": missing}
        role, variables = ROLES[arguments["role"]], task_vars or {}
        given = {name: self._evaluated(variables[name]) for name in role.shapes if name in variables}
        found, problems = read_variables(role, given)
        if not problems:
            return {"changed": False, "variables": found}
        if len(problems) == 1:
            return {"changed": False, "failed": True, "msg": f"{problems[0][:-1]}; nothing was changed."}
        msg = "\n".join([f"{len(problems)} problems in the role's variables; nothing was changed:", *problems])
        if _ANSIBLE < (2, 19):  # prints the message inside JSON, with its line ends escaped
            self._display.display(msg, color=constants.COLOR_ERROR)
        return {"changed": False, "failed": True, "msg": msg}

    def _evaluated(self, value: Any) -> Any:
        """The value; only what has templates in it is looked through for them, since lists of clients are long."""
        return evaluate(value, self._templar.template if has_templates(value) else lambda text: text)
