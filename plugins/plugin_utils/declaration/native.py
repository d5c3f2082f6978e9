# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way from Ansible's variables to plain values: what the filter and the action plugin share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

try:
    from ansible.parsing.vault import VaultHelper
except ImportError:  # ansible-core before 2.19
    VaultHelper = None

from ...module_utils.values.sentences import Secret
from .tree import Unevaluated

_DEEPEST = 12  # levels; the schema has six, and a YAML alias may point at its own parent


def plain(value: Any, depth: int = 0) -> Any:
    """The value as Python's own types, without Ansible's tags and lazy containers.

    What is none of YAML's types stays as it is: validation says what it should have been.
    """
    if depth > _DEEPEST:
        return None
    if isinstance(value, Mapping):
        return {plain(key): plain(value[key], depth + 1) for key in value}
    if isinstance(value, (list, tuple)):
        return [plain(entry, depth + 1) for entry in value]
    is_secret = encrypted(value)
    for builtin in (bool, int, float, str):
        if isinstance(value, builtin) and not is_secret:
            return builtin(value)
    try:
        text = str(value)  # decrypts what is vaulted
        if is_secret:
            return Secret(text)
    except Exception as error:  # noqa: BLE001 (Jinja's "undefined" object, a vaulted text that can't be decrypted …)
        return Unevaluated("", reason(error))
    return value


def encrypted(value: Any) -> bool:
    """Whether a text is one of Ansible Vault's, or was until it was decrypted."""
    if type(value) is str or isinstance(value, (bool, int, float, type(None))):
        return False
    if isinstance(value, Secret) or getattr(value, "__ENCRYPTED__", False):
        return True
    return VaultHelper is not None and VaultHelper.get_ciphertext(value, with_tags=False) is not None


def evaluate(value: Any, template: Callable[[Any], Any], depth: int = 0) -> Any:
    """The value with its templates evaluated one by one, so that one which fails can be named by its place.

    ``template`` evaluates one text. Where it raises, an Unevaluated takes the text's place.
    """
    if depth > _DEEPEST:
        return None
    if isinstance(value, Mapping):
        return {plain(key): evaluate(value[key], template, depth + 1) for key in value}
    if isinstance(value, (list, tuple)):
        return [evaluate(entry, template, depth + 1) for entry in value]
    try:
        found = plain(template(value))
        return Secret(found) if isinstance(found, str) and encrypted(value) else found
    except Exception as error:  # noqa: BLE001 (whatever a template's filters and lookups raise)
        return Unevaluated(value if isinstance(value, str) else "", reason(error))  # what is vaulted isn't shown


def has_templates(value: Any, depth: int = 0) -> bool:
    """Whether anything in the value has to be evaluated, or can't be known not to."""
    if depth > _DEEPEST:
        return True
    if isinstance(value, Mapping):
        return any(has_templates(value[key], depth + 1) for key in value)
    if isinstance(value, (list, tuple)):
        return any(has_templates(entry, depth + 1) for entry in value)
    if isinstance(value, str):
        return "{" in value or encrypted(value)
    return not isinstance(value, (bool, int, float, type(None)))


def reason(error: Exception) -> str:
    """What Ansible says about a template that it couldn't evaluate, on one line; the cause alone where it is known."""
    text = " ".join(str(error).split()).rstrip(".")
    undefined = re.findall(r"'[^']*' is undefined|(?:object of type )?'[^']*' has no attribute '[^']*'", text)
    return undefined[-1] if undefined else text


def exchange_group(declaration: Any, *, legacy: bool = False) -> str:
    """The group of servers that the declaration names, the default where it names none or nothing that is a name.

    :param legacy: the group of older servers is meant.
    """
    exchange = declaration.get("exchange") if isinstance(declaration, Mapping) else None
    group = exchange.get("legacy_group" if legacy else "group") if isinstance(exchange, Mapping) else None
    if isinstance(group, str):
        return group
    return "exchange_legacy" if legacy else "exchange"
