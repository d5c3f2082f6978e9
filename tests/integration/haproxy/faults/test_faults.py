"""What goes wrong: the run says so in one sentence, the old HAProxy goes on as before, and the next good run heals.

Every fault is there on both gateways, so with both versions of Debian and HAProxy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import killing
import pytest
from gateways import files, info, main_pid

from lab import Lab
from lab.topology import GATEWAYS
from plays import Run, play
from probes import ask
from probes.checks import wait_for, web
from probes.hosts import host

SPARE_PORT, TAKEN_PORT = 8099, 8098
# Another sound configuration: one frontend more, and one administrator's network.
SPARE = f"frontend spare from web\n    bind :{SPARE_PORT}\n    http-request return status 200\n"
OTHER = {
    "haproxy_extra_configuration": SPARE,
    "haproxy_admin_networks": ["198.51.100.0/24"],
}
LOCK = "/run/postern-haproxy.lock"


def converge(variables: dict[str, Any] | None = None, *arguments: str) -> Run:
    return play("molecule/haproxy/converge.yml", *arguments, variables=variables)


def sentences(run: Run) -> dict[str, str]:
    """Return what each host said when it failed."""
    found = re.findall(r"^fatal: \[(\w+)\]: FAILED! => (\{.*?\})$", run.output, re.MULTILINE | re.DOTALL)
    return {host: str(json.loads(result)["msg"]) for host, result in found}


class State:
    """A gateway as it is: its files, the process that serves, and what that has loaded."""

    def __init__(self, lab: Lab, gateway: str) -> None:
        self.files = files(lab, gateway)
        self.master = main_pid(lab, gateway)
        self.loaded = info(lab, gateway)["description"]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


def serves(lab: Lab) -> bool:
    """Tell whether both gateways answer a client."""
    answers = ask(lab, "client", *(web(lab, gateway, "/owa/") for gateway in GATEWAYS))
    return [answer.get("status") for answer in answers] == [302, 302]


def states(lab: Lab) -> dict[str, State]:
    return {gateway: State(lab, gateway) for gateway in GATEWAYS}


@pytest.fixture
def as_before(lab: Lab) -> Iterator[dict[str, State]]:
    """Whatever the test does, afterwards each gateway is as it was, down to the last byte, and serves."""
    before = states(lab)
    yield before
    assert states(lab) == before
    assert serves(lab)


def refused(variables: dict[str, Any], *arguments: str) -> list[str]:
    """Run with these variables, which must fail on both gateways, each with one clear sentence; return these."""
    run = converge(variables, *arguments)
    assert run.status != 0, run.output
    assert "Traceback" not in run.output
    told = sentences(run)
    assert sorted(told) == list(GATEWAYS), run.output
    for sentence in told.values():
        assert "\n" not in sentence, sentence
        assert sentence.endswith("."), sentence
        assert "PRIVATE KEY" not in sentence
    return list(told.values())


@pytest.mark.parametrize("arguments", [(), ("--check",)], ids=["run", "check"])
def test_a_broken_snippet_is_refused(as_before: dict[str, State], arguments: tuple[str, ...]) -> None:
    snippet = "frontend broken from web\n    bnd :8097\n"
    for sentence in refused({"haproxy_extra_configuration": snippet}, *arguments):
        assert re.match(
            r"HAProxy refuses the new configuration: haproxy\.cfg line \d+ \('bnd :8097'\): unknown keyword 'bnd'",
            sentence,
        ), sentence
        assert "running HAProxy goes on" in sentence


def certificate(lab: Lab, file: Path) -> dict[str, Any]:
    mail = {"name": "mail", "names": ["mail.example.test"], "file": str(file)}
    return {"haproxy_certificates": [mail, {"name": "www", "names": ["www.example.test"]}]}


def test_an_unreadable_certificate_is_refused(lab: Lab, as_before: dict[str, State], tmp_path: Path) -> None:
    for sentence in refused(certificate(lab, tmp_path / "none.pem")):
        assert f"haproxy_certificates[0].file '{tmp_path}/none.pem' can't be read on the controller" in sentence


def test_a_key_that_isnt_the_certificates_is_refused(lab: Lab, as_before: dict[str, State], tmp_path: Path) -> None:
    mail, www = ((lab.folder / "ca" / f"{name}.pem").read_text(encoding="utf-8") for name in ("mail", "www"))
    key, blocks = r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----\n", re.DOTALL
    other = re.search(key, www, blocks)
    assert other
    mixed = tmp_path / "mixed.pem"
    mixed.write_text(re.sub(key, lambda _: other[0], mail, flags=blocks), encoding="utf-8")
    for sentence in refused(certificate(lab, mixed)):
        assert "inconsistencies between private key and certificate" in sentence
        assert "mail.pem" in sentence


def test_a_name_that_doesnt_resolve_is_told_and_the_others_serve(lab: Lab) -> None:
    addresses = {"ex1": lab.address("ex1", "inside"), "ex9": "nowhere.example.test"}
    ones = [{"name": name, "address": address} for name, address in addresses.items()]
    try:
        run = converge({"haproxy_servers": ones})
        assert run.status == 0, run.output
        assert "could not resolve address 'nowhere.example.test'" in run.text
        assert wait_for(lambda: serves(lab))
    finally:
        back = converge()
        assert back.status == 0, back.output


def test_an_address_of_no_network_is_refused(as_before: dict[str, State]) -> None:
    for sentence in refused({"haproxy_relay_address": "203.0.113.9"}):
        assert "The address 203.0.113.9 is in none of this host's networks" in sentence


def test_a_port_that_another_program_has_is_told_and_nobody_notices(lab: Lab, as_before: dict[str, State]) -> None:
    listener = f"import socket, time; s = socket.create_server(('', {TAKEN_PORT})); time.sleep(600)"
    for gateway in GATEWAYS:
        lab.exec(gateway, ["systemd-run", "--quiet", "--unit=squatter", "python3", "-c", listener])
        assert wait_for(lambda gateway=gateway: str(TAKEN_PORT) in lab.exec(gateway, ["ss", "-ltn"]).stdout)
    snippet = f"frontend taken from web\n    bind :{TAKEN_PORT}\n"
    try:
        with ThreadPoolExecutor() as pool:
            held = [{**web(lab, gateway, "/owa/hold?seconds=12"), "timeout": 90} for gateway in GATEWAYS]
            waiting = pool.submit(ask, lab, "client", *held, parallel=2)
            for sentence in refused({"haproxy_extra_configuration": snippet}):
                assert "HAProxy can't run with the new configuration" in sentence
                assert str(TAKEN_PORT) in sentence
                assert "HAProxy serves with the old files" in sentence
            assert [answer.get("body") for answer in waiting.result()] == ["held", "held"]
    finally:
        for gateway in GATEWAYS:
            lab.exec(gateway, ["systemctl", "stop", "squatter"])


def test_a_full_disk_is_told(lab: Lab) -> None:
    mount = (
        "cp -a /etc/haproxy /run/kept && mount -t tmpfs -o size=300k,mode=755 tmpfs /etc/haproxy"
        " && cp -a /run/kept/. /etc/haproxy/ && ! cat /dev/zero 2>/dev/null >/etc/haproxy/filler"
    )
    for gateway in GATEWAYS:
        lab.exec(gateway, ["sh", "-c", mount])
    try:
        before = states(lab)
        for sentence in refused(OTHER):
            assert "No space left on device" in sentence
            assert "/etc/haproxy" in sentence
        assert states(lab) == before
        assert serves(lab)
    finally:
        for gateway in GATEWAYS:
            lab.exec(gateway, ["sh", "-c", "umount /etc/haproxy && rm -r /run/kept"])


def test_two_runs_at_once_dont_meet(lab: Lab, as_before: dict[str, State]) -> None:
    hold = ["systemd-run", "--quiet", "--unit=other-run", "flock", "/run/postern-haproxy.lock", "sleep", "600"]
    for gateway in GATEWAYS:
        lab.exec(gateway, hold)
    try:
        for sentence in refused(OTHER):
            assert sentence.startswith("Another run is changing HAProxy's configuration on this host")
    finally:
        for gateway in GATEWAYS:
            lab.exec(gateway, ["systemctl", "stop", "other-run"])

    with ThreadPoolExecutor() as pool:
        both = [run.result() for run in [pool.submit(converge, OTHER), pool.submit(converge)]]
    for run in both:
        assert all(sentence.startswith("Another run is changing") for sentence in sentences(run).values()), run.output
        assert "Traceback" not in run.output
    assert all(any(run.recap[gateway]["failed"] == 0 for run in both) for gateway in GATEWAYS)
    assert serves(lab)
    assert converge().status == 0


def test_a_run_that_is_killed_is_healed_by_the_next(lab: Lab) -> None:
    staging = "/etc/haproxy/.postern-staging"
    before = states(lab)

    # While the new files are written and validated: nothing has changed but that folder.
    killing.when_there_is(lab, staging, LOCK, lambda: converge(OTHER))
    assert serves(lab)
    for gateway in GATEWAYS:
        assert [line for line in files(lab, gateway) if ".postern-staging" not in line] == before[gateway].files
        assert info(lab, gateway)["description"] == before[gateway].loaded
    # Between the swap and the reload: the files are new, the running HAProxy isn't.
    killing.when_it_reloads(lab, "/usr/bin/systemctl", lambda: converge(OTHER))
    assert serves(lab)
    for gateway in GATEWAYS:
        assert files(lab, gateway) != before[gateway].files
        assert info(lab, gateway)["description"] == before[gateway].loaded
    run = converge(OTHER)
    assert run.status == 0, run.output
    after = states(lab)
    for gateway in GATEWAYS:
        assert after[gateway].master == before[gateway].master
        assert after[gateway].loaded != before[gateway].loaded
        assert after[gateway].loaded.split()[-1] in lab.exec(gateway, ["cat", "/etc/haproxy/haproxy.cfg"]).stdout
        assert ".postern-staging" not in " ".join(after[gateway].files)

    # And back: while files are swapped, and after the reload.
    killing.when_there_is(lab, f"{staging}/old", LOCK, converge)
    assert serves(lab)
    killing.when_it_reloads(lab, "/usr/bin/systemctl", converge, afterwards=True)
    assert serves(lab)
    run = converge()
    assert run.status == 0, run.output
    assert states(lab) == before


def test_what_was_changed_by_hand_is_put_right(lab: Lab) -> None:
    before = states(lab)
    edit = """
set -e
cd /etc/haproxy
cat >>haproxy.cfg
echo 0.0.0.0/0 >>lists/admin_networks.list
systemctl reload haproxy
"""
    for gateway in GATEWAYS:
        lab.exec(gateway, ["sh", "-c", edit], input=SPARE)
    spare = [{"kind": "tcp", "connect": lab.address(gateway, "outside"), "port": SPARE_PORT} for gateway in GATEWAYS]
    assert wait_for(lambda: [answer.get("state") for answer in ask(lab, "client", *spare)] == ["open", "open"])
    more = (
        "chmod 644 certificates/mail.pem; rm certificates/www.pem lists/relay_networks.list; echo kept >errors/own.http"
    )
    for gateway in GATEWAYS:
        lab.exec(gateway, ["sh", "-c", f"cd /etc/haproxy; {more}"])
    run = converge()
    assert run.status == 0, run.output

    def right(lines: list[str]) -> list[str]:
        """Leave out the certificate that was made anew (it is another one), and what somebody else put there."""
        return [line for line in lines if not re.search(r"^\w{64}  .*/www\.pem$|/errors", line)]

    for gateway in GATEWAYS:
        assert right(files(lab, gateway)) == right(before[gateway].files)
        assert main_pid(lab, gateway) == before[gateway].master
        assert lab.exec(gateway, ["cat", "/etc/haproxy/errors/own.http"]).stdout == "kept\n"
    # Not in the files only: in the running HAProxy.
    assert all("refused" in answer.get("error", "") for answer in ask(lab, "client", *spare))
    closed = ask(lab, "client", *(web(lab, gateway, "/ecp/") for gateway in GATEWAYS))
    assert [answer["status"] for answer in closed] == [403, 403]


def test_haproxy_that_was_stopped_is_started(lab: Lab) -> None:
    before = {gateway: files(lab, gateway) for gateway in GATEWAYS}
    stop = "systemctl disable --quiet --now haproxy && rm /etc/haproxy/certificates/mail.pem"
    for gateway in GATEWAYS:
        lab.exec(gateway, ["sh", "-c", stop])
    # A check says that it would be started, and doesn't.
    check = converge(None, "--check")
    assert check.status == 0, check.output
    assert all(check.recap[gateway]["changed"] == 2 for gateway in GATEWAYS), check.output
    for gateway in GATEWAYS:
        assert not host(lab, gateway).service("haproxy").is_running
    run = converge()
    assert run.status == 0, run.output
    assert {gateway: files(lab, gateway) for gateway in GATEWAYS} == before
    for gateway in GATEWAYS:
        assert host(lab, gateway).service("haproxy").is_enabled
    assert wait_for(lambda: serves(lab))


def test_after_all_that_nothing_is_left_to_do(lab: Lab) -> None:
    run = converge()
    assert run.status == 0, run.output
    assert run.changed == 0, run.output
