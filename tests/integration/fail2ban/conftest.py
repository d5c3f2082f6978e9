"""What the tests of the role share: clients that the gateways haven't seen before."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import Lab
from lab.topology import GATEWAYS
from strangers import Strangers, among_strangers

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bans import restart


@pytest.fixture(scope="session")
def strangers(lab: Lab) -> Iterator[Strangers]:
    for gateway in GATEWAYS:
        # What an earlier session's clients with these addresses did is forgotten, by HAProxy and by Fail2Ban.
        lab.exec(gateway, ["sh", "-c", "systemctl restart haproxy && fail2ban-client unban --all"])
        restart(lab, gateway)
    with among_strangers(lab) as found:
        yield found


@pytest.fixture
def controller_fails(lab: Lab, tmp_path: Path) -> Callable[[str, int], None]:
    """``controller_fails("gw1", 5)``: this machine tries a wrong password so many times."""

    def fail(gateway: str, times: int) -> None:
        asked = tmp_path / "askpass"
        asked.write_text("#!/bin/sh\necho wrong\n")
        asked.chmod(0o700)
        address = lab.address(gateway, "admin")
        for _ in range(times):
            done = subprocess.run(
                [
                    "ssh", "-F", "none", "-o", "ControlPath=none", "-o", "PubkeyAuthentication=no",
                    "-o", "NumberOfPasswordPrompts=1", "-o", "StrictHostKeyChecking=no",
                    "-o", f"UserKnownHostsFile={tmp_path}/known_hosts", "-o", "ConnectTimeout=5",
                    f"operator@{address}", "true",
                ],
                env={**os.environ, "SSH_ASKPASS": str(asked), "SSH_ASKPASS_REQUIRE": "force"},
                stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert "Permission denied" in done.stderr, done.stderr

    return fail
