"""Throughput of the configuration that the role renders, against a bare one for the same service.

All HAProxys run on the same gateway at the same time and have the same servers; they are asked in turns, many short
times. The servers are fast ones on the host ``relay``, so that the difference is the gateway's: the Python servers of
the Exchange stand-in would hide it. The gateway is provisioned by ``playbooks/gateway.yml`` from the lab's own
declaration, with three differences: the addresses of the servers, limits for one client that the one client here
doesn't reach, and the ports of the bare configurations open too. Every rule is still evaluated for every request.
"""

from __future__ import annotations

import contextlib
import json
import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import Lab
from lab.declaration import declaration
from plays import ROOT, Run, play
from probes.checks import let_in

HERE = Path(__file__).parent
GENERATED = ROOT / ".cache" / "benchmarks"
FOLDER = "/run/benchmark"
# "silent" is the bare configuration without its log.
UNITS = {"rendered": "haproxy.service", "bare": "benchmark-bare.service", "silent": "benchmark-silent.service"}
PORTS = {
    "HTTPS": {"rendered": 443, "bare": 8443, "silent": 9443},
    "SMTP": {"rendered": 25, "bare": 2525, "silent": 3525},
}
CLIENTS = 20  # connections at once
SECONDS, WARM_UP = 1, 0.3  # of one run of h2load; connections are made while it warms up
IDLE = 15  # seconds in which nobody asks, to know what the health checks cost
MAILS = 300  # of one run of smtp-source, each over a connection of its own

# Runs each command in turn, so many rounds, every other one backwards; prints name → [[began, seconds, output], …].
TAKE_TURNS = """
import json, subprocess, sys, time
commands, rounds = json.loads(sys.argv[1]), int(sys.argv[2])
found = {name: [] for name in commands}
for number in range(rounds):
    for name in list(commands)[:: -1 if number % 2 else 1]:
        now, began = time.strftime("%H:%M:%S"), time.monotonic()
        done = subprocess.run(commands[name], capture_output=True, text=True, timeout=60)
        if done.returncode:
            sys.exit(f"{' '.join(commands[name])}: {done.stderr or done.stdout}")
        found[name].append([now, time.monotonic() - began, done.stdout])
print(json.dumps(found))
"""

# Prints unit → CPU time of all its processes, in ticks of 10 ms.
CPU_TIME = """
import glob, json, sys
found = dict.fromkeys(sys.argv[1:], 0)
for path in glob.glob("/proc/[0-9]*"):
    try:
        groups, stat = open(path + "/cgroup").read(), open(path + "/stat").read().rpartition(")")[2].split()
    except OSError:
        continue
    for unit in found:
        if f"/{unit}" in groups:
            found[unit] += int(stat[11]) + int(stat[12])
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Measured:
    """The rendered configuration against another one.

    Attributes:
        throughput: What came through in the same time, rendered to other: the median of all rounds.
        spread: Its lower and upper quartile.
        cpu: CPU time of HAProxy itself for a request or mail, rendered to other, over all rounds, less what it
            needs when nobody asks: only the rendered one has health checks, and those go on in the other's turn.
        rate: Requests or mails a second through the other one, median.
    """

    protocol: str
    against: str
    throughput: float
    spread: tuple[float, float]
    cpu: float
    rate: float


def server_addresses(lab: Lab) -> list[str]:
    """Return the two addresses that the host ``relay`` has while this goes on."""
    network = lab.address("relay", "inside").rpartition(".")[0]
    return [f"{network}.31", f"{network}.32"]


def put(lab: Lab, host: str, name: str, content: str) -> None:
    lab.exec(host, ["sh", "-c", f"umask 077 && mkdir -p {FOLDER} && cat >{FOLDER}/{name}"], input=content)


def start(lab: Lab, host: str, unit: str, *command: str) -> None:
    lab.exec(host, ["systemctl", "stop", unit], check=False)
    lab.exec(host, ["systemd-run", f"--unit={unit}", "--collect", "--property=LimitNOFILE=20000", *command])


@contextlib.contextmanager
def fast_servers(lab: Lab) -> Iterator[None]:
    """Have fast servers on the host ``relay``: HAProxy, from the packages in the gateways' image, and smtp-sink."""
    addresses = server_addresses(lab)
    packages = lab.exec("gw1", ["sh", "-c", "cd /opt/packages && tar -c *.deb | base64"]).stdout
    unpack = f"cd {FOLDER} && base64 -d | tar -x && for file in *.deb; do dpkg-deb -x $file root; done"
    program, libraries = f"{FOLDER}/root/usr/sbin/haproxy", f"{FOLDER}/root/usr/lib/x86_64-linux-gnu"
    try:
        for name, content in (
            ("tls.pem", (lab.folder / "ca" / "mail.pem").read_text()),
            ("page", "x" * 1024),
            ("server.cfg", (HERE / "server.cfg").read_text()),
        ):
            put(lab, "relay", name, content)
        lab.exec("relay", ["sh", "-c", unpack], input=packages)
        for address in addresses:
            lab.exec("relay", ["ip", "address", "replace", f"{address}/24", "dev", "inside"])
        setting = f"--setenv=LD_LIBRARY_PATH={libraries}"
        start(lab, "relay", "benchmark-web", setting, program, "-db", "-f", f"{FOLDER}/server.cfg")
        start(lab, "relay", "benchmark-mail", "smtp-sink", "-u", "nobody", "0.0.0.0:25", "1000")
        yield
    finally:
        lab.exec("relay", ["systemctl", "stop", "benchmark-web", "benchmark-mail"], check=False)
        for address in addresses:
            lab.exec("relay", ["ip", "address", "delete", f"{address}/24", "dev", "inside"], check=False)
        lab.exec("relay", ["rm", "-rf", FOLDER], check=False)


@contextlib.contextmanager
def bare_configurations(lab: Lab, gateway: str) -> Iterator[None]:
    """Have the bare configuration run beside the rendered one, once with its log and once without."""
    first, second = server_addresses(lab)
    bare = (HERE / "bare.cfg").read_text().replace("FIRST", first).replace("SECOND", second)
    silent = re.sub(r"^ *(log|option (dontlognull|httplog|tcplog)).*\n", "", bare, flags=re.MULTILINE)
    for ports in PORTS.values():
        silent = silent.replace(f"bind :{ports['bare']}", f"bind :{ports['silent']}")
    try:
        for name, content in (("bare", bare), ("silent", silent)):
            put(lab, gateway, f"{name}.cfg", content)
            start(lab, gateway, UNITS[name], "haproxy", "-db", "-f", f"{FOLDER}/{name}.cfg")
        yield
    finally:
        lab.exec(gateway, ["systemctl", "stop", UNITS["bare"], UNITS["silent"]], check=False)
        lab.exec(gateway, ["rm", "-rf", FOLDER], check=False)


def converged(run: Run) -> None:
    if run.status:
        raise AssertionError(run.output)


def provision(lab: Lab, gateway: str) -> None:
    """Provision a gateway as its administrator would, with the benchmark's servers and limits."""
    declared = declaration()
    most = {"connections": 100_000, "connection_rate": 1_000_000, "request_rate": 1_000_000}
    declared["https"] = {**declared.get("https", {}), "limits": most}
    ports = [port for known in PORTS.values() for name, port in known.items() if name != "rendered"]
    declared["firewall"] = {"open": [{"ports": ports, "comment": "benchmark"}]}
    addresses = dict(zip(("ex1", "ex2"), server_addresses(lab), strict=True))
    servers = {name: {"mail_gateway_server_address": address} for name, address in addresses.items()}
    GENERATED.mkdir(parents=True, exist_ok=True)
    inventory = GENERATED / "servers.yml"
    inventory.write_text(json.dumps({"exchange": {"hosts": servers}}), encoding="utf-8")
    limited = ("--limit", f"{gateway},localhost")
    converged(play("playbooks/gateway.yml", "-i", str(inventory), *limited, variables={"mail_gateway": declared}))
    let_in(lab, gateway)  # whatever ran in the lab before may have left the client banned


def commands(lab: Lab, gateway: str, protocol: str) -> dict[str, list[str]]:
    """Return, for each configuration, what the client runs."""
    address = lab.address(gateway, "outside")
    if protocol == "HTTPS":
        load = ["h2load", "--h1", f"--clients={CLIENTS}", "--threads=1", f"--duration={SECONDS}"]
        load += [f"--warm-up-time={WARM_UP * 1000:.0f}ms", "https://mail.example.test/ews/exchange.asmx"]
        return {name: [*load, f"--connect-to={address}:{port}"] for name, port in PORTS[protocol].items()}
    load = ["smtp-source", f"-s{CLIENTS}", f"-m{MAILS}", "-l2000", "-fload@outside.example", "-tanna@example.test"]
    return {name: [*load, f"{address}:{port}"] for name, port in PORTS[protocol].items()}


def rate(protocol: str, asked: str, began: str, seconds: float, output: str) -> float:
    """Return requests or mails a second; every one of them must have been served, or else it is told since when not.

    smtp-source itself ends with an error when a mail isn't accepted.
    """
    if protocol == "SMTP":
        return MAILS / seconds
    found = re.search(r"requests: (\d+) total.*?(\d+) 2xx", output, re.DOTALL)
    if not found or found[1] != found[2] or found[1] == "0":
        raise AssertionError(f"{asked}: not every request from {began} on was answered with 200:\n{output}")
    return int(found[1]) / SECONDS


def compare(lab: Lab, gateway: str, protocol: str, rounds: int) -> list[Measured]:
    """Ask the rendered and the bare configurations in turns."""

    def cpu_times() -> dict[str, int]:
        times: dict[str, int] = json.loads(lab.exec(gateway, ["python3", "-c", CPU_TIME, *UNITS.values()]).stdout)
        return times

    asked = json.dumps(commands(lab, gateway, protocol))
    lab.exec("client", ["python3", "-", asked, "1"], input=TAKE_TURNS)  # server connections, sessions, caches
    quiet = cpu_times()
    time.sleep(IDLE)
    before, began = cpu_times(), time.monotonic()
    told = lab.exec("client", ["python3", "-", asked, str(rounds)], input=TAKE_TURNS).stdout
    after, seconds = cpu_times(), time.monotonic() - began
    rates = {
        name: [rate(protocol, f"{gateway}, {name}", *run) for run in runs] for name, runs in json.loads(told).items()
    }
    # What is served while h2load warms up isn't in its numbers, but at the same rate.
    cpu = {
        name: (after[unit] - before[unit] - (before[unit] - quiet[unit]) * seconds / IDLE)
        / (sum(rates[name]) if protocol == "HTTPS" else 1)
        for name, unit in UNITS.items()
    }
    found = []
    for name in ("bare", "silent"):
        ratios = [ours / theirs for ours, theirs in zip(rates["rendered"], rates[name], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        found.append(
            Measured(protocol, name, middle, (low, high), cpu["rendered"] / cpu[name], statistics.median(rates[name]))
        )
    return found


def measure(lab: Lab, gateway: str, rounds: int) -> list[Measured]:
    """Measure one gateway, and leave it with what its declaration says."""
    with fast_servers(lab):
        provision(lab, gateway)
        try:
            with bare_configurations(lab, gateway):
                return [found for protocol in PORTS for found in compare(lab, gateway, protocol, rounds)]
        finally:
            converged(play("playbooks/gateway.yml", "--limit", f"{gateway},localhost"))
