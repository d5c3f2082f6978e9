"""What the role says to sshd, what others say, and which of it counts. Sshd itself is asked in the lab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.postern.mail_gateway.plugins.module_utils.host.errors import HostError
from ansible_collections.postern.mail_gateway.plugins.module_utils.sshd.configuration import (
    ALGORITHMS,
    DROP_IN,
    Entry,
    Wanted,
    checked_settings,
    drop_in,
    entries,
    keywords,
    older_clients_lose,
    openssh_version,
    shut_out,
    socket_drop_in,
    spoiled,
    strong_moduli,
)

DEBIAN_12, DEBIAN_13 = (9, 2), (10, 0)
NEWEST = {name: [*names, "something-weak"] for name, names in ALGORITHMS.values()}


def wanted(**changes: Any) -> Wanted:
    values: dict[str, Any] = {
        "ports": [22],
        "listen_addresses": [],
        "root_logon": "key",
        "authorized_keys": [],
        "sftp_accounts": [],
        "settings": {},
        "matches": [],
    }
    return Wanted(**{**values, **changes})


def text(*, passwords: bool = False, **changes: Any) -> str:
    return drop_in(wanted(**changes), ["/etc/ssh/ssh_host_ed25519_key"], NEWEST.__getitem__, DEBIAN_13, passwords)


def test_passwords_are_off() -> None:
    lines = text().splitlines()
    for line in ("PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password"):
        assert line in lines
    assert "PermitRootLogin no" in text(root_logon="none").splitlines()


def test_passwords_are_left_alone_until_a_key_has_worked() -> None:
    assert not {"passwordauthentication", "kbdinteractiveauthentication"} & set(keywords(text(passwords=True)))


def test_only_algorithms_that_this_openssh_knows_are_asked_for() -> None:
    older = {**NEWEST, "kex": ["curve25519-sha256", "sntrup761x25519-sha512@openssh.com"]}
    said = drop_in(wanted(), ["/k"], older.__getitem__, DEBIAN_12, False)
    assert "KexAlgorithms sntrup761x25519-sha512@openssh.com\n" in said
    assert "something-weak" not in text()


def test_older_clients_get_their_key_exchange_last_and_only_when_asked_for() -> None:
    known = {**NEWEST, "kex": [*NEWEST["kex"], "curve25519-sha256"]}
    said = drop_in(wanted(older_clients=True), ["/k"], known.__getitem__, DEBIAN_13, False)
    assert f"KexAlgorithms {','.join(ALGORITHMS['KexAlgorithms'][1])},curve25519-sha256\n" in said
    assert "curve25519-sha256\n" not in drop_in(wanted(), ["/k"], known.__getitem__, DEBIAN_13, False)


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        ("curve25519-sha256,mlkem768x25519-sha256", "mlkem768x25519-sha256", True),
        ("curve25519-sha256@libssh.org", "mlkem768x25519-sha256", True),
        ("curve25519-sha256", "mlkem768x25519-sha256,curve25519-sha256", False),
        ("mlkem768x25519-sha256", "mlkem768x25519-sha256", False),
    ],
)
def test_the_run_that_takes_older_clients_their_key_exchange_is_known(before: str, after: str, lost: bool) -> None:
    assert older_clients_lose({"kexalgorithms": [before]}, {"kexalgorithms": [after]}) == lost
    assert not older_clients_lose({}, {"kexalgorithms": [after]})


EXEMPT = ["2001:db8:a::/64", "198.51.100.7", "198.51.100.0/24"]


@pytest.mark.parametrize(("version", "there"), [(DEBIAN_12, False), ((9, 7), False), ((9, 8), True), (DEBIAN_13, True)])
def test_exempt_networks_are_written_for_an_openssh_that_has_penalties(version: tuple[int, int], there: bool) -> None:
    said = drop_in(wanted(penalty_exempt_networks=EXEMPT), ["/k"], NEWEST.__getitem__, version, False)
    listed = "198.51.100.0/24,2001:db8:a::/64,::ffff:198.51.100.0/120"
    assert (f"PerSourcePenaltyExemptList {listed}" in said.splitlines()) == there
    assert ("penalty" in said.lower()) == there


def test_without_exempt_networks_penalties_are_left_as_they_are() -> None:
    assert "penalt" not in text().lower()


@pytest.mark.parametrize("version", [DEBIAN_12, DEBIAN_13])
def test_an_exempt_network_that_is_none_is_named(version: tuple[int, int]) -> None:
    with pytest.raises(HostError) as error:
        drop_in(wanted(penalty_exempt_networks=["10.0.0.5/8"]), ["/k"], NEWEST.__getitem__, version, False)
    assert str(error.value) == (
        'sshd_penalty_exempt_networks[0] is "10.0.0.5/8", which has host bits set; write 10.0.0.0/8 for the network or '
        "10.0.0.5 for the one host."
    )


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("OpenSSH_9.2p1 Debian-2+deb12u7, OpenSSL 3.0.17 1 Jul 2025\n", (9, 2)),
        ("OpenSSH_10.0p2 Debian-7, OpenSSL 3.5.4 30 Sep 2025\n", (10, 0)),
        ("unknown option -- V\nOpenSSH_8.9p1 Ubuntu-3ubuntu0.13, OpenSSL 3.0.2\nusage: sshd [-46DdeiqTt]\n", (8, 9)),
        ("sshd: nothing\n", (0, 0)),
    ],
)
def test_the_version_is_found_in_what_sshd_prints(said: str, version: tuple[int, int]) -> None:
    assert openssh_version(said) == version


def test_algorithms_in_the_settings_replace_ours() -> None:
    said = text(settings={"ciphers": ["aes256-ctr", "aes128-ctr"]})
    assert [line for line in said.splitlines() if line.lower().startswith("ciphers")] == [
        "ciphers aes256-ctr,aes128-ctr"
    ]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"PasswordAuthentication": True}, "logons are by key alone"),
        ({"SkeyAuthentication": True}, "logons are by key alone"),
        ({"permitrootlogin": "yes"}, "use sshd_root_logon"),
        ({"Match": "all"}, "use sshd_matches"),
        ({"PerSourcePenaltyExemptList": "10.0.0.0/8"}, "use sshd_penalty_exempt_networks"),
        ({"MaxAuthTries": "3\nPasswordAuthentication yes"}, "is not a setting"),
        ({"MaxAuthTries 3\nPasswordAuthentication": "yes"}, "is not a setting"),
        ({"Banner": ""}, "is not a setting"),
    ],
)
def test_settings_that_may_not_be_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(HostError, match=sentence):
        checked_settings(settings, "sshd_settings")


def test_a_match_block_cannot_smuggle_lines() -> None:
    with pytest.raises(HostError, match=r"sshd_matches\[0\].match"):
        text(matches=[{"match": "User a\nPasswordAuthentication yes", "settings": {"X11Forwarding": False}}])


def test_blocks_end_with_the_file() -> None:
    said = text(sftp_accounts=[{"name": "drop", "keys": []}], authorized_keys=[{"user": "a", "exclusive": True}])
    assert said.endswith("\nMatch all\n")
    assert said.index("Match User drop") < said.index("Match User a\n")
    assert "Match" not in text()


def test_sftp_accounts_get_files_and_nothing_else() -> None:
    said = text(sftp_accounts=[{"name": "drop", "keys": []}, {"name": "scan", "keys": []}])
    block = said.partition("Match User drop,scan\n")[2].partition("\n\n")[0]
    assert {line.strip() for line in block.splitlines()} == {
        "ChrootDirectory /srv/sftp/%u",
        "ForceCommand internal-sftp -d /files",
        "AuthorizedKeysFile /etc/ssh/authorized_keys.d/%u",
        "AuthenticationMethods publickey",
        "DisableForwarding yes",
        "PermitTTY no",
        "PermitUserRC no",
    }


def test_the_socket_listens_where_sshd_should() -> None:
    said = socket_drop_in(wanted(ports=[22, 2222], listen_addresses=["192.0.2.1", "2001:db8::1"])).splitlines()
    assert said[2:] == [
        "ListenStream=",
        *("ListenStream=192.0.2.1:22", "ListenStream=[2001:db8::1]:22"),
        *("ListenStream=192.0.2.1:2222", "ListenStream=[2001:db8::1]:2222"),
        "FreeBind=yes",
    ]
    assert socket_drop_in(wanted()).splitlines()[2:] == ["ListenStream=", "ListenStream=22"]


def test_weak_moduli_go_and_some_always_stay() -> None:
    weak, strong = "2023 2 6 100 2047 2 AB\n", "2023 2 6 100 3071 2 AB\n"
    assert strong_moduli(f"# moduli\n{weak}{strong}{weak}") == f"# moduli\n{strong}"
    assert strong_moduli(weak) == weak


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sshd_config.d").mkdir()
    (tmp_path / "sshd_config").write_text(
        "# main\nInclude sshd_config.d/*.conf\nUsePAM=yes\nMatch User anna\n  PasswordAuthentication yes\n"
    )
    (tmp_path / "sshd_config.d" / "50-cloud.conf").write_text("\tPasswordAuthentication   yes\n")
    (tmp_path / "sshd_config.d" / "10-first.conf").write_text('Match Group "x"\nPort 1\nMatch all\nPort 2\n')
    return tmp_path


def test_entries_come_in_reading_order_with_their_places(folder: Path) -> None:
    found = [
        (Path(entry.file).name, entry.line, entry.keyword, entry.value, entry.match)
        for entry in entries(folder / "sshd_config", folder)
    ]
    assert found == [
        ("10-first.conf", 2, "Port", "1", 'Group "x"'),
        ("10-first.conf", 4, "Port", "2", ""),
        ("50-cloud.conf", 1, "PasswordAuthentication", "yes", ""),
        ("sshd_config", 3, "UsePAM", "yes", ""),
        ("sshd_config", 5, "PasswordAuthentication", "yes", "User anna"),
    ]


def test_a_file_that_includes_itself_ends(folder: Path) -> None:
    (folder / "sshd_config.d" / "90-loop.conf").write_text("Include sshd_config.d/90-loop.conf\nUseDNS no\n")
    assert len(entries(folder / "sshd_config", folder)) < 50


def entry(file: str, keyword: str, value: str, match: str = "") -> Entry:
    return Entry(file, 1, keyword, value, match)


OURS = str(DROP_IN)


def test_the_file_that_spoils_a_setting_is_named() -> None:
    before = entry("/a", "PasswordAuthentication", "yes")
    found = [
        before,
        entry(OURS, "PasswordAuthentication", "no"),
        entry("/b", "PasswordAuthentication", "yes", "User a"),
    ]
    assert spoiled("passwordauthentication", found, False) == before
    assert spoiled("passwordauthentication", found, True) == found[2]
    assert spoiled("port", [entry(OURS, "Port", "2222"), entry("/m", "Port", "22")], False) == entry("/m", "Port", "22")
    older = entry("/o", "ChallengeResponseAuthentication", "yes")
    assert spoiled("kbdinteractiveauthentication", [older], False) == older
    assert "'PasswordAuthentication yes', in the block 'Match User a'" in str(found[2])


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, ""),
        ({"allowusers": ["anna", "op*"]}, ""),
        ({"allowusers": ["operator@10.0.0.1"]}, ""),  # where from is for the new connection to prove
        ({"allowusers": ["anna"]}, "AllowUsers"),
        ({"allowgroups": ["wheel sudo"]}, ""),
        ({"allowgroups": ["wheel"]}, "AllowGroups"),
        ({"denyusers": ["oper?tor"]}, "DenyUsers"),
        ({"denyusers": ["operator@10.0.0.1"]}, ""),
        ({"denygroups": ["sudo"]}, "DenyGroups"),
    ],
)
def test_lists_that_keep_the_account_out_are_found(settings: dict[str, list[str]], reason: str) -> None:
    said = shut_out("operator", ["operator", "sudo"], settings)
    assert said.startswith(reason)
    assert bool(said) == bool(reason)
