"""The scripts under a real PowerShell, with a session of the tests' own; and the action plugin on top of them."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from organisation import ANONYMOUS, fresh

from ansible_collections.postern.mail_gateway.plugins.action.exchange_configuration import ActionModule
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange import scripts
from powershell import find_or_skip

SESSION = Path(__file__).parent / "session"


class Windows:
    """A host with the fake session: a file of state, and what was called."""

    modules = str(SESSION)

    def __init__(self, folder: Path, **state: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "state.json"
        self.name = "EX1"
        server = fresh()
        template = {**server["exchange_receive_connectors"][0], "Comment": "", "PermissionGroups": "None"}
        self.write(
            {
                "server": server["server"],
                "connectors": server["exchange_receive_connectors"],
                "permissions": [],
                "services": server["services"],
                "firewall": server["firewall"],
                "template": {**template, "AuthMechanism": "Tls", "TransportRole": "FrontendTransport"},
                "fails": [],
                "accounts": [{"sid": "S-1-5-7", "name": ANONYMOUS}],
                **state,
            }
        )

    def write(self, state: dict[str, Any]) -> None:
        self.file.write_text(json.dumps(state), encoding="utf-8")

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
        return found

    @property
    def calls(self) -> list[dict[str, Any]]:
        record = Path(f"{self.file}.calls")
        return [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []

    def run(self, script: str, stdin: str) -> subprocess.CompletedProcess[str]:
        """As win_shell does it."""
        encoded = base64.b64encode(script.encode("utf-16-le")).decode()
        return subprocess.run(
            [find_or_skip(), "-NoProfile", "-EncodedCommand", encoded],
            input=stdin,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            env={
                **os.environ,
                "PSModulePath": self.modules,
                "FAKE_EXCHANGE": str(self.file),
                "COMPUTERNAME": self.name,
            },
        )


class Task:
    """What the plugin needs of a task."""

    def __init__(self, check_mode: bool) -> None:
        self.check_mode = check_mode
        self.no_log = False
        self.args: dict[str, Any] = {}


class Action(ActionModule):  # type: ignore[misc]
    """The plugin, with its one way to the host replaced; ``calls`` is what it sent."""

    def __init__(self, host: Any, check_mode: bool = False) -> None:
        self._task = Task(check_mode)
        self._task_vars = {}
        self.host = host
        self.calls: list[dict[str, Any]] = []

    def _execute_module(self, module_name: str, module_args: dict[str, Any], task_vars: dict[str, Any]) -> Any:
        assert module_name == "ansible.windows.win_shell"
        assert not self._task.check_mode, "win_shell is skipped in check mode."
        assert self._task.no_log, "Standard input would be in the event log."
        self.calls.append(module_args)
        return self.host(module_args)

    def configure(self, **arguments: Any) -> dict[str, Any]:
        """Run the plugin's own part, with the defaults of the arguments that aren't given."""
        defaults = {"server": "EX1", "session": "present", "confirm_timeout": 0, "removable_addresses": ["*"]}
        result: dict[str, Any] = self._configure({**defaults, **arguments})
        return result


def over_powershell(windows: Windows) -> Any:
    """A host whose win_shell runs PowerShell."""

    def call(arguments: dict[str, Any]) -> dict[str, Any]:
        done = windows.run(arguments["_raw_params"], arguments["stdin"])
        output = done.stdout.replace("\n", "\r\n")
        return {"rc": done.returncode, "stdout": output, "stderr": done.stderr, "changed": True}

    return call


def over_python(machine: Any, noise: str = "") -> Any:
    """A host whose win_shell is a Python machine."""

    def call(arguments: dict[str, Any]) -> dict[str, Any]:
        sent = json.loads(arguments["stdin"])
        assert sent["scripts"] == [scripts.read(name) for name in scripts.SCRIPTS]
        document = json.dumps(machine.answer(sent["data"]))
        return {"rc": 0, "stdout": f'{noise}\r\n<<"postern">>{document}<<"end">>\r\n{noise}', "stderr": ""}

    return call
