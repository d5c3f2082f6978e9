"""The filter gateway_variables: what it reads, and how it fails."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from tools.declared import DECLARATION, GROUPS, HOSTS, declared, derive_gateway

from ansible_collections.postern.mail_gateway.plugins.filter.gateway_variables import EXAMPLES, gateway_variables

ROOT = Path(__file__).resolve().parents[3]


class Watched(Mapping[str, Any]):
    """A host's variables of which only some may be read; as with Ansible's, reading one may have a price."""

    def __init__(self, variables: dict[str, Any]) -> None:
        self.variables = {**variables, "a_secret": "{{ undefined }}"}

    def __getitem__(self, name: str) -> Any:
        assert name.startswith("mail_gateway_") or name in ("ansible_host", "ansible_port"), f"{name} was read."
        return self.variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.variables)

    def __len__(self) -> int:
        return len(self.variables)


class Hosts(Mapping[str, Any]):
    """The magic variable hostvars, which knows which hosts were asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Watched:
        self.asked.add(name)
        return Watched(HOSTS[name])

    def __iter__(self) -> Iterator[str]:
        return iter(HOSTS)

    def __len__(self) -> int:
        return len(HOSTS)


def test_it_derives_and_reads_no_more_than_it_needs() -> None:
    hosts = Hosts()
    declaration, inventory = declared()
    assert gateway_variables(DECLARATION, "gw2", GROUPS, hosts) == derive_gateway(declaration, "gw2", inventory)
    assert hosts.asked == {"gw2", "ex1", "ex2"}


def test_it_fails_with_every_sentence() -> None:
    declaration, _ = declared({"hostname": "mail", "certificate.file": "/none.pem"})
    with pytest.raises(AnsibleFilterError) as caught:
        gateway_variables(declaration, "gw1", GROUPS, Hosts())
    assert str(caught.value).splitlines() == [
        'mail_gateway.hostname is "mail", but must be a full name such as mail.example.com, with a domain.',
        'mail_gateway.certificate.file is "/none.pem", but there is no such file on the controller.',
    ]


def test_a_template_that_fails_is_a_sentence() -> None:
    class Broken(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            raise KeyError("'site_domain' is undefined")

    with pytest.raises(AnsibleFilterError, match=r"^The declaration can't be evaluated: 'site_domain' is undefined\.$"):
        gateway_variables(Broken(hostname="x"), "gw1", GROUPS, Hosts())


def test_the_documented_example_runs(tmp_path: Path) -> None:
    plays = yaml.safe_load(EXAMPLES)
    plays[0]["gather_facts"] = False
    (tmp_path / "play.yml").write_text(yaml.safe_dump(plays))
    result = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i",
            str(ROOT / "inventory" / "example"),
            str(tmp_path / "play.yml"),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count('"msg": "10.10.0.21"') == 2
