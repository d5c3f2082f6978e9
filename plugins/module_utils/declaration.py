# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validation of the declaration: everything that is wrong with it, at once, each thing in one sentence.

``check`` reads the declaration by the schema and returns it as a tree of ``Node`` together with the problems found;
what is wrong is replaced by its default in the tree, so that the rules between the parts can still be asked.
``validate`` is what playbooks use: ``check``, and a look at the files that the declaration names.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.postern.mail_gateway.plugins.module_utils import declaration_schema as schema
from ansible_collections.postern.mail_gateway.plugins.module_utils import declaration_values as values
from ansible_collections.postern.mail_gateway.plugins.module_utils.declaration_schema import Option
from ansible_collections.postern.mail_gateway.plugins.module_utils.declaration_values import (
    Address,
    Network,
    Unfit,
    show,
)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the variable's path, and the whole sentence about it."""

    path: str
    sentence: str

    def __str__(self) -> str:
        return self.sentence


class DeclarationError(ValueError):
    """The declaration isn't sound. The text is every problem's sentence, one a line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Unevaluated:
    """Stands in the declaration for a template that could not be evaluated: its text, and what was wrong."""

    template: str
    reason: str


@dataclass(frozen=True)
class Inventory:
    """What the declaration needs of the inventory: the groups' hosts, and of each host the few variables.

    ``hosts`` maps a host to those of ``declaration_schema.HOST_VARIABLES`` that it has.
    """

    groups: Mapping[str, Sequence[str]]
    hosts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

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
    """An Exchange server as the gateway needs it."""

    name: str
    address: Address | str
    weight: int


@dataclass(frozen=True)
class Gateway:
    """A gateway's own addresses."""

    name: str
    egress: Address | None
    relay: Address | None


@dataclass(frozen=True)
class Checked:
    """A declaration with what belongs to it in the inventory, read and found sound as far as ``problems`` is empty."""

    declaration: Node
    gateways: tuple[Gateway, ...]
    servers: tuple[Server, ...]
    problems: tuple[Problem, ...]


def validate(declaration: Any, inventory: Inventory, gateways: Sequence[str] | None = None) -> list[Problem]:
    """Every problem of the declaration, the files that it names included.

    ``gateways`` are the hosts that the declaration is for; without it, all of the group ``gateways``.
    """
    checked = check(declaration, inventory, gateways)
    return [*checked.problems, *_file_problems(checked.declaration)]


def check(declaration: Any, inventory: Inventory, gateways: Sequence[str] | None = None) -> Checked:
    """Read the declaration and its part of the inventory. Asks nothing of the file system."""
    problems = Problems()
    tree = _read(schema.DECLARATION, schema.DECLARATION.name, declaration, problems)
    names = sorted(inventory.groups.get(schema.GATEWAYS, ()) if gateways is None else gateways)
    hosts = tuple(_read_gateway(name, inventory, problems) for name in names)
    servers = _read_servers(tree, inventory, problems)
    return Checked(tree, hosts, servers, tuple(problems.found))


class Problems:
    """Collects problems, each sentence once."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, path: str, text: str) -> None:
        """A problem whose sentence begins with the path."""
        problem = Problem(path, f"{path} {text}" if text.endswith("?") else f"{path} {text}.")
        if problem not in self.found:
            self.found.append(problem)

    def unfit(self, path: str, value: Any, text: str) -> None:
        """A value that isn't right: "<path> is <value>, <text>."."""
        self.add(path, f"is {show(value)}, {text}")


# --- reading by the schema -------------------------------------------------------------------------------------------

_EXPECTED = {
    schema.DICTIONARY: "a dictionary",
    schema.LIST: "a list",
    schema.BOOLEAN: "true or false",
    schema.INTEGER: "a whole number",
    schema.STRING: "a text",
    schema.FQDN: "a full name such as mail.example.com",
    schema.CERTIFICATE_NAME: "a full name such as mail.example.com",
    schema.ADDRESS: "an address such as 192.0.2.10 or 2001:db8::10",
    schema.NETWORK: "a network such as 192.0.2.0/24, or an address",
    schema.HOST: "an address or a host name",
    schema.FILE: "the path of a file",
    schema.IDENTIFIER: "a short name of the letters a-z, digits and hyphens",
}

_READERS: dict[str, Callable[[Any], Any]] = {
    schema.BOOLEAN: values.read_boolean,
    schema.FQDN: values.read_name,
    schema.CERTIFICATE_NAME: lambda value: values.read_name(value, wildcard=True),
    schema.ADDRESS: values.read_address,
    schema.NETWORK: values.read_network,
    schema.HOST: values.read_host,
    schema.FILE: values.read_path,
    schema.IDENTIFIER: values.read_identifier,
}


def _read(option: Option, path: str, value: Any, problems: Problems) -> Node:
    """The Node for a value that stands in the file; problems are noted, and the default takes the place."""
    try:
        if isinstance(value, Unevaluated):
            what = f"is {show(value.template)}, which" if value.template else ""
            problems.add(path, f"{what} can't be evaluated: {value.reason}".strip())
            return _default(option, path)
        if value is None:
            raise Unfit(_why_not_null(option))
        if option.type == schema.DICTIONARY:
            return Node(path, value, _read_dictionary(option, path, value, problems), True)
        if option.type == schema.LIST:
            return Node(path, value, _read_list(option, path, value, problems), True)
        return Node(path, value, _read_leaf(option, value), True)
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
        return None if option.type == schema.ADDRESS else ""
    if option.type == schema.INTEGER:
        return values.read_integer(value, option.minimum, option.maximum)
    if option.type == schema.STRING:
        expected = _listed(option.choices, "or") if option.choices else _EXPECTED[schema.STRING]
        text = values.read_text(value, expected)
        if option.choices and text not in option.choices:
            close = difflib.get_close_matches(text.lower(), option.choices, 1)
            raise Unfit(f"but must be {expected}" + (f"; did you mean {close[0]}?" if close else ""))
        return text
    return _READERS[option.type](value)


def _read_list(option: Option, path: str, value: Any, problems: Problems) -> list[Node]:
    if isinstance(value, str):
        parts = [part for part in re.split(r"[,;\s]+", value) if part]
        raise Unfit(f"but must be a list; write [{', '.join(parts)}]" if parts else "but must be a list; write []")
    if isinstance(value, dict):
        raise Unfit("but must be a list; begin each entry with a hyphen")
    if not isinstance(value, (list, tuple)):
        raise Unfit("but must be a list")
    if len(value) < option.at_least:
        raise Unfit("but must have at least one entry")
    assert option.elements is not None
    nodes: list[Node] = []
    for index, entry in enumerate(value):
        node = _read(option.elements, f"{path}[{index}]", entry, problems)
        if node.given:
            nodes.append(node)
    return nodes


def _read_dictionary(option: Option, path: str, value: Any, problems: Problems) -> dict[str, Node]:
    names = [key.name for key in option.options]
    if not isinstance(value, dict):
        raise Unfit(f"but must be a dictionary with the keys {_listed(names, 'and')}")
    for name in value:
        if name not in names:
            problems.add(_key_path(path, name), _why_unknown(option, path, name))
    nodes: dict[str, Node] = {}
    for key in option.options:
        inner = f"{path}.{key.name}"
        if key.name in value:
            nodes[key.name] = _read(key, inner, value[key.name], problems)
        else:
            if key.required:
                problems.add(inner, f"is missing; it must be {_EXPECTED[key.type]}")
            nodes[key.name] = _default(key, inner)
    return nodes


def _why_not_null(option: Option) -> str:
    text = f"but must be {_EXPECTED[option.type]}"
    return text if option.required else f"{text}; leave the key out where none is meant"


def _key_path(path: str, name: Any) -> str:
    return f"{path}.{name}" if isinstance(name, str) and re.fullmatch(r"[\w-]{1,60}", name) else f"{path}[{show(name)}]"


def _why_unknown(option: Option, path: str, name: Any) -> str:
    names = [key.name for key in option.options]
    if isinstance(name, str):
        every = _paths(schema.DECLARATION, schema.DECLARATION.name)
        elsewhere = [found for found in every if found.endswith(f".{name}")]
        if elsewhere:
            return f"isn't known here; its place is {_listed(elsewhere, 'or')}"
        close = difflib.get_close_matches(name.lower(), names, 1)
        if close:
            return f"isn't known; did you mean {path}.{close[0]}?"
    return f"isn't known; the keys here are {_listed(names, 'and')}"


def _paths(option: Option, path: str) -> Iterator[str]:
    """The path of every key below the option."""
    for key in option.options:
        yield f"{path}.{key.name}"
        yield from _paths(key, f"{path}.{key.name}")
    if option.elements is not None:
        yield from _paths(option.elements, f"{path}[]")


def _listed(words: Iterable[str], conjunction: str) -> str:
    """The words as a person lists them: a, b and c."""
    *most, last = words
    return f"{', '.join(most)} {conjunction} {last}" if most else last


# --- the inventory ---------------------------------------------------------------------------------------------------


def _read_variable(option: Option, host: str, inventory: Inventory, problems: Problems) -> Any:
    """A host variable's exact value, its default where the host has none."""
    value = inventory.variable(host, option.name)
    if value is None:
        return option.default or None
    return _read(option, f"{option.name} of {host}", value, problems).value


def _read_gateway(name: str, inventory: Inventory, problems: Problems) -> Gateway:
    return Gateway(
        name,
        _read_variable(schema.EGRESS_ADDRESS, name, inventory, problems) or None,
        _read_variable(schema.RELAY_ADDRESS, name, inventory, problems) or None,
    )


def _read_servers(tree: Node, inventory: Inventory, problems: Problems) -> tuple[Server, ...]:
    group = tree["exchange"]["group"].value
    servers = []
    for name in sorted(inventory.groups.get(group, ())):
        address = _read_variable(schema.SERVER_ADDRESS, name, inventory, problems)
        if address is None:
            standin = inventory.variable(name, "ansible_host") or name
            try:
                address = values.read_host(standin)
            except Unfit as unfit:
                problems.add(
                    f"{schema.SERVER_ADDRESS.name} of {name}",
                    f"is missing, and {show(standin)}, which would take its place, isn't right ({unfit.text})",
                )
        weight = _read_variable(schema.SERVER_WEIGHT, name, inventory, problems)
        if address is not None:
            servers.append(Server(name, address, schema.SERVER_WEIGHT.default if weight is None else weight))
    return tuple(servers)


# --- what follows from the declaration -------------------------------------------------------------------------------


def listens_on_ipv6(tree: Node) -> bool:
    """Whether the gateway listens on IPv6: as declared, else wherever it can."""
    if tree["ipv6"].value is not None:
        return bool(tree["ipv6"].value)
    addresses = tree["service_addresses"].values
    return not addresses or any(address.version == 6 for address in addresses)


def certificate_names(tree: Node) -> list[str]:
    """The names of the certificate, the hostname first, the others in order."""
    hostname = tree["hostname"].value
    names = tree["certificate"]["names"]
    if names.value is not None:
        found = set(names.values)
    else:
        found = {f"autodiscover.{domain}" for domain in tree["domains"].values} | ({hostname} if hostname else set())
    return sorted(found, key=lambda name: (name != hostname, name))


def exchange_hostnames(tree: Node) -> list[str]:
    """The names under which Exchange's web services are published, the hostname first, the others in order."""
    hostname = tree["hostname"].value
    names = certificate_names(tree)
    wanted = [hostname] if hostname else []
    wanted += [f"autodiscover.{domain}" for domain in tree["domains"].values]
    found = {name for name in wanted if covered(name, names)} | {name for name in names if not name.startswith("*")}
    return sorted(found, key=lambda name: (name != hostname, name))


def covered(name: str, certificate: Iterable[str]) -> bool:
    """Whether a certificate with these names is good for the name; a wildcard stands for one label (RFC 6125)."""
    return any(known in (name, f"*.{name.partition('.')[2]}") for known in certificate)


def needs_servers(tree: Node) -> bool:
    """Whether anything is published that Exchange answers."""
    return any(tree[service]["enabled"].value for service in ("https", "smtp", "imap", "pop"))


def relay_networks(tree: Node) -> list[Network]:
    """The networks whose SMTP connections go out from the relay address; none where SMTP is off."""
    return list(tree["smtp"]["relay_clients"].values) if tree["smtp"]["enabled"].value else []


# --- the files -------------------------------------------------------------------------------------------------------


def _file_problems(tree: Node) -> list[Problem]:
    problems = Problems()
    certificates = [tree["certificate"]["file"], *(site["certificate_file"] for site in tree["websites"].value)]
    looked_at: list[tuple[Node, Callable[[str], None]]] = [
        (tree["exchange"]["ca_file"], values.check_authority_file),
        *((node, values.check_certificate_file) for node in certificates),
    ]
    for node, check_file in looked_at:
        if node.value:
            try:
                check_file(node.value)
            except Unfit as unfit:
                problems.unfit(node.path, node.raw, unfit.text)
    return problems.found
