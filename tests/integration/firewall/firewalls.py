"""What the tests ask of a firewall: what clients reach through it, what ufw and the kernel say, what a play says."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from typing import Any

import plays
from lab import Lab

CONVERGE = "molecule/firewall/converge.yml"
#: Runs the module, once for each trial.
tried = partial(plays.tried, "firewall")

#: Something listens on each of them, on both families; SSH is there anyway.
LISTENING = (25, 80, 110, 143, 443, 587, 6003, 8080, 9999)
COUNTED = 9998  # UDP: packets that got through are counted

_LISTEN = """
import os, socket, sys, threading, time
def tick(connection):
    try:
        while True:
            connection.sendall(b"tick\\n")
            time.sleep(0.1)
    except OSError:
        connection.close()
def serve(server):
    while True:
        threading.Thread(target=tick, args=(server.accept()[0],), daemon=True).start()
for port in map(int, sys.argv[2:]):
    server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
    threading.Thread(target=serve, args=(server,), daemon=True).start()
count = 0
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as counter:
    counter.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    counter.bind(("::", int(sys.argv[1])))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
    while True:
        counter.recv(100)
        count += 1
        open("/run/lab-counted", "w").write(str(count))
"""

_REACH = """
import json, socket, sys, concurrent.futures
def reach(address, port):
    try:
        socket.create_connection((address, port), 3).close()
        return "open"
    except ConnectionRefusedError:
        return "rejected"
    except OSError:
        return "silent"
asked = [(address, port) for address in sys.argv[1].split(",") for port in map(int, sys.argv[2].split(","))]
with concurrent.futures.ThreadPoolExecutor(len(asked)) as pool:
    answers = list(pool.map(lambda one: reach(*one), asked))
print(json.dumps([[*one, answer] for one, answer in zip(asked, answers)]))
"""

# Holds a connection open and counts its ticks, and sends packets to a closed port without a pause.
_WATCH = """
import json, select, socket, sys, time
held, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
connection = socket.create_connection((held, 25), 5)
connection.settimeout(5)
print("ready", flush=True)
packets, ticks, broken = 0, 0, ""
began = time.monotonic()
kinds = [
    (socket.socket(socket.AF_INET, socket.SOCK_DGRAM), held),
    (socket.socket(socket.AF_INET6, socket.SOCK_DGRAM), address),
]
connection.setblocking(False)
while not select.select([sys.stdin], [], [], 0)[0]:
    for sender, target in kinds:
        sender.sendto(b"x", (target, port))
    packets += 1
    try:
        data = connection.recv(1000)
        if not data:
            broken = "closed"
            break
        ticks += data.count(b"tick")
    except BlockingIOError:
        pass
    except OSError as error:
        broken = str(error)
        break
    time.sleep(0.001)
seconds = time.monotonic() - began
connection.settimeout(30)
try:
    # What was under way, and then one more tick after everything.
    while not broken and len(connection.recv(1000)) == 1000:
        pass
    if not broken and not connection.recv(1000):
        broken = "closed"
except OSError as error:
    broken = str(error)
print(json.dumps({"packets": packets, "ticks": ticks, "broken": broken, "seconds": seconds}))
"""


def start_listeners(lab: Lab, gateway: str) -> None:
    stop_listeners(lab, gateway)
    lab.exec(gateway, ["sh", "-c", "cat > /run/lab-listen.py"], input=_LISTEN)
    ports = [str(port) for port in LISTENING]
    # systemd-run returns when everything listens.
    unit = ["systemd-run", "--quiet", "--unit=lab-listen", "--collect", "--service-type=notify"]
    lab.exec(gateway, [*unit, "python3", "/run/lab-listen.py", str(COUNTED), *ports])


def stop_listeners(lab: Lab, gateway: str) -> None:
    lab.exec(gateway, ["systemctl", "stop", "lab-listen"], check=False)
    lab.exec(gateway, ["rm", "-f", "/run/lab-counted", "/run/lab-listen.py"])


def counted(lab: Lab, gateway: str) -> int:
    """Return how many packets to the closed port got through."""
    return int(lab.exec(gateway, ["cat", "/run/lab-counted"], check=False).stdout or 0)


def reach(lab: Lab, host: str, gateway: str, network: str) -> dict[int, dict[str, set[int]]]:
    """Return family → "open", "rejected" or "silent" → ports, as a client on a host of the lab finds them."""
    addresses = {lab.address(gateway, network, family): family for family in (4, 6)}
    ports = ",".join(str(port) for port in (22, *LISTENING))
    done = lab.exec(host, ["python3", "-c", _REACH, ",".join(addresses), ports])
    found: dict[int, dict[str, set[int]]] = {family: {} for family in (4, 6)}
    for address, port, answer in json.loads(done.stdout):
        found[addresses[address]].setdefault(answer, set()).add(port)
    return found


def knock(lab: Lab, gateway: str, port: int, times: int, family: int) -> list[str]:
    """Return what became of connections in quick succession to one port."""
    ports = ",".join([str(port)] * times)
    address = lab.address(gateway, "outside", family)
    done = lab.exec("client", ["python3", "-c", _REACH.replace("len(asked)", "1"), address, ports])
    return [answer for _address, _port, answer in json.loads(done.stdout)]


def expected_rules(lab: Lab) -> list[str]:
    """Return what molecule/firewall/converge.yml asks for, as ufw itself shows it."""
    v4, v6 = f"10.{lab.slot}", f"fd77:{lab.slot}"
    return [
        f"ufw allow from {v4}.3.0/24 to any port 22 proto tcp comment 'postern: administrators'",
        f"ufw allow from {v6}:3::/64 to any port 22 proto tcp comment 'postern: administrators'",
        "ufw allow 25/tcp comment 'postern: smtp'",
        "ufw allow 80,443/tcp comment 'postern: web'",
        "ufw limit log 587/tcp comment 'postern: submission'",
        "ufw reject 6000:6007/tcp comment 'postern: X11'",
        "ufw allow POP3 comment 'postern: pop'",
        f"ufw allow from {v4}.1.11 proto vrrp comment 'postern: VRRP'",
        f"ufw allow from {v4}.1.12 proto vrrp comment 'postern: VRRP'",
        f"ufw allow from {v6}:1::11 proto vrrp comment 'postern: VRRP'",
        "ufw route allow in on outside out on inside to any port 8080 proto tcp comment 'postern'",
        "ufw deny out to 198.51.100.7 port 25 proto tcp comment 'postern'",
    ]


class Watch:
    """A client that holds a connection to a gateway and presses against a closed port until it is asked."""

    def __init__(self, lab: Lab, gateway: str) -> None:
        targets = [lab.address(gateway, "outside", family) for family in (4, 6)]
        argv = lab.command("client", ["python3", "-c", _WATCH, *targets, str(COUNTED)])
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._process.communicate(timeout=120)[0])
        return found


def show_added(lab: Lab, gateway: str) -> list[str]:
    """Return ufw's own list of its rules, as commands."""
    lines = lab.exec(gateway, ["ufw", "show", "added"]).stdout.splitlines()
    return [line for line in lines if line.startswith("ufw ")]
