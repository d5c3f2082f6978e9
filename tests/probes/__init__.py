"""Probes from the hosts of the lab: the product's real clients, in the right places.

from probes import ask
answer, = ask(lab, "client", {"kind": "http", "url": "https://mail.example.test/ecp/", "connect": lab.address("gw1",
"outside")}) assert answer["status"] == 403

The kinds of probes are described in ``plugins/module_utils/probes/clients.py``, and those of the lab in
``lab_kinds.py``. Where a probe says nothing else, the lab's authority is trusted.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

AUTHORITY = "/etc/ssl/certs/lab-ca.pem"
_HERE = Path(__file__).resolve().parent
_PRODUCT = _HERE.parents[1] / "plugins" / "module_utils" / "probes"
#: The modules of one package, in the order in which they need each other.
SOURCES = {
    path.stem: path.read_text(encoding="utf-8")
    for path in (
        _PRODUCT / "tls.py",
        _PRODUCT / "clients.py",
        _HERE / "lab_kinds.py",
    )
}
#: Makes the package from what comes on standard input, and asks. Nothing is left on the host.
PROGRAM = """\
import json, sys, types
asked = json.load(sys.stdin)
package = sys.modules["probes"] = types.ModuleType("probes")
package.__path__ = []
for name, source in asked["sources"].items():
    module = sys.modules[f"probes.{name}"] = types.ModuleType(f"probes.{name}")
    module.__package__ = "probes"
    exec(compile(source, f"probes/{name}.py", "exec"), module.__dict__)
    setattr(package, name, module)
print(json.dumps(package.clients.ask_all(asked["probes"], asked["parallel"])))
"""


def ask(lab: Any, host: str, *probes: dict[str, Any], parallel: int = 1) -> list[dict[str, Any]]:
    """Return the answers to the probes, asked from a host of the lab, in their order; ``parallel`` at a time."""
    asked = {"sources": SOURCES, "probes": [_trusting(probe) for probe in probes], "parallel": parallel}
    done = lab.exec(host, ["python3", "-c", PROGRAM], input=json.dumps(asked))
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def _trusting(probe: dict[str, Any]) -> dict[str, Any]:
    """The probe, with the lab's authority."""
    requests = {"requests": [_trusting(one) for one in probe["requests"]]} if "requests" in probe else {}
    return {"ca_file": AUTHORITY, **probe, **requests}
