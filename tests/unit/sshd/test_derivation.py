"""The role's variables come from the declaration, and exist in the role."""

from __future__ import annotations

from pathlib import Path

import yaml

from ansible_collections.postern.mail_gateway.plugins.module_utils.derivation_sshd import derive_sshd

DEFAULTS = Path(__file__).resolve().parents[3] / "roles" / "sshd" / "defaults" / "main.yml"


def test_nothing_declared_is_the_roles_defaults() -> None:
    defaults = yaml.safe_load(DEFAULTS.read_text())
    for declaration in ({}, {"ssh": {}}, {"ssh": None}):
        derived = derive_sshd(declaration)
        assert derived == {name: defaults[name] for name in derived}


def test_what_is_declared_arrives() -> None:
    anna = {"user": "anna", "keys": ["ssh-ed25519 AAAA anna"]}
    derived = derive_sshd({"ssh": {"ports": [2222], "root_logon": "none", "administrators": [anna]}})
    assert derived == {
        "sshd_ports": [2222],
        "sshd_root_logon": "none",
        "sshd_authorized_keys": [{**anna, "exclusive": False}],
    }
