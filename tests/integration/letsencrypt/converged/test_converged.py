"""Once the role has run: one certificate of the authority on both gateways, which renews without anybody."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from authorities import MAIL, ROLE, health, issued, log, program, serials, timers, tls, trust

from lab import Lab
from lab.topology import GATEWAYS
from plays import play
from probes import ask
from probes.checks import wait_for, web
from probes.hosts import host
from snapshots import snapshot

NAMES = ["autodiscover.example.test", MAIL]
CHALLENGE = "http://{}/.well-known/acme-challenge/{}"
LISTENER = """
import http.server
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        good = self.path == "/.well-known/acme-challenge/known"
        self.send_response(200 if good else 404)
        self.end_headers()
        self.wfile.write(b"known.thumbprint" if good else b"")
http.server.ThreadingHTTPServer(("127.0.0.1", 842), Answer).serve_forever()
"""


@pytest.fixture(scope="module", autouse=True)
def roots(lab: Lab) -> None:
    trust(lab)


def test_a_client_trusts_both_gateways(lab: Lab) -> None:
    found = {gateway: tls(lab, gateway, name) for gateway in GATEWAYS for name in NAMES}
    for answer in found.values():
        assert answer == {"verified": True, "serial": found["gw1"]["serial"], "names": NAMES, "bits": 2048}


def test_the_gateways_say_that_all_is_well(lab: Lab, gateway: str) -> None:
    done = program(lab, gateway, "--check")
    assert (done.returncode, done.stdout.startswith("mail: OK, ")) == (0, True), done.stdout
    assert health(lab, gateway)["origin"] == ("issued" if gateway == "gw1" else "handed over")
    metrics = lab.exec(gateway, ["cat", "/var/lib/prometheus/node-exporter/postern_certificates.prom"]).stdout
    assert 'postern_certificate_presented{name="mail"} 1' in metrics
    assert 'postern_certificate_status{name="mail"} 0' in metrics


def test_a_second_run_shows_nothing_changes_nothing_and_asks_nobody(lab: Lab) -> None:
    """After a reload, too, which reads from the disk what was swapped into the running process."""
    before, presented, asked = {host: snapshot(lab, host) for host in GATEWAYS}, serials(lab), log(lab, "first")
    for gateway in GATEWAYS:
        lab.exec(gateway, ["systemctl", "reload", "haproxy"])
    run = play(ROLE, "--check", "--diff")
    assert (run.status, run.changed) == (0, 0), run.output
    assert "+++ " not in run.output
    assert {host: snapshot(lab, host) for host in GATEWAYS} == before
    run = play(ROLE)
    assert (run.status, run.changed) == (0, 0), run.output
    assert log(lab, "first") == asked
    assert serials(lab) == presented
    assert (
        0 < len(re.findall(r"^TASK \[postern.mail_gateway.letsencrypt : (?!Validating)", run.output, re.MULTILINE)) <= 6
    )


def test_a_timer_that_finds_nothing_due_asks_nobody(lab: Lab) -> None:
    asked, before = log(lab, "first"), serials(lab)
    for gateway in GATEWAYS:
        for unit in ("certbot.timer", "postern-certificates.path"):
            assert host(lab, gateway).service(unit).is_running
    assert timers(lab) == {"gw1": "success", "gw2": "success"}
    assert log(lab, "first") == asked
    assert serials(lab) == before


def test_an_account_without_rights_can_answer_no_challenge(lab: Lab, gateway: str) -> None:
    as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "python3", "-c", LISTENER]
    done = lab.exec(gateway, as_nobody, check=False)
    assert "PermissionError" in done.stderr


def test_either_gateway_answers_a_challenge_of_the_other(lab: Lab) -> None:
    lab.exec("gw1", ["systemd-run", "--quiet", "--unit=challenge", "--collect", "python3", "-c", LISTENER])
    try:
        assert wait_for(lambda: ":842 " in lab.exec("gw1", ["ss", "-Hltn"]).stdout)
        asked = [
            {"kind": "http", "url": CHALLENGE.format(MAIL, token), "connect": lab.address(gateway, "outside", family)}
            for token in ("known", "unknown")
            for gateway in GATEWAYS
            for family in (4, 6)
        ]
        # Whichever gateway the load balancing begins with.
        for _ in range(3):
            answers = ask(lab, "client", *asked)
            assert [answer["status"] for answer in answers[:4]] == [200] * 4
            # Nobody knows it: one listener says so, on the other gateway there is none.
            assert {answer["status"] for answer in answers[4:]} <= {404, 503}
            assert {answer["body"] for answer in answers[:4]} == {"known.thumbprint"}
    finally:
        lab.exec("gw1", ["systemctl", "stop", "challenge"])
    # Nobody listens: no circle, and no redirect.
    asked = [
        {"kind": "http", "url": CHALLENGE.format(MAIL, "known"), "connect": lab.address(gateway, "outside")}
        for gateway in GATEWAYS
    ]
    assert [answer["status"] for answer in ask(lab, "client", *asked)] == [503, 503]


PROCESSES = """
import glob, os, time
seen, until = set(), time.monotonic() + 120
while time.monotonic() < until and not os.path.exists("/run/seen-enough"):
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            seen.add(open(path, "rb").read().replace(b"\\0", b" ").decode("utf-8", "replace"))
        except OSError:
            pass
    time.sleep(0.02)
print("\\n".join(sorted(seen)))
"""


def test_renew_now_everywhere_while_clients_are_connected(lab: Lab) -> None:
    """Nobody notices; and no log, output or command line has a key."""
    before, count = serials(lab), issued(lab)
    check = play("playbooks/renew.yml", "--check", "--diff", "--limit", "gw1")
    assert check.status == 0, check.output
    assert "mail: it is asked for, the one in use ends at " in check.text
    assert "+issued anew" in check.output
    assert (serials(lab), issued(lab)) == (before, count)

    stop, failed = threading.Event(), []

    def visit() -> None:
        while not stop.is_set():
            pages = [web(lab, gateway, "/owa/", verify=False, pause=0.2) for gateway in GATEWAYS]
            sessions = [{"kind": "session", "requests": [page] * 20} for page in pages]
            for answer in ask(lab, "client", *sessions, parallel=2):
                failed.extend(one for one in answer["answers"] if one.get("status") != 302)

    poll = [web(lab, gateway, "/owa/hold?seconds=20", verify=False, timeout=60) for gateway in GATEWAYS]
    with ThreadPoolExecutor() as pool:
        watched = [pool.submit(lab.exec, gateway, ["python3", "-c", PROCESSES]) for gateway in GATEWAYS]
        held = pool.submit(ask, lab, "client", *poll, parallel=2)
        visits = pool.submit(visit)
        run = play("playbooks/renew.yml", "-vvv")
        stop.set()
        for gateway in GATEWAYS:
            lab.exec(gateway, ["touch", "/run/seen-enough"])
        visits.result()
        assert [answer.get("body") for answer in held.result()] == ["held", "held"]
        processes = [one.result().stdout for one in watched]
    assert run.status == 0, run.output
    assert not failed
    after = serials(lab)
    assert len(set(after.values())) == 1
    assert after["gw1"] != before["gw1"]
    assert issued(lab) == count + 1
    assert "mail: OK, " in run.text

    journals = [lab.exec(gateway, ["journalctl", "--output=cat", "--no-pager"]).stdout for gateway in GATEWAYS]
    logs = [lab.exec(gateway, ["sh", "-c", "cat /var/log/letsencrypt/*.log || true"]).stdout for gateway in GATEWAYS]
    key = lab.exec("gw1", ["cat", "/etc/haproxy/certificates/mail.pem"]).stdout.splitlines()
    login = lab.exec("gw1", ["cat", "/var/lib/postern/certificates/id_ed25519"]).stdout.splitlines()
    assert any("certbot" in one for one in processes[0].splitlines())
    for text in (run.output, *processes, *journals, *logs):
        assert "PRIVATE KEY-----" not in text
        assert key[1] not in text
        assert login[1] not in text


def test_the_account_for_certificates_can_do_nothing_else(lab: Lab) -> None:
    base = [
        "-o", "IdentityFile=/var/lib/postern/certificates/id_ed25519", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5",
        "-o", "UserKnownHostsFile=/var/lib/postern/certificates/known_hosts", "-o", "HostKeyAlias=gw2",
    ]  # fmt: skip
    target = f"certificates@{lab.address('gw2', 'inside')}"
    shell = lab.exec("gw1", ["ssh", *base, target, "id"], check=False)
    assert shell.returncode != 0
    assert "uid=" not in shell.stdout
    # The host key is pinned: another host in its place gets nothing.
    other = [option.replace("HostKeyAlias=gw2", "HostKeyAlias=gw1") for option in base]
    refused = lab.exec("gw1", ["ssh", *other, target, "id"], check=False)
    assert "Host key verification failed" in refused.stderr


# In gw2's upload folder, by the account that peers log on to, and what the receiver says of it.
HOSTILE = (
    ("ln -s /etc/shadow new; mv -T new mail.pem", "it is a link or can't be opened"),
    ("ln -s /etc/haproxy/certificates/mail.pem new; mv -T new mail.pem", "it is a link or can't be opened"),
    ("mkfifo new; mv -T new mail.pem", "it is not a plain file"),
    ("head -c 300000 /dev/zero >new; mv -T new mail.pem", "it has 300000 bytes"),
    ("mkdir mail.pem", "it is not a plain file"),
    ("echo half >new; mv -T new mail.pem", "The upload isn't whole, or doesn't come from a gateway."),
    ("echo x >new; mv -T new other.pem", "'other' is not among this host's certificates"),
)
DROP = """
cd /srv/sftp/certificates/files
for script; do
    runuser -u certificates -- sh -c "$script"
    for i in $(seq 200); do [ -z "$(ls)" ] && break; sleep 0.1; done
    [ -z "$(ls)" ] || { echo "left by $script: $(ls)" >&2; exit 1; }
done
"""


def test_what_isnt_a_whole_certificate_is_never_installed(lab: Lab) -> None:
    before, since = serials(lab), f"@{time.time():.3f}"
    pem = lab.exec("gw2", ["cat", "/etc/haproxy/certificates/mail.pem"]).stdout
    lab.exec("gw2", ["sh", "-c", DROP, "sh", *(script for script, _ in HOSTILE)])
    argv = ["journalctl", "--unit=postern-certificates.service", f"--since={since}", "--output=cat", "--no-pager"]

    def said() -> list[str]:
        return [line for line in lab.exec("gw2", argv).stdout.splitlines() if "from a peer" in line]

    assert wait_for(lambda: len(said()) == len(HOSTILE)), said()
    for line, (script, sentence) in zip(said(), HOSTILE, strict=True):
        assert sentence in line, script
    assert serials(lab) == before
    assert lab.exec("gw2", ["cat", "/etc/haproxy/certificates/mail.pem"]).stdout == pem
    assert host(lab, "gw2").service("postern-certificates.path").is_running
    assert program(lab, "gw2", "--check").returncode == 0


def test_a_gateway_that_was_made_anew_gets_it_again(lab: Lab) -> None:
    """As after its disk was replaced: it has a self-signed certificate, and the other one doesn't remember that."""
    before = serials(lab)
    forget = (
        "rm -rf /etc/haproxy/certificates/mail.pem /var/lib/postern/certificates/mail.json && "
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=mail.example.test -days 365 "
        "-addext subjectAltName=DNS:mail.example.test,DNS:autodiscover.example.test "
        "-keyout /etc/haproxy/certificates/mail.pem -out /run/new.pem 2>/dev/null && "
        "cat /run/new.pem >>/etc/haproxy/certificates/mail.pem && systemctl reload haproxy"
    )
    lab.exec("gw2", ["sh", "-c", forget])
    assert wait_for(lambda: serials(lab)["gw2"] != before["gw2"])
    assert program(lab, "gw2", "--check").returncode == 2
    run = play(ROLE)
    assert run.status == 0, run.output
    assert serials(lab) == before
