"""ufw's rules as data: read, spelled, merged, and asked about a connection."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.postern.mail_gateway.plugins.module_utils.firewall.decision import (
    Connection,
    decide,
    refusal,
)
from ansible_collections.postern.mail_gateway.plugins.module_utils.firewall.desired import (
    wanted_rules,
)
from ansible_collections.postern.mail_gateway.plugins.module_utils.firewall.kernel import (
    Live,
    document,
    parse_save,
)
from ansible_collections.postern.mail_gateway.plugins.module_utils.firewall.merging import (
    merge,
)
from ansible_collections.postern.mail_gateway.plugins.module_utils.firewall.rules import (
    ANYWHERE,
    Rule,
    listing,
    parse_rules,
    parse_settings,
    with_setting,
    words,
)
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.errors import HostError

DEFAULTS: dict[str, Any] = {
    "action": "allow", "direction": "in", "protocol": "any", "ports": [], "source_ports": [], "sources": [],
    "destinations": [], "application": "", "source_application": "", "interface": "", "outgoing_interface": "",
    "log": "none", "comment": "",
}  # fmt: skip
PROFILES = {"Web": ["80,443/tcp"], "DNS": ["53"], "Nginx Full": ["80,443/tcp"], "Two": ["1/tcp", "2/udp"]}


def wanted(*descriptions: dict[str, Any]) -> list[Rule]:
    return wanted_rules([{**DEFAULTS, **description} for description in descriptions], PROFILES, "postern")


def commands(**description: Any) -> list[str]:
    return [line.replace(" comment 'postern'", "") for line in listing(wanted(description))]


def file(*lines: str) -> str:
    return "\n".join(["*filter", "### RULES ###", *lines, "### END RULES ###", "COMMIT", ""])


# --- spelling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ({"ports": ["25"], "protocol": "tcp"}, ["ufw allow 25/tcp"]),
        ({"ports": ["smtp"], "protocol": "TCP"}, ["ufw allow 25/tcp"]),
        ({"ports": ["25"], "protocol": "6"}, ["ufw allow 25/tcp"]),
        ({"ports": ["53"]}, ["ufw allow 53"]),
        ({"ports": ["443", "80", "80"], "protocol": "tcp"}, ["ufw allow 80,443/tcp"]),
        ({"ports": ["443,80"], "protocol": "tcp"}, ["ufw allow 80,443/tcp"]),
        ({"ports": ["6000:6007", "22"], "protocol": "tcp"}, ["ufw allow 22,6000:6007/tcp"]),
        ({"ports": ["any"]}, ["ufw allow to any"]),
        ({}, ["ufw allow to any"]),
        ({"sources": ["10.0.0.0/8"]}, ["ufw allow from 10.0.0.0/8"]),
        ({"sources": ["10.0.0.5/32"]}, ["ufw allow from 10.0.0.5"]),
        ({"sources": ["2001:DB8:0:0::1/128"]}, ["ufw allow from 2001:db8::1"]),
        ({"sources": ["2001:db8:0::/32"]}, ["ufw allow from 2001:db8::/32"]),
        ({"sources": ["any"], "ports": ["22"], "protocol": "tcp"}, ["ufw allow 22/tcp"]),
        ({"sources": ["0.0.0.0/0"], "ports": ["22"]}, ["ufw allow 22  # IPv4 only"]),
        ({"destinations": ["::/0"], "ports": ["22"]}, ["ufw allow 22  # IPv6 only"]),
        ({"protocol": "112", "sources": ["10.0.0.1"]}, ["ufw allow from 10.0.0.1 proto vrrp"]),
        ({"protocol": "igmp"}, ["ufw allow to any proto igmp  # IPv4 only"]),
        ({"action": "limit", "log": "new", "ports": ["22"], "protocol": "tcp"}, ["ufw limit log 22/tcp"]),
        (
            {"sources": ["10.0.0.1", "2001:db8::1"], "destinations": ["10.9.0.1", "2001:db8:9::1"], "ports": ["1"]},
            ["ufw allow from 10.0.0.1 to 10.9.0.1 port 1", "ufw allow from 2001:db8::1 to 2001:db8:9::1 port 1"],
        ),
        ({"interface": "eth0", "ports": ["1"]}, ["ufw allow in on eth0 to any port 1"]),
        ({"interface": "eth0"}, ["ufw allow in on eth0"]),
        ({"direction": "out", "action": "deny", "ports": ["25"]}, ["ufw deny out 25"]),
        ({"direction": "out", "interface": "eth0", "ports": ["25"]}, ["ufw allow out on eth0 to any port 25"]),
        (
            {"direction": "routed", "interface": "a", "outgoing_interface": "b"},
            ["ufw route allow in on a out on b"],
        ),
        ({"direction": "routed", "outgoing_interface": "b"}, ["ufw route allow out on b"]),
        ({"application": "Nginx Full"}, ["ufw allow 'Nginx Full'"]),
        ({"application": "Two", "sources": ["10.0.0.1"]}, ["ufw allow from 10.0.0.1 to any app Two"]),
        ({"source_ports": ["123"], "protocol": "udp"}, ["ufw allow from any port 123 proto udp"]),
    ],
)
def test_what_is_asked_for_in_ufws_words(description: dict[str, Any], expected: list[str]) -> None:
    assert commands(**description) == expected


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        ({"sources": ["10.0.0.5/8"]}, "write 10.0.0.0/8 for the network or 10.0.0.5 for the one host"),
        ({"sources": ["2001:db8::1/32"]}, "write 2001:db8::/32 for the network"),
        ({"sources": ["10.0.0.0/255.0.0.0"]}, "but must have the number of bits after the slash; write 10.0.0.0/8"),
        ({"sources": ["mail.example.com"]}, 'rules[0].sources[0] is "mail.example.com", but must be a network'),
        ({"sources": ["::ffff:10.0.0.1"]}, "but must be written as the IPv4 that it stands for; write 10.0.0.1"),
        ({"sources": ["10.0.0.1"], "destinations": ["::1"]}, "fits nothing"),
        ({"ports": ["0"]}, "no port (1 to 65535)"),
        ({"ports": ["65536"]}, "no port (1 to 65535)"),
        ({"ports": ["ssh"]}, "a name needs protocol: tcp or udp"),
        ({"ports": ["nosuch"], "protocol": "tcp"}, "no name in /etc/services"),
        ({"ports": ["10-20"], "protocol": "tcp"}, "write 10:20"),
        ({"ports": ["20:10"], "protocol": "tcp"}, "end must be above"),
        ({"ports": ["1", "2"]}, "write protocol: tcp or udp"),
        ({"ports": [str(n) for n in range(1, 17)], "protocol": "tcp"}, "more than 15"),
        ({"ports": ["any", "1"], "protocol": "tcp"}, "leave the others out"),
        ({"protocol": "icmp"}, "ICMP is let in by before.rules"),
        ({"protocol": "132"}, "it knows igmp (2), tcp (6)"),
        ({"protocol": "vrrp", "ports": ["1"]}, "vrrp has no ports"),
        ({"protocol": "igmp", "sources": ["::1"]}, "igmp over IPv6"),
        ({"application": "Nope"}, "no profile in /etc/ufw/applications.d"),
        ({"application": "Web", "ports": ["1"]}, "leave those out"),
        ({"comment": "it's"}, "hold no '"),
        ({"comment": "a\nb"}, "no line break"),
        ({"interface": "eth0:1"}, "can't be one"),
        ({"outgoing_interface": "b"}, "for the direction routed"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(description: dict[str, Any], sentence: str) -> None:
    with pytest.raises(HostError) as error:
        wanted(description)
    assert sentence in str(error.value)
    assert str(error.value).startswith("rules[0]")


def test_rules_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(HostError, match=r"rules\[1\] says 'ufw deny 80,443/tcp .*an earlier one says 'ufw allow"):
        wanted(
            {"ports": ["80", "443"], "protocol": "tcp"}, {"action": "deny", "ports": ["https,http"], "protocol": "6"}
        )
    assert len(wanted({"ports": ["53"]}, {"ports": ["53"], "comment": "again"})) == 2  # one each for IPv4 and IPv6


def test_an_application_keeps_its_name_while_its_ports_are_not_known() -> None:
    rules = wanted_rules([{**DEFAULTS, "application": "Nginx Full"}], None, "postern")
    assert listing(rules) == ["ufw allow 'Nginx Full' comment 'postern'"]


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "family", "expected"),
    [
        ("allow tcp 22 0.0.0.0/0 any 10.0.0.0/8 in", 4, "ufw allow from 10.0.0.0/8 to any port 22 proto tcp"),
        ("limit_log tcp 22 ::/0 any ::/0 in comment=6869", 6, "ufw limit log 22/tcp comment 'hi'"),
        ("route:allow any any 0.0.0.0/0 any 0.0.0.0/0 in_a!out_b", 4, "ufw route allow in on a out on b"),
        ("deny any 25 198.51.100.7 any 0.0.0.0/0 out_eth0", 4, "ufw deny out on eth0 to 198.51.100.7 port 25"),
        ("allow tcp 80,443 0.0.0.0/0 any 0.0.0.0/0 Nginx%20Full - in", 4, "ufw allow 'Nginx Full'"),
        ("deny any any 0.0.0.0/0 any 192.0.2.1", 4, "ufw deny from 192.0.2.1"),
    ],
)
def test_ufws_own_lines(line: str, family: int, expected: str) -> None:
    (rule,) = parse_rules(file(f"### tuple ### {line}", "-A ufw-user-input -j X"), family, "f")
    assert words(rule) == expected


@pytest.mark.parametrize(
    "line",
    [
        "### tuple ### allow tcp",
        "### tuple ### permit tcp 22 0.0.0.0/0 any 0.0.0.0/0 in",
        "### tuple ### allow tcp 22 0.0.0.0/0 any nonsense in",
        "### tuple ### allow tcp 22 ::/0 any ::/0 in",
        "### tuple ### allow sctp 22 0.0.0.0/0 any 0.0.0.0/0 in",
        "### tuple ### allow tcp x;y 0.0.0.0/0 any 0.0.0.0/0 in",
        "### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in comment=zz",
        "-A ufw-user-input -p tcp --dport 99 -j ACCEPT",
    ],
)
def test_what_ufw_would_lose_is_named(line: str) -> None:
    with pytest.raises(HostError, match=r"^/etc/ufw/user.rules, line 3,"):
        parse_rules(file(line), 4, "/etc/ufw/user.rules")


def test_a_file_that_is_cut_off_is_named() -> None:
    with pytest.raises(HostError, match="is cut off"):
        parse_rules("*filter\n### RULES ###\n", 4, "/etc/ufw/user.rules")


def test_settings() -> None:
    text = "# IPV6=x\nIPV6=yes\nDEFAULT_INPUT_POLICY=\"DROP\"\nIPT_MODULES=''\n"
    assert parse_settings(text) == {"ipv6": "yes", "default_input_policy": "drop", "ipt_modules": ""}
    assert with_setting(text, "IPV6", "no") == text.replace("IPV6=yes", "IPV6=no")
    assert with_setting("A=1", "B", "2") == "A=1\nB=2\n"


# --- merging --------------------------------------------------------------------------------------------------------


def rule(port: int, mark: str = "postern", action: str = "allow") -> Rule:
    anywhere = ANYWHERE[4]
    return Rule(4, action, "", "tcp", str(port), anywhere, "any", anywhere, comment=mark)


def ports(rules: list[Rule]) -> list[int]:
    return [int(rule.dport) for rule in rules]


ours_and_others = st.lists(
    st.tuples(st.integers(1, 12), st.booleans()), max_size=10, unique_by=lambda item: item[0]
).map(lambda items: [rule(port, "postern: x" if ours else "by hand") for port, ours in items])


@given(ours_and_others, st.lists(st.integers(1, 12), unique=True, max_size=8))
def test_merging(present: list[Rule], numbers: list[int]) -> None:
    asked = [rule(number) for number in numbers]
    merged = merge(present, asked, "postern", exact=False)
    others = [item for item in present if item.comment == "by hand"]
    # Others' rules: all there, in their order, untouched. Ours: exactly those asked for, in the order asked for.
    assert [item for item in merged if item.comment == "by hand"] == others
    assert [item for item in merged if item not in others] == [x for x in asked if x.key not in {o.key for o in others}]
    # Again changes nothing, and neither does it when everything was in place before.
    assert merge(merged, asked, "postern", exact=False) == merged
    # Exact: ours alone, in the order asked for.
    assert merge(present, asked, "postern", exact=True) == asked


def test_a_new_rule_comes_behind_the_one_that_precedes_it() -> None:
    present = [rule(1), rule(100, "hand"), rule(2), rule(200, "hand")]
    asked = [rule(number) for number in (1, 5, 2, 6, 7)]
    assert ports(merge(present, asked, "postern", exact=False)) == [1, 5, 100, 2, 6, 7, 200]
    assert ports(merge(present, [rule(9)], "postern", exact=False)) == [100, 200, 9]


def test_a_contradiction_by_hand_is_refused_and_a_same_rule_serves() -> None:
    by_hand = rule(25, "")
    assert merge([by_hand], [rule(25)], "postern", exact=False) == [by_hand]
    with pytest.raises(HostError, match=r"'ufw deny 25/tcp', made by somebody else, which contradicts 'ufw allow"):
        merge([rule(25, "", "deny")], [rule(25)], "postern", exact=False)
    assert merge([rule(25, "", "deny")], [rule(25)], "postern", exact=True) == [rule(25)]


def test_bans_stay_on_top() -> None:
    ban = Rule(4, "reject", src="192.0.2.1", dst=ANYWHERE[4], comment="by Fail2Ban after 5 attempts against sshd")
    assert merge([ban, rule(1), rule(2, "hand")], [rule(3)], "postern", exact=True) == [ban, rule(3)]
    assert ports(merge([ban, rule(1)], [rule(3), rule(1)], "postern", exact=False)[1:]) == [3, 1]


# --- who is let in --------------------------------------------------------------------------------------------------

ADMIN = Connection("198.51.100.9", "203.0.113.10", 22, "eth0")
SSH = {"ports": ["22"], "protocol": "tcp"}


@pytest.mark.parametrize(
    "rules",
    [
        [SSH],
        [{"ports": ["20:30"], "protocol": "tcp"}],
        [{"sources": ["198.51.100.9"]}],
        [{"action": "deny", "ports": ["23"]}, SSH],
        [{"action": "deny", "protocol": "udp"}, SSH],
        [{"action": "deny", "direction": "out"}, SSH],
        [{**SSH, "interface": "eth+"}],
        [{**SSH, "destinations": ["203.0.113.0/24"]}],
    ],
)
def test_the_controller_is_let_in(rules: list[dict[str, Any]]) -> None:
    assert refusal(wanted(*rules), ADMIN, "deny") == ""


@pytest.mark.parametrize(
    ("rules", "by"),
    [
        ([], "the default (deny incoming)"),
        ([{"ports": ["2222"], "protocol": "tcp"}], "the default"),
        ([{"ports": ["22"], "protocol": "udp"}], "the default"),
        ([{**SSH, "sources": ["198.51.100.0/29"]}], "the default"),
        ([{**SSH, "sources": ["::/0"]}], "the default"),
        ([{**SSH, "destinations": ["203.0.113.11"]}], "the default"),
        ([{**SSH, "interface": "eth1"}], "the default"),
        ([{**SSH, "source_ports": ["22"]}], "the default"),
        ([{**SSH, "direction": "out"}], "the default"),
        ([{**SSH, "direction": "routed"}], "the default"),
        ([{"action": "deny", "sources": ["198.51.100.0/24"]}, SSH], "'ufw deny from 198.51.100.0/24"),
        ([{"action": "reject"}, SSH], "'ufw reject to any"),
        ([{**SSH, "action": "limit"}], "hold back"),
    ],
)
def test_what_shuts_the_controller_out_is_refused(rules: list[dict[str, Any]], by: str) -> None:
    sentence = refusal(wanted(*rules), ADMIN, "deny")
    assert by in sentence
    assert "(198.51.100.9)" in sentence
    assert "nothing was changed" in sentence


def test_the_default_decides_where_no_rule_fits() -> None:
    assert refusal([], ADMIN, "allow") == ""
    assert decide([], ADMIN, "reject") == ("reject", None)
    assert refusal(wanted(SSH), Connection("2001:db8::9", "2001:db8::1", 22), "deny") == ""


# --- the kernel -----------------------------------------------------------------------------------------------------

SAVED = """*filter
:INPUT DROP [10:20]
:ufw-user-input - [0:0]
:f2b-sshd - [0:0]
-A INPUT -p tcp -j f2b-sshd
-A INPUT -j ufw-before-input
-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT
-A f2b-sshd -j RETURN
COMMIT
"""


def live(text: str) -> Live:
    chains, policies = parse_save(text)
    return Live({4: chains}, {4: policies}, {4: text})


def test_only_ufws_part_of_the_kernels_table_counts() -> None:
    others = SAVED.replace("-A f2b-sshd -j RETURN", "-A f2b-sshd -s 192.0.2.1 -j REJECT").replace("10:20", "0:0")
    assert live(SAVED).same_as(live(others))
    for change in (("DROP", "ACCEPT"), ("--dport 22", "--dport 23"), ("-A INPUT -j ufw-before-input\n", "")):
        assert not live(SAVED).same_as(live(SAVED.replace(*change)))


def test_one_document_makes_the_kernel_as_wanted_and_leaves_others_alone() -> None:
    now = live(SAVED.replace("-A INPUT -j ufw-before-input\n", ""))
    assert document(live(SAVED), now, 4).splitlines() == [
        "*filter",
        ":INPUT DROP [0:0]",
        ":ufw-user-input - [0:0]",
        "-A INPUT -j ufw-before-input",
        "-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT",
        "COMMIT",
    ]


def test_ways_into_ufws_chains_are_put_back_in_their_order() -> None:
    both = SAVED.replace("-A INPUT -j ufw-before-input", "-A INPUT -j ufw-before-input\n-A INPUT -j ufw-after-input")
    now = live(both.replace("-A INPUT -j ufw-before-input\n", ""))
    lines = [line for line in document(live(both), now, 4).splitlines() if "INPUT -j" in line]
    assert lines == ["-D INPUT -j ufw-after-input", "-A INPUT -j ufw-before-input", "-A INPUT -j ufw-after-input"]
