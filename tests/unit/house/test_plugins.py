"""Plugins are documented so that ansible-doc shows them, licensed, and explained function by function."""

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
COLLECTION = "postern.mail_gateway"
PYTHON_FILES = sorted(path for path in (ROOT / "plugins").rglob("*.py") if path.stat().st_size)
LOGIC = [path for path in PYTHON_FILES if {"module_utils", "plugin_utils"} & set(path.parts)]
VERSION = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
# REUSE-IgnoreStart
HEADER = [
    "# Copyright (c) 2026 postern.mail_gateway contributors",
    "# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)",
    "# SPDX-License-Identifier: GPL-3.0-or-later",
]
# REUSE-IgnoreEnd


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def parts(version: str) -> list[int]:
    """A version as numbers that can be compared."""
    return [int(part) for part in version.split(".")]


def plugin_names(kind: str) -> set[str]:
    """The names under which ansible-doc must know our plugins of a kind (`module`, `filter`, …)."""
    folder = ROOT / "plugins" / ("modules" if kind == "module" else kind)
    files = {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}
    if kind == "module":
        # An action plugin is documented as the module whose name it carries.
        return files | plugin_names("action")
    if kind in ("filter", "test"):
        package = f"ansible_collections.{COLLECTION}.plugins.{kind}"
        plugin_class, method = {"filter": ("FilterModule", "filters"), "test": ("TestModule", "tests")}[kind]
        return {
            name
            for file in files
            for name in getattr(getattr(importlib.import_module(f"{package}.{file}"), plugin_class)(), method)()
        }
    return files


@pytest.mark.parametrize("kind", ["module", "filter", "lookup", "test", "inventory", "callback", "connection"])
def test_plugins_are_documented(kind: str) -> None:
    names = {f"{COLLECTION}.{name}" for name in plugin_names(kind)}
    if not names:
        return  # none of this kind: nothing to document
    result = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-doc")), "--type", kind, "--json", *sorted(names)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    shown = json.loads(result.stdout)
    assert shown.keys() == names, f"ansible-doc doesn't show {', '.join(sorted(names - shown.keys()))}: {result.stderr}"
    for name, documentation in shown.items():
        assert "error" not in documentation, f"{name}: {documentation['error']}"
        assert documentation["doc"].get("short_description"), f"{name} has no short_description."
        assert documentation["examples"], f"{name} has no EXAMPLES."
        assert documentation["return"] is not None, f"{name} has no RETURN."
        added = documentation["doc"].get("version_added", "99.0.0")
        assert parts(added) <= parts(VERSION), f"{name} says version_added {added}; the collection is {VERSION}."


@pytest.mark.parametrize("path", PYTHON_FILES, ids=relative)
def test_plugin_files_carry_their_licence(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines()[:5] if not line.startswith(("#!", "# -*-"))]
    assert lines[:3] == HEADER, f"{relative(path)} must begin with:\n" + "\n".join(HEADER)


def undocumented(tree: ast.AST, prefix: str = "") -> Iterator[str]:
    """Every public function, class and method without a docstring."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from undocumented(node, f"{node.name}.")


@pytest.mark.parametrize("path", LOGIC, ids=relative)
def test_public_functions_are_explained(path: Path) -> None:
    found = list(undocumented(ast.parse(path.read_text())))
    assert not found, f"{relative(path)}: no docstring for {', '.join(found)}."


def test_there_are_plugins_to_look_at() -> None:
    assert plugin_names("filter")
    assert {path.relative_to(ROOT).parts[1] for path in LOGIC} == {"module_utils", "plugin_utils"}
