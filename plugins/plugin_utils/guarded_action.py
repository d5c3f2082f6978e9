# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of the rollback guard: a change counts once a new connection has got through.

An action plugin that derives from ``GuardedAction`` runs the module of its own name. Where that armed a guard (its
result has ``guard``, see ``plugins/module_utils/rollback/guard.py``), a new connection is opened with the settings of
the old one, and the guard is disarmed over it. Where that doesn't work, the host goes back by itself, and the task
fails with one sentence. A module that changes nothing arms nothing, and costs one call as any module does.
"""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import connection_loader

GUARD_MODULE = "postern.mail_gateway.rollback_guard"

#: Before every other option, since ssh takes the first value it sees: a login of its own, over a socket of its own.
OWN_CONNECTION = "-o ControlMaster=no -o ControlPath=none -o ConnectionAttempts=1"
KEY_ONLY = (
    "-o PreferredAuthentications=publickey -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no "
    "-o BatchMode=yes"
)

# Seconds that the host may take for going back, after its time is up.
GRACE = 5
# Tries to log on: refused ones count against the controller (PerSourcePenalties of OpenSSH 9.8, Fail2Ban, ufw's limit).
TRIES = 3


class GuardedAction(ActionBase):
    """Runs the module of the task's name, and confirms its change over a new connection."""

    _connection: Any

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module and confirm; see ``ActionBase.run``."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        result.update(self.change(task_vars or {}))
        return self.confirmed(result, task_vars or {})

    def change(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Run the module; a derived class may do more."""
        changed: dict[str, Any] = self._execute_module(task_vars=task_vars)
        return changed

    def confirmed(self, result: dict[str, Any], task_vars: dict[str, Any], extra: str = "") -> dict[str, Any]:
        """Disarm the guard of a result over a new connection; fail the result if that can't be done in time.

        :param result: the module's, with ``guard`` where one is armed, and ``guard_port`` where the host is reached
          over another port from now on.
        """
        guard = result.pop("guard", None)
        port = result.pop("guard_port", None)
        if not guard or result.get("failed") or self._task.check_mode:
            return self._explained(result, task_vars)
        deadline = time.monotonic() + guard["seconds"]
        reason = self._disarm(guard, port, deadline, task_vars, extra)
        if not reason:
            if port:
                # The task itself isn't over: Ansible tidies up, and nobody listens on the old port any more.
                self._connection.set_option("port", port)
            return result
        time.sleep(max(0.0, deadline + GRACE - time.monotonic()))
        where = f" on port {port}" if port else ""
        return {
            **result,
            "changed": False,
            "failed": True,
            "msg": f"The new {guard['name']} configuration was not confirmed, since a new connection to the host "
            f"didn't get through{where} ({reason}). {self._after_rollback(guard, task_vars)}",
        }

    def over_new_connection(
        self, name: str, arguments: dict[str, Any], task_vars: dict[str, Any], port: int | None = None, extra: str = ""
    ) -> dict[str, Any]:
        """Run a module over a connection that shares nothing with the old one but its settings.

        :param name: the module's full name.
        :param port: another port than the settings say.
        :param extra: further options of ssh, which win over all others; no password is used then.
        :returns: the module's result.
        :raises AnsibleError: the host can't be reached or doesn't let us in.
        """
        old = self._connection
        new = connection_loader.get(old._load_name, self._play_context)  # noqa: SLF001 (Ansible gives no other name)
        options = old.get_options()
        if extra:
            options["password"] = None
        is_ssh = new._load_name.rpartition(".")[2] == "ssh"  # noqa: SLF001
        if not is_ssh:
            # Others (paramiko_ssh) hand an open connection on to whoever asks for the same host.
            close(old)
        new.set_options(direct=options)
        if is_ssh:
            arguments_of_ssh = (OWN_CONNECTION, extra, old.get_option("ssh_args") or "")
            new.set_option("ssh_args", " ".join(filter(None, arguments_of_ssh)))
        if port is not None:
            new.set_option("port", port)
        if old.become is not None:
            new.set_become_plugin(old.become)
        # The shell plugin knows the temporary folder of this task.
        new._shell = old._shell  # noqa: SLF001
        self._connection = new
        try:
            done: dict[str, Any] = self._execute_module(module_name=name, module_args=arguments, task_vars=task_vars)
        finally:
            self._connection = old
            close(new)
        return done

    def _explained(self, result: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Say of a module that died (its result is what Ansible made of silence) what becomes of the host."""
        if not result.get("failed") or "module_stdout" not in result or self._task.check_mode:
            return result
        try:
            armed = self.over_new_connection(GUARD_MODULE, {"state": "status"}, task_vars).get("armed")
        except AnsibleError:
            return result
        if not armed:
            return result
        return {
            **result,
            "msg": f"The module was killed while it changed {armed['name']} on this host; it goes back to what it was "
            f"by itself within {armed['seconds']} seconds. Run again after that.",
        }

    def _disarm(
        self, guard: dict[str, Any], port: int | None, deadline: float, task_vars: dict[str, Any], extra: str
    ) -> str:
        """Return an empty text once the guard is disarmed, or why it couldn't be."""
        arguments = {"state": "disarmed", "token": guard["token"]}
        reason = "there was no time left"
        for number in range(TRIES):
            # A host that is asked in the last moment may be going back already.
            if time.monotonic() > deadline - 2:
                break
            try:
                done = self.over_new_connection(GUARD_MODULE, arguments, task_vars, port, extra)
            except AnsibleError as error:
                reason = short(str(error))
            else:
                if not done.get("failed"):
                    return ""
                reason = short(str(done.get("msg") or done.get("module_stderr") or "the module gave no reason"))
            time.sleep(min(2**number, max(0.0, deadline - time.monotonic())))
        return reason

    def _after_rollback(self, guard: dict[str, Any], task_vars: dict[str, Any]) -> str:
        """Return the end of the story: what the host says, asked in the old way."""
        deadline = time.monotonic() + 30
        while True:
            try:
                status = self.over_new_connection(GUARD_MODULE, {"state": "status"}, task_vars)
            except AnsibleError as error:
                status = {"msg": short(str(error))}
            report = status.get("rolled_back")
            if report and report.get("token") == guard["token"]:
                files = ", ".join(report["files"])
                when = str(report["when"]).replace("T", " ").replace("+00:00", " UTC")
                errors = f" Not everything went well: {'; '.join(report['errors'])}." if report["errors"] else ""
                return (
                    f"The host went back to what it was at {when} ({files}) and can be reached as before.{errors} "
                    "Correct the variables and run again."
                )
            if time.monotonic() > deadline:
                return (
                    "The host goes back to what it was by itself, but hasn't said so yet "
                    f"({short(str(status.get('msg', 'it has no report')))}); look at it before you run again."
                )
            time.sleep(2)


def close(connection: Any) -> None:
    """Close a connection. One that was never opened may not be able to (paramiko_ssh), which would hide the reason."""
    if connection.connected:
        connection.close()


def short(text: str) -> str:
    """Return the part of an error that tells the most, as a part of a sentence."""
    # ansible-core's own introduction to what ssh said.
    text = text.rpartition("can be reached over ssh: ")[2]
    lines = [line.strip() for line in text.replace("\\r\\n", "\n").splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("@", "Warning:", "debug"))] or ["no reason was given"]
    return lines[-1].rstrip(" .")
