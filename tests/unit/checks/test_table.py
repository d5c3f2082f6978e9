"""The table of checks is whole, and docs/verify.md says what it says."""

from __future__ import annotations

import re

import pytest
from tools.checks_page import PAGE, page

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks.outcomes import Check, Level, Outcome
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks.table import CHECKS, GROUPS


def test_the_page_is_up_to_date() -> None:
    text = PAGE.read_text()
    assert text == page(), "docs/verify.md is stale; run python tests/tools/checks_page.py."
    assert all(f"| `{name}` |" in text for name in CHECKS)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_each_check_says_all_that_it_must(check: Check) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z0-9_]+", check.id)
    assert check.group in GROUPS
    assert check.asked
    assert check.wanted
    assert check.source
    for cause, remedy in check.remedies.items():
        assert remedy.endswith("."), f"{cause} of {check.id} isn't a sentence."
        assert remedy[0] == "{" or remedy[0].isupper()


def test_a_note_never_fails() -> None:
    note = Check("a.b", "what", "that", Level.NOTE, {"": "{subject} at {place}: mend it."}, "RFC 1")
    assert note.failed("x", "here", "y").outcome is Outcome.WARN
    assert note.failed("x", "here", "y").remedy == "x at here: mend it."
    assert note.failed("x", "here", "y", level=Level.MUST).outcome is Outcome.FAIL
    assert note.unknown("x", "here", "y").remedy == ""
