"""Every text in every argument of the roles: refused in one sentence, or nothing but a parser's output is written.

Each subject has arguments in which every text of its role's specification is set, and a way to what would be written.
One text after another is replaced by something hostile. What is accepted adds no line and no directive to any file.
"""

from __future__ import annotations

import copy
import dataclasses
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
import yaml
from hostile import SECRET, texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.postern.mail_gateway.plugins.module_utils.certificates import configuration as certificates
from ansible_collections.postern.mail_gateway.plugins.module_utils.fail2ban import configuration as fail2ban
from ansible_collections.postern.mail_gateway.plugins.module_utils.firewall.desired import wanted_rules
from ansible_collections.postern.mail_gateway.plugins.module_utils.firewall.rules import listing
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.errors import HostError
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.networks import networks
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.source_addresses import plan, unit
from ansible_collections.postern.mail_gateway.plugins.module_utils.sshd.configuration import (
    Wanted,
    drop_in,
    socket_drop_in,
)
from ansible_collections.postern.mail_gateway.plugins.module_utils.sshd.desired import Desired
from ansible_collections.postern.mail_gateway.plugins.module_utils.sshd.host import SshdHost
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.roles.reading import ROLES, read_variables

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "unit" / "haproxy"))
from rendering import DEFAULTS, render  # noqa: E402 (a module of the tests beside these)

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
Arguments = dict[str, Any]
Files = Mapping[str, str]


class Refused(Exception):
    """Sentences about what can't be."""


class Subject(NamedTuple):
    """A role: its arguments with every text set, and what they come to, file by file."""

    arguments: Arguments
    written: Callable[[Arguments], Files]


def haproxy(given: Arguments) -> Files:
    problems = read_variables(ROLES["haproxy"], {**DEFAULTS, **given})[1]
    if problems:
        raise Refused(*problems)
    return render(given)


# The rest is compared with accounts' names, and written nowhere.
_WRITTEN = {f"sshd_{field.name}" for field in dataclasses.fields(Wanted)}


def sshd(given: Arguments) -> Files:
    addresses = '[{"addr_info": [{"local": "10.0.0.5"}, {"local": "2001:db8::5"}]}]'

    def run(*command: str, **_unused: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, addresses if command[0] == "ip" else "", "")

    with TemporaryDirectory() as folder:
        host = SimpleNamespace(
            run=run, keys=Path(folder), account="anna", by_socket=False, before_marks=False, is_own_key_file=bool
        )
        wanted = Wanted(**{name.removeprefix("sshd_"): value for name, value in given.items() if name in _WRITTEN})
        desired = Desired(cast("SshdHost", host), wanted, ["ed25519"], print)
        desired.check_addresses()
        written = {"drop-in": drop_in(wanted, ["/k"], lambda _name: [], (10, 0), passwords=False)}
        written["socket"] = socket_drop_in(wanted)
        keys = {file.path.name: (file.content or b"").decode() for file in desired.key_files()}
        assert all(Path(folder, name).parent == Path(folder) for name in keys)
        return {**written, **{f"keys {place}": text for place, text in enumerate(keys.values())}}


def firewall(given: Arguments) -> Files:
    rules = wanted_rules(given["firewall_rules"], {"Web": ["80,443/tcp"]}, "postern")
    return {f"rule {line.split()[1]}": line for line in listing(rules)}


def jails(given: Arguments) -> Files:
    known = fail2ban.filters(given["fail2ban_filters"])
    found = fail2ban.jails(given["fail2ban_jails"])
    ignored = networks(given["fail2ban_ignored_networks"], "fail2ban_ignored_networks")
    files = fail2ban.files(found, known, ignored)
    return {"all files": "".join(file.content.decode() for file in files)}


def letsencrypt(given: Arguments) -> Files:
    variables = {name.removeprefix("letsencrypt_"): value for name, value in given.items()}
    variables |= {"authority_ca": "", "host": "gw1", "tls_port": 443, "key_type": "rsa", "key_size": 2048}
    variables |= {"http_port": 0, "self_test": True}
    files = certificates.host_files(certificates.settings(variables), variables)
    return {str(file.path): (file.content or b"").decode() for file in files}


def source_addresses(given: Arguments) -> Files:
    links = [{"ifname": "eth0", "addr_info": [{"local": "10.0.0.5", "prefixlen": 24, "scope": "global"}]}]
    return {"unit": unit("Addresses", "haproxy.service", plan(given["addresses"], links, {}).managed)}


SUBJECTS = {
    "haproxy": Subject(
        {
            "haproxy_listen_addresses": ["203.0.113.10", "2001:db8:25::10"],
            "haproxy_hostname": "mail.example.com",
            # One by name, so that what names need is there before a text becomes one.
            "haproxy_servers": [{"name": "ex1", "address": "10.1.1.21"}, {"name": "ex2", "address": "ex2.example.com"}],
            "haproxy_egress_address": "10.1.1.11",
            "haproxy_relay_address": "10.1.1.111",
            "haproxy_relay_networks": ["10.1.1.25/32"],
            "haproxy_admin_networks": ["198.51.100.0/24"],
            "haproxy_exchange_hostnames": ["mail.example.com"],
            "haproxy_exchange_certificate": "mail",
            "haproxy_exchange_ca_file": "",
            "haproxy_virtual_directories": [{"name": "owa", "path": "/owa", "health_path": "/owa/healthcheck.htm"}],
            "haproxy_tcp_services": [{"name": "smtp", "port": 25, "check": "smtp", "relay": True}],
            "haproxy_websites": [
                {
                    "name": "www",
                    "hostnames": ["www.example.com"],
                    "certificate": "www",
                    "servers": [{"name": "www1", "address": "10.1.1.30", "port": 8080}],
                }
            ],
            "haproxy_certificates": [
                {"name": "mail", "names": ["mail.example.com"], "file": "mail.pem"},
                {"name": "www", "names": ["www.example.com"]},
            ],
            "haproxy_acme_port": 842,
            "haproxy_acme_peers": ["10.1.1.12"],
            "haproxy_monitoring_networks": ["198.51.100.7"],
            "haproxy_extra_configuration": "backend extra",
        },
        haproxy,
    ),
    "sshd": Subject(
        {
            "sshd_ports": [22],
            "sshd_listen_addresses": ["10.0.0.5", "2001:db8::5"],
            "sshd_root_logon": "key",
            "sshd_authorized_keys": [{"user": "root", "keys": [f'from="10.0.0.0/8" {KEY} root'], "exclusive": True}],
            "sshd_sftp_accounts": [{"name": "files", "keys": [KEY]}],
            "sshd_settings": {"LogLevel": "VERBOSE", "AcceptEnv": ["LANG", "LC_ALL"]},
            "sshd_matches": [{"match": "User anna", "settings": {"X11Forwarding": "no"}}],
            "sshd_penalty_exempt_networks": ["198.51.100.0/24"],
            "sshd_locked_out_accounts": ["ben"],
        },
        sshd,
    ),
    "firewall": Subject(
        {
            "firewall_rules": [
                {
                    "action": "allow", "direction": "in", "protocol": "tcp", "ports": ["25", "8000:8010"],
                    "source_ports": ["1024:65535"], "sources": ["10.0.0.0/8"], "destinations": ["10.9.0.1"],
                    "application": "", "source_application": "", "interface": "eth0", "outgoing_interface": "",
                    "log": "none", "comment": "mail",
                },
                {
                    "action": "deny", "direction": "routed", "protocol": "any", "ports": [], "source_ports": [],
                    "sources": ["2001:db8::/32"], "destinations": [], "application": "Web",
                    "source_application": "Web", "interface": "eth0", "outgoing_interface": "eth1", "log": "none",
                    "comment": "",
                },
            ]
        },
        firewall,
    ),
    "fail2ban": Subject(
        {
            "fail2ban_jails": [
                {
                    "name": "door", "filter": "door", "filter_mode": "normal", "ports": ["22", "6000-6007"],
                    "journal_matches": ["_SYSTEMD_UNIT=door.service"], "max_retry": 5, "find_time": 600,
                    "ban_time": 3600, "max_ban_time": 604800,
                }
            ],
            "fail2ban_filters": [
                {
                    "name": "door", "identifier": "doord", "fail_regexes": ["refused <ADDR>"],
                    "ignore_regexes": ["let in"], "journal_matches": ["_SYSTEMD_UNIT=door.service"],
                }
            ],
            "fail2ban_ignored_networks": ["198.51.100.0/24", "2001:db8::/32"],
        },
        jails,
    ),
    "letsencrypt": Subject(
        {
            "letsencrypt_certificates": [{"name": "mail", "names": ["mail.example.com"]}],
            "letsencrypt_authority": "https://ca.example.com/dir",
            "letsencrypt_authority_ca_file": "",
            "letsencrypt_external_account_key_id": "kid",
            "letsencrypt_external_account_hmac_key": "c2VjcmV0",
            "letsencrypt_contact": "hostmaster@example.com",
            "letsencrypt_gateways": ["gw1", "gw2"],
            "letsencrypt_peers": [{"name": "gw2", "address": "10.0.0.2", "port": 22, "host_keys": [KEY]}],
            "letsencrypt_account": "certificates",
            "letsencrypt_tls_address": "127.0.0.1",
            "letsencrypt_metrics_file": "/var/lib/node/postern.prom",
        },
        letsencrypt,
    ),
    "source_addresses": Subject({"addresses": ["10.0.0.111"]}, source_addresses),
}  # fmt: skip

# Files on the controller, which are read there: tests of their own.
ON_THE_CONTROLLER = {"haproxy_exchange_ca_file", "letsencrypt_authority_ca_file"}
# Where a text may have lines of its own, by what it is for.
OF_SEVERAL_LINES = {("haproxy_extra_configuration",)}

Path_ = tuple[Any, ...]


def leaves(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """The places of all texts."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from leaves(inner, (*path, place))
    elif isinstance(value, str):
        yield path


def at(value: Any, path: Path_) -> Any:
    for step in path:
        value = value[step]
    return value


def replaced(arguments: Arguments, path: Path_, text: str) -> Arguments:
    changed = copy.deepcopy(arguments)
    at(changed, path[:-1])[path[-1]] = text
    return changed


def outcome(subject: Subject, arguments: Arguments) -> Files | list[str]:
    """What would be written, or the sentences of why not."""
    try:
        return subject.written(arguments)
    except HostError as error:
        return [str(error)]
    except Refused as refused:
        return list(map(str, refused.args))


def directives(text: str) -> Counter[str]:
    """What each line begins with."""
    return Counter(line.split()[0].partition("=")[0] for line in text.splitlines() if line.split())


@pytest.mark.parametrize("name", SUBJECTS)
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_hostile_text_is_refused_or_stays_what_it_is(name: str, data: st.DataObject) -> None:
    subject = SUBJECTS[name]
    # Ansible itself holds arguments to their choices.
    untried = {*described(specification(name), choices=True), *ON_THE_CONTROLLER}
    path = data.draw(st.sampled_from([one for one in leaves(subject.arguments) if spelled(one) not in untried]))
    text = data.draw(texts(at(subject.arguments, path) or "x"))
    found = outcome(subject, replaced(subject.arguments, path, text))
    if isinstance(found, list):
        for sentence in found:
            assert sentence.isprintable(), sentence
            assert sentence.endswith((".", "?"))
            assert SECRET not in sentence
            assert len(sentence) < 700
        return
    before = subject.written(subject.arguments)
    for file, content in found.items():
        assert SECRET not in content, file
        # What is given as lines of a configuration may hold what blanks are there.
        blanks = "\n\t" if path in OF_SEVERAL_LINES else "\n"
        assert all(one.isprintable() or one in blanks for one in content), file
        if path not in OF_SEVERAL_LINES:
            assert len(content.splitlines()) <= len(before.get(file, content).splitlines()), file
            if file.endswith((".cfg", "drop-in", "unit", ".service", ".path")):
                assert directives(content) <= directives(before[file]), file


@pytest.mark.parametrize("name", SUBJECTS)
def test_what_is_sound_is_written(name: str) -> None:
    assert not isinstance(outcome(SUBJECTS[name], SUBJECTS[name].arguments), list)


def described(options: Mapping[str, Any], choices: bool = False, path: str = "") -> Iterator[str]:
    """The paths of all texts in an argument specification, or of those that are one of some words."""
    for name, option in options.items():
        kind = option.get("elements", option["type"]) if option["type"] == "list" else option["type"]
        place = f"{path}{name}{'[]' if option['type'] == 'list' else ''}"
        if option.get("options"):
            yield from described(option["options"], choices, f"{place}.")
        elif kind in ("str", "path") and bool(option.get("choices")) == choices:
            yield place


def specification(role: str) -> dict[str, Any]:
    """The role's argument specification; a subject that is no role has none."""
    path = ROOT / "roles" / role / "meta" / "argument_specs.yml"
    if not path.exists():
        return {}
    options: dict[str, Any] = yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
    return options


def spelled(path: Path_) -> str:
    """A path as `described` has it."""
    return "".join("[]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


@pytest.mark.parametrize("role", [name for name in SUBJECTS if name != "source_addresses"])
def test_every_text_of_the_role_is_tried(role: str) -> None:
    tried = {spelled(path) for path in leaves(SUBJECTS[role].arguments)}
    assert set(described(specification(role))) <= tried
