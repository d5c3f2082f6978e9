"""What the lab's gateways must do, asked from the right places with real clients.

The demo shows it, the tests hold to it. Each check takes the lab and a gateway's name and returns rows: where the
question was asked, what was asked, what came, and whether that is right.
"""

from __future__ import annotations

import csv
import io
import re
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from lab import Lab
from lab.topology import EXCHANGE
from probes import ask
from standin import journal

MAIL = "mail.example.test"
ANNA = "anna@example.test"
# Virtual directory → where a client begins, and what a healthy server says to somebody who isn't logged on yet.
OPEN = {
    "owa": ("/owa/", (200, 302)),
    "ews": ("/EWS/Exchange.asmx", (401,)),
    "mapi": ("/mapi/emsmdb/", (401,)),
    "rpc": ("/rpc/rpcproxy.dll", (401,)),
    "oab": ("/OAB/oab.xml", (401,)),
    "activesync": ("/Microsoft-Server-ActiveSync", (401,)),
    "autodiscover": ("/Autodiscover/Autodiscover.xml", (401,)),
    "rest": ("/api/v2.0/me", (401,)),
}
CLOSED = {"ecp": ("/ecp/", (200, 302, 401)), "powershell": ("/PowerShell/", (200, 302, 401))}


#: So many failed logons are one more than `https.limits.failed_logons` lets a client have.
FAILURES = 11


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    place: str
    asked: str
    came: str
    right: bool


def web(
    lab: Lab, gateway: str, path: str, network: str = "outside", scheme: str = "https", **more: Any
) -> dict[str, Any]:
    """A probe for a path of the mail name at one gateway."""
    return {"kind": "http", "url": f"{scheme}://{MAIL}{path}", "connect": lab.address(gateway, network), **more}


def came(answer: dict[str, Any]) -> str:
    """What came to an HTTP request, in a few words."""
    if "error" in answer:
        return str(answer["error"])
    server = served_by(answer)
    return f"{answer['status']}{f' from {server}' if server else ''}"


def served_by(answer: dict[str, Any]) -> str:
    """The Exchange server that an HTTP answer names, or nothing, where it names none or none came."""
    return str(answer.get("headers", {}).get("x-feserver", ""))


def wait_for(true: Callable[[], bool], seconds: float = 90) -> bool:
    """Wait until something is so; tell whether it came to be."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.3)
    return True


def servers(lab: Lab, gateway: str) -> dict[str, dict[str, str]]:
    """Return backend → server → status (``UP``, ``DOWN``, …), as the statistics tell the monitoring network."""
    (answer,) = ask(
        lab,
        "admin",
        {"kind": "http", "url": "http://gateway:8404/;csv", "connect": lab.address(gateway, "admin"), "keep": 10**6},
    )
    found: dict[str, dict[str, str]] = {}
    for line in csv.DictReader(io.StringIO(answer.get("body", "").removeprefix("# "))):
        # The ACME client listens only while it is validated, so nobody checks it.
        if line["svname"] not in ("FRONTEND", "BACKEND") and line["status"] != "no check":
            found.setdefault(line["pxname"], {})[line["svname"]] = line["status"].split()[0]
    return found


def down(lab: Lab, gateway: str) -> list[str]:
    """Return ``backend/server`` of what is out of rotation."""
    return sorted(
        f"{backend}/{server}"
        for backend, states in servers(lab, gateway).items()
        for server, state in states.items()
        if state != "UP"
    )


def all_servers_up(lab: Lab, gateway: str) -> list[Row]:
    wait_for(lambda: not down(lab, gateway))
    out, states = down(lab, gateway), servers(lab, gateway)
    told = ", ".join(out) or f"{sum(len(found) for found in states.values())} servers in {len(states)} backends UP"
    return [Row("admin", "every server of every backend is healthy", told, not out and bool(states))]


def virtual_directories(lab: Lab, gateway: str) -> list[Row]:
    answers = ask(lab, "client", *(web(lab, gateway, path) for path, _ in OPEN.values()))
    return [
        Row(
            "client",
            f"GET https://{MAIL}{path}",
            came(answer),
            answer.get("status") in wanted and served_by(answer) != "",
        )
        for (path, wanted), answer in zip(OPEN.values(), answers, strict=True)
    ]


def closed_paths(lab: Lab, gateway: str) -> list[Row]:
    rows = []
    for place, network, right in (("client", "outside", False), ("admin", "admin", True)):
        answers = ask(lab, place, *(web(lab, gateway, path, network) for path, _ in CLOSED.values()))
        for (path, wanted), answer in zip(CLOSED.values(), answers, strict=True):
            good = answer.get("status") in wanted and served_by(answer) != "" if right else answer.get("status") == 403
            rows.append(Row(place, f"GET https://{MAIL}{path}", came(answer), good))
    return rows


def ipv6(lab: Lab, gateway: str) -> list[Row]:
    """A client with IPv6 is served, although the servers are spoken to over IPv4."""
    address = lab.address(gateway, "outside", 6)
    page, mail_ = ask(
        lab, "client", web(lab, gateway, "/owa/", connect=address), smtp(lab, gateway, "outside", ANNA, connect=address)
    )
    said = str(mail_.get("data") or mail_)
    return [
        Row("client", f"GET https://{MAIL}/owa/ over IPv6", came(page), page.get("status") == 302),
        Row("client", f"mail to {ANNA} over IPv6", said[:9], said.startswith("250 2.6.0")),
    ]


def redirect(lab: Lab, gateway: str) -> list[Row]:
    (answer,) = ask(lab, "client", web(lab, gateway, "/owa/", scheme="http"))
    target = answer.get("headers", {}).get("location", "")
    return [
        Row(
            "client",
            f"GET http://{MAIL}/owa/",
            f"{came(answer)} to {target}",
            answer.get("status") == 301 and target == f"https://{MAIL}/owa/",
        )
    ]


def certificate(lab: Lab, gateway: str) -> list[Row]:
    (answer,) = ask(lab, "client", web(lab, gateway, "/owa/"))
    tls = answer.get("tls", {})
    return [
        Row(
            "client",
            "TLS certificate on 443",
            f"{tls.get('subject')} by {tls.get('issuer')}, {tls.get('version')}",
            MAIL in tls.get("names", []),
        )
    ]


def website(lab: Lab, gateway: str) -> list[Row]:
    """Another site is served, with a certificate that an ACME authority issued to the gateways."""
    asked = {"kind": "http", "url": "https://www.example.test/", "connect": lab.address(gateway, "outside")}
    (answer,) = ask(lab, "client", {**asked, "trust": authority_root(lab)})
    tls = answer.get("tls", {})
    names, issuer, days = tls.get("names", []), str(tls.get("issuer")), tls.get("days_left", 0)
    return [
        Row(
            "client",
            "GET https://www.example.test/",
            came(answer),
            answer.get("status") == 200 and served_by(answer) == "",
        ),
        Row(
            "client",
            "its certificate, from the ACME authority",
            f"{', '.join(names)} by {issuer}, {days} days left",
            names == ["www.example.test"] and issuer.startswith("Pebble") and days > 60,
        ),
    ]


def authority_root(lab: Lab) -> str:
    """Return the root of the lab's ACME authority, which it makes at each start."""
    return lab.exec("acme", ["curl", "--silent", "--insecure", "https://localhost:15001/roots/0"]).stdout


def smtp(lab: Lab, gateway: str, network: str, recipient: str, subject: str = "", **more: Any) -> dict[str, Any]:
    """A probe that sends one mail through a gateway."""
    return {
        "kind": "smtp",
        "connect": lab.address(gateway, network),
        "sender": "sender@outside.example",
        "recipients": [recipient],
        "subject": subject or f"probe {uuid4().hex}",
        **more,
    }


def delivered(lab: Lab, subject: str) -> dict[str, Any]:
    """Return what the Exchange server that accepted a mail noted about it; nothing where none did."""
    for server in EXCHANGE:
        for event in events(lab, server, "smtp_message"):
            if event["subject"] == subject:
                return event
    return {}


def events(lab: Lab, server: str, kind: str, since: int = 0) -> list[dict[str, Any]]:
    """Return what an Exchange server saw, of one kind and after event number ``since``."""
    return list(journal.read(lab.journal_path(server), kind, since))


def last_events(lab: Lab) -> dict[str, int]:
    """Return the number of each Exchange server's latest event."""
    return {server: max((event["n"] for event in events(lab, server, "")), default=0) for server in EXCHANGE}


def mail(lab: Lab, gateway: str) -> list[Row]:
    """Own domain in from outside by the ordinary connector; relay only from the relay host, by the relay connector."""
    rows = []
    for place, network, recipient, accepted, source in (
        ("client", "outside", ANNA, True, lab.address(gateway, "inside")),
        ("client", "outside", "somebody@elsewhere.example", False, ""),
        ("relay", "inside", "somebody@elsewhere.example", True, lab.relay_address(gateway)),
        ("relay", "inside", ANNA, True, lab.relay_address(gateway)),
    ):
        probe = smtp(lab, gateway, network, recipient)
        (answer,) = ask(lab, place, probe)
        told = answer.get("error") or answer.get(f"rcpt {recipient}") or answer.get("mail") or str(answer)
        if accepted:
            event = delivered(lab, probe["subject"])
            connector = str(event.get("connector", "")).split("\\")[-1]
            wanted = "Mail gateway relay" if place == "relay" else "Mail gateway"
            told = f"{answer['data'][:9]} {connector}, which saw {event['source']}" if event else told
            right = connector == wanted and event.get("source") == source
        else:
            right = told.startswith("550 5.7.54")
        rows.append(Row(place, f"mail to {recipient}", told, right))
    return rows


def nobody_relays(lab: Lab, gateway: str) -> list[Row]:
    """While the relay list is empty, its host is refused as everybody is, by the server."""
    elsewhere = "somebody@elsewhere.example"
    rows = []
    wait_for(lambda: not down(lab, gateway))  # the servers may just have been made anew
    for place, network in (("relay", "inside"), ("client", "outside")):
        (answer,) = ask(lab, place, smtp(lab, gateway, network, elsewhere))
        told = str(answer.get("error") or answer.get(f"rcpt {elsewhere}") or answer)
        rows.append(Row(place, f"mail to {elsewhere}, before", told, told.startswith("550 5.7.54")))
    return rows


def mailboxes(lab: Lab, gateway: str) -> list[Row]:
    """A logon over TLS by every door that IMAP and POP have."""
    password = lab.secrets()["mailbox"]
    probes = [
        {
            "kind": kind,
            "port": port,
            "tls": tls,
            "connect": lab.address(gateway, "outside"),
            "server_name": MAIL,
            "user": ANNA,
            "password": password,
        }
        for kind, port, tls in (
            ("imap", 993, "implicit"),
            ("imap", 143, "starttls"),
            ("pop3", 995, "implicit"),
            ("pop3", 110, "starttls"),
        )
    ]
    rows = []
    for probe, answer in zip(probes, ask(lab, "client", *probes), strict=True):
        logon = str(answer.get("logon") or answer.get("error"))
        asked = f"{probe['kind'].upper()} logon on {probe['port']} ({probe['tls']} TLS)"
        rows.append(Row("client", asked, logon, logon.startswith(("OK", "+OK"))))
    return rows


def imap_without_ntlm(lab: Lab, gateway: str) -> list[Row]:
    """IMAP's clients are offered no NTLM, as the servers were told."""
    ways, error = imap_logons(lab, "client", lab.address(gateway, "outside"))
    told = ", ".join(ways) or error or "no AUTH at all"
    return [Row("client", "IMAP offers no NTLM", told, bool(ways) and "AUTH=NTLM" not in ways)]


def imap_logons(lab: Lab, place: str, address: str) -> tuple[list[str], str]:
    """The ways to log on that IMAP offers there (``AUTH=PLAIN``, …), and why there is no answer."""
    imaps = {"kind": "imap", "port": 993, "tls": "implicit", "server_name": MAIL}
    (answer,) = ask(lab, place, {**imaps, "connect": address})
    return [word for word in answer.get("capabilities", []) if word.startswith("AUTH=")], str(answer.get("error", ""))


def metrics(lab: Lab, gateway: str) -> list[Row]:
    rows = []
    for place, network, wanted in (("client", "outside", False), ("admin", "admin", True)):
        (answer,) = ask(
            lab,
            place,
            {
                "kind": "http",
                "url": "http://gateway:8404/metrics",
                "connect": lab.address(gateway, network),
                "keep": 200,
                "timeout": 3,
            },
        )
        open_ = answer.get("status") == 200 and "haproxy_" in answer["body"]
        rows.append(Row(place, "GET http://gateway:8404/metrics", came(answer), open_ == wanted))
    return rows


def logons(lab: Lab, gateway: str) -> list[Row]:
    """Who comes from the administrators' network logs on by key, and sshd takes nothing else."""
    with_key = ssh(lab, gateway, ["-i", str(lab.folder / "ssh" / "id_ed25519"), "-o", "IdentitiesOnly=yes"], "hostname")
    without = ssh(lab, gateway, ["-o", "PubkeyAuthentication=no"], "hostname")
    why = re.search(r"Permission denied \(.*?\)", without.stderr)
    told = why[0] if why else (without.stdout or without.stderr).strip()
    return [
        Row(
            "here",
            "SSH logon with the key",
            with_key.stdout.strip() or with_key.stderr.strip(),
            with_key.returncode == 0,
        ),
        Row("here", "SSH logon without a key", told, told == "Permission denied (publickey)"),
    ]


def ssh(lab: Lab, gateway: str, options: list[str], command: str) -> subprocess.CompletedProcess[str]:
    """Log on from this machine, over a connection of its own."""
    known = [f"UserKnownHostsFile={lab.folder / 'ssh' / 'known_hosts'}", "StrictHostKeyChecking=yes", "BatchMode=yes"]
    common = [word for option in [*known, "ControlPath=none", "ConnectTimeout=10"] for word in ("-o", option)]
    argv = ["ssh", "-F", "none", *common, *options, f"operator@{lab.address(gateway, 'admin')}", command]
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)


def closed_ports(lab: Lab, gateway: str) -> list[Row]:
    """What listens for administrators doesn't answer anybody else."""
    rows = []
    for place, network, open_ in (("client", "outside", False), ("admin", "admin", True)):
        addresses = {family: lab.address(gateway, network, family) for family in (4, 6)}
        probes = [{"kind": "tcp", "connect": address, "port": 22, "timeout": 3} for address in addresses.values()]
        for family, answer in zip(addresses, ask(lab, place, *probes, parallel=2), strict=True):
            told = "open" if "error" not in answer else str(answer["error"])
            rows.append(Row(place, f"port 22 over IPv{family}", told, ("error" not in answer) == open_))
    return rows


def failed_logon(lab: Lab, gateway: str, network: str) -> dict[str, Any]:
    """A probe that fills in OWA's form with a wrong password."""
    body = urlencode({"username": ANNA, "password": "wrong", "destination": f"https://{MAIL}/owa/"})
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    return {**web(lab, gateway, "/owa/auth.owa", network, headers=kind), "method": "POST", "body": body}


_ASK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as client:
    client.connect("/run/haproxy/admin.sock")
    client.sendall(sys.argv[1].encode() + b"\\n")
    while block := client.recv(65536):
        sys.stdout.buffer.write(block)
"""


def runtime(lab: Lab, gateway: str, command: str) -> str:
    """Return the running HAProxy's answer to a command of its runtime API."""
    return lab.exec(gateway, ["python3", "-c", _ASK, command]).stdout


def let_in(lab: Lab, gateway: str) -> None:
    """Let the outside client in again, whatever it did.

    HAProxy counts failed logons for ten minutes, and whoever tries again meanwhile is held and banned once more.
    """
    address = lab.address("client", "outside")
    refused = runtime(lab, gateway, f"clear table clients key ::ffff:{address}").strip()
    assert not refused, refused
    lab.exec(gateway, ["fail2ban-client", "unban", address])


def bans(lab: Lab, gateway: str) -> list[Row]:
    """Who goes on guessing at OWA is shut out, with the connections that he has; an administrator isn't."""
    owa = web(lab, gateway, "/owa/", timeout=3)
    with ThreadPoolExecutor(1) as pool:
        # Gone after 40 seconds, unless it is cut off before.
        waiting = pool.submit(ask, lab, "client", web(lab, gateway, "/owa/hold?seconds=40", timeout=60))
        wait_for(lambda: lab.exec(gateway, ["ss", "-Htn", "dst", lab.address("client", "outside")]).stdout != "")
        ask(lab, "client", *[failed_logon(lab, gateway, "outside")] * FAILURES)
        ask(lab, "admin", *[failed_logon(lab, gateway, "admin")] * FAILURES)
        banned = wait_for(lambda: "error" in ask(lab, "client", owa)[0])
        (answer,) = ask(lab, "client", owa)
        (held,) = waiting.result()
    (admins,) = ask(lab, "admin", web(lab, gateway, "/owa/", "admin"))
    let_in(lab, gateway)
    back = wait_for(lambda: "status" in ask(lab, "client", owa)[0])
    return [
        Row("client", f"{FAILURES} failed logons at OWA, then GET /owa/", came(answer), banned and "error" in answer),
        Row("client", "a request that was waiting meanwhile", came(held), "error" in held),
        Row("admin", f"{FAILURES} failed logons at OWA, then GET /owa/", came(admins), admins.get("status") == 302),
        Row("client", "GET /owa/ after fail2ban-client unban", came(ask(lab, "client", owa)[0]), back),
    ]


def sick_virtual_directory(lab: Lab, gateway: str) -> list[Row]:
    """One service of one server is sick: it alone leaves, and nobody notices."""
    lab.exchange("ex1", "set", "ServerComponentState[EwsProxy].State", '"Inactive"')
    try:
        wait_for(lambda: down(lab, gateway) != [])
        out = down(lab, gateway)
        answers = ask(lab, "client", *[web(lab, gateway, OPEN["ews"][0])] * 10)
        others = ask(lab, "client", *[web(lab, gateway, OPEN["owa"][0])] * 10)
    finally:
        lab.exchange("ex1", "set", "ServerComponentState[EwsProxy].State", '"Active"')
    from_ex2 = sum("EX2" in served_by(answer).upper() for answer in answers)
    served = {served_by(answer).upper() for answer in others}
    back = wait_for(lambda: not down(lab, gateway))
    return [
        Row("admin", "EWS of ex1 is sick: what leaves rotation", ", ".join(out), out == ["exchange_ews/ex1"]),
        Row(
            "client",
            "10 × EWS meanwhile",
            f"{from_ex2} answered by ex2",
            from_ex2 == len(answers) and all(a.get("status") == 401 for a in answers),
        ),
        Row(
            "client",
            "10 × OWA meanwhile",
            f"answered by {', '.join(sorted(served))}",
            {name.split(".")[0] for name in served} == {"EX1", "EX2"},
        ),
        Row("admin", "EWS of ex1 is well again", "back in rotation" if back else ", ".join(down(lab, gateway)), back),
    ]


def server_down(lab: Lab, gateway: str) -> list[Row]:
    """A whole server dies while clients work: none of their requests fails."""
    half = [web(lab, gateway, path) for path, _ in OPEN.values()] * 8
    before = ask(lab, "client", *half, parallel=4)
    lab.exec("ex1", ["systemctl", "kill", "--signal=SIGKILL", "standin"])
    lab.exec("ex1", ["systemctl", "stop", "standin"])
    try:
        at_once = ask(lab, "client", *half, parallel=4)
        wait_for(lambda: "exchange_owa/ex1" in down(lab, gateway))
        later = ask(lab, "client", *half, parallel=4)
        probe = smtp(lab, gateway, "outside", ANNA)
        (sent,) = ask(lab, "client", probe)
    finally:
        lab.exec("ex1", ["systemctl", "start", "standin"])
    failed = [came(answer) for answer in before + at_once + later if answer.get("status", 999) >= 500]
    back = wait_for(lambda: not down(lab, gateway))
    return [
        Row(
            "client",
            f"{len(half) * 3} HTTPS requests while ex1 dies",
            f"{len(failed)} failed{': ' + failed[0] if failed else ''}",
            not failed,
        ),
        Row(
            "client", "mail while ex1 is down", sent.get("data", str(sent))[:9], sent.get("data", "").startswith("250")
        ),
        Row("admin", "ex1 is back", "all UP" if back else ", ".join(down(lab, gateway)), back),
    ]


CHECKS: tuple[Callable[[Lab, str], list[Row]], ...] = (
    all_servers_up,
    certificate,
    virtual_directories,
    ipv6,
    closed_paths,
    redirect,
    website,
    mail,
    mailboxes,
    imap_without_ntlm,
    metrics,
    logons,
    closed_ports,
    sick_virtual_directory,
    server_down,
    bans,
)

# They take a server away from every gateway, so they are asked of one gateway at a time.
DISTURBING = (sick_virtual_directory, server_down)

# What the role exchange does to the servers, a row each.
NEEDING_POWERSHELL = (imap_without_ntlm,)
