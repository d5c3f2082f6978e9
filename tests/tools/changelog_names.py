"""Have the changelog name every role and plugin: ``python tests/tools/changelog_names.py``.

antsibull-changelog names what is new when it makes a release, and gathers the fragments with it. This is the first half
alone, for a version that isn't out yet: the fragments stay.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DATA = "changelogs/changelog.yaml"
PAGE = "CHANGELOG.rst"


def made() -> dict[str, str]:
    """The changelog's data and page, with the names of everything that is there."""
    version = str(yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"])
    date = str(yaml.safe_load((ROOT / DATA).read_text())["releases"][version]["release_date"])
    with tempfile.TemporaryDirectory() as folder:
        # As a collection among others, where ansible-doc finds it.
        copy = Path(folder) / "ansible_collections" / "postern" / "mail_gateway"
        copy.mkdir(parents=True)
        for name in ("galaxy.yml", PAGE, DATA, "changelogs/config.yaml"):
            (copy / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
        for name in ("plugins", "roles", "meta"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        (copy / "changelogs" / "fragments").mkdir()
        command = [sys.executable, "-m", "antsibull_changelog", "release", "--update-existing", "--date", date]
        command += ["--reload-plugins", "--refresh-plugins"]
        command += ["--ansible-doc-bin", str(Path(sys.executable).with_name("ansible-doc"))]
        ran = subprocess.run(command, cwd=copy, check=False, capture_output=True, text=True)
        if ran.returncode:
            raise RuntimeError(f"antsibull-changelog failed: {ran.stdout}{ran.stderr}")
        return {name: (copy / name).read_text() for name in (DATA, PAGE)}


def named(data: str) -> Iterator[tuple[str, str, str]]:
    """Kind, name and description of everything that the changelog's data name."""
    releases: dict[str, dict[str, Any]] = yaml.safe_load(data)["releases"]
    for release in releases.values():
        kinds = {"module": release.get("modules", []), **release.get("plugins", {}), **release.get("objects", {})}
        for kind, entries in kinds.items():
            yield from ((kind, entry["name"], entry["description"]) for entry in entries)


if __name__ == "__main__":
    for path, text in made().items():
        (ROOT / path).write_text(text)
