# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the declaration and its part of the inventory by the schema, value by value.

The result is a tree of ``Node`` with every value in its exact form. What is wrong is noted as a problem and replaced by
its default, so that the rules between the parts (rules) can still be asked.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...module_utils.values.addresses import Address, read_address, read_network
from ...module_utils.values.keys import read_public_key
from ...module_utils.values.names import (
    read_authority,
    read_email,
    read_hmac_key,
    read_host,
    read_inventory_name,
    read_key_id,
    read_name,
)
from ...module_utils.values.sentences import Hidden, Unfit, listed, printable, show
from ...module_utils.values.texts import (
    read_account,
    read_boolean,
    read_choice,
    read_comment,
    read_identifier,
    read_integer,
    read_path,
    read_text,
)
from ..addresses import overlapping
from . import schema
from .schema import Option


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the variable's path, and the whole sentence about it."""

    path: str
    sentence: str

    def __str__(self) -> str:
        return self.sentence


class Problems:
    """Collects problems, each sentence once."""

    def __init__(self, found: Iterable[Problem] = ()) -> None:
        self._found = dict.fromkeys(found)

    @property
    def found(self) -> list[Problem]:
        """The problems in the order in which they were found."""
        return list(self._found)

    def sentence(self, path: str, sentence: str) -> None:
        """A problem in its own words."""
        self._found[Problem(printable(path), printable(sentence))] = None

    def add(self, path: str, text: str) -> None:
        """A problem whose sentence begins with the path; a question mark ends it as it is."""
        self.sentence(path, f"{path} {text}" if text.endswith("?") else f"{path} {text}.")

    def unfit(self, path: str, value: Any, text: str) -> None:
        """A value that isn't right: "<path> is <value>, <text>."."""
        self.add(path, f"is {show(value)}, {text}")


@dataclass(frozen=True)
class Unevaluated:
    """Stands for a template (or a vaulted text, "" then) that could not be evaluated; ``reason`` is what was wrong."""

    template: str
    reason: str

    def sentence_end(self) -> str:
        """What a sentence about the variable says of it."""
        if self.reason.endswith(" is undefined"):
            return f"is {show(self.template)}, but {self.reason}; define it"
        what = f"is {show(self.template)}, which " if self.template else ""
        return f"{what}can't be evaluated: {self.reason}"


@dataclass(frozen=True)
class Inventory:
    """What the declaration needs of the inventory: the groups' hosts, and of each host the few variables.

    ``hosts`` maps a host to those of ``schema.HOST_VARIABLES`` that it has.
    """

    groups: Mapping[str, Sequence[str]]
    hosts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def group(self, name: str) -> list[str]:
        """The group's hosts in order; none where there is no such group."""
        return sorted(self.groups.get(name, ()))

    def variable(self, host: str, name: str) -> Any:
        """The host's variable, None where it has none."""
        return self.hosts.get(host, {}).get(name)


@dataclass(frozen=True)
class Node:
    """A part of the declaration after the check.

    ``value`` is the exact form: a dictionary of Nodes by key, a list of Nodes, an address, a network, a text … or
    None where there is neither a sound value nor a default. ``given`` tells whether a sound value stands in the file.
    """

    path: str
    raw: Any
    value: Any
    given: bool

    def __getitem__(self, key: str) -> Node:
        node: Node = self.value[key]
        return node

    @property
    def values(self) -> list[Any]:
        """The exact values of a list's entries."""
        return [node.value for node in self.value]


@dataclass(frozen=True)
class Server:
    """An Exchange server as the gateway needs it. ``path`` names the variable that its address comes from."""

    name: str
    path: str
    address: Address | str
    weight: int


@dataclass(frozen=True)
class Gateway:
    """A gateway's own addresses, None where it has none; Ansible reaches it at ``reached_at`` and ``ssh_port``.

    ``has_hmac_key`` tells that it has the secret of an account at the authority, which itself goes nowhere from here.
    """

    name: str
    egress: Address | None
    relay: Address | None
    reached_at: Address | None
    ssh_port: int | None
    has_hmac_key: bool = False

    @property
    def peer_address(self) -> Address | None:
        """Where other gateways reach it: the address that it speaks from itself, so that firewalls see the same one."""
        return self.egress or self.reached_at


# --- reading by the schema -------------------------------------------------------------------------------------------

_EXPECTED = {
    schema.DICTIONARY: "a dictionary",
    schema.LIST: "a list",
    schema.BOOLEAN: "true or false",
    schema.INTEGER: "a whole number",
    schema.GROUP: "the name of a group in the inventory",
    schema.FQDN: "a full name such as mail.example.com",
    schema.CERTIFICATE_NAME: "a full name such as mail.example.com",
    schema.ADDRESS: "an address such as 192.0.2.10 or 2001:db8::10",
    schema.NETWORK: "a network such as 192.0.2.0/24, or an address",
    schema.HOST: "an address or a host name",
    schema.FILE: "the path of a file",
    schema.IDENTIFIER: "a short name of the letters a-z, digits and hyphens",
    schema.ACCOUNT: "the name of an account",
    schema.AUTHORITY: "letsencrypt, letsencrypt-staging, or the address of an ACME directory",
    schema.EMAIL: "an e-mail address",
    schema.PUBLIC_KEY: "a public key, the line of a .pub file",
    schema.COMMENT: "a few words",
    schema.KEY_ID: "a key identifier",
    schema.HMAC_KEY: "an HMAC key",
    schema.SERVER: "the name of a host in the inventory, or an address",
}


def _read_server_name(value: Any) -> str:
    """The name of a host in the inventory, or an address in its exact form."""
    is_ipv6 = isinstance(value, str) and ":" in value
    return str(read_address(value)) if is_ipv6 else read_inventory_name(value)


_READERS: dict[str, Callable[[Any], Any]] = {
    schema.GROUP: lambda value: read_text(value, _EXPECTED[schema.GROUP]),
    schema.BOOLEAN: read_boolean,
    schema.FQDN: read_name,
    schema.CERTIFICATE_NAME: lambda value: read_name(value, wildcard=True),
    schema.ADDRESS: read_address,
    schema.NETWORK: read_network,
    schema.FILE: read_path,
    schema.IDENTIFIER: read_identifier,
    schema.ACCOUNT: read_account,
    schema.AUTHORITY: read_authority,
    schema.EMAIL: read_email,
    schema.PUBLIC_KEY: read_public_key,
    schema.COMMENT: read_comment,
    schema.KEY_ID: read_key_id,
    schema.HMAC_KEY: read_hmac_key,
    schema.SERVER: _read_server_name,
}


def _expected(option: Option) -> str:
    """What a sentence says that the option must be."""
    return listed(option.choices, "or") if option.choices else _EXPECTED[option.type]


def read(option: Option, path: str, value: Any, problems: Problems) -> Node:
    """The Node for a value that stands in the file; problems are noted, and the default takes the place."""
    try:
        if isinstance(value, Unevaluated):
            problems.add(path, value.sentence_end())
            return _default(option, path)
        if value is None:
            # (Only an entry of a list, and a declaration, come here: a key without a value isn't given.)
            raise Unfit(f"but must be {_expected(option)}" + ("; take it out" if path.endswith("]") else ""))
        if option.type == schema.DICTIONARY:
            return Node(path, value, _read_dictionary(option, path, value, problems), True)
        if option.type == schema.LIST:
            return Node(path, value, _read_list(option, path, value, problems), True)
        return Node(path, value, _read_leaf(option, value), True)
    except Hidden as hidden:
        problems.add(path, f"is not shown, {hidden.text}")
        return _default(option, path)
    except Unfit as unfit:
        problems.unfit(path, value, unfit.text)
        return _default(option, path)


def _default(option: Option, path: str) -> Node:
    """The Node for a key that isn't there (or not usable). The schema's own defaults are sound: nothing is noted."""
    if option.type == schema.DICTIONARY:
        return Node(path, None, {key.name: _default(key, f"{path}.{key.name}") for key in option.options}, False)
    if option.type == schema.LIST:
        entries = option.default or ()
        nodes = [Node(f"{path}[{index}]", entry, entry, False) for index, entry in enumerate(entries)]
        return Node(path, None, None if option.default_text else nodes, False)
    return Node(path, None, option.default, False)


def _read_leaf(option: Option, value: Any) -> Any:
    if option.optional_text and value == "" and isinstance(value, str):
        return option.default
    if option.type == schema.INTEGER:
        return read_integer(value, option.minimum, option.maximum)
    if option.type == schema.CHOICE:
        return read_choice(value, option.choices)
    if option.type == schema.HOST:
        return read_host(value, option.loopback)
    return _READERS[option.type](value)


def _read_list(option: Option, path: str, value: Any, problems: Problems) -> list[Node]:
    if isinstance(value, str):
        parts = [part for part in re.split(r"[,;\s]+", value) if part]
        advice = f"; write [{', '.join(parts)}]" if parts and len(value) <= 200 else ""
        raise Unfit(f"but must be a list{advice}")
    if isinstance(value, dict):
        raise Unfit("but must be a list; begin each entry with a hyphen")
    if not isinstance(value, (list, tuple)):
        raise Unfit("but must be a list")
    if len(value) < option.at_least:
        raise Unfit("but must have at least one entry")
    if option.elements is None:
        raise AssertionError(option)
    nodes = [read(option.elements, f"{path}[{index}]", entry, problems) for index, entry in enumerate(value)]
    return _once_each([node for node in nodes if node.given], option.elements.type, problems)


def _once_each(nodes: list[Node], kind: str, problems: Problems) -> list[Node]:
    """The entries of a list without those that are there before; networks, without those that overlap with one."""
    twins: dict[int, int] = {}
    if kind == schema.NETWORK:
        twins = overlapping([node.value for node in nodes])
    else:
        seen: dict[Any, int] = {}
        for place, node in enumerate(nodes):
            earliest = seen.setdefault(_identity(node), place)
            if earliest != place:
                twins[place] = earliest
    for place in sorted(twins):
        node, twin = nodes[place], nodes[twins[place]]
        if twin.value == node.value or kind != schema.NETWORK:
            problems.unfit(node.path, node.raw, f"which is {twin.path} already; take one of them out")
        else:
            text = f"which overlaps with {twin.path} ({show(twin.raw)}); keep the wider one"
            problems.unfit(node.path, node.raw, text)
    return [node for place, node in enumerate(nodes) if place not in twins]


def _identity(node: Node) -> Any:
    """What two entries of a list have in common that are the same thing; entries that hold lists never are."""
    if isinstance(node.value, dict):
        return tuple((key, _identity(inner)) for key, inner in node.value.items())
    return node.path if isinstance(node.value, list) else node.value


def _read_dictionary(option: Option, path: str, value: Any, problems: Problems) -> dict[str, Node]:
    names = [key.name for key in option.options]
    if not isinstance(value, dict):
        raise Unfit(f"but must be a dictionary with the keys {listed(names)}")
    for name in value:
        if name not in names:
            problems.add(_key_path(path, name), _why_unknown(option, path, name))
    nodes: dict[str, Node] = {}
    for key in option.options:
        inner = f"{path}.{key.name}"
        if value.get(key.name) is not None:
            nodes[key.name] = read(key, inner, value[key.name], problems)
        else:
            if key.required:
                problems.add(inner, f"is missing; it must be {_expected(key)}")
            nodes[key.name] = _default(key, inner)
    return nodes


def _key_path(path: str, name: Any) -> str:
    return f"{path}.{name}" if isinstance(name, str) and re.fullmatch(r"[\w-]{1,60}", name) else f"{path}[{show(name)}]"


def _why_unknown(option: Option, path: str, name: Any) -> str:
    names = [key.name for key in option.options]
    if isinstance(name, str) and len(name) <= 60:
        close = difflib.get_close_matches(name.lower(), names, 1)
        every = _paths(schema.DECLARATION, schema.DECLARATION.name)
        elsewhere = [found for found in every if found.endswith(f".{name}")]
        if elsewhere and not difflib.get_close_matches(name, close, 1, cutoff=0.85):
            return f"isn't known here; its place is {listed(elsewhere, 'or')}"
        if close:
            return f"isn't known; did you mean {path}.{close[0]}?"
    keys = f"the keys here are {listed(names)}" if len(names) > 1 else f"the only key here is {names[0]}"
    return f"isn't known; {keys}"


def _paths(option: Option, path: str) -> Iterator[str]:
    """The path of every key below the option."""
    for key in option.options:
        yield f"{path}.{key.name}"
        yield from _paths(key, f"{path}.{key.name}")
    if option.elements is not None:
        yield from _paths(option.elements, f"{path}[]")


# --- the inventory ---------------------------------------------------------------------------------------------------


def read_gateway(name: str, inventory: Inventory, problems: Problems) -> Gateway:
    """The gateway's host variables. Ansible's own are nobody's business here unless they are an address and a port."""
    _check_name(name, problems)
    place = inventory.variable(name, "ansible_host")
    try:
        reached_at = read_address(name if place is None else place)
    except Unfit:
        reached_at = None
    ssh_port = inventory.variable(name, "ansible_port")
    if ssh_port is not None:
        ssh_port = read(schema.ANSIBLE_PORT, f"ansible_port of {name}", ssh_port, problems).value
    return Gateway(
        name,
        _read_variable(schema.EGRESS_ADDRESS, name, inventory, problems),
        _read_variable(schema.RELAY_ADDRESS, name, inventory, problems),
        reached_at,
        ssh_port,
        bool(_read_variable(schema.EXTERNAL_ACCOUNT_HMAC_KEY, name, inventory, problems)),
    )


def read_server(name: str, inventory: Inventory, problems: Problems) -> Server | None:
    """The server's host variables; None where it has no usable address."""
    _check_name(name, problems)
    weight = _read_variable(schema.SERVER_WEIGHT, name, inventory, problems)
    for variable in (schema.SERVER_ADDRESS.name, "ansible_host"):
        if inventory.variable(name, variable) is not None:
            path, value = f"{variable} of {name}", inventory.variable(name, variable)
            break
    else:
        path, value = f"The name of {name} in the inventory", name
    found = Problems()
    address = read(schema.SERVER_ADDRESS, path, value, found).value
    instead = f"; or set {schema.SERVER_ADDRESS.name} of {name}, which goes before it."
    for problem in found.found:
        standin = not path.startswith(schema.SERVER_ADDRESS.name)
        problems.sentence(path, problem.sentence.rstrip(".") + instead if standin else problem.sentence)
    return None if address is None else Server(name, path, address, weight)


def _check_name(name: str, problems: Problems) -> None:
    """Note a name that can't go into names of servers, files and keys."""
    try:
        read_inventory_name(name)
    except Unfit as unfit:
        problems.unfit(f"inventory_hostname of {name}", name, unfit.text)


def _read_variable(option: Option, host: str, inventory: Inventory, problems: Problems) -> Any:
    """A host variable's exact value, its default where the host has none."""
    value = inventory.variable(host, option.name)
    if value is None:
        return option.default
    return read(option, f"{option.name} of {host}", value, problems).value
