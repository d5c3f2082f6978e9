import copy
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lab import authority, hosts, images, podman, topology
from lab import lab as module
from lab.errors import LabError
from lab.lab import Lab


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what images are made from, to be changed."""
    shutil.copytree(images.FILES, tmp_path / "image")
    monkeypatch.setattr(images, "FILES", tmp_path / "image")
    return tmp_path / "image"


def references() -> dict[str, str]:
    return {name: images.reference(name) for name in (*images.BASES, *images.LAYERS)}


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("offline.packages", {"gateway-bookworm", "gateway-trixie"}),
        ("gateway.sh", {"gateway-bookworm", "gateway-trixie"}),
        ("service.packages", {"service"}),
        ("base.packages", {*images.BASES, *images.LAYERS}),
    ],
)
def test_an_images_name_says_what_it_is_made_from(files: Path, name: str, changed: set[str]) -> None:
    before = references()
    (files / name).write_text((files / name).read_text() + "something-else\n")
    after = references()
    assert {image for image in before if before[image] != after[image]} == changed


def test_comments_in_a_package_list_change_nothing(files: Path) -> None:
    before = references()
    (files / "base.packages").write_text("# Another comment\n\n" + (files / "base.packages").read_text())
    assert references() == before


@pytest.mark.parametrize(("sources", "expected"), [
    ("'http://mirror.test/debian/dists/{}/InRelease' mirror.test_x 0 \n", "http://mirror.test/debian"),
    ("'https://m.test/x/dists/{}-updates/InRelease' a 0\n'https://m.test/y/dists/{}/InRelease' b 0\n", "https://m.test/y"),
])  # fmt: skip
def test_the_mirror_is_the_machines_own(monkeypatch: pytest.MonkeyPatch, sources: str, expected: str) -> None:
    os_release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    release = os_release.get("VERSION_CODENAME", "")
    done = subprocess.CompletedProcess([], 0, sources.replace("{}", release), "")
    monkeypatch.setattr(images.subprocess, "run", lambda *args, **kwargs: done)
    assert images.mirror() == expected


def test_no_mirror_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], 0, "", "")
    monkeypatch.setattr(images.subprocess, "run", lambda *args, **kwargs: done)
    with pytest.raises(LabError, match=r"^The apt sources of this machine name no Debian mirror: [^.]+\.list\.d\.$"):
        images.mirror()


def test_a_mirrors_error_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    said: list[str] = []
    outcomes = iter([LabError("Broken."), LabError("Broken."), None])

    def action() -> None:
        outcome = next(outcomes)
        if outcome:
            raise outcome

    images._attempt(action, said.append)
    assert [line.split(";")[0] for line in said] == ["Broken. Attempt 1 of 3", "Broken. Attempt 2 of 3"]
    outcomes = iter([LabError("Broken.")] * 3)
    with pytest.raises(LabError, match="Broken"):
        images._attempt(action, said.append)


def test_only_root_has_a_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podman.os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="needs root"):
        podman.check_machine()


def test_missing_programs_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podman.os, "geteuid", lambda: 0)
    monkeypatch.setattr(podman.shutil, "which", lambda name: None if name in ("podman", "ssh-keygen") else name)
    with pytest.raises(LabError, match=r"^The lab needs openssh-client, podman: run 'make setup'"):
        podman.check_machine()


def test_a_lab_of_another_checkout_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    for text in ("", "{}", "[]", json.dumps({"checkout": "/somewhere/else", "slot": 101})):
        (tmp_path / "lab.json").write_text(text)
        with pytest.raises(LabError, match="isn't up"):
            Lab.load()
    (tmp_path / "lab.json").write_text(json.dumps({"checkout": module.OWNER, "slot": 101}))
    assert Lab.load().slot == 101


def test_a_second_lab_shares_nothing_with_the_first() -> None:
    say = "import sys; sys.path.insert(0, 'tests'); from lab import lab; print(lab.FOLDER, lab.MINE)"
    first, second = (
        subprocess.run(
            [sys.executable, "-c", say],
            check=True,
            cwd=module.ROOT,
            capture_output=True,
            text=True,
            env={"POSTERN_LAB": number},
        ).stdout.split()
        for number in ("", "2")
    )
    assert first == [str(module.ROOT / ".cache" / "lab"), f"{module.CHECKOUT_LABEL}={module.ROOT}"]
    assert not set(first) & set(second)


def test_addresses_of_hosts() -> None:
    lab = Lab(101)
    assert lab.address("gw2", "outside") == "10.101.2.12"
    assert lab.address("gw2", "outside", 6) == "fd77:101:2::12"
    with pytest.raises(LabError, match="'client' isn't on the network 'inside', but on outside"):
        lab.address("client", "inside")
    with pytest.raises(LabError, match="no host 'gw3' in the lab: it has gw1, gw2"):
        lab.address("gw3", "inside")


def test_a_host_is_made_anew_when_what_it_reads_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ca/ca.pem", "ca/mail.pem", "dns/named.conf", "ssh/id_ed25519.pub"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("one")
    lab = Lab(101, tmp_path)

    def specs() -> dict[str, str]:
        return {name: lab._spec(name)[1] for name in topology.HOSTS}

    before = specs()
    assert specs() == before
    for name, affected in {
        "ca/mail.pem": {"ex1", "ex2"},
        "dns/named.conf": {"dns"},
        "ssh/id_ed25519.pub": {"gw1", "gw2", "ex1", "ex2"},
    }.items():
        (tmp_path / name).write_text(f"two {name}")
        after = specs()
        assert {host for host in before if before[host] != after[host]} == affected
        before = after


def test_a_command_in_a_host_may_do_what_the_host_may() -> None:
    command = podman.inside(os.getpid(), ["id", "-un"], {"LAB_HOST": "gw1"})
    assert command[:2] == ["nsenter", f"--target={os.getpid()}"]
    assert command[-3:] == ["LAB_HOST=gw1", "id", "-un"]
    assert command[command.index("env") + 1] == "-i"
    (bounds,) = (word for word in command if word.startswith("--bounding-set=-all,"))
    assert bounds.count("+cap_") == int(bounding_set(), 16).bit_count()


def bounding_set() -> str:
    return Path("/proc/self/status").read_text().partition("CapBnd:")[2].split()[0]


def test_a_host_that_was_restarted_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    first = subprocess.Popen(["sleep", "60"])
    processes = iter([first.pid, os.getpid(), 0])

    def process(container: str) -> int:
        asked.append(container)
        return next(processes)

    monkeypatch.setattr(module, "first_process", process)
    lab = Lab(101)
    for _ in range(2):
        assert lab.command("gw1", ["true"])[1] == f"--target={first.pid}"
    assert asked == ["postern-101-gw1"]
    first.kill()
    first.wait()
    assert podman.start_time(first.pid) == ""
    assert lab.command("gw1", ["true"])[1] == f"--target={os.getpid()}"
    assert len(asked) == 2
    with pytest.raises(LabError, match=r"^The host 'gw2' isn't up: run 'make lab'\.$"):
        lab.exec("gw2", ["true"], check=False)


STATE: dict[str, Any] = {
    "ReceiveConnector": [{"Name": "Default Frontend EX1", "MaxInboundConnectionPerSource": "20"}],
    "ADPermission": [],
    "Service": [
        {"Name": "MSExchangeImap4", "Status": "Stopped", "StartType": "Manual"},
        {"Name": "MSExchangePOP3BE", "Status": "Stopped", "StartType": "Manual"},
        {"Name": "FMS", "Status": "Stopped", "StartType": "Manual"},
    ],
}


def test_the_administrator_runs_imap_and_pop_and_lets_nobody_relay() -> None:
    state = copy.deepcopy(STATE)
    hosts.administer(state, "secret")
    assert state["ADPermission"] == []
    assert [entry["Name"] for entry in state["ReceiveConnector"]] == ["Default Frontend EX1"]
    assert [entry["Status"] for entry in state["Service"]] == ["Running", "Running", "Stopped"]


def test_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority, "CERTIFICATES", {"mail": ["mail.example.test", "ex1.example.test"]})
    authority.make_certificates(tmp_path)
    mail = tmp_path / "mail.pem"
    first = mail.read_bytes()
    assert mail.stat().st_mode & 0o777 == 0o600
    names = authority._openssl("x509", "-in", str(mail), "-noout", "-ext", "subjectAltName")
    assert "DNS:mail.example.test, DNS:ex1.example.test" in names
    authority.make_certificates(tmp_path)
    assert mail.read_bytes() == first, "a good certificate is used again"
    monkeypatch.setattr(authority, "WEEK", 100 * 24 * 3600)
    authority.make_certificates(tmp_path)
    assert mail.read_bytes() != first, "one that ends soon is replaced"
    mail.write_text("broken")
    authority.make_certificates(tmp_path)
    assert "BEGIN CERTIFICATE" in mail.read_text()


def test_exchange_servers_see_the_powershell_that_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(host: str) -> list[Path]:
        return [source for source, target in hosts.mounts(host, tmp_path, tmp_path) if target == "/opt/powershell:ro"]

    program = tmp_path / "own" / "pwsh"
    monkeypatch.setattr(hosts, "find", lambda: program)
    assert (seen("ex1"), seen("relay")) == ([program.parent], [])
    monkeypatch.setattr(hosts, "find", lambda: None)
    assert seen("ex1") == []


def test_a_powershell_that_is_named_and_not_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTERN_POWERSHELL", "/nowhere/pwsh")
    with pytest.raises(LabError, match=r"^POSTERN_POWERSHELL is '/nowhere/pwsh', which is no program "):
        hosts.mounts("ex1", tmp_path, tmp_path)


LOST = (
    f"Error: joining network namespace of container {'3a' * 32}: retrieving network namespace at "
    "/run/netns/netns-2af6c425-10e0: unknown FS magic"
)


@pytest.mark.parametrize(("owner", "mended"), [("/somewhere", True), ("", False)])
def test_a_container_without_its_network_hides_no_lab_unless_it_is_somebody_elses(
    owner: str, mended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Podman lists nothing while the namespace of one container is gone."""
    is_lost = True
    ran: list[list[str]] = []

    def ask(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        if arguments[0] == "ps":
            return subprocess.CompletedProcess([], int(is_lost), "" if is_lost else "[]", LOST)
        assert arguments[-1] == "3a" * 32
        return subprocess.CompletedProcess([], 0, f"{owner}\n", "")

    def mend(command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        nonlocal is_lost
        is_lost = False
        ran.append(command)
        return subprocess.CompletedProcess([], 0)

    monkeypatch.setattr(podman, "podman", ask)
    monkeypatch.setattr(podman.subprocess, "run", mend)
    if mended:
        assert podman.containers("postern.host") == []
        assert ran == [["unshare", "--net=/run/netns/netns-2af6c425-10e0", "true"]]
    else:
        with pytest.raises(LabError, match="'podman ps' failed: Error: joining network namespace"):
            podman.containers("postern.host")
        assert ran == []
