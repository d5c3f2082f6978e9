"""Public names of 0.1.0 are still there, or end in one sentence with what stands for them now."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration import schema
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.schema import Option

ROOT = Path(__file__).resolve().parents[3]
NAMES: dict[str, Any] = json.loads(Path(__file__).with_name("names-0.1.0.json").read_text(encoding="utf-8"))
"""As 0.1.0 had them: options by module, variables by role, keys of the declaration."""

GONE_KEYS: dict[str, str] = {}
"""Keys of the declaration that are gone, each with a text that ends its sentence; preflight's tests have it."""


def tombstones() -> dict[str, dict[str, str]]:
    """The plugins that are gone, by kind, each with its sentence."""
    routing = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))["plugin_routing"]
    return {
        kind: {name: entry["tombstone"]["warning_text"] for name, entry in entries.items() if "tombstone" in entry}
        for kind, entries in routing.items()
    }


def documented(path: Path) -> dict[str, Any]:
    """The documentation in a plugin's file, or in a fragment's."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DOCUMENTATION":
            found: dict[str, Any] = yaml.safe_load(ast.literal_eval(node.value))
            return found
    raise AssertionError(path)


def options_of(module: str) -> set[str]:
    """What a module takes, by its documentation and the fragments of it."""
    page = documented(ROOT / "plugins" / "modules" / f"{module}.py")
    fragments = [name.rpartition(".")[2] for name in page.get("extends_documentation_fragment") or ()]
    pages = [page, *(documented(ROOT / "plugins" / "doc_fragments" / f"{name}.py") for name in fragments)]
    return {name for one in pages for name in one.get("options") or {}}


@pytest.mark.parametrize(("kind", "names"), [("modules", NAMES["modules"]), ("filter", NAMES["filters"])])
def test_a_plugin_is_there_or_says_what_to_use(kind: str, names: list[str]) -> None:
    gone = [name for name in names if not (ROOT / "plugins" / kind / f"{name}.py").exists()]
    sentences = tombstones().get(kind, {})
    assert set(gone) <= set(sentences)
    assert all("postern.mail_gateway." in sentences[name] and sentences[name].endswith(".") for name in gone)


@pytest.mark.parametrize("module", NAMES["modules"])
def test_a_module_still_takes_its_options(module: str) -> None:
    assert set(NAMES["modules"][module]) <= options_of(module)


@pytest.mark.parametrize("playbook", NAMES["playbooks"])
def test_a_playbook_is_there(playbook: str) -> None:
    assert (ROOT / "playbooks" / f"{playbook}.yml").exists()


@pytest.mark.parametrize("role", NAMES["variables"])
def test_a_role_still_takes_its_variables(role: str) -> None:
    path = ROOT / "roles" / role / "meta" / "argument_specs.yml"
    specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
    assert set(NAMES["variables"][role]) <= {name for spec in specs.values() for name in spec.get("options") or {}}


def keys(option: Option, path: str) -> set[str]:
    """The paths of an option and of all below it."""
    found = {path}
    for inner in option.options:
        found |= keys(inner, f"{path}.{inner.name}")
    for inner in option.elements.options if option.elements else ():
        found |= keys(inner, f"{path}[].{inner.name}")
    return found


def test_a_declaration_still_holds() -> None:
    assert set(NAMES["declaration"]) - keys(schema.DECLARATION, "mail_gateway") == set(GONE_KEYS)
    assert set(NAMES["host_variables"]) <= set(schema.HOST_VARIABLES)
