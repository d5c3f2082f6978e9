"""Names, certificates and the authority have changed; then much leaves the variables."""

from __future__ import annotations

from typing import Any

from authorities import ROLE, health, issued, log, program, serials, tls, trust

from lab import Lab
from lab.topology import GATEWAYS
from plays import play
from probes.hosts import host

NAMES = ["autodiscover.example.test", "mail.example.test", "webmail.example.test"]
SIDE_EFFECT = "molecule/letsencrypt/side_effect.yml"
SECRET = "zWNDZM6eQGHWpSRTPal5eIUYFTu7"  # the beginning of what side_effect.yml gives
TRACES = """
ls -d /usr/local/sbin/postern-certificates /etc/postern /var/lib/postern/certificates /etc/letsencrypt/postern.ini \\
    /etc/systemd/system/certbot.service.d /etc/systemd/system/postern-certificates.* /etc/letsencrypt/renewal/*.conf \\
    /etc/letsencrypt/live/mail /var/lib/prometheus/node-exporter/postern_certificates.prom 2>/dev/null
"""


def test_one_issue_each_took_it_all_over(lab: Lab) -> None:
    trust(lab)
    assert issued(lab, "second") == 2
    for gateway in GATEWAYS:
        assert {**tls(lab, gateway), "serial": ""} == {"verified": True, "serial": "", "names": NAMES, "bits": 2048}
        assert tls(lab, gateway, "www.example.test")["names"] == ["www.example.test"]
        assert program(lab, gateway, "--check").returncode == 0
        assert health(lab, gateway)["authority"].endswith(":14001/dir")
    for name in ("mail.example.test", "www.example.test"):
        assert len(set(serials(lab, name).values())) == 1


def test_the_key_of_the_bound_account_is_roots_alone(lab: Lab, gateway: str) -> None:
    found = lab.exec(
        gateway, ["grep", "-rl", SECRET, "/etc", "/var/log", "/var/lib/postern"], check=False
    ).stdout.split()
    assert "/etc/letsencrypt/postern.ini" in found
    for path in found:
        assert lab.exec(gateway, ["stat", "-c", "%u %a", path]).stdout == "0 600\n", path
    journal = lab.exec(gateway, ["journalctl", "--output=cat", "--no-pager"]).stdout
    assert SECRET not in journal


def test_a_second_run_changes_nothing_and_asks_nobody(lab: Lab) -> None:
    asked = log(lab, "second")
    run = play(SIDE_EFFECT, "-vvv")
    assert (run.status, run.changed) == (0, 0), run.output
    assert log(lab, "second") == asked
    assert SECRET not in run.output


def kept(lab: Lab) -> dict[str, list[str]]:
    """What certbot on gw1 keeps: the digests of all private keys of two lineages and of its copies, and requests."""
    folders = ("archive/www/privkey*", "archive/mail/privkey*", "keys/*", "csr/*")
    found = {}
    for folder in folders:
        script = f"sha256sum /etc/letsencrypt/{folder}.pem 2>/dev/null | cut -d ' ' -f 1"
        found[folder] = lab.exec("gw1", ["sh", "-c", script]).stdout.split()
    return found


def test_a_certificate_that_left_is_gone(lab: Lab) -> None:
    before, files = serials(lab), kept(lab)
    own = files["archive/www/privkey*"]
    assert own
    assert set(own) < set(files["keys/*"])
    mail = [{"name": "mail", "names": NAMES}]
    variables = {"letsencrypt_certificates": mail, "haproxy_certificates": mail, "haproxy_websites": []}
    check = play(SIDE_EFFECT, "--check", "--diff", "--limit", "gw1", "--skip-tags", "haproxy", variables=variables)
    assert check.status == 0, check.output
    assert "--- before: certificate www" in check.output
    run = play(SIDE_EFFECT, variables=variables)
    assert run.status == 0, run.output
    assert serials(lab) == before
    for gateway in GATEWAYS:
        left = lab.exec(
            gateway, ["sh", "-c", "find /etc/letsencrypt /etc/haproxy /var/lib/postern -name 'www*'"]
        ).stdout
        assert left == ""
    # The copies of its keys and its requests went with it, and no other.
    after = kept(lab)
    assert after["archive/mail/privkey*"] == files["archive/mail/privkey*"]
    assert set(after["keys/*"]) == set(files["keys/*"]) - set(own)
    assert set(after["csr/*"]) < set(files["csr/*"])
    assert len(after["csr/*"]) == len(files["csr/*"]) - len(own)
    for gateway in GATEWAYS:
        assert program(lab, gateway, "--check").returncode == 0


def test_everything_goes_where_no_certificate_is_left(lab: Lab) -> None:
    """HAProxy goes on with the one that it has."""
    before = serials(lab)
    nothing: dict[str, Any] = {"letsencrypt_certificates": [], "letsencrypt_peers": []}
    run = play(ROLE, variables=nothing)
    assert run.status == 0, run.output
    for gateway in GATEWAYS:
        assert lab.exec(gateway, ["sh", "-c", TRACES], check=False).stdout == ""
        assert host(lab, gateway).service("certbot.timer").is_enabled
    assert serials(lab) == before
    run = play(ROLE, "--limit", "gw1", variables=nothing)
    assert (run.status, run.changed) == (0, 0), run.output
