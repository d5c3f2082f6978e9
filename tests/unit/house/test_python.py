"""What runs on gateways is understood by the oldest Python that docs/support.md promises for them."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
PLUGINS = "ansible_collections.postern.mail_gateway.plugins"
OLDEST = (3, 10)
VERSION = ".".join(map(str, OLDEST))
#: What Ansible sends to a host.
SENT = sorted(path for folder in ("modules", "module_utils") for path in (ROOT / "plugins" / folder).rglob("*.py"))


def test_oldest_python_is_said_once_and_the_same() -> None:
    sanity = yaml.safe_load((ROOT / "tests" / "config.yml").read_text())["modules"]["python_requires"]
    assert sanity == f">={VERSION}"
    assert re.search(rf"^\| gateways: Python \| {re.escape(VERSION)} and later", support(), re.MULTILINE)


def support() -> str:
    return (ROOT / "docs" / "support.md").read_text()


@pytest.mark.parametrize("path", SENT, ids=lambda path: str(path.relative_to(ROOT / "plugins")))
def test_syntax_is_that_of_the_oldest_python(path: Path) -> None:
    ast.parse(path.read_text(), str(path), feature_version=OLDEST)


def mypy(*arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mypy", "--python-version", VERSION, "--cache-dir", str(cache), *arguments]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


def test_everything_that_is_used_is_in_the_oldest_python(tmp_path: Path) -> None:
    result = mypy("-p", f"{PLUGINS}.module_utils", "-p", f"{PLUGINS}.modules", cache=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_what_came_later_is_found(tmp_path: Path) -> None:
    sample = tmp_path / "sample.py"
    sample.write_text("import tomllib\nfrom typing import Self\n")
    result = mypy(str(sample), cache=tmp_path / "cache")
    assert "tomllib" in result.stdout
    assert "Self" in result.stdout
    with pytest.raises(SyntaxError):
        ast.parse("try:\n    pass\nexcept* OSError:\n    pass\n", feature_version=OLDEST)
