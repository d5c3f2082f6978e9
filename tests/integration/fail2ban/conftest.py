"""What the tests of the role share: clients that the gateways haven't seen before."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab
from strangers import Strangers, among_strangers

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bans import GATEWAYS


@pytest.fixture(scope="session")
def strangers(lab: Lab) -> Iterator[Strangers]:
    for gateway in GATEWAYS:
        # What an earlier session's clients with these addresses did is forgotten, by HAProxy and by Fail2Ban.
        forget = "systemctl restart haproxy && fail2ban-client unban --all && systemctl restart fail2ban"
        lab.exec(gateway, ["sh", "-c", forget])
    with among_strangers(lab) as found:
        yield found
