"""sshd on a host below a folder: what should be, what it comes to, and how it goes into use. sshd is a stand-in."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.postern.mail_gateway.plugins.module_utils.host.errors import HostError
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.files import open_folder
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.ssh_client import Origin
from ansible_collections.postern.mail_gateway.plugins.module_utils.rollback import guard as guard_module
from ansible_collections.postern.mail_gateway.plugins.module_utils.rollback import program
from ansible_collections.postern.mail_gateway.plugins.module_utils.rollback.guard import RollbackGuard
from ansible_collections.postern.mail_gateway.plugins.module_utils.sshd.activation import Activation
from ansible_collections.postern.mail_gateway.plugins.module_utils.sshd.boot import Boot
from ansible_collections.postern.mail_gateway.plugins.module_utils.sshd.configuration import Wanted, effective
from ansible_collections.postern.mail_gateway.plugins.module_utils.sshd.desired import Desired
from ansible_collections.postern.mail_gateway.plugins.module_utils.sshd.effect import Effect
from ansible_collections.postern.mail_gateway.plugins.module_utils.sshd.host import MARK, SshdHost
from ansible_collections.postern.mail_gateway.plugins.module_utils.sshd.ways import ways

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1V5UZ1O8L7qz4n0m6y2cV2k0yq3n8mE9oQm7hJ3sWx me"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBTn2SAx0jyz1rWkD1S6c6FoSqCS4bp1pIYRv5nP3rbb other"
ALIASES = dict.fromkeys(("skeyauthentication", "challengeresponseauthentication"), "kbdinteractiveauthentication")
DEFAULTS = {
    "passwordauthentication": "yes", "kbdinteractiveauthentication": "yes", "permitemptypasswords": "no",
    "pubkeyauthentication": "yes", "permitrootlogin": "without-password", "authenticationmethods": "any",
    "gssapiauthentication": "no", "hostbasedauthentication": "no",
    "authorizedkeysfile": ".ssh/authorized_keys .ssh/authorized_keys2",
    "pubkeyacceptedalgorithms": "ssh-ed25519,rsa-sha2-512",
}  # fmt: skip
PASSWD = """root:x:0:0::/root:/bin/bash
daemon:x:1:1::/usr/sbin:/usr/sbin/nologin
anna:x:1001:1001::/home/anna:/bin/bash
ben:x:1002:1002::/home/ben:/bin/bash
tunnel:x:1003:1003::/home/tunnel:/usr/sbin/nologin
"""
ORIGIN = Origin("192.0.2.9", 50000, "192.0.2.1", 22, "root")
MAIN = "Include sshd_config.d/*.conf\nPasswordAuthentication yes\nKbdInteractiveAuthentication yes\n"


def completed(output: str = "", status: int = 0, error: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess([], status, output, error)


@dataclass
class Machine:
    """What a host's programs answer: an sshd that takes the first value, a systemd that notes what it is told."""

    root: Path
    socket: bool = False
    ports: list[str] = field(default_factory=lambda: ["22 sshd"])
    said: list[tuple[str, ...]] = field(default_factory=list)
    fails: str = ""

    def __call__(self, *arguments: str, data: str | bytes | None = None) -> subprocess.CompletedProcess[str]:
        self.said.append(arguments)
        if self.fails and " ".join(arguments).startswith(self.fails):
            return completed(status=1, error="Job failed.\n")
        match arguments:
            case ("systemctl", "is-active", *_, "ssh.socket"):
                return completed("active\n" if self.socket else "inactive\n", 0 if self.socket else 3)
            case ("systemctl", "is-active", *_):
                return completed("active\n")
            case ("systemctl", "show", *_):
                return completed("0\n")
            case ("/usr/sbin/sshd", "-T", "-f", main, *where):
                if not ways(effective("".join(f"{k} {v}\n" for k, v in self.asked(main, where).items()))):
                    return completed(status=255, error="AuthenticationMethods cannot be satisfied by enabled methods\n")
                return completed("".join(f"{key} {value}\n" for key, value in self.asked(main, where).items()))
            case ("getent", "passwd"):
                return completed((self.root / "etc" / "passwd").read_text())
            case ("ssh-keygen", "-l", "-f", "-"):
                return completed(status=0 if str(data).startswith("ssh-") else 1)
            case ("ssh-keygen", "-l", *_):
                return completed("4096 SHA256:x (RSA)\n")
            case ("ssh-keygen", "-q", *_, path):
                Path(path).write_text("private\n")
                Path(f"{path}.pub").write_text("public\n")
                return completed()
            case ("ip", "-json", "address"):
                return completed('[{"addr_info": [{"local": "192.0.2.1"}]}]')
            case ("ss", *_):
                lines = (entry.split() for entry in self.ports)
                return completed("".join(f'L 0 0 0.0.0.0:{port} *:* users:(("{name}",1))\n' for port, name in lines))
            case ("systemctl", *_):
                return completed()
        return self.of_openssh(*arguments)

    def of_openssh(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What depends on the version."""
        match arguments:
            case ("/usr/sbin/sshd", "-V"):
                return completed(error="OpenSSH_9.2p1 Debian\n")
            case ("ssh", "-Q", _):
                return completed(
                    "sntrup761x25519-sha512\naes256-gcm@openssh.com\nhmac-sha2-512-etm@openssh.com\nssh-ed25519\n"
                )
        raise AssertionError(arguments)

    def asked(self, main: str, where: list[str]) -> dict[str, str]:
        """What sshd -T says, for the user of -C."""
        user = next((part[5:] for part in ",".join(where).split(",") if part.startswith("user=")), "")
        return {**DEFAULTS, **self.effective(Path(main), user)}

    def effective(self, main: Path, user: str) -> dict[str, str]:
        """The first value of each keyword in blocks that are for the user or for all, then the first outside."""
        lines = [line for path in [main] for line in self.lines(path)]
        found: dict[str, str] = {}
        for inside in (True, False):
            criteria = ""
            for keyword, value in lines:
                if keyword == "match":
                    criteria = value
                elif criteria in ("all", f"User {user}") if inside else not criteria:
                    found.setdefault(ALIASES.get(keyword, keyword), value)
        return found

    def lines(self, path: Path) -> list[tuple[str, str]]:
        """Keywords in lower case with their values, without comments, those of included files among them."""
        found = []
        for line in path.read_text().splitlines():
            keyword, _, value = line.partition("#")[0].strip().partition(" ")
            if keyword == "Include":
                for other in sorted(path.parent.glob(value) if value[0] != "/" else Path("/").glob(value[1:])):
                    found += [*self.lines(other), ("match", "")]
            elif value:
                found.append((keyword.lower(), value.strip()))
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    root = tmp_path / "root"
    (root / "etc" / "ssh" / "sshd_config.d").mkdir(parents=True)
    (root / "etc" / "ssh" / "sshd_config").write_text(MAIN)
    (root / "etc" / "passwd").write_text(PASSWD)
    (root / "etc" / "shadow").write_text("root:*:1::::::\ndaemon:*:1::::::\nanna:!:1::::::\nben:$y$x:1::::::\n")
    for kind in ("ed25519", "rsa"):
        (root / "etc" / "ssh" / f"ssh_host_{kind}_key").write_text("private\n")
    return Machine(root)


@pytest.fixture
def host(machine: Machine, tmp_path: Path) -> SshdHost:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return SshdHost(scratch, ORIGIN, machine.root, machine)


def wanted(**more: Any) -> Wanted:
    values: dict[str, Any] = {
        "ports": [], "listen_addresses": [], "root_logon": "key", "authorized_keys": [], "sftp_accounts": [],
        "settings": {}, "matches": [], "older_clients": False, "penalty_exempt_networks": [],
    }  # fmt: skip
    return Wanted(**{**values, **more})


def desired(host: SshdHost, **more: Any) -> Desired:
    return Desired(host, wanted(**more), ["ed25519", "rsa"], print)


def keys(user: str = "root", **more: Any) -> dict[str, Any]:
    return {"authorized_keys": [{"user": user, "keys": [KEY], "exclusive": False, **more}]}


# --- what should be ---------------------------------------------------------------------------------------------------


def test_all_files_lie_below_the_root_and_a_key_file_of_ours_for_nobody_goes(host: SshdHost, machine: Machine) -> None:
    host.keys.mkdir()
    (host.keys / "left").write_text(f"{MARK}\n{KEY}\n")
    files, text = desired(host, **keys()).files(passwords=False)
    assert all(file.path.is_relative_to(machine.root) for file in files)
    assert {file.path.name: file.content is not None for file in files} == {
        "00-postern.conf": False, "root": True, "left": False,
    }  # fmt: skip
    assert [file.content for file in files if file.path == host.drop_in] == [text.encode()]
    assert not host.drop_in.exists()


def test_a_key_file_without_our_mark_stays(host: SshdHost) -> None:
    host.keys.mkdir()
    (host.keys / "ben").write_text(f"{KEY}\n")
    assert [file.path.name for file in desired(host, **keys()).key_files()] == ["root"]


def test_a_key_file_of_others_isnt_written_over_unless_all_its_keys_stay(host: SshdHost) -> None:
    host.keys.mkdir()
    (host.keys / "root").write_text(f"# the backup's\n{OTHER}\n{KEY}\n")
    with pytest.raises(HostError, match=r"root isn't this role's, and 1 of its keys would be lost; put them into"):
        desired(host, **keys()).key_files()
    (host.keys / "root").write_text(f"{KEY}\n")
    [file] = desired(host, **keys()).key_files()
    assert file.content == f"{MARK}\n{KEY}\n".encode()


def test_what_0_1_0_made_gets_its_mark_by_one_run(host: SshdHost, capsys: pytest.CaptureFixture[str]) -> None:
    """0.1.0 owned the whole folder: it wrote key lines alone, and a drop-in that doesn't speak of marks."""
    host.keys.mkdir()
    host.drop_in.write_text(f"{MARK}\n# It sorts first, and sshd takes the first value that it sees.\n\n")
    (host.keys / "root").write_text(f"{OTHER}\n")
    (host.keys / "ben").write_text(f"{OTHER}\n")
    files, _text = desired(host, **keys()).files(passwords=False)
    for file in files:
        file.stage()
        file.put()
    assert (host.keys / "root").read_text() == f"{MARK}\n{KEY}\n"
    # It may be somebody else's since then: it stays, and a person is told.
    assert (host.keys / "ben").exists()
    assert "ben lets 'ben' log on and isn't marked as this role's" in capsys.readouterr().out
    assert not [file for file in desired(host, **keys()).files(passwords=False)[0] if file.differs()]
    assert not capsys.readouterr().out


def test_a_missing_host_key_is_made_and_is_a_secret(host: SshdHost) -> None:
    (host.folder / "ssh_host_rsa_key").unlink()
    made = {file.path.name: (file.mode, file.secret) for file in desired(host).host_keys()[1]}
    assert made == {"ssh_host_rsa_key": (0o600, True), "ssh_host_rsa_key.pub": (0o644, False)}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (keys("../root"), 'sshd_authorized_keys[0].user is "../root", but must be the name of an account'),
        (keys("nobody-here"), "there is no account 'nobody-here' on this host"),
        (
            {"authorized_keys": [{"user": "root", "keys": ["nonsense"]}]},
            'sshd_authorized_keys[0].keys[0] is "nonsense", but must be a public key',
        ),
        ({"authorized_keys": [{"user": "root", "keys": [], "exclusive": True}]}, "it would have no key left"),
        ({"authorized_keys": [{"user": "root", "keys": [KEY]}] * 2}, "the account 'root' is listed twice"),
    ],
)
def test_keys_that_cant_be_are_refused(host: SshdHost, more: dict[str, Any], sentence: str) -> None:
    with pytest.raises(HostError) as caught:
        desired(host, **more).key_files()
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"ports": [0]}, "sshd_ports must hold ports from 1 to 65535."),
        ({"ports": [443]}, "port 443 is taken by haproxy on this host"),
        ({"listen_addresses": ["192.0.2.7"]}, "192.0.2.7 is not an address of this host"),
        ({"listen_addresses": ["here"]}, 'sshd_listen_addresses[0] is "here", but must be an address'),
    ],
)
def test_addresses_and_ports_that_others_have_are_refused(
    host: SshdHost, machine: Machine, more: dict[str, Any], sentence: str
) -> None:
    machine.ports.append("443 haproxy")
    with pytest.raises(HostError) as caught:
        desired(host, **more).check_addresses()
    assert sentence in str(caught.value)


def test_a_folder_that_an_umask_closed_is_seen_and_opened(host: SshdHost) -> None:
    """With the folder closed the keys in it don't count, while passwords go off."""
    assert desired(host).closed_folders() == []
    host.keys.mkdir()
    host.keys.chmod(0o750)
    assert desired(host).closed_folders() == [host.keys]
    open_folder(host.keys)
    assert desired(host).closed_folders() == []


@pytest.mark.parametrize("umask", [0o027, 0o077])
def test_keys_are_readable_for_sshd_whatever_the_umask(host: SshdHost, umask: int) -> None:
    before = os.umask(umask)
    try:
        for file in desired(host, **keys()).key_files():
            file.stage()
            file.put()
    finally:
        os.umask(before)
    assert (host.keys.stat().st_mode & 0o777, (host.keys / "root").stat().st_mode & 0o777) == (0o755, 0o644)
    assert desired(host).closed_folders() == []


# --- what it comes to -------------------------------------------------------------------------------------------------


def test_a_configuration_that_counts_is_taken_and_nothing_is_written(host: SshdHost) -> None:
    text = desired(host).configuration(passwords=False, host_keys=[])
    Effect(host).check(text, passwords=False)
    assert not host.drop_in.exists()
    assert Effect(host).passwords_on()


def test_a_file_that_wins_is_named(host: SshdHost) -> None:
    (host.drop_in.parent / "00-a.conf").write_text("PasswordAuthentication yes\n")
    text = desired(host).configuration(passwords=False, host_keys=[])
    with pytest.raises(
        HostError, match=re.escape("00-a.conf line 1 ('PasswordAuthentication yes') wins over this role")
    ):
        Effect(host).check(text, passwords=False)


def test_a_main_file_that_doesnt_include_ours_is_told(host: SshdHost) -> None:
    host.main.write_text("PasswordAuthentication no\n")
    text = desired(host).configuration(passwords=False, host_keys=[])
    with pytest.raises(HostError, match="so nothing of this role would count"):
        Effect(host).check(text, passwords=False)


def test_sshd_that_refuses_is_quoted_with_the_hosts_own_names(host: SshdHost, machine: Machine) -> None:
    machine.fails = "/usr/sbin/sshd -T"
    with pytest.raises(HostError, match="sshd refuses the new configuration: Job failed; nothing was changed"):
        Effect(host).check("X y\n", passwords=False)
    assert Effect(host).now() == {}


@pytest.mark.parametrize(
    ("whole", "sentence"),
    [
        ({"pubkeyauthentication": ["no"]}, "PubkeyAuthentication is off for it in a Match block"),
        ({"pubkeyauthentication": ["yes"], "permitrootlogin": ["no"]}, "sshd_root_logon is none"),
        ({"pubkeyauthentication": ["yes"], "allowusers": ["anna"]}, "AllowUsers (anna) leaves it out"),
    ],
)
def test_who_would_be_shut_out_is_told(host: SshdHost, whole: dict[str, list[str]], sentence: str) -> None:
    with pytest.raises(HostError) as caught:
        Effect(host).check_account(whole)
    assert f"The account 'root', which Ansible uses, could not log on any more, since {sentence}" in str(caught.value)


# --- everybody else ---------------------------------------------------------------------------------------------------


def key_of(machine: Machine, path: str, *lines: str) -> None:
    file = machine.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))


def everybody(host: SshdHost, *accepted: str, **more: Any) -> list[str]:
    """Ask for everybody what the role's change would take; return the warnings."""
    said: list[str] = []
    given = desired(host, **more)
    files, text = given.files(passwords=False)
    effect = Effect(host)
    effect.check(text, passwords=False)
    effect.check_everybody(given.wanted, [file for file in files if file.differs()], accepted, said.append)
    return said


LOCKED_OUT = [
    pytest.param(
        {"60-keys.conf": "AuthorizedKeysFile /etc/ssh/people/%u"}, "etc/ssh/people/anna", {},
        r"anna \(a key in \S*/etc/ssh/people/anna would count no more\)",
        id="keys in another file",
    ),
    pytest.param(
        {"60-keys.conf": "AuthorizedKeysFile .ssh/of_%U"}, "home/anna/.ssh/of_1001", {}, r"anna \(a key in",
        id="keys in a file that is named by the account's number",
    ),
    pytest.param(
        {"60-2fa.conf": "Match User anna\nAuthenticationMethods publickey,keyboard-interactive"},
        "home/anna/.ssh/authorized_keys", {},
        r"anna \(sshd would take publickey and keyboard-interactive no more\)",
        id="a second factor",
    ),
    pytest.param(
        {"60-command.conf": "AuthorizedKeysCommand /usr/bin/keys"}, "", {"settings": {"AuthorizedKeysCommand": "none"}},
        r"sshd would no longer go by 'authorizedkeyscommand /usr/bin/keys'",
        id="keys that a command brings",
    ),
    pytest.param(
        {}, "home/anna/.ssh/authorized_keys", {"settings": {"AllowUsers": "root"}}, r"anna \(AllowUsers \(root\)",
        id="a list of accounts",
    ),
    pytest.param(
        {}, "home/anna/.ssh/authorized_keys", {"settings": {"PubkeyAcceptedAlgorithms": ["rsa-sha2-512"]}},
        r"anna \(a key in", id="a kind of key",
    ),
    pytest.param(
        {}, "home/tunnel/.ssh/authorized_keys",
        {"matches": [{"match": "User tunnel", "settings": {"PubkeyAuthentication": False}}]},
        r"tunnel \(sshd would take publickey no more\)",
        id="an account without a shell",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("files", "keys_of", "more", "sentence"), LOCKED_OUT)
def test_who_has_a_key_or_a_second_factor_is_not_locked_out_without_being_named(
    host: SshdHost, machine: Machine, files: dict[str, str], keys_of: str, more: dict[str, Any], sentence: str
) -> None:
    for name, text in files.items():
        (host.drop_in.parent / name).write_text(f"{text}\n")
    if keys_of:
        key_of(machine, keys_of, OTHER)
    with pytest.raises(HostError, match=sentence) as caught:
        everybody(host, **more)
    assert str(caught.value).endswith("list the accounts in sshd_locked_out_accounts.")
    assert "nothing was changed" in str(caught.value)
    everybody(host, "root", "anna", "ben", "tunnel", **more)


@pytest.mark.parametrize(
    "match", ["Address 10.9.8.7", "LocalPort 2222", "Host *.example.test", "User anna Address 10.9.8.7"]
)
def test_who_comes_from_elsewhere_is_not_locked_out_either(host: SshdHost, match: str) -> None:
    """What sshd says of an account is said for one address alone."""
    file = host.drop_in.parent / "60-far.conf"
    file.write_text(f"Match {match}\nAuthenticationMethods publickey,password\n")
    with pytest.raises(HostError, match=re.escape(f"whom the block 'Match {match}' in")) as caught:
        everybody(host)
    assert "nothing was changed" in str(caught.value)
    file.write_text(f"Match {match}\nAuthenticationMethods publickey,password publickey\n")
    everybody(host)


def test_a_key_that_moves_to_the_roles_own_file_is_no_loss(host: SshdHost, machine: Machine) -> None:
    (host.drop_in.parent / "60-keys.conf").write_text("AuthorizedKeysFile /etc/ssh/people/%u\n")
    key_of(machine, "etc/ssh/people/root", KEY)
    everybody(host, **keys())


def test_keys_that_the_variables_take_away_are_no_surprise(host: SshdHost, machine: Machine) -> None:
    key_of(machine, "root/.ssh/authorized_keys", OTHER)
    everybody(host, **keys(exclusive=True))
    everybody(host, root_logon="key")
    host.keys.mkdir()
    (host.keys / "root").write_text(f"{MARK}\n{OTHER}\n{KEY}\n")
    everybody(host, **keys())


def test_who_loses_a_password_is_named(host: SshdHost, machine: Machine) -> None:
    """Ben has one; anna's is locked, and root's is no logon."""
    [said] = everybody(host)
    assert said == (
        "From now on these accounts can't log on with a password: ben. Without a key they can't log on at all: "
        "ben (see sshd_authorized_keys)."
    )
    key_of(machine, "home/ben/.ssh/authorized_keys", OTHER)
    assert everybody(host) == ["From now on these accounts can't log on with a password: ben."]
    host.drop_in.write_text(desired(host).configuration(passwords=False, host_keys=[]))
    assert everybody(host) == []


DOORS = [
    ("Match User anna\n  PasswordAuthentication yes  # for now", "line 2 ('PasswordAuthentication yes # for now', in"),
    ("Match User anna\nSkeyAuthentication yes", "line 2 ('SkeyAuthentication yes', in the block 'Match User anna')"),
    ("Match Address 10.0.0.0/8\nUseDNS no\nKbdInteractiveAuthentication yes", "line 3"),
    ("Match Address 10.0.0.0/8\nPermitEmptyPasswords yes", "line 2"),
    ("Match LocalPort 2222\nPermitRootLogin yes", "line 2"),
    (
        "Match User a\nKbdInteractiveAuthentication yes\nAuthenticationMethods publickey,password keyboard-interactive",
        "line",
    ),
]


@pytest.mark.parametrize(("text", "sentence"), DOORS)
def test_sshd_itself_judges_doors_in_blocks(host: SshdHost, text: str, sentence: str) -> None:
    (host.drop_in.parent / "60-x.conf").write_text(f"{text}\n")
    ours = desired(host).configuration(passwords=False, host_keys=[])
    with pytest.raises(HostError) as caught:
        Effect(host).check(ours, passwords=False)
    assert f"{host.drop_in.parent}/60-x.conf {sentence}" in str(caught.value)
    assert re.search(r"(lets somebody log on without a key|lets root log on)", str(caught.value))
    Effect(host).check(ours, passwords=True)


@pytest.mark.parametrize(
    "text",
    [
        "Match User anna\nX11Forwarding yes",
        "Match User anna\nPasswordAuthentication no",
        "Match User anna\nKbdInteractiveAuthentication yes\nAuthenticationMethods publickey,keyboard-interactive",
        # Outside of blocks the first value counts, and that is ours.
        "PasswordAuthentication yes\nKbdInteractiveAuthentication yes",
        "# Match User anna\n#PasswordAuthentication yes",
    ],
)
def test_what_takes_a_key_besides_is_no_door(host: SshdHost, text: str) -> None:
    (host.drop_in.parent / "60-x.conf").write_text(f"{text}\n")
    # A block of ours ends with our file.
    given = desired(host, matches=[{"match": "User drop", "settings": {"MaxSessions": 2}}])
    Effect(host).check(given.configuration(passwords=False, host_keys=[]), passwords=False)


def test_two_blocks_that_are_a_door_together_are_named(host: SshdHost) -> None:
    """Whoever is in both has the methods of the first one and the switch of the second one."""
    (host.drop_in.parent / "60-x.conf").write_text(
        "Match Group staff\nAuthenticationMethods keyboard-interactive\n"
        "Match User anna\nKbdInteractiveAuthentication yes\nAuthenticationMethods publickey,keyboard-interactive\n"
    )
    sentence = r"The blocks 'Match Group staff' in .* and 'Match User anna' in .* together let somebody log on without"
    with pytest.raises(HostError, match=sentence):
        Effect(host).check(desired(host).configuration(passwords=False, host_keys=[]), passwords=False)


# --- the next boot ----------------------------------------------------------------------------------------------------


def booted(host: SshdHost, machine: Machine, *addresses: str, answer: dict[str, Any]) -> list[tuple[str, ...]]:
    said: list[tuple[str, ...]] = []

    def runs(*arguments: str, data: str | bytes | None = None) -> subprocess.CompletedProcess[str]:
        if arguments[0] == "unshare":
            said.append(tuple(json.loads(str(data))["present"]))
            return completed(json.dumps(answer))
        if arguments[0] == "systemd-run":
            said.append(arguments)
            return completed(status=answer["status"], error="Address not available\n")
        return machine(*arguments, data=data)

    given = wanted(ports=[22], listen_addresses=list(addresses))
    Boot(SshdHost(host.scratch, host.origin, host.root, runs)).refuse(Path("/main"), given)
    return said


def test_each_address_is_missing_once_at_a_boot_that_is_tried(host: SshdHost, machine: Machine) -> None:
    good = {"heard": ["192.0.2.1", "2001:db8::1"], "ended": None, "said": []}
    assert booted(host, machine, "192.0.2.1", "2001:db8::1", answer=good) == [("2001:db8::1",), ("192.0.2.1",)]
    assert booted(host, machine, answer=good) == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"heard": [], "ended": 255, "said": ["fatal: Cannot bind any address."]}, "fatal: Cannot bind any address"),
        ({"heard": ["127.0.0.1"], "ended": None, "said": []}, "it listens on 127.0.0.1"),
    ],
)
def test_a_boot_that_would_end_in_silence_is_refused(
    host: SshdHost, machine: Machine, answer: dict[str, Any], reason: str
) -> None:
    with pytest.raises(HostError) as caught:
        booted(host, machine, "192.0.2.1", "192.0.2.2", answer=answer)
    assert str(caught.value) == (
        "sshd_listen_addresses: at a boot at which 192.0.2.1 comes late sshd would not listen on the others "
        f"({reason}); nothing was changed, leave that address out."
    )


def test_systemd_listens_on_addresses_that_arent_there_yet(host: SshdHost, machine: Machine) -> None:
    machine.socket = True
    [said] = booted(host, machine, "192.0.2.1", answer={"status": 0})
    assert {"--socket-property=FreeBind=yes", "--socket-property=PrivateNetwork=yes"} <= set(said)
    with pytest.raises(HostError, match=r"systemd would not listen for sshd at all \(Address not available\)"):
        booted(host, machine, "192.0.2.1", answer={"status": 1})


def test_an_sshd_that_found_no_address_is_started_again(host: SshdHost) -> None:
    """It ends with 255, after which Debian's unit leaves it ended for ever."""
    files = {file.path: file.content for file in desired(host, listen_addresses=["192.0.2.1"]).files(False)[0]}
    content = files[host.service_drop_in]
    assert content is not None
    assert {"RestartPreventExitStatus=", "Restart=on-failure"} <= set(content.decode().splitlines())
    all_addresses = {file.path: file.content for file in desired(host).files(False)[0]}
    assert all_addresses[host.service_drop_in] is None


@pytest.mark.parametrize("others", [False, True])
def test_a_drop_in_that_goes_takes_its_folder_unless_somebody_uses_it(
    host: SshdHost, machine: Machine, guard: RollbackGuard, others: bool
) -> None:
    machine.ports = ["22 sshd"]
    Activation(host, [22]).apply(changes(host, listen_addresses=["192.0.2.1"]), guard)
    guard.disarm(guard.token)
    folder = host.service_drop_in.parent
    if others:
        (folder / "own.conf").touch()
    Activation(host, [22]).apply(changes(host), guard)
    assert folder.exists() == others


# --- how it goes into use ---------------------------------------------------------------------------------------------


@pytest.fixture
def guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: Machine) -> RollbackGuard:
    units = tmp_path / "units"
    units.mkdir()
    for module in (guard_module, program):
        monkeypatch.setattr(module, "UNITS", units)

    def commands(*arguments: str, **_: object) -> subprocess.CompletedProcess[str]:
        return completed() if arguments[0] == "systemd-run" else machine(*arguments)

    monkeypatch.setattr(guard_module, "run", commands)
    monkeypatch.setattr(program, "run_command", commands)
    return RollbackGuard("sshd", 60, tmp_path / "guard")


def changes(host: SshdHost, **more: Any) -> list[Any]:
    return [file for file in desired(host, **{**keys(), **more}).files(passwords=False)[0] if file.differs()]


def test_what_is_put_in_place_is_armed_first(host: SshdHost, machine: Machine, guard: RollbackGuard) -> None:
    Activation(host, [22]).apply(changes(host), guard)
    assert guard.status() is not None
    assert host.drop_in.exists()
    assert not list(machine.root.rglob("*.postern-new"))
    assert ("systemctl", "restart", "ssh.service") in machine.said
    assert changes(host) == []


@pytest.mark.parametrize("fails", ["systemctl restart ssh.service", "port"])
def test_an_sshd_that_doesnt_take_it_has_the_old_files_back(
    host: SshdHost, machine: Machine, guard: RollbackGuard, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    before = {path: path.read_bytes() for path in machine.root.rglob("*") if path.is_file()}
    machine.fails = fails
    if fails == "port":
        monkeypatch.setattr(Activation, "wait_for_ports", lambda _self: "ssh.service has no port 2222")
    with pytest.raises(HostError, match=r"sshd didn't take the new configuration .*; the old one is back"):
        Activation(host, [2222]).apply(changes(host), guard)
    assert {path: path.read_bytes() for path in machine.root.rglob("*") if path.is_file()} == before
    assert not host.keys.exists()
    assert guard.status() is None


def test_a_command_that_never_ends_is_a_failure_like_any_other(
    host: SshdHost, machine: Machine, guard: RollbackGuard
) -> None:
    def hangs(*arguments: str, data: str | bytes | None = None) -> subprocess.CompletedProcess[str]:
        if arguments[:2] == ("systemctl", "restart"):
            raise HostError("'systemctl' did not end within 120 seconds.")
        return machine(*arguments, data=data)

    slow = SshdHost(host.scratch, host.origin, host.root, hangs)
    with pytest.raises(HostError, match=r"\('systemctl' did not end within 120 seconds\); the old one is back"):
        Activation(slow, [22]).apply(changes(host), guard)
    assert not host.drop_in.exists()
    assert guard.status() is None


def test_without_a_way_back_nothing_is_changed(
    host: SshdHost, machine: Machine, guard: RollbackGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*arguments: str, **_: object) -> subprocess.CompletedProcess[str]:
        return completed(status=1, error="no bus\n") if arguments[0] == "systemd-run" else machine(*arguments)

    monkeypatch.setattr(guard_module, "run", refuses)
    with pytest.raises(HostError, match=r"can't be armed \(no bus\); nothing was changed"):
        Activation(host, [22]).apply(changes(host), guard)
    assert not host.drop_in.exists()
    assert not host.keys.exists()
    assert not list(machine.root.rglob("*.postern-new"))


def test_under_a_socket_the_socket_is_restarted_where_ports_change(
    host: SshdHost, machine: Machine, guard: RollbackGuard
) -> None:
    machine.socket, machine.ports = True, ["2222 systemd"]
    Activation(host, [2222]).apply(changes(host, ports=[2222]), guard)
    assert host.socket_drop_in.exists()
    assert machine.said.index(("systemctl", "daemon-reload")) < machine.said.index(
        ("systemctl", "restart", "ssh.socket")
    )
