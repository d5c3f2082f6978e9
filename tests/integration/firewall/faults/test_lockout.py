"""Ways to lock oneself out with a firewall, each tried over real SSH on a gateway where the role has run.

Each ends in a refusal before anything is changed, or in a rollback; a fresh logon works afterwards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from firewalls import files, log_on, tried

from lab import Lab

GATEWAY = "gw1"


def ssh(lab: Lab, **changes: Any) -> dict[str, Any]:
    networks = [f"10.{lab.slot}.3.0/24", f"fd77:{lab.slot}:3::/64"]
    return {"ports": [22], "protocol": "tcp", "sources": networks, **changes}


def test_rules_that_shut_out_the_controller_are_refused_before_anything_changes(lab: Lab) -> None:
    controller = f"10.{lab.slot}.3.1"
    by_default = f"would shut out the controller ({controller}) on SSH's port 22, by the default (deny incoming)"
    web = {"ports": [443], "protocol": "tcp"}
    trials: list[tuple[dict[str, Any], str]] = [
        ({"rules": []}, by_default),
        ({"rules": [web]}, by_default),
        ({"rules": [], "default_incoming": "reject"}, "by the default (reject incoming)"),
        ({"rules": [ssh(lab, ports=[2222])]}, by_default),
        ({"rules": [ssh(lab, protocol="udp")]}, by_default),
        ({"rules": [ssh(lab, sources=["198.51.100.0/24"])]}, by_default),
        ({"rules": [ssh(lab, sources=["::/0"])]}, by_default),
        ({"rules": [ssh(lab, sources=[], destinations=["198.51.100.1"])]}, by_default),
        ({"rules": [ssh(lab, interface="outside")]}, by_default),
        ({"rules": [ssh(lab, source_ports=[22])]}, by_default),
        ({"rules": [ssh(lab, direction="out")]}, by_default),
        ({"rules": [ssh(lab, direction="routed")]}, by_default),
        ({"rules": [{"action": "deny", "sources": ["10.0.0.0/8"]}, ssh(lab)]}, "by 'ufw deny from 10.0.0.0/8"),
        (
            {"rules": [{"action": "reject", "ports": ["1:1024"], "protocol": "tcp"}, ssh(lab)]},
            "by 'ufw reject 1:1024/tcp",
        ),
        ({"rules": [ssh(lab, action="limit")]}, f"would hold back the controller ({controller})"),
        ({"rules": [ssh(lab, sources=[f"{controller}/24"])]}, f"write 10.{lab.slot}.3.0/24 for the network"),
        ({"rules": [ssh(lab, application="OpenSSL")]}, "has an application, which brings its ports"),
    ]
    before = files(lab, GATEWAY)
    results = tried(*(trial for trial, _ in trials))
    for (trial, sentence), result in zip(trials, results, strict=True):
        assert result.get("failed"), trial
        assert sentence in result["msg"], trial
    assert files(lab, GATEWAY) == before
    assert log_on(lab, GATEWAY) == "root"


def test_a_controller_on_ipv6_needs_a_rule_for_ipv6(lab: Lab) -> None:
    before = files(lab, GATEWAY)
    over_ipv6 = {"ansible_host": lab.address(GATEWAY, "admin", 6)}
    (result,) = tried({"rules": [ssh(lab, sources=["0.0.0.0/0"])]}, **over_ipv6)
    assert f"would shut out the controller (fd77:{lab.slot}:3::1)" in result["msg"]
    assert files(lab, GATEWAY) == before


@contextlib.contextmanager
def broken(lab: Lab, path: str, script: str) -> Iterator[None]:
    """A file of ufw's that somebody edited while the firewall runs."""
    lab.exec(GATEWAY, ["cp", "-a", path, "/run/lab-kept"])
    lab.exec(GATEWAY, ["sh", "-c", script])
    try:
        yield
    finally:
        lab.exec(GATEWAY, ["cp", "-a", "/run/lab-kept", path])


@pytest.mark.parametrize(
    ("path", "script", "sentence"),
    [
        (
            "/etc/ufw/before.rules",
            "sed -i 's/^COMMIT/-A ufw-before-input -p nonsense -j ACCEPT\\nCOMMIT/' /etc/ufw/before.rules",
            "ufw can't start with its files on this host",
        ),
        (
            "/etc/ufw/user.rules",
            "sed -i '0,/^### tuple ###/s//### tuple ### permit/' /etc/ufw/user.rules",
            "isn't a rule that ufw can read",
        ),
        ("/etc/ufw/user6.rules", "rm /etc/ufw/user6.rules", "/etc/ufw/user6.rules can't be read (No such file"),
        ("/etc/ufw/user.rules", "truncate --size=400 /etc/ufw/user.rules", "is cut off"),
    ],
)
def test_broken_files_are_named_and_the_running_firewall_goes_on(
    lab: Lab, path: str, script: str, sentence: str
) -> None:
    with broken(lab, path, script):
        before = files(lab, GATEWAY)
        (result,) = tried({"rules": [ssh(lab)]})
        assert sentence in result["msg"]
        assert files(lab, GATEWAY) == before
    assert log_on(lab, GATEWAY) == "root"


def test_a_full_disk_changes_nothing(lab: Lab) -> None:
    script = (
        "cp -a /etc/ufw /run/lab-ufw && mount -t tmpfs -o size=200k tmpfs /etc/ufw && cp -a /run/lab-ufw/. /etc/ufw/ "
        "&& dd if=/dev/zero of=/etc/ufw/filler bs=4k 2>/dev/null; test -e /etc/ufw/filler"
    )
    before = files(lab, GATEWAY)
    lab.exec(GATEWAY, ["sh", "-c", script])
    try:
        (result,) = tried({"rules": [ssh(lab)]})
        assert "ufw's files can't be written (No space left on device); nothing was changed." in result["msg"]
    finally:
        lab.exec(GATEWAY, ["sh", "-c", "umount /etc/ufw; rm -r /run/lab-ufw"])
    assert files(lab, GATEWAY) == before
    assert log_on(lab, GATEWAY) == "root"


def test_what_no_rule_shows_is_rolled_back(lab: Lab) -> None:
    """before.rules shuts out new SSH connections: the rules look fine, and the host can't be reached any more."""
    kernel = files(lab, GATEWAY).partition(":INPUT")[2]
    line = "-A ufw-before-input -p tcp --dport 22 -m conntrack --ctstate NEW -j DROP"
    script = f"sed -i '0,/^-A ufw-before-input/s//{line}\\n&/' /etc/ufw/before.rules"
    with broken(lab, "/etc/ufw/before.rules", script):
        (result,) = tried({"rules": [ssh(lab)], "seconds": 15})
        assert result.get("failed")
        assert "The new firewall configuration was not confirmed" in result["msg"]
        assert "The host went back to what it was" in result["msg"]
        assert files(lab, GATEWAY).partition(":INPUT")[2] == kernel
        assert log_on(lab, GATEWAY) == "root"
