"""A server is drained for maintenance, is taken down, comes back: nobody's request fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from lab import Lab
from lab.topology import GATEWAYS
from plays import Run, play
from probes import ask
from probes.checks import OPEN, down, servers, wait_for, web


def drain(state: str, *arguments: str, server: str = "ex1") -> Run:
    return play("playbooks/drain.yml", *arguments, variables={"drain_server": server, "drain_state": state})


@pytest.fixture
def ready_again() -> Iterator[None]:
    yield
    assert drain("ready").status == 0


@pytest.mark.usefixtures("ready_again")
def test_rolling_maintenance_fails_no_request(lab: Lab) -> None:
    run = drain("drained", "--check", "--diff")
    assert run.status == 0, run.output
    assert run.changed == len(GATEWAYS)
    assert "+ex1 drained in exchange_owa" in run.output
    assert all(down(lab, gateway) == [] for gateway in GATEWAYS)

    answers: list[dict[str, object]] = []
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            for gateway in GATEWAYS:
                answers.extend(ask(lab, "client", *(web(lab, gateway, path) for path, _ in OPEN.values()), parallel=2))

    worker = threading.Thread(target=work)
    worker.start()
    try:
        run = drain("drained")
        assert run.status == 0, run.output
        assert "ex1 is drained; sessions left:" in run.text
        assert drain("drained").changed == 0
        for gateway in GATEWAYS:
            states = servers(lab, gateway)
            assert {
                backend: state["ex1"] for backend, state in states.items() if "ex1" in state and state["ex1"] != "DRAIN"
            } == {}
            # A reload, whoever asks for it, doesn't bring the server back.
            lab.exec(gateway, ["systemctl", "reload", "haproxy"])
            assert wait_for(lambda gateway=gateway: servers(lab, gateway)["exchange_owa"]["ex2"] == "UP")
            assert servers(lab, gateway)["exchange_owa"]["ex1"] == "DRAIN"
            fresh = ask(lab, "client", *[web(lab, gateway, "/owa/")] * 6)
            assert {answer["headers"]["x-feserver"].upper().split(".")[0] for answer in fresh} == {"EX2"}
        lab.exec("ex1", ["systemctl", "restart", "standin"])
        assert drain("ready").changed == len(GATEWAYS)
        assert all(wait_for(lambda gateway=gateway: down(lab, gateway) == [], 60) for gateway in GATEWAYS)
    finally:
        done.set()
        worker.join()
    assert answers
    assert [answer for answer in answers if int(str(answer.get("status", 999))) >= 500] == []


def test_an_unknown_server_is_a_sentence() -> None:
    run = drain("drained", server="ex9")
    assert run.status != 0
    assert "HAProxy has no server 'ex9' (it has ex1, ex2, here, peer1, www1); give one of these names." in run.text
