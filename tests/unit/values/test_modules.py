"""Every text in every public argument of every module: refused in one sentence, or it stays what it is.

A module runs in this process as it would on a host, where nothing comes about: commands are noted and succeed, nothing
is written but below a folder of the test's, nobody answers. One text after another is replaced by something hostile.
"""

from __future__ import annotations

import copy
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from hostile import SECRET, texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_arguments import KEY, SUBJECTS, at, described, leaves, replaced, spelled

from ansible_collections.postern.mail_gateway.plugins.module_utils.rollback.guard import RollbackGuard

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = "ansible_collections.postern.mail_gateway.plugins"
Arguments = dict[str, Any]

LINKS = [{"ifname": "eth0", "addr_info": [{"local": "10.0.0.5", "prefixlen": 24, "scope": "global"}]}]
STATES = """\
1
# be_id be_name srv_id srv_name srv_addr srv_admin_state srv_port
1 exchange_owa 1 ex1 10.1.1.21 0 443
"""
STATISTICS = "# pxname,svname,scur,status\nexchange_owa,ex1,0,UP\n"
MAIN = "global\n    description @DIGEST@\n"

# --- a host where nothing comes about ---------------------------------------------------------------------------------


class World:
    """What a module asked for: commands, questions to HAProxy, and files outside of the folder."""

    def __init__(self, folder: Path) -> None:
        self.allowed = [str(folder), f"{tempfile.gettempdir()}/postern-", os.devnull]
        self.commands: list[tuple[str, ...]] = []
        self.asked: list[str] = []
        self.refused: list[str] = []

    def watch(self, path: Any) -> None:
        """Refuse a change of anything outside."""
        if isinstance(path, int):
            return
        name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 (links stay, and ".." goes)
        if not name.startswith(tuple(self.allowed)):
            self.refused.append(name)
            raise PermissionError(13, "Permission denied", os.fsdecode(path))

    def run(self, arguments: Any, **_options: Any) -> subprocess.CompletedProcess[bytes]:
        """Note a command as the kernel would take it, and have it succeed."""
        for one in arguments:
            if b"\0" in os.fsencode(one):
                raise ValueError("embedded null byte")
        self.commands.append(tuple(map(str, arguments)))
        for place, option in enumerate(arguments):
            if option in ("-keyout", "-out", "-f"):  # of openssl and ssh-keygen, which make files
                for path in (Path(arguments[place + 1]), Path(f"{arguments[place + 1]}.pub")):
                    path.write_bytes(b"made\n")
        said = json.dumps(LINKS) if arguments[0] == "ip" else ""
        return subprocess.CompletedProcess(arguments, 0, said.encode(), b"")

    def ask(self, path: str, command: str, _seconds: float = 5.0) -> str:
        """Answer as HAProxy, where the module asks at the right place."""
        if not path.endswith("/admin.sock"):
            raise ConnectionRefusedError(111, "Connection refused")
        self.asked.append(command)
        return {"show servers state": STATES, "show stat": STATISTICS}.get(command, "")


_world: World | None = None
# Which argument is the path that changes, and which one the folder that it is relative to.
_CHANGES = {
    "os.mkdir": (0, 2), "os.remove": (0, 1), "os.rmdir": (0, 1), "os.chmod": (0, 2), "os.chown": (0, 3),
    "os.rename": (1, 3), "os.link": (1, 3), "os.symlink": (1, 2),
}  # fmt: skip


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _world is None:
        return
    if event == "open":
        if isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            _world.watch(arguments[0])
    elif event in _CHANGES:
        path, folder = _CHANGES[event]
        if arguments[folder] == -1:
            _world.watch(arguments[path])
    elif event == "socket.connect":
        raise ConnectionRefusedError(111, "Connection refused")
    elif event == "socket.getaddrinfo":
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    elif event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"):
        raise AssertionError(f"{arguments} goes by another way")


sys.addaudithook(_audit)


class Left(BaseException):
    """The module has come to its end, with this result."""


def run(name: str, arguments: Arguments, folder: Path, *, check_mode: bool) -> tuple[World, dict[str, Any]]:
    """Run a module, and return what it asked for and its result."""
    global _world  # noqa: PLW0603 (a hook can't be removed)
    module, world = import_module(f"{PACKAGE}.modules.{name}"), World(folder)

    class Module:
        def __init__(self, argument_spec: Any, required_if: Any = (), **_options: Any) -> None:
            checked = ArgumentSpecValidator(argument_spec, required_if=required_if).validate(copy.deepcopy(arguments))
            if checked.error_messages:
                raise Left({"failed": True, "ansible": checked.error_messages})
            self.params, self.check_mode = checked.validated_parameters, check_mode
            self.warn = self.get_bin_path = lambda text, **_unused: f"/usr/sbin/{text}"

        def exit_json(self, **result: Any) -> None:
            raise Left(result)

        def fail_json(self, **result: Any) -> None:
            raise Left({"failed": True, **result})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AnsibleModule", Module)
        patch.setattr(subprocess, "run", world.run)
        patch.setattr(RollbackGuard.__init__, "__defaults__", (60, folder / "rollback"))
        for other in [one for key, one in sys.modules.items() if key.startswith(PACKAGE)]:
            for place, stand_in in (
                ("lock_path", lambda name, *_unused: folder / f"{name}.lock"),
                ("LOCK", folder / "lock"),
                ("UNITS", folder / "units"),
                ("ask", world.ask),
            ):
                if hasattr(other, place) and (place != "ask" or ".haproxy" in other.__name__):
                    patch.setattr(other, place, stand_in)
        _world = world
        try:
            with pytest.raises(Left) as left:
                module.main()
        finally:
            _world = None
    return world, dict(left.value.args[0])


# --- the modules ------------------------------------------------------------------------------------------------------

CERTIFICATES: Arguments = {
    **{name.removeprefix("letsencrypt_"): value for name, value in SUBJECTS["letsencrypt"].arguments.items()},
    "authority_ca_file": "/etc/ssl/ca.pem",
    "authority_ca": "",
    "host": "gw1",
    "identities": [{"item": "gw2", "identity": {"public_key": KEY, "host_keys": [KEY], "peers": {}}}],
    "play_hosts": ["gw1", "gw2"],
}

MODULES: dict[str, Callable[[str], Arguments]] = {
    "certificate_pfx": lambda folder: {"name": "mail", "folder": f"{folder}/haproxy"},
    "haproxy_configuration": lambda folder: {
        "files": [
            {"path": "haproxy.cfg", "content": MAIN},
            {"path": "lists/relay.list", "content": "10.0.0.0/8\n", "once": True},
        ],
        "certificates": [{"name": "mail", "names": ["mail.example.com"], "file": "mail.pem"}],
        "pems": {"www": "a certificate"},
        "folder": f"{folder}/haproxy",
        "service": "haproxy",
        "socket": f"{folder}/admin.sock",
        "timeout": 0,
    },
    "haproxy_removals": lambda folder: {
        "servers": [{"name": "ex1", "address": "10.1.1.21"}],
        "removable": ["ex2"],
        "variable": "mail_gateway_removed",
        "socket": f"{folder}/admin.sock",
        "configuration": f"{folder}/haproxy.cfg",
    },
    "haproxy_server": lambda folder: {
        "server": "ex1",
        "state": "drained",
        "socket": f"{folder}/admin.sock",
        "state_file": f"{folder}/drained-servers",
    },
    "letsencrypt_authority_info": lambda _folder: CERTIFICATES,
    "letsencrypt_certificates": lambda _folder: {**CERTIFICATES, "state": "issued"},
    "letsencrypt_certificates_info": lambda _folder: {"play_hosts": ["gw1"], "wait": 0},
    "letsencrypt_identity": lambda _folder: {"host": "gw1", "account": "certificates"},
    "letsencrypt_renewal": lambda _folder: {"play_hosts": ["gw1"]},
    "probes": lambda _folder: {
        "probes": [
            {"kind": "http", "url": "https://mail.example.com/owa/", "connect": "192.0.2.10", "server_name": "mail"},
            {"kind": "smtp", "connect": "192.0.2.10", "helo": "mail", "sender": "a@example.com", "recipients": ["b"]},
            {"kind": "imap", "connect": "192.0.2.10", "tls": "implicit", "user": "anna", "password_of": "anna"},
            {"kind": "tls", "connect": "mail.example.com", "port": 443, "trust": "PEM", "source": "192.0.2.1"},
            {"kind": "dialogue", "connect": "::1", "port": 25, "tls": "none", "steps": [{"expect": "220"}]},
        ],
        "secrets": {"anna": "password"},
    },
    "rollback_guard": lambda folder: {
        "state": "armed",
        "name": "sshd",
        "files": [f"{folder}/sshd_config"],
        "commands": [["systemctl", "reload", "ssh"]],
        "token": "0123456789abcdef0123456789abcdef",
    },
    "source_addresses": lambda _folder: {"addresses": ["10.0.0.111"], "service": "haproxy"},
    "ufw_rules": lambda _folder: {"rules": SUBJECTS["firewall"].arguments["firewall_rules"][:1], "marker": "postern"},
}
# Their texts are those of a role, whose test tries each (test_arguments.py).
OF_A_ROLE = {"sshd_configuration": "sshd", "fail2ban_configuration": "fail2ban"}
# All there is of them runs on the controller.
ON_THE_CONTROLLER = {"exchange_configuration", "preflight", "role_variables"}
# What is handed on as it is: a file's content, a secret, what root is to run.
CONTENT = {"files[].content", "pems.www", "commands[][]", "secrets.anna", "external_account_hmac_key"}


@cache
def specification(name: str) -> dict[str, Any]:
    """The argument specification of a module."""
    module = import_module(f"{PACKAGE}.modules.{name}")

    def capture(argument_spec: dict[str, Any], **_options: Any) -> None:
        raise Left(argument_spec)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AnsibleModule", capture)
        with pytest.raises(Left) as left:
            module.main()
    return dict(left.value.args[0])


@contextmanager
def somewhere() -> Iterator[tuple[Path, str]]:
    """A folder that a module may write to."""
    with tempfile.TemporaryDirectory(prefix="modules-") as folder:
        yield Path(folder), folder


@cache
def usual(name: str, check_mode: bool) -> tuple[set[str], set[str]]:
    """The options of commands, and the files elsewhere, that a module comes to with what is sound."""
    with somewhere() as (folder, text_of_folder):
        world, _unused = run(name, MODULES[name](text_of_folder), folder, check_mode=check_mode)
    return {one for command in world.commands for one in command if one.startswith("-")}, set(world.refused)


def check_refusal(result: dict[str, Any]) -> None:
    sentence = result["msg"]
    assert sentence.isprintable(), sentence
    assert SECRET not in sentence
    assert len(sentence) < 1000
    assert sentence.endswith((".", "?")) or "name it once: -e " in sentence, sentence


@pytest.mark.parametrize("name", MODULES)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_hostile_text_is_refused_or_stays_what_it_is(name: str, data: st.DataObject) -> None:
    check_mode = data.draw(st.booleans())
    options, refused = usual(name, check_mode)
    with somewhere() as (folder, text_of_folder):
        sound = MODULES[name](text_of_folder)
        untried = set(described(specification(name), choices=True))
        path = data.draw(st.sampled_from([one for one in leaves(sound) if spelled(one) not in untried]))
        hostile = data.draw(texts(at(sound, path) or "x"))
        world, result = run(name, replaced(sound, path, hostile), folder, check_mode=check_mode)
        if result.get("failed"):
            if "ansible" not in result:
                check_refusal(result)
            return
        if spelled(path) in CONTENT:
            return
        for command in world.commands:
            assert all(one.isprintable() for one in command), command
            assert SECRET not in " ".join(command)
            assert {one for one in command if one.startswith("-")} <= options, command
        assert all(one.isprintable() for one in world.asked)
        assert set(world.refused) <= refused
        for file in folder.rglob("*"):
            assert str(file).isprintable()
            if file.is_file():
                assert SECRET.encode() not in file.read_bytes(), file


@pytest.mark.parametrize("name", MODULES)
def test_what_is_sound_is_taken(name: str) -> None:
    with somewhere() as (folder, text_of_folder):
        _world, result = run(name, MODULES[name](text_of_folder), folder, check_mode=True)
    assert "ansible" not in result, result


def test_every_module_is_tried() -> None:
    found = {path.stem for path in (ROOT / "plugins" / "modules").glob("[a-z]*.py")}
    assert found == {*MODULES, *OF_A_ROLE, *ON_THE_CONTROLLER}


@pytest.mark.parametrize("name", [*MODULES, *OF_A_ROLE])
def test_every_text_of_the_module_is_tried(name: str) -> None:
    if name in OF_A_ROLE:
        role = OF_A_ROLE[name]
        tried = {spelled(path).removeprefix(f"{role}_") for path in leaves(SUBJECTS[role].arguments)}
    else:
        tried = {spelled(path) for path in leaves(MODULES[name](""))}
    texts_of_it = set(described({key: {"type": "str", **option} for key, option in specification(name).items()}))
    assert texts_of_it <= tried
