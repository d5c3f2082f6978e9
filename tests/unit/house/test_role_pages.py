"""Each role has a page made from its specification, with an example that the specification takes."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from tools.role_pages import page, roles, specification


def folders(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "roles").iterdir() if path.is_dir())


def test_every_role_has_a_specification(root: Path) -> None:
    assert roles() == folders(root)


@pytest.mark.parametrize("role", roles())
def test_page_is_what_the_specification_says(root: Path, role: str) -> None:
    readme = root / "roles" / role / "README.md"
    assert readme.is_file(), f"Role {role} has no README.md, without which Galaxy refuses the archive."
    assert readme.read_text() == page(role), f"roles/{role}/README.md is stale: run `python tests/tools/role_pages.py`."


def refusals(role: str, variables: dict[str, Any]) -> list[str]:
    """What Ansible says of a role's variables."""
    options = specification(role)["options"]
    unknown = [f"{name} isn't a variable of the role." for name in variables.keys() - options.keys()]
    return unknown + list(ArgumentSpecValidator(options).validate(variables).error_messages)


@pytest.mark.parametrize("role", roles())
def test_example_is_one_that_the_role_takes(role: str) -> None:
    (play,) = yaml.safe_load(specification(role)["examples"])
    (used,) = play["roles"]
    assert used["role"] == f"postern.mail_gateway.{role}"
    assert not refusals(role, used["vars"])


def test_bad_example_is_found() -> None:
    assert refusals("sshd", {"sshd_port": 22})
    assert refusals("sshd", {"sshd_authorized_keys": [{"user": "anna"}]})
