"""Measures what a declaration costs on the controller: ``python tests/benchmarks/declaration.py``. No lab is needed."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".cache" / "collections"))

from tools.declared import declared

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.validation import validate

ROOT = Path(__file__).resolve().parents[2]
RELAY_CLIENTS = 50_000
GATEWAYS = 120
MOST_SECONDS = 2.0


def relay_clients(number: int) -> list[str]:
    """As many single addresses, of which no two make a network."""
    first = int(ipaddress.IPv4Address("10.64.0.0"))
    return [str(ipaddress.IPv4Address(first + 2 * place)) for place in range(number)]


def validation(number: int) -> float:
    """Seconds of CPU time for a declaration with as many relay clients."""
    declaration, inventory = declared({"smtp.relay_clients": relay_clients(number)})
    begin = time.process_time()
    assert not validate(declaration, inventory)
    return time.process_time() - begin


def preflight(gateways: int, clients: int = 1) -> float:
    """Seconds of CPU time of the whole playbook preflight, all its processes together."""
    hosts: dict[str, Any] = {
        f"gw{number:03}": {
            "mail_gateway_egress_address": f"10.10.1.{number}",
            "mail_gateway_relay_address": f"10.10.2.{number}",
        }
        for number in range(1, gateways + 1)
    }
    declaration = {
        "hostname": "mail.example.com",
        "domains": ["example.com"],
        "admin_networks": ["198.51.100.0/24"],
        "smtp": {"relay_clients": relay_clients(clients)},
        "certificate": {"authority": "letsencrypt"},
    }
    inventory = {
        "all": {
            "vars": {"mail_gateway": declaration},
            "children": {
                "gateways": {"hosts": hosts},
                "exchange": {"hosts": {f"ex{number}": {"ansible_host": f"10.10.0.{number}"} for number in range(1, 5)}},
            },
        }
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hosts.yml"
        path.write_text(yaml.safe_dump(inventory))
        before = os.times()
        subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                *("-i", str(path), str(ROOT / "playbooks" / "preflight.yml")),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=ROOT,
        )
        after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> int:
    """Print the figures; 1 if validation takes longer than it may."""
    seconds = validation(RELAY_CLIENTS)
    print(f"  {RELAY_CLIENTS} relay clients are validated in {seconds:.2f} s (at most {MOST_SECONDS:.0f})")
    one, many = preflight(1), preflight(GATEWAYS)
    each = (many - one) / (GATEWAYS - 1) * 1000
    print(f"  preflight: CPU time for 1 gateway {one:.1f} s, for {GATEWAYS} {many:.1f} s, {each:.0f} ms for each more")
    return int(seconds > MOST_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
