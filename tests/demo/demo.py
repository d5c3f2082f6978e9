"""Shows what the lab's declaration does to both sides: the site is provisioned, and real clients ask it.

At first nobody may relay; then the relay list changes, and gateways and Exchange servers follow in one run. Ends with a
table of probes from the right places, and with 1 if one is wrong.
"""

from __future__ import annotations

import fcntl
import functools
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab import Lab
from lab.declaration import declaration
from lab.topology import GATEWAYS
from powershell import absence
from probes.checks import CHECKS, DISTURBING, NEEDING_POWERSHELL, Row, let_in, nobody_relays
from probes.connectors import make_by_hand

ROOT = Path(__file__).resolve().parents[2]


def say(text: str) -> None:
    print(text, flush=True)


def site(*arguments: str, meanwhile: Callable[[], None] | None = None) -> None:
    """Run the playbook, and end where it fails. What is done meanwhile is shown before its output."""
    command = ["ansible-playbook", "-i", "inventory/lab", "playbooks/site.yml", *arguments]
    title = f"\n$ {' '.join(command)}"
    start = time.monotonic()
    if meanwhile is None:
        say(title)
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
    else:
        with (
            tempfile.TemporaryFile("w+") as output,
            subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT) as running,
        ):
            meanwhile()
            status = running.wait()
            output.seek(0)
            say(f"{title}\n{output.read().rstrip()}")
    if status:
        sys.exit(1)
    say(f"({time.monotonic() - start:.0f} s)")


def without_relay_clients(lab: Lab) -> Path:
    """Write the lab's declaration with an empty relay list, as extra variables."""
    other = declaration()
    other["smtp"]["relay_clients"] = []
    path = lab.folder / "without-relay-clients.json"
    path.write_text(json.dumps({"mail_gateway": other}))
    return path


def table(lab: Lab, checks: tuple[Any, ...], gateways: Sequence[str] = GATEWAYS) -> list[Row]:
    """Ask through each gateway, print each answer as it comes, and return them all.

    What takes a server away from all gateways is asked through one of them, each time another.
    """
    rows = []
    say(f"\n{'':6}{'through':9}{'from':8}{'asked':60}came")
    turns = itertools.cycle(gateways)
    with ThreadPoolExecutor(len(gateways)) as pool:
        for check in checks:
            through = [next(turns)] if check in DISTURBING else gateways
            for gateway, came in zip(through, pool.map(functools.partial(check, lab), through), strict=True):
                rows += came
                for row in came:
                    say(f"{'ok' if row.right else 'WRONG':6}{gateway:9}{row.place:8}{row.asked:60}{row.came}")
    return rows


def main() -> int:
    lab = Lab.load()
    lock = (lab.folder / "demo.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("Another demonstration is at work in this lab: wait for its end.")
        return 1
    checks = CHECKS
    if not lab.powershell:
        checks = tuple(check for check in CHECKS if check not in NEEDING_POWERSHELL)
        say(f"{absence()} The role exchange is not shown, and the servers' receive connectors are made by hand.")
        make_by_hand(lab)
    # Where all is provisioned already, one gateway and one server show well enough what it is without the list.
    again = lab.exec("gw2", ["test", "-e", "/etc/haproxy/haproxy.cfg"], check=False).returncode == 0
    one = ["--limit", "gw1,ex1,localhost"]
    site("-e", f"@{without_relay_clients(lab).relative_to(ROOT)}", *(one if again else ()))
    for gateway in GATEWAYS:
        let_in(lab, gateway)  # a demonstration that was cut short may have left it out
    rows: list[Row] = []

    def before() -> None:
        rows.extend(table(lab, (nobody_relays,), ("gw1",)))
        say("\nThe relay list gets its host: a check shows both sides.")

    site("--check", "--diff", *one, meanwhile=before)
    site()
    rows += table(lab, checks)
    wrong = sum(not row.right for row in rows)
    say(f"\n{len(rows) - wrong} of {len(rows)} as the declaration says." + (f" {wrong} WRONG." if wrong else ""))
    if len(checks) < len(CHECKS):
        left_out = (len(CHECKS) - len(checks)) * len(GATEWAYS)
        say(f"{left_out} rows were left out, which show what the role exchange did. {absence()}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
