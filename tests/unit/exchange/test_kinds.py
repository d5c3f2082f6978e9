"""A kind is named once, in its entry: whatever else has to name it is held against the entries here."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.postern.mail_gateway.plugins.action.exchange_configuration import ARGUMENTS
from ansible_collections.postern.mail_gateway.plugins.modules.exchange_configuration import DOCUMENTATION
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange import scripts
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.concepts import Kind
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.kinds import KINDS

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles" / "exchange"
LOGIC = [
    *sorted((ROOT / "plugins" / "plugin_utils" / "exchange").rglob("*.py")),
    ROOT / "plugins" / "action" / "exchange_configuration.py",
]


def shape(options: dict[str, Any], words: tuple[str, ...], below: str) -> dict[str, Any]:
    """What options are, as far as these words say it; ``below`` is the word for the options of an option."""
    found = {}
    for name, option in options.items():
        said = {word: option[word] for word in words if option.get(word) is not None}
        if option.get(below):
            said["options"] = shape(option[below], words, below)
        found[name] = said
    return found


TYPES = ("type", "elements", "choices", "required")


def test_the_modules_documentation_says_what_the_action_takes() -> None:
    words = (*TYPES, "default")
    documented = shape(yaml.safe_load(DOCUMENTATION)["options"], words, "suboptions")
    assert documented == shape(ARGUMENTS, words, "options")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.variable)
def test_the_roles_specification_says_what_the_kind_takes(kind: Kind) -> None:
    specification = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())
    option = {kind.variable: specification["argument_specs"]["main"]["options"][kind.variable]}
    assert shape(option, TYPES, "options") == shape({kind.variable: kind.specification()}, TYPES, "options")


def test_the_role_hands_on_every_argument_under_its_own_name() -> None:
    ((task,),) = [[task] for task in yaml.safe_load((ROLE / "tasks" / "main.yml").read_text())]
    handed_on = task["postern.mail_gateway.exchange_configuration"]
    assert set(handed_on) == set(ARGUMENTS)
    for name, value in handed_on.items():
        assert re.fullmatch(rf"\{{\{{ exchange_{name}( or omit)? \}}\}}", value), name


def test_the_scripts_run_the_cmdlets_of_the_kinds_and_those_that_the_engine_needs() -> None:
    listed = re.search(r"^\$ExchangeCommands = @\((.*?)^\)", scripts.read("engine.ps1"), re.MULTILINE | re.DOTALL)
    assert listed
    engine = {"Get-ExchangeServer", "Get-ExchangeDiagnosticInfo", "Get-ExchangeCertificate"}
    engine |= {f"{verb}-ServerComponentState" for verb in ("Get", "Set")}
    named = re.findall(r"'(\w+-\w+)'", listed[1])
    assert sorted(named) == sorted({name for kind in KINDS for call in kind.calls for name in call.names} | engine)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node


@pytest.mark.parametrize("path", LOGIC, ids=lambda path: path.stem)
def test_what_is_read_at_once_is_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    long = [node.name for node in functions(ast.parse(text)) if (node.end_lineno or 0) - node.lineno >= 60]
    assert long == []
