"""What preflight derives reaches the plays behind it: native, whatever facts there are, on every ansible-core."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from setup import OLDEST_PROGRAMS, OLDEST_REQUIREMENTS, listed, make_oldest

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "inventory" / "example"
PROGRAM = Path(sys.executable).with_name("ansible-playbook")
SOUND = {"hostname": "mail.example.com", "domains": ["example.com"], "admin_networks": ["198.51.100.0/24"]}
# Refused at once: nobody listens there.
REFUSED = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_connection": "ssh"}

SHOWN = {
    "acme_port": "{{ haproxy_acme_port | type_debug }}",
    "no_acme": "{{ 'a port' if haproxy_acme_port else 'none' }}",
    "exact": "{{ firewall_exact | type_debug }}",
    "weight": "{{ haproxy_servers[0].weight | type_debug }}",
    "managed": "{{ mail_gateway_managed.fail2ban | type_debug }}",
    "rendered": "{% if haproxy_acme_port %}a port{% else %}none{% endif %}",
}
NATIVE = {
    "acme_port": "int",
    "no_acme": "none",
    "exact": "bool",
    "weight": "int",
    "managed": "bool",
    "rendered": "none",
}


@pytest.fixture(scope="session")
def oldest() -> Path:
    """ansible-playbook of the oldest ansible-core that meta/runtime.yml allows, in an environment of its own."""
    with (ROOT / ".cache" / "ansible-core.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        make_oldest()
    return OLDEST_PROGRAMS / "ansible-playbook"


def test_the_oldest_is_the_one_that_is_promised() -> None:
    promised = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["requires_ansible"].removeprefix(">=")
    pins = dict(pin.split("==") for pin in listed(OLDEST_REQUIREMENTS))
    assert pins["ansible-core"].split(".")[:2] == promised.split(".")[:2]


def run(program: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    result = subprocess.run(
        [str(program), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"),
            **environment,
        },
    )
    assert "Traceback" not in result.stdout + result.stderr, result.stderr
    return result.returncode, result.stdout + result.stderr


def shown(folder: Path, program: Path = PROGRAM, *arguments: str, **environment: str) -> dict[str, Any]:
    """What a play behind preflight sees, for each gateway of the example."""
    task = {
        "name": "Show",
        "ansible.builtin.copy": {"content": "{{ shown | to_json }}", "dest": f"{folder}/{{{{ inventory_hostname }}}}"},
    }
    plays = [
        {"name": "Preflight", "ansible.builtin.import_playbook": str(ROOT / "playbooks" / "preflight.yml")},
        {
            "name": "Show",
            "hosts": "gateways",
            "gather_facts": False,
            "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "shown": SHOWN},
            "tasks": [task],
        },
    ]
    (folder / "play.yml").write_text(yaml.safe_dump(plays))
    status, output = run(program, "-i", str(EXAMPLE), *arguments, str(folder / "play.yml"), **environment)
    assert status == 0, output
    return {path.name: json.loads(path.read_text()) for path in folder.glob("gw*")}


WANTED = {"gw1.example.com": NATIVE, "gw2.example.com": NATIVE}


def test_types_are_native(tmp_path: Path) -> None:
    assert shown(tmp_path) == WANTED


def test_types_are_native_on_the_oldest_ansible(tmp_path: Path, oldest: Path) -> None:
    """A number that became a text would be true."""
    assert shown(tmp_path, oldest) == WANTED


LAUNCHED = """\
mail_gateway_server_weight: !unsafe "50"
mail_gateway_removed: !unsafe "old1"
mail_gateway:
  hostname: !unsafe mail.example.com
  domains: [!unsafe example.com]
  admin_networks: [!unsafe 198.51.100.0/24]
  exchange: {group: !unsafe exchange}
  firewall: {exact: !unsafe "no"}
  metrics_port: !unsafe "8404"
"""


@pytest.mark.parametrize("program", ["newer", "oldest"])
def test_texts_of_a_launch_are_what_they_mean(program: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """What somebody answers when he launches a job of AWX comes in as texts that nobody may evaluate."""
    ansible = request.getfixturevalue("oldest") if program == "oldest" else PROGRAM
    (tmp_path / "launch.yml").write_text(LAUNCHED)
    assert shown(tmp_path, ansible, "-e", f"@{tmp_path}/launch.yml") == WANTED


@pytest.mark.parametrize("injected", ["true", "false"])
def test_neither_facts_nor_a_stale_cache_of_them_matter(injected: str, tmp_path: Path) -> None:
    cache = tmp_path / "facts"
    cache.mkdir()
    stale = {"gateway": {"haproxy_acme_port": 9}, "server": "old", "mail_gateway_preflight": {"derived": {}}}
    for host in WANTED:
        for name in (host, f"s1_{host}"):
            (cache / name).write_text(json.dumps(stale))
    found = shown(
        tmp_path,
        ANSIBLE_INJECT_FACT_VARS=injected,
        ANSIBLE_CACHE_PLUGIN="ansible.builtin.jsonfile",
        ANSIBLE_CACHE_PLUGIN_CONNECTION=str(cache),
    )
    assert found == WANTED


def inventory(folder: Path, gateways: dict[str, Any] | None = None, **exchange: Any) -> str:
    hosts = {
        "all": {
            "vars": {"mail_gateway": {**SOUND, "exchange": exchange}},
            "children": {
                "gateways": {"hosts": gateways or {name: dict(REFUSED) for name in ("gw1", "gw2", "gw3")}},
                "exchange": {"hosts": {name: {**REFUSED, "mail_gateway_server_address": f"10.10.0.{number}"}
                                       for number, name in enumerate(("ex1", "ex2"), 21)}},
            },
        }
    }  # fmt: skip
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump(hosts))
    return str(path)


def recap(output: str) -> set[str]:
    """The hosts that were tried."""
    return set(re.findall(r"^(\S+) +: ok=.*unreachable=1", output, re.MULTILINE))


@pytest.mark.parametrize("program", ["newer", "oldest"])
@pytest.mark.parametrize(("playbook", "alone"), [("gateway", "gw1"), ("exchange", "ex1"), ("site", "gw1")])
def test_a_first_host_that_is_lost_ends_the_run(
    program: str, playbook: str, alone: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    ansible = request.getfixturevalue("oldest") if program == "oldest" else PROGRAM
    status, output = run(ansible, "-i", inventory(tmp_path), str(ROOT / "playbooks" / f"{playbook}.yml"))
    assert status != 0
    assert recap(output) == {alone}, output


@pytest.mark.parametrize(
    ("limit", "alone"), [("gw2,gw3", {"gw2"}), ("gw3", {"gw3"}), ("exchange", set()), ("north", {"gw1"})]
)
def test_the_first_is_one_of_those_that_take_part(limit: str, alone: set[str], tmp_path: Path) -> None:
    path = Path(inventory(tmp_path))
    hosts = yaml.safe_load(path.read_text())
    hosts["all"]["children"]["north"] = {"hosts": {"gw1": {}, "gw2": {}}}
    path.write_text(yaml.safe_dump(hosts))
    _, output = run(PROGRAM, "-i", str(path), "--limit", limit, str(ROOT / "playbooks" / "gateway.yml"))
    assert recap(output) == alone, output


def test_the_first_of_each_site_goes_alone(tmp_path: Path) -> None:
    path = Path(inventory(tmp_path))
    hosts = yaml.safe_load(path.read_text())
    for name, members, servers in (("north", ("gw1", "gw2"), ["ex1"]), ("south", ("gw3", "gw4"), ["ex2"])):
        declaration = {**SOUND, "site": name, "exchange": {"group": f"{name}_servers"}}
        hosts["all"]["children"]["gateways"]["hosts"] |= {member: dict(REFUSED) for member in members}
        hosts["all"]["children"] |= {
            name: {"hosts": dict.fromkeys((*members, *servers)), "vars": {"mail_gateway": declaration}},
            f"{name}_servers": {"hosts": dict.fromkeys(servers)},
        }
    path.write_text(yaml.safe_dump(hosts))
    for playbook, alone in (("gateway", {"gw1", "gw3"}), ("exchange", {"ex1", "ex2"})):
        _, output = run(PROGRAM, "-i", str(path), str(ROOT / "playbooks" / f"{playbook}.yml"))
        assert recap(output) == alone, output


ROLES = [*((role, "gateway") for role in ("firewall", "sshd", "haproxy", "fail2ban", "letsencrypt")),
         ("exchange", "exchange"), ("haproxy", "site"), ("exchange", "site")]  # fmt: skip


@pytest.mark.parametrize(("role", "playbook"), ROLES)
def test_each_role_has_a_tag_and_nothing_else_runs_with_it(role: str, playbook: str) -> None:
    status, output = run(
        PROGRAM, "-i", str(EXAMPLE), "--list-tasks", "--tags", role, str(ROOT / "playbooks" / f"{playbook}.yml")
    )
    assert status == 0, output
    listed = re.findall(r"^ {6}(\S.*?)\tTAGS: \[(.*)\]$", output, re.MULTILINE)
    assert any(name == "The declaration is sound" for name, _ in listed)
    assert any(name == "Each host has what is derived for it" for name, _ in listed)
    assert any(name.startswith((f"postern.mail_gateway.{role} : ", f"{role} : ")) for name, _ in listed)
    for _, tags in listed:
        assert {"always", role} & set(tags.split(", ")), output


@pytest.mark.parametrize("way", ["inventory", "command line"])
def test_what_is_derived_cannot_be_set_otherwise(way: str, tmp_path: Path) -> None:
    gateways = {"gw1": {**REFUSED, **({"haproxy_servers": []} if way == "inventory" else {})}}
    more = ["-e", '{"haproxy_servers": []}'] if way == "command line" else []
    status, output = run(PROGRAM, "-i", inventory(tmp_path, gateways), *more, str(ROOT / "playbooks" / "preflight.yml"))
    assert status == 2
    assert (
        "haproxy_servers of gw1 is derived from mail_gateway; take it out of the inventory and of the command line, "
        "and change the declaration."
    ) in " ".join(output.split())


def test_a_run_may_begin_with_preflight_twice(tmp_path: Path) -> None:
    """As site does: what the first one handed on is no variable of the inventory to the second."""
    play = tmp_path / "play.yml"
    one = {"name": "Preflight", "ansible.builtin.import_playbook": str(ROOT / "playbooks" / "preflight.yml")}
    play.write_text(yaml.safe_dump([one, one]))
    status, output = run(PROGRAM, "-i", str(EXAMPLE), str(play))
    assert status == 0, output


def test_servers_of_somebody_else_are_left_alone(tmp_path: Path) -> None:
    _, output = run(PROGRAM, "-i", inventory(tmp_path, managed=False), str(ROOT / "playbooks" / "exchange.yml"))
    assert recap(output) == set(), output


def test_the_filters_of_before_are_gone_with_a_word_about_what_came_instead(tmp_path: Path) -> None:
    for name in ("gateway_variables", "exchange_variables"):
        play = tmp_path / "play.yml"
        message = f"{{{{ {{}} | postern.mail_gateway.{name}('gw1', groups, hostvars) }}}}"
        play.write_text(yaml.safe_dump([
            {"name": "Old", "hosts": "localhost", "gather_facts": False,
             "tasks": [{"name": "Old", "ansible.builtin.debug": {"msg": message}}]}
        ]))  # fmt: skip
        status, output = run(PROGRAM, str(play))
        assert status == 2
        assert "Import the playbook postern.mail_gateway.preflight" in " ".join(output.split())
