"""A sound declaration with its inventory, and a way to say in one line what is changed in it: for tests.

The names are those of the inventory, so that a change reads like the place in the file:
``smtp.relay_clients[1]`` is in the declaration, ``gw1.mail_gateway_egress_address`` (or ``hosts.gw1…``) is a host's
variable, ``groups.exchange`` is a group.
"""

import copy
import re
from typing import Any

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.site import Site
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.tree import Inventory
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.validation import DeclarationError, check
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.derivation import exchange, gateway

DROP = object()
"""As a new value: the key goes."""

DECLARATION: dict[str, Any] = {
    "hostname": "mail.example.com",
    "domains": ["example.com", "example.org"],
    "admin_networks": ["198.51.100.0/24", "2001:db8:a::/64"],
    "monitoring_networks": ["10.20.0.10"],
    "service_addresses": [],
    "exchange": {"group": "exchange", "ca_file": ""},
    "https": {"enabled": True, "internal_only": ["ecp", "powershell"], "limits": {"failed_logons": 10}},
    "smtp": {"enabled": True, "mode": "proxy", "relay_clients": ["10.30.0.25", "10.30.1.0/28"]},
    "imap": {"enabled": True},
    "pop": {"enabled": True},
    "certificate": {"file": ""},
    "websites": [
        {
            "name": "www",
            "hostnames": ["www.example.com", "example.com"],
            "servers": [{"address": "10.40.0.10", "port": 8080}, {"address": "10.40.0.11", "port": 8080}],
        }
    ],
    "metrics_port": 8404,
}
GROUPS: dict[str, list[str]] = {
    "all": ["gw1", "gw2", "ex1", "ex2"],
    "ungrouped": [],
    "gateways": ["gw1", "gw2"],
    "exchange": ["ex1", "ex2"],
}
HOSTS: dict[str, dict[str, Any]] = {
    "gw1": {"mail_gateway_egress_address": "10.10.0.11", "mail_gateway_relay_address": "10.10.0.111"},
    "gw2": {"mail_gateway_egress_address": "10.10.0.12", "mail_gateway_relay_address": "10.10.0.112"},
    "ex1": {"ansible_host": "10.10.0.21"},
    "ex2": {"mail_gateway_server_address": "10.10.0.22", "mail_gateway_server_weight": 50},
}


def declared(changes: dict[str, Any] | None = None) -> tuple[Any, Inventory]:
    """The sound declaration and inventory after the changes, each a place and its new value."""
    declaration = copy.deepcopy(DECLARATION)
    hosts = copy.deepcopy(HOSTS)
    whole: dict[str, Any] = {"mail_gateway": declaration, "groups": copy.deepcopy(GROUPS), "hosts": hosts}
    for place, value in (changes or {}).items():
        steps: list[Any] = [int(s) if s.isdigit() else s for s in re.split(r"[.\[\]]+", place.rstrip("]"))]
        if steps[0] not in whole:
            steps.insert(0, "hosts" if steps[0] in hosts else "mail_gateway")
        holder = whole
        for step in steps[:-1]:
            holder = holder.setdefault(step, {}) if isinstance(holder, dict) else holder[step]
        if value is DROP:
            del holder[steps[-1]]
        elif isinstance(holder, list) and steps[-1] == len(holder):
            holder.append(value)
        else:
            holder[steps[-1]] = value
    return whole["mail_gateway"], Inventory(whole["groups"], hosts)


def sound_site(declaration: Any, inventory: Inventory) -> Site:
    """The site of all gateways of the inventory; DeclarationError with every problem where it isn't sound."""
    checked = check(declaration, inventory)
    if checked.problems:
        raise DeclarationError(checked.problems)
    return checked.site


def derive_gateway(declaration: Any, host: str, inventory: Inventory) -> dict[str, Any]:
    """The variables of a gateway's roles."""
    site = sound_site(declaration, inventory)
    return gateway.derive_gateway(site, site.gateway(host))


def derive_exchange(declaration: Any, host: str, inventory: Inventory) -> dict[str, Any]:
    """The variables of a server's role."""
    return exchange.derive_exchange(sound_site(declaration, inventory), host)
