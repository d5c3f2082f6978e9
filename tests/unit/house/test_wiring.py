"""What is derived reaches the roles under its own name, and a role more or a variable more needs no wiring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.declared import declared, derive_exchange, derive_gateway

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.derivation.gateway import MANAGED, ROLES

ROOT = Path(__file__).resolve().parents[3]
OF_A_GATEWAY = (*ROLES, "firewall")


def roles(playbook: str) -> dict[str, dict[str, Any]]:
    """The roles in a playbook by name, each as it stands there."""
    plays: list[dict[str, Any]] = yaml.safe_load((ROOT / "playbooks" / f"{playbook}.yml").read_text())
    found = {role["role"].rpartition(".")[2]: role for play in plays for role in play.get("roles", ())}
    assert found
    return found


def defaults(role: str) -> set[str]:
    return set(yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text()))


def test_every_derived_variable_is_one_of_its_role() -> None:
    declaration, inventory = declared()
    derived = set(derive_gateway(declaration, "gw1", inventory)) - {MANAGED}
    for role in OF_A_GATEWAY:
        own = {name for name in derived if name.startswith(f"{role}_")}
        assert own, role
        assert own <= defaults(role), role
        derived -= own
    assert derived == set()
    assert set(derive_exchange(declaration, "ex1", inventory)) <= defaults("exchange")


def test_every_role_that_has_a_derivation_runs_where_it_is_managed_and_by_its_tag() -> None:
    found = roles("gateway")
    assert set(found) == set(OF_A_GATEWAY)
    for name, role in found.items():
        assert role["when"] == f"{MANAGED}.{name}"
        assert role["tags"] == [name]
    assert roles("exchange")["exchange"]["tags"] == ["exchange"]


def test_nothing_is_handed_on_by_hand_but_what_cannot_be_derived() -> None:
    by_hand = {
        name
        for playbook in ("gateway", "exchange")
        for role in roles(playbook).values()
        for name in role.get("vars", {})
    }
    # What the gateways tell of themselves, and a secret.
    assert by_hand == {"sshd_sftp_accounts", "letsencrypt_external_account_hmac_key"}


@pytest.mark.parametrize("playbook", ["gateway", "exchange", "drain"])
def test_what_is_derived_is_always_derived(playbook: str) -> None:
    """Whatever --tags says."""
    first = yaml.safe_load((ROOT / "playbooks" / f"{playbook}.yml").read_text())[0]
    assert first["ansible.builtin.import_playbook"] == "preflight.yml"
    (preflight,) = yaml.safe_load((ROOT / "playbooks" / "preflight.yml").read_text())
    assert preflight["tags"] == ["always"]
