"""The role's files as its task has them rendered, with plain Jinja, which is quicker than Ansible by far."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import yaml
from ansible.plugins.filter.core import FilterModule

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.roles.reading import ROLES, read_variables

Variables = dict[str, Any]
# Relative path → content.
Files = dict[str, str]

ROLE = Path(__file__).resolve().parents[3] / "roles" / "haproxy"
COMPUTED: Variables = yaml.safe_load((ROLE / "vars/main.yml").read_text())
DEFAULTS: Variables = yaml.safe_load((ROLE / "defaults/main.yml").read_text())


@cache
def environment() -> jinja2.Environment:
    """Jinja as Ansible's template lookup has it."""
    made = jinja2.Environment(  # noqa: S701 (no HTML)
        loader=jinja2.FileSystemLoader(ROLE / "templates"),
        auto_reload=False,
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    for name, function in FilterModule().filters().items():
        made.filters[f"ansible.builtin.{name}"] = function
    return made


@cache
def template(text: str) -> jinja2.Template:
    return environment().from_string(text)


@cache
def expression(text: str) -> Callable[..., Any]:
    return environment().compile_expression(text.removeprefix("{{").removesuffix("}}"))


def rendered(value: Any, values: Variables) -> Any:
    """A variable of the role with the templates in it evaluated, as Ansible does it."""
    if isinstance(value, dict):
        return {key: rendered(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [rendered(item, values) for item in value]
    return template(value).render(values) if isinstance(value, str) else value


def sound(variables: Variables) -> Variables:
    """The variables as the role's first task reads them."""
    found, problems = read_variables(ROLES["haproxy"], {**DEFAULTS, **variables})
    assert problems == []
    return found


def render(variables: Variables) -> Files:
    """Return the files that the role hands to the module, without the certificates."""
    values = sound(variables)
    values["haproxy_sound"] = dict(values)

    def lookup(kind: str, name: str, *, rstrip: bool = True, template_vars: Variables | None = None) -> str:
        if kind == "ansible.builtin.template":
            assert template_vars == values["haproxy_sound"]
            return environment().get_template(name).render(values)
        assert (kind, rstrip) == ("ansible.builtin.file", False)
        return Path(name).read_text()

    values["haproxy_checks"] = rendered(COMPUTED["haproxy_checks"], values)
    files = expression(COMPUTED["haproxy_files"])(**{**COMPUTED, **values})
    return {file["path"]: template(file["content"]).render(**values, lookup=lookup) for file in files}
