"""docs/declaration.md says what the schema says, and its examples are sound."""

import re
from typing import Any

import yaml
from tools.declaration_page import PAGE, page
from tools.declared import GROUPS, HOSTS

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration import schema
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.schema import Option
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.tree import Inventory, Problems, read
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.validation import validate


def every(option: Option) -> list[Option]:
    """The option and all below it."""
    inner = [*option.options, *([option.elements] if option.elements else [])]
    return [option, *(below for key in inner for below in every(key))]


OPTIONS = [*every(schema.DECLARATION), *schema.GATEWAY_VARIABLES, *schema.SERVER_VARIABLES]


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "docs/declaration.md is stale; run python tests/tools/declaration_page.py."


def test_the_examples_are_sound() -> None:
    text = PAGE.read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        declaration: dict[str, Any] = yaml.safe_load(re.sub(r"'\{\{.*?\}\}.*?'", "''", block))["mail_gateway"]
        # The one secret isn't in the declaration.
        bound = "certificate" in declaration and declaration["certificate"]["external_account_key_id"]
        secret = {schema.EXTERNAL_ACCOUNT_HMAC_KEY.name: "c2VjcmV0"} if bound else {}
        hosts = {name: {**values, **(secret if name in GROUPS["gateways"] else {})} for name, values in HOSTS.items()}
        assert validate(declaration, Inventory(GROUPS, hosts)) == []


def test_the_full_example_has_every_key() -> None:
    block = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    entries = {id(option.elements) for option in every(schema.DECLARATION)}
    for option in every(schema.DECLARATION):
        if id(option) not in entries:
            assert re.search(rf"\b{option.name}:", block), f"{option.name} isn't in the example."


def test_defaults_and_examples_are_sound() -> None:
    for option in OPTIONS:
        for value in (option.default, option.example):
            if value in (None, "", ()) or "{{" in str(value):
                continue
            problems = Problems()
            read(option, option.name, list(value) if isinstance(value, tuple) else value, problems)
            assert problems.found == []


def test_every_option_is_described() -> None:
    for option in OPTIONS:
        assert option.description.endswith("."), option.name
        assert "|" not in option.description, option.name
        assert bool(option.options) == (option.type == schema.DICTIONARY), option.name
        assert bool(option.elements) == (option.type == schema.LIST), option.name
        assert bool(option.choices) == (option.type == schema.CHOICE), option.name
        assert (option.minimum is None) == (option.type != schema.INTEGER), option.name
        assert not (option.required and (option.default or option.default_text)), option.name
