# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What will become of a server's receive connectors, foretold without asking it: as if they were as setup leaves them.

What others have changed on a real server is judged when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .actual import Object, Server
from .desired import read_desired
from .kinds.receive_connectors import DEFAULT_CONNECTORS, RECEIVE_CONNECTOR
from .plan import make_plan
from .ranges import EVERYBODY

#: What decides on connectors; the rest of a server can't be foretold, and needn't be.
_ARGUMENTS = ("receive_connectors", "server_addresses", "gateway_addresses", "relay_addresses")


def forecast(variables: Mapping[str, Any], host: str) -> list[dict[str, object]]:
    """For each server, gateway and relay address, and for the Internet, which connector will take it.

    :param variables: those of the role for this server.
    :param host: its name in the inventory, of which the first label is taken for its short name.
    :raises Refused: with a sentence for everything that the role would refuse.
    """
    name = host.partition(".")[0].upper()
    objects = {RECEIVE_CONNECTOR.variable: tuple(_of_setup(name, host))}
    server = Server(name, fqdn=host, version="2019", objects=objects)
    desired = read_desired({argument: variables[f"exchange_{argument}"] for argument in _ARGUMENTS})
    return make_plan(desired, server).connections


def _of_setup(server: str, fqdn: str) -> list[Object]:
    found = []
    for default in DEFAULT_CONNECTORS:
        name = f"{default.title} {server}"
        identity = f"{server}\\{name}"
        raw = {
            "Enabled": True,
            "TransportRole": default.role,
            "AuthMechanism": default.mechanisms,
            "PermissionGroups": default.groups,
            "Fqdn": fqdn,
            "Banner": "",
            "Bindings": [f"0.0.0.0:{default.port}", f"[::]:{default.port}"],
            "RemoteIPRanges": [str(everybody) for everybody in EVERYBODY],
            "Comment": "",
        }
        found.append(Object(name, identity, raw))
    return found
