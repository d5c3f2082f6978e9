"""Preflight and the run can't disagree: what is sound by the one ends without an error of Ansible's own in the other.

A matrix of inventories goes through the plays of the real playbooks, with their hosts, batches and conditions. In place
of their roles is a task that reads everything that those would read: it needs no connection, so a run takes seconds.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_handing_on import PROGRAM, run

ROOT = Path(__file__).resolve().parents[3]
PREFLIGHT = {"name": "Preflight", "ansible.builtin.import_playbook": str(ROOT / "playbooks" / "preflight.yml")}
OF_ANSIBLE = re.compile(
    r"undefined|Traceback|Unexpected|conditional check|templating|ERROR!|not iterable|No hosts? match"
)
LOST = "lost_in_mid_run | default(false) | bool"
GONE = "gone_in_mid_run | default(false) | bool"
NOBODY_THERE = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
KEPT = ("name", "hosts", "gather_facts", "serial", "max_fail_percentage", "any_errors_fatal")
DECLARATION: dict[str, Any] = {
    "hostname": "mail.example.com",
    "domains": ["example.com"],
    "admin_networks": ["198.51.100.0/24"],
    "smtp": {"relay_clients": ["10.30.0.25"]},
}


def plays(playbook: str) -> list[dict[str, Any]]:
    """The plays of a playbook behind preflight, with reading in place of doing."""
    found = [PREFLIGHT]
    for play in yaml.safe_load((ROOT / "playbooks" / f"{playbook}.yml").read_text()):
        if "hosts" not in play:
            continue
        # What the roles would be given: their conditions, and every variable of theirs that is derived.
        roles = play.get("roles", ())
        reads = {f"when {one['role']}": f"{{{{ {one['when']} }}}}" for one in roles if "when" in one}
        names = [one["role"].rpartition(".")[2] for one in roles]
        for name in names:
            variables = yaml.safe_load((ROOT / "roles" / name / "defaults" / "main.yml").read_text())
            reads |= {f"{name} {variable}": f"{{{{ {variable} | default('') }}}}" for variable in variables}
        if playbook == "drain":
            reads["parameters"] = "{{ mail_gateway_parameters }}"
            reads["where"] = next(task["when"] for task in play["tasks"] if "haproxy_server" in str(task))
            reads["where"] = f"{{{{ {reads['where']} }}}}"
        lost = {"name": "Some fail", "ansible.builtin.fail": {"msg": "lost"}, "when": LOST, "tags": ["always"]}
        gone = {
            "name": "Some can't be reached any more",
            "ansible.builtin.ping": {},
            "vars": NOBODY_THERE,
            "when": GONE,
            "tags": ["always"],
        }
        read = {"name": "Everything is read", "ansible.builtin.debug": {"msg": reads}, "tags": ["always"]}
        tasks = {"tasks": [lost, gone, read]}
        found.append({**{key: play[key] for key in KEPT if key in play}, **tasks})
    return found


def inventory(folder: Path, kind: str) -> Path:
    """An inventory: where the declaration stands, how many sites there are, and in which form it is written."""
    declared = {"mail_gateway": DECLARATION}
    gateways: dict[str, Any] = {
        f"gw{n}": {"mail_gateway_egress_address": f"10.10.0.1{n}", "mail_gateway_relay_address": f"10.10.0.11{n}"}
        for n in (1, 2)
    }
    servers: dict[str, Any] = {f"ex{n}": {"ansible_host": f"10.10.0.2{n}"} for n in (1, 2)}
    groups: dict[str, Any] = {"gateways": {"hosts": gateways}, "exchange": {"hosts": servers}}
    everybody: dict[str, Any] = {}
    if kind == "ini":
        lines = [
            "[gateways]",
            *(f"{host} {' '.join(f'{k}={v}' for k, v in its.items())}" for host, its in gateways.items()),
        ]
        lines += ["[exchange]", *(f"{host} ansible_host={its['ansible_host']}" for host, its in servers.items())]
        path = folder / "hosts.ini"
        path.write_text("\n".join([*lines, "[all:vars]", f"mail_gateway={DECLARATION!r}", ""]))
        return path
    if kind == "all":
        everybody = declared
    elif kind == "group":
        groups["gateways"]["vars"] = declared
    elif kind == "host":
        for its in (*gateways.values(), *servers.values()):
            its.update(declared)
    elif kind == "two groups":
        everybody = declared
        groups |= {
            "north": {"hosts": dict.fromkeys(["gw1", "ex1"])},
            "debian": {"hosts": dict.fromkeys(["gw1", "gw2"])},
        }
    elif kind == "three sites":
        groups = {"gateways": {"children": {}}}
        for number, site in enumerate(("north", "south", "west")):
            own = {**DECLARATION, "site": site, "exchange": {"group": f"{site}_servers"}}
            groups["gateways"]["children"][site] = {
                "hosts": {f"{site}-{host}": its for host, its in gateways.items()},
                "vars": {"mail_gateway": own},
            }
            hosts = {f"{site}-{host}": its for host, its in list(servers.items())[: 2 - number % 2]}
            groups[f"{site}_servers"] = {"hosts": hosts}
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": {"vars": everybody, "children": groups}}))
    return path


KINDS = ["all", "group", "host", "extra", "ini", "two groups", "three sites"]
WAYS: dict[str, list[str]] = {
    "whole": [],
    "limit": ["--limit", "gw2,north-gw2,ex1,south-ex1"],
    "tags": ["--tags", "haproxy,exchange"],
    "texts": ["-e", "mail_gateway_server_weight=50", "-e", "drain_wait=", "-e", "mail_gateway_removed=ex9"],
    "lost": ["-e", "{lost_in_mid_run: \"{{ inventory_hostname is search('1$') }}\"}"],
    "gone": ["-e", "{gone_in_mid_run: \"{{ inventory_hostname is search('1$') }}\"}"],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_sound_runs(kind: str, way: str, tmp_path: Path) -> None:
    """All playbooks in one run, since each begins with preflight, which knows what an earlier one handed on."""
    book = tmp_path / "play.yml"
    book.write_text(yaml.safe_dump([play for name in ("gateway", "exchange", "drain") for play in plays(name)]))
    more = ["-e", json.dumps({"mail_gateway": DECLARATION})] if kind == "extra" else []
    server = "north-ex1" if kind == "three sites" else "ex1"
    arguments = [*more, *WAYS[way], "-e", f"drain_server={server}", str(book)]
    status, output = run(PROGRAM, "-i", str(inventory(tmp_path, kind)), *arguments)
    assert not OF_ANSIBLE.search(output.replace("ansible.builtin", "")), output
    assert "in the declaration:" not in output, output
    assert (status == 0) == (way not in ("lost", "gone")), output
    assert ("UNREACHABLE!" in output) == (way == "gone"), output
    if way in ("lost", "gone"):  # the first of each site alone, and nobody after them
        assert not re.search(r"ok: \[\S*(gw|ex)2\]", output), output


@pytest.mark.parametrize("kind", ["all", "three sites"])
def test_what_is_a_part_is_refused_before_anything_else(kind: str, tmp_path: Path) -> None:
    book = tmp_path / "play.yml"
    book.write_text(yaml.safe_dump(plays("gateway")))
    status, output = run(PROGRAM, "-i", str(inventory(tmp_path, kind)), "-e", "awx_job_slice_count=2", str(book))
    assert status == 2
    assert "This run is a slice of an AWX job" in output
    assert "Everything is read" not in output
