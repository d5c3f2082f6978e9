# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All there is of the module exchange_configuration: read, plan, apply, confirm. The module's file documents it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.release import __version__ as ansible_version
from ansible.utils.display import Display

from ..module_utils.values.sentences import listed
from ..plugin_utils.exchange import scripts
from ..plugin_utils.exchange.actual import Answer, Server, error_sentence, read_answer, read_server
from ..plugin_utils.exchange.desired import Desired, accounts_of, read_desired
from ..plugin_utils.exchange.kinds import arguments
from ..plugin_utils.exchange.operations import Operation, Phase, Plan
from ..plugin_utils.exchange.plan import make_plan
from ..plugin_utils.exchange.questions import queries, standard_input
from ..plugin_utils.exchange.recording import record
from ..plugin_utils.exchange.refusals import Refused

PAUSE = 5
"""Seconds between two looks at a change that doesn't show yet."""
WIN_SHELL = "ansible.windows.win_shell"

ARGUMENTS: dict[str, Any] = {
    "server": {"type": "str", "default": ""},
    "session": {"type": "str", "choices": ["remote", "management_shell", "present"], "default": "remote"},
    **arguments(),
    "organization_settings": {"type": "bool", "default": True},
    "confirm_timeout": {"type": "int", "default": 120},
    "record": {"type": "str", "default": ""},
    "server_addresses": {"type": "list", "elements": "str", "default": []},
    "gateway_addresses": {"type": "list", "elements": "str", "default": []},
    "relay_addresses": {"type": "list", "elements": "str", "default": []},
    "acknowledged_relay_networks": {"type": "list", "elements": "str", "default": []},
    "removable_addresses": {"type": "list", "elements": "str", "default": ["*"]},
}


class ActionModule(ActionBase):
    """Brings a server to what the arguments say; one call of win_shell where it is there, three where it isn't."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Read, plan, apply and confirm; see ``ActionBase.run``."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _unused, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        self._task_vars = task_vars or {}
        try:
            result.update(self._configure(arguments))
        except Refused as refused:
            result.update(failed=True, msg="\n".join(refused.sentences))
        return result

    def _configure(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        desired = read_desired(arguments)
        question = {
            "mode": "read",
            "server": arguments["server"],
            "session": arguments["session"],
            "queries": queries(desired),
            "accounts": accounts_of(desired),
            "controller": "",
        }
        answer = self._ask(question)
        if arguments.get("record"):
            _record(arguments, question, answer)
        question["controller"] = answer.controller
        server = read_server(answer, desired)
        plan = make_plan(desired, server)
        result = {
            "changed": bool(plan.operations),
            "operations": [operation.what for operation in (*plan.due, *plan.waiting)],
            "connections": plan.connections,
            "server": {"name": server.name, "version": server.version, "build": server.build},
            "back_pressure": server.pressure,
        }
        if plan.warnings:
            result["warnings"] = plan.warnings
        if plan.operations:
            result["diff"] = {
                "before_header": f"{server.name} as it is",
                "after_header": f"{server.name} as declared",
                **plan.diff(),
            }
        if not plan.operations or self._task.check_mode:
            return result
        withheld = self._apply(question, answer, plan.due, server)
        proving = withheld or bool(plan.waiting)
        answer, rest = self._confirm(question, desired, arguments["confirm_timeout"], proving)
        if rest.operations:
            self._apply(question, answer, rest.due, server)
            self._confirm(question, desired, arguments["confirm_timeout"])
        return result

    def _apply(self, question: Mapping[str, Any], answer: Answer, due: list[Operation], server: Server) -> bool:
        """Whether something was withheld, since not all was found as it was foreseen."""
        done = self._ask(
            {
                **question,
                "mode": "apply",
                "expected": answer.digest,
                "operations": [operation.document() for operation in due],
            },
            applying=True,
        ).document
        if done.get("moved"):
            raise Refused(
                [f"{server.name} was changed by somebody else after it was read; nothing was changed here, run again."]
            )
        outcomes = list(zip(due, done["operations"], strict=True))
        failed = [(operation, outcome) for operation, outcome in outcomes if outcome["state"] == "failed"]
        if failed:
            first, outcome = failed[0]
            made = [operation for operation, how in outcomes if how["state"] == "done"]
            left = [operation for operation, how in outcomes if how["state"] == "left"]
            sentences = [f"{server.name} refused {first.command} ({first.what}): {error_sentence(outcome['error'])}."]
            sentences += [
                f"{server.name} refused {operation.command} too ({operation.what}): {error_sentence(how['error'])}."
                for operation, how in failed[1:]
            ]
            sentences.append(
                f"Done before that: {_told(made)}. Not done: {_told(left)}. Correct what is wrong and run again: a new "
                "run goes on from here."
            )
            raise Refused(sentences)
        return any(outcome["state"] == "withheld" for _operation, outcome in outcomes)

    def _confirm(
        self, question: Mapping[str, Any], desired: Desired, timeout: int, proving: bool = False
    ) -> tuple[Answer, Plan]:
        """Read again, until nothing differs or the time is over; what differs then is an error that says what.

        :param proving: what waits for the proof may still differ.
        """
        end = time.monotonic() + timeout
        while True:
            try:
                answer = self._ask(question)
                plan = make_plan(desired, read_server(answer, desired))
            except Refused as refused:
                # Whoever refuses knows nothing of the call before.
                text = "what was applied is there, but couldn't be confirmed"
                raise Refused([one.replace("nothing was changed", text) for one in refused.sentences]) from None
            if not plan.operations or (proving and plan.due[0].phase is Phase.AFTER_PROOF):
                return answer, plan
            if time.monotonic() >= end:
                raise Refused(_differing(plan, timeout))
            titles = listed(dict.fromkeys(difference.title for difference in plan.differences))
            Display().display(f"The change doesn't show everywhere yet; waiting for {titles}.")
            time.sleep(PAUSE)

    def _ask(self, question: Mapping[str, Any], applying: bool = False) -> Answer:
        """One call of win_shell.

        :raises Refused: it can't be made, or no answer came back.
        """
        arguments = {
            "_raw_params": scripts.read(scripts.BOOTSTRAP),
            "stdin": standard_input(map(scripts.read, scripts.SCRIPTS), question),
            "no_profile": True,
        }
        check_mode, self._task.check_mode = self._task.check_mode, False  # win_shell would be skipped
        no_log, self._task.no_log = self._task.no_log, True  # standard input is in the event log otherwise
        try:
            done = self._execute_module(module_name=WIN_SHELL, module_args=arguments, task_vars=self._task_vars)
        except AnsibleError as error:
            if "was not found" in str(error):
                text = "it comes with the collection ansible.windows, which the role exchange needs on the controller"
                raise Refused(
                    [f"{WIN_SHELL} was not found; {text}: ansible-galaxy collection install ansible.windows."]
                ) from None
            raise
        finally:
            self._task.check_mode, self._task.no_log = check_mode, no_log
        answer = read_answer(str(done.get("stdout") or ""))
        if answer is None:
            raise Refused([_no_answer(done, applying)])
        if answer.fatal:
            raise Refused([_fatal(answer.fatal, question)])
        return answer


def _record(arguments: Mapping[str, Any], question: Mapping[str, Any], answer: Answer) -> None:
    """Keep what was read, whatever comes of it."""
    asked = {name: value for name, value in arguments.items() if name != "record"}
    sent = "".join(map(scripts.read, (scripts.BOOTSTRAP, *scripts.SCRIPTS)))
    versions = {"ansible_core": ansible_version, "scripts": hashlib.sha256(sent.encode()).hexdigest()[:12]}
    path = record.write(arguments["record"], record.recording_of(asked, question, answer.document, versions))
    Display().display(f"What was read from the server is in {path}, without names and addresses.")


def _differing(plan: Plan, timeout: int) -> list[str]:
    """What isn't as it should be after a change, a sentence each."""
    sentences = []
    for difference in plan.differences:
        found = sorted(set(difference.before or ()) - set(difference.after or ()))
        wanted = sorted(set(difference.after or ()) - set(difference.before or ()))
        sentences.append(
            f"{difference.title} isn't as it should be {timeout} seconds after the change: found "
            f"{'; '.join(found) or 'nothing'}, wanted {'; '.join(wanted) or 'nothing'}; somebody else changes "
            "it too, or Exchange doesn't take the value as it is written."
        )
    return sentences


def _told(operations: Iterable[Operation]) -> str:
    return "; ".join(operation.what for operation in operations) or "nothing"


def _no_answer(done: Mapping[str, Any], applying: bool) -> str:
    """Why PowerShell said nothing that can be used."""
    lines = [
        line.strip()
        for name in ("stderr", "msg", "module_stderr")
        for line in str(done.get(name) or "").splitlines()
        if line.strip()
    ]
    why = lines[0].rstrip(".") if lines else f"it ended with {done.get('rc')}"
    end = "what was applied before isn't known" if applying else "nothing was changed"
    return f"PowerShell gave no answer ({why}); {end}. Look at the server and run again: a new run goes on from here."


def _fatal(error: Mapping[str, Any], question: Mapping[str, Any]) -> str:
    reason = error_sentence({**error, "command": "Get-ExchangeServer"})
    name = question["server"] or "the host"
    if error["command"] == "session":
        return (
            f"No Exchange session opens on {name} in the way {question['session']!r} of exchange_session: {reason}; "
            "nothing was changed. The account needs a logon that can be handed on (CredSSP, Kerberos delegation, or "
            "become with runas)."
        )
    if error["command"] == "server":
        return f"{name} isn't an Exchange server, or doesn't let the account see that it is one: {reason}."
    return f"{name} can't be {error['command']}: {reason}; nothing was changed."
