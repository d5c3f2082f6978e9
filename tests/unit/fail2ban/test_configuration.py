"""Jails as data: what is accepted, the files that come of it, and how the running server is compared with them."""

from __future__ import annotations

import configparser
import ipaddress
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.postern.mail_gateway.plugins.module_utils.fail2ban.comparison import (
    culprit,
    differences,
    overruled,
    units,
)
from ansible_collections.postern.mail_gateway.plugins.module_utils.fail2ban.configuration import (
    ACTION,
    files,
    filters,
    jails,
)
from ansible_collections.postern.mail_gateway.plugins.module_utils.fail2ban.server import refusal
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.errors import HostError
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.networks import (
    networks,
)

ROOT = Path(__file__).resolve().parents[3]


def jail(name: str = "sshd", **more: Any) -> dict[str, Any]:
    """A jail as the module's arguments give it."""
    return {
        "name": name,
        "filter": "",
        "filter_mode": "",
        "journal_matches": [],
        "ports": [],
        "max_retry": 5,
        "find_time": 600,
        "ban_time": 3600,
        "max_ban_time": 604800,
        **more,
    }


def filter_(name: str = "door", **more: Any) -> dict[str, Any]:
    """A filter as the module's arguments give it."""
    return {
        "name": name,
        "identifier": "doord",
        "fail_regexes": ["refused <ADDR>"],
        "ignore_regexes": [],
        "journal_matches": ["_SYSTEMD_UNIT=door.service"],
        **more,
    }


def made(
    *wanted: dict[str, Any], own: list[dict[str, Any]] | None = None, ignored: tuple[str, ...] = ()
) -> dict[str, str]:
    """Return the content of each file."""
    known = filters(own or [])
    trusted = networks(["127.0.0.0/8", "::1", *ignored], "fail2ban_ignored_networks")
    return {file.path: file.content.decode() for file in files(jails(list(wanted)), known, trusted)}


def parsed(text: str) -> configparser.ConfigParser:
    """Return a file as Fail2Ban's parser reads it."""
    parser = configparser.ConfigParser(inline_comment_prefixes=(";",))
    parser.read_string(text)
    return parser


def test_a_jail_is_a_file_with_everything_in_it() -> None:
    match = "_SYSTEMD_UNIT=ssh.service _UID=0"
    content = made(
        jail(filter_mode="aggressive", journal_matches=[match, "_COMM=sshd"], ports=["22"]), ignored=("10.0.0.0/8",)
    )
    section = parsed(content["jail.d/postern-sshd.local"])["sshd"]
    assert {key: section[key] for key in ("enabled", "backend", "filter", "journalmatch", "maxretry", "findtime")} == {
        "enabled": "true",
        "backend": "systemd",
        "filter": "sshd[mode=aggressive]",
        "journalmatch": f"{match} + _COMM=sshd",
        "maxretry": "5",
        "findtime": "600",
    }
    assert section["bantime.increment"] == "true"
    assert section["bantime.maxtime"] == "604800"
    assert section["ignoreip"] == "10.0.0.0/8 127.0.0.0/8 ::1/128"
    assert 'match="tcp dport { 22 }", rest="accept", sockets="and ( sport = :22 )"' in section["action"]
    assert 'trusted4="10.0.0.0/8,127.0.0.0/8", trusted6="::1/128"' in section["action"]


def test_a_jail_without_ports_closes_everything() -> None:
    section = parsed(made(jail())["jail.d/postern-sshd.local"])["sshd"]
    assert 'match="meta l4proto tcp", rest="drop", sockets=""' in section["action"]


def test_bans_never_shrink() -> None:
    for ban, longest, most in ((3600, 0, "3600"), (3600, 7200, "7200"), (-1, 7200, "-1")):
        section = parsed(made(jail(ban_time=ban, max_ban_time=longest))["jail.d/postern-sshd.local"])["sshd"]
        assert section["bantime.maxtime"] == most


def test_only_filters_that_a_jail_uses_are_written() -> None:
    content = made(jail("a", filter="door"), own=[filter_("door"), filter_("window")])
    assert "filter.d/postern-door.conf" in content
    assert "filter.d/postern-window.conf" not in content
    assert parsed(content["jail.d/postern-a.local"])["a"]["filter"] == "postern-door"


def test_a_filter_begins_where_a_message_does() -> None:
    regexes = ["refused <ADDR>, 5% ;odd", "gone <ADDR>$"]
    text = made(jail("door"), own=[filter_(fail_regexes=regexes, ignore_regexes=["refused 10\\."])])
    section = parsed(text["filter.d/postern-door.conf"])["Definition"]
    prefix = r"^\s*\S+ doord\[\d+\]: "
    # To the parser " ;" would be the beginning of a comment.
    assert section["failregex"].splitlines() == [prefix + r"refused <ADDR>, 5% \x3bodd", prefix + "gone <ADDR>$"]
    assert re.search(section["failregex"].splitlines()[0].replace("<ADDR>", "x"), "gw1 doord[7]: refused x, 5% ;odd")
    assert section["ignoreregex"] == prefix + r"refused 10\."
    assert section["journalmatch"] == "_SYSTEMD_UNIT=door.service"


def test_debians_own_jail_reads_the_journal_unless_it_is_ours() -> None:
    ours, others = made(jail("sshd")), made(jail("web", filter="door"), own=[filter_()])
    assert "jail.d/postern-defaults.conf" not in ours
    section = parsed(others["jail.d/postern-defaults.conf"])["sshd"]
    assert section["backend"] == "systemd"
    assert "enabled" not in section
    # Behind Debian's file, and before jail.local and what people write into jail.d/*.local.
    assert min("jail.d/postern-defaults.conf", "jail.d/defaults-debian.conf") == "jail.d/defaults-debian.conf"


def test_without_jails_only_debians_is_put_right() -> None:
    assert list(made()) == ["jail.d/postern-defaults.conf"]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"name": "Sshd"}, 'fail2ban_jails[0].name "Sshd" is no name for Fail2Ban'),
    ({"name": "a b"}, 'fail2ban_jails[0].name "a b"'),
    ({"name": "a\n[b]"}, "fail2ban_jails[0].name"),
    ({"name": "x" * 33}, "32 at the most"),
    ({"name": "dbfile"}, 'fail2ban_jails[0].name "dbfile" means something else to Fail2Ban'),
    ({"filter": "sshd[mode=x]"}, 'fail2ban_jails[0].filter "sshd[mode=x]" is no name'),
    ({"filter": "../x"}, 'fail2ban_jails[0].filter "../x" is no name'),
    ({"filter_mode": "a]b"}, 'fail2ban_jails[0].filter_mode "a]b" is no name'),
    ({"journal_matches": ["ssh.service"]}, 'fail2ban_jails[0].journal_matches[0] "ssh.service" isn\'t a match'),
    ({"journal_matches": ["_UID=0\nx = y"]}, "fail2ban_jails[0].journal_matches[0]"),
    ({"journal_matches": ["_UID=%(x)s"]}, "fail2ban_jails[0].journal_matches[0]"),
    ({"ports": ["22", "ssh"]}, 'fail2ban_jails[0].ports[1] "ssh" isn\'t a port'),
    ({"ports": ["0"]}, "isn't a port"),
    ({"ports": ["65536"]}, "isn't a port"),
    ({"ports": ["9-7"]}, "isn't a port"),
    ({"ports": ["22}; x"]}, "isn't a port"),
    ({"max_retry": 0}, "fail2ban_jails[0].max_retry 0 is too little; write 1 or more."),
    ({"find_time": 0}, "fail2ban_jails[0].find_time 0 is too little; write 1 seconds or more."),
    ({"ban_time": 0}, "fail2ban_jails[0].ban_time 0 is too little; write 1 seconds or more, or -1 for ever."),
    ({"ban_time": -2}, "fail2ban_jails[0].ban_time -2 is too little"),
    ({"max_ban_time": -1}, "fail2ban_jails[0].max_ban_time -1 is too little"),
]


@pytest.mark.parametrize(("changes", "sentence"), BAD, ids=range(len(BAD)))
def test_a_bad_jail_is_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(HostError) as error:
        jails([jail(**changes)])
    assert sentence in str(error.value)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


BAD_FILTERS: list[tuple[dict[str, Any], str]] = [
    ({"name": "../x"}, 'fail2ban_filters[0].name "../x" is no name'),
    ({"identifier": "a b"}, "fail2ban_filters[0].identifier \"a b\" isn't a program's name"),
    ({"fail_regexes": []}, 'fail2ban_filters[0].fail_regexes of "door" is empty'),
    ({"fail_regexes": ["a <ADDR>\nb"]}, "fail2ban_filters[0].fail_regexes[0] is more than one line"),
    ({"ignore_regexes": [" "]}, "fail2ban_filters[0].ignore_regexes[0] is empty"),
    ({"journal_matches": []}, "so anybody's lines would count"),
    ({"journal_matches": ["nonsense"]}, 'fail2ban_filters[0].journal_matches[0] "nonsense"'),
]


@pytest.mark.parametrize(("changes", "sentence"), BAD_FILTERS, ids=range(len(BAD_FILTERS)))
def test_a_bad_filter_is_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(HostError) as error:
        filters([filter_(**changes)])
    assert sentence in str(error.value)
    assert str(error.value).endswith(".")


def test_names_are_there_once() -> None:
    with pytest.raises(HostError, match=re.escape('fail2ban_jails[1].name "a" is there twice')):
        jails([jail("a"), jail("a")])
    with pytest.raises(HostError, match=re.escape('fail2ban_filters[1].name "a" is there twice')):
        filters([filter_("a"), filter_("a")])


def test_a_network_with_bits_behind_its_prefix_is_refused() -> None:
    with pytest.raises(
        HostError, match=re.escape('fail2ban_ignored_networks[1] is "10.0.0.5/8", which has host bits set')
    ) as error:
        networks(["::1", "10.0.0.5/8"], "fail2ban_ignored_networks")
    assert "write 10.0.0.0/8 for the network" in str(error.value)
    with pytest.raises(HostError, match="or an address, not a name"):
        networks(["gateway.example.com"], "fail2ban_ignored_networks")


NETWORKS = st.one_of(
    st.builds(
        lambda number, prefix: str(ipaddress.IPv4Network((number >> (32 - prefix) << (32 - prefix), prefix))),
        st.integers(0, 2**32 - 1),
        st.integers(1, 32),
    ),
    st.builds(
        lambda number, prefix: str(ipaddress.IPv6Network((number >> (128 - prefix) << (128 - prefix), prefix))),
        st.integers(0, 2**128 - 1),
        st.integers(1, 128),
    ),
)


@given(st.lists(NETWORKS, max_size=12))
@settings(max_examples=50, deadline=None)
def test_no_ignored_address_is_lost_and_nft_takes_the_list(texts: list[str]) -> None:
    found = networks(texts, "x")
    for text in texts:
        network = ipaddress.ip_network(text)
        assert any(network.version == one.version and network.subnet_of(one) for one in found)  # type: ignore[arg-type]
    # nft refuses elements that overlap.
    assert not any(a.version == b.version and a.overlaps(b) for a in found for b in found if a != b)
    assert networks([str(network) for network in found], "x") == found


@given(st.lists(st.tuples(st.integers(1, 65535), st.integers(0, 5)), max_size=12))
@settings(max_examples=50, deadline=None)
def test_ports_are_kept_and_dont_overlap(ranges: list[tuple[int, int]]) -> None:
    texts = [f"{first}-{min(65535, first + more)}" if more else str(first) for first, more in ranges]
    (found,) = jails([jail(ports=texts)])
    kept = [(int(first), int(last or first)) for first, _, last in (text.partition("-") for text in found.ports)]
    wanted = {port for first, more in ranges for port in range(first, min(65535, first + more) + 1)}
    assert {port for first, last in kept for port in range(first, last + 1)} == wanted
    assert all(a[1] < b[0] for a, b in pairwise(kept))


def test_units_of_matches_are_found() -> None:
    matches = [["_SYSTEMD_UNIT=ssh.service", "_UID=0"], ["_SYSTEMD_SLICE=system-ssh.slice"], ["X_SYSTEMD_UNIT=no"]]
    assert units(matches) == ["ssh.service"]


UNDERSTOOD: dict[str, Any] = {
    "maxretry": "5",
    "findtime": "600",
    "bantime": "3600",
    "bantime.maxtime": "604800",
    "bantime.increment": "True",
    "actions": [ACTION],
    "journalmatch": [["_UID=0"]],
    "ignoreip": ["10.0.0.0/8", "::1"],
    "usedns": "no",
    "ignorecommand": "test -n x",
    f"action {ACTION}": {"actionban": "nft add"},
}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (UNDERSTOOD, []),
        (None, [("enabled", "false", "true")]),
        ({**UNDERSTOOD, "maxretry": "99"}, [("maxretry", "99", "5")]),
        ({**UNDERSTOOD, "bantime.increment": "False"}, [("bantime.increment", "False", "True")]),
        ({**UNDERSTOOD, "actions": ["ufw"]}, [("action", "ufw", ACTION)]),
        ({**UNDERSTOOD, "journalmatch": []}, [("journalmatch", "nothing", "['_UID=0']")]),
        # Not only what the role's variables say: whatever Fail2Ban tells of a jail.
        ({**UNDERSTOOD, "ignoreip": ["0.0.0.0/0"]}, [("ignoreip", "0.0.0.0/0", "10.0.0.0/8 ::1")]),
        ({**UNDERSTOOD, "usedns": "yes"}, [("usedns", "yes", "no")]),
        # One setting that changes several properties.
        (
            {**UNDERSTOOD, "usedns": "yes", "bantime": "1"},
            [("bantime", "1", "3600"), ("usedns", "yes", "no")],
        ),
        ({**UNDERSTOOD, "ignorecommand": "/bin/true"}, [("ignorecommand", "/bin/true", "test -n x")]),
        (
            {**UNDERSTOOD, f"action {ACTION}": {"actionban": "true"}},
            [("action", "actionban: true", "actionban: nft add")],
        ),
    ],
)
def test_another_file_that_wins_is_seen(found: dict[str, Any] | None, said: list[tuple[str, str, str]]) -> None:
    assert overruled(found, UNDERSTOOD) == said


def test_the_file_that_wins_is_the_last_one_that_says_it() -> None:
    own = "jail.d/postern-sshd.local"
    texts = [
        ("jail.local", "[sshd]\nmaxretry = 3\n"),
        (own, "[sshd]\nmaxretry = 5\n"),
        ("jail.d/x.local", "[web]\nmaxretry = 7\n[sshd]\nbantime = 1\n"),
        ("jail.d/broken.local", "nonsense"),
        ("jail.d/zz.local", "[sshd]\nmaxretry = 9\n"),
    ]
    assert culprit(texts, "sshd", "maxretry", own) == ("jail.d/zz.local", "9")
    assert culprit(texts, "sshd", "findtime", own) == ("", "")


def test_only_what_differs_is_shown() -> None:
    wanted = {"a": {"maxretry": "5", "failregex": ["x", "y"], "action b": {"actionban": "p", "name": "a"}}}
    assert differences(wanted, {"a": dict(wanted["a"]), "others": {}}) == ([], [])
    assert differences(wanted, None) == (["Fail2Ban doesn't run"], ["Fail2Ban runs"])
    assert differences(wanted, {"others": {}}) == (["a isn't active"], ["a is active"])
    running = {"a": {**wanted["a"], "maxretry": "9", "failregex": ["x"]}}
    assert differences(wanted, running) == (
        ["a failregex: x", "a maxretry: 9"],
        ["a failregex: x", "a failregex: y", "a maxretry: 5"],
    )


def test_a_refusal_names_the_jail_and_no_scratch_folder() -> None:
    assert refusal({"jails": {}}, "/run/x") == ""
    assert refusal({"error": "Bad thing in /run/x/jail.d/a.local.\n"}, "/run/x") == "Bad thing in jail.d/a.local"
    assert refusal({"error": "No\nregex", "jail": "a", "command": []}, "/run/x") == "jail 'a': No regex"


def test_the_roles_own_filters_are_sound() -> None:
    own = yaml.safe_load((ROOT / "roles" / "fail2ban" / "vars" / "main.yml").read_text())["fail2ban_own_filters"]
    found = filters([{"ignore_regexes": [], **item} for item in own])
    assert set(found) == {"haproxy-logons"}
    for item in found.values():
        # Anchored from the beginning of the message to the result of the logon, with nothing that a client chose in it.
        assert all(regex.startswith("client=<ADDR> client_port=") and '"' not in regex for regex in item.fail_regexes)
