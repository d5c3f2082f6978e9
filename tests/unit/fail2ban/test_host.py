"""Fail2Ban on a host below a folder: tried, put in use, and put back. Fail2Ban, systemd and nftables are stand-ins."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.postern.mail_gateway.plugins.module_utils.fail2ban.activation import Activation
from ansible_collections.postern.mail_gateway.plugins.module_utils.fail2ban.configuration import Jail, files, jails
from ansible_collections.postern.mail_gateway.plugins.module_utils.fail2ban.host import Fail2BanHost
from ansible_collections.postern.mail_gateway.plugins.module_utils.fail2ban.trial import Trial
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.errors import HostError
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.transaction import FileTransaction

GIVEN = [
    {
        "name": "sshd", "filter": "", "filter_mode": "", "journal_matches": ["_SYSTEMD_UNIT=ssh.service"],
        "ports": ["22"], "max_retry": 5, "find_time": 600, "ban_time": 3600, "max_ban_time": 604800,
    }
]  # fmt: skip
CHAIN = "type filter hook input priority -1\n@banned4 goto banned\n@banned6 goto banned\n"


@dataclass
class Machine:
    """What a host's programs answer."""

    tried: dict[str, Any] = field(default_factory=dict)
    alone: dict[str, Any] = field(default_factory=dict)
    running: dict[str, Any] | None = None
    active: bool = True
    chain: str = ""
    unit: str = "Id=ssh.service\nLoadState=loaded\n"
    reload_fails: list[str] = field(default_factory=list)
    hangs: bool = False
    said: list[str] = field(default_factory=list)

    def __call__(self, *arguments: str, data: str | bytes | None = None) -> subprocess.CompletedProcess[str]:
        def completed(output: str = "", status: int = 0, error: str = "") -> subprocess.CompletedProcess[str]:
            return subprocess.CompletedProcess(arguments, status, output, error)

        match arguments:
            case ("/usr/bin/python3", "-c", _):
                folder = Path(json.loads(str(data))["folder"])
                tried = self.tried if any(folder.rglob("zz.local")) or not self.alone else self.alone
                return completed(json.dumps({"tried": tried, "running": self.running}))
            case ("systemctl", "is-active", *_):
                return completed(status=0 if self.active else 3)
            case ("systemctl", "show", *_):
                return completed(self.unit)
            case ("fail2ban-client", "-c", _, "-t"):
                return completed()
            case ("nft", *_):
                return completed(self.chain)
            case ("journalctl" | "tail", *_):
                return completed()
            case ("fail2ban-client", "reload", *_) | ("systemctl", "start" | "stop" | "reset-failed", *_):
                self.said.append(" ".join(arguments))
                if self.hangs:
                    raise HostError(f"'{arguments[0]}' did not end within 120 seconds.")
                if arguments[1] in ("reload", "start") and self.reload_fails:
                    return completed(status=1, error=self.reload_fails.pop(0))
                return completed()
        raise AssertionError(arguments)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def host(tmp_path: Path, machine: Machine) -> Fail2BanHost:
    (tmp_path / "etc" / "fail2ban" / "jail.d").mkdir(parents=True)
    (tmp_path / "etc" / "fail2ban" / "jail.conf").write_text("[DEFAULT]\n")
    return Fail2BanHost(tmp_path, machine, tmp_path)


def transaction(host: Fail2BanHost) -> FileTransaction:
    return FileTransaction(host.folder, files(jails(GIVEN), {}, []))


def jail() -> Jail:
    (found,) = jails(GIVEN)
    return found


def activation(host: Fail2BanHost) -> tuple[Activation, FileTransaction]:
    files_ = transaction(host)
    return Activation(host, jails(GIVEN), files_, timeout=0.3), files_


def below(host: Fail2BanHost) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in host.folder.rglob("*") if path.is_file()}


def trial(host: Fail2BanHost, *, check_mode: bool = False, warnings: list[str] | None = None) -> Trial:
    said: list[str] = [] if warnings is None else warnings
    return Trial(host, GIVEN, jails(GIVEN), transaction(host), said.append, check_mode=check_mode)


def test_everything_lies_below_the_root(host: Fail2BanHost, tmp_path: Path) -> None:
    assert not host.installed
    (tmp_path / "usr" / "bin").mkdir(parents=True)
    (tmp_path / "usr" / "bin" / "fail2ban-server").touch()
    assert host.installed
    assert host.folder == tmp_path / "etc" / "fail2ban"


def test_a_trial_has_the_new_files_and_leaves_the_old_ones_alone(host: Fail2BanHost) -> None:
    before = below(host)
    with trial(host).whole(changed=True) as folder:
        assert (folder / jail().file).exists()
        assert (folder / "jail.conf").read_text() == "[DEFAULT]\n"
        kept = folder
    assert not kept.exists()
    assert below(host) == before
    with trial(host).whole(changed=False) as folder:
        assert folder == host.folder


def test_a_refusal_names_the_variable(host: Fail2BanHost, machine: Machine) -> None:
    before = below(host)
    machine.tried = {"error": "Unable to compile regular expression", "jail": "sshd"}
    with pytest.raises(HostError) as caught:
        trial(host).tried(changed=True)
    assert str(caught.value) == (
        "Fail2Ban doesn't take the new configuration: jail 'sshd': Unable to compile regular expression "
        "(fail2ban_jails[0]). Nothing was changed and Fail2Ban goes on as before."
    )
    assert below(host) == before
    assert machine.said == []


@pytest.mark.parametrize("changed", [True, False])
@pytest.mark.parametrize("setting", ["usedns", "ignoreip", "ignorecommand", "ignorecache", "maxlines"])
def test_a_setting_of_somebody_elses_that_wins_is_named_whatever_it_is(
    host: Fail2BanHost, machine: Machine, setting: str, changed: bool
) -> None:
    """Fail2Ban is asked with all files, and with ours and its own alone."""
    ours = {"journalmatch": [["_SYSTEMD_UNIT=ssh.service"]], setting: "ours"}
    machine.alone = {"jails": {"sshd": ours}}
    machine.tried = {"jails": {"sshd": {**ours, setting: "theirs"}}}
    other = host.folder / "jail.d" / "zz.local"
    other.write_text(f"[sshd]\n{setting} = theirs\n")
    with pytest.raises(HostError) as caught:
        trial(host).tried(changed=changed)
    assert str(caught.value) == (
        f"{other} wins over this role for the jail 'sshd': {setting} would be theirs instead of ours. Nothing was "
        "changed and Fail2Ban goes on as before; remove the setting there."
    )
    other.unlink()
    machine.tried = machine.alone
    trial(host).tried(changed=False)


@pytest.mark.parametrize(
    ("unit", "reason"),
    [
        ("Id=ssh.service\nLoadState=not-found\n", "there is no unit ssh.service on this host"),
        ("Id=sshd.service\nLoadState=loaded\n", "ssh.service is another name of sshd.service"),
    ],
)
def test_a_jail_that_would_read_nothing_is_refused_and_a_warning_in_a_check(
    host: Fail2BanHost, machine: Machine, unit: str, reason: str
) -> None:
    machine.unit = unit
    found = {"sshd": {"journalmatch": [["_SYSTEMD_UNIT=ssh.service"]]}}
    with pytest.raises(HostError) as caught:
        trial(host).check_units(found)
    assert f"fail2ban_jails[0] 'sshd' would read nothing, since {reason}" in str(caught.value)
    warnings: list[str] = []
    trial(host, check_mode=True, warnings=warnings).check_units(found)
    assert warnings == [f"fail2ban_jails[0] 'sshd' would read nothing, since {reason}."]


def test_bans_that_the_kernel_lost_are_a_difference(host: Fail2BanHost, machine: Machine) -> None:
    before, after = activation(host)[0].drift({}, {})
    assert before == ["sshd: no table f2b-sshd in nftables that bans"]
    assert after == ["sshd: table f2b-sshd in nftables"]
    machine.chain = CHAIN
    assert activation(host)[0].drift({}, {})[0] == ([] if host.bans(jail()) else before)


@pytest.mark.parametrize("active", [True, False])
def test_what_fail2ban_doesnt_take_goes_back(host: Fail2BanHost, machine: Machine, active: bool) -> None:
    before = below(host)
    machine.active, machine.reload_fails = active, ["2026-01-01 ERROR   no such filter\n"]
    work, files_ = activation(host)
    with pytest.raises(HostError) as caught:
        work.apply({}, files_.changes())
    state = "Fail2Ban goes on with the old files" if active else "Fail2Ban doesn't run, as before"
    assert str(caught.value) == (
        "Fail2Ban can't run with the new configuration: no such filter. The old files are in place again and "
        f"{state}; remove the cause and run again."
    )
    assert below(host) == before
    assert machine.said[-1] == ("fail2ban-client reload" if active else "systemctl stop fail2ban.service")


def test_one_that_never_ends_goes_back_too(host: Fail2BanHost, machine: Machine) -> None:
    before = below(host)
    machine.hangs = True
    work, files_ = activation(host)
    with pytest.raises(
        HostError, match=r"'fail2ban-client' did not end within 120 seconds. The old files are in place"
    ):
        work.apply({}, files_.changes())
    assert below(host) == before


def test_one_that_doesnt_get_there_in_time_goes_back_too(host: Fail2BanHost, machine: Machine) -> None:
    before = below(host)
    machine.running = {"jails": {"sshd": {}}}
    work, files_ = activation(host)
    with pytest.raises(HostError, match="no table f2b-sshd in nftables that bans"):
        work.apply({"sshd": {}}, files_.changes())
    assert "fail2ban-client reload --restart sshd" in machine.said
    assert below(host) == before
