"""A change to the firewall, below a folder: refused, guarded, proven by the kernel, or back. ufw is a stand-in."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.postern.mail_gateway.plugins.module_utils.firewall import change
from ansible_collections.postern.mail_gateway.plugins.module_utils.firewall.change import Firewall
from ansible_collections.postern.mail_gateway.plugins.module_utils.firewall.kernel import Live, live_from, undoing
from ansible_collections.postern.mail_gateway.plugins.module_utils.firewall.ufw import (
    CONF,
    DEFAULTS,
    USER_RULES,
    State,
    Ufw,
)
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.errors import HostError
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.ssh_client import Origin
from ansible_collections.postern.mail_gateway.plugins.module_utils.rollback import guard as guard_module
from ansible_collections.postern.mail_gateway.plugins.module_utils.rollback import program
from ansible_collections.postern.mail_gateway.plugins.module_utils.rollback.guard import RollbackGuard

CONTROLLER = Origin("198.51.100.9", 50000, "192.0.2.1", 22, "root")
SSH = {
    "action": "allow", "direction": "in", "protocol": "tcp", "ports": ["22"], "source_ports": [], "sources": [],
    "destinations": [], "application": "", "source_application": "", "interface": "", "outgoing_interface": "",
    "log": "none", "comment": "ssh",
}  # fmt: skip


def variables(*rules: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "rules": list(rules), "default_incoming": "deny", "default_outgoing": "allow", "default_routed": "deny",
        "logging": "low", "marker": "postern", "exact": False, "confirmation_seconds": 60,
    }  # fmt: skip


def kernel(text: str) -> Live:
    chains = {"ufw-user-input": [f"-A ufw-user-input {text}"]}
    return Live({4: chains}, {4: {}}, {4: text})


class FakeUfw(Ufw):
    """ufw whose programs aren't there: the files are real, the kernel is a text."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, self.program)
        self.now, self.tries = kernel("old"), kernel("new")
        self.takes = True
        self.starts = True
        self.said: list[tuple[str, ...]] = []
        for name in (*USER_RULES.values(), DEFAULTS, CONF):
            self.path(name).parent.mkdir(parents=True, exist_ok=True)
            self.path(name).write_text("old\n")
            self.path(name).chmod(0o640)

    def program(self, *arguments: str, data: str | bytes | None = None) -> subprocess.CompletedProcess[str]:
        self.said.append(arguments)
        if arguments[1:] == ("is-enabled", "ufw.service"):
            return subprocess.CompletedProcess(arguments, 0 if self.starts else 1, "", "")
        if arguments[1:2] == ("show",):
            return subprocess.CompletedProcess(arguments, 0, "Id=nftables.service\nUnitFileState=disabled\n", "")
        return subprocess.CompletedProcess(arguments, 0, "", "")

    @property
    def installed(self) -> bool:
        return True

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        yield

    def state(self) -> State:
        policies = {"incoming": "deny", "outgoing": "allow", "routed": "deny"}
        return State(enabled=True, logging="low", policies=policies, ipv6=True, rules=[])

    def staged(self, folder: Path, before: State, after: State) -> dict[str, str]:
        return {USER_RULES[4]: "new\n", CONF: "new\n"}

    def tried(self, folder: Path) -> Live:
        return self.tries

    def live(self) -> Live:
        return self.now

    def load(self, wanted: Live, now: Live) -> None:
        if self.takes:
            self.now = wanted


@pytest.fixture
def ufw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeUfw:
    found = FakeUfw(tmp_path / "root")
    (tmp_path / "units").mkdir()
    for module in (guard_module, program):
        monkeypatch.setattr(module, "UNITS", tmp_path / "units")
    monkeypatch.setattr(guard_module, "run", found.program)
    monkeypatch.setattr(program, "run_command", lambda *arguments, **_: found.program(*arguments))
    monkeypatch.setattr(change, "connection", lambda *ends: ends)
    monkeypatch.setattr(change, "refusal", lambda rules, *_: "" if rules else "You would be shut out.")

    @contextlib.contextmanager
    def scratch() -> Iterator[Path]:
        yield tmp_path

    monkeypatch.setattr(change, "scratch", scratch)
    return found


def firewall(
    ufw: FakeUfw, *rules: Mapping[str, Any], check_mode: bool = False, warnings: list[str] | None = None
) -> Firewall:
    guard = RollbackGuard("firewall", 60, ufw.root.parent / "guard")
    said: list[str] = [] if warnings is None else warnings
    return Firewall(ufw, guard, variables(*rules), CONTROLLER, said.append, check_mode=check_mode)


def texts(ufw: FakeUfw) -> Sequence[tuple[str, int]]:
    paths = [ufw.path(name) for name in (*USER_RULES.values(), DEFAULTS, CONF)]
    assert not list(ufw.root.rglob(".*")), "something is left beside the files"
    return [(path.read_text(), path.stat().st_mode & 0o777) for path in paths]


def test_a_change_is_guarded_and_keeps_the_modes_of_the_files(ufw: FakeUfw) -> None:
    work = firewall(ufw, SSH)
    result = work.run()
    assert (result["changed"], result["reloaded"]) == (True, True)
    assert result["guard"]["token"]
    assert texts(ufw) == [("new\n", 0o640), ("old\n", 0o640), ("old\n", 0o640), ("new\n", 0o640)]
    armed = work.guard.status()
    assert armed is not None
    part, whole = (str(work.guard.text_path(name)) for name in ("ufw-part.v4", "filter-table.v4"))
    assert armed["commands"] == [
        {
            "command": ["/usr/sbin/iptables-restore", "--noflush", part],
            "otherwise": ["/usr/sbin/iptables-restore", whole],
        }
    ]
    assert Path(whole).read_text() == "old"
    assert "-A ufw-user-input old" in Path(part).read_text()


BEFORE = """*filter
:INPUT ACCEPT [0:0]
:DOCKER - [0:0]
:ufw-user-input - [0:0]
-A INPUT -j ufw-user-input
-A ufw-user-input -p tcp --dport 22 -j ACCEPT
COMMIT
"""
AFTER = """*filter
:INPUT DROP [0:0]
:ufw-new - [0:0]
:ufw-user-input - [0:0]
-A INPUT -j ufw-user-input
-A INPUT -j ufw-new
-A ufw-user-input -p tcp --dport 2222 -j ACCEPT
COMMIT
"""


def test_a_rollback_is_about_ufws_part_alone() -> None:
    text = undoing(live_from({4: BEFORE}), live_from({4: AFTER}), 4)
    assert text.splitlines() == [
        "*filter", ":INPUT ACCEPT [0:0]", ":ufw-user-input - [0:0]", ":ufw-new - [0:0]",
        "-D INPUT -j ufw-user-input", "-D INPUT -j ufw-new", "-A INPUT -j ufw-user-input",
        "-A ufw-user-input -p tcp --dport 22 -j ACCEPT", "-X ufw-new", "COMMIT",
    ]  # fmt: skip
    assert "DOCKER" not in text


def test_a_rollback_of_a_firewall_that_was_off_leaves_nothing_of_it() -> None:
    text = undoing(live_from({4: "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n"}), live_from({4: AFTER}), 4)
    assert [line for line in text.splitlines() if line.startswith("-")] == [
        "-D INPUT -j ufw-user-input", "-D INPUT -j ufw-new", "-X ufw-new", "-X ufw-user-input",
    ]  # fmt: skip


def test_a_check_changes_nothing(ufw: FakeUfw) -> None:
    before = texts(ufw)
    result = firewall(ufw, SSH, check_mode=True).run()
    assert (result["changed"], result["reloaded"]) == (True, False)
    assert result["rules"] == ["ufw allow 22/tcp comment 'postern: ssh'"]
    assert texts(ufw) == before
    assert firewall(ufw).guard.status() is None


def test_whoever_would_shut_himself_out_is_refused(ufw: FakeUfw) -> None:
    before = texts(ufw)
    with pytest.raises(HostError, match="You would be shut out"):
        firewall(ufw).run()
    assert texts(ufw) == before
    assert ufw.now.text == {4: "old"}


def test_a_kernel_that_holds_something_else_has_the_old_rules_back(ufw: FakeUfw) -> None:
    before, ufw.takes = texts(ufw), False
    work = firewall(ufw, SSH)
    with pytest.raises(HostError, match=r"isn't what ufw's files say.* The old rules are in place again\."):
        work.run()
    assert texts(ufw) == before
    assert work.guard.status() is None
    assert [said[:2] for said in ufw.said if "restore" in said[0]] == [("/usr/sbin/iptables-restore", "--noflush")]


def test_files_that_cant_be_replaced_are_the_old_ones(ufw: FakeUfw, monkeypatch: pytest.MonkeyPatch) -> None:
    before = texts(ufw)

    def refuses(_self: Ufw, _fresh: Sequence[Path]) -> None:
        raise HostError("ufw's files can't be replaced (Read-only file system).")

    monkeypatch.setattr(Ufw, "replace", refuses)
    with pytest.raises(HostError, match="Read-only file system"):
        firewall(ufw, SSH).run()
    assert texts(ufw) == before


def test_one_that_doesnt_start_with_the_host_goes_back_to_that(ufw: FakeUfw) -> None:
    ufw.starts = False
    work = firewall(ufw, SSH)
    work.run()
    assert ("systemctl", "enable", "--quiet", "ufw.service") in ufw.said
    armed = work.guard.status()
    assert armed is not None
    assert ["systemctl", "disable", "--quiet", "ufw.service"] in armed["commands"]


def test_a_rollback_that_nobody_has_seen_is_told_before_anything_else(ufw: FakeUfw) -> None:
    work = firewall(ufw, SSH)
    work.run()
    token = work.guard.token
    assert program.main(["timeout", str(work.guard.folder), token]) == 0
    warnings: list[str] = []
    with pytest.raises(HostError, match="You would be shut out"):
        firewall(ufw, warnings=warnings).run()
    assert len(warnings) == 1
    assert "was rolled back at" in warnings[0]
