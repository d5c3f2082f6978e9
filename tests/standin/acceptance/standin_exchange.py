"""An Exchange server of the lab, as the tests steer it."""

from __future__ import annotations

import json
import ssl
from typing import Any

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
        return self.lab.exchange(SERVER, *arguments, data=stdin)

    def get(self, path: str) -> Any:
        return json.loads(self.command("get", path))

    def powershell(self, script: str) -> str:
        """What the script says on the server, as a real one's powershell.exe would run it."""
        return self.lab.exec(SERVER, ["powershell", "-NoProfile", "-Command", script]).stdout

    def flag(self, adapter: str, name: str, value: str) -> None:
        """Set a property of an adapter's IPv4 interface."""
        interfaces = self.get("NetIPInterface")
        for item in interfaces:
            if item["InterfaceAlias"] == adapter and item["AddressFamily"] == "IPv4":
                item[name] = value
        self.set("NetIPInterface", interfaces)

    def set(self, *pairs: Any) -> None:
        """`set("Kind.Property", value, …)`, in force when it returns."""
        self.command("set", *(json.dumps(item) if number % 2 else item for number, item in enumerate(pairs)))
