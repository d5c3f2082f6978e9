"""What the tests ask the lab's authorities, the gateways' certificates, and the program on the gateways."""

from __future__ import annotations

import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lab import Lab
from lab.topology import GATEWAYS
from plays import Run

CONVERGE = "molecule/letsencrypt/converge.yml"
ROLE = "molecule/letsencrypt/certificates.yml"
MAIL = "mail.example.test"
PORTS = {"first": 14000, "second": 14001, "short": 14002, "refusing": 14003}
_TLS = """
set -- -connect "$1" -servername "$2" -verify_hostname "$2" -CAfile /run/authorities.pem
echo | openssl s_client "$@" 2>/dev/null >/run/said
grep -m 1 "Verify return code" /run/said
openssl x509 -in /run/said -noout -serial -enddate -pubkey -ext subjectAltName
openssl x509 -in /run/said -noout -text | grep "Public-Key"
"""


def url(authority: str) -> str:
    """Return the address of an authority's directory."""
    return f"https://acme.example.test:{PORTS[authority]}/dir"


def trust(lab: Lab) -> None:
    """Give the client the authorities' roots, which they make at each start."""
    fetch = "for port in 15000 15001 15002; do curl -sk https://localhost:$port/roots/0; done"
    lab.exec("client", ["sh", "-c", "cat >/run/authorities.pem"], input=lab.exec("acme", ["sh", "-c", fetch]).stdout)


def tls(lab: Lab, gateway: str, name: str = MAIL, port: int = 443) -> dict[str, Any]:
    """Return what a client learns of the certificate that a gateway presents: verified or not, serial, names, key."""
    said = lab.exec("client", ["sh", "-c", _TLS, "sh", f"{lab.address(gateway, 'outside')}:{port}", name]).stdout
    (verified,) = re.findall(r"Verify return code: (\d+)", said)
    (serial,) = re.findall(r"^serial=(\w+)", said, re.MULTILINE)
    return {
        "verified": verified == "0",
        "serial": serial,
        "names": sorted(re.findall(r"DNS:([^,\s]+)", said)),
        "bits": int(re.findall(r"\((\d+) bit", said)[0]),
    }


def serials(lab: Lab, name: str = MAIL) -> dict[str, str]:
    return {gateway: tls(lab, gateway, name)["serial"] for gateway in GATEWAYS}


def log(lab: Lab, authority: str) -> list[str]:
    """Return all that an authority has noted."""
    argv = ["journalctl", f"--unit=pebble@{authority}", "--output=cat", "--no-pager"]
    return lab.exec("acme", argv).stdout.splitlines()


def issued(lab: Lab, authority: str = "first") -> int:
    """Return how many certificates an authority has issued since the gateways were made anew."""
    since = lab.exec("gw1", ["stat", "--format=%Y", "/run/lab-ready"]).stdout.strip()
    argv = ["journalctl", f"--unit=pebble@{authority}", f"--since=@{since}", "--output=cat", "--no-pager"]
    return lab.exec("acme", argv).stdout.count("Issued certificate serial")


def program(lab: Lab, gateway: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program on a gateway."""
    return lab.exec(gateway, ["postern-certificates", *arguments], check=False)


def health(lab: Lab, gateway: str, name: str = "mail") -> dict[str, Any]:
    """Return how a certificate is, as the gateway's own check says it."""
    found: list[dict[str, Any]] = json.loads(program(lab, gateway, "--check", "--json").stdout)
    return next(one for one in found if one["name"] == name)


def timers(lab: Lab, *gateways: str) -> dict[str, str]:
    """Run what certbot's timer runs, on several gateways at once; return how that ended."""

    def run(gateway: str) -> str:
        lab.exec(gateway, ["systemctl", "start", "certbot.service"], check=False)
        return lab.exec(gateway, ["systemctl", "show", "--property=Result", "--value", "certbot"]).stdout.strip()

    names = gateways or GATEWAYS
    with ThreadPoolExecutor() as pool:
        return dict(zip(names, pool.map(run, names), strict=True))


def sentences(run: Run) -> dict[str, str]:
    """Return what each host said when it failed."""
    found = re.findall(r"^fatal: \[(\w+)\]: FAILED! => (\{.*?\})$", run.output, re.MULTILINE | re.DOTALL)
    return {host: str(json.loads(result)["msg"]) for host, result in found}
