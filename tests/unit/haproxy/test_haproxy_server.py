"""A server is drained in a real HAProxy, and stays so when that is started again."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.postern.mail_gateway.plugins.module_utils.haproxy.runtime import (
    ServerState,
    ask,
    configured_servers,
    drained_file,
    handed_over,
    server_states,
    states_for,
)
from ansible_collections.postern.mail_gateway.plugins.modules import haproxy_server as module

Serve = Callable[[str, str], AbstractContextManager[Path]]

BACKENDS = """\
    load-server-state-from-file global
backend owa
    server ex1 127.0.0.1:1
    server ex2 127.0.0.1:1
backend smtp
    server ex1 127.0.0.1:1
    server ex2 127.0.0.1:1
backend website
    server www 127.0.0.1:1
"""

# As 3.0 answers: ex1 drained by hand in one backend, ex2 drained by its weight of 0, and in maintenance.
ANSWER = """\
1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state \
bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr \
srv_agent_port
3 owa 1 ex1 10.1.1.21 2 8 1 1 7 1 0 2 0 0 0 0 - 443 - 1 0 - - 0
3 owa 2 ex2 10.1.1.22 2 0 0 0 7 1 0 2 0 0 0 0 - 443 - 1 0 - - 0
4 smtp 1 ex1 10.1.1.21 2 0 1 1 7 1 0 2 0 0 0 0 - 25 - 0 0 - - 0
4 smtp 2 ex2 10.1.1.22 0 9 1 1 7 1 0 2 0 0 0 0 - 25 - 0 0 - - 0

"""


class Left(BaseException):
    """The module has come to its end."""


class Killed(BaseException):
    """The module was killed."""


def run(folder: Path, server: str, state: str, *, check_mode: bool = False) -> dict[str, Any]:
    """Run the module and return its result."""
    result: dict[str, Any] = {}

    class Module:
        params: Mapping[str, Any] = {
            "server": server,
            "state": state,
            "wait": 0,
            "socket": str(folder / "admin.sock"),
            "state_file": str(folder / "drained-servers"),
        }

        def __init__(self, **_: Any) -> None:
            self.check_mode = check_mode

        def exit_json(self, **values: Any) -> None:
            result.update(values)
            raise Left

        def fail_json(self, **values: Any) -> None:
            result.update(values, failed=True)
            raise Left

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AnsibleModule", Module)
        with pytest.raises(Left):
            module.main()
    return result


def drained(path: Path) -> set[str]:
    """What HAProxy itself says."""
    return {
        f"{state.backend}/{state.server}"
        for state in server_states(ask(str(path), "show servers state"))
        if state.drained
    }


@pytest.fixture
def state_file(short: Path) -> Path:
    """The file as the role puts it there."""
    path = short / "drained-servers"
    path.write_text("1\n")
    return path


def test_drained_server_stays_so_until_it_is_ready(serve: Serve, short: Path, state_file: Path) -> None:
    line = f"server-state-file {state_file}"
    with serve(line, BACKENDS) as path:
        said = run(short, "ex1", "drained", check_mode=True)
        assert said["changed"]
        assert drained(path) == set()
        assert state_file.read_text() == "1\n"
        done = run(short, "ex1", "drained")
        assert (done["changed"], done["diff"]) == (True, said["diff"])
        assert done["backends"] == {
            "owa": {"status": "DRAIN", "sessions": 0},
            "smtp": {"status": "DRAIN", "sessions": 0},
        }
        assert drained(path) == {"owa/ex1", "smtp/ex1"}
        assert run(short, "ex1", "drained")["changed"] is False
    with serve(line, BACKENDS) as path:
        assert drained(path) == {"owa/ex1", "smtp/ex1"}
        assert run(short, "ex1", "drained")["changed"] is False
        assert run(short, "ex1", "ready")["changed"] is True
        assert drained(path) == set()
        assert run(short, "ex1", "ready")["changed"] is False
    with serve(line, BACKENDS) as path:
        assert drained(path) == set()


def test_server_that_is_gone_from_the_configuration_is_no_trouble(serve: Serve, short: Path, state_file: Path) -> None:
    line = f"server-state-file {state_file}"
    with serve(line, BACKENDS):
        run(short, "ex1", "drained")
    with serve(line, BACKENDS.replace("    server ex1 127.0.0.1:1\n", "")) as path:
        assert drained(path) == set()
        assert (short / "said").read_text() == ""


def test_run_that_was_cut_short_is_made_good(serve: Serve, short: Path, state_file: Path) -> None:
    """Drained in HAProxy, but not yet in the file."""

    def remember(*_: Any) -> None:
        raise Killed

    line = f"server-state-file {state_file}"
    with serve(line, BACKENDS):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "write_states", remember)
            with pytest.raises(Killed):
                run(short, "ex1", "drained")
        run(short, "ex1", "drained")
    with serve(line, BACKENDS) as path:
        assert drained(path) == {"owa/ex1", "smtp/ex1"}


def test_unknown_server_is_said(serve: Serve, short: Path, state_file: Path) -> None:
    with serve(f"server-state-file {state_file}", BACKENDS):
        assert run(short, "ex3", "drained")["msg"] == (
            "HAProxy has no server 'ex3' (it has ex1, ex2, www); give one of these names."
        )


def test_haproxy_that_does_not_run_is_said(short: Path) -> None:
    failed = run(short, "ex1", "drained")
    assert failed["msg"] == (
        f"HAProxy can't be asked at {short}/admin.sock (No such file or directory); see that it runs with our role."
    )


def test_states_of_3_0() -> None:
    states = server_states(ANSWER)
    assert [(state.backend, state.server, state.drained) for state in states] == [
        ("owa", "ex1", True),
        ("owa", "ex2", False),
        ("smtp", "ex1", False),
        ("smtp", "ex2", True),
    ]
    assert drained_file(ANSWER).splitlines() == [*ANSWER.splitlines()[:2], states[0].line, states[3].line]
    assert server_states(drained_file(ANSWER)) == [states[0], states[3]]
    assert isinstance(states[0], ServerState)


def test_places_of_servers_in_a_configuration() -> None:
    configuration = """\
frontend https
    bind :443
backend owa from exchange
    server ex1 10.1.1.21:443 weight 100
    server ex2 [2001:db8::22]:443
listen other
\tserver ex1 ex1.example.test:8080
frontend smtp
    default_backend owa
"""
    assert configured_servers(configuration) == {
        ("owa", "ex1"): ("10.1.1.21", "443"),
        ("owa", "ex2"): ("2001:db8::22", "443"),
        ("other", "ex1"): ("ex1.example.test", "8080"),
    }


@pytest.mark.parametrize(
    ("place", "known"),
    [
        ("10.1.1.22:443", True),
        ("ex2.example.test:443", True),
        ("10.1.1.23:443", False),
        ("10.1.1.22:444", False),
        ("[2001:db8::22]:443", False),
    ],
)
def test_what_is_known_of_a_server_is_of_its_place(place: str, known: bool) -> None:
    handed = states_for(ANSWER, f"backend owa\n    server ex1 10.9.9.9:443\n    server ex2 {place}\n")
    # One that was drained is known by its name, wherever it is, and what isn't in here may be somewhere else.
    expected = [("owa", "ex1"), *([("owa", "ex2")] if known else []), ("smtp", "ex1"), ("smtp", "ex2")]
    assert [(state.backend, state.server) for state in server_states(handed)] == expected


def test_a_drained_server_stays_so_under_another_name(serve: Serve, short: Path, state_file: Path) -> None:
    now = BACKENDS.replace("backend smtp", "backend exchange_smtp")
    line = f"server-state-file {state_file}"
    with serve(line, BACKENDS) as path:
        run(short, "ex1", "drained")
        with handed_over(str(path), state_file, now):
            pass
    with serve(line, now) as path:
        assert drained(path) == {"owa/ex1", "exchange_smtp/ex1"}


def test_a_drained_server_stays_so_under_another_name_where_haproxy_is_stopped(
    serve: Serve, short: Path, state_file: Path
) -> None:
    now = BACKENDS.replace("backend smtp", "backend exchange_smtp")
    line = f"server-state-file {state_file}"
    with serve(line, BACKENDS):
        run(short, "ex1", "drained")
    with handed_over(str(short / "nobody.sock"), state_file, now):
        pass
    with serve(line, now) as path:
        assert drained(path) == {"owa/ex1", "exchange_smtp/ex1"}


def test_a_server_that_moved_starts_as_it_is_found(serve: Serve, state_file: Path) -> None:
    """ex1 and ex2 are down; then ex1 is somewhere else. Nothing listens there either, but nobody knows that yet."""
    checked = BACKENDS.replace("127.0.0.1:1\n", "127.0.0.1:1 check inter 60s rise 1 fall 1\n")
    moved = checked.replace("server ex1 127.0.0.1:1", "server ex1 127.0.0.1:2")

    def up(path: Path) -> set[str]:
        states = server_states(ask(str(path), "show servers state"))
        return {f"{state.backend}/{state.server}" for state in states if state.line.split()[5] == "2"}

    line = f"server-state-file {state_file}"
    with serve(line, checked.replace("inter 60s", "inter 100ms")) as path:
        deadline = time.monotonic() + 10
        while up(path) and time.monotonic() < deadline:
            time.sleep(0.05)
        state_file.write_text(states_for(ask(str(path), "show servers state"), moved))
    with serve(line, moved) as path:
        # The very first server is checked at once, so it may be found already.
        assert up(path) - {"owa/ex1"} == {"smtp/ex1"}


@pytest.mark.parametrize("answer", ["", "1\n", "Unknown command.\n", "2\n# be_id be_name\n", "1\nno header\n"])
def test_other_answers_are_refused(answer: str) -> None:
    with pytest.raises(ValueError, match="instead of their version 1"):
        server_states(answer)
