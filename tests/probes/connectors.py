"""The receive connectors for the gateways, made by hand: for where the role ``exchange`` isn't run.

They are those that docs/gateway.md has administrators make, with the names that the role gives them.
"""

from __future__ import annotations

import json
from typing import Any

from lab import Lab
from lab.topology import EXCHANGE, GATEWAYS

ANYBODY = "NT AUTHORITY\\ANONYMOUS LOGON"


def make_by_hand(lab: Lab) -> None:
    """Give both servers a connector for everybody's mail and one for relay clients."""
    ordinary = [lab.address(gateway, "inside") for gateway in GATEWAYS]
    relays = [lab.relay_address(gateway) for gateway in GATEWAYS]
    for server in EXCHANGE:
        relay = f"{server.upper()}\\Mail gateway relay"
        right = {"Identity": relay, "User": ANYBODY, "ExtendedRights": ["Ms-Exch-SMTP-Accept-Any-Recipient"]}
        granted = json.loads(lab.exchange(server, "get", "ADPermission"))
        values = {
            "ReceiveConnector[Mail gateway]": connector(server, "Mail gateway", ordinary),
            "ReceiveConnector[Mail gateway relay]": connector(server, "Mail gateway relay", relays),
            "ADPermission": [*(item for item in granted if item["Identity"] != relay), {**right, "Deny": False}],
        }
        lab.exchange(server, "set", *(part for path, value in values.items() for part in (path, json.dumps(value))))


def connector(server: str, name: str, ranges: list[str]) -> dict[str, Any]:
    """A connector on port 25 that takes mail without a logon from these addresses."""
    return {
        "Name": name,
        "Identity": f"{server.upper()}\\{name}",
        "Server": server.upper(),
        "TransportRole": "FrontendTransport",
        "Bindings": ["0.0.0.0:25"],
        "RemoteIPRanges": ranges,
        "Fqdn": f"{server}.example.test",
        "AuthMechanism": "Tls",
        "PermissionGroups": "AnonymousUsers",
        "MaxInboundConnectionPerSource": "Unlimited",
        "MaxInboundConnectionPercentagePerSource": 100,
    }
