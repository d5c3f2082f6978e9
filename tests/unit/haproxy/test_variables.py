"""The role by itself refuses what the declaration refuses, before anything is touched."""

from __future__ import annotations

import re
from typing import Any

import pytest
from rendering import DEFAULTS, Variables, sound
from test_templates import EVERYTHING

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.roles.reading import ROLES, read_variables

SOUND = {**EVERYTHING, "haproxy_exchange_ca_file": ""}
WEBSITE = EVERYTHING["haproxy_websites"][0]
SERVER = {"name": "www1", "address": "10.1.1.25", "port": 8080}


def refused(**changed: Any) -> list[str]:
    return read_variables(ROLES["haproxy"], {**DEFAULTS, **SOUND, **changed})[1]


INJECTED = "::1%1]:80 init-addr none\nfrontend f\n    bind :25\n    default_backend smtp_relay\n#"


def website(**changed: Any) -> dict[str, Any]:
    return {"haproxy_websites": [{**WEBSITE, **changed}]}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            website(servers=[{**SERVER, "address": INJECTED}]),
            'haproxy_websites[0].servers[0].address is "::1%1]:80 init',
        ),
        (
            {"haproxy_relay_networks": ["0.0.0.0/0"]},
            'haproxy_relay_networks[0] is "0.0.0.0/0", which is everybody: an open',
        ),
        (
            {"haproxy_relay_networks": ["::/0"]},
            'haproxy_relay_networks[0] is "::/0", which is everybody: an open relay',
        ),
        ({"haproxy_relay_networks": ["8.0.0.0/8"]}, "a network of public addresses, which is too wide for relaying"),
        (
            {"haproxy_relay_networks": ["10.1.1.0/24"]},
            "which holds 10.1.1.11 (haproxy_egress_address), where anybody's",
        ),
        ({"haproxy_admin_networks": ["::/0"]}, "which is everybody; name the networks of the administrators"),
        ({"haproxy_admin_networks": ["::/64"]}, "but must not hold ::/96, which stands for IPv4"),
        (
            {"haproxy_monitoring_networks": ["8.0.0.0/7"]},
            "a large part of the Internet; name the networks of the monit",
        ),
        ({"haproxy_relay_address": "10.1.1.11"}, "which is haproxy_egress_address too, so that Exchange couldn't tell"),
        ({"haproxy_relay_address": "::"}, 'haproxy_relay_address is "::", but must be an address of the host'),
        ({"haproxy_hostname": "mail.example.com\nx"}, "haproxy_hostname is"),
        ({"haproxy_hostname": ""}, "haproxy_hostname is missing; servers are asked by it"),
        ({"haproxy_metrics_port": 443}, "haproxy_metrics_port is 443, which is the port of HTTPS already"),
        ({"haproxy_metrics_port": 842}, "haproxy_acme_port is 842, which is the port of haproxy_metrics_port already"),
        ({"haproxy_metrics_port": "x"}, 'haproxy_metrics_port is "x", but must be a whole number'),
        ({"haproxy_max_connections": 0}, "haproxy_max_connections is 0, but must be from 1 to"),
        ({"haproxy_exchange_certificate": "other"}, "but haproxy_certificates has none of that name"),
        ({"haproxy_certificates": [{"name": "../x", "names": ["x.example.com"]}]}, "haproxy_certificates[0].name is"),
        (
            {
                "haproxy_tcp_services": [
                    {"name": "a", "port": 25, "check": "smtp"},
                    {"name": "b", "port": 25, "check": "smtp"},
                ]
            },
            "haproxy_tcp_services[1].port is 25, which is the port of haproxy_tcp_services[0].port already",
        ),
        (
            {"haproxy_tcp_services": [{"name": "https", "port": 25, "check": "smtp"}]},
            "the name of a frontend of the role",
        ),
        ({"haproxy_tcp_services": [{"name": "owa", "port": 25, "check": "smtp"}]}, "the name of a service in"),
        ({"haproxy_tcp_services": [{"name": "smtp", "port": 25, "check": "smpt"}]}, "did you mean smtp?"),
        ({"haproxy_tcp_services": [{"name": "smtp", "port": 25}]}, "haproxy_tcp_services[0].check is missing"),
        ({"haproxy_servers": [{"name": "ex 1", "address": "10.1.1.21"}]}, "haproxy_servers[0].name is"),
        ({"haproxy_servers": [{"name": "ex1", "address": "0x10"}]}, "is an address to the resolver"),
        (
            {"haproxy_servers": [{"name": "ex1", "address": "10.1.1.21"}, {"name": "ex1", "address": "10.1.1.22"}]},
            'haproxy_servers[1].name is "ex1", which is haproxy_servers[0].name already',
        ),
        (website(hostnames=["mail.example.com"]), "which is haproxy_exchange_hostnames[0] already"),
        (
            website(servers=[{**SERVER, "address": "10.1.1.21"}]),
            "which is Exchange: all of it would be open to everybody",
        ),
        (
            website(servers=[{**SERVER, "address": "127.0.0.7", "port": 8404}]),
            "which is the port of the metrics on the",
        ),
        (website(servers=[{**SERVER, "address": "localhost", "port": 842}]), "which is the port of the ACME client on"),
        ({"haproxy_acme_peers": ["10.1.1.12\n"]}, "haproxy_acme_peers[0] is"),
        ({"haproxy_limits": {"connections": 5}}, "haproxy_limits.request_rate is missing"),
        ({"haproxy_extra_configuration": "backend x\0"}, "without characters that can't be seen (U+0000)"),
        (
            {"haproxy_virtual_directories": [{"name": "owa", "path": "/o wa", "health_path": "/x"}]},
            "a path such as /owa",
        ),
    ],
)
def test_what_is_refused(changed: Variables, sentence: str) -> None:
    problems = refused(**changed)
    assert [text for text in problems if sentence in text], problems
    for text in problems:
        assert text.isprintable()
        assert text.endswith(".")
        assert re.match(r"haproxy_\w+", text)


def test_texts_of_numbers_and_booleans_are_what_they_mean() -> None:
    """ansible-core before 2.19 makes texts of them, and the text "0" is true."""
    found = sound(
        {
            **SOUND,
            "haproxy_acme_port": "0",
            "haproxy_metrics_port": "9101",
            "haproxy_virtual_directories": [
                {"name": "owa", "path": "/owa", "health_path": "/owa/x", "closed": "False"}
            ],
        }
    )
    assert found["haproxy_acme_port"] == 0
    assert found["haproxy_metrics_port"] == 9101
    assert found["haproxy_virtual_directories"][0]["closed"] is False


def test_every_variable_of_the_role_has_a_parser() -> None:
    assert ROLES["haproxy"].shapes.keys() == DEFAULTS.keys()
