"""What is in service leaves only if it is named: an inventory that was read in part takes nobody away."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from lab import Lab
from lab.topology import GATEWAYS
from plays import INVENTORY, ROOT, play
from snapshots import snapshot


def without(host: str, folder: Path) -> Path:
    """The lab's inventory as a source gives it that has lost a host: its variables are with it, and it is nowhere."""
    command = [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(INVENTORY), "--list", "--export"]
    listed: dict[str, Any] = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    del listed["_meta"]["hostvars"][host]
    for group in listed.values():
        if host in group.get("hosts", []):
            group["hosts"].remove(host)
    answer = folder / "answer.json"
    # Files beside the inventory are where they were.
    answer.write_text(json.dumps(listed).replace("inventory_dir", f"'{INVENTORY}'"))
    source = folder / "source"
    source.write_text(f"#!/bin/sh\nexec cat {answer}\n")
    source.chmod(0o755)
    return source


def test_a_server_that_is_missing_from_the_inventory_stays_in_service(lab: Lab, tmp_path: Path) -> None:
    before = {host: snapshot(lab, host) for host in GATEWAYS}
    inventory, address = without("ex2", tmp_path), lab.address("ex2", "inside")
    run = play("playbooks/gateway.yml", inventory=inventory)
    assert run.status != 0
    assert f"HAProxy has ex2 ({address}) in service, and the inventory doesn't" in run.failures["gw1"]
    assert "-e mail_gateway_removed=ex2" in run.failures["gw1"]
    # The first goes alone, and nothing of it or anybody is changed.
    assert run.changed == 0
    assert "gw2" not in run.failures
    assert {host: snapshot(lab, host) for host in GATEWAYS} == before

    named = play("playbooks/gateway.yml", "--check", inventory=inventory, variables={"mail_gateway_removed": "ex2"})
    assert named.status == 0, named.output
    # HAProxy, and whom Fail2Ban never bans.
    assert [named.recap[host]["changed"] for host in GATEWAYS] == [2, 2], named.output


def test_a_gateway_that_is_missing_from_the_inventory_stays_in_the_connectors(lab: Lab, tmp_path: Path) -> None:
    inventory = without("gw2", tmp_path)
    run = play("playbooks/exchange.yml", inventory=inventory)
    assert run.status != 0
    said = run.failures["ex1"]
    assert lab.address("gw2", "inside") in said
    assert "mail_gateway_removed=" in said
    assert run.changed == 0
    assert "ex2" not in run.failures
