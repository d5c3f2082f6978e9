"""Reloads under load: what clients of every kind count while HAProxy takes a new configuration.

``under_load`` keeps clients busy while something happens to the gateways, whatever it is; ``reload_under_load`` has the
role itself change a list of the configuration, again and again::

    from benchmarks.reloads import reload_under_load

    for gateway, result in reload_under_load(lab, ["gw1"], 4).items():
        assert result.reloads == 4
        assert result.failed == []
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from lab import Lab
from plays import ROOT, Run, play

SOURCE = Path(__file__).with_name("load.py").read_text(encoding="utf-8")
GENERATED = ROOT / ".cache" / "benchmarks"
# How many clients of each kind there are at one gateway. Together they stay below the limits for one client that
# the gateways have by default, so no declaration has to be changed for them.
CLIENTS = {
    "keep-alive requests": 30,
    "single requests": 4,
    "long polls": 10,
    "slow answers": 6,
    "slow uploads": 6,
    "SMTP dialogues": 10,
    "IMAP sessions": 6,
}
REST = 1.0  # seconds between two requests of a client, on average
LONGEST = 600  # seconds after which the clients stop by themselves


@dataclass(frozen=True)
class Kind:
    """What the clients of one kind counted: things done, and how many of them a reload happened in the middle of."""

    done: int
    crossed: int
    announced: int
    noticed: int
    failed: list[str]


@dataclass(frozen=True)
class Result:
    """What happened at one gateway."""

    reloads: int
    kinds: dict[str, Kind]
    lost_mail: int

    @property
    def failed(self) -> list[str]:
        """Each failure as a sentence; nothing when the gateway keeps its promise."""
        found = [f"{name}: {why}" for name, kind in self.kinds.items() for why in kind.failed]
        return found + [f"{self.lost_mail} accepted mails never reached a server"] * bool(self.lost_mail)


def reload_times(lab: Lab, gateway: str, since: float) -> list[float]:
    """When systemd reloaded HAProxy, in seconds since the epoch."""
    journal = lab.exec(
        gateway,
        [
            "journalctl",
            "--unit=haproxy",
            f"--since=@{int(since)}",
            "--output=json",
            "--output-fields=MESSAGE,JOB_TYPE",
            "--no-pager",
        ],
    ).stdout
    entries = [json.loads(line) for line in journal.splitlines()]
    times = [
        int(entry["__REALTIME_TIMESTAMP"]) / 1e6 for entry in entries if str(entry["MESSAGE"]).startswith("Reloaded ")
    ]
    return [moment for moment in times if moment >= since]


def mails(lab: Lab, subject: str) -> int:
    """Count the mails with this word in the subject that the Exchange servers accepted."""
    journals = [lab.journal_path(server).read_text(encoding="utf-8") for server in ("ex1", "ex2")]
    events = [json.loads(line) for journal in journals for line in journal.splitlines() if subject in line]
    return sum(event["kind"] == "smtp_message" for event in events)


def under_load(
    lab: Lab,
    gateways: Iterable[str],
    happens: Callable[[], None],
    clients: dict[str, int] | None = None,
    authorities: str = "/etc/ssl/certs/lab-ca.pem",
) -> dict[str, Result]:
    """Return what clients counted while something happened.

    :param happens: called once all clients are connected; whatever it raises is raised here after the clients ended.
    :param clients: kind → number at each gateway (``CLIENTS``).
    :param authorities: file on the client with the authorities that it trusts.
    """
    run = uuid4().hex
    stop, began = f"/run/load-{run}.stop", time.time()

    def order(gateway: str) -> dict[str, Any]:
        return {
            "address": lab.address(gateway, "outside"), "name": "mail.example.test", "subject": f"{gateway}-{run}",
            "password": lab.secrets()["mailbox"], "clients": clients or CLIENTS, "rest": REST, "seconds": LONGEST,
            "ready": f"/run/load-{run}.{gateway}", "stop": stop, "authorities": authorities,
        }  # fmt: skip

    def load(gateway: str) -> dict[str, Any]:
        done = lab.exec("client", ["python3", "-", json.dumps(order(gateway))], input=SOURCE, timeout=LONGEST + 60)
        counted: dict[str, Any] = json.loads(done.stdout)
        return counted

    names = list(gateways)
    with ThreadPoolExecutor(len(names)) as pool:
        loads = {gateway: pool.submit(load, gateway) for gateway in names}
        try:
            wait_until_connected(lab, [order(gateway)["ready"] for gateway in names], loads.values())
            happens()
            for gateway, future in loads.items():
                if future.done():
                    future.result()
                    raise AssertionError(
                        f"The clients of {gateway} ended before it was over; they last {LONGEST} seconds."
                    )
        finally:
            lab.exec("client", ["touch", stop])
            wait(loads.values())
            lab.exec("client", ["rm", "-f", stop, *(order(gateway)["ready"] for gateway in names)])
    results = {}
    for gateway, counted in ((gateway, future.result()) for gateway, future in loads.items()):
        times = reload_times(lab, gateway, began)
        kinds = {name: kind(numbers, times) for name, numbers in counted.items()}
        accepted = counted.get("SMTP dialogues", {"done": 0})["done"]
        results[gateway] = Result(len(times), kinds, max(0, accepted - mails(lab, f"{gateway}-{run}")))
    return results


def wait_until_connected(lab: Lab, files: Sequence[str], loads: Iterable[Future[Any]]) -> None:
    """Wait until every kind of client is connected at every gateway, or the clients came to an end."""
    deadline = time.monotonic() + 60
    while lab.exec("client", ["ls", *files], check=False).returncode:
        if time.monotonic() > deadline or any(future.done() for future in loads):
            return
        time.sleep(0.5)


def kind(numbers: dict[str, Any], reloads: list[float]) -> Kind:
    crossed = sum(any(begin < moment < end for moment in reloads) for begin, end in numbers["spans"])
    return Kind(numbers["done"], crossed, numbers.get("announced", 0), numbers.get("noticed", 0), numbers["failed"])


def changing_playbook(times: int) -> Path:
    """Write a playbook in which the role runs so many times, each time with another list of relay clients.

    What the role gets is derived as for ``playbooks/gateway.yml``; the last run leaves what the declaration says.
    """
    every_other = f"['203.0.113.9/32'] if ({times} - round) is even else []"
    another = "{{ hostvars[inventory_hostname].haproxy_relay_networks + (" + every_other + ") }}"
    playbook = [
        {"name": "Derive", "ansible.builtin.import_playbook": str(ROOT / "playbooks" / "preflight.yml")},
        {
            "name": "Change a list, again and again",
            "hosts": "gateways",
            "gather_facts": False,
            "become": True,
            "tasks": [
                {
                    "name": "The role runs with another list of relay clients",
                    "ansible.builtin.include_role": {"name": "postern.mail_gateway.haproxy"},
                    "vars": {"haproxy_relay_networks": another},
                    "loop": list(range(times)),
                    "loop_control": {"loop_var": "round"},
                },
            ],
        },
    ]
    GENERATED.mkdir(parents=True, exist_ok=True)
    path = GENERATED / "reloads.yml"
    path.write_text(json.dumps(playbook, indent=1), encoding="utf-8")
    return path


def reload_under_load(lab: Lab, gateways: Iterable[str], times: int) -> dict[str, Result]:
    """Let the role change the converged gateways' configuration an even number of times, under load."""
    if times % 2:
        raise ValueError(f"{times} changes don't end with what the declaration says; take an even number.")
    names = list(gateways)
    runs: list[Run] = []
    playbook = changing_playbook(times)
    results = under_load(lab, names, lambda: runs.append(play(playbook, "--limit", ",".join(names))))
    if runs[0].status:
        raise AssertionError(runs[0].output)
    return results
