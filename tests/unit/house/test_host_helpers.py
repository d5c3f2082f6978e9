"""Code on gateways has one way to write a file, take a lock and run a command: what lies in `module_utils/host`."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
HOST = PLUGINS / "module_utils" / "host"
FILES = sorted(
    path
    for folder in ("module_utils", "modules")
    for path in (PLUGINS / folder).rglob("*.py")
    if HOST not in path.parents
)
# What a call ends with, and what is there in its place.
WAYS = {
    "os.replace": "host.files.replace",
    "os.rename": "host.files.replace",
    "os.open": "host.files.write",
    "os.fsync": "host.files.write",
    "os.mkdir": "host.files.make_folder",
    "os.makedirs": "host.files.make_folder",
    "os.system": "host.commands.run",
    ".mkdir": "host.files.make_folder",
    ".symlink_to": "host.files.link",
    ".run_command": "host.commands.run",
}
MODULES = {"subprocess": "host.commands", "fcntl": "host.locks"}
# Where another way is right, and why.
MAY = {
    (
        "module_utils/certificates/handover.py",
        "os.open",
    ): "what others uploaded is opened below a folder, by descriptor",
    ("module_utils/certificates/haproxy_swap.py", ".symlink_to"): "a copy of links in memory, for haproxy -c",
    ("module_utils/certificates/haproxy_swap.py", ".mkdir"): "the same",
    (
        "module_utils/values/sentences.py",
        "class Unfit",
    ): "the end of a sentence, which whoever knows the variable's path completes",
    ("module_utils/firewall/ufw.py", "fcntl"): "which of two kinds ufw's own lock is",
}


def relative(path: Path) -> str:
    return str(path.relative_to(PLUGINS))


def other_ways(source: str) -> Iterator[tuple[str, str]]:
    """Each way of its own that a source goes, with what it should call."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((name.name, MODULES[name.name]) for name in node.names if name.name in MODULES)
        if isinstance(node, ast.ImportFrom) and not node.level and node.module in MODULES:
            yield node.module, MODULES[node.module]
        if isinstance(node, ast.Attribute):
            yield from ((way, WAYS[way]) for way in WAYS if ast.unparse(node).endswith(way) and way[0] == ".")
            yield from ((way, WAYS[way]) for way in WAYS if ast.unparse(node) == way)
        if isinstance(node, ast.ClassDef):
            bases = {ast.unparse(base) for base in node.bases if ast.unparse(base).endswith(("Exception", "Error"))}
            if bases - {"HostError"}:
                yield f"class {node.name}", "host.errors.HostError"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_there_is_one_way(path: Path) -> None:
    found = [
        f"{way} instead of {right}" for way, right in other_ways(path.read_text()) if (relative(path), way) not in MAY
    ]
    assert not found, f"{relative(path)} has ways of its own: {'; '.join(found)}."


def test_what_may_differ_still_does() -> None:
    for (name, way), why in MAY.items():
        assert way in dict(other_ways((PLUGINS / name).read_text())), f"{name} no longer has {way} ({why})."


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess\nsubprocess.run(['x'])",
        "from subprocess import run",
        "import fcntl",
        "import os\nos.replace(a, b)",
        "path.parent.mkdir(parents=True)",
        "module.run_command(['x'])",
        "class Odd(ValueError):\n    pass",
    ],
)
def test_another_way_is_seen(source: str) -> None:
    assert list(other_ways(source))
