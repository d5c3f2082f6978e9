"""Time: what waits long, what is in flight while HAProxy is reloaded, and what is too slow.

All of it goes on at once, on both gateways, since each of it takes its time.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from gateways import info, main_pid

from lab import Lab
from lab.topology import GATEWAYS
from probes import ask
from probes.checks import EXCHANGE, MAIL, delivered, events, last_events, wait_for, web
from strangers import Strangers

# Longer than every short timeout: headers (15 s), queue (30 s, of which nobody has any), checks.
POLL = 25
PAUSE = 14


def dialogues(lab: Lab, gateway: str, mark: str, strangers: Strangers) -> dict[str, dict[str, Any]]:
    """Return what clients do meanwhile; each is in its pause when HAProxy is reloaded."""
    address, password = lab.address(gateway, "outside"), lab.secrets()["mailbox"]
    talk = {"kind": "dialogue", "connect": address, "server_name": MAIL, "timeout": 60}
    mail = f"From: a@outside.example\r\nTo: anna@example.test\r\nSubject: {mark}\r\n\r\nhere\r\n.\r\n"
    return {
        "poll": web(lab, gateway, f"/owa/hold?seconds={POLL}", timeout=90, source=strangers.address()),
        "notification": web(lab, gateway, "/EWS/drip?n=20&interval=1.2", timeout=90, source=strangers.address()),
        "keep-alive": {
            "kind": "session",
            "requests": [web(lab, gateway, "/owa/echo", source=strangers.address(), pause=PAUSE)] * 2,
        },
        "smtp": {
            **talk,
            "port": 25,
            "steps": [
                {"expect": "^220 .*\r\n"}, {"send": f"EHLO {mark}.example\r\n"}, {"expect": "250 [^\r]*\r\n"},
                {"send": "MAIL FROM:<a@outside.example>\r\n"}, {"expect": "^250 "}, {"pause": PAUSE},
                {"send": "RCPT TO:<anna@example.test>\r\n"}, {"expect": "250 2.1.5[^\n]*\n"}, {"send": "DATA\r\n"},
                {"expect": "354[^\n]*\n"}, {"send": mail}, {"expect": "250 [^\n]*\n"}, {"send": "QUIT\r\n"},
                {"expect": "221"},
            ],
        },
        "imap": {
            **talk,
            "port": 993,
            "tls": "implicit",
            "steps": [
                {"expect": "OK [^\n]*\n"}, {"send": f"a LOGIN anna@example.test {password}\r\n"},
                {"expect": "a OK [^\n]*\n"},
                {"send": "b SELECT INBOX\r\n"}, {"expect": "b OK [^\n]*\n"}, {"send": "c IDLE\r\n"},
                {"expect": "\\+ [^\n]*\n"},
                {"pause": PAUSE}, {"send": "DONE\r\n"}, {"expect": "c OK [^\n]*\n"}, {"send": "d LOGOUT\r\n"},
                {"expect": "d OK"},
            ],
        },
        "pop3": {
            **talk,
            "port": 110,
            "steps": [
                {"expect": "OK [^\n]*\n"}, {"send": "STLS\r\n"}, {"expect": "OK [^\n]*\n"}, {"starttls": True},
                {"pause": PAUSE},
                {"send": "CAPA\r\n"}, {"expect": "\r\n\\.\r\n"}, {"send": "QUIT\r\n"}, {"expect": "OK"},
            ],
        },
        # A line of its headers now and then.
        "slow": {
            **talk,
            "port": 443,
            "tls": "implicit",
            "source": strangers.address(),
            "steps": [{"send": f"GET /owa/ HTTP/1.1\r\nHost: {MAIL}\r\n"}]
            + [{"pause": 3}, {"send": "X-Slow: yes\r\n"}] * 4
            + [{"closed": 40}],
        },
        # Not a word.
        "silent": {**talk, "port": 443, "tls": "implicit", "source": strangers.address(), "steps": [{"closed": 40}]},
        "silent in the clear": {**talk, "port": 80, "source": strangers.address(), "steps": [{"closed": 40}]},
    }  # fmt: skip


def reload(lab: Lab, gateway: str) -> None:
    """Reload HAProxy, and wait for the new process to serve."""
    before = info(lab, gateway)["Pid"]
    lab.exec(gateway, ["systemctl", "reload", "haproxy"])
    assert wait_for(lambda: info(lab, gateway)["Pid"] != before)


class Meanwhile:
    """What came of each dialogue at each gateway, and when the last reload was over."""

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, dict[str, Any]]] = {}
        self.marks = {gateway: uuid4().hex for gateway in GATEWAYS}
        self.reloaded: dict[str, tuple[float, float]] = {}
        self.masters: dict[str, tuple[str, str]] = {}


@pytest.fixture(scope="module")
def meanwhile(lab: Lab, strangers: Strangers) -> Meanwhile:
    found = Meanwhile()

    def one(gateway: str) -> None:
        mark = found.marks[gateway]
        asked = dialogues(lab, gateway, mark, strangers)
        pollers = {asked[name]["source"] for name in ("poll", "notification")}
        since = last_events(lab)

        def begun() -> bool:
            polls = [event for server in EXCHANGE for event in events(lab, server, "http_poll", since[server])]
            return {event["forwarded_for"] for event in polls} >= pollers

        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(ask, lab, "client", *asked.values(), parallel=len(asked))
            master = main_pid(lab, gateway)
            assert wait_for(begun)
            time.sleep(2)  # the others have nothing that shows from outside; each says itself when it went on
            began = time.time()
            for _ in range(2):
                reload(lab, gateway)
            found.reloaded[gateway] = (began, time.time())
            found.masters[gateway] = (master, main_pid(lab, gateway))
            found.answers[gateway] = dict(zip(asked, waiting.result(), strict=True))

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(one, gateway) for gateway in GATEWAYS]:
            done.result()
    return found


def test_the_reloads_came_in_the_pauses(meanwhile: Meanwhile, gateway: str) -> None:
    began, ended = meanwhile.reloaded[gateway]
    for name, before in (("smtp", 2), ("imap", 3), ("pop3", 1)):
        at = meanwhile.answers[gateway][name]["at"]
        assert at[before] < began, (name, "the machine is too slow for this test")
        assert ended < at[before + 1], (name, "the machine is too slow for this test")
    first, second = meanwhile.masters[gateway]
    assert first == second


def test_long_answers_outlast_a_reload(meanwhile: Meanwhile, gateway: str) -> None:
    poll, notification = (meanwhile.answers[gateway][name] for name in ("poll", "notification"))
    assert (poll.get("status"), poll.get("body")) == (200, "held"), poll
    assert poll["seconds"] >= POLL
    assert (notification.get("status"), notification.get("body")) == (200, "." * 20), notification


def test_a_resting_connection_gets_its_next_answer_after_a_reload(meanwhile: Meanwhile, gateway: str) -> None:
    answers = meanwhile.answers[gateway]["keep-alive"]["answers"]
    assert [answer.get("status") for answer in answers] == [200, 200], answers


def test_mail_sessions_outlast_a_reload(lab: Lab, meanwhile: Meanwhile, gateway: str) -> None:
    for name in ("smtp", "imap", "pop3"):
        assert "error" not in meanwhile.answers[gateway][name], (name, meanwhile.answers[gateway][name])
    assert delivered(lab, meanwhile.marks[gateway])


def test_slow_clients_are_cut_off(lab: Lab, meanwhile: Meanwhile, gateway: str) -> None:
    found = meanwhile.answers[gateway]
    # Twelve seconds went by before the wait for the end began.
    assert found["slow"].get("closed", found["slow"].get("error")) == pytest.approx(3, abs=2.9)
    for name in ("silent", "silent in the clear"):
        assert found[name].get("closed", found[name].get("error")) == pytest.approx(15, abs=4)


def test_a_client_that_gives_up_leaves_nothing_at_the_server(lab: Lab, gateway: str, strangers: Strangers) -> None:
    source, since = strangers.address(), last_events(lab)
    (answer,) = ask(lab, "client", web(lab, gateway, "/owa/hold?seconds=60", timeout=2, source=source))
    assert "TimeoutError" in answer["error"]

    def phases() -> list[str]:
        polls = [event for server in EXCHANGE for event in events(lab, server, "http_poll", since[server])]
        return [event["phase"] for event in polls if event["forwarded_for"] == source]

    assert wait_for(lambda: phases() == ["begin", "broken"], 20), phases()
