"""Where code runs decides where it lies: what is sent to gateways needs nothing that only the controller has."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
STANDARD = sys.stdlib_module_names
FILES = sorted(PLUGINS.rglob("*.py"))
ON_GATEWAYS = [path for path in FILES if path.relative_to(PLUGINS).parts[0] in ("module_utils", "modules")]


def relative(path: Path) -> str:
    return str(path.relative_to(PLUGINS))


def imported(source: str, place: tuple[str, ...]) -> Iterator[str]:
    """What a file imports anywhere, by its full name; what is the collection's own begins with a dot.

    :param place: the folders below `plugins` that lead to the file.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ["", *place[: len(place) + 1 - node.level]] if node.level else []
            base = [*above, node.module] if node.module else above
            yield from (".".join([*base, name.name]) for name in node.names)


def imports_of(path: Path) -> Iterator[str]:
    return imported(path.read_text(), path.relative_to(PLUGINS).parts[:-1])


def may_run_on_a_gateway(name: str) -> bool:
    return name.startswith((".module_utils.", "ansible.module_utils.")) or name.partition(".")[0] in STANDARD


@pytest.mark.parametrize("path", ON_GATEWAYS, ids=relative)
def test_code_for_gateways_needs_nothing_of_the_controller(path: Path) -> None:
    found = [name for name in imports_of(path) if not may_run_on_a_gateway(name)]
    assert not found, f"{relative(path)} runs on gateways, and imports {', '.join(found)}."


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_imports_inside_the_collection_are_relative(path: Path) -> None:
    found = [name for name in imports_of(path) if name.partition(".")[0] == "ansible_collections"]
    assert not found, f"{relative(path)} imports {', '.join(found)}."


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from ..plugin_utils.declaration import schema", ".plugin_utils.declaration.schema"),
        ("from ..action.preflight import ActionModule", ".action.preflight.ActionModule"),
        ("def late():\n    import netaddr", "netaddr"),
        ("from ansible.errors import AnsibleError", "ansible.errors.AnsibleError"),
        ("from .. import plugin_utils", ".plugin_utils"),
        ("from . import preflight", ".modules.preflight"),
    ],
)
def test_what_belongs_to_the_controller_is_known(source: str, name: str) -> None:
    assert list(imported(source, ("modules",))) == [name]
    assert not may_run_on_a_gateway(name)


def test_there_is_code_for_gateways_to_look_at() -> None:
    assert {relative(path).split("/")[0] for path in ON_GATEWAYS} == {"module_utils", "modules"}
