"""Preflight as a person runs it: the real ansible-playbook on inventories of every kind, its words and its exit."""
# ruff: noqa: E501, ISC004 (a sentence is on one line where it fits, so that it can be searched for)

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "inventory" / "example"
SOUND = {"hostname": "mail.example.com", "domains": ["example.com"], "admin_networks": ["198.51.100.0/24"]}
# Nothing listens there, and there is no such user: a connection would fail.
NOWHERE = {"ansible_host": "10.99.99.99", "ansible_connection": "ssh", "ansible_user": "nobody"}


def run(*arguments: str, playbook: str = str(ROOT / "playbooks" / "preflight.yml"), **more: str) -> tuple[int, str]:
    """The exit code and what was printed; ``more`` goes into the environment."""
    result = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), *arguments, playbook],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_DEPRECATION_WARNINGS": "false",
            **more,
        },
    )
    assert "Traceback" not in result.stdout + result.stderr, result.stderr
    return result.returncode, result.stdout + result.stderr


def site(tmp_path: Path, declaration: Any = SOUND, **changes: Any) -> str:
    """An inventory of two gateways and a server, after the changes to its top-level groups."""
    children: dict[str, Any] = {
        "gateways": {"hosts": {"gw1": dict(NOWHERE), "gw2": {**NOWHERE, "ansible_host": "10.99.99.98"}}},
        "exchange": {"hosts": {"ex1": {"ansible_host": "10.10.0.21"}}},
        **changes,
    }
    path = tmp_path / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": {"vars": {"mail_gateway": declaration}, "children": children}}))
    return str(path)


def said(output: str) -> list[str]:
    """The lines of the message about problems."""
    found = re.search(r"[0-9]+ problems? in the declaration:\n((?:.+[.?]\n)+)", output)
    assert found, output
    return found.group(1).splitlines()


def test_the_example_is_sound() -> None:
    status, output = run("-i", str(EXAMPLE))
    assert status == 0, output
    assert re.search(r"localhost +: ok=2 +changed=0", output)


@pytest.mark.parametrize("limit", ["gw2.example.com", "exchange", "gateways:!gw1.example.com"])
def test_the_example_is_sound_whatever_the_limit(limit: str) -> None:
    """Once for all, also on a server that Ansible would reach in a way of Windows'."""
    status, output = run("-i", str(EXAMPLE), "--limit", limit, "--check")
    assert status == 0, output
    assert len(re.findall(r"ok=2 +changed=0", output)) == 1
    assert len(re.findall(r": ok=", output)) >= 1


def test_by_the_name_in_the_collection() -> None:
    status, output = run("-i", str(EXAMPLE), playbook="postern.mail_gateway.preflight")
    assert status == 0, output


def test_every_problem_at_once(tmp_path: Path) -> None:
    declaration = {**SOUND, "hostname": "mail", "smtp": {"relay_clients": ["0.0.0.0/0"]}, "metrics_prot": 1}
    status, output = run("-i", site(tmp_path, declaration), "--limit", "gw2")
    assert status == 2
    assert said(output) == [
        "mail_gateway.metrics_prot isn't known; did you mean mail_gateway.metrics_port?",
        'mail_gateway.hostname is "mail", but must be a full name such as mail.example.com, with a domain.',
        *(
            f"mail_gateway_{kind}_address of {host} is missing; mail_gateway.smtp.relay_clients needs it, as the address "
            f"from which {who} Exchange."
            for host in ("gw1", "gw2")
            for kind, who in (("egress", "everybody else reaches"), ("relay", "they reach"))
        ),
        'mail_gateway.smtp.relay_clients[0] is "0.0.0.0/0", which is everybody: an open relay; name the hosts that may '
        "relay.",
    ]
    assert "7 problems in the declaration:" in output


def test_what_may_not_be_meant_is_a_warning(tmp_path: Path) -> None:
    declaration = {**SOUND, "certificate": {"names": ["mail.example.com", "webmail.exmaple.com"]}}
    status, output = run("-i", site(tmp_path, declaration))
    assert status == 0, output
    assert (
        '[WARNING]: mail_gateway.certificate.names[1] is "webmail.exmaple.com", which is in none of mail_gateway.domains '
        "(example.com); correct it, unless it is meant."
    ) in " ".join(output.split())


def test_half_an_external_account_is_told_without_its_key(tmp_path: Path) -> None:
    """Wherever the key stands, and even where it is wrong."""
    secret = {"mail_gateway_external_account_hmac_key": "se+cret"}
    gateways = {"hosts": {"gw1": dict(NOWHERE)}, "vars": secret}
    status, output = run("-vvv", "-i", site(tmp_path, gateways=gateways))
    assert status == 2
    assert said(output) == [
        "mail_gateway_external_account_hmac_key of gw1 is not shown, but must be base64url (letters, digits, - and _) as the "
        "authority gave it; copy it once more."
    ]
    assert "se+cret" not in output


@pytest.mark.parametrize("arguments", [(), ("--limit", "ex1")], ids=str)
def test_no_gateways(arguments: tuple[str, ...], tmp_path: Path) -> None:
    path = site(tmp_path)
    hosts = yaml.safe_load(Path(path).read_text())
    hosts["all"]["children"]["gateway"] = hosts["all"]["children"].pop("gateways")
    Path(path).write_text(yaml.safe_dump(hosts))
    status, output = run("-i", path, *arguments)
    assert status == 2
    assert said(output) == ["The inventory has no group gateways; make one of the hosts that are to be gateways."]


def test_an_empty_group_of_gateways(tmp_path: Path) -> None:
    status, output = run("-i", site(tmp_path, gateways={"hosts": {}}))
    assert status == 2
    assert said(output) == [
        "The inventory's group gateways has no hosts; put the hosts into it that are to be gateways."
    ]


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("raise ImportError", "The Python library netaddr is missing on the controller; install it for "),
        (
            "__version__, IPNetwork = '0.10.1', None",
            "The Python library netaddr is 0.10.1 on the controller, but must be 1.0 or later; ",
        ),
    ],
    ids=["missing", "old"],
)
def test_without_a_library_nothing_goes_on(module: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "netaddr.py").write_text(module)
    status, output = run("-i", str(EXAMPLE), PYTHONPATH=str(tmp_path))
    assert status == 2
    assert sentence in " ".join(output.split())
    assert "pip install 'netaddr>=1.0'." in " ".join(output.split())


def test_no_inventory_at_all() -> None:
    status, output = run("-i", os.devnull)
    assert status == 2
    assert said(output) == ["The inventory has no group gateways; make one of the hosts that are to be gateways."]


def test_what_is_undefined_is_named_with_its_place(tmp_path: Path) -> None:
    declaration = {
        **SOUND,
        "hostname": "mail.{{ the_domain }}",
        "domains": ["{{ the_domain }}"],
        "metrics_port": "{{ site.port }}",
        "certificate": {"file": "{{ lookup('ansible.builtin.env', 'HOME') | no_such_filter }}"},
    }
    gateways = {
        "hosts": {"gw1": {"mail_gateway_egress_address": "{{ nowhere }}"}},
        "vars": {"the_domain": "{{ site_domain }}", "site": {}},
    }
    status, output = run("-i", site(tmp_path, declaration, gateways=gateways))
    assert status == 2
    lines = said(output)
    assert lines[:2] == [
        "mail_gateway.hostname is \"mail.{{ the_domain }}\", but 'site_domain' is undefined; define it.",
        "mail_gateway.domains[0] is \"{{ the_domain }}\", but 'site_domain' is undefined; define it.",
    ]
    assert lines[2].startswith("mail_gateway.certificate.file is ")
    assert "no_such_filter" in lines[2]
    assert lines[3].startswith('mail_gateway.metrics_port is "{{ site.port }}", which can\'t be evaluated: ')
    assert lines[3].endswith("has no attribute 'port'.")
    assert lines[4:] == [
        "mail_gateway_egress_address of gw1 is \"{{ nowhere }}\", but 'nowhere' is undefined; define it."
    ]


def test_templates_are_evaluated_for_each_gateway(tmp_path: Path) -> None:
    """Also those that look at other hosts, and numbers and switches keep their types."""
    declaration = {
        **SOUND,
        "hostname": "mail.{{ domain }}",
        "domains": "{{ [domain] }}",
        "smtp": {"relay_clients": "{{ groups['relays'] | map('extract', hostvars, 'ansible_host') | list }}"},
        "pop": {"enabled": "{{ with_pop }}"},
        "metrics_port": "{{ port_of_metrics }}",
    }
    gateways = {
        "hosts": {
            f"gw{n}": {
                "mail_gateway_egress_address": "10.10.0.{{ number }}",
                "mail_gateway_relay_address": "10.10.0.1{{ number }}",
                "number": n + 10,
            }
            for n in (1, 2)
        },
        "vars": {"domain": "example.com", "with_pop": False, "port_of_metrics": 9000},
    }
    relays = {"hosts": {"relay1": {"ansible_host": "10.30.0.25"}}}
    status, output = run("-i", site(tmp_path, declaration, gateways=gateways, relays=relays))
    assert status == 0, output
    relays["hosts"]["relay1"]["ansible_host"] = "10.10.0.112"
    status, output = run("-i", site(tmp_path, declaration, gateways=gateways, relays=relays))
    assert said(output) == [
        'mail_gateway_relay_address of gw2 is "10.10.0.112", which is ansible_host of relay1; write the gateway\'s own.',
        'mail_gateway.smtp.relay_clients[0] is "10.10.0.112", which is the relay address of gw2, where anybody\'s mail '
        "comes from; take it out.",
    ]


@pytest.mark.parametrize(
    ("declaration", "sentence"),
    [
        (
            {**SOUND, "exchange": {"group": ["exchange"]}},
            'mail_gateway.exchange.group is ["exchange"], but must be the name of a group in the inventory, not a list.',
        ),
        (
            {**SOUND, "exchange": []},
            "mail_gateway.exchange is [], but must be a dictionary with the keys managed, group, legacy_group, "
            "protocol_logging, edge_traversal and ca_file.",
        ),
    ],
    ids=["a list of groups", "no dictionary"],
)
def test_odd_shapes(declaration: Any, sentence: str, tmp_path: Path) -> None:
    status, output = run("-i", site(tmp_path, declaration))
    assert status == 2
    assert said(output) == [sentence]


def test_sites_are_told_apart_and_nothing_is_said_twice(tmp_path: Path) -> None:
    here = {**SOUND, "site": "north", "metrics_port": 25, "pop": {"ntlm": False}}
    there = {**here, "site": "south", "hostname": "mail"}
    gateways = {
        "children": {
            "site_a": {"hosts": {"gw1": {}, "gw2": {}}, "vars": {"mail_gateway": here}},
            "site_b": {
                "hosts": {"gw3": {"mail_gateway_egress_address": "10.10.0.0/16"}},
                "vars": {"mail_gateway": there},
            },
        }
    }
    status, output = run("-i", site(tmp_path, here, gateways=gateways))
    assert status == 2
    assert said(output) == [
        "mail_gateway.pop.ntlm isn't known here; its place is mail_gateway.imap.ntlm.",
        "mail_gateway.metrics_port is 25, which is the port of smtp; choose another, such as 8404.",
        'In the site south: mail_gateway.hostname is "mail", but must be a full name such as mail.example.com, with a domain.',
        'mail_gateway_egress_address of gw3 is "10.10.0.0/16", but must be one address; write 10.10.0.0.',
    ]


def two_sites(tmp_path: Path, address: str, north: Any = None, south: Any = None, **groups: Any) -> str:
    """Two sites whose gateways have the same address."""
    own = {"mail_gateway_egress_address": address}
    gateways = {
        "children": {
            "north": {"hosts": {"gw1": own}, "vars": {"mail_gateway": {**SOUND, "site": "north", **(north or {})}}},
            "south": {"hosts": {"gw3": own}, "vars": {"mail_gateway": {**SOUND, "site": "south", **(south or {})}}},
        }
    }
    path = Path(site(tmp_path, gateways=gateways, **groups))
    hosts = yaml.safe_load(path.read_text())
    del hosts["all"]["vars"]
    path.write_text(yaml.safe_dump(hosts))
    return str(path)


APART = {
    "north": {"exchange": {"group": "north_servers"}},
    "south": {"exchange": {"group": "south_servers"}},
    "north_servers": {"hosts": {"ex1": {"ansible_host": "10.10.0.21"}}},
    "south_servers": {"hosts": {"ex9": {"ansible_host": "10.10.0.21"}}},
}


def test_two_sites_with_the_same_servers_may_not_share_an_address(tmp_path: Path) -> None:
    status, output = run("-i", two_sites(tmp_path, "10.10.0.11", north={"exchange": {"managed": False}}))
    assert status == 2
    assert said(output) == [
        'mail_gateway_egress_address of gw3 is "10.10.0.11", which is mail_gateway_egress_address of gw1 too; give each '
        "gateway its own."
    ]


def test_two_sites_that_share_nothing_may_have_equal_private_addresses(tmp_path: Path) -> None:
    status, output = run("-i", two_sites(tmp_path, "10.10.0.11", **APART))
    assert status == 0, output


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111"])
def test_a_public_address_is_of_one_site(address: str, tmp_path: Path) -> None:
    groups = {**APART, "north_servers": {"hosts": {"ex7": {}}}, "south_servers": {"hosts": {"ex8": {}}}}
    status, output = run("-i", two_sites(tmp_path, address, **groups))
    assert status == 2
    assert said(output) == [
        f'mail_gateway_egress_address of gw3 is "{address}", which is mail_gateway_egress_address of gw1 too; give each '
        "gateway its own."
    ]
    sites = {
        name: {**groups[name], "ipv6": True, "service_addresses": [address, "203.0.113.10", "2001:db8::25"]}
        for name in ("north", "south")
    }
    status, output = run("-i", two_sites(tmp_path, "10.10.0.11", **{**groups, **sites}))
    assert said(output) == [
        f'In the site south: mail_gateway.service_addresses[0] is "{address}", which is a service address of the site '
        "north too; an address that both know belongs to one site."
    ]


def test_declarations_that_differ_name_their_sites(tmp_path: Path) -> None:
    """Compared as they stand there: 1 isn't true, and the order makes no difference."""
    status, output = run(
        "-i", two_sites(tmp_path, "10.10.0.11", north={"site": "", "metrics_port": 9000}, south={"site": ""})
    )
    assert status == 2
    assert said(output)[:2] == [
        "mail_gateway.site of gw1 is missing, and mail_gateway isn't the same everywhere (mail_gateway.metrics_port "
        "differs from that of gw3); name the site in each declaration.",
        "mail_gateway.site of gw3 is missing, and mail_gateway isn't the same everywhere (mail_gateway.metrics_port "
        "differs from that of gw1); name the site in each declaration.",
    ]
    _, output = run("-i", two_sites(tmp_path, "", north={"site": "", "pop": {"enabled": 1}}, south={"site": ""}))
    assert said(output) == ["In the site of gw1: mail_gateway.pop.enabled is 1, but must be true or false."]
    number, text = {"site": "", "metrics_port": 8404}, {"site": "", "metrics_port": "8404"}
    status, output = run("-i", two_sites(tmp_path, "", north=number, south=text))
    assert status == 0, output
    some = {"site": "", "domains": ["example.com", "example.org"]}
    other = {"site": "", "domains": ["EXAMPLE.org", "example.com"], "pop": {"enabled": True}}
    status, output = run("-i", two_sites(tmp_path, "", north=some, south=other))
    assert status == 0, output


def test_a_site_has_one_declaration(tmp_path: Path) -> None:
    status, output = run("-i", two_sites(tmp_path, "10.10.0.11", south={"site": "north", "metrics_port": 9000}))
    assert status == 2
    assert said(output)[0] == (
        "mail_gateway.metrics_port of gw3 isn't that of gw1, but mail_gateway.site is north for both; declare it once for "
        "the site, or name two sites."
    )


def test_a_server_has_the_declaration_of_its_site(tmp_path: Path) -> None:
    """At whatever level it is declared; a server need not have one."""
    alone = {"hosts": {"gw1": dict(NOWHERE)}, "vars": {"mail_gateway": SOUND}}
    path = Path(site(tmp_path, gateways=alone, exchange={"hosts": {"ex1": {}}}))
    hosts = yaml.safe_load(path.read_text())
    del hosts["all"]["vars"]
    path.write_text(yaml.safe_dump(hosts))
    status, output = run("-i", str(path))
    assert status == 0, output
    exchange = {"hosts": {"ex1": {}}, "vars": {"mail_gateway": {**SOUND, "metrics_port": 9000}}}
    status, output = run("-i", site(tmp_path, gateways=alone, exchange=exchange))
    assert status == 2
    assert said(output) == [
        "mail_gateway.metrics_port of the server ex1 isn't that of gw1; declare it once, where the gateways and the servers "
        "of the site read it."
    ]


def test_a_server_of_two_sites_is_set_up_by_one(tmp_path: Path) -> None:
    status, output = run("-i", two_sites(tmp_path, ""))
    assert status == 2
    assert said(output) == [
        "ex1 is a server of the site north and the site south, and nothing says which sets it up; give it that one's "
        "mail_gateway, or write exchange.managed: false in the other."
    ]
    owned = {"hosts": {"ex1": {}}, "vars": {"mail_gateway": {**SOUND, "site": "south"}}}
    status, output = run("-i", two_sites(tmp_path, "", exchange=owned))
    assert status == 0, output


def test_names_that_are_nearly_right(tmp_path: Path) -> None:
    gateways = {"hosts": {"gw1": {"mail_gateway_egress_adress": "10.10.0.11"}}}
    exchange = {"hosts": {"ex1": {"mail_gateway_server_wieght": 50, "mail_gateway_of_ours": "is our own business"}}}
    path = Path(site(tmp_path, gateways=gateways, exchange=exchange))
    path.write_text(path.read_text().replace("mail_gateway:", "mail_gatway:"))
    status, output = run("-i", str(path))
    assert status == 2
    assert said(output) == [
        "mail_gateway_egress_adress of gw1 isn't known; did you mean mail_gateway_egress_address?",
        "mail_gatway of gw1 isn't known; did you mean mail_gateway?",
        "mail_gateway of gw1 is missing; declare what the gateway publishes in the variables of the group all, or of a "
        "group for its site.",
    ]


def test_the_gateways_are_not_touched_when_the_declaration_is_wrong(tmp_path: Path) -> None:
    path = site(tmp_path, {**SOUND, "hostname": "mail"})
    status, output = run("-i", path, playbook=str(ROOT / "playbooks" / "gateway.yml"))
    assert status == 2
    assert len(said(output)) == 1
    assert "UNREACHABLE" not in output
    assert output.count("TASK [") == 1


def test_it_takes_no_parameters(tmp_path: Path) -> None:
    play = tmp_path / "play.yml"
    task = {"postern.mail_gateway.preflight": {"group": "gateways"}, "name": "Wrong"}
    play.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    status, output = run("-i", str(EXAMPLE), playbook=str(play))
    assert status == 2
    assert "Unsupported parameters" in output


def test_a_vaulted_value_without_its_password(tmp_path: Path) -> None:
    """With the password it is read like any other; without it, that is a problem like any other."""
    password = tmp_path / "password"
    password.write_text("lab only")
    vaulted = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-vault")),
            *("encrypt_string", "--vault-password-file", str(password), "--name", "hostname", "mail.example.com"),
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    path = Path(site(tmp_path))
    indented = "".join(f"      {line}\n" for line in vaulted.splitlines())
    path.write_text(path.read_text().replace("      hostname: mail.example.com\n", indented))
    assert run("-i", str(path), "--vault-password-file", str(password))[0] == 0
    status, output = run("-i", str(path))
    assert status == 2
    (sentence,) = said(output)
    assert sentence.startswith("mail_gateway.hostname can't be evaluated: ")
    assert sentence.endswith("Attempting to decrypt but no vault secrets found.")


def test_a_vaulted_value_that_does_not_fit_is_not_shown(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n")
    vaulted = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-vault")),
            *("encrypt_string", "--vault-password-file", str(password), "--name", "hostname", "correct horse battery"),
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    path = tmp_path / "hosts.yml"
    indented = "".join(f"      {line}\n" for line in vaulted.splitlines())
    groups = "  children:\n    gateways: {hosts: {gw1: {}}}\n    exchange: {hosts: {ex1: {ansible_host: 10.10.0.21}}}\n"
    path.write_text(f"all:\n  vars:\n    mail_gateway:\n{indented}{groups}")
    status, output = run("-i", str(path), "--vault-password-file", str(password))
    assert status != 0
    assert (
        "mail_gateway.hostname is not shown, since it holds a secret, but must be one name, without a comma" in output
    )
    assert "horse" not in output


def test_what_becomes_of_the_servers_is_computed(tmp_path: Path) -> None:
    status, output = run("-v", "-i", str(EXAMPLE))
    assert status == 0, output
    result = output.partition("=> ")[2]
    found = json.JSONDecoder().raw_decode(result)[0]["connections"]
    assert set(found) == {"ex1.example.com", "ex2.example.com"}
    table = {(row["who"], row["address"]): (row["connector"], row["relay"]) for row in found["ex1.example.com"]}
    assert table["relay clients", "10.10.0.111"] == ("Mail gateway relay", True)
    assert table["gateway", "10.10.0.11"] == ("Mail gateway", False)
    assert table["server", "10.10.0.22"] == ("Default Frontend EX1", False)
    assert table["internet", "any"] == ("Default Frontend EX1", False)


@pytest.mark.parametrize("managed", [True, False])
def test_a_gateway_with_the_address_of_an_older_server_is_refused(managed: bool, tmp_path: Path) -> None:
    """Whoever sets the servers up."""
    gateway = {**NOWHERE, "mail_gateway_egress_address": "10.10.0.31"}
    older = {"hosts": {"old1": {"ansible_host": "10.10.0.31"}}}
    declaration = {**SOUND, "exchange": {"managed": managed}}
    status, output = run("-i", site(tmp_path, declaration, gateways={"hosts": {"gw1": gateway}}, exchange_legacy=older))
    assert status != 0
    assert said(output) == [
        'mail_gateway_egress_address of gw1 is "10.10.0.31", which is the address of the older server old1; write the '
        "gateway's own."
    ]


def test_a_slice_of_an_awx_job_is_refused(tmp_path: Path) -> None:
    """By the number of slices, and by the workflow of the template's own name that AWX makes of them."""
    sentence = (
        "This run is a slice of an AWX job, which sees a part of the hosts, and the others would be taken for removed;"
    )
    for variables in (
        {"awx_job_slice_count": 2},
        {"tower_job_slice_count": "2"},
        {"awx_workflow_job_name": "gateways", "awx_job_template_name": "gateways", "awx_workflow_job_id": 7},
    ):
        status, output = run("-i", site(tmp_path), "-e", json.dumps(variables))
        assert status == 2
        (found,) = said(output)
        assert found.startswith(sentence)
    whole = {"awx_job_slice_count": 1, "awx_workflow_job_name": "change", "awx_job_template_name": "gateways"}
    status, output = run("-i", site(tmp_path), "-e", json.dumps(whole))
    assert status == 0, output


@pytest.mark.parametrize(
    ("playbook", "given", "sentences"),
    [
        ("drain", ["drain_sate=ready"], ["drain_sate isn't a parameter of the playbook drain; did you mean drain_state?"]),
        (
            "drain",
            ["drain_state=raedy", "drain_wait=soon"],
            [
                'drain_state is "raedy", but must be drained or ready; did you mean ready?',
                'drain_wait is "soon", but must be a whole number.',
            ],
        ),
        ("drain", ["drain_wait=-1"], ['drain_wait is "-1", but must be a whole number.']),
        (
            "drain",
            ["drain_bcefghjklm=true"],
            ["drain_bcefghjklm isn't a parameter of the playbook drain; its parameters are drain_server, drain_state and drain_wait."],
        ),
        ("renew", ["renew_names=www"], ["renew_names isn't a parameter of the playbook renew; it has none."]),
        ("gateway", ["drain_satte=ready"], ["drain_satte isn't known; did you mean drain_state?"]),
        ("gateway", ["mail_gateway_remvoed=ex2"], None),
    ],
)  # fmt: skip
def test_parameters_of_playbooks_are_checked(
    playbook: str, given: list[str], sentences: list[str] | None, tmp_path: Path
) -> None:
    more = [word for one in given for word in ("-e", one)]
    status, output = run("-i", site(tmp_path), *more, playbook=str(ROOT / "playbooks" / f"{playbook}.yml"))
    assert status == 2
    if sentences is None:
        assert said(output)[0] == "mail_gateway_remvoed of ex1 isn't known; did you mean mail_gateway_removed?"
    else:
        assert said(output) == sentences
    assert "UNREACHABLE" not in output


def test_an_empty_parameter_is_not_given(tmp_path: Path) -> None:
    """As a survey leaves one that nobody filled in."""
    empty = ["-e", "drain_server=", "-e", '{"drain_wait": "", "drain_state": null}']
    status, output = run("-i", site(tmp_path), *empty, playbook=str(ROOT / "playbooks" / "drain.yml"))
    assert status != 0
    assert "drain_server isn't set; name the server to drain, as in: -e drain_server=ex1" in " ".join(output.split())


def test_what_is_named_as_removed_is_gone(tmp_path: Path) -> None:
    """Else it could leave another time, unseen."""
    status, output = run("-i", site(tmp_path), "-e", "mail_gateway_removed=ex2,10.10.0.12")
    assert status == 0, output
    status, output = run("-i", site(tmp_path), "-e", '{"mail_gateway_removed": ["ex1", "10.10.0.21"]}')
    assert status == 2
    assert said(output) == [
        'mail_gateway_removed has "ex1", which is in the inventory; take it out of one of the two.',
        'mail_gateway_removed has "10.10.0.21", which ex1 has; take it out of one of the two.',
    ]
