"""Write docs/declaration.md from the schema: ``python tests/tools/declaration_page.py``.

A test compares the page with what this makes of the schema, so that neither can change without the other.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "declaration.md"
COLLECTIONS = ROOT / ".cache" / "collections"

INTRODUCTION = """\
<!-- Made from the schema by tests/tools/declaration_page.py: change plugins/plugin_utils/declaration/schema.py. -->

# The declaration

One variable, `mail_gateway`, says what the gateways of a site publish, for whom, and which servers are behind them. It
stands in the inventory, in the variables of the group `all`, or of a group for each site where one inventory has
several. Whatever else is configured is derived from it and from a few host variables.

`ansible-playbook -i INVENTORY postern.mail_gateway.preflight` says everything that is wrong with it, each thing in one
sentence, and touches no host. The other playbooks begin with the same check. A whole site with comments is in
[inventory/example](../inventory/example).

The smallest declaration is

```yaml
mail_gateway:
  hostname: mail.example.com
  domains: [example.com]
  admin_networks: [198.51.100.0/24]
```

and with every key, some at their defaults, it looks like this:
"""

NOTATION = """\
## Keys

*Network* is an IPv4 or IPv6 network in CIDR notation, or one address. *Address* is one address that other hosts can
reach. *Name* is a full host name in ASCII (a name with other letters is written in punycode); upper and lower case are
the same. *File* is an absolute path on the controller, such as `"{{ inventory_dir }}/files/mail.pem"`. The order of
entries makes no difference anywhere. A key without a value (`null`) isn't given. A text is taken for a number or a
switch where it can't mean anything else (`"8404"`, `"yes"`), as INI inventories, `-e name=value` and surveys have it.
"""

HOST_VARIABLES = """\
## Host variables

What differs from host to host stands with the host.
"""

RULES = """\
## What is checked

Besides every value by itself:
"""

PLURALS = {
    "name": "names",
    "certificate name": "certificate names",
    "address": "addresses",
    "network": "networks",
    "dictionary": "dictionaries",
    "public key": "public keys",
    "server": "servers",
}
FIRST_VERSION = "0.1.0"


def kind(option: Any) -> str:
    """The option's type as the page names it."""
    choices = ", ".join(f"`{choice}`" for choice in option.choices)
    if option.elements is not None:
        return f"list of {PLURALS.get(option.elements.type) or kind(option.elements).removeprefix('one of ')}"
    if choices:
        return f"one of {choices}" if len(option.choices) > 1 else choices
    if option.minimum is not None:
        return f"{option.type}, {option.minimum} to {option.maximum}"
    return str(option.type)


def default(option: Any) -> str:
    if option.required:
        return "**required**"
    if option.options and option.elements is None and option.type == "dictionary":
        return "the defaults of its keys"
    if option.default_text:
        return str(option.default_text)
    if option.default in (None, ""):
        return "empty"
    value = list(option.default) if isinstance(option.default, tuple) else option.default
    return f"`{plain(value)}`"


def plain(value: Any) -> str:
    """The value in YAML, on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()


def table(options: Any, column: str = "Key") -> list[str]:
    lines = [f"| {column} | Type | Default | Meaning |", "|---|---|---|---|"]
    for option in options:
        since = "" if option.since == FIRST_VERSION else f" Since {option.since}."
        cells = [f"`{option.name}`", kind(option), default(option), option.description + since]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def sections(option: Any, path: str) -> list[str]:
    """A table for the dictionary, and one for each dictionary in it."""
    lines = [f"### `{path}`", "", option.description, "", *table(option.options)]
    for key in option.options:
        if key.options:
            lines += sections(key, f"{path}.{key.name}")
        elif key.elements is not None and key.elements.options:
            lines += sections(key.elements, f"{path}.{key.name}[]")
    return lines


def example(option: Any, indent: str = "") -> list[str]:
    """The option with every key below it, in YAML."""
    if option.elements is not None and option.elements.options:
        entry = [line for key in option.elements.options for line in example(key, f"{indent}    ")]
        return [f"{indent}{option.name}:", f"{indent}  - {entry[0].strip()}", *entry[1:]]
    if option.options:
        return [f"{indent}{option.name}:", *(line for key in option.options for line in example(key, f"{indent}  "))]
    return [f"{indent}{option.name}: {plain(option.example)}"]


def page() -> str:
    """The whole page."""
    from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration import rules as declaration_rules
    from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration import schema

    rules = [f"* {(rule.__doc__ or '').strip()}" for rule in declaration_rules.RULES]
    rules.insert(0, "* No list has an entry twice, and no two networks on a list overlap.")
    rules.append(
        "* Every file that is named is on the controller and is what it should be; a key fits its certificate, which "
        "is valid today and for every name that is declared."
    )
    rules += ["", "What is a warning only:", ""]
    rules += [f"* {(rule.__doc__ or '').strip()}" for rule in declaration_rules.DOUBTS]
    return "\n".join(
        [
            INTRODUCTION,
            "```yaml",
            *example(schema.DECLARATION),
            "```",
            "",
            NOTATION,
            *sections(schema.DECLARATION, schema.DECLARATION.name),
            HOST_VARIABLES,
            "Of a gateway:",
            "",
            *table(schema.GATEWAY_VARIABLES, "Variable"),
            "Of an Exchange server:",
            "",
            *table(schema.SERVER_VARIABLES, "Variable"),
            "Of a single run, on the command line or in a survey. What is empty isn't given:",
            "",
            *table(schema.RUN_VARIABLES, "Variable"),
            RULES,
            *rules,
            "",
        ]
    )


if __name__ == "__main__":
    if not COLLECTIONS.is_dir():
        sys.exit("The link in .cache/collections is missing: run any test first, which makes it.")
    sys.path.insert(0, str(COLLECTIONS))
    PAGE.write_text(page())
