"""Files and functions are short enough to be read at once; what is longer says why."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "plugins").rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 400, 60

# What a plugin documents and what it takes are no logic.
DOCUMENTATION = {"DOCUMENTATION", "EXAMPLES", "RETURN"}

LONGER = {
    "plugins/plugin_utils/declaration/schema.py": "one table, from which validation, defaults and a page are made",
}
"""Files that read better in one piece, with the reason."""


def too_long(source: str) -> list[str]:
    """What is longer than it may be. Blank lines, documentation and argument specifications count for nothing."""
    lines = source.splitlines()
    tree = ast.parse(source)
    counted = {number for number, line in enumerate(lines, 1) if line.strip()}

    def lines_of(node: ast.expr | ast.stmt) -> set[int]:
        return set(range(node.lineno, (node.end_lineno or node.lineno) + 1))

    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(getattr(one, "id", "") in DOCUMENTATION for one in node.targets):
            counted -= lines_of(node)
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                counted -= lines_of(keyword.value) if keyword.arg == "argument_spec" else set()
    found = [f"{len(counted)} lines"] if len(counted) > LONGEST_FILE else []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            own = len(counted & lines_of(node))
            found += [f"{node.name} has {own} lines"] if own > LONGEST_FUNCTION else []
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_longer_than_can_be_read(path: Path) -> None:
    if str(path.relative_to(ROOT)) not in LONGER:
        assert not too_long(path.read_text(encoding="utf-8"))


def test_what_may_be_longer_is() -> None:
    assert all(too_long((ROOT / name).read_text(encoding="utf-8")) for name in LONGER)


def test_what_is_too_long_is_found() -> None:
    line = "    pass\n"
    short = f"def short():\n{line * 59}"
    assert not too_long(short + "\n" * 400)
    assert too_long(f"def long():\n{line * 60}") == ["long has 61 lines"]
    assert too_long("pass\n" * 401) == ["401 lines"]
    documentation = "DOCUMENTATION = '''\n" + "text\n" * 300 + "'''\n"
    assert not too_long(documentation + "pass\n" * 400)
    assert too_long(documentation + "pass\n" * 401) == ["401 lines"]
    table = "module(argument_spec={\n" + "'a': 1,\n" * 100 + "})\n"
    assert not too_long(table + "pass\n" * 399)
