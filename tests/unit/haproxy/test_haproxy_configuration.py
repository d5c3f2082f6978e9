"""The module haproxy_configuration with a real HAProxy (master and worker) on loopback.

Only systemd is a stand-in, which does what Debian's unit does: check and SIGUSR2 for a reload.
"""

import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.postern.mail_gateway.plugins.module_utils.haproxy import configuration
from ansible_collections.postern.mail_gateway.plugins.module_utils.haproxy.runtime import ask, running, running_digest
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.locks import locked
from ansible_collections.postern.mail_gateway.plugins.modules import haproxy_configuration as module

LIST = "lists/relay_networks.list"
LISTED = {"path": LIST, "content": "10.0.0.0/8\n"}
MAIN = """\
global
    default-path config
    {description}
    stats socket {folder}/admin.sock mode 600 level admin expose-fd listeners
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 5s
frontend web
    bind unix@{folder}/web.sock
    http-request deny unless {{ src -f lists/relay_networks.list }}
{more}"""


class Left(BaseException):
    """The module has come to its end."""


class Killed(BaseException):
    """The module was killed."""


def nap(seconds: float) -> None:
    """Half of the sleep will do here, where a process starts quickly."""
    time.sleep(seconds / 2)


def completed(code: int, stdout: str = "", stderr: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.CompletedProcess([], code, stdout, stderr)


@dataclass
class Host:
    """A host with HAProxy as a service, in one folder."""

    folder: Path
    haproxy: str
    process: "subprocess.Popen[str] | None" = None
    # Whether it came up at its last start.
    served: bool = False
    reloads: int = 0
    # Where the journal was when it was last asked to begin "now".
    began: int = 0
    installed: bool = True
    warnings: list[str] = field(default_factory=list)

    @property
    def configuration(self) -> Path:
        return self.folder / "etc"

    @property
    def socket(self) -> str:
        return str(self.folder / "admin.sock")

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def active(self) -> bool:
        """As with `Restart=always`, a process that has served and died is started again."""
        if self.served and not self.alive():
            self.start()
        return self.alive()

    def stop(self) -> None:
        """End it at once: a master that is just forking a worker may wait for that for ever after a SIGTERM."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
        self.process = None
        self.served = False

    def start(self) -> bool:
        with self.journal.open("a") as journal:
            self.process = subprocess.Popen(
                [self.haproxy, "-W", "-f", str(self.configuration / "haproxy.cfg")],
                stdout=journal, stderr=journal, text=True, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 10
        while self.alive() and running(self.socket) is None and time.monotonic() < deadline:
            time.sleep(0.02)
        self.served = self.alive()
        return self.served

    def reload(self) -> bool:
        if self.process is None:
            return False
        checked = subprocess.run(
            [self.haproxy, "-c", "-q", "-f", str(self.configuration / "haproxy.cfg")], check=False, capture_output=True
        )
        if checked.returncode == 0:
            self.process.send_signal(signal.SIGUSR2)
        return checked.returncode == 0

    def reload_by_hand(self) -> None:
        """Reload and wait for the new process."""
        before = running(self.socket)
        assert self.reload()
        deadline = time.monotonic() + 10
        while running(self.socket) in (before, None) and time.monotonic() < deadline:
            time.sleep(0.02)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """What the module's ``run`` does, with the stand-in for systemd."""
        match arguments:
            case ("systemctl", "is-active", "--quiet", "haproxy"):
                return completed(0 if self.active() else 3)
            case ("systemctl", "start" | "reload" as verb, "haproxy"):
                self.reloads += 1
                self.began = self.journal.stat().st_size if self.journal.exists() else 0
                good = self.start() if verb == "start" else self.reload()
                return completed(0) if good else completed(1, "", f"Job for haproxy.service failed ({verb}).\nSee also")
            case ("systemctl", "stop", "haproxy"):
                self.stop()
                return completed(0)
            case ("journalctl", "--unit", "haproxy", "--since", _, "--output", "cat", "--no-pager"):
                return completed(0, self.journal.read_text()[self.began :])
            case ("systemctl" | "journalctl", *_):
                raise AssertionError(arguments)
        return subprocess.run(arguments, check=False, capture_output=True, text=True)

    # --- what is asked of it ---

    def main(self, more: str = "", description: str = "description @DIGEST@") -> str:
        return MAIN.format(folder=self.folder, more=more, description=description)

    def files(self, networks: str = LISTED["content"], more: str = "") -> list[dict[str, str]]:
        return [{"path": "haproxy.cfg", "content": self.main(more)}, {**LISTED, "content": networks}]

    def module(
        self, files: list[dict[str, Any]], certificates: list[dict[str, Any]] | None = None, *, check_mode: bool = False
    ) -> dict[str, Any]:
        """Run the module and return its result."""
        result: dict[str, Any] = {}
        host = self

        class Module:
            params: Mapping[str, Any] = {
                "files": [{"once": False, **file} for file in files],
                "certificates": certificates or [],
                "pems": {entry["name"]: entry["pem"] for entry in certificates or [] if "pem" in entry},
                "folder": str(host.configuration),
                "service": "haproxy",
                "socket": host.socket,
                "timeout": 15,
                "trusted_ports": [],
            }

            def __init__(self, **_: Any) -> None:
                self.check_mode = check_mode

            def get_bin_path(self, name: str, **_: Any) -> str | None:
                return {"haproxy": host.haproxy if host.installed else None, "openssl": "openssl"}[name]

            def warn(self, text: str) -> None:
                host.warnings.append(text)

            def exit_json(self, **values: Any) -> None:
                result.update(values)
                raise Left

            def fail_json(self, **values: Any) -> None:
                result.update(values, failed=True)
                raise Left

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "AnsibleModule", Module)
            patch.setattr(module, "LOCK", self.folder / "lock")
            patch.setattr(configuration, "run", self.run)
            patch.setattr(configuration, "time", SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=nap))
            with pytest.raises(Left):
                module.main()
        return result

    def networks_in_use(self) -> set[str]:
        """The networks that the running process lets in, as it says itself."""
        lines = ask(self.socket, f"show acl {LIST}").splitlines()
        return {line.split()[1] for line in lines if line.startswith("0x")}

    def files_there(self) -> dict[str, tuple[bytes, int]]:
        return {
            str(path.relative_to(self.configuration)): (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
            for path in self.configuration.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def host(haproxy: str, short: Path) -> Iterator[Host]:
    """A host on which HAProxy isn't configured yet."""
    made = Host(short, haproxy)
    yield made
    made.stop()


def is_sentence(text: str) -> bool:
    """One or two of them, without a trace of Python."""
    return text.endswith(".") and ".. " not in f"{text} " and "\n" not in text and "Traceback" not in text


def test_from_nothing_to_a_change_and_back(host: Host) -> None:
    first = host.module(host.files())
    assert (first["changed"], first["reloaded"]) == (True, True)
    assert first["changed_files"] == ["haproxy.cfg", LIST]
    assert running_digest(host.socket) == first["digest"]
    assert host.networks_in_use() == {"10.0.0.0/8"}

    again = host.module(host.files())
    assert (again["changed"], again["reloaded"], again["changed_files"]) == (False, False, [])
    assert again["digest"] == first["digest"]
    assert "diff" not in again
    assert host.reloads == 1

    second = host.module(host.files("10.0.0.0/8\n192.168.0.0/16\n"))
    assert (second["changed"], second["reloaded"]) == (True, True)
    # The digest is in the main file, so that changes with every list.
    assert second["changed_files"] == ["haproxy.cfg", LIST]
    assert running_digest(host.socket) == second["digest"] != first["digest"]
    assert host.networks_in_use() == {"10.0.0.0/8", "192.168.0.0/16"}
    assert [part["before"] for part in second["diff"]][1] == "10.0.0.0/8\n"
    assert [part["after"] for part in second["diff"]][1] == "10.0.0.0/8\n192.168.0.0/16\n"

    assert host.module(host.files())["digest"] == first["digest"]
    assert host.networks_in_use() == {"10.0.0.0/8"}
    assert host.warnings == []


def test_check_mode_says_the_same_and_does_nothing(host: Host) -> None:
    said = host.module(host.files(), check_mode=True)
    assert (said["changed"], said["reloaded"]) == (True, False)
    assert not host.configuration.exists()
    assert not host.active()
    done = host.module(host.files())
    assert (said["digest"], said["changed_files"], said["diff"]) == (
        done["digest"],
        done["changed_files"],
        done["diff"],
    )
    before = host.files_there()
    refused = host.module(host.files(more="    fobar 1\n"), check_mode=True)
    assert refused["failed"]
    assert "unknown keyword 'fobar'" in refused["msg"]
    assert host.module(host.files("\n"), check_mode=True)["changed"]
    assert host.files_there() == before
    assert host.reloads == 1


def test_refused_configuration_changes_nothing(host: Host) -> None:
    host.module(host.files())
    before, process = host.files_there(), running(host.socket)
    refused = host.module(host.files(more="    fobar 1\n"))
    assert refused["msg"] == (
        "HAProxy refuses the new configuration: haproxy.cfg line 13 ('fobar 1'): unknown keyword 'fobar' in 'frontend' "
        "section. Nothing was changed and the running HAProxy goes on; correct the variables of the role and run again."
    )
    assert host.files_there() == before
    assert running(host.socket) == process


def test_configuration_that_listens_nowhere_is_refused_with_a_reason(host: Host) -> None:
    """HAProxy calls it no error, and ends with another status than for one."""
    refused = host.module(
        [{"path": "haproxy.cfg", "content": "global\n    default-path config\n    description @DIGEST@\n"}]
    )
    assert "will not start (no listener)" in refused["msg"]
    assert is_sentence(refused["msg"])
    assert host.files_there() == {}


def test_warning_is_handed_on(host: Host) -> None:
    more = "    use_backend b if TRUE\n    http-request deny\nbackend b\n"
    assert host.module(host.files(more=more))["changed"]
    assert host.warnings == [
        (
            "HAProxy: haproxy.cfg line 14 ('http-request deny'): "
            "a 'http-request' rule placed after a 'use_backend' rule will still be processed before"
        )
    ]


def test_alert_that_hinders_nothing_is_handed_on_as_well(host: Host) -> None:
    """2.6 says it as an alert, 3.0 as a warning; both accept it."""
    more = "defaults named\n    mode tcp\nbackend one from named\nbackend two\n"
    assert host.module(host.files(more=more), check_mode=True)["changed"]
    (warning,) = host.warnings
    assert warning.startswith("HAProxy: haproxy.cfg line 16 ('backend two'): defaults section 'named'")
    assert "explicitly referenced by another proxy and implicitly used here" in warning


def test_taken_port_brings_the_old_files_back(host: Host) -> None:
    first = host.module(host.files())
    before = host.files_there()
    with socket.create_server(("127.0.0.1", 0)) as other:
        bind = f"    bind 127.0.0.1:{other.getsockname()[1]}"
        failed = host.module(host.files("192.168.0.0/16\n", more=f"frontend more\n{bind}\n"))
    assert failed["msg"].startswith(
        f"HAProxy can't run with the new configuration: haproxy.cfg line 14 ('{bind.strip()}'): frontend more: "
    )
    assert "cannot bind socket (Address already in use) for [127.0.0.1:" in failed["msg"]
    assert failed["msg"].endswith(
        "The old files are in place again and HAProxy serves with the old files; remove the cause and run again."
    )
    assert is_sentence(failed["msg"])
    assert host.files_there() == before
    assert running_digest(host.socket) == first["digest"]
    assert host.networks_in_use() == {"10.0.0.0/8"}
    assert host.module(host.files())["changed"] is False


def test_start_that_fails_leaves_it_stopped(host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        more = f"frontend more\n    bind 127.0.0.1:{other.getsockname()[1]}\n"
        failed = host.module(host.files(more=more))
    assert "cannot bind socket (Address already in use)" in failed["msg"]
    assert "HAProxy was not running before and is not running now" in failed["msg"]
    assert is_sentence(failed["msg"])
    assert host.files_there() == {}
    assert not host.active()
    assert host.module(host.files())["reloaded"]


def test_configuration_of_somebody_else_is_replaced_and_comes_back(host: Host) -> None:
    """As with the one that Debian's package brings."""
    host.configuration.mkdir()
    foreign = host.main(description="").replace("http-request deny unless { src -f lists/relay_networks.list }", "")
    (host.configuration / "haproxy.cfg").write_text(foreign)
    assert host.start()
    # The new process dies after its start, and takes the master along.
    failed = host.module(
        [{"path": "haproxy.cfg", "content": host.main(description="description @DIGEST@\n    chroot /nowhere")}, LISTED]
    )
    assert "haproxy.main()] Cannot chroot(/nowhere). The old files are in place again" in failed["msg"]
    assert "HAProxy serves with the old files" in failed["msg"]
    assert host.active()
    assert {path: content for path, (content, _) in host.files_there().items()} == {"haproxy.cfg": foreign.encode()}
    assert running_digest(host.socket) is None
    # The master that died may take a while for it; what comes next begins with one that lives.
    host.stop()
    assert host.start()
    done = host.module(host.files())
    assert done["reloaded"], done
    assert running_digest(host.socket) == done["digest"]


def test_list_that_was_changed_by_hand_and_loaded_is_not_in_use_afterwards(host: Host) -> None:
    """The main file is as it was, and so is the digest that the process carries: only a reload helps."""
    digest = host.module(host.files())["digest"]
    (host.configuration / LIST).write_text("0.0.0.0/0\n")
    host.reload_by_hand()
    assert host.networks_in_use() == {"0.0.0.0/0"}
    assert running_digest(host.socket) == digest
    result = host.module(host.files())
    assert (result["changed"], result["reloaded"], result["changed_files"]) == (True, True, [LIST])
    assert host.networks_in_use() == {"10.0.0.0/8"}


@pytest.mark.parametrize("restarted", ["between the files", "before the reload", "never"])
def test_killed_run_is_healed_by_the_next_one(host: Host, restarted: str) -> None:
    """Also where the host was started again while the files were half old and half new."""
    host.module(host.files())
    wanted = host.files("192.168.0.0/16\n")
    genuine = os.replace

    def replace(source: Any, target: Any) -> None:
        if restarted == "between the files" and str(target).endswith(LIST):
            raise Killed
        genuine(source, target)

    def reload(*_: Any) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", replace)
        patch.setattr(configuration.Configuration, "reload", reload)
        with pytest.raises(Killed):
            host.module(wanted)
    if restarted != "never":
        host.stop()
        assert host.start()
    if restarted == "between the files":
        # The process carries the new digest, and has read the old list.
        assert host.networks_in_use() == {"10.0.0.0/8"}
        # The next run is killed as well, after it has put the last file in place.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(configuration.Configuration, "reload", reload)
            with pytest.raises(Killed):
                host.module(wanted)
    said = host.module(wanted, check_mode=True)
    result = host.module(wanted)
    assert (result["changed"], result["reloaded"]) == (said["changed"], True) == (True, True)
    assert said["diff"][0]["before_header"] == "running HAProxy"
    assert host.networks_in_use() == {"192.168.0.0/16"}
    assert host.module(wanted)["changed"] is False


def test_file_that_is_written_once_is_left_alone(host: Host) -> None:
    files = [*host.files(), {"path": "drained-servers", "content": "1\n", "once": True}]
    path = host.configuration / "drained-servers"
    first = host.module(files)
    assert path.read_text() == "1\n"
    path.write_text("somebody's\n")
    again = host.module(files)
    assert (again["changed"], again["digest"]) == (False, first["digest"])
    assert path.read_text() == "somebody's\n"
    # It is ours nevertheless, and goes when it is no longer named.
    assert host.module(host.files())["changed_files"] == ["drained-servers"]
    assert not path.exists()


def test_stopped_service_is_started_and_what_a_killed_run_left_is_tidied_up(host: Host) -> None:
    host.module(host.files())
    host.stop()
    result = host.module(host.files())
    assert (result["changed"], result["reloaded"], result["changed_files"]) == (True, True, [])
    assert result["diff"][0]["before"] == "configuration unknown\n"
    assert host.active()
    staging = host.configuration / ".postern-staging"
    staging.mkdir()
    assert host.module(host.files())["changed"]
    assert not staging.exists()
    assert host.module(host.files())["changed"] is False


def test_one_run_at_a_time(host: Host) -> None:
    with locked(host.folder / "lock", "nobody has it", 0):
        assert host.module(host.files())["msg"] == (
            "Another run is changing HAProxy's configuration on this host; wait for it to end and run again."
        )
    assert host.module(host.files())["changed"]


def test_host_without_haproxy(host: Host) -> None:
    host.installed = False
    assert host.module(host.files(), check_mode=True)["changed"]
    assert host.module(host.files())["msg"] == "haproxy is not installed on this host; install the package first."
    assert not host.configuration.exists()


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ([], "files must hold haproxy.cfg with 'description @DIGEST@' in its global section."),
        ([{"path": "haproxy.cfg", "content": "global\n"}], "files must hold haproxy.cfg with"),
        (
            [{"path": "haproxy.cfg", "content": "# @DIGEST@"}, {"path": "../x", "content": ""}],
            'The file name "../x" must be relative and stay below the folder',
        ),
    ],
)
def test_wrong_files(host: Host, files: list[dict[str, str]], sentence: str) -> None:
    failed = host.module(files)
    assert failed["msg"].startswith(sentence)
    assert is_sentence(failed["msg"])


# --- certificates -----------------------------------------------------------------------------------------------------

TLS = "frontend tls\n    bind unix@{folder}/tls.sock ssl crt certificates/mail.pem\n    http-request deny\n"


def test_certificates_come_stay_and_go(host: Host, certificates: Path) -> None:
    files = host.files(more=TLS.format(folder=host.folder))
    entry = {"name": "mail", "names": ["mail.example.test", "autodiscover.example.test"]}
    path = host.configuration / "certificates/mail.pem"

    # Nobody has brought one: a self-signed one is made, once.
    made = host.module(files, [entry])
    assert made["changed_files"] == ["certificates/mail.pem", "haproxy.cfg", LIST]
    assert made["diff"][0]["after"] == "self-signed certificate, until another one is there\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    shown = subprocess.run(
        ["openssl", "x509", "-in", str(path), "-noout", "-subject", "-ext", "subjectAltName"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert "mail.example.test" in shown
    assert "DNS:autodiscover.example.test" in shown
    assert host.module(files, [entry])["changed"] is False

    # Somebody brings one: it is left alone, and no change of ours.
    path.write_text((certificates / "good.pem").read_text())
    assert host.module(files, [entry])["changed"] is False
    assert path.read_text() == (certificates / "good.pem").read_text()

    # It is given: it is written with its mode, and shown without its key.
    given = {**entry, "pem": (certificates / "two.key").read_text() + (certificates / "two.crt").read_text()}
    path.chmod(0o644)
    result = host.module(files, [given])
    assert result["changed_files"] == ["certificates/mail.pem", "haproxy.cfg"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "PRIVATE" not in str(result)
    assert result["diff"][0]["after"].startswith("certificate with SHA-256 fingerprint ")
    assert result["diff"][0]["before_header"].endswith("certificates/mail.pem mode 0644")
    assert host.module(files, [given])["changed"] is False

    # It is named no more.
    assert host.module(host.files())["changed_files"] == ["certificates/mail.pem", "haproxy.cfg"]
    assert not path.exists()


@pytest.mark.parametrize("damage", ["mismatch", "no_key", "garbage", "truncated"])
def test_damaged_certificate_is_refused(host: Host, certificates: Path, damage: str) -> None:
    if damage == "truncated":
        pem = (certificates / "good.pem").read_text()
        pem = pem.replace("\n-----END CERTIFICATE", "x\n-----END CERTIFICATE")
    else:
        pem = (certificates / f"{damage}.pem").read_text()
    entry = {"name": "mail", "names": ["mail.example.test"], "pem": pem}
    failed = host.module(host.files(more=TLS.format(folder=host.folder)), [entry])
    assert failed["msg"].startswith("HAProxy refuses the new configuration: haproxy.cfg line 14 (")
    assert "mail.pem" in failed["msg"]
    assert is_sentence(failed["msg"])
    assert "PRIVATE" not in str(failed)
    assert host.files_there() == {}


def test_certificate_needs_a_name(host: Host) -> None:
    failed = host.module(host.files(), [{"name": "mail", "names": []}])
    assert is_sentence(failed["msg"])
    assert "needs at least one name" in failed["msg"]
