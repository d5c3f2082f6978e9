"""The action plugin on the stand-in: its scripts in a session there, through its PowerShell, without a lab."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "standin"))

from shell import Action
from standin_powershell import PROGRAM, environment

from standin import state, store
from standin.fresh import fresh


class StandinHost:
    """A server of the stand-in's, whose cmdlets and state are there without its protocols."""

    def __init__(self, folder: Path, name: str = "EX1", **kinds: Any) -> None:
        self.name = name
        self.directory = folder / name.lower()
        self.directory.mkdir(parents=True)
        document = fresh(name, f"{name.lower()}.example.test", ["example.test"], {}, "2019", ["10.1.1.21/24"])
        (self.directory / "state.json").write_text(json.dumps({**document, **kinds}))

    @property
    def state(self) -> dict[str, Any]:
        return store.read(self.directory)

    def set(self, *pairs: Any) -> None:
        """`set("Kind.Property", value, …)`."""
        document = self.state
        for path, value in zip(pairs[::2], pairs[1::2], strict=True):
            state.put(document, path, value)
        store.replace(self.directory, document)

    def cmdlets(self, name: str) -> list[dict[str, Any]]:
        """What was called of this name."""
        lines = (self.directory / "management.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["kind"] == "cmdlet" and event["name"] == name]

    def call(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """As win_shell does it."""
        encoded = base64.b64encode(arguments["_raw_params"].encode("utf-16-le")).decode()
        done = subprocess.run(
            [sys.executable, PROGRAM, "-NoProfile", "-EncodedCommand", encoded],
            input=arguments["stdin"],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env=environment(self.directory),
        )
        return {"rc": done.returncode, "stdout": done.stdout.replace("\n", "\r\n"), "stderr": done.stderr}

    def action(self) -> Action:
        """The plugin, which keeps what it sends."""
        return Action(self.call)

    def configure(self, action: Action | None = None, check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run the plugin's own part."""
        action = action or Action(self.call, check_mode)
        return action.configure(server=f"{self.name.lower()}.example.test", session="remote", **arguments)
