"""The stand-in as it runs on an Exchange server of the lab. Its state is given back as it was found.

The lab has to be up; where it isn't, the tests fail and say so. Run them by name:
`pytest tests/standin/acceptance`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab

# Tests are imported by their path, not as packages, so that what they share is found by its folder.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from standin_exchange import Exchange


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    server = Exchange(Lab.load())
    before = json.loads(server.command("get"))
    yield server
    changed = (
        "ReceiveConnector",
        "ADPermission",
        "Service",
        "ServerComponentState",
        "ImapSettings",
        "PopSettings",
        "Mailbox",
    )
    server.set(*(item for kind in changed for item in (kind, before[kind])))
