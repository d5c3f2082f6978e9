"""Shows what the provisioned lab does: a table of real probes from the right places. Exits with 1 if one is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab import Lab
from probes.checks import CHECKS


def main() -> int:
    lab = Lab.load()
    wrong = total = 0
    print(f"{'':6}{'through':9}{'from':8}{'asked':60}came")
    for gateway in ("gw1", "gw2"):
        for check in CHECKS:
            for row in check(lab, gateway):
                total += 1
                wrong += not row.right
                print(f"{'ok' if row.right else 'WRONG':6}{gateway:9}{row.place:8}{row.asked:60}{row.came}", flush=True)
    print(f"\n{total - wrong} of {total} as the declaration says." + (f" {wrong} WRONG." if wrong else ""))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
