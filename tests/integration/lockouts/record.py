"""Logs on afresh and writes down what became of a trial: ``record.py FILE LOGON``, with what Ansible knows as input.

It runs as a task of the trials' play, on the controller.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import time
from pathlib import Path


def main(file: str, logon: str) -> None:
    given = json.load(sys.stdin)
    # OpenSSH 9.8 and later make a client wait that was refused a few times (PerSourcePenalties).
    for _number in range(40):
        done = subprocess.run(json.loads(logon), check=False, capture_output=True, text=True, timeout=60)
        if done.returncode == 0:
            break
        time.sleep(1)
    result = {
        "said": given["tried"].get("msg", "it went through"),
        "logon": f"{done.returncode} {done.stderr}".strip() if done.returncode else "0",
        # The gateways, on this machine, have its clock, and UTC.
        "seconds": time.time() - dt.datetime.fromisoformat(f"{given['began']}+00:00").timestamp(),
        "difference": sorted(set(given["before"]) ^ set(given["after"])),
    }
    Path(file).write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
