#!/usr/bin/env python3
"""The HAProxy of another suite of Debian, for the unit tests: `POSTERN_HAPROXY=$(tests/setup/haproxy.py testing)`.

It is unpacked below .cache with all that it needs, and started by the loader that came with it: this machine's
libraries may be older. Nothing is installed.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from lab.errors import LabError
from lab.images import mirror

# It starts itself anew by the name that it was called by, so that has to be this file's.
PROGRAM = """#!/bin/sh
exec "{loader}" --argv0 "$0" --library-path "{libraries}" "{root}/usr/sbin/haproxy" "$@"
"""


def unpacked(suite: str) -> Path:
    """Fetch what the suite has today, and return the path of the program.

    Raises:
        LabError: There is no mirror, or it doesn't have it.
    """
    root = ROOT / ".cache" / f"haproxy-{suite}"
    shutil.rmtree(root, ignore_errors=True)
    command = ["mmdebstrap", "--quiet", "--variant=extract", "--include=haproxy"]
    # A mirror that lags behind by weeks, or a machine whose clock is ahead, will do for what only reads a file.
    command += ['--aptopt=Acquire::Check-Valid-Until "false"', suite, str(root), mirror()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason"])[-1]
        raise LabError(f"HAProxy of Debian {suite} can't be fetched ({said}): see to the mirror and run again.")
    loader = next((root / "usr").glob("lib*/ld-linux*.so.*"), None) or next((root / "usr/lib").glob("*/ld-linux*.so.*"))
    libraries = next((root / "usr" / "lib").glob("*-linux-gnu*"))
    program = root / "haproxy"
    program.write_text(PROGRAM.format(loader=loader, libraries=libraries, root=root))
    program.chmod(0o755)
    return program


def main() -> int:
    """Print the path of the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", help="a suite of Debian, such as testing")
    try:
        print(unpacked(parser.parse_args().suite))
    except LabError as error:
        print(f"haproxy: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
