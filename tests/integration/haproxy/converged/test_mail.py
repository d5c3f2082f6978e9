"""SMTP, IMAP and POP: who reaches which server, and from which of the gateway's addresses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from lab import Lab
from lab.topology import GATEWAYS
from probes import ask
from probes.checks import EXCHANGE, delivered, events, mailboxes, smtp, wait_for
from probes.hosts import host
from strangers import Strangers

ELSEWHERE = "somebody@elsewhere.example"
OWN = "anna@example.test"


def sessions(lab: Lab, names: list[str], each: int = 1) -> dict[str, list[dict[str, str]]]:
    """Return the SMTP sessions of the clients that call themselves so, as the servers saw them; wait for ``each``."""
    found: dict[str, list[dict[str, str]]] = {}

    def all_there() -> bool:
        found.clear()
        found.update({name: [] for name in names})
        for server in EXCHANGE:
            for event in events(lab, server, "smtp_session"):
                if event["helo"] in found:
                    found[event["helo"]].append({**event, "server": server})
        return all(len(those) == each for those in found.values())

    assert wait_for(all_there), found
    return found


def test_a_client_stays_with_its_server_and_clients_take_turns(lab: Lab, gateway: str, strangers: Strangers) -> None:
    names = {strangers.address(): f"{uuid4().hex}.example" for _ in range(8)}
    # The second time in another order, since turns alone would bring the same servers.
    for order in (list(names), list(reversed(names))):
        greeting = {"kind": "smtp", "connect": lab.address(gateway, "outside"), "sender": "a@b.example"}
        ask(lab, "client", *({**greeting, "source": source, "helo": names[source]} for source in order))
    seen = sessions(lab, list(names.values()), 2)
    used = [{session["server"] for session in those} for those in seen.values()]
    assert all(len(found) == 1 for found in used)
    assert sorted(found.pop() for found in used) == ["ex1"] * 4 + ["ex2"] * 4
    # Nobody of them came from the address that may relay.
    assert {one["source"] for those in seen.values() for one in those} == {lab.address(gateway, "inside")}


def test_only_the_relay_list_relays(lab: Lab, gateway: str, strangers: Strangers) -> None:
    relay, egress = lab.relay_address(gateway), lab.address(gateway, "inside")
    listed = smtp(lab, gateway, "inside", ELSEWHERE)
    (answer,) = ask(lab, "relay", listed)
    assert answer["data"].startswith("250"), answer
    event = delivered(lab, listed["subject"])
    assert (event["source"], event["connector"].split("\\")[1]) == (relay, "Mail gateway relay")

    # Not on the list: strangers, an administrator, and the relay host's own IPv6 address. The relay client relays by
    # SMTP on 25, and is a client like any other on 587.
    others = [
        ("client", smtp(lab, gateway, "outside", ELSEWHERE, source=strangers.address())),
        ("client", {**smtp(lab, gateway, "outside", ELSEWHERE), "connect": lab.address(gateway, "outside", 6)}),
        ("admin", smtp(lab, gateway, "admin", ELSEWHERE)),
        ("relay", {**smtp(lab, gateway, "inside", ELSEWHERE), "connect": lab.address(gateway, "inside", 6)}),
        ("relay", {"kind": "smtp", "connect": egress, "port": 587}),
    ]
    names = [f"{uuid4().hex}.example" for _ in others]
    with ThreadPoolExecutor() as pool:
        waiting = [
            pool.submit(ask, lab, host, {**probe, "helo": name})
            for (host, probe), name in zip(others, names, strict=True)
        ]
        answers = [one.result()[0] for one in waiting]
    assert all(answer[f"rcpt {ELSEWHERE}"].startswith("550 5.7.54") for answer in answers[:-1]), answers
    assert {one["source"] for those in sessions(lab, names).values() for one in those} == {egress}


def test_the_relay_address_comes_back(lab: Lab) -> None:
    def present(gateway: str) -> bool:
        return f"{lab.relay_address(gateway)}/" in lab.exec(gateway, ["ip", "-brief", "address"]).stdout

    for gateway in GATEWAYS:
        address = lab.relay_address(gateway)
        assert host(lab, gateway).service("haproxy-addresses").is_enabled
        lab.exec(gateway, ["systemctl", "restart", "haproxy-addresses"])
        assert present(gateway)
        lab.exec(gateway, ["ip", "address", "delete", f"{address}/32", "dev", "inside"])
        assert not present(gateway)
        lab.exec(gateway, ["systemctl", "restart", "haproxy-addresses"])
        assert present(gateway)
        # Each time it was gone, only the relay clients had noticed.
        probe = smtp(lab, gateway, "inside", ELSEWHERE)
        (answer,) = ask(lab, "relay", probe)
        assert answer["data"].startswith("250"), answer
        assert delivered(lab, probe["subject"])["source"] == address


def test_mailboxes_open_by_every_door(lab: Lab, gateway: str) -> None:
    rows = mailboxes(lab, gateway)
    assert len(rows) == 4
    assert [row for row in rows if not row.right] == []
