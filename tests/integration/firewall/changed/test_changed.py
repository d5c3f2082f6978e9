"""After much has left the variables, and while they change: what clients see, what others made."""

from __future__ import annotations

from typing import Any

import pytest
from firewalls import LISTENING, Watch, counted, reach, show_added, tried
from logons import state

from lab import Lab
from plays import play
from probes.hosts import host

OPEN = {25, 8080, 9999}


def base(lab: Lab) -> list[dict[str, Any]]:
    return [
        {
            "ports": ["ssh"],
            "protocol": "tcp",
            "sources": [f"10.{lab.slot}.3.0/24", f"fd77:{lab.slot}:3::/64"],
            "comment": "administrators",
        },
        {"ports": ["25"], "protocol": "tcp", "comment": "smtp"},
        {"ports": ["8080"], "protocol": "tcp", "comment": "new"},
    ]


@pytest.mark.usefixtures("listeners")
def test_what_left_the_variables_is_closed(lab: Lab, gateway: str) -> None:
    for family, found in reach(lab, "client", gateway, "outside").items():
        assert found["open"] == OPEN, family
        assert found["silent"] == {22, *LISTENING} - OPEN, family


def test_rules_by_hand_and_bans_are_where_they_were(lab: Lab, gateway: str) -> None:
    assert [line for line in show_added(lab, gateway) if " fd77" not in line] == [
        "ufw deny from 192.0.2.66 comment 'by Fail2Ban after 5 attempts against sshd'",
        f"ufw allow from 10.{lab.slot}.3.0/24 to any port 22 proto tcp comment 'postern: administrators'",
        "ufw allow 9999/tcp comment 'by hand'",
        "ufw allow 25/tcp comment 'postern: smtp'",
        "ufw allow 8080/tcp comment 'postern: new'",
        "ufw allow from 198.51.100.0/24 to any port 143",
    ]
    assert lab.exec(gateway, ["grep", "LOGLEVEL", "/etc/ufw/ufw.conf"]).stdout == "LOGLEVEL=medium\n"


@pytest.mark.usefixtures("listeners")
def test_connections_live_and_nothing_opens_while_everything_changes(lab: Lab) -> None:
    """A held connection ticks on, and not one packet gets through to a closed port, over four changes.

    The policies, the level of logging and the rules change each time, and the port of the held connection is closed
    for new ones meanwhile.
    """
    watch = Watch(lab, "gw1")
    admin, smtp, new = base(lab)
    closed = [admin, new]
    changes = [
        {"rules": rules, "logging": level, "default_incoming": policy}
        for rules, level, policy in (
            (closed, "high", "reject"),
            ([smtp, admin], "off", "deny"),
            (closed, "low", "reject"),
            ([admin, smtp, new], "medium", "deny"),
        )
    ]
    results = tried(*changes)
    assert [result["changed"] for result in results] == [True] * len(changes), results
    found = watch.result()
    assert found["broken"] == "", found
    # Ten a second are sent; a busy machine sends fewer, but goes on sending.
    assert found["ticks"] > found["seconds"], found
    assert found["packets"] > 1000, found
    assert counted(lab, "gw1") == 0


def test_a_run_that_was_cut_short_is_healed(lab: Lab) -> None:
    """The kernel isn't what the files say: the next run sees it, says so in a check, and heals it."""
    everything = {"rules": base(lab), "logging": "medium"}
    for spoil in (
        "iptables -D ufw-user-input -p tcp --dport 25 -j ACCEPT",
        "ip6tables -P INPUT ACCEPT",
        "ip6tables -D INPUT -j ufw6-before-input",
        "iptables -I ufw-user-input -p tcp --dport 143 -j ACCEPT",
    ):
        lab.exec("gw1", ["sh", "-c", spoil])
        shown, healed, again = tried({**everything, "check": True}, everything, everything)
        assert shown["changed"], spoil
        assert shown["diff"][0]["before_header"] == "running firewall"
        assert healed["changed"], spoil
        assert not again["changed"], spoil


def test_a_line_that_somebody_wrote_into_user_rules_stays(lab: Lab) -> None:
    """Ufw doesn't know it, and loses it with each change that it makes itself."""
    line = "-A ufw-user-input -s 198.51.100.66/32 -j DROP"
    behind = r"/^-A ufw-user-input -p tcp --dport 25 -j ACCEPT$/"
    everything, other = {"rules": base(lab), "logging": "medium"}, {"rules": base(lab), "logging": "high"}
    lab.exec("gw1", ["sed", "-i", f"{behind}a {line}", "/etc/ufw/user.rules"])
    try:
        for variables in (other, everything):
            result, again = tried(variables, variables)
            assert (result["changed"], again["changed"]) == (True, False)
            text = lab.exec("gw1", ["cat", "/etc/ufw/user.rules"]).stdout.splitlines()
            assert text[text.index(line) - 1] == "-A ufw-user-input -p tcp --dport 25 -j ACCEPT"
            assert line in lab.exec("gw1", ["iptables", "-S", "ufw-user-input"]).stdout.splitlines()
    finally:
        lab.exec("gw1", ["sed", "-i", "/198.51.100.66/d", "/etc/ufw/user.rules"])
        lab.exec("gw1", ["iptables", *line.replace("-A", "-D").split()], check=False)


def test_who_loads_rules_as_well_is_named(lab: Lab) -> None:
    unit = "/etc/systemd/system/netfilter-persistent.service"
    text = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
    lab.exec("gw1", ["sh", "-c", f"cat >{unit} && systemctl enable --quiet netfilter-persistent"], input=text)
    try:
        run = play("molecule/firewall/converge.yml", "--check", "--limit", "gw1")
        assert "netfilter-persistent.service is enabled on this host" in run.text
    finally:
        off = f"systemctl disable --quiet netfilter-persistent; rm {unit}; systemctl daemon-reload"
        lab.exec("gw1", ["sh", "-c", off])


def test_rules_that_a_restart_would_take_away_are_healed(lab: Lab) -> None:
    """Where ufw doesn't start with the host any more, a check says so, a run heals that alone."""
    everything = {"rules": base(lab), "logging": "medium"}
    lab.exec("gw1", ["systemctl", "disable", "--quiet", "ufw"])
    shown, healed, again = tried({**everything, "check": True}, everything, everything)
    for result in (shown, healed):
        assert (result["changed"], result["reloaded"]) == (True, False), result
        (part,) = result["diff"]
        assert part["before_header"] == "ufw.service"
        assert (part["before"], part["after"]) == ("starts with the host: no\n", "starts with the host: yes\n")
    assert not again["changed"], again
    assert host(lab, "gw1").service("ufw").is_enabled


def test_a_masked_ufw_is_refused(lab: Lab) -> None:
    before = state(lab, "gw1")
    lab.exec("gw1", ["systemctl", "mask", "--quiet", "ufw"])
    try:
        (result,) = tried({"rules": base(lab), "logging": "low"})
    finally:
        lab.exec("gw1", ["systemctl", "unmask", "--quiet", "ufw"])
    assert result["failed"], result
    assert result["msg"].startswith("ufw.service is masked on this host, so it can't start; nothing was"), result
    assert state(lab, "gw1") == before


def test_exact_mode_removes_what_others_made_but_no_ban(lab: Lab) -> None:
    before = show_added(lab, "gw1")
    everything = {"rules": base(lab), "logging": "medium", "exact": True}
    (shown,) = tried(everything, arguments=("--check",))
    assert [line for line in shown["diff"][0]["before"].splitlines() if line not in shown["diff"][0]["after"]] == [
        "ufw allow 9999/tcp comment 'by hand'",
        "ufw allow from 198.51.100.0/24 to any port 143",
    ]
    assert show_added(lab, "gw1") == before
    assert tried(everything)[0]["changed"]
    assert [line for line in before if line not in show_added(lab, "gw1")] == [
        "ufw allow 9999/tcp comment 'by hand'",
        "ufw allow from 198.51.100.0/24 to any port 143",
    ]
    assert "by Fail2Ban" in "".join(show_added(lab, "gw1"))


def test_a_disabled_ufw_with_rules_of_others_is_enabled(lab: Lab) -> None:
    lab.exec("gw2", ["ufw", "--force", "disable"])
    (result,) = tried({"rules": base(lab), "logging": "medium"}, host="gw2")
    assert result["changed"]
    assert "ufw allow 9999/tcp comment 'by hand'" in result["other_rules"]
    assert lab.exec("gw2", ["ufw", "status"]).stdout.startswith("Status: active")
