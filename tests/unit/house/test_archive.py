"""The archive that users install: it holds what they need and no more, and works where nothing else of ours is."""

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

PROGRAMS = Path(sys.executable).parent
EXPECTED = {
    "CHANGELOG.rst",
    "FILES.json",
    "LICENSE",
    "MANIFEST.json",
    "README.md",
    "SECURITY.md",
    "changelogs",
    "docs",
    "inventory",
    "meta",
    "playbooks",
    "plugins",
    "requirements.txt",
    "roles",
}


def run(program: str, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a program of Ansible as a user who has nothing but an empty home and what is installed there."""
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_HOME": str(home / "ansible"),
        "ANSIBLE_COLLECTIONS_PATH": str(home / "collections"),
        "ANSIBLE_NOCOLOR": "1",
    }
    return subprocess.run(
        [str(PROGRAMS / program), *arguments],
        cwd=home,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def archive(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("build")
    result = run("ansible-galaxy", "collection", "build", str(root), "--output-path", str(home / "out"), home=home)
    assert result.returncode == 0, result.stderr
    (built,) = (home / "out").iterdir()
    return built


@pytest.fixture(scope="module")
def home(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's home, with nothing in it but the installed archive."""
    home = tmp_path_factory.mktemp("home")
    target = str(home / "collections")
    result = run("ansible-galaxy", "collection", "install", "--offline", str(archive), "-p", target, home=home)
    assert result.returncode == 0, result.stderr
    return home


def test_archive_holds_what_a_user_needs(archive: Path, project_files: list[Path]) -> None:
    with tarfile.open(archive) as content:
        names = {Path(member.name) for member in content if not member.isdir()}
    assert {name.parts[0] for name in names} == EXPECTED
    assert {name.parts[1] for name in names if name.parts[0] == "inventory"} == {"example"}
    scripts = {name for name in project_files if name.suffix == ".ps1" and name.parts[0] == "plugins"}
    assert scripts <= names, "The archive lacks scripts that are sent to the Exchange servers."
    strangers = names - set(project_files) - {Path("FILES.json"), Path("MANIFEST.json")}
    assert not strangers, f"The archive holds files that aren't the project's: {', '.join(map(str, strangers))}."


def test_installed_preflight_accepts_the_example(home: Path) -> None:
    inventory = home / "collections" / "ansible_collections" / "postern" / "mail_gateway" / "inventory" / "example"
    result = run("ansible-playbook", "-i", str(inventory), "postern.mail_gateway.preflight", home=home)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "failed=0" in result.stdout
    assert "changed=0" in result.stdout


def test_installed_preflight_accepts_the_site_of_the_readme(home: Path, root: Path) -> None:
    (site,) = re.findall(r"^```yaml\n(.*?)^```", (root / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (home / "inventory.yml").write_text(site)
    result = run("ansible-playbook", "-i", "inventory.yml", "postern.mail_gateway.preflight", home=home)
    assert result.returncode == 0, result.stdout + result.stderr

    (home / "inventory.yml").write_text(site.replace("domains:", "domain:"))
    result = run("ansible-playbook", "-i", "inventory.yml", "postern.mail_gateway.preflight", home=home)
    assert result.returncode != 0, "preflight accepts an unknown key."


def test_installed_roles_are_documented(home: Path, root: Path) -> None:
    for role in sorted(path.name for path in (root / "roles").iterdir() if path.is_dir()):
        result = run("ansible-doc", "--type", "role", f"postern.mail_gateway.{role}", home=home)
        assert result.returncode == 0, result.stderr
        assert result.stdout.strip(), f"ansible-doc shows nothing for the role {role}."
