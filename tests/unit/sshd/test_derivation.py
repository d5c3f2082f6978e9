"""The role's variables come from the declaration, and exist in the role."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from tools.declared import declared, derive_gateway

DEFAULTS = Path(__file__).resolve().parents[3] / "roles" / "sshd" / "defaults" / "main.yml"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f anna"


def derived(changes: dict[str, Any]) -> dict[str, Any]:
    declaration, inventory = declared(changes)
    found = derive_gateway(declaration, "gw1", inventory)
    return {name: value for name, value in found.items() if name.startswith("sshd_")}


def test_nothing_declared_is_the_roles_defaults() -> None:
    defaults = yaml.safe_load(DEFAULTS.read_text())
    found = derived({"ssh": {}})
    # There is no declaration without administrators' networks.
    assert found.pop("sshd_penalty_exempt_networks") == ["198.51.100.0/24", "2001:db8:a::/64"]
    assert found == {name: defaults[name] for name in found}
    assert found


def test_what_is_declared_arrives() -> None:
    ssh = {"ports": [2222, 22], "root_logon": "none", "older_clients": True, "networks": ["192.0.2.7"]}
    ssh["administrators"] = [{"user": "berta", "keys": [KEY], "exclusive": True}, {"user": "anna", "keys": [KEY]}]
    assert derived({"ssh": ssh}) == {
        "sshd_ports": [22, 2222],
        "sshd_root_logon": "none",
        "sshd_older_clients": True,
        "sshd_penalty_exempt_networks": ["192.0.2.7/32", "198.51.100.0/24", "2001:db8:a::/64"],
        "sshd_authorized_keys": [
            {"user": "anna", "keys": [KEY], "exclusive": False},
            {"user": "berta", "keys": [KEY], "exclusive": True},
        ],
    }
