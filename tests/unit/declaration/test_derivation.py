"""What is derived from a declaration: by example, and by properties over generated declarations."""

import copy
import ipaddress
import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from hypothesis import given, settings
from hypothesis import strategies as st
from tools.declared import DECLARATION, DROP, declared, derive_gateway

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.tree import Inventory
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.validation import (
    DeclarationError,
    validate,
)
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.roles.reading import ROLES, read_variables

ROOT = Path(__file__).resolve().parents[3]
DIRECTORIES = {
    "owa": "/owa",
    "ecp": "/ecp",
    "ews": "/ews",
    "mapi": "/mapi",
    "rpc": "/rpc",
    "oab": "/OAB",
    "activesync": "/Microsoft-Server-ActiveSync",
    "autodiscover": "/Autodiscover",
    "powershell": "/PowerShell",
    "rest": "/api",
}
BANS = {"max_retry": 6, "find_time": 600, "ban_time": 3600, "max_ban_time": 604800}
LIMITS = ("connections", "connection_rate", "request_rate", "failed_logons")


def derived(changes: dict[str, Any] | None = None, host: str = "gw1") -> dict[str, Any]:
    declaration, inventory = declared(changes)
    return derive_gateway(declaration, host, inventory)


def opened(comment: str, port: int, sources: list[str] | None = None) -> dict[str, Any]:
    return {"ports": [port], "protocol": "tcp", "sources": sources or [], "destinations": [], "comment": comment}


# --- by example ------------------------------------------------------------------------------------------------------


def test_the_whole_result() -> None:
    """One gateway's variables, as written down in the roles' argument specifications."""
    assert derived() == {
        "mail_gateway_managed": {
            "sshd": True,
            "haproxy": True,
            "fail2ban": True,
            "letsencrypt": True,
            "firewall": True,
        },
        "fail2ban_jails": [
            {
                "name": "sshd",
                "filter_mode": "aggressive",
                "journal_matches": ["_SYSTEMD_UNIT=ssh.service _UID=0", "_SYSTEMD_SLICE=system-ssh.slice _UID=0"],
                "ports": ["22"],
                **BANS,
            },
            {"name": "haproxy-logons", "ports": ["80", "443"], **BANS, "max_retry": 1},
        ],
        "fail2ban_ignored_networks": [
            "10.10.0.21/32",
            "10.10.0.22/32",
            "10.20.0.10/32",
            "198.51.100.0/24",
            "2001:db8:a::/64",
        ],
        "sshd_ports": [],
        "sshd_root_logon": "key",
        "sshd_older_clients": False,
        "sshd_penalty_exempt_networks": ["198.51.100.0/24", "2001:db8:a::/64"],
        "sshd_authorized_keys": [],
        "firewall_rules": [
            opened("SSH for administrators", 22, ["198.51.100.0/24", "2001:db8:a::/64"]),
            opened("smtp", 25),
            opened("http", 80),
            opened("pop3", 110),
            opened("imap", 143),
            opened("https", 443),
            opened("submission", 587),
            opened("imaps", 993),
            opened("pop3s", 995),
            opened("metrics for monitoring", 8404, ["10.20.0.10/32"]),
        ],
        "firewall_exact": False,
        "letsencrypt_certificates": [],
        "letsencrypt_authority": "letsencrypt",
        "letsencrypt_authority_ca_file": "",
        "letsencrypt_contact": "",
        "letsencrypt_external_account_key_id": "",
        "letsencrypt_gateways": ["gw1"],
        "letsencrypt_peers": [],
        "letsencrypt_tls_address": "127.0.0.1",
        "haproxy_acme_port": 0,
        "haproxy_acme_peers": [],
        "haproxy_listen_addresses": ["0.0.0.0", "::"],
        "haproxy_hostname": "mail.example.com",
        "haproxy_servers": [
            {"name": "ex1", "address": "10.10.0.21", "weight": 100},
            {"name": "ex2", "address": "10.10.0.22", "weight": 50},
        ],
        "haproxy_egress_address": "10.10.0.11",
        "haproxy_relay_address": "10.10.0.111",
        "haproxy_relay_networks": ["10.30.0.25/32", "10.30.1.0/28"],
        "haproxy_admin_networks": ["198.51.100.0/24", "2001:db8:a::/64"],
        "haproxy_monitoring_networks": ["10.20.0.10/32"],
        "haproxy_metrics_port": 8404,
        "haproxy_exchange_hostnames": ["mail.example.com", "autodiscover.example.com", "autodiscover.example.org"],
        "haproxy_exchange_certificate": "mail",
        "haproxy_exchange_ca_file": "",
        "haproxy_virtual_directories": [
            {
                "name": name,
                "path": path,
                "health_path": f"{path}/healthcheck.htm",
                "closed": name in ("ecp", "powershell"),
            }
            for name, path in DIRECTORIES.items()
        ],
        "haproxy_long_poll_timeout": 3900,
        "haproxy_limits": {"connections": 500, "connection_rate": 300, "request_rate": 2000, "failed_logons": 10},
        "haproxy_tcp_services": [
            {"name": "smtp", "port": 25, "check": "smtp", "relay": True},
            {"name": "submission", "port": 587, "check": "submission", "relay": False},
            {"name": "imap", "port": 143, "check": "imap", "relay": False},
            {"name": "imaps", "port": 993, "check": "imaps", "relay": False},
            {"name": "pop3", "port": 110, "check": "pop3", "relay": False},
            {"name": "pop3s", "port": 995, "check": "pop3s", "relay": False},
        ],
        "haproxy_websites": [
            {
                "name": "www",
                "hostnames": ["example.com", "www.example.com"],
                "certificate": "www",
                "http2": True,
                "servers": [
                    {"name": "www1", "address": "10.40.0.10", "port": 8080},
                    {"name": "www2", "address": "10.40.0.11", "port": 8080},
                ],
            }
        ],
        "haproxy_certificates": [
            {
                "name": "mail",
                "names": ["mail.example.com", "autodiscover.example.com", "autodiscover.example.org"],
                "file": "",
            },
            {"name": "www", "names": ["example.com", "www.example.com"], "file": ""},
        ],
    }


def test_the_smallest_declaration() -> None:
    declaration = {"hostname": "mail.example.com", "domains": ["example.com"], "admin_networks": ["198.51.100.0/24"]}
    variables = derive_gateway(declaration, "gw1", Inventory({"gateways": ["gw1"], "exchange": ["ex1"]}, {"ex1": {}}))
    assert variables["haproxy_servers"] == [{"name": "ex1", "address": "ex1", "weight": 100}]
    assert variables["haproxy_egress_address"] == variables["haproxy_relay_address"] == ""
    assert not any(service["relay"] for service in variables["haproxy_tcp_services"])


@pytest.mark.parametrize(
    ("changes", "variable", "expected"),
    [
        ({"ipv6": False}, "haproxy_listen_addresses", ["0.0.0.0"]),
        ({"service_addresses": ["203.0.113.10"]}, "haproxy_listen_addresses", ["203.0.113.10"]),
        (
            {"service_addresses": ["2001:db8:25::10", "203.0.113.9", "203.0.113.10"]},
            "haproxy_listen_addresses",
            ["203.0.113.9", "203.0.113.10", "2001:db8:25::10"],
        ),
        ({"hostname": "MAIL.Example.COM"}, "haproxy_hostname", "mail.example.com"),
        ({"smtp.relay_clients": []}, "haproxy_relay_address", ""),
        ({"smtp.enabled": False}, "haproxy_relay_address", ""),
        ({"smtp.enabled": False}, "haproxy_relay_networks", []),
        ({"https.enabled": False}, "haproxy_exchange_hostnames", []),
        ({"https.enabled": False}, "haproxy_exchange_certificate", ""),
        ({"https.enabled": False}, "haproxy_virtual_directories", []),
        (
            {"https.virtual_directories": ["oab"], "https.internal_only": DROP},
            "haproxy_virtual_directories",
            [{"name": "oab", "path": "/OAB", "health_path": "/OAB/healthcheck.htm", "closed": False}],
        ),
        (
            {"certificate.names": ["*.example.com", "*.example.org"]},
            "haproxy_exchange_hostnames",
            ["mail.example.com", "autodiscover.example.com", "autodiscover.example.org"],
        ),
        (
            {"certificate.names": ["webmail.example.com", "mail.example.com"]},
            "haproxy_exchange_hostnames",
            ["mail.example.com", "webmail.example.com"],
        ),
        ({"https.limits.failed_logons": 3}, "haproxy_limits", dict(zip(LIMITS, (500, 300, 2000, 3), strict=True))),
        (
            {"https.enabled": False, "smtp.enabled": False, "imap.enabled": False, "pop.enabled": False},
            "haproxy_servers",
            [],
        ),
        ({"gw1.mail_gateway_relay_address": "10.10.0.99"}, "haproxy_relay_address", "10.10.0.99"),
        ({"ex1.mail_gateway_server_weight": 0}, "haproxy_servers", [(0, "10.10.0.21"), (50, "10.10.0.22")]),
        (
            {"ex1.mail_gateway_server_address": "EX1.example.com"},
            "haproxy_servers",
            [(100, "ex1.example.com"), (50, "10.10.0.22")],
        ),
    ],
    # A number for each case: a text that holds an address of an object differs between the workers of a parallel run.
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_change(changes: dict[str, Any], variable: str, expected: Any) -> None:
    found = derived(changes)[variable]
    if variable == "haproxy_servers":
        found = [(server["weight"], server["address"]) for server in found]
    assert found == expected


def test_what_is_wrong_is_refused() -> None:
    declaration, inventory = declared({"hostname": "mail", "smtp.relay_clients": ["0.0.0.0/0"]})
    with pytest.raises(DeclarationError) as caught:
        derive_gateway(declaration, "gw1", inventory)
    assert [problem.path for problem in caught.value.problems] == [
        "mail_gateway.hostname",
        "mail_gateway.smtp.relay_clients[0]",
    ]


def test_haproxy_counts_failed_logons_and_fail2ban_those_at_ssh() -> None:
    retries = {jail["name"]: jail["max_retry"] for jail in derived({"fail2ban.max_retry": 8})["fail2ban_jails"]}
    assert retries == {"sshd": 8, "haproxy-logons": 1}


@pytest.mark.parametrize("role", ["firewall", "sshd", "haproxy", "fail2ban", "letsencrypt"])
def test_the_roles_take_what_is_derived(role: str) -> None:
    """The names and the types are those of the role's argument specification."""
    options = yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]
    variables = {name: value for name, value in derived().items() if name.startswith(f"{role}_")}
    assert variables
    assert ArgumentSpecValidator(options["options"]).validate(variables).error_messages == []


HAPROXY = yaml.safe_load((ROOT / "roles/haproxy/defaults/main.yml").read_text())

# --- by properties ---------------------------------------------------------------------------------------------------

labels = st.from_regex(r"[a-z]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)
names = st.builds("{}.{}.test".format, labels, labels)


def maybe(draw: st.DrawFn, holder: dict[str, Any], key: str, values: st.SearchStrategy[Any]) -> None:
    """Half of the time the key is left to its default."""
    if draw(st.booleans()):
        holder[key] = draw(values)


def some_of(values: list[str], at_least: int = 0) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), unique=True, min_size=at_least)


@st.composite
def sites(draw: st.DrawFn) -> tuple[dict[str, Any], Inventory]:
    """A sound declaration, any keys of it left out, and an inventory to go with it, of either family.

    Gateways have 10.10/16, servers 10.20/16, relay clients 10.30/16 and 8.8.8.8, websites 10.40/16; likewise in IPv6.
    """
    servers_family = draw(st.sampled_from([4, 6]))
    host = {4: "10.{}.0.{}", 6: "fd00:{}::{}"}[servers_family].format
    gateways = [f"gw{number}" for number in range(1, draw(st.integers(1, 3)) + 1)]
    servers = [f"ex{number}" for number in range(1, draw(st.integers(1, 4)) + 1)]
    hosts: dict[str, dict[str, Any]] = {name: {} for name in [*gateways, *servers]}
    declaration: dict[str, Any] = {
        "hostname": f"mail.{draw(names)}",
        "domains": draw(st.lists(names, min_size=1, max_size=4, unique=True)),
        "admin_networks": draw(some_of(["198.51.100.0/24", "192.0.2.7", "10.0.0.0/8", "2001:db8:a::/64"], 1)),
    }
    relays = ["10.30.0.25", "10.30.1.0/28", "10.30.2.0/24", "8.8.8.8", "fd00:30::25", "2001:db8:b::/64"]
    smtp = {}
    maybe(draw, smtp, "enabled", st.booleans())
    maybe(draw, smtp, "submission", st.booleans())
    maybe(draw, smtp, "relay_clients", some_of(relays))
    declaration["smtp"] = smtp
    for service in ("imap", "pop"):
        maybe(draw, declaration, service, st.fixed_dictionaries({}, optional={"enabled": st.booleans()}))
    maybe(draw, declaration, "monitoring_networks", some_of(["10.50.0.0/16", "192.0.2.1"]))
    directories = draw(some_of(list(DIRECTORIES), 1))
    https: dict[str, Any] = {}
    maybe(draw, https, "enabled", st.booleans())
    maybe(draw, https, "long_poll_timeout", st.integers(60, 86400))
    limits = st.fixed_dictionaries({}, optional=dict.fromkeys(LIMITS, st.integers(1, 1_000_000)))
    maybe(draw, https, "limits", limits)
    if draw(st.booleans()):
        https |= {"virtual_directories": directories, "internal_only": draw(some_of(directories))}
    declaration["https"] = https
    sites_ = [
        {
            "name": f"site{number}",
            "hostnames": draw(st.lists(names.map(f"w{number}-{{}}".format), min_size=1, max_size=3, unique=True)),
            "servers": [{"address": f"10.40.{number}.{n}", "port": 8080 + n} for n in range(draw(st.integers(1, 3)))],
            "http2": draw(st.booleans()),
        }
        for number in range(draw(st.integers(0, 2)))
    ]
    if sites_ or not all(declaration.get(s, {}).get("enabled", True) for s in ("https", "smtp", "imap", "pop")):
        declaration["websites"] = sites_ or [
            {"name": "only", "hostnames": ["only.test"], "servers": [{"address": "localhost", "port": 8081}]}
        ]
    maybe(draw, declaration, "metrics_port", st.integers(1024, 65535).filter(lambda port: port != 8081))
    maybe(draw, declaration, "service_addresses", st.just(["203.0.113.10", "2001:db8:25::10"]))
    if draw(st.booleans()):
        declaration["certificate"] = {"names": [declaration["hostname"], *draw(some_of(["*.wild.test", "other.test"]))]}
    with_egress = smtp.get("relay_clients") or draw(st.booleans())
    for number, name in enumerate(gateways, 11):
        if with_egress:
            hosts[name] |= {"mail_gateway_egress_address": host(10, number)}
        if smtp.get("relay_clients") or draw(st.booleans()):
            hosts[name] |= {"mail_gateway_relay_address": host(10, number + 100)}
    for number, name in enumerate(servers, 21):
        variable = draw(st.sampled_from(["ansible_host", "mail_gateway_server_address"]))
        hosts[name] |= {variable: host(20, number)}
        maybe(draw, hosts[name], "mail_gateway_server_weight", st.integers(1, 256))
    return declaration, Inventory({"gateways": gateways, "exchange": servers}, hosts)


def shuffled(value: Any, order: random.Random) -> Any:
    """The same declaration with its keys and entries in another order."""
    if isinstance(value, dict):
        items = [(key, shuffled(inner, order)) for key, inner in value.items()]
        order.shuffle(items)
        return dict(items)
    if isinstance(value, list):
        return order.sample([shuffled(inner, order) for inner in value], len(value))
    return copy.deepcopy(value)


def enabled(declaration: dict[str, Any], service: str) -> bool:
    return bool(declaration.get(service, {}).get("enabled", True))


def expected_ports(declaration: dict[str, Any]) -> set[int]:
    """The ports that the declaration speaks of, written down a second time."""
    ports: set[int] = set()
    if enabled(declaration, "https") or declaration.get("websites"):
        ports |= {80, 443}
    if enabled(declaration, "smtp"):
        ports |= {25, 587} if declaration["smtp"].get("submission", True) else {25}
    ports |= {143, 993} if enabled(declaration, "imap") else set()
    ports |= {110, 995} if enabled(declaration, "pop") else set()
    return ports


@settings(max_examples=120, deadline=None)
@given(sites())
def test_properties(site: tuple[dict[str, Any], Inventory]) -> None:
    declaration, inventory = site
    assert validate(declaration, inventory) == []
    order = random.Random(0)
    for gateway in inventory.groups["gateways"]:
        variables = derive_gateway(declaration, gateway, inventory)

        # What is sound to preflight is sound to the role by itself.
        own = {name: value for name, value in variables.items() if name in ROLES["haproxy"].shapes}
        read, problems = read_variables(ROLES["haproxy"], {**HAPROXY, **own})
        assert problems == []
        assert {name: read[name] for name in own} == own

        # The published ports are those of the declared services.
        ports = {service["port"] for service in variables["haproxy_tcp_services"]}
        if variables["haproxy_exchange_hostnames"] or variables["haproxy_websites"]:
            ports |= {80, 443}
        assert ports == expected_ports(declaration)
        assert variables["haproxy_metrics_port"] not in ports

        # Relay clients only ever reach the relay listener, and nobody else does.
        relayed = [service["name"] for service in variables["haproxy_tcp_services"] if service["relay"]]
        networks = [ipaddress.ip_network(network) for network in variables["haproxy_relay_networks"]]
        assert relayed == (["smtp"] if networks else [])
        declared_clients = declaration["smtp"].get("relay_clients", []) if enabled(declaration, "smtp") else []
        assert set(networks) == {ipaddress.ip_network(client) for client in declared_clients}
        own = [variables["haproxy_egress_address"], variables["haproxy_relay_address"]]
        others = [server["address"] for server in variables["haproxy_servers"]]
        for address in filter(None, [*own, *others, *declaration.get("service_addresses", [])]):
            assert not any(ipaddress.ip_address(address) in network for network in networks)

        # There is a relay address exactly where there are relay clients, and it is never the ordinary one.
        assert bool(variables["haproxy_relay_address"]) == bool(networks)
        assert not networks or variables["haproxy_egress_address"] not in ("", variables["haproxy_relay_address"])

        # The published paths are those that are declared; every closed one is closed, and nothing else is.
        closed = {directory["name"] for directory in variables["haproxy_virtual_directories"] if directory["closed"]}
        published = {directory["name"] for directory in variables["haproxy_virtual_directories"]}
        directories = declaration["https"].get("virtual_directories", list(DIRECTORIES))
        assert published == (set(directories) if enabled(declaration, "https") else set())
        assert closed == published & set(declaration["https"].get("internal_only", ["ecp", "powershell"]))
        for directory in variables["haproxy_virtual_directories"]:
            assert directory["path"] == DIRECTORIES[directory["name"]]

        # Every name has a certificate, and no name two owners.
        certificates = {certificate["name"]: certificate["names"] for certificate in variables["haproxy_certificates"]}
        hostnames = list(variables["haproxy_exchange_hostnames"])
        if hostnames:
            assert hostnames[0] == declaration["hostname"]
            assert declaration["hostname"] in certificates[variables["haproxy_exchange_certificate"]]
        for website in variables["haproxy_websites"]:
            assert set(website["hostnames"]) <= set(certificates[website["certificate"]])
            hostnames += website["hostnames"]
        assert len(hostnames) == len(set(hostnames))

        # Neither the order of what is declared nor asking twice makes a difference, and the result is plain data.
        mixed = Inventory(
            shuffled(dict(inventory.groups), order), dict(sorted(inventory.hosts.items(), reverse=order.random() < 0.5))
        )
        assert derive_gateway(shuffled(declaration, order), gateway, mixed) == variables
        assert json.loads(json.dumps(variables)) == variables


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 300)
    | st.floats()
    | st.text(max_size=20)
    | st.dates()
    | st.sampled_from(
        ["0.0.0.0/0", "::", "10.0.0.1/8", "mail.example.com", "{{ x }}", "{% if", "*", "-", "::ffff:1.2.3.4"]
    )
    | st.sampled_from([10**4000, "x" * 3000, "\ud800", "fe80::1%eth0", "1.2.3.4-5.6.7.8", "ex1", "exchange", "gw1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8) | st.booleans() | st.none() | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


def places(value: Any, path: str) -> list[str]:
    """Every place in the declaration."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [place for key, item in inner for place in places(item, f"{path}.{key}" if path else str(key))]
    return [path, *found] if path else found


PLACES = [
    "mail_gateway",
    *places(DECLARATION, ""),
    "ipv6",
    "certificate.names",
    "websites.0.certificate_file",
    "https.virtual_directories",
    "new",
    "smtp.new",
    "gw1.mail_gateway_egress_address",
    "gw2.mail_gateway_relay_address",
    "gw1.ansible_host",
    "ex1.ansible_host",
    "ex1.mail_gateway_server_address",
    "ex2.mail_gateway_server_weight",
]


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(PLACES), st.sampled_from(PLACES), anything, anything)
def test_nothing_that_anybody_writes_raises(place: str, other: str, value: Any, another: Any) -> None:
    """Any value in any place is either sound, and then derived from, or it is described in sentences."""
    changes = {place: value}
    if "mail_gateway" not in (place, other) and not other.startswith(place) and not place.startswith(other):
        changes[other] = another
    declaration, inventory = declared(changes)
    problems = validate(declaration, inventory)
    for problem in problems:
        sentence = str(problem)
        assert sentence.isprintable(), repr(sentence)
        assert len(sentence) < 1000
    for gateway in inventory.groups["gateways"]:
        try:
            json.dumps(derive_gateway(declaration, gateway, inventory))
        except DeclarationError:
            assert problems


@settings(max_examples=200, deadline=None)
@given(
    anything,
    st.dictionaries(st.text(max_size=8), st.lists(st.text(max_size=5), max_size=3), max_size=4),
    st.none() | st.lists(st.text(max_size=5)),
)
def test_nothing_at_all_raises(declaration: Any, groups: dict[str, list[str]], gateways: list[str] | None) -> None:
    assert validate(declaration, Inventory(groups), gateways)


def test_the_fuzz_has_something_to_find() -> None:
    """The places exist, so that the values above do get there."""
    for place in PLACES:
        if place not in ("new", "smtp.new", "gw1.ansible_host"):
            assert validate(*declared({place: {"no": "such"}})), place
    assert validate(*declared({"hostname": DROP}))


def test_a_number_that_python_refuses_to_print() -> None:
    assert [str(problem) for problem in validate(*declared({"metrics_port": 10**5000}))] == [
        "mail_gateway.metrics_port is a number, but must be from 1 to 65535."
    ]


def test_a_list_that_holds_itself() -> None:
    """What a YAML alias to its own parent makes."""
    loop: list[Any] = []
    loop.append(loop)
    assert [str(problem) for problem in validate(*declared({"domains": loop, "hostname": loop}))] == [
        "mail_gateway.hostname is a list, but must be a full name such as mail.example.com, not a list.",
        "mail_gateway.domains[0] is a list, but must be a full name such as mail.example.com, not a list.",
    ]
