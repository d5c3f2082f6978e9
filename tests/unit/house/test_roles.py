"""Roles say what they take, name their variables after themselves, and call modules by their full names."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.playbook.block import Block
from ansible.playbook.task import Task

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
TASK_KEYWORDS = set(Task.fattributes) | set(Block.fattributes) | {"local_action"}
NOTHING = object()


class Loader(yaml.SafeLoader):
    """Plain YAML, in which Ansible's own tags (`!vault`, `!unsafe`) stand for the text they carry."""


Loader.add_multi_constructor("!", lambda loader, _suffix, node: loader.construct_scalar(node))


def load(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader) if path.is_file() else None  # noqa: S506 (Loader is a SafeLoader)


def difference_of_defaults(spec: dict[str, Any], defaults: dict[str, Any]) -> Iterator[str]:
    """Say, a sentence each, which variables an argument specification and the defaults don't agree about."""
    for name in sorted(spec.keys() | defaults.keys()):
        if name not in spec:
            yield f"{name} has a default but isn't in meta/argument_specs.yml: describe it there, or remove it."
            continue
        said = spec[name].get("default", NOTHING)
        done = defaults.get(name, NOTHING)
        if spec[name].get("required"):
            if said is not NOTHING or done is not NOTHING:
                yield f"{name} is required and has a default: one of the two is wrong."
        elif said is NOTHING or done is NOTHING:
            missing = "meta/argument_specs.yml" if said is NOTHING else "defaults/main.yml"
            yield f"{name} isn't required and has no default in {missing}."
        elif json.dumps(said, sort_keys=True) != json.dumps(done, sort_keys=True):
            yield f"{name}: meta/argument_specs.yml says {said!r}, defaults/main.yml says {done!r}."


def variables(role: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of a role's argument specification, and its defaults."""
    spec = load(role / "meta" / "argument_specs.yml")
    assert spec, f"{role.name} has no meta/argument_specs.yml."
    return spec["argument_specs"]["main"].get("options", {}), load(role / "defaults" / "main.yml") or {}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_specification_and_defaults_agree(role: Path) -> None:
    differences = list(difference_of_defaults(*variables(role)))
    assert not differences, "\n".join([f"Role {role.name}:", *differences])


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_everything_that_a_role_takes_is_described(role: Path) -> None:
    def undescribed(options: dict[str, Any], path: str) -> Iterator[str]:
        for name, option in options.items():
            if not option.get("description") or not option.get("type"):
                yield path + name
            if option.get("type") == "list" and not option.get("elements"):
                yield f"{path}{name} (elements)"
            yield from undescribed(option.get("options", {}), f"{path}{name}.")

    found = list(undescribed(variables(role)[0], ""))
    assert not found, f"Role {role.name}, without a description or a type: {', '.join(found)}."


def tasks(content: Any) -> Iterator[dict[str, Any]]:
    """Every task below a play, a list of tasks or a block."""
    if isinstance(content, list):
        for item in content:
            yield from tasks(item)
    elif isinstance(content, dict):
        lists = ("pre_tasks", "roles", "tasks", "post_tasks", "handlers", "block", "rescue", "always")
        if "hosts" not in content and "import_playbook" not in content and "block" not in content:
            yield content
        for name in lists:
            if name != "roles" and isinstance(content.get(name), list):
                yield from tasks(content[name])


def task_files() -> list[Path]:
    patterns = ("roles/*/tasks/**/*.yml", "roles/*/handlers/**/*.yml", "playbooks/**/*.yml", "molecule/**/*.yml")
    found = (path for pattern in patterns for path in ROOT.glob(pattern))
    # Variables and scenario settings are mappings; tasks and plays are lists.
    return sorted(path for path in found if isinstance(load(path), list))


def actions(task: dict[str, Any]) -> list[str]:
    """What a task calls: the keys that Ansible doesn't know as keywords."""
    return [key for key in task if key not in TASK_KEYWORDS and not key.startswith("with_")]


@pytest.mark.parametrize("path", task_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_tasks_call_by_full_name_and_hide_no_error(path: Path) -> None:
    found = []
    for task in tasks(load(path)):
        name = task.get("name", task)
        found += [
            f"{name!r} ignores failures ({key})." for key in ("ignore_errors", "ignore_unreachable") if key in task
        ]
        for action in actions(task):
            if action.count(".") < 2:
                found.append(f"{name!r} calls {action!r}: write the full name.")
            elif action in ("ansible.builtin.shell", "ansible.builtin.raw"):
                found.append(f"{name!r} runs a shell: use ansible.builtin.command with argv, or a module.")
    assert not found, "\n".join([f"{path.relative_to(ROOT)}:", *found])


def named_variables(role: Path) -> Iterator[tuple[str, str]]:
    """Every variable that a role defines, with the place where it does."""
    for folder in ("defaults", "vars"):
        for path in sorted((role / folder).glob("**/*.yml")):
            yield from ((name, f"{folder}/{path.name}") for name in load(path) or {})
    for folder in ("tasks", "handlers"):
        for path in sorted((role / folder).glob("**/*.yml")):
            for task in tasks(load(path)):
                where = f"{folder}/{path.name}"
                yield from ((name, where) for name in task.get("vars", {}))
                yield from ((name, where) for name in task.get("ansible.builtin.set_fact", {}) if name != "cacheable")
                if "register" in task:
                    yield task["register"], where
                if "loop_var" in task.get("loop_control", {}):
                    yield task["loop_control"]["loop_var"], where


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_variables_of_a_role_carry_its_name(role: Path) -> None:
    # ansible_port is Ansible's: a host whose port a role moved is reached over the new one from then on.
    prefixes = (f"{role.name}_", f"__{role.name}_", f"_{role.name}_", "ansible_port")
    found = [f"{name} ({where})" for name, where in named_variables(role) if not name.startswith(prefixes)]
    assert not found, f"Role {role.name} defines {', '.join(found)}: begin the name with {role.name}_."


def test_there_are_roles_and_tasks_to_look_at() -> None:
    assert ROLES
    assert sum(len(list(tasks(load(path)))) for path in task_files()) > len(ROLES)


@pytest.mark.parametrize(
    ("spec", "defaults", "sentence"),
    [
        ({}, {"a_x": 1}, "a_x has a default but isn't in"),
        ({"a_x": {"type": "int", "default": 1}}, {"a_x": 2}, "a_x: meta/argument_specs.yml says 1"),
        ({"a_x": {"type": "int", "default": 1}}, {"a_x": True}, "a_x: meta/argument_specs.yml says 1"),
        ({"a_x": {"type": "int", "default": 1}}, {}, "has no default in defaults/main.yml"),
        ({"a_x": {"type": "int"}}, {"a_x": 1}, "has no default in meta/argument_specs.yml"),
        ({"a_x": {"type": "int", "required": True}}, {"a_x": 1}, "a_x is required and has a default"),
    ],
)
def test_differences_are_found(spec: dict[str, Any], defaults: dict[str, Any], sentence: str) -> None:
    assert [text for text in difference_of_defaults(spec, defaults) if sentence in text]
