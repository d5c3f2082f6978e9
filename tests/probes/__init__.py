"""Probes from the hosts of the lab: real clients, in the right places.

from probes import ask
answer, = ask(lab, "client", {"kind": "http", "url": "https://mail.example.test/ecp/", "connect": lab.address("gw1",
"outside")}) assert answer["status"] == 403
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("probe.py").read_text(encoding="utf-8")


def ask(lab: Any, host: str, *probes: dict[str, Any], parallel: int = 1) -> list[dict[str, Any]]:
    """Return the answers to the probes, asked from a host of the lab, in their order; ``parallel`` at a time."""
    done = lab.exec(host, ["python3", "-", json.dumps(probes), str(parallel)], input=SOURCE)
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers
