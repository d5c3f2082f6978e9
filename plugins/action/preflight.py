# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All there is of the module preflight: it runs on the controller. The documentation is in the module's file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible import constants, context
from ansible.plugins.action import ActionBase
from ansible.release import __version__
from ansible.utils.vars import load_extra_vars

from ..plugin_utils.addresses import needed
from ..plugin_utils.declaration import operations, schema
from ..plugin_utils.declaration.native import evaluate, exchange_group, has_templates
from ..plugin_utils.declaration.tree import Inventory, Problems
from ..plugin_utils.declaration.validation import misspelt, survey
from ..plugin_utils.derivation.exchange import derive_servers
from ..plugin_utils.derivation.hosts import RunVariables, derive_all, overridden
from ..plugin_utils.exchange.forecast import forecast
from ..plugin_utils.exchange.refusals import Refused

_ANSIBLE = tuple(int(number) for number in __version__.split(".")[:2])


class ActionModule(ActionBase):
    """Validates the declarations of all gateways and what becomes of the servers, without a connection to any host."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail with every problem in ``msg``, one a line."""
        super().run(tmp, task_vars)
        self.validate_argument_spec(argument_spec={})
        if missing := needed():
            return {"changed": False, "failed": True, "msg": missing}
        hostvars = (task_vars or {})["hostvars"]
        groups = {str(name): tuple(map(str, hosts)) for name, hosts in (task_vars or {})["groups"].items()}

        gateways = groups.get(schema.GATEWAYS, ())
        raw = {name: hostvars.raw_get(name) for name in gateways}
        declarations = self._declarations(raw, hostvars)
        servers = {
            name
            for value in declarations.values()
            for group in (exchange_group(value), exchange_group(value, legacy=True))
            for name in groups.get(group, ())
        }
        raw |= {name: hostvars.raw_get(name) for name in servers}
        declarations = self._declarations(raw, hostvars)
        hosts = {name: self._evaluated(variables, schema.HOST_VARIABLES, hostvars) for name, variables in raw.items()}
        for name in set(groups.get("all", ())) - set(raw):  # whose addresses nobody else may have
            hosts[name] = self._evaluated(hostvars.raw_get(name), ["ansible_host"], hostvars)

        found = survey(declarations, Inventory(groups, hosts))
        noted = Problems()
        once = [self._evaluated(variables, operations.NAMES, hostvars) for variables in raw.values()]
        parameters = operations.read_parameters(once[0] if once else {}, noted)
        removed = operations.read_removed([one.get(schema.REMOVED.name) for one in once], noted)
        problems = [
            *filter(None, [operations.is_slice(once[0] if once else {})]),
            *operations.unknown_parameters(load_extra_vars(self._loader), context.CLIARGS.get("args") or ()),
            *map(str, noted.found),
            *operations.removed_are_gone(removed, found.sites, groups.get("all", ())),
            *(text for name in sorted(raw) for text in misspelt(name, set(raw[name]), name in gateways)),
            *found.problems,
        ]
        connections: dict[str, list[dict[str, object]]] = {}
        derived: dict[str, dict[str, Any]] = {}
        of_servers = {} if problems else derive_servers(found)
        if not problems:
            told = RunVariables(parameters, removed)
            derived = derive_all(found, of_servers, (task_vars or {})["ansible_play_hosts_all"], told)
            problems = [text for host, one in derived.items() for text in overridden(host, one["variables"], raw[host])]
        if not problems:
            connections, problems = self._forecasts(of_servers)
        if problems:
            counted = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
            msg = "\n".join([f"{counted} in the declaration:", *problems])
            if _ANSIBLE < (2, 19):  # prints the message inside JSON, with its line ends escaped
                self._display.display(msg, color=constants.COLOR_ERROR)
            return {"changed": False, "failed": True, "msg": msg}
        return {
            "changed": False,
            "msg": f"The declaration is sound for {', '.join(sorted(gateways))}.",
            "connections": connections,
            "derived": derived,
            "warnings": list(found.doubts),
        }

    @staticmethod
    def _forecasts(servers: Mapping[str, dict[str, Any]]) -> tuple[dict[str, list[dict[str, object]]], list[str]]:
        """Who will reach which receive connector of which server, and a sentence for what the servers would refuse."""
        forecasts, problems = {}, []
        for server, variables in servers.items():
            try:
                forecasts[server] = forecast(variables, server)
            except Refused as refused:
                problems += [f"On {server}, as Exchange's setup leaves it, {text}" for text in refused.sentences]
        return forecasts, problems

    def _declarations(self, raw: Mapping[str, Mapping[str, Any]], hostvars: Mapping[str, Any]) -> dict[str, Any]:
        """What each of the hosts has for a declaration, its templates evaluated as for that host."""
        name = schema.DECLARATION.name
        plain: dict[int, Any] = {}  # what has no template is the same for every host of a group
        found = {}
        for host, variables in raw.items():
            if name in variables:
                value = variables[name]
                if id(value) not in plain and not has_templates(value):
                    plain[id(value)] = evaluate(value, lambda text: text)
                found[host] = (
                    plain[id(value)] if id(value) in plain else self._evaluated(variables, [name], hostvars)[name]
                )
        return found

    def _evaluated(
        self, variables: Mapping[str, Any], names: Iterable[str], hostvars: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Those of the named variables that the host has, each template in them evaluated as for that host."""
        templar = self._templar.copy_with_new_env(available_variables={**variables, "hostvars": hostvars})
        return {name: evaluate(variables[name], templar.template) for name in names if name in variables}
