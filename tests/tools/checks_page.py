#!/usr/bin/env python3
"""Write the checks into docs/verify.md, from the table of checks. A unit test holds the page to the table."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "verify.md"
PLACE = re.compile(r"(<!-- checks:begin -->\n).*(<!-- checks:end -->)", re.DOTALL)


def page() -> str:
    """The page as it should be."""
    from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks import table

    return PLACE.sub(lambda found: f"{found[1]}\n{table.page()}\n{found[2]}", PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / ".cache" / "collections"))
    PAGE.write_text(page(), encoding="utf-8")
