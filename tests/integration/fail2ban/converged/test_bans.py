"""Whoever fails too often is shut out: seen by the one who is banned, and by everybody else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from bans import (
    ACTIVESYNC,
    BAN_TIME,
    EWS,
    HELD_AFTER,
    JAILS,
    LOGON_RETRIES,
    SSH_RETRIES,
    banned,
    basic,
    caught_up,
    elements,
    ended,
    fail_at_ssh,
    form,
    held,
    is_banned,
    patient_sshd,
    reach,
    restart,
    unban,
)

from lab import Lab
from probes import ask
from probes.checks import wait_for, web
from strangers import Strangers


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def family(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def two(strangers: Strangers, family: int) -> tuple[str, str]:
    """Two clients that nobody takes for one."""
    if family == 4:
        return strangers.address(), strangers.address()
    return f"{strangers.network()}1", f"{strangers.network()}1"


def test_wrong_passwords_at_ssh_end_in_a_ban(lab: Lab, gateway: str, strangers: Strangers, family: int) -> None:
    source, other = two(strangers, family)
    address = lab.address(gateway, "outside", family)
    with held(lab, address, 22, source) as connection:
        fail_at_ssh(lab, "client", address, source, SSH_RETRIES + 1)
        assert is_banned(lab, gateway, "sshd", source)
        assert reach(lab, "client", address, 22, source) == "refused"
        # It was open before, and ended although the client said nothing.
        assert ended(connection.result()), connection.result()
    assert reach(lab, "client", address, 22, other) == "open"
    # The ban is for the ports of the jail.
    assert reach(lab, "client", address, 443, source) == "open"


@pytest.mark.parametrize(
    ("way", "family"), [("OWA's form", 4), ("OWA's form", 6), ("EWS", 6), ("ActiveSync", 4)], ids=str
)
def test_failed_logons_end_in_a_ban(lab: Lab, gateway: str, strangers: Strangers, family: int, way: str) -> None:
    source, other = two(strangers, family)
    address = lab.address(gateway, "outside", family)
    to: dict[str, Any] = {"source": source, "connect": address}
    probes = {
        "OWA's form": lambda: form(lab, gateway, **to),
        "EWS": lambda: basic(lab, gateway, EWS, **to),
        "ActiveSync": lambda: basic(lab, gateway, ACTIVESYNC, **to),
    }
    with held(lab, address, 443, source) as connection:
        # One less is not enough.
        answers = ask(lab, "client", *(probes[way]() for _ in range(LOGON_RETRIES - 1)))
        assert {answer.get("status") for answer in answers} <= {302, 401}, answers
        assert reach(lab, "client", address, 443, source) == "open"
        assert source not in banned(lab, gateway, "haproxy-logons")
        ask(lab, "client", probes[way]())
        assert is_banned(lab, gateway, "haproxy-logons", source)
        assert reach(lab, "client", address, 443, source) == "refused"
        assert reach(lab, "client", address, 80, source) == "refused"
        assert ended(connection.result()), connection.result()
    (page,) = ask(lab, "client", web(lab, gateway, "/owa/", connect=address, source=other))
    assert page.get("status") == 302, page
    assert reach(lab, "client", address, 25, source) == "open"


def test_a_network_of_ipv6_is_one_client(lab: Lab, gateway: str, strangers: Strangers) -> None:
    network, other = strangers.network(), strangers.network()
    address = lab.address(gateway, "outside", 6)
    ask(lab, "client", *[form(lab, gateway, connect=address, source=f"{network}1")] * LOGON_RETRIES)
    assert is_banned(lab, gateway, "haproxy-logons", f"{network}1")
    assert f"{network}/64" in elements(lab, gateway, "haproxy-logons")
    assert reach(lab, "client", address, 443, f"{network}2") == "refused"
    assert reach(lab, "client", address, 443, f"{other}2") == "open"
    unban(lab, gateway, f"{network}1")
    assert reach(lab, "client", address, 443, f"{network}2") == "open"


def test_who_changes_addresses_within_a_network_is_banned_too(lab: Lab, gateway: str, strangers: Strangers) -> None:
    """HAProxy counts the network, and holds it."""
    network, address = strangers.network(), lab.address(gateway, "outside", 6)
    probes = [
        form(lab, gateway, connect=address, source=f"{network}{number % 2 + 1}") for number in range(HELD_AFTER + 1)
    ]
    answers = ask(lab, "client", *probes)
    assert answers[-1].get("status") in (429, None), answers
    assert is_banned(lab, gateway, "haproxy-logons", f"{network}1")
    assert reach(lab, "client", address, 443, f"{network}2") == "refused"


def test_a_neighbour_of_the_gateway_is_banned_alone(lab: Lab, gateway: str, strangers: Strangers) -> None:
    source, other, address = strangers.neighbour(), strangers.neighbour(), lab.address(gateway, "outside", 6)
    ask(lab, "client", *[form(lab, gateway, connect=address, source=source)] * LOGON_RETRIES)
    assert is_banned(lab, gateway, "haproxy-logons", source)
    assert reach(lab, "client", address, 443, source) == "refused"
    assert reach(lab, "client", address, 443, other) == "open"
    unban(lab, gateway, source)
    assert reach(lab, "client", address, 443, source) == "open"


def test_administrators_are_never_banned(lab: Lab, gateway: str, strangers: Strangers) -> None:
    ways = [(lab.address("admin", "admin", family), lab.address(gateway, "admin", family)) for family in (4, 6)]
    with patient_sshd(lab, gateway):
        said = [fail_at_ssh(lab, "admin", address, source, SSH_RETRIES + 2) for source, address in ways]
    assert all("Permission denied" in text for texts in said for text in texts), said
    failures = [form(lab, gateway, network="admin", connect=address) for _, address in ways] * (LOGON_RETRIES + 2)
    answers = ask(lab, "admin", *failures)
    assert {answer.get("status") for answer in answers} == {302}, answers
    caught_up(lab, gateway, strangers, "sshd", "haproxy-logons")
    for source, address in ways:
        assert [jail for jail in JAILS if source in banned(lab, gateway, jail)] == []
        assert reach(lab, "admin", address, 443) == "open"
        # Not even by hand, nor in one /64 with somebody else.
        lab.exec(gateway, ["fail2ban-client", "set", "sshd", "banip", source])
        assert is_banned(lab, gateway, "sshd", source)
        assert reach(lab, "admin", address, 22) == "open"
        unban(lab, gateway, source)


def test_the_gateway_never_bans_itself(lab: Lab, gateway: str, strangers: Strangers) -> None:
    """All its addresses, those too that come later, like one that moves between two gateways."""
    added = f"10.{lab.slot}.2.{240 + int(gateway[-1])}"
    lab.exec(gateway, ["ip", "address", "add", f"{added}/24", "dev", "outside"])
    try:
        with patient_sshd(lab, gateway):
            own = {lab.address(gateway, "outside"), lab.address(gateway, "inside", 6), added}
            for address in own:
                said = fail_at_ssh(lab, gateway, address, address, SSH_RETRIES + 1)
                assert all("Permission denied" in text for text in said), said
            caught_up(lab, gateway, strangers, "sshd")
            assert own & set(banned(lab, gateway, "sshd")) == set()
    finally:
        lab.exec(gateway, ["ip", "address", "delete", f"{added}/24", "dev", "outside"])


def test_unban_opens_the_door_at_once(lab: Lab, gateway: str, strangers: Strangers) -> None:
    source, address = strangers.address(), lab.address(gateway, "outside")
    ask(lab, "client", *[form(lab, gateway, source=source)] * LOGON_RETRIES)
    assert is_banned(lab, gateway, "haproxy-logons", source)
    assert reach(lab, "client", address, 443, source) == "refused"
    unban(lab, gateway, source)
    (page,) = ask(lab, "client", web(lab, gateway, "/owa/", source=source))
    assert page.get("status") == 302, page


def test_bans_survive_a_restart(lab: Lab, gateway: str, strangers: Strangers) -> None:
    source, network = strangers.address(), strangers.network()
    ask(lab, "client", *[form(lab, gateway, source=source)] * LOGON_RETRIES)
    six = lab.address(gateway, "outside", 6)
    ask(lab, "client", *[form(lab, gateway, source=f"{network}1", connect=six)] * LOGON_RETRIES)
    assert is_banned(lab, gateway, "haproxy-logons", source)
    assert is_banned(lab, gateway, "haproxy-logons", f"{network}1")
    restart(lab, gateway)
    assert is_banned(lab, gateway, "haproxy-logons", source)
    assert wait_for(lambda: {source, f"{network}/64"} <= elements(lab, gateway, "haproxy-logons"))
    assert reach(lab, "client", lab.address(gateway, "outside"), 443, source) == "refused"
    assert reach(lab, "client", six, 443, f"{network}2") == "refused"


BAN_TIMES = """
import sqlite3, sys
known = sqlite3.connect("file:/var/lib/fail2ban/fail2ban.sqlite3?mode=ro", uri=True)
query = "SELECT bantime FROM bans WHERE jail = 'closed' AND ip = ? ORDER BY timeofban"
print(*(seconds for seconds, in known.execute(query, sys.argv[1:])))
"""


# Knocks on the first port until that is closed to this source, then on the others; prints those that are.
KNOCK = """
import socket, sys, time
address, source, *ports = sys.argv[1:]
def is_closed(port):
    try:
        socket.create_connection((address, int(port)), 3, (source, 0)).close()
    except ConnectionRefusedError:
        return True
    return False
until = time.monotonic() + 60
while not is_closed(ports[0]) and time.monotonic() < until:
    time.sleep(0.1)
print(*filter(is_closed, ports))
"""


def test_bans_end_and_each_is_longer_than_the_one_before(lab: Lab, gateway: str, strangers: Strangers) -> None:
    source, address = strangers.address(), lab.address(gateway, "outside")
    for _ in range(3):
        with ThreadPoolExecutor(1) as pool:
            # By the client itself, and from before on: a busy machine would ask when the first ban is over.
            closed = pool.submit(lab.exec, "client", ["python3", "-c", KNOCK, address, source, "25", "22"])
            ask(lab, "client", *[web(lab, gateway, "/owa/healthcheck.htm", source=source)] * 2)
            # This jail has no ports, so everything is closed.
            assert closed.result().stdout.split() == ["25", "22"]
        assert wait_for(lambda: source not in banned(lab, gateway, "closed"), 90)
        assert reach(lab, "client", address, 25, source) == "open"
    seconds = lab.exec(gateway, ["python3", "-c", BAN_TIMES, source]).stdout.split()
    assert seconds == [str(BAN_TIME), str(2 * BAN_TIME), str(4 * BAN_TIME)]
