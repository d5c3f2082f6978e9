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
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.actual import Object, Server
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.concepts import (
    Call,
    Effect,
    Kind,
    Mark,
    Property,
    WindowsKind,
)
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.desired import DesiredObject
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.kinds import KINDS, WINDOWS
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.objects import plan_objects
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.operations import Operation, Phase, Plan
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.values import (
    BOOLEAN,
    INTEGER,
    NAMES,
    TEXT,
    read_wanted,
)

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


@pytest.mark.parametrize("kind", [*KINDS, *WINDOWS], ids=lambda kind: kind.variable)
def test_the_roles_specification_says_what_the_kind_takes(kind: Kind | WindowsKind) -> None:
    specification = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())
    option = {kind.variable: specification["argument_specs"]["main"]["options"][kind.variable]}
    assert shape(option, TYPES, "options") == shape({kind.variable: kind.specification()}, TYPES, "options")


def test_the_role_hands_on_every_argument_under_its_own_name() -> None:
    ((task,),) = [[task] for task in yaml.safe_load((ROLE / "tasks" / "main.yml").read_text())]
    handed_on = task["postern.mail_gateway.exchange_configuration"]
    assert set(handed_on) == set(ARGUMENTS)
    for name, value in handed_on.items():
        assert re.fullmatch(rf"\{{\{{ exchange_{name}( or omit)? \}}\}}", value), name


def commands(name: str) -> list[str]:
    """A list of commands that the scripts run."""
    found = re.search(rf"^\${name} = @\((.*?)^\)", scripts.read("engine.ps1"), re.MULTILINE | re.DOTALL)
    assert found
    return sorted(re.findall(r"'(\w+-\w+)'", found[1]))


def test_the_scripts_run_the_cmdlets_of_the_kinds_and_those_that_the_engine_needs() -> None:
    engine = {"Get-ExchangeServer", "Get-ExchangeDiagnosticInfo", "Get-ExchangeCertificate"}
    engine |= {f"{verb}-ServerComponentState" for verb in ("Get", "Set")}
    assert commands("ExchangeCommands") == sorted(
        {name for kind in KINDS for call in kind.calls for name in call.names} | engine
    )

    engine = {f"{verb}-Service" for verb in ("Get", "Set", "Start", "Stop")} | {"Get-HostAddress"}
    assert commands("WindowsCommands") == sorted({call.name for kind in WINDOWS for call in kind.calls} | engine)


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


# --- a kind that is nothing but an entry ------------------------------------------------------------------------------

MADE_UP = Kind(
    variable="exchange_pigeonholes",
    title="pigeonhole",
    shared=True,
    key="Name",
    get=Call("Get-Pigeonhole"),
    new=Call("New-Pigeonhole", always=(("Wood", "oak"),)),
    set=Call("Set-Pigeonhole", by="Identity", former=("Set-Dovecote", "2016")),
    remove=Call("Remove-Pigeonhole", by="Identity"),
    mark=Mark("Notes", added_to="Tenants"),
    needed=("Tenants",),
    shown=("Tenants",),
    properties=(
        Property("Notes", TEXT),
        Property("Tenants", NAMES),
        Property("Rows", INTEGER, "2016", first=3),
        Property("Lid", BOOLEAN, new=False),
    ),
    effects=(Effect(of=("Rows",), warning="The pigeons must be told."),),
)


def planned(desired: list[DesiredObject], *there: Object, version: str = "2019") -> tuple[Plan, list[str]]:
    problems: list[str] = []
    plan = Plan()
    server = Server("EX1", "ex1.example.com", version, objects={MADE_UP.variable: there})
    plan_objects(MADE_UP, desired, server, plan, problems)
    return plan, problems


def hole(name: str, present: bool = True, **properties: Any) -> DesiredObject:
    wanted = {key: read_wanted(MADE_UP.entry(key).type, value) for key, value in properties.items()}
    return DesiredObject(MADE_UP, "exchange_pigeonholes[0]", wanted, name, present=present)


def sent(plan: Plan) -> list[tuple[str, dict[str, Any]]]:
    return [(operation.command, dict(operation.parameters)) for operation in plan.operations]


OURS = Object("A", "A", {"Name": "A", "Notes": "[postern.mail_gateway]", "Tenants": ["x"], "Rows": 3, "Lid": False})
OTHERS = Object("B", "B", {"Name": "B", "Notes": "", "Tenants": ["x"], "Rows": 3, "Lid": False})


def test_an_entry_alone_is_created_marked_and_removed() -> None:
    plan, problems = planned([hole("C", Tenants=["y"], Lid=True)], OURS, OTHERS)
    assert problems == []
    made = {"Name": "C", "Wood": "oak", "Tenants": ["y"], "Notes": "[postern.mail_gateway]", "Rows": 3}
    assert sent(plan) == [
        ("Remove-Pigeonhole", {"Identity": "A", "Confirm": False}),
        ("New-Pigeonhole", {**made, "Confirm": False}),
        ("Set-Pigeonhole", {"Identity": "C", "Lid": True, "Confirm": False}),
    ]
    assert plan.diff()["before"] == "pigeonhole A\n  Tenants: x\n"


def test_an_entry_alone_is_changed_and_what_was_added_to_others_is_remembered() -> None:
    plan, problems = planned([hole("B", Tenants={"add": ["y"]}, Rows=4)], OTHERS, version="2013")
    changed = {"Identity": "B", "Tenants": ["x", "y"], "Rows": 4, "Notes": "[postern.mail_gateway added y]"}
    assert problems == []
    assert sent(plan) == [("Set-Dovecote", {**changed, "Confirm": False})]
    assert plan.warnings == ["The pigeons must be told."]
    shown = Object("B", "B", {**OTHERS.raw, "Tenants": ["x", "y"], "Notes": "[postern.mail_gateway added y]"})
    assert sent(planned([], shown)[0]) == [
        ("Set-Pigeonhole", {"Identity": "B", "Tenants": ["x"], "Notes": "", "Confirm": False})
    ]


def test_an_entry_alone_is_refused_what_a_new_object_needs() -> None:
    _unused, problems = planned([hole("C", Lid=True)])
    assert problems == [
        (
            "exchange_pigeonholes[0].properties has no Tenants, which a new pigeonhole needs, and EX1 has no "
            "pigeonhole 'C' yet; add what is missing."
        )
    ]


def test_operations_of_a_kind_have_their_turn_by_phase() -> None:
    phases = list(Phase)
    plan = Plan()
    plan.add(Operation("X", {}, phase.name, phase=phase) for phase in reversed(phases))
    assert [operation.phase for operation in plan.operations] == sorted(phases)
