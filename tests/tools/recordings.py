"""Makes the recordings of `tests/recordings` that come from published objects and from the stand-in."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".cache" / "collections"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit" / "exchange"))

from organisation import ANONYMOUS, RELAY, relay_connector
from serialized import windows_of
from shell import Action, over_powershell
from standin_host import StandinHost

ROOT = Path(__file__).resolve().parents[2]
AROUND: dict[str, Any] = {
    "server_addresses": ["10.1.1.21"],
    "gateway_addresses": ["10.1.1.11"],
    "relay_addresses": ["10.1.1.12"],
}
RELAYING = relay_connector("10.1.1.12")
GATEWAY: dict[str, Any] = {
    "name": "Mail gateway",
    "properties": {
        "Bindings": ["0.0.0.0:25"],
        "RemoteIPRanges": ["10.1.1.11"],
        "AuthMechanism": ["Tls"],
        "PermissionGroups": ["AnonymousUsers"],
        "Fqdn": "mail.example.test",
        "ProtocolLoggingLevel": "Verbose",
        "MaxInboundConnectionPerSource": "Unlimited",
    },
    "extended_rights": [],
}


def on_published(folder: Path, kept: str) -> None:
    """The published objects, of which services, components and connectors are there."""
    windows = windows_of(folder, "2019")
    action = Action(over_powershell(windows), check_mode=True)
    action.configure(
        server=windows.name, record=kept, receive_connectors=[RELAYING, GATEWAY], imap={"enabled": True}, **AROUND
    )


def on_standin(folder: Path, kept: str, language: str) -> None:
    """A server of the stand-in's, somebody's connectors on it, in this language."""
    host = StandinHost(folder, Culture={"Name": language})
    ranges = {"Bindings": ["0.0.0.0:25"], "RemoteIPRanges": ["10.1.7.0/24", "fe80::39bd:88f7:6969:d223%11"]}
    host.set(
        "ReceiveConnector[+]",
        {"Name": "Scanner", "TransportRole": "FrontendTransport", **ranges, "PermissionGroups": "AnonymousUsers"},
        "ADPermission[+]",
        {"Identity": "EX1\\Scanner", "User": ANONYMOUS, "ExtendedRights": [RELAY], "Deny": False, "IsInherited": True},
    )
    host.configure(
        check_mode=True,
        record=kept,
        receive_connectors=[RELAYING, GATEWAY],
        imap={"enabled": True, "properties": {"EnableGSSAPIAndNTLMAuth": False, "LoginType": "PlainTextLogin"}},
        transport={"properties": {"IntraOrgConnectorProtocolLoggingLevel": "Verbose"}},
        edge_traversal_ports=[143, 993],
        **AROUND,
    )


def main() -> None:
    """Make all of them."""
    made: dict[str, Any] = {
        "published-2019": on_published,
        "standin-2019-en": lambda *place: on_standin(*place, "en-US"),
        "standin-2019-de": lambda *place: on_standin(*place, "de-DE"),
    }
    for name, make in made.items():
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
            make(Path(folder) / "host", str(Path(folder) / "kept"))
            (path,) = (Path(folder) / "kept").iterdir()
            (ROOT / "tests" / "recordings" / f"{name}.json").write_bytes(path.read_bytes())


if __name__ == "__main__":
    main()
