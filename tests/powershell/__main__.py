"""Has the PowerShell of the tests checked by its self-test: `PYTHONPATH=tests python3 -m powershell`."""

import subprocess
import sys
from pathlib import Path

from powershell import PowerShellError, absence, find


def main() -> int:
    """Run the self-test of the PowerShell that is found; return its exit status."""
    try:
        program = find()
    except PowerShellError as error:
        print(f"powershell: {error}", file=sys.stderr)
        return 1
    if program is None:
        print(f"The self-test of the PowerShell is left out. {absence()}")
        return 0
    return subprocess.run([Path(__file__).parent / "source" / "selftest.sh", program], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
