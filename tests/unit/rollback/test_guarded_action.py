"""The controller's half of the guard: what it confirms, over what, and what it says otherwise."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.postern.mail_gateway.plugins.plugin_utils import guarded_action
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.guarded_action import GuardedAction, short

GUARD = {"name": "sshd", "token": "t", "seconds": 30}


class Task:
    check_mode = False


class Connection:
    """A connection plugin like paramiko_ssh, which fails when it is closed and was never opened."""

    _load_name = "paramiko_ssh"
    become = None
    _shell = None

    def __init__(self, *, connected: bool = True) -> None:
        self.connected = connected
        self.options: dict[str, Any] = {}

    def get_options(self) -> dict[str, Any]:
        return {}

    def set_options(self, direct: dict[str, Any]) -> None:
        self.options.update(direct)

    def set_option(self, name: str, value: Any) -> None:
        self.options[name] = value

    def close(self) -> None:
        if not self.connected:
            raise AttributeError("'NoneType' object has no attribute '_host_keys'")
        self.connected = False


class Action(GuardedAction):
    """An action whose host answers from a list: a result, or an exception."""

    def __init__(self, *answers: Any) -> None:
        self._task = Task()
        self._connection = Connection()
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, Any], int | None]] = []

    def over_new_connection(
        self, name: str, arguments: dict[str, Any], task_vars: dict[str, Any], port: int | None = None, extra: str = ""
    ) -> dict[str, Any]:
        self.asked.append((name, arguments, port))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


@pytest.fixture(autouse=True)
def time_flies(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(guarded_action.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(guarded_action.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))


def refused(text: str = "operator@gw1: Permission denied (publickey).") -> AnsibleConnectionFailure:
    return AnsibleConnectionFailure(text)


def test_without_a_guard_nothing_is_asked() -> None:
    action = Action()
    assert action.confirmed({"changed": False}, {}) == {"changed": False}
    assert action.asked == []


def test_a_change_is_confirmed_with_its_token_on_the_new_port() -> None:
    action = Action({"changed": False})
    assert action.confirmed({"changed": True, "guard": GUARD, "guard_port": 2222}, {}) == {"changed": True}
    arguments = {"state": "disarmed", "token": "t"}
    assert action.asked == [("postern.mail_gateway.rollback_guard", arguments, 2222)]


def test_ansible_tidies_up_over_the_new_port() -> None:
    """Without a persistent connection each command is a logon of its own, and nobody listens on the old port."""
    action = Action({"changed": False})
    action.confirmed({"changed": True, "guard": GUARD, "guard_port": 2222}, {})
    assert action._connection.options == {"port": 2222}
    action = Action({"changed": False})
    action.confirmed({"changed": True, "guard": GUARD}, {})
    assert action._connection.options == {}


def test_a_change_that_isnt_confirmed_leaves_the_port_as_it_was() -> None:
    report = {"token": "t", "when": "2026-01-31T12:00:00+00:00", "files": ["/etc/x"], "errors": [], "why": "…"}
    action = Action(*[refused("Connection timed out")] * 3, {"rolled_back": report})
    action.confirmed({"changed": True, "guard": GUARD, "guard_port": 2222}, {})
    assert action._connection.options == {}


def test_a_connection_that_was_never_opened_hides_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    action = Action()
    action._play_context = None
    new = Connection(connected=False)
    monkeypatch.setattr(guarded_action.connection_loader, "get", lambda *_: new)

    def execute(**_: Any) -> dict[str, Any]:
        raise refused("Authentication failed.")

    action._execute_module = execute
    with pytest.raises(AnsibleConnectionFailure, match="Authentication failed"):
        GuardedAction.over_new_connection(action, "x", {}, {}, 2222)
    assert new.options == {"port": 2222}


def test_a_slow_host_is_asked_again() -> None:
    action = Action(refused("Connection refused"), {"changed": False})
    assert action.confirmed({"changed": True, "guard": GUARD}, {}) == {"changed": True}


def test_what_is_not_confirmed_fails_with_the_reason_and_the_hosts_report() -> None:
    report = {"token": "t", "when": "2026-01-31T12:00:00+00:00", "files": ["/etc/x"], "errors": [], "why": "…"}
    action = Action(refused(), refused(), refused(), refused("still rolling back"), {"rolled_back": report})
    result = action.confirmed({"changed": True, "guard": GUARD}, {})
    assert result["failed"]
    assert not result["changed"]
    assert result["msg"] == (
        "The new sshd configuration was not confirmed, since a new connection to the host didn't get through "
        "(operator@gw1: Permission denied (publickey)). The host went back to what it was at 2026-01-31 12:00:00 UTC "
        "(/etc/x) and can be reached as before. Correct the variables and run again."
    )
    # The old way, not the new port.
    assert action.asked[-1] == ("postern.mail_gateway.rollback_guard", {"state": "status"}, None)


def test_a_port_that_nobody_lets_through_is_named() -> None:
    report = {"token": "t", "when": "2026-01-31T12:00:00+00:00", "files": ["/etc/x"], "errors": [], "why": "…"}
    action = Action(*[refused("Connection timed out")] * 3, {"rolled_back": report})
    result = action.confirmed({"changed": True, "guard": GUARD, "guard_port": 2222}, {})
    assert "a new connection to the host didn't get through on port 2222 (Connection timed out)" in result["msg"]


def test_a_host_that_stays_silent_is_said_to() -> None:
    action = Action(*[refused("No route to host")] * 40)
    result = action.confirmed({"changed": True, "guard": GUARD}, {})
    assert "hasn't said so yet (No route to host); look at it" in result["msg"]


def test_check_mode_confirms_nothing() -> None:
    action = Action()
    action._task.check_mode = True
    assert action.confirmed({"changed": True, "guard": GUARD}, {}) == {"changed": True}
    assert action.asked == []


DIED = {"failed": True, "module_stdout": "", "msg": "MODULE FAILURE: no start of json char found"}


def test_of_a_module_that_died_in_the_middle_the_host_is_asked() -> None:
    action = Action({"armed": {"name": "sshd", "seconds": 30}})
    result = action.confirmed(dict(DIED), {})
    assert result["msg"] == (
        "The module was killed while it changed sshd on this host; it goes back to what it was by itself within 30 "
        "seconds. Run again after that."
    )


@pytest.mark.parametrize("answer", [{"armed": None}, {"failed": True}, refused()])
def test_a_module_that_died_before_it_changed_anything_is_left_to_ansible(answer: Any) -> None:
    assert Action(answer).confirmed(dict(DIED), {}) == DIED


def test_a_failure_in_a_sentence_stays_as_it_is() -> None:
    action = Action()
    assert action.confirmed({"failed": True, "msg": "No."}, {}) == {"failed": True, "msg": "No."}
    assert action.asked == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "Failed to connect to the host via ssh: @@@@\r\nWarning: x\nHost key verification failed.",
            "Host key verification failed",
        ),
        ("", "no reason was given"),
        ("one line", "one line"),
        ("Data could not be sent to x. Make sure this host can be reached over ssh: x: Denied.\n", "x: Denied"),
    ],
)
def test_reasons_are_short(text: str, wanted: str) -> None:
    assert short(text) == wanted


class Transport:
    """A connection plugin. As paramiko_ssh does, it keeps one connection open for all who ask."""

    opened: dict[str, object] = {}

    connected = True

    def __init__(self, name: str) -> None:
        self._load_name = name
        self.options: dict[str, Any] = {}
        self.become = "sudo"
        self.become_of_new: object = None
        self._shell = object()
        self.socket: object = None

    def open(self) -> object:
        self.socket = self.opened.setdefault(self._load_name, object())
        return self.socket

    def close(self) -> None:
        self.opened.pop(self._load_name, None)

    def get_options(self) -> dict[str, Any]:
        return {"password": "secret", "ssh_args": "-C -o ControlPersist=60s", "port": 22, **self.options}

    def get_option(self, name: str) -> Any:
        return self.get_options()[name]

    def set_options(self, direct: dict[str, Any]) -> None:
        self.options = dict(direct)

    def set_option(self, name: str, value: Any) -> None:
        self.options[name] = value

    def set_become_plugin(self, plugin: object) -> None:
        self.become_of_new = plugin


@pytest.mark.parametrize("name", ["ssh", "ansible.builtin.ssh", "paramiko_ssh"])
def test_a_new_connection_has_the_settings_of_the_old_one_and_shares_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, seen = Transport(name), []
    Transport.opened = {}
    before = old.open()
    new = Transport(name)
    monkeypatch.setattr(guarded_action.connection_loader, "get", lambda *_arguments: new)

    class Real(GuardedAction):
        def __init__(self) -> None:
            self._connection, self._play_context = old, None

        def _execute_module(self, **how: Any) -> dict[str, Any]:
            assert self._connection is new
            seen.append((how["module_name"], new.open()))
            return {"changed": False}

    action = Real()
    action.over_new_connection("m", {}, {}, port=2222, extra=guarded_action.KEY_ONLY)
    assert action._connection is old
    assert seen[0][0] == "m"
    assert new.options["port"] == 2222
    assert new.options["password"] is None
    assert new.become_of_new == "sudo"
    if name == "paramiko_ssh":
        assert seen[0][1] is not before
    else:
        # The first value counts for ssh (ssh_config(5)).
        assert new.options["ssh_args"].startswith("-o ControlMaster=no -o ControlPath=none")
        assert new.options["ssh_args"].endswith(f"{guarded_action.KEY_ONLY} -C -o ControlPersist=60s")
