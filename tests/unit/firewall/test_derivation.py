"""What the declaration opens: the published ports, SSH for administrators, metrics for the monitoring, nothing else."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tools.declared import declared, derive_gateway

from ansible_collections.postern.mail_gateway.plugins.module_utils.firewall.decision import (
    Connection,
    decide,
)
from ansible_collections.postern.mail_gateway.plugins.module_utils.firewall.desired import (
    wanted_rules,
)
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.validation import validate

#: What a rule has where the declaration's doesn't say; the module's own defaults.
DEFAULTS: dict[str, Any] = {
    "action": "allow", "direction": "in", "protocol": "any", "ports": [], "source_ports": [], "sources": [],
    "destinations": [], "application": "", "source_application": "", "interface": "", "outgoing_interface": "",
    "log": "none", "comment": "",
}  # fmt: skip

ADMINS = ["198.51.100.0/24", "2001:db8:a::/64", "10.60.0.1"]
SSH_ONLY = ["192.0.2.64/27", "2001:db8:77::/64"]
MONITORS = ["10.50.0.0/16", "10.20.0.10", "2001:db8:b::/64"]
SERVICES = ["203.0.113.10", "203.0.113.11", "2001:db8:25::10"]
HERE = [*SERVICES, "10.10.0.11", "2001:db8:99::1"]  # addresses of the gateway, declared ones and others
CLIENTS = ["192.0.2.77", "2001:db8:77::1", "198.51.100.9", "2001:db8:a::9", "10.60.0.1", "10.50.3.4", "2001:db8:b::4"]


@st.composite
def changes(draw: st.DrawFn) -> dict[str, Any]:
    """Whatever decides about ports and who may reach them."""
    found: dict[str, Any] = {f"{service}.enabled": draw(st.booleans()) for service in ("https", "smtp", "imap", "pop")}
    found["smtp.submission"] = draw(st.booleans())
    found["admin_networks"] = draw(st.lists(st.sampled_from(ADMINS), min_size=1, unique=True))
    found["monitoring_networks"] = draw(st.lists(st.sampled_from(MONITORS), unique=True))
    found["service_addresses"] = draw(st.lists(st.sampled_from(SERVICES), unique=True))
    if draw(st.booleans()):
        found["ipv6"] = draw(st.booleans())
    if draw(st.booleans()) and any(found[f"{service}.enabled"] for service in ("https", "smtp", "imap", "pop")):
        found["websites"] = []
    found["ssh.ports"] = draw(st.lists(st.sampled_from([22, 2222]), unique=True))
    if draw(st.booleans()):
        found["gw1.ansible_port"] = 2222
    if draw(st.booleans()):
        found["ssh.networks"] = draw(st.lists(st.sampled_from(SSH_ONLY), min_size=1, unique=True))
    if draw(st.booleans()):
        found["firewall.open"] = [{"ports": [3306], "networks": [SSH_ONLY[0]], "comment": "data base"}]
    if draw(st.booleans()):
        found["metrics_port"] = draw(st.integers(9000, 9100))
    return found


def inside(address: str, networks: list[str]) -> bool:
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(network) for network in networks)


@settings(max_examples=60, deadline=None)
@given(changes())
def test_open_ports_are_published_ports(changed: dict[str, Any]) -> None:
    declaration, inventory = declared(changed)
    if validate(declaration, inventory):
        return  # IPv6 asked for without an address, say
    derived = derive_gateway(declaration, "gw1", inventory)
    rules = wanted_rules([{**DEFAULTS, **rule} for rule in derived["firewall_rules"]], {}, "postern")
    # What HAProxy listens on, from the other derivation.
    published = {service["port"] for service in derived["haproxy_tcp_services"]}
    if derived["haproxy_exchange_hostnames"] or derived["haproxy_websites"]:
        published |= {80, 443}
    metrics = derived["haproxy_metrics_port"]
    own_port = changed.get("gw1.ansible_port")
    ssh = {*changed["ssh.ports"], own_port} - {None} or {22}
    administrators = changed.get("ssh.networks", declaration["admin_networks"])
    ports = {21, 22, 25, 80, 110, 143, 443, 465, 587, 993, 995, 2222, 8080, 8404, 3306, metrics}
    for client in CLIENTS:
        for server in HERE:
            if ipaddress.ip_address(client).version != ipaddress.ip_address(server).version:
                continue
            everywhere = "::" if ":" in server else "0.0.0.0"
            listens = {server, everywhere} & set(derived["haproxy_listen_addresses"])
            for port in ports:
                wanted = (
                    (port in published and bool(listens))
                    or (port in ssh and inside(client, administrators))
                    or (port == 3306 and "firewall.open" in changed and inside(client, SSH_ONLY[:1]))
                    or (port == metrics and bool(listens) and inside(client, declaration["monitoring_networks"]))
                )
                action, rule = decide(rules, Connection(client, server, port), "deny")
                assert (action == "allow") == wanted, (client, server, port, rule)
    # Nothing but TCP to this host, and nothing for all ports.
    assert all(rule.protocol == "tcp" and rule.direction == "in" and not rule.routed for rule in rules)
    assert all(re.fullmatch(r"\d+(,\d+)*", rule.dport) for rule in rules)


def test_by_example() -> None:
    declaration, inventory = declared({"service_addresses": ["203.0.113.10"], "imap.enabled": False})
    rules = derive_gateway(declaration, "gw1", inventory)["firewall_rules"]
    assert rules[0] == {
        "ports": [22],
        "protocol": "tcp",
        "sources": ["198.51.100.0/24", "2001:db8:a::/64"],
        "destinations": [],
        "comment": "SSH for administrators",
    }
    assert rules[-1] == {
        "ports": [8404],
        "protocol": "tcp",
        "sources": ["10.20.0.10/32"],
        "destinations": ["203.0.113.10"],
        "comment": "metrics for monitoring",
    }
    assert [rule["ports"] for rule in rules[1:-1]] == [[25], [80], [110], [443], [587], [995]]


def test_the_order_of_what_is_declared_makes_no_difference() -> None:
    one, inventory = declared({"service_addresses": SERVICES})
    other, _ = declared({"service_addresses": SERVICES[::-1]})
    other["admin_networks"] = other["admin_networks"][::-1]
    assert derive_gateway(one, "gw1", inventory) == derive_gateway(other, "gw1", inventory)


def test_more_ports_than_a_rule_can_have_are_several_rules() -> None:
    opened = {"ports": list(range(9000, 9040)), "protocol": "udp", "comment": "many"}
    declaration, inventory = declared({"firewall.open": [opened]})
    rules = derive_gateway(declaration, "gw1", inventory)["firewall_rules"]
    assert [len(rule["ports"]) for rule in rules if rule["comment"] == "many"] == [15, 15, 10]
    made = wanted_rules([{**DEFAULTS, **rule} for rule in rules], {}, "postern")
    assert {port for rule in made if rule.protocol == "udp" for port in rule.dport.split(",")} == set(
        map(str, range(9000, 9040))
    )
