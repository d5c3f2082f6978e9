"""What galaxy.yml, the changelog and the README say about the version agrees."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools import changelog_names


@pytest.fixture(scope="module")
def galaxy(root: Path) -> dict[str, Any]:
    return yaml.safe_load((root / "galaxy.yml").read_text())


def test_newest_entry_of_the_changelog_is_the_version_of_the_collection(root: Path, galaxy: dict[str, Any]) -> None:
    newest = re.search(r"^v(\S+)\n=+$", (root / "CHANGELOG.rst").read_text(), re.MULTILINE)
    assert newest, "CHANGELOG.rst has no heading `vX.Y.Z`."
    assert newest[1] == galaxy["version"], (
        f"CHANGELOG.rst has {newest[1]}, galaxy.yml {galaxy['version']}: run `antsibull-changelog release`."
    )


def antsibull_changelog(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "antsibull_changelog", *arguments],
        cwd=root,
        check=False,
        capture_output=True,
        text=True,
    )


def test_changelog_fragments_are_well_formed(root: Path) -> None:
    result = antsibull_changelog(root, "lint")
    assert result.returncode == 0, result.stdout + result.stderr


def test_changelog_is_the_one_that_its_data_make(root: Path, tmp_path: Path) -> None:
    for name in ("galaxy.yml", "CHANGELOG.rst"):
        shutil.copy(root / name, tmp_path / name)
    for name in ("changelogs", "plugins", "roles", "meta"):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    result = antsibull_changelog(tmp_path, "generate")
    assert result.returncode == 0, result.stdout + result.stderr
    assert (root / "CHANGELOG.rst").read_text() == (tmp_path / "CHANGELOG.rst").read_text(), (
        "CHANGELOG.rst was edited by hand: change changelogs/changelog.yaml and run `antsibull-changelog generate`."
    )


def test_changelog_names_every_role_and_plugin_in_its_own_words(root: Path) -> None:
    said = set(changelog_names.named((root / changelog_names.DATA).read_text()))
    made = set(changelog_names.named(changelog_names.made()[changelog_names.DATA]))
    assert {kind for kind, *_ in made} >= {"module", "filter", "role"}
    assert said == made, (
        f"The changelog is wrong about {', '.join(sorted({name for _, name, _ in said ^ made}))}: "
        "run `python tests/tools/changelog_names.py`."
    )


def test_readme_asks_for_the_ansible_that_the_collection_requires(root: Path) -> None:
    required = yaml.safe_load((root / "meta" / "runtime.yml").read_text())["requires_ansible"]
    oldest = required.removeprefix(">=").removesuffix(".0")
    assert f"ansible-core {oldest}" in (root / "README.md").read_text(), (
        f"meta/runtime.yml requires ansible-core {required}; README.md doesn't say `ansible-core {oldest}`."
    )
