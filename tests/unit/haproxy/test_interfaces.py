"""What the role takes fits what its modules take, and the modules take what they document."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFileNotFound
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ansible_collections.postern.mail_gateway.plugins.action.haproxy_configuration import ActionModule
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.schema import TCP_SERVICES

PACKAGE = "ansible_collections.postern.mail_gateway.plugins.modules"
MODULES = ["haproxy_configuration", "haproxy_server", "source_addresses"]
ROLE = Path(__file__).resolve().parents[3] / "roles" / "haproxy"
OPTIONS = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]


class Captured(BaseException):
    """The module has said what it takes."""


def taken(name: str) -> dict[str, Any]:
    """The argument specification that a module gives to Ansible."""
    module = import_module(f"{PACKAGE}.{name}")

    def capture(**options: Any) -> None:
        assert options["supports_check_mode"] is True
        raise Captured(options["argument_spec"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AnsibleModule", capture)
        with pytest.raises(Captured) as captured:
            module.main()
    return dict(captured.value.args[0])


def comparable(options: Mapping[str, Any], inner: str) -> dict[str, Any]:
    """What both the documentation and the code say of options: everything but the words."""
    return {
        name: {
            "type": option.get("type", "str"),
            "required": option.get("required", False),
            "default": option.get("default"),
            "elements": option.get("elements"),
            "choices": option.get("choices"),
            "options": comparable(option.get(inner, {}), inner),
        }
        for name, option in options.items()
    }


@pytest.mark.parametrize("name", MODULES)
def test_modules_take_what_they_document(name: str) -> None:
    documented = yaml.safe_load(import_module(f"{PACKAGE}.{name}").DOCUMENTATION)
    assert documented["module"] == name
    assert comparable(documented["options"], "suboptions") == comparable(taken(name), "options")


def test_certificate_of_the_role_is_one_of_the_module() -> None:
    role = comparable(OPTIONS["haproxy_certificates"]["options"], "options")
    module = comparable(taken("haproxy_configuration")["certificates"]["options"], "options")
    # A path of the controller, where the module's own are paths of the host.
    assert (role["file"].pop("type"), module["file"].pop("type")) == ("path", "str")
    assert role == module


def test_secrets_stay_out_of_the_log() -> None:
    """Only a whole option is left out reliably of what Ansible writes into the host's log."""
    spec = taken("haproxy_configuration")
    assert spec["pems"]["no_log"] is True
    assert "pem" not in spec["certificates"]["options"]


def test_files_of_the_role_are_ones_of_the_module() -> None:
    variables = yaml.safe_load((ROLE / "vars/main.yml").read_text())
    files = [file for name, files in variables.items() if name.startswith("haproxy_files_") for file in files]
    checked = ArgumentSpecValidator(taken("haproxy_configuration")).validate({"files": files})
    assert checked.error_messages == []
    assert len({file["path"] for file in files}) == len(files)


def test_a_check_is_one_of_the_table() -> None:
    checks = yaml.safe_load((ROLE / "vars/main.yml").read_text())["haproxy_checks"]
    assert OPTIONS["haproxy_tcp_services"]["options"]["check"]["choices"] == list(checks)
    assert {service.check for service in TCP_SERVICES} == set(checks)


# --- the action plugin ------------------------------------------------------------------------------------------------


def run(arguments: dict[str, Any], files: Mapping[str, Path]) -> dict[str, Any]:
    """Run the action plugin; its result, or the arguments that the module gets below ``module``."""
    plugin = ActionModule.__new__(ActionModule)
    plugin._task = SimpleNamespace(args=arguments)

    def find(_folder: str, name: str) -> str:
        if name not in files:
            raise AnsibleFileNotFound(f"Could not find or access '{name}'\nSearched in:\n\t…")
        return str(files[name])

    opened: list[str] = []
    plugin._find_needle = find
    plugin._loader = SimpleNamespace(
        get_real_file=lambda name, decrypt: opened.append(name) or name, cleanup_tmp_file=opened.remove
    )
    plugin._execute_module = lambda module_args, task_vars: {"module": module_args}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ActionBase, "run", lambda *_: {})
        result = plugin.run(task_vars={})
    assert opened == [], "a decrypted copy has been left"
    return result


def test_certificate_file_is_read_on_the_controller(tmp_path: Path) -> None:
    (tmp_path / "mail.pem").write_text("the key\n")
    certificates = [
        {"name": "mail", "names": ["a"], "file": "mail.pem"},
        {"name": "acme", "names": ["b"], "file": ""},
        {"name": "other", "names": ["c"]},
    ]
    arguments = {"files": [], "certificates": certificates}
    result = run(arguments, {"mail.pem": tmp_path / "mail.pem"})
    assert result["module"] == {"files": [], "certificates": certificates, "pems": {"mail": "the key\n"}}
    assert "pems" not in arguments, "the task's own arguments have been changed"
    assert run({"files": []}, {})["module"] == {"files": [], "pems": {}}


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "Could not find or access 'mail.pem'"),
        ("folder", "Is a directory"),
        ("binary", "invalid start byte"),
    ],
)
def test_certificate_file_that_cannot_be_read_is_said(tmp_path: Path, kind: str, reason: str) -> None:
    path = tmp_path / "mail.pem"
    if kind == "folder":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(b"\x80\x02")
    entries = [{"name": "acme", "names": ["b"]}, {"name": "mail", "names": ["a"], "file": "mail.pem"}]
    result = run({"certificates": entries}, {} if kind == "missing" else {"mail.pem": path})
    assert result["failed"]
    assert result["msg"].startswith("haproxy_certificates[1].file 'mail.pem' can't be read on the controller (")
    assert reason in result["msg"]
    assert "\n" not in result["msg"]
    assert result["msg"].endswith("nothing was changed, give a readable PEM file with key, certificate and chain.")
