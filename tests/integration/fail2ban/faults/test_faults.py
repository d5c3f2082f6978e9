"""What goes wrong: one sentence names it, the old jails go on as before, and the next good run heals."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import killing
import pytest
from bans import FILES, JAILS, active, converge, elements, files, reach, tried, unban

from lab import Lab
from lab.topology import GATEWAYS
from plays import Run
from probes.checks import wait_for
from probes.hosts import host
from strangers import Strangers

SSH: dict[str, Any] = {
    "name": "sshd",
    "filter_mode": "aggressive",
    "journal_matches": ["_SYSTEMD_UNIT=ssh.service _UID=0", "_SYSTEMD_SLICE=system-ssh.slice _UID=0"],
    "ports": ["22"],
    "max_retry": 4,
}
HAPROXY = ["_SYSTEMD_UNIT=haproxy.service SYSLOG_IDENTIFIER=haproxy"]
LOCK = "/run/postern-fail2ban.lock"
CLIENT = "/usr/bin/fail2ban-client"

STATE = f"""
{FILES}
echo ==; systemctl show --property=MainPID --value fail2ban
echo ==; systemctl is-enabled fail2ban
echo ==; fail2ban-client status | sed -n 's/.*Jail list://p'
echo ==; fail2ban-client get sshd maxretry
echo ==; for jail in {" ".join(JAILS)}; do echo $jail; fail2ban-client get $jail banip; done 2>/dev/null
echo ==; for jail in {" ".join(JAILS)}; do nft list table inet f2b-$jail; done 2>/dev/null
true
"""


class State:
    """A gateway as it is: its files, the process that serves, its jails and who is banned."""

    def __init__(self, lab: Lab, gateway: str) -> None:
        told = lab.exec(gateway, ["sh", "-c", STATE]).stdout.split("==\n")
        self.files = told[0].splitlines()
        self.pid, self.starts, jails, self.retries, banned, kernel = told[1:]
        self.jails = sorted(jails.replace(",", " ").split())
        # In no order of their own.
        self.banned, self.kernel = sorted(banned.split()), sorted(kernel.replace(",", " ").split())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


@pytest.fixture(params=GATEWAYS)
def as_before(lab: Lab, request: pytest.FixtureRequest) -> Iterator[str]:
    """A gateway that is afterwards as it was, down to the last byte and the last ban, whatever the test does."""
    gateway = str(request.param)
    lab.exec(gateway, ["fail2ban-client", "set", "sshd", "banip", "192.0.2.99"])
    assert wait_for(lambda: "192.0.2.99" in elements(lab, gateway, "sshd"))
    before = State(lab, gateway)
    yield gateway
    after = State(lab, gateway)
    assert vars(after) == vars(before)


def own(**more: Any) -> dict[str, Any]:
    """A filter of one's own for HAProxy."""
    return {"name": "own", "identifier": "haproxy", "fail_regexes": ["gone <ADDR>"], "journal_matches": HAPROXY, **more}


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (
        "a regular expression that doesn't compile",
        {"jails": [SSH, {"name": "own"}], "filters": [own(fail_regexes=["gone <ADDR> (x"])]},
        "jail 'own': Unable to compile regular expression",
    ),
    (
        "a regular expression without an address",
        {"jails": [SSH, {"name": "own"}], "filters": [own(fail_regexes=["gone"])]},
        "jail 'own': No failure-id group in",
    ),
    (
        "a filter that isn't there",
        {"jails": [SSH, {"name": "web", "filter": "no-such-filter"}]},
        "Unable to read the filter 'no-such-filter'",
    ),
    (
        "a unit that isn't there",
        {"jails": [SSH, {"name": "own"}], "filters": [own(journal_matches=["_SYSTEMD_UNIT=haproxi.service"])]},
        "fail2ban_jails[1] 'own' would read nothing, since there is no unit haproxi.service on this host",
    ),
    (
        "a unit's other name",
        {"jails": [{**SSH, "journal_matches": ["_SYSTEMD_UNIT=sshd.service"]}]},
        "fail2ban_jails[0] 'sshd' would read nothing, since sshd.service is another name of ssh.service",
    ),
    ("a bad port", {"jails": [{**SSH, "ports": ["ssh"]}]}, 'fail2ban_jails[0].ports[0] "ssh" isn\'t a port'),
    (
        "a bad network",
        {"jails": [SSH], "ignored_networks": ["10.0.0.5/8"]},
        'fail2ban_ignored_networks[0] is "10.0.0.5/8", which has host bits set; write 10.0.0.0/8',
    ),
]


@pytest.mark.parametrize("arguments", [(), ("--check",)], ids=["run", "check"])
def test_what_cant_work_is_named_and_nothing_changes(as_before: str, arguments: tuple[str, ...]) -> None:
    results = tried(*(trial for _, trial, _ in REFUSED), arguments=arguments, host=as_before)
    for (what, _, sentence), result in zip(REFUSED, results, strict=True):
        if arguments and "unit" in what:
            # What brings the unit may be about to be installed, so a check only warns.
            assert not result.get("failed"), (what, result)
            continue
        assert result.get("failed"), what
        assert sentence in result["msg"], (what, result["msg"])
        assert result["msg"].endswith("."), result["msg"]
        assert "\n" not in result["msg"]
        assert "Traceback" not in str(result)


@contextlib.contextmanager
def written(lab: Lab, gateway: str, path: str, content: str) -> Iterator[None]:
    """A file of somebody else's, for a while."""
    lab.exec(gateway, ["sh", "-c", f"cat >{path}"], input=content)
    try:
        yield
    finally:
        lab.exec(gateway, ["rm", path])


@pytest.mark.parametrize(
    ("path", "content", "sentence"),
    [
        (
            "/etc/fail2ban/jail.d/zzz.local",
            "[sshd]\nmaxretry = 99\n",
            "zzz.local wins over this role for the jail 'sshd': maxretry would be 99 instead of 3.",
        ),
        (
            "/etc/fail2ban/jail.d/zzz.local",
            "[sshd]\nenabled = false\n",
            "/etc/fail2ban/jail.d/zzz.local wins over this role for the jail 'sshd': enabled would be false",
        ),
        (
            "/etc/fail2ban/jail.d/zzz.local",
            "[sshd]\nignoreip = 0.0.0.0/0\n",
            "zzz.local wins over this role for the jail 'sshd': ignoreip would be 0.0.0.0/0 instead of",
        ),
        (
            "/etc/fail2ban/jail.d/zzz.local",
            "[sshd]\nusedns = yes\n",
            "zzz.local wins over this role for the jail 'sshd': usedns would be yes instead of no",
        ),
        (
            "/etc/fail2ban/action.d/postern-ban.local",
            "[Definition]\nactionban = true\n",
            "wins over this role for the jail 'sshd': action would be",
        ),
        (
            "/etc/fail2ban/jail.d/own.local",
            "[web]\nenabled = true\nbackend = auto\nfilter = nginx-http-auth\nlogpath = /var/log/none.log\n",
            "Have not found any log file for web jail",
        ),
        ("/etc/fail2ban/jail.d/own.local", "nonsense\n", "File contains no section headers"),
        ("/etc/fail2ban/fail2ban.local", "[Definition]\ndbfile = None\n", "no ban would survive a restart"),
    ],
    ids=[
        *("another value", "disabled", "nobody is banned", "names are looked up", "another action"),
        *("a jail without its log", "no settings at all", "no database"),
    ],
)
def test_files_of_somebody_else_that_are_in_the_way_are_named(
    lab: Lab, as_before: str, path: str, content: str, sentence: str
) -> None:
    with written(lab, as_before, path, content):
        (result,) = tried({"jails": [{**SSH, "max_retry": 3}]}, host=as_before)
        assert result.get("failed"), result
        assert sentence in result["msg"], result["msg"]


def test_a_ban_that_cant_be_made_brings_the_old_jails_back(lab: Lab, as_before: str) -> None:
    """Somebody has a table of that name in nftables; Fail2Ban starts the jail all the same, and would ban nobody."""
    squat = "add table inet f2b-own; add set inet f2b-own addresses4 { type inet_service; }"
    lab.exec(as_before, ["nft", squat])
    try:
        (result,) = tried({"jails": [SSH, {"name": "own"}], "filters": [own()]}, host=as_before)
        assert result.get("failed"), result
        assert (
            "Fail2Ban can't run with the new configuration: own: no table f2b-own in nftables that bans"
            in result["msg"]
        )
        assert "The old files are in place again and Fail2Ban goes on with the old files" in result["msg"]
    finally:
        lab.exec(as_before, ["nft", "delete", "table", "inet", "f2b-own"], check=False)


def test_a_full_disk_changes_nothing(lab: Lab, as_before: str) -> None:
    mount = (
        "cp -a /etc/fail2ban /run/kept && mount -t tmpfs -o size=2m,mode=755 tmpfs /etc/fail2ban"
        " && cp -a /run/kept/. /etc/fail2ban/ && ! cat /dev/zero 2>/dev/null >/etc/fail2ban/filler"
    )
    lab.exec(as_before, ["sh", "-c", mount])
    try:
        (result,) = tried({"jails": [{**SSH, "max_retry": 3}]}, host=as_before)
        assert "No space left on device" in result["msg"], result
        assert "nothing was changed" in result["msg"], result
    finally:
        lab.exec(as_before, ["sh", "-c", "umount /etc/fail2ban && rm -r /run/kept"])


def test_a_masked_fail2ban_is_refused(lab: Lab, as_before: str) -> None:
    lab.exec(as_before, ["systemctl", "mask", "--quiet", "fail2ban"])
    try:
        (result,) = tried({"jails": [{**SSH, "max_retry": 3}]}, host=as_before)
        assert result.get("failed"), result
        assert result["msg"].startswith("fail2ban.service is masked on this host, so it can't start; nothing was")
    finally:
        lab.exec(as_before, ["systemctl", "unmask", "--quiet", "fail2ban"])


def test_two_runs_at_once_dont_meet(lab: Lab, as_before: str) -> None:
    hold = ["systemd-run", "--quiet", "--unit=other-run", "flock", "/run/postern-fail2ban.lock", "sleep", "600"]
    lab.exec(as_before, hold)
    try:
        (result,) = tried({"jails": [SSH]}, host=as_before)
        assert result["msg"].startswith("Another run is changing Fail2Ban's configuration on this host"), result
    finally:
        lab.exec(as_before, ["systemctl", "stop", "other-run"])


def run_role(variables: dict[str, Any] | None = None, *arguments: str) -> Run:
    """Run the role alone."""
    return converge(variables, "--skip-tags=haproxy", *arguments)


def heal(lab: Lab, expected: dict[str, State]) -> None:
    """The next run finds that there is something to do, and does it."""
    run = run_role()
    assert run.status == 0, run.output
    assert all(run.recap[gateway]["changed"] == 1 for gateway in GATEWAYS), run.output
    for gateway, before in expected.items():
        assert files(lab, gateway) == before.files
        assert active(lab, gateway) == before.jails
        assert lab.exec(gateway, ["fail2ban-client", "get", "sshd", "maxretry"]).stdout == before.retries
        assert host(lab, gateway).service("fail2ban").is_enabled


SPOILED = {
    "the server was stopped": "systemctl stop fail2ban",
    "a jail was stopped by hand": "fail2ban-client stop haproxy-logons",
    "a jail was changed by hand": "fail2ban-client set sshd maxretry 99",
    "who is ignored was changed by hand": "fail2ban-client set sshd addignoreip 0.0.0.0/0",
    "a journal match was added by hand": "fail2ban-client set sshd addjournalmatch _COMM=anything",
    "all of nftables was flushed": "nft flush ruleset",
    "it doesn't start with the host any more": "systemctl disable --quiet fail2ban",
    "a file was changed by hand": "echo '# x' >>/etc/fail2ban/jail.d/postern-sshd.local",
    "a file was removed by hand": "rm /etc/fail2ban/action.d/postern-ban.conf",
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_what_was_changed_is_put_right_and_bans_stand(lab: Lab, strangers: Strangers, spoil: str) -> None:
    sources = {gateway: strangers.address() for gateway in GATEWAYS}
    for gateway, source in sources.items():
        lab.exec(gateway, ["fail2ban-client", "set", "sshd", "banip", source])
    before = {gateway: State(lab, gateway) for gateway in GATEWAYS}
    for gateway in GATEWAYS:
        lab.exec(gateway, ["sh", "-c", spoil])
    heal(lab, before)
    for gateway, source in sources.items():
        assert wait_for(lambda gateway=gateway, source=source: source in elements(lab, gateway, "sshd"))
        assert reach(lab, "client", lab.address(gateway, "outside"), 22, source) == "refused"
        unban(lab, gateway, source)


def test_bans_are_in_force_again_after_somebody_flushed_them(lab: Lab, strangers: Strangers, gateway: str) -> None:
    """As 'systemctl restart nftables' does. The next ban brings the others back, with no run of the role."""
    first, second = strangers.address(), strangers.address()
    lab.exec(gateway, ["fail2ban-client", "set", "sshd", "banip", first])
    lab.exec(gateway, ["nft", "delete", "table", "inet", "f2b-sshd"])
    lab.exec(gateway, ["fail2ban-client", "set", "sshd", "banip", second])

    def both() -> bool:
        listed = lab.exec(gateway, ["nft", "list", "table", "inet", "f2b-sshd"], check=False).stdout
        return first in listed and second in listed

    assert wait_for(both)
    assert reach(lab, "client", lab.address(gateway, "outside"), 22, first) == "refused"
    unban(lab, gateway, first, second)


def test_a_check_tells_that_the_server_doesnt_run_nor_will_and_leaves_it(lab: Lab) -> None:
    for gateway in GATEWAYS:
        lab.exec(gateway, ["systemctl", "disable", "--quiet", "--now", "fail2ban"])
    check = run_role(None, "--check", "--diff")
    assert check.status == 0, check.output
    assert all(check.recap[gateway]["changed"] == 1 for gateway in GATEWAYS), check.output
    assert check.output.count("+Fail2Ban runs\n") == len(GATEWAYS)
    assert check.output.count("+starts with the host: yes\n") == len(GATEWAYS)
    for gateway in GATEWAYS:
        service = host(lab, gateway).service("fail2ban")
        assert (service.is_running, service.is_enabled) == (False, False)
    run = run_role()
    assert run.status == 0, run.output
    for gateway in GATEWAYS:
        service = host(lab, gateway).service("fail2ban")
        assert (service.is_running, service.is_enabled) == (True, True)


def test_a_run_that_is_killed_is_healed_by_the_next(lab: Lab) -> None:
    staging = "/etc/fail2ban/.postern-staging"
    before = {gateway: State(lab, gateway) for gateway in GATEWAYS}
    other = {"fail2ban_jails": [{**SSH, "max_retry": 3}, {"name": "new", "filter": "haproxy-logons"}]}
    # While the new files are written; between the swap and the reload; after it.
    killing.when_there_is(lab, staging, LOCK, lambda: run_role(other))
    for gateway in GATEWAYS:
        assert active(lab, gateway) == before[gateway].jails
    killing.when_it_reloads(lab, CLIENT, lambda: run_role(other))
    for gateway in GATEWAYS:
        assert active(lab, gateway) == before[gateway].jails
        assert "/jail.d/postern-new.local" in "\n".join(files(lab, gateway))
    heal(lab, before)
    killing.when_there_is(lab, f"{staging}/old", LOCK, lambda: run_role(other))
    killing.when_it_reloads(lab, CLIENT, lambda: run_role(other), afterwards=True)
    heal(lab, before)


def test_after_all_that_nothing_is_left_to_do(lab: Lab) -> None:
    run = converge()
    assert run.status == 0, run.output
    assert run.changed == 0, run.output
