"""Renewals under load: what clients count while the gateways get one certificate after the other.

Every certificate is really issued by the lab's authority, installed on the first gateway and handed to the second. Each
single request is a handshake of its own, in which the client verifies chain, name and, by TLS itself, the key. On bare
gateways, or those of the scenario letsencrypt::

    python tests/benchmarks/renewals.py 50
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.reloads import Result, under_load
from lab import Lab
from plays import play

CLIENTS = {"keep-alive requests": 10, "single requests": 6, "long polls": 6, "IMAP sessions": 4}
AUTHORITIES = "/run/authorities-and-lab.pem"
# The clients end by themselves after ten minutes.
EACH = 12
_PRESENTED = """
echo | openssl s_client -connect 127.0.0.1:443 -servername mail.example.test 2>/dev/null | openssl x509 -noout -serial
"""


@dataclass(frozen=True)
class Renewals:
    """How many different certificates each gateway presented after a renewal, and what clients counted meanwhile."""

    serials: dict[str, set[str]]
    results: list[dict[str, Result]]

    @property
    def failed(self) -> list[str]:
        """Each failure as a sentence."""
        return [why for result in self.results for found in result.values() for why in found.failed]


def measure(lab: Lab, times: int) -> Renewals:
    """Renew so many times while clients are connected to both gateways.

    :raises AssertionError: the gateways can't be provisioned, or a renewal failed.
    """
    run = play("molecule/letsencrypt/converge.yml")
    if run.status:
        raise AssertionError(run.output)
    roots = lab.exec("acme", ["curl", "--silent", "--insecure", "https://localhost:15000/roots/0"]).stdout
    script = f"cat - /etc/ssl/certs/lab-ca.pem >{AUTHORITIES}"
    lab.exec("client", ["sh", "-c", script], input=roots)
    serials: dict[str, set[str]] = {"gw1": set(), "gw2": set()}
    results = []

    def renew(count: int) -> None:
        for _ in range(count):
            lab.exec("gw1", ["postern-certificates", "renew", "--now"])
            for gateway, seen in serials.items():
                seen.add(lab.exec(gateway, ["sh", "-c", _PRESENTED]).stdout)

    for begun in range(0, times, EACH):
        count = min(EACH, times - begun)
        results.append(under_load(lab, serials, lambda count=count: renew(count), CLIENTS, AUTHORITIES))
    return Renewals(serials, results)


def main() -> int:
    """Measure, and say what came; the status is 1 where a client noticed anything."""
    times = int(sys.argv[1]) if sys.argv[1:] else 50
    began = time.monotonic()
    found = measure(Lab.load(), times)
    for number, result in enumerate(found.results, 1):
        for gateway, counted in result.items():
            told = ", ".join(f"{kind.done} {name}" for name, kind in counted.kinds.items())
            print(f"{gateway}, part {number}: {told}; {counted.reloads} reloads, {len(counted.failed)} failed")
    for failure in found.failed[:10]:
        print(f"  {failure}")
    seen = {gateway: len(serials) for gateway, serials in found.serials.items()}
    print(f"{times} renewals; certificates presented: {seen}; {time.monotonic() - began:.0f} s in all")
    return 0 if not found.failed and all(count == times for count in seen.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
