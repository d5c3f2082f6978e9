"""A machine that is what a recording says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from organisation import ACCOUNTS, Machine, fresh

RECORDINGS = Path(__file__).resolve().parents[2] / "recordings"


class Recorded(Machine):
    """Answers with what was recorded, and acts on operations. What wasn't asked for then is as on a new server."""

    def __init__(self, recording: dict[str, Any]) -> None:
        answer = recording["answer"]
        name = str(answer["server"]["Name"])
        read = {key: entry["objects"] for key, entry in answer["read"].items()}
        super().__init__({**fresh(name), **json.loads(json.dumps(read)), "server": dict(answer["server"])})
        self.host = answer["host"]
        self.known = {text.lower(): entry for text, entry in answer["accounts"].items()}
        self.errors = {key: {"error": entry["error"]} for key, entry in answer["read"].items() if entry.get("error")}

    def read(self, question: dict[str, Any]) -> dict[str, Any]:
        """What was read, with the errors of then."""
        found = super().read(question)
        return {key: {**entry, **self.errors.get(key, {})} for key, entry in found.items()}

    def local(self, user: str) -> str:
        """Accounts are recorded as the server calls them."""
        return user

    def accounts(self, asked: list[str]) -> dict[str, Any]:
        """Those that the server was asked about; the built-in ones are everywhere."""
        found = {}
        for text in {*asked, *(entry["User"] for entry in self.state["permissions"])}:
            built_in = {"sid": text, "name": ACCOUNTS[text]["en"]} if text in ACCOUNTS else {"sid": None, "name": None}
            found[text] = self.known.get(text.lower(), built_in)
        return found


def load(path: Path) -> dict[str, Any]:
    """A recording."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
