"""After much has left the variables: what went, what stayed, and who is banned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bans import (
    active,
    banned,
    caught_up,
    elements,
    fail_at_ssh,
    files,
    is_banned,
    patient_sshd,
    reach,
    restart,
    tried,
    unban,
)

from lab import Lab
from strangers import Strangers

SSH: dict[str, Any] = {
    "name": "sshd",
    "filter_mode": "aggressive",
    "journal_matches": ["_SYSTEMD_UNIT=ssh.service _UID=0"],
    "ports": ["22"],
    "max_retry": 3,
}


def test_what_left_the_variables_is_gone(lab: Lab, gateway: str) -> None:
    assert active(lab, gateway) == ["haproxy-logons", "own", "sshd"]
    listed = "\n".join(files(lab, gateway))
    for name in ("jail.d/postern-closed.local", "filter.d/postern-closed.conf"):
        assert f"/{name}" not in listed
    tables = lab.exec(gateway, ["nft", "list", "tables"]).stdout
    assert "f2b-sshd" in tables
    assert "f2b-closed" not in tables


def test_a_jail_of_somebody_else_stays(lab: Lab, gateway: str) -> None:
    content = lab.exec(gateway, ["cat", "/etc/fail2ban/jail.d/own.local", "/etc/fail2ban/filter.d/own.conf"]).stdout
    assert "[own]" in content
    assert "refused <HOST>" in content
    assert any("640 root:root /etc/fail2ban/jail.d/own.local" in line for line in files(lab, gateway))


def test_bans_stand_over_the_change(lab: Lab, gateway: str) -> None:
    assert {"192.0.2.66", "2001:db8:66::1"} <= set(banned(lab, gateway, "sshd"))
    assert {"192.0.2.66", "2001:db8:66::/64"} <= elements(lab, gateway, "sshd")


def test_the_change_is_in_force(lab: Lab, gateway: str, strangers: Strangers) -> None:
    """One failure less, one port more, and one more network that nobody bans: in Fail2Ban, and in the kernel."""
    source, address = strangers.address(), lab.address(gateway, "outside")
    fail_at_ssh(lab, "client", address, source, 3)
    assert is_banned(lab, gateway, "sshd", source)
    rules = lab.exec(gateway, ["nft", "list", "table", "inet", "f2b-sshd"]).stdout
    assert "tcp dport { 22, 2222 } reject" in rules
    assert "198.51.100.0/24" in rules
    unban(lab, gateway, source)


@pytest.mark.usefixtures("strangers")
def test_without_jails_debians_own_works_on_the_journal(lab: Lab, gateway: str, strangers: Strangers) -> None:
    """On Debian 12 it looks for a log file that isn't there, and Fail2Ban doesn't start."""
    (result,) = tried({"jails": []}, host=gateway)
    assert result["changed"], result
    assert "sshd" in active(lab, gateway)
    assert "haproxy-logons" not in active(lab, gateway)
    restart(lab, gateway)
    source, address = strangers.address(), lab.address(gateway, "outside")
    fail_at_ssh(lab, "client", address, source, 6)
    assert is_banned(lab, gateway, "sshd", source)
    unban(lab, gateway, source)


def test_the_controller_never_bans_itself(
    lab: Lab, gateway: str, strangers: Strangers, controller_fails: Callable[[str, int], None]
) -> None:
    """Nobody declares its network here; the host knows the address from the connection that the play comes by."""
    (result,) = tried({"jails": [SSH]}, host=gateway)
    assert not result.get("failed"), result
    controller = f"10.{lab.slot}.3.1"
    assert f"{controller}/32" in result["ignored_networks"]
    assert f"10.{lab.slot}.3.0/24" not in result["ignored_networks"]
    with patient_sshd(lab, gateway):
        controller_fails(gateway, 5)
        caught_up(lab, gateway, strangers, "sshd")
    assert banned(lab, gateway, "sshd").count(controller) == 0
    (again,) = tried({"jails": [SSH]}, host=gateway)
    assert not again["changed"], again
    # Anybody else in its network is banned.
    source, address = lab.address("admin", "admin"), lab.address(gateway, "admin")
    fail_at_ssh(lab, "admin", address, source, 4)
    assert is_banned(lab, gateway, "sshd", source)
    assert reach(lab, "admin", address, 22) == "refused"
    unban(lab, gateway, source)
