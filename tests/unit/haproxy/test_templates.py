"""What the role writes for any valid variables: HAProxy takes it without a warning, and what must hold does.

The files are rendered as the role's task has them rendered (`haproxy_files`), with plain Jinja and the settings of
Ansible's template lookup, which is quicker by far. One test has Ansible itself render a set and compares.
"""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from rendering import DEFAULTS, ROLE, Files, Variables, render, sound

from ansible_collections.postern.mail_gateway.plugins.module_utils.haproxy.runtime import messages

Check = Callable[[Path], "subprocess.CompletedProcess[str]"]

# --- the configuration, read ------------------------------------------------------------------------------------------


@dataclass
class Section:
    """A section of HAProxy's configuration; ``lines`` without comments, words as they stand."""

    keyword: str
    name: str
    parent: str | None
    lines: list[str] = field(default_factory=list)

    def all(self, start: str) -> list[str]:
        """What follows each line that begins so."""
        return [
            line.removeprefix(start).strip() for line in self.lines if line == start or line.startswith(f"{start} ")
        ]


class Configuration:
    """HAProxy's main file, read as far as the invariants need it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sections: list[Section] = []
        for line in text.splitlines():
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if not line.startswith(" "):
                parent = words[3] if words[2:3] == ["from"] else None
                self.sections.append(Section(words[0], words[1] if len(words) > 1 else "", parent))
            else:
                self.sections[-1].lines.append(" ".join(words))

    def of(self, keyword: str) -> dict[str, Section]:
        found = [section for section in self.sections if section.keyword == keyword]
        assert len({section.name for section in found}) == len(found), "two sections of one name"
        return {section.name: section for section in found}

    def effective(self, section: Section, setting: str) -> str | None:
        """The last value of a setting in a section or, if it has none, in the defaults that it comes from."""
        while not (values := section.all(setting)):
            if section.parent is None:
                return None
            section = self.of("defaults")[section.parent]
        return values[-1]


# --- variables --------------------------------------------------------------------------------------------------------

DIRECTORIES = {
    "owa": "/owa",
    "ecp": "/ecp",
    "ews": "/EWS",
    "mapi": "/mapi",
    "rpc": "/rpc",
    "oab": "/OAB",
    "activesync": "/Microsoft-Server-ActiveSync",
    "autodiscover": "/Autodiscover",
    "powershell": "/PowerShell",
    "rest": "/api",
}
SERVICES = {
    "smtp": (25, "smtp"),
    "submission": (587, "submission"),
    "imap": (143, "imap"),
    "imaps": (993, "imaps"),
    "pop3": (110, "pop3"),
    "pop3s": (995, "pop3s"),
}
NETWORKS = ["10.1.1.25/32", "198.51.100.0/24", "2001:db8:a::/64", "203.0.113.7", "2001:db8::7"]
NOWHERE = "ex.invalid"
SERVER_ADDRESSES = ["10.1.1.21", "10.1.1.22", "2001:db8:1::21", "fd77::a:22", NOWHERE]
CERTIFICATES = [{"name": "mail", "names": ["mail.example.com"]}, {"name": "www", "names": ["www.example.com"]}]
LISTEN = [["0.0.0.0", "::"], ["0.0.0.0"], ["::"], ["203.0.113.10", "2001:db8:25::10"]]


def subset(values: Any) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(list(values)), unique=True, max_size=len(list(values)))


def with_some(given_always: Variables, optional: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Variables]:
    """A mapping with what it must have and any of what it may have."""
    return st.fixed_dictionaries({}, optional=dict(optional)).map(lambda chosen: {**given_always, **chosen})


def named(entries: list[Variables], prefix: str) -> list[Variables]:
    return [{"name": f"{prefix}{number}", **entry} for number, entry in enumerate(entries, start=1)]


def servers() -> st.SearchStrategy[list[Variables]]:
    one = st.sampled_from(SERVER_ADDRESSES).flatmap(
        lambda address: with_some(
            {"address": address},
            {"weight": st.sampled_from([0, 1, 100, 256]), "max_connections": st.sampled_from([0, 1, 500])},
        )
    )
    unique = st.lists(one, max_size=3, unique_by=lambda entry: entry["address"])
    return unique.map(lambda entries: named(entries, "ex"))


def directories() -> st.SearchStrategy[list[Variables]]:
    def entry(name: str) -> st.SearchStrategy[Variables]:
        path = DIRECTORIES[name]
        page = {"name": name, "path": path, "health_path": f"{path}/healthcheck.htm"}
        return with_some(page, {"closed": st.booleans()})

    return subset(DIRECTORIES).flatmap(lambda names: st.tuples(*map(entry, names)).map(list))


def services() -> st.SearchStrategy[list[Variables]]:
    def entry(name: str) -> st.SearchStrategy[Variables]:
        port, check = SERVICES[name]
        return with_some({"name": name, "port": port, "check": check}, {"relay": st.booleans()})

    return subset(SERVICES).flatmap(lambda names: st.tuples(*map(entry, names)).map(list))


def websites() -> st.SearchStrategy[list[Variables]]:
    def entry(number: int) -> st.SearchStrategy[Variables]:
        plain = st.sampled_from(["10.1.1.25", "2001:db8:1::25", "localhost"])
        behind = st.lists(plain, min_size=1, max_size=3).map(
            lambda addresses: named([{"address": address, "port": 8080} for address in addresses], "web")
        )
        always = {
            "name": f"site{number}",
            "hostnames": [f"WWW{number}.example.com", f"site{number}.example.com"],
            "certificate": "www",
        }
        return st.tuples(with_some(always, {"http2": st.booleans()}), behind).map(
            lambda pair: {**pair[0], "servers": pair[1]}
        )

    return st.integers(0, 2).flatmap(lambda count: st.tuples(*map(entry, range(1, count + 1))).map(list))


# Each has the default or a value of its own; None of them is needed by HAProxy.
VARIABLES = st.fixed_dictionaries(
    {"haproxy_hostname": st.just("mail.example.com"), "haproxy_certificates": st.just(CERTIFICATES)},
    optional={
        "haproxy_listen_addresses": st.sampled_from(LISTEN),
        "haproxy_servers": servers(),
        "haproxy_egress_address": st.sampled_from(["", "10.1.1.11"]),
        "haproxy_relay_address": st.sampled_from(["", "10.1.1.111"]),
        "haproxy_relay_networks": subset(NETWORKS),
        "haproxy_admin_networks": subset(NETWORKS),
        "haproxy_monitoring_networks": subset(NETWORKS),
        "haproxy_metrics_port": st.sampled_from([8404, 9101]),
        "haproxy_exchange_hostnames": st.sampled_from([[], ["Mail.example.com", "autodiscover.example.com"]]),
        "haproxy_exchange_ca_file": st.booleans(),
        "haproxy_virtual_directories": directories(),
        "haproxy_long_poll_timeout": st.sampled_from([60, 3900, 86400]),
        "haproxy_limits": st.fixed_dictionaries({name: st.integers(1, 100_000) for name in DEFAULTS["haproxy_limits"]}),
        "haproxy_tcp_services": services(),
        "haproxy_websites": websites(),
        "haproxy_acme_port": st.sampled_from([0, 842]),
        "haproxy_acme_peers": st.sampled_from([[], ["10.1.1.12"], ["10.1.1.12", "2001:db8:1::13"]]),
        "haproxy_max_connections": st.sampled_from([100, 8000, 100_000]),
        "haproxy_extra_configuration": st.sampled_from(["", "backend extra from base\n    mode http"]),
    },
)

EVERYTHING: Variables = {
    "haproxy_certificates": CERTIFICATES,
    "haproxy_hostname": "mail.example.com",
    "haproxy_servers": named(
        [{"address": "10.1.1.21", "max_connections": 500}, {"address": "2001:db8:1::22", "weight": 50}], "ex"
    ),
    "haproxy_egress_address": "10.1.1.11",
    "haproxy_relay_address": "10.1.1.111",
    "haproxy_relay_networks": NETWORKS[:3],
    "haproxy_admin_networks": NETWORKS[1:3],
    "haproxy_monitoring_networks": NETWORKS[1:2],
    "haproxy_exchange_hostnames": ["Mail.example.com", "autodiscover.example.com"],
    "haproxy_exchange_ca_file": True,
    "haproxy_acme_port": 842,
    "haproxy_acme_peers": ["10.1.1.12", "2001:db8:1::13"],
    "haproxy_virtual_directories": [
        {"name": name, "path": path, "health_path": f"{path}/healthcheck.htm", "closed": name in ("ecp", "powershell")}
        for name, path in DIRECTORIES.items()
    ],
    "haproxy_tcp_services": [
        {"name": name, "port": port, "check": check, "relay": name == "smtp"}
        for name, (port, check) in SERVICES.items()
    ],
    "haproxy_websites": [
        {
            "name": "www",
            "hostnames": ["WWW.example.com"],
            "certificate": "www",
            "servers": [{"name": "www1", "address": "2001:db8:1::25", "port": 8080}],
        }
    ],
}


def with_authority(variables: Variables, certificates: Path) -> Variables:
    """The variables with a real file where they ask for one."""
    wanted = variables.get("haproxy_exchange_ca_file")
    return {**variables, "haproxy_exchange_ca_file": str(certificates / "one.crt") if wanted else ""}


# --- HAProxy takes it -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def accepted(check: Check, certificates: Path) -> Callable[[Files], None]:
    """A function that fails unless HAProxy accepts the files without a word but on a name that nobody knows."""

    def run(files: Files) -> None:
        with TemporaryDirectory() as folder:
            for path, content in files.items():
                target = Path(folder, path)
                target.parent.mkdir(exist_ok=True)
                # What HAProxy takes from its final place alone is looked for here, too.
                target.write_text(content.replace("/etc/haproxy/", f"{folder}/"))
            Path(folder, "certificates").mkdir()
            for name in ("mail", "www"):
                Path(folder, "certificates", f"{name}.pem").symlink_to(certificates / "good.pem")
            checked = check(Path(folder, "haproxy.cfg"))
            said = messages(checked.stderr, "ALERT") + messages(checked.stderr, "WARNING")
            said = [one for one in said if f"could not resolve address '{NOWHERE}', disabling server" not in one]
            assert (checked.returncode, said) == (0, []), files["haproxy.cfg"]
            assert NOWHERE in files["haproxy.cfg"] or checked.stderr == ""

    return run


# A busy machine is no health problem of the test.
ANY_SPEED = settings(deadline=None, suppress_health_check=list(HealthCheck))


# To look for a smaller example that HAProxy refuses would take minutes.
@settings(ANY_SPEED, max_examples=8, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(variables=VARIABLES)
@example(variables={"haproxy_hostname": ""})
@example(variables=EVERYTHING)
@example(variables={**EVERYTHING, "haproxy_servers": [{"name": "ex1", "address": NOWHERE}]})
@example(variables={**EVERYTHING, "haproxy_exchange_ca_file": False, "haproxy_websites": []})
@example(variables={**EVERYTHING, "haproxy_exchange_hostnames": [], "haproxy_tcp_services": []})
@example(variables={**EVERYTHING, "haproxy_admin_networks": [], "haproxy_relay_networks": []})
def test_haproxy_accepts_it_without_a_warning(
    accepted: Callable[[Files], None], certificates: Path, variables: Variables
) -> None:
    accepted(render(with_authority(variables, certificates)))


def test_ipv6_source_addresses(accepted: Callable[[Files], None], certificates: Path) -> None:
    addresses = {"haproxy_egress_address": "2001:db8:1::11", "haproxy_relay_address": "2001:db8:1::111"}
    accepted(render(with_authority({**EVERYTHING, **addresses}, certificates)))


# --- what must hold ---------------------------------------------------------------------------------------------------


@dataclass
class Rendered:
    """A set of variables and what the role makes of it."""

    variables: Variables
    files: Files = field(init=False)
    configuration: Configuration = field(init=False)

    def __post_init__(self) -> None:
        self.files = render({**self.variables, "haproxy_exchange_ca_file": ""})
        self.configuration = Configuration(self.files["haproxy.cfg"])

    def given(self, name: str) -> Any:
        """A variable of the role, named without its prefix."""
        return sound({**self.variables, "haproxy_exchange_ca_file": ""})[f"haproxy_{name}"]

    def lines(self, path: str) -> list[str]:
        """The lines of a list or map without its comments."""
        return [line for line in self.files[path].splitlines() if line and not line.startswith("#")]

    @property
    def has_exchange(self) -> bool:
        """Whether there is anything to publish of Exchange's HTTPS."""
        return all(self.given(name) for name in ("exchange_hostnames", "virtual_directories", "servers"))

    @property
    def services(self) -> list[Variables]:
        """The services that are passed through; without servers there are none."""
        return list(self.given("tcp_services")) if self.given("servers") else []

    @property
    def directories(self) -> set[str]:
        """The backends of Exchange's virtual directories."""
        directories = self.given("virtual_directories") if self.has_exchange else []
        return {f"exchange_{directory['name']}" for directory in directories}

    @property
    def relayed(self) -> set[str]:
        """The names of the services that have a way of their own for relay clients."""
        split = self.given("relay_address") and self.given("relay_networks")
        return {service["name"] for service in self.services if service.get("relay") and split}


INVARIANTS: list[Callable[[Rendered], None]] = []


def invariant(check: Callable[[Rendered], None]) -> Callable[[Rendered], None]:
    INVARIANTS.append(check)
    return check


@invariant
def text_is_tidy(rendered: Rendered) -> None:
    for path, content in rendered.files.items():
        assert "\t" not in content, path
        assert not re.search(r" $", content, re.MULTILINE), f"{path}: space at the end of a line\n{content}"
        assert "\n\n\n" not in content, f"{path}: two empty lines\n{content}"
    content = rendered.files["haproxy.cfg"]
    assert content.endswith("\n")
    assert not content.endswith("\n\n")
    assert not content.startswith("\n")
    assert content.count("@DIGEST@") == 1
    for line in content.splitlines():
        assert re.match(r"(    )?\S|$", line), f"indented by something else than four spaces: {line!r}"


@invariant
def ports_are_those_declared(rendered: Rendered) -> None:
    def everywhere(port: int) -> set[str]:
        return {f"{address}:{port}" for address in rendered.given("listen_addresses")}

    metrics = rendered.given("metrics_port")
    expected = {"metrics": everywhere(metrics) if rendered.given("monitoring_networks") else {f"127.0.0.1:{metrics}"}}
    if rendered.has_exchange or rendered.given("websites"):
        expected |= {"http": everywhere(80), "https": everywhere(443)}
        egress = rendered.given("egress_address")
        handed_on = rendered.given("acme_port") and rendered.given("acme_peers")
        if handed_on and egress and "0.0.0.0" not in rendered.given("listen_addresses"):
            # Other gateways hand challenges on to it.
            expected["http"] |= {f"{egress}:80"}
    expected |= {service["name"]: everywhere(service["port"]) for service in rendered.services}
    found = {name: section.all("bind") for name, section in rendered.configuration.of("frontend").items()}
    assert {name: {line.split()[0] for line in lines} for name, lines in found.items()} == expected
    assert rendered.configuration.of("listen") == {}
    for name, lines in found.items():
        for line in lines:
            # Without it, [::] would take the IPv4 addresses as well, or fail beside 0.0.0.0.
            assert line.startswith(":::") == (" v6only" in line)
            assert (" ssl " in line) == (name == "https")


@invariant
def every_way_to_exchange_has_its_source_address_and_only_that(rendered: Rendered) -> None:
    configuration = rendered.configuration
    backends = configuration.of("backend")
    relay = rendered.given("relay_address")
    relays = {f"exchange_{name}_relay" for name in rendered.relayed}
    ordinary = {f"exchange_{service['name']}" for service in rendered.services}
    if rendered.has_exchange:
        ordinary |= {f"exchange_{directory['name']}" for directory in rendered.given("virtual_directories")}
    # Nobody else speaks to the servers, or has a way around the source address.
    assert {name for name, section in backends.items() if " ex1 " in " ".join(section.lines)} == ordinary | relays
    for name in ordinary:
        assert configuration.effective(backends[name], "source") == (rendered.given("egress_address") or None), name
    for name in relays:
        assert backends[name].all("source") == [relay], name
    for section in configuration.sections:
        servers = section.all("server") + section.all("default-server")
        assert not any(" source " in line for line in servers), section.name
        assert section.name in relays or not relay or relay not in " ".join(section.lines).split(), section.name


@invariant
def no_frontend_and_backend_share_a_name(rendered: Rendered) -> None:
    """HAProxy refuses that from 3.3 on, and logs and metrics couldn't tell them apart."""
    configuration = rendered.configuration
    assert not configuration.of("frontend").keys() & configuration.of("backend").keys()


@invariant
def relay_backend_is_for_the_listed_alone(rendered: Rendered) -> None:
    ways = set()
    for name, section in rendered.configuration.of("frontend").items():
        ways |= {(name, line) for line in section.lines if re.search(r"\w_relay\b", line)}
        named = [line for line in section.all("acl") if line.startswith("relay_client ")]
        assert named == (["relay_client src -f lists/relay_networks.list"] if name in rendered.relayed else [])
    assert ways == {(name, f"use_backend exchange_{name}_relay if relay_client") for name in rendered.relayed}
    for service in rendered.services:
        section = rendered.configuration.of("frontend")[service["name"]]
        assert section.all("default_backend") == [f"exchange_{service['name']}"]
    # Backends that are chosen by a map are all of the map.
    for path in ("lists/virtual_directories.map", "lists/websites.map"):
        for line in rendered.lines(path):
            assert re.fullmatch(r"\S+ (exchange|website)_\w+", line), line


@invariant
def exchange_is_verified_and_never_shared(rendered: Rendered) -> None:
    configuration = rendered.configuration
    assert "verify none" not in configuration.text
    assert "http-server-close" not in configuration.text
    for name, section in configuration.of("backend").items():
        if name in rendered.directories:
            assert configuration.effective(section, "http-reuse") == "never", name
            server = f"{configuration.effective(section, 'default-server')} "
            for setting in ("ssl", "verify required", "verifyhost mail.example.com", "sni str(mail.example.com)"):
                assert f" {setting} " in server, name
            assert re.search(r" ca-file \S+\.(pem|crt) ", server), name


@invariant
def every_server_is_checked(rendered: Rendered) -> None:
    configuration = rendered.configuration
    for name, section in configuration.of("backend").items():
        if not section.all("server"):
            assert name in ("clients", "credentials", "smtp_clients", "nothing", "extra")
            continue
        if name in ("acme", "acme_here"):
            # Nobody listens there but while a challenge is on.
            assert not any(" check" in line for line in section.all("server")), name
            continue
        assert f"{configuration.effective(section, 'default-server')} ".startswith("check "), name
        if section.all("tcp-check expect"):
            assert configuration.effective(section, "option tcp-check") is not None, name
        else:
            assert configuration.effective(section, "option httpchk") is not None, name
            (health,) = section.all("http-check send")
            page = re.search(r"uri (\S+) ver HTTP/1.1 hdr Host (\S+) ", health)
            assert page, name
            if name in rendered.directories:
                assert page[1].endswith("/healthcheck.htm"), name
                assert page[2] == "mail.example.com", name
                assert configuration.effective(section, "http-check expect") == "status 200", name


@invariant
def servers_are_those_declared(rendered: Rendered) -> None:
    sites = {f"website_{site['name']}": site["servers"] for site in rendered.given("websites")}
    acme = [["here", f"127.0.0.1:{rendered.given('acme_port')}"]]
    peers = [f"[{peer}]:80" if ":" in peer else f"{peer}:80" for peer in rendered.given("acme_peers")]
    acme += [[f"peer{number}", peer] for number, peer in enumerate(peers, 1)]
    for name, section in rendered.configuration.of("backend").items():
        if name in ("acme", "acme_here"):
            # A challenge that was handed on once isn't handed on again, and is refused at once where nobody listens.
            assert section.all("retries") == ([str(len(acme))] if name == "acme" else ["0"])
            assert [line.split() for line in section.all("server")] == (acme if name == "acme" else acme[:1])
            continue
        port = SERVICES.get(name.removeprefix("exchange_").removesuffix("_relay"), (443, ""))[0]
        servers = sites.get(name, rendered.given("servers") if section.all("server") else [])
        expected = []
        for server in servers:
            address = f"[{server['address']}]" if ":" in server["address"] else server["address"]
            words = [server["name"], f"{address}:{server.get('port', port)}"]
            if name not in sites:
                words += ["weight", str(server.get("weight", 100))]
                words += ["maxconn", str(server["max_connections"])] if server.get("max_connections") else []
            expected.append(words)
        # What stands behind a server that is named is test_resolution's.
        lines = [
            re.sub(r" init-addr \S+ resolvers host resolve-prefer ipv[46]", "", line) for line in section.all("server")
        ]
        assert [line.partition(" verify ")[0].split() for line in lines] == expected, name


@invariant
def limits_hold_for_everybody_but_the_exempt(rendered: Rendered) -> None:
    limits = rendered.given("limits")
    for name, section in rendered.configuration.of("frontend").items():
        rules = section.all("tcp-request connection")
        disguised, *rules = rules
        assert disguised == "reject if { src 2002::/16 ::/96 64:ff9b::/96 } !{ src ::1 }", name
        if name == "metrics":
            assert rules == ["reject unless { src -f lists/monitoring_networks.list }"]
            continue
        exempt, track, reject, *smtp = rules
        most = limits.get("smtp_connections", 50)
        own = ["track-sc1 src,ipmask(32,64) table smtp_clients", f"reject if {{ sc1_conn_cur gt {most} }}"]
        assert smtp == (own if name == "smtp" else []), name
        assert exempt == f"accept if admin{' or relay_client' if name in rendered.relayed else ''}", name
        assert track == "track-sc0 src,ipmask(32,64) table clients", name
        assert f"{{ sc0_conn_cur gt {limits['connections']} }}" in reject, name
        assert f"{{ sc0_conn_rate gt {limits['connection_rate']} }}" in reject, name
        assert reject.startswith("reject if {"), name
        named = [line for line in section.all("acl") if line.startswith("admin ")]
        assert named == ["admin src -f lists/admin_networks.list"], name
        # In HAProxy a second acl of one name means "or".
        names = [line.split()[0] for line in section.all("acl")]
        assert len(names) == len(set(names)), name


@invariant
def servers_are_asked_seldom_and_come_back_little_by_little(rendered: Rendered) -> None:
    """Each check of a mail service is a dialogue in Exchange's protocol log, which the connection's end belongs to."""
    configuration = rendered.configuration
    for name, section in configuration.of("backend").items():
        if not name.startswith("exchange_") or not section.all("server"):
            continue
        words = (configuration.effective(section, "default-server") or "").split()
        assert "slowstart" in words, name
        if configuration.effective(section, "mode") == "tcp":
            assert words[words.index("inter") + 1] == "30s", name
            connect, *steps = section.all("tcp-check")
            assert {"connect", "linger"} <= set(connect.split()), name
            assert [step.split()[0] for step in steps[-2:]] == ["send", "expect"], name


@invariant
def no_service_takes_all_connections(rendered: Rendered) -> None:
    (most,) = map(int, rendered.configuration.of("global")[""].all("maxconn"))
    for name, section in rendered.configuration.of("frontend").items():
        (share,) = map(int, section.all("maxconn"))
        assert 0 < share <= (50 if name == "metrics" else most * 3 // 4), name


@invariant
def closed_directories_and_health_pages_are_denied_before_anything_is_passed_on(rendered: Rendered) -> None:
    closed = [entry for entry in rendered.given("virtual_directories") if entry.get("closed")]
    assert rendered.lines("lists/closed_directories.list") == [entry["path"].lower().strip("/") for entry in closed]
    if rendered.has_exchange:
        lines = rendered.configuration.of("frontend")["https"].lines
        before = lines[: next(number for number, line in enumerate(lines) if line.startswith("use_backend"))]
        for what in ("-f lists/closed_directories.list", "-m sub healthcheck.htm"):
            (rule,) = (line for line in before if what in line)
            assert rule.startswith("http-request deny ")
            assert rule.endswith("} !admin")


@invariant
def hosts_and_paths_are_looked_up_as_they_are_listed(rendered: Rendered) -> None:
    """HAProxy lowers what it compares; lists and maps must be in lower case, or nothing would be found."""
    hosts, sites = rendered.given("exchange_hostnames"), rendered.given("websites")
    assert rendered.lines("lists/exchange_hostnames.list") == [host.lower() for host in hosts]
    assert rendered.lines("lists/websites.map") == [
        f"{host.lower()} website_{site['name']}" for site in sites for host in site["hostnames"]
    ]
    assert rendered.lines("lists/virtual_directories.map") == [
        f"{entry['path'].lower().strip('/')} exchange_{entry['name']}"
        for entry in rendered.given("virtual_directories")
    ]


@invariant
def exchange_has_no_http2(rendered: Rendered) -> None:
    expected = {}
    if rendered.given("exchange_hostnames"):
        expected = dict.fromkeys(rendered.given("exchange_hostnames"), ("certificates/mail.pem", "http/1.1"))
    for site in rendered.given("websites"):
        protocols = "h2,http/1.1" if site.get("http2", True) else "http/1.1"
        expected |= dict.fromkeys(site["hostnames"], ("certificates/www.pem", protocols))
    found = {}
    for line in rendered.lines("lists/certificates.crt-list"):
        file, protocols, hosts = re.fullmatch(r"(\S+) \[alpn (\S+)\] (.+)", line).groups()  # type: ignore[union-attr]
        found |= dict.fromkeys(hosts.split(), (file, protocols))
    assert found == expected


@invariant
def each_list_is_there_and_each_backend_exists(rendered: Rendered) -> None:
    sections = rendered.configuration.sections
    lines = [line for section in sections for line in section.lines]
    assert set(re.findall(r"\blists/[\w.-]+", "\n".join(lines))) <= rendered.files.keys()
    wanted = {line.split()[1] for line in lines if line.startswith(("default_backend ", "use_backend "))}
    for path in ("lists/virtual_directories.map", "lists/websites.map"):
        if f"map({path})" in rendered.configuration.text:
            wanted |= {line.split()[1] for line in rendered.lines(path)}
    assert {name for name in wanted if not name.startswith("%[")} <= rendered.configuration.of("backend").keys()


@invariant
def networks_are_listed_as_given(rendered: Rendered) -> None:
    for kind, always in (("admin", []), ("relay", []), ("monitoring", ["127.0.0.0/8", "::1/128"])):
        assert rendered.lines(f"lists/{kind}_networks.list") == always + rendered.given(f"{kind}_networks")


@cache
def specification() -> ArgumentSpecValidator:
    specs = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())
    return ArgumentSpecValidator(specs["argument_specs"]["main"]["options"])


@settings(ANY_SPEED, max_examples=60)
@given(variables=VARIABLES)
def test_what_must_hold_for_any_variables(variables: Variables) -> None:
    # What is made up here is what the role takes.
    assert specification().validate({**variables, "haproxy_exchange_ca_file": ""}).error_messages == []
    rendered = Rendered(variables)
    for holds in INVARIANTS:
        holds(rendered)


@pytest.mark.parametrize("holds", INVARIANTS, ids=lambda holds: holds.__name__)
@pytest.mark.parametrize("variables", [EVERYTHING, {}], ids=["everything", "nothing"])
def test_what_must_hold_for(variables: Variables, holds: Callable[[Rendered], None]) -> None:
    holds(Rendered(variables))


# --- the rendering is Ansible's ---------------------------------------------------------------------------------------


@pytest.fixture
def playbook(tmp_path: Path) -> Iterator[Path]:
    """A playbook that shows what Ansible makes of the role's variables."""
    (tmp_path / "templates").symlink_to(ROLE / "templates")
    path = tmp_path / "show.yml"
    path.write_text(
        yaml.safe_dump(
            [
                {
                    "hosts": "localhost",
                    "gather_facts": False,
                    "vars_files": [str(ROLE / "defaults/main.yml"), "given.json", str(ROLE / "vars/main.yml")],
                    "tasks": [
                        {"postern.mail_gateway.role_variables": {"role": "haproxy"}, "register": "haproxy_read"},
                        {"ansible.builtin.debug": {"msg": "shown:{{ haproxy_files | to_json | b64encode }}"}},
                    ],
                }
            ]
        )
    )
    return path


def test_ansible_renders_the_same(playbook: Path, certificates: Path) -> None:
    variables = with_authority({**EVERYTHING, "haproxy_extra_configuration": "backend extra\n"}, certificates)
    playbook.with_name("given.json").write_text(json.dumps(variables))
    shown = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", str(playbook)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOME": str(playbook.parent)},
    )
    found = re.search(r'"shown:([A-Za-z0-9+/=]+)"', shown.stdout)
    assert found, shown.stdout + shown.stderr
    files = json.loads(base64.b64decode(found[1]))
    assert {file["path"]: file["content"] for file in files} == render(variables)
