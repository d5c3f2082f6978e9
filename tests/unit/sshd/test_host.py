"""sshd on a host below a folder: what should be, what it comes to, and how it goes into use. sshd is a stand-in."""

from __future__ import annotations

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
from ansible_collections.postern.mail_gateway.plugins.module_utils.sshd.configuration import Wanted
from ansible_collections.postern.mail_gateway.plugins.module_utils.sshd.desired import Desired
from ansible_collections.postern.mail_gateway.plugins.module_utils.sshd.effect import Effect
from ansible_collections.postern.mail_gateway.plugins.module_utils.sshd.host import SshdHost

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1V5UZ1O8L7qz4n0m6y2cV2k0yq3n8mE9oQm7hJ3sWx me"
ORIGIN = Origin("192.0.2.9", 50000, "192.0.2.1", 22, "root")
MAIN = "Include /etc/ssh/sshd_config.d/*.conf\nPasswordAuthentication yes\nKbdInteractiveAuthentication yes\n"


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
            case ("/usr/sbin/sshd", "-T", "-f", main, *_):
                return completed("".join(f"{key} {value}\n" for key, value in self.effective(Path(main)).items()))
            case ("/usr/sbin/sshd", "-V"):
                return completed(error="OpenSSH_9.2p1 Debian\n")
            case ("ssh-keygen", "-l", "-f", "-"):
                return completed(status=0 if str(data).startswith("ssh-") else 1)
            case ("ssh-keygen", "-l", *_):
                return completed("4096 SHA256:x (RSA)\n")
            case ("ssh-keygen", "-q", *_, path):
                Path(path).write_text("private\n")
                Path(f"{path}.pub").write_text("public\n")
                return completed()
            case ("ssh", "-Q", _):
                return completed(
                    "sntrup761x25519-sha512\naes256-gcm@openssh.com\nhmac-sha2-512-etm@openssh.com\nssh-ed25519\n"
                )
            case ("ip", "-json", "address"):
                return completed('[{"addr_info": [{"local": "192.0.2.1"}]}]')
            case ("ss", *_):
                lines = (entry.split() for entry in self.ports)
                return completed("".join(f'L 0 0 0.0.0.0:{port} *:* users:(("{name}",1))\n' for port, name in lines))
            case ("systemctl", *_):
                return completed()
        raise AssertionError(arguments)

    def effective(self, main: Path) -> dict[str, str]:
        """The first value of each keyword, outside of Match blocks."""
        found: dict[str, str] = {}
        inside = False
        for line in main.read_text().splitlines():
            keyword, _, value = line.strip().partition(" ")
            inside = inside or keyword == "Match"
            if keyword == "Include":
                for path in sorted(Path(value).parent.glob(Path(value).name)):
                    found = {**self.effective(path), **found}
            elif value and not inside and not keyword.startswith("#"):
                found.setdefault(keyword.lower(), value)
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    root = tmp_path / "root"
    (root / "etc" / "ssh" / "sshd_config.d").mkdir(parents=True)
    (root / "etc" / "ssh" / "sshd_config").write_text(MAIN)
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


def test_all_files_lie_below_the_root_and_a_key_file_of_nobody_goes(host: SshdHost, machine: Machine) -> None:
    host.keys.mkdir()
    (host.keys / "left").write_text(KEY)
    files, text = desired(host, **keys()).files(passwords=False)
    assert all(file.path.is_relative_to(machine.root) for file in files)
    assert {file.path.name: file.content is not None for file in files} == {
        "00-postern.conf": False, "root": True, "left": False,
    }  # fmt: skip
    assert [file.content for file in files if file.path == host.drop_in] == [text.encode()]
    assert not host.drop_in.exists()


def test_a_missing_host_key_is_made_and_is_a_secret(host: SshdHost) -> None:
    (host.folder / "ssh_host_rsa_key").unlink()
    made = {file.path.name: (file.mode, file.secret) for file in desired(host).host_keys()[1]}
    assert made == {"ssh_host_rsa_key": (0o600, True), "ssh_host_rsa_key.pub": (0o644, False)}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (keys("../root"), "'../root' is not the name of an account."),
        (keys("nobody-here"), "there is no account 'nobody-here' on this host"),
        ({"authorized_keys": [{"user": "root", "keys": ["nonsense"]}]}, "key 1 of 'root' is not a public key"),
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
        ({"listen_addresses": ["here"]}, "'here' is not an IP address"),
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
