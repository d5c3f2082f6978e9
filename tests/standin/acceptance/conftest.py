"""The stand-in as it runs on an Exchange server of the lab. Its state is given back as it was found.

The lab has to be up; where it isn't, the tests fail and say so. Run them by name:
`pytest tests/standin/acceptance`.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from lab import Lab

SERVER = "ex2"


class Exchange:
    """The server, its command line and its mailboxes."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.address = lab.address(SERVER, "inside")
        self.password = lab.secrets()["mailbox"]
        # The names in the certificate are the services', not the address that is dialled here.
        self.trust = ssl.create_default_context(cafile=str(lab.folder / "ca" / "ca.pem"))
        self.trust.check_hostname = False

    def command(self, *arguments: str, stdin: str | None = None) -> str:
        argv = ["env", "PYTHONPATH=/opt", "PYTHONDONTWRITEBYTECODE=1", "python3", "-m", "standin", *arguments]
        return self.lab.exec(SERVER, argv, input=stdin).stdout

    def set(self, *pairs: Any) -> None:
        """`set("Kind.Property", value, …)`, in force when it returns."""
        self.command("set", *(json.dumps(item) if number % 2 else item for number, item in enumerate(pairs)))


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    server = Exchange(Lab.load())
    before = json.loads(server.command("get"))
    yield server
    changed = ("Service", "ServerComponentState", "ImapSettings", "PopSettings", "Mailbox")
    server.set(*(item for kind in changed for item in (kind, before[kind])))
