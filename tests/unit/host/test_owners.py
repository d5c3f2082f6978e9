"""Who else loads rules into the kernel is named, as systemd tells it."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.postern.mail_gateway.plugins.module_utils.host.owners import other_owners


def shown(*units: str) -> list[str]:
    text = "\n\n".join("\n".join(unit.split()) for unit in units) + "\n"
    return other_owners(lambda *_, **__: subprocess.CompletedProcess([], 0, text, ""))


@pytest.mark.parametrize("name", ["nftables.service", "firewalld.service", "netfilter-persistent.service"])
def test_who_loads_rules_as_well_is_named(name: str) -> None:
    [said] = shown(f"Id={name} ActiveState=active UnitFileState=disabled")
    assert said.startswith(f"{name} runs on this host: ")
    [said] = shown(f"Id={name} ActiveState=inactive UnitFileState=enabled")
    assert said.startswith(f"{name} is enabled on this host: ")
    assert said.endswith(f"'systemctl disable {name}' if nobody needs it.")


def test_what_systemd_does_not_tell_is_told() -> None:
    for status, text in ((1, ""), (0, ""), (1, "Id=ssh.service")):
        [said] = other_owners(lambda *_, s=status, t=text, **__: subprocess.CompletedProcess([], s, t, ""))
        assert said.startswith("systemctl doesn't say whether nftables.service, ")


def test_what_isnt_there_or_is_off_is_no_owner() -> None:
    assert shown("Id=firewalld.service ActiveState=inactive UnitFileState=") == []
    assert shown("Id=nftables.service ActiveState=inactive UnitFileState=disabled") == []
    assert shown("Id=ssh.service ActiveState=active UnitFileState=enabled") == []
