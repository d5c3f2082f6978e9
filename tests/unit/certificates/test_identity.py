"""Who the gateways are, asked by a play, where one of them is down; in check mode, so that nothing is made here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleConnectionFailure
from certificate_host import free_port

from ansible_collections.postern.mail_gateway.plugins.action.letsencrypt_identity import ActionModule

HERE = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}


def asked(tmp_path: Path, **gateways: dict[str, Any]) -> tuple[int, str, list[dict[str, Any]]]:
    """Run the role's tasks on gw1 alone: the exit status, what was printed on one line, and what was learnt."""
    inventory, playbook, learnt = tmp_path / "hosts.yml", tmp_path / "play.yml", tmp_path / "learnt.json"
    inventory.write_text(yaml.safe_dump({"gateways": {"hosts": gateways}}))
    playbook.write_text(
        yaml.safe_dump([{
            "hosts": "gateways",
            "gather_facts": False,
            "any_errors_fatal": True,
            "tasks": [
                {
                    "ansible.builtin.import_role": {
                        "name": "postern.mail_gateway.letsencrypt", "tasks_from": "identity",
                    },
                    "vars": {"letsencrypt_gateways": sorted(gateways)},
                },
                {
                    "ansible.builtin.copy": {
                        "content": "{{ letsencrypt_identities.results | to_json }}", "dest": str(learnt),
                        "mode": "0600",
                    },
                    "check_mode": False,
                },
            ],
        }])
    )  # fmt: skip
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), "--check", "--limit", "gw1",
         str(playbook)],
        check=False, capture_output=True, text=True, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, timeout=120,
    )  # fmt: skip
    output = re.sub(r"\s+", " ", done.stdout + done.stderr)
    return done.returncode, output, json.loads(learnt.read_text()) if learnt.exists() else []


def test_one_that_is_down_is_a_warning_and_the_others_are_known(tmp_path: Path) -> None:
    down = {"ansible_host": "127.0.0.1", "ansible_port": free_port(), "ansible_connection": "ssh"}
    status, output, learnt = asked(tmp_path, gw1=HERE, gw2=down, gw3=HERE)
    assert status == 0, output
    said = re.findall(r"gw2 can't be asked who it is \([^)]*Connection refused\); the other gateways keep", output)
    assert len(said) == 1, output
    assert "run this again when it is well." in output
    assert "UNREACHABLE" not in output
    assert [(one["item"], sorted(one["identity"])) for one in learnt] == [
        ("gw1", ["host_keys", "peers", "public_key"]), ("gw2", []), ("gw3", ["host_keys", "peers", "public_key"]),
    ]  # fmt: skip


def test_the_host_of_the_play_can_not_be_down(tmp_path: Path) -> None:
    down = {"ansible_host": "127.0.0.1", "ansible_port": free_port(), "ansible_connection": "ssh"}
    status, output, learnt = asked(tmp_path, gw1=down, gw2=HERE)
    assert (status, learnt) == (4, [])
    assert "gw1 can't be asked" not in output
    assert "UNREACHABLE" in output


class Task:
    def __init__(self, **arguments: Any) -> None:
        self.args = arguments


class Action(ActionModule):
    """The action, on a host that gives this answer or raises it."""

    def __init__(self, answer: Any, **arguments: Any) -> None:
        self._task = Task(**arguments)
        self.answer = answer

    def _execute_module(self, **_: Any) -> dict[str, Any]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return dict(self.answer)


@pytest.fixture(autouse=True)
def no_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda *_: {})


def test_one_that_is_ill_is_like_one_that_is_down() -> None:
    ill = {"failed": True, "msg": "Missing sudo password"}
    done = Action(ill, host="gw2").run(None, {"inventory_hostname": "gw1"})
    assert (done.get("failed"), done["changed"], done["identity"]) == (None, False, {})
    (sentence,) = done["warnings"]
    assert sentence.startswith("gw2 can't be asked who it is (Missing sudo password); the other gateways keep what")
    # Its own run says so.
    assert Action(ill, host="gw2").run(None, {"inventory_hostname": "gw2"}) == ill


def test_nothing_else_is_forgiven() -> None:
    action = Action(AnsibleConnectionFailure("down"), host="gw2")
    with pytest.raises(AnsibleConnectionFailure):
        action.run(None, {"inventory_hostname": "gw2"})
