"""What the filters count: real lines of the real HAProxy and sshd, asked of the real fail2ban-regex."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from bans import ACTIVESYNC, EWS, HELD_AFTER, MAILBOX, SSH_RETRIES, basic, fail_at_ssh, form

from forgeries import HEADS
from lab import Lab
from probes import ask
from probes.checks import MAIL, wait_for, web
from standin.ntlm import md4
from strangers import Strangers

SAMPLES = sorted(Path(__file__).resolve().parents[1].joinpath("samples").glob("*.log"))
FOLDER = "/etc/fail2ban/filter.d"
FILTERS = {
    "haproxy-logons": f"{FOLDER}/postern-haproxy-logons.conf",
    "sshd": "sshd[mode=aggressive]",
}


def counted(lab: Lab, gateway: str, name: str, lines: list[str]) -> list[str]:
    """Return the addresses that a filter finds in lines of a log, as Fail2Ban itself tells them."""
    lab.exec(gateway, ["sh", "-c", "cat >/run/lab-lines"], input="".join(f"{line}\n" for line in lines))
    found = lab.exec(gateway, ["fail2ban-regex", "--usedns", "no", "-o", "ip", "/run/lab-lines", FILTERS[name]])
    return [line.strip() for line in found.stdout.splitlines() if line.strip()]


def journal(lab: Lab, gateway: str, unit: str, since: float) -> list[str]:
    """Return a unit's lines, as a syslog file would hold them."""
    argv = ["journalctl", f"--unit={unit}", f"--since=@{since:.3f}", "--output=short-iso", "--no-pager", "--quiet"]
    return lab.exec(gateway, argv).stdout.splitlines()


def shape(line: str) -> str:
    """Return the names of a line's fields in their order."""
    return re.sub(r'=(?:"(?:[^"\\]|\\.)*"|[^ "]*)', "=", line.partition("]: ")[2])


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_are_counted_or_not(lab: Lab, gateway: str, path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    samples = [tuple(line.split("\t", 1)) for line in lines if not line.startswith("#")]
    if path.stem == "sshd":
        # Each release of sshd has words of its own, and its Fail2Ban knows them.
        samples = [(host, line) for host, line in samples if line.split()[1] == gateway]
    hits, misses = [line for host, line in samples if host != "-"], [line for host, line in samples if host == "-"]
    assert hits
    assert misses
    assert counted(lab, gateway, path.stem, hits) == [host for host, _ in samples if host != "-"]
    assert counted(lab, gateway, path.stem, misses) == []


def test_every_filter_has_samples() -> None:
    assert {path.stem for path in SAMPLES} == set(FILTERS)


def ntlm(lab: Lab, gateway: str, secret: str, source: str) -> dict[str, Any]:
    """A probe that logs a connection on with NTLM: three messages, the first two of which end in 401 always."""
    nt_hash = md4(secret.encode("utf-16-le")).hex()
    return {"kind": "ntlm", "user": "anna", "nt_hash": nt_hash, "requests": [web(lab, gateway, EWS, source=source)]}


def test_failed_logons_are_told_and_nothing_else(lab: Lab, gateway: str, strangers: Strangers) -> None:
    began, right = time.time(), lab.secrets()["mailbox"]
    failing = {way: strangers.address() for way in ("form", "basic", "activesync", "ntlm")}
    good, forger = strangers.address(), strangers.address()
    clients = (*failing.values(), good, forger)
    body = urlencode({"username": MAILBOX, "password": right, "destination": f"https://{MAIL}/owa/"})
    address = lab.address(gateway, "outside")
    talk = {"kind": "dialogue", "connect": address, "server_name": MAIL, "source": forger}
    forged = [
        {**talk, "port": port, "tls": tls, "steps": [{"send": f"{head}\r\nConnection: close\r\n\r\n"}, {"closed": 20}]}
        for head in HEADS
        for port, tls in ((443, "implicit"), (80, "none"))
    ]
    answers = ask(
        lab,
        "client",
        form(lab, gateway, source=failing["form"]),
        basic(lab, gateway, EWS, source=failing["basic"]),
        basic(lab, gateway, ACTIVESYNC, source=failing["activesync"]),
        ntlm(lab, gateway, "wrong", failing["ntlm"]),
        # None of these is a failure: right passwords, and a page that asks for a password.
        {**form(lab, gateway, source=good), "body": body},
        ntlm(lab, gateway, right, good),
        web(lab, gateway, EWS, source=good),
        *forged,
    )
    assert [answer.get("status") for answer in answers[:3]] == [302, 401, 401]
    assert answers[3]["answers"][0]["steps"] == [401, 401]
    assert answers[5]["answers"][0]["steps"] == [401, 200]

    def lines() -> list[str]:
        found = journal(lab, gateway, "haproxy", began)
        return [line for line in found if any(source in line for source in (*clients, "198.18.77"))]

    assert wait_for(lambda: all(any(source in line for line in lines()) for source in clients))
    # HAProxy tells what failed, and that is nothing to ban anybody for.
    failed = [line for line in lines() if " logon=failed " in line]
    honest = (*failing.values(), good)
    assert Counter(source for source in honest for line in failed if source in line) == Counter(failing.values())
    assert counted(lab, gateway, "haproxy-logons", lines()) == []
    assert sum(forger in line for line in lines()) > len(HEADS)


def test_held_logons_are_counted(lab: Lab, gateway: str, strangers: Strangers) -> None:
    began, network, address = time.time(), strangers.network(), lab.address(gateway, "outside", 6)
    sources = [f"{network}{number % 2 + 1}" for number in range(HELD_AFTER + 1)]
    ask(lab, "client", *[form(lab, gateway, connect=address, source=source) for source in sources])
    assert wait_for(lambda: any("logon=held" in line for line in journal(lab, gateway, "haproxy", began)))
    lines = [line for line in journal(lab, gateway, "haproxy", began) if network in line]
    assert counted(lab, gateway, "haproxy-logons", lines) == [sources[-1]]
    # The samples are of the form that HAProxy writes now.
    samples = next(path for path in SAMPLES if path.stem == "haproxy-logons").read_text(encoding="utf-8").splitlines()
    forms = {shape(line) for line in lines}
    for sample in samples:
        if sample.partition("\t")[0] not in ("-", sample):
            assert shape(sample) in forms, sample


def test_wrong_passwords_at_sshd_are_counted(lab: Lab, gateway: str, strangers: Strangers) -> None:
    began, source = time.time(), strangers.address()
    times = SSH_RETRIES - 2
    fail_at_ssh(lab, "client", lab.address(gateway, "outside"), source, times)
    assert wait_for(lambda: len(counted(lab, gateway, "sshd", journal(lab, gateway, "ssh", began))) >= times)
    assert set(counted(lab, gateway, "sshd", journal(lab, gateway, "ssh", began))) == {source}


def test_nothing_in_a_line_tells_a_wrong_password_for_mail(lab: Lab, gateway: str) -> None:
    """What docs/fail2ban.md says of IMAP: TLS passes through, so HAProxy knows who hung up first, and no more."""
    began, address, right = time.time(), lab.address(gateway, "outside"), lab.secrets()["mailbox"]
    probe = {"kind": "imap", "port": 993, "tls": "implicit", "connect": address, "server_name": MAIL, "user": MAILBOX}
    good, bad = ask(lab, "client", {**probe, "password": right}, {**probe, "password": "wrong"})
    assert good["logon"].startswith("OK"), good
    assert bad["logon"].startswith("NO"), bad

    def lines() -> list[str]:
        return [line for line in journal(lab, gateway, "haproxy", began) if "frontend=imaps" in line]

    assert wait_for(lambda: len(lines()) == 2)
    assert len({shape(line) for line in lines()}) == 1
    assert all(re.search(r" state=(?:--|CD) ", line) for line in lines()), lines()
    assert counted(lab, gateway, "haproxy-logons", lines()) == []
