#!/usr/bin/env python3
"""Build the archive and have it judged by the tools of those who take it: `make archive`.

    python tests/publish/archive.py                          # is it fit to be published?
    python tests/publish/archive.py --repository URL --version 1.2.3   # the one that is, in .cache/archive

Galaxy asks for the address of the repository. galaxy.yml has none, since a fork or a mirror has its own: it is given
here, and written into the archive alone.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import tools
import yaml

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / ".cache" / "archive"
#: Reserved for examples: it leads nowhere, and no archive with it is kept.
NOWHERE = "https://example.com/postern/mail_gateway"


class ReleaseError(Exception):
    """One sentence that says what is in the way of the archive."""


def metadata(galaxy: str, repository: str) -> str:
    """galaxy.yml with the addresses that belong to a repository."""
    addresses = {
        "repository": repository,
        "issues": f"{repository}/issues",
        "documentation": f"{repository}/tree/main/docs",
        "homepage": repository,
    }
    return galaxy + yaml.safe_dump(addresses, sort_keys=False)


def build(repository: str, output: Path) -> Path:
    """Build the archive from what git knows, and from nothing else that lies around.

    Raises:
        ReleaseError: ansible-galaxy can't.
    """
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        tools.copy(ROOT, Path(folder))
        galaxy = Path(folder) / "galaxy.yml"
        galaxy.write_text(metadata(galaxy.read_text(), repository))
        command = ["ansible-galaxy", "collection", "build", "--force", "--output-path", str(output)]
        built = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if built.returncode:
        raise ReleaseError(f"The archive can't be built: {built.stderr.strip()}")
    return next(output.glob("*.tar.gz"))


def remarks(output: str) -> list[str]:
    """What galaxy-importer said besides its progress."""
    return [line for line in output.splitlines() if re.match(r"(WARNING|ERROR|CRITICAL)\b", line)]


def judge(archive: Path, environment: dict[str, str]) -> list[str]:
    """Have every tool look, and return a line for each that found something."""
    found = []
    checks = {
        "reuse": ["reuse", "--root", str(ROOT), "lint", "--lines"],
        "antsibull-docs": ["antsibull-docs", "lint-collection-docs", "--plugin-docs", str(ROOT)],
        "galaxy-importer": ["python", "-m", "galaxy_importer.main", str(archive)],
    }
    for name, command in checks.items():
        with tempfile.TemporaryDirectory() as folder:  # galaxy-importer leaves its result in the current one
            ran = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                check=False,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        bad = ran.returncode != 0 or remarks(ran.stdout)
        print(f"    {name}: {'findings' if bad else 'nothing to say'}", flush=True)
        if bad:
            print(ran.stdout, flush=True)
            found.append(name)
    return found


def check_release(repository: str, version: str) -> None:
    """Refuse what can't be a release.

    Raises:
        ReleaseError: It can't.
    """
    said = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    if not re.fullmatch(r"https://[^\s/]+/\S+[^/\s]", repository):
        raise ReleaseError(
            f"REPOSITORY is '{repository}': write the address that people open, https://HOST/OWNER/NAME."
        )
    if version and version != said:
        raise ReleaseError(f"VERSION is '{version}', and galaxy.yml says {said}: change one of the two.")
    changed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    if changed:
        raise ReleaseError(f"The working copy differs from its last commit, in {changed[0][3:]}: commit or remove it.")
    if fragments := sorted((ROOT / "changelogs" / "fragments").glob("*.y*ml")):
        raise ReleaseError(f"The changelog lacks {fragments[0].name}: run `antsibull-changelog release` first.")


def main() -> int:
    """Build and judge, and keep the archive where it is a release."""
    parser = argparse.ArgumentParser(description="Build the archive and have it judged.")
    parser.add_argument("--repository", default="", help="the address of the repository, for a release")
    parser.add_argument("--version", default="", help="the version that galaxy.yml must have")
    options = parser.parse_args()
    try:
        if options.repository:
            check_release(options.repository, options.version)
        environment = {**os.environ, "PATH": f"{tools.environment()}:{os.environ['PATH']}"}
        with tempfile.TemporaryDirectory() as folder:
            archive = build(options.repository or NOWHERE, Path(folder))
            found = judge(archive, environment)
            if options.repository and not found:
                shutil.rmtree(OUTPUT, ignore_errors=True)
                OUTPUT.mkdir(parents=True)
                kept = shutil.copy(archive, OUTPUT)
                print(f"{kept} is ready.")
    except (ReleaseError, tools.ToolsError) as error:
        print(f"make archive: {error}", file=sys.stderr)
        return 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
