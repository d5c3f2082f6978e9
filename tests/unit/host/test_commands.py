"""Commands on a host, and units that start with it; systemd is a program that says and keeps what it was told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.postern.mail_gateway.plugins.module_utils.host.commands import last, run
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.errors import HostError
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.units import (
    start_with_host,
    starting_diff,
    starts_with_host,
)

SYSTEMCTL = """#!/bin/sh
echo "$*" >>{folder}/log
case "$1" in
    is-enabled) cat {folder}/state; [ "$(cat {folder}/state)" != disabled ] && [ "$(cat {folder}/state)" != masked ];;
    enable) [ ! -e {folder}/refuses ] || {{ echo "Failed to enable unit: Read-only file system" >&2; exit 1; }}
        echo enabled >{folder}/state;;
esac
"""


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """``systemd("disabled")``: systemctl that says so of any unit; returns the folder of its log."""

    def with_state(state: str) -> Path:
        program = tmp_path / "systemctl"
        program.write_text(SYSTEMCTL.format(folder=tmp_path))
        program.chmod(0o755)
        (tmp_path / "state").write_text(f"{state}\n")
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return tmp_path

    return with_state


@pytest.mark.parametrize(
    ("state", "starts"),
    [("enabled", True), ("static", True), ("alias", True), ("disabled", False), ("enabled-runtime", False)],
)
def test_it_is_known_whether_a_unit_starts_with_the_host(
    systemd: Callable[[str], Path], state: str, starts: bool
) -> None:
    systemd(state)
    assert starts_with_host("door.service") is starts


def test_a_unit_is_made_to_start_with_the_host_and_isnt_started(systemd: Callable[[str], Path]) -> None:
    folder = systemd("disabled")
    start_with_host("door.service")
    assert starts_with_host("door.service")
    assert (folder / "log").read_text().splitlines() == [
        "enable --quiet door.service",
        "is-enabled door.service",
    ]


def test_a_masked_unit_is_refused_before_anything_changes(systemd: Callable[[str], Path]) -> None:
    folder = systemd("masked")
    with pytest.raises(HostError) as error:
        starts_with_host("door.service")
    assert str(error.value) == (
        "door.service is masked on this host, so it can't start; nothing was changed. "
        "Run 'systemctl unmask door.service' there and run again."
    )
    assert (folder / "log").read_text() == "is-enabled door.service\n"


def test_what_systemd_says_against_it_is_told(systemd: Callable[[str], Path]) -> None:
    (systemd("disabled") / "refuses").touch()
    with pytest.raises(HostError) as error:
        start_with_host("door.service")
    assert str(error.value) == (
        "door.service can't be made to start with the host (Failed to enable unit: Read-only file system)."
    )


def test_the_difference_is_one_line() -> None:
    part = starting_diff("door.service")
    assert part["before_header"] == part["after_header"] == "door.service"
    assert (part["before"], part["after"]) == ("starts with the host: no\n", "starts with the host: yes\n")


def test_a_command_that_fails_raises_nothing_and_its_last_word_is_known() -> None:
    done = run("sh", "-c", "echo first >&2; echo 'and last.' >&2; cat; exit 3", data="given")
    assert (done.returncode, done.stdout, last(done)) == (3, "given", "and last")
    assert last(run("false")) == "no reason was given"
