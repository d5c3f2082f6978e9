import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lab import lab as module
from lab.lab import Lab

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "inventory" / "lab" / "hosts.py"


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The inventory of a lab at slot 123 that is only on paper."""
    (tmp_path / "ssh").mkdir()
    monkeypatch.setattr(module, "containers", lambda label: [])
    Lab(123, tmp_path).describe()
    script = load()
    monkeypatch.setattr(script, "STATE", tmp_path / "lab.json")
    found: dict[str, Any] = json.loads(json.dumps(script.inventory()))
    return found


def load() -> ModuleType:
    specification = importlib.util.spec_from_file_location("lab_inventory", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    return script


def test_groups(inventory: dict[str, Any]) -> None:
    assert inventory["gateways"]["hosts"] == ["gw1", "gw2"]
    assert inventory["exchange"]["hosts"] == ["ex1", "ex2"]
    assert inventory["all"]["vars"]["lab_slot"] == 123


def test_gateways_are_reached_on_the_admin_network_and_leave_by_the_inside(inventory: dict[str, Any]) -> None:
    hosts = inventory["_meta"]["hostvars"]
    assert hosts["gw1"] == {
        "ansible_host": "10.123.3.11",
        "mail_gateway_egress_address": "10.123.1.11",
        "mail_gateway_relay_address": "10.123.1.111",
    }
    assert hosts["gw2"]["mail_gateway_relay_address"] == "10.123.1.112"
    assert hosts["ex2"] == {"ansible_host": "10.123.1.22", "exchange_server": "ex2.example.test"}


def test_the_way_in_is_a_key_and_a_pinned_host_key(inventory: dict[str, Any]) -> None:
    variables = inventory["gateways"]["vars"]
    assert "StrictHostKeyChecking=yes" in variables["ansible_ssh_common_args"]
    assert "ssh/known_hosts" in variables["ansible_ssh_common_args"]
    assert not [name for name in variables if "pass" in name]
    # A socket's path may have 107 characters, and ssh adds 17 while it makes one.
    socket = (variables["ansible_control_path"] % {}).replace("%h", "10.123.3.11").replace("%p", "22")
    assert len(socket.replace("%r", "operator")) < 80


def test_exchange_servers_are_reached_by_key_on_the_inside(inventory: dict[str, Any]) -> None:
    variables = inventory["exchange"]["vars"]
    assert (variables["ansible_connection"], variables["ansible_user"]) == ("ssh", "root")
    assert variables["ansible_ssh_private_key_file"] == inventory["gateways"]["vars"]["ansible_ssh_private_key_file"]
    assert "StrictHostKeyChecking=yes" in variables["ansible_ssh_common_args"]
    assert "ansible_become" not in variables


def test_no_lab_is_one_sentence(tmp_path: Path) -> None:
    copy = tmp_path / "inventory" / "lab" / "hosts.py"
    copy.parent.mkdir(parents=True)
    copy.write_text(SCRIPT.read_text())
    done = subprocess.run([sys.executable, copy, "--list"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "The lab isn't up, so its inventory is empty: run 'make lab'.\n"


def test_the_script_can_be_run() -> None:
    assert os.access(SCRIPT, os.X_OK)
