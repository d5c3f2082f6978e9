"""The playbooks hand on what the derivation makes: every variable, each once, and none that nobody makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from tools.declared import derive_gateway

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.tree import Inventory

ROOT = Path(__file__).resolve().parents[3]


def wired() -> dict[str, str]:
    """Return role variable → expression of all the roles in playbooks/gateway.yml."""
    return {name: expression for role in roles() for name, expression in role.get("vars", {}).items()}


def roles() -> list[dict[str, Any]]:
    """Return the roles in playbooks/gateway.yml, in order."""
    plays: list[dict[str, Any]] = yaml.safe_load((ROOT / "playbooks" / "gateway.yml").read_text())
    found = [role for play in plays for role in play.get("roles", ())]
    assert found
    return found


def test_every_derived_variable_reaches_its_role_under_its_own_name() -> None:
    declaration = {
        "hostname": "mail.example.com",
        "domains": ["example.com"],
        "admin_networks": ["198.51.100.0/24"],
    }
    inventory = Inventory(
        groups={"gateways": ["gw1"], "exchange": ["ex1"]},
        hosts={
            "gw1": {"mail_gateway_egress_address": "10.0.0.11"},
            "ex1": {"ansible_host": "10.0.0.21"},
        },
    )
    derived = derive_gateway(declaration, "gw1", inventory)
    derived.pop("mail_gateway_managed")
    handed = wired()
    # This one comes from what the gateways tell of themselves.
    assert handed.pop("sshd_sftp_accounts").startswith("{{ letsencrypt_identities | ")
    # And this one is a secret, which mustn't be among the facts.
    assert handed.pop("letsencrypt_external_account_hmac_key") == (
        "{{ mail_gateway_external_account_hmac_key | default('') }}"
    )
    assert handed == {name: "{{ gateway." + name + " }}" for name in derived}
    # Each role that can be left out is left out when it isn't managed; the others always run.
    assert {role["role"].rpartition(".")[2]: role["when"] for role in roles() if "when" in role} == {
        name: f"gateway.mail_gateway_managed.{name}" for name in ("firewall", "sshd", "fail2ban")
    }
