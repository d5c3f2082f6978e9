"""The rollback guard when things end in the middle, with the role firewall and with the role sshd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lockouts import guarding
from lockouts.guarding import Role

from lab import Lab

ROLES = pytest.mark.parametrize("role", [guarding.SSHD, guarding.FIREWALL], ids=lambda role: role.name)


def record(record_property: Any, role: Role, name: str, said: str) -> None:
    for host in guarding.GATEWAYS:
        record_property("trial", (role.name, name, host, "rolled back", said))


@ROLES
def test_the_controller_is_killed_before_it_confirms(
    hosts: Lab, role: Role, tmp_path: Path, record_property: Any
) -> None:
    said = guarding.controller_is_killed(hosts, role, tmp_path)
    record(record_property, role, "the controller killed between change and confirmation", said)


@ROLES
def test_the_module_is_killed_in_the_middle(hosts: Lab, role: Role, record_property: Any) -> None:
    said = guarding.module_is_killed(hosts, role)
    record(record_property, role, "the module killed in the middle of its change", said)


@ROLES
def test_a_second_run_and_a_restart_before_the_change_is_confirmed(
    hosts: Lab, role: Role, tmp_path: Path, record_property: Any
) -> None:
    said = guarding.host_is_restarted_while_a_second_run_waits(hosts, role, tmp_path)
    record(record_property, role, "two runs at once, and the host restarted before the confirmation", said)


@ROLES
def test_the_host_is_reset_before_the_change_is_confirmed(
    hosts: Lab, role: Role, tmp_path: Path, record_property: Any
) -> None:
    said = guarding.host_is_reset(hosts, role, tmp_path)
    record(record_property, role, "the host reset before the confirmation", said)


def test_a_port_moves_over_connections_that_are_not_shared(hosts: Lab) -> None:
    guarding.port_moves_over_connections_that_are_not_shared(hosts)


def test_an_address_to_listen_on_that_comes_late_at_a_boot(hosts: Lab, record_property: Any) -> None:
    said = guarding.listen_addresses_over_a_boot(hosts)
    for host in guarding.GATEWAYS:
        record_property("trial", ("sshd", "an address to listen on that isn't there at a boot", host, "kept", said))
