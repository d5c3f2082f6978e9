"""The archive that users install: it holds what they need and no more, and works where nothing else of ours is."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

PROGRAMS = Path(sys.executable).parent
EXPECTED = {
    "CHANGELOG.rst",
    "CODE_OF_CONDUCT.md",
    "FILES.json",
    "LICENSE",
    "LICENSES",
    "MANIFEST.json",
    "README.md",
    "REUSE.toml",
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
#: Of these folders users need every file.
WHOLE = ("LICENSES", "docs", "inventory/example", "meta", "playbooks", "plugins", "roles")
#: What may lie in any folder of somebody's working copy and is nobody else's business.
PRIVATE = (
    "mail.pem",
    "mail.key",
    "mail.pfx",
    "mail.crt",
    "id_ed25519",
    "id_ed25519.pub",
    "hosts",
    "hosts.ini",
    "vault.yaml",
    "password.txt",
    ".vault_password",
    ".env",
    "notes.md~",
)
#: And where it would lie.
PRIVATE_PATHS = (
    "inventory/prod/hosts.yml",
    "inventory/prod/group_vars/all/mail_gateway.yml",
    "inventory/hosts.yml",
    "inventory/example/host_vars/gw1.example.com.yml",
    "inventory/example/group_vars/all/vault.yml",
    "inventory/example/prod.yml",
    "playbooks/group_vars/all.yml",
    "playbooks/host_vars/gw1.yml",
    "host_vars/gw1.yml",
    "group_vars/all.yml",
    "site.yml",
    "notes.md",
    "collections/requirements.yml",
    "changelogs/notes.yml",
    "roles/site.yml",
    "roles/haproxy/site.yml",
    "roles/haproxy/files/mail.pem",
    "roles/haproxy/vars/gw1/secret.yml",
    "meta/vault.yml",
    "venv/lib/site.py",
)


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


def build(folder: Path, home: Path) -> Path:
    """Build the archive of a working copy the way its README says."""
    result = run("ansible-galaxy", "collection", "build", str(folder), "--output-path", str(home / "out"), home=home)
    assert result.returncode == 0, result.stderr
    (built,) = (home / "out").iterdir()
    return built


def content(archive: Path) -> set[Path]:
    with tarfile.open(archive) as members:
        return {Path(member.name) for member in members if not member.isdir()}


@pytest.fixture(scope="module")
def archive(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(root, tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="module")
def home(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's home, with nothing in it but the installed archive."""
    home = tmp_path_factory.mktemp("home")
    target = str(home / "collections")
    result = run("ansible-galaxy", "collection", "install", "--offline", str(archive), "-p", target, home=home)
    assert result.returncode == 0, result.stderr
    return home


def test_archive_holds_what_a_user_needs(archive: Path, project_files: list[Path]) -> None:
    names = content(archive)
    assert {name.parts[0] for name in names} == EXPECTED
    assert {name.parts[1] for name in names if name.parts[0] == "inventory"} == {"example"}
    needed = {path for path in project_files if path.as_posix().startswith(tuple(f"{folder}/" for folder in WHOLE))}
    lacking = sorted(map(str, needed - names - {Path("LICENSES/MIT.txt")}))  # that one is for a file of the tests
    assert not lacking, f"The archive lacks {', '.join(lacking)}: name them under `manifest` in galaxy.yml."
    strangers = names - set(project_files) - {Path("FILES.json"), Path("MANIFEST.json")}
    assert not strangers, f"The archive holds files that aren't the project's: {', '.join(map(str, strangers))}."


def test_archive_holds_nothing_that_is_private(
    archive: Path, project_files: list[Path], root: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    for path in project_files:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / path, copy / path)
    folders = [copy, *sorted(path for path in copy.rglob("*") if path.is_dir())]
    private = [folder / name for folder in folders for name in PRIVATE] + [copy / name for name in PRIVATE_PATHS]
    for path in private:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    packed = sorted(map(str, content(build(copy, tmp_path)) - content(archive)))
    assert not packed, f"The archive would hold {', '.join(packed)} of a working copy: see `manifest` in galaxy.yml."


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
