"""What is in the way of a release is said in a sentence, and nothing of it stays in the working copy."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--repository", "git@host:a/b"], "REPOSITORY is 'git@host:a/b': write the address that people open"),
        (["--repository", "https://host.example"], "write the address that people open"),
        (["--repository", "https://host.example/a/b", "--version", "9.9.9"], "VERSION is '9.9.9', and galaxy.yml says"),
    ],
)
def test_release_is_refused_in_a_sentence(options: list[str], sentence: str) -> None:
    command = [sys.executable, str(ROOT / "tests" / "publish" / "archive.py"), *options]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("make archive: ")
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_release_has_the_addresses_that_galaxy_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests" / "publish")
    import archive

    galaxy = (ROOT / "galaxy.yml").read_text()
    said = yaml.safe_load(archive.metadata(galaxy, "https://host.example/a/b"))
    assert said["repository"] == "https://host.example/a/b"
    assert said["issues"] == "https://host.example/a/b/issues"
    assert "repository" not in yaml.safe_load(galaxy), "galaxy.yml names a repository: take it out of tests/publish."


def test_remarks_of_the_importer_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests" / "publish")
    import archive

    assert archive.remarks("Loading role sshd\nWARNING: no readme\nERROR: no\n") == ["WARNING: no readme", "ERROR: no"]
