#!/usr/bin/env python3
"""Run `ansible-test sanity` on what is published: `make sanity`.

It runs on a copy of what the archive holds, in a tree of collections of its own, with the Pythons of this machine and
without containers. What it takes from elsewhere are Python packages, by pip. What can't be run is named at the end.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import archive
import tools

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".cache" / "publish" / "sanity"
#: The Pythons that ansible-core knows, for modules and for the controller.
PYTHONS = [f"python3.{minor}" for minor in range(8, 16)]
#: ansible-test downloads pip for its environments. The one that Python brings along does as well.
PIP = """\
import ensurepip

ensurepip.bootstrap(upgrade=True)
"""
#: For ansible-test alone, and nothing that a user needs.
SETTINGS = ("tests/config.yml", "tests/sanity")


def collection() -> Path:
    """Unpack the archive where ansible-test wants a collection to be."""
    target = FOLDER / "ansible_collections" / "postern" / "mail_gateway"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder, tarfile.open(archive.build(archive.NOWHERE, Path(folder))) as content:
        content.extractall(target, filter="data")
    for name in ("MANIFEST.json", "FILES.json"):
        (target / name).unlink()
    shutil.copy(ROOT / "galaxy.yml", target)
    for name in tools.known(ROOT):
        if name.startswith(SETTINGS):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    # Otherwise ansible-test asks the git of the working copy, which ignores all that is made.
    subprocess.run(["git", "init", "--quiet"], cwd=target, check=True)
    subprocess.run(["git", "add", "--all"], cwd=target, check=True)
    return target


def pythons() -> Path:
    """A folder with those Pythons that work: a version manager has a name on the PATH for each that it could have."""
    folder = FOLDER / "bin"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    places = [*os.get_exec_path(), *map(str, (Path.home() / ".pyenv" / "versions").glob("*/bin"))]
    for name in PYTHONS:
        for place in places:
            program = Path(place) / name
            ask = [str(program), "-c", "import ensurepip, sys; print(sys.prefix == sys.base_prefix)"]
            if program.is_file() and _output(ask) == "True":
                (folder / name).symlink_to(program)
                break
    return folder


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()


def prepare_pip(home: Path) -> None:
    """Put a pip where ansible-test looks before it downloads one."""
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    where = "import ansible_test._internal.python_requirements as found; print(found.__file__)"
    source = _output([sys.executable, "-c", where])
    versions = set(re.findall(r"pip='([0-9.]+)'", Path(source).read_text()))
    if not versions:
        raise tools.ToolsError(f"{source} says no version of pip: see how ansible-test gets its own now.")
    for version in versions:
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(PIP)


def main() -> int:
    """Run every test, show what was found, and name what couldn't be run."""
    try:
        target, folder, home = collection(), pythons(), FOLDER / "home"
        prepare_pip(home)
        programs = tools.environment()
    except (archive.ReleaseError, tools.ToolsError) as error:
        print(f"make sanity: {error}", file=sys.stderr)
        return 1
    kept = (name for name in ("LANG", "LC_ALL", "TERM", "SSL_CERT_FILE", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"))
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    # The environment's own folder comes first, for ansible-test, and those Pythons before a version manager's names.
    path = [str(Path(sys.executable).parent), str(folder), str(programs), "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    environment |= {"HOME": str(home), "PATH": os.pathsep.join(path)}
    # `--lint` keeps what was found, one a line, apart from the progress.
    command = ["ansible-test", "sanity", "--local", "--requirements", "--failure-ok", "--lint", "--color", "no"]
    print("    ansible-test sanity; this takes about 10 minutes", flush=True)
    ran = subprocess.run(command, cwd=target, env=environment, check=False, capture_output=True, text=True)
    log = FOLDER / "log"
    log.write_text(ran.stderr)
    done = re.findall(r'^Running sanity test "([\w-]+)"', ran.stderr, re.MULTILINE)
    findings = ran.stdout.splitlines()
    print("\n".join(findings))
    for line in sorted(set(re.findall(r"^WARNING: (?:Required program .*|Skipping .*)$", ran.stderr, re.MULTILINE))):
        print(f"    not run: {line.removeprefix('WARNING: ')}")
    if ran.returncode or not done:
        print(f"make sanity: ansible-test failed: {ran.stderr.strip().splitlines()[-1:]}; {log} has all of it.")
        return 1
    print(f"    {len(set(done))} tests, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
