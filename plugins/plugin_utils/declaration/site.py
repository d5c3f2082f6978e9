# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site: what is declared for it, typed, its hosts, and what follows from both."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from ...module_utils.values.addresses import Address, Network
from ..addresses import in_order
from . import schema
from .tree import Gateway, Inventory, Node, Server

EXCHANGE_CERTIFICATE = schema.RESERVED_WEBSITE_NAMES[0]


# --- the declaration, key by key as in the schema --------------------------------------------------------------------


@dataclass(frozen=True)
class Exchange:
    """``mail_gateway.exchange``."""

    managed: bool
    group: str
    legacy_group: str
    protocol_logging: bool
    edge_traversal: bool
    ca_file: str


@dataclass(frozen=True)
class Limits:
    """``mail_gateway.https.limits``."""

    connections: int
    connection_rate: int
    request_rate: int
    failed_logons: int


@dataclass(frozen=True)
class Https:
    """``mail_gateway.https``."""

    enabled: bool
    virtual_directories: tuple[str, ...]
    internal_only: tuple[str, ...]
    long_poll_timeout: int
    limits: Limits


@dataclass(frozen=True)
class Smtp:
    """``mail_gateway.smtp``."""

    enabled: bool
    mode: str
    submission: bool
    relay_clients: tuple[Network, ...]


@dataclass(frozen=True)
class Imap:
    """``mail_gateway.imap``."""

    enabled: bool
    ntlm: bool


@dataclass(frozen=True)
class Pop:
    """``mail_gateway.pop``."""

    enabled: bool


@dataclass(frozen=True)
class Certificate:
    """``mail_gateway.certificate``."""

    names: tuple[str, ...] | None
    file: str
    authority: str
    authority_ca_file: str
    contact: str
    external_account_key_id: str


@dataclass(frozen=True)
class Administrator:
    """``mail_gateway.ssh.administrators[]``."""

    user: str
    keys: tuple[str, ...]
    exclusive: bool


@dataclass(frozen=True)
class Ssh:
    """``mail_gateway.ssh``."""

    managed: bool
    networks: tuple[Network, ...] | None
    ports: tuple[int, ...]
    root_logon: str
    older_clients: bool
    administrators: tuple[Administrator, ...]


@dataclass(frozen=True)
class DeclaredOpening:
    """``mail_gateway.firewall.open[]``."""

    ports: tuple[int, ...]
    protocol: str
    networks: tuple[Network, ...]
    comment: str


@dataclass(frozen=True)
class Firewall:
    """``mail_gateway.firewall``."""

    managed: bool
    exact: bool
    open: tuple[DeclaredOpening, ...]


@dataclass(frozen=True)
class Fail2ban:
    """``mail_gateway.fail2ban``."""

    managed: bool
    max_retry: int
    find_time: int
    ban_time: int
    max_ban_time: int
    ignored_networks: tuple[Network, ...]


@dataclass(frozen=True)
class WebsiteServer:
    """``mail_gateway.websites[].servers[]``."""

    address: Address | str
    port: int


@dataclass(frozen=True)
class Website:
    """``mail_gateway.websites[]``."""

    name: str
    hostnames: tuple[str, ...]
    servers: tuple[WebsiteServer, ...]
    http2: bool
    certificate_file: str


@dataclass(frozen=True)
class Declaration:
    """``mail_gateway``. What has neither a sound value nor a default is empty, or zero."""

    hostname: str
    domains: tuple[str, ...]
    admin_networks: tuple[Network, ...]
    monitoring_networks: tuple[Network, ...]
    service_addresses: tuple[Address, ...]
    ipv6: bool | None
    exchange: Exchange
    https: Https
    smtp: Smtp
    imap: Imap
    pop: Pop
    certificate: Certificate
    ssh: Ssh
    firewall: Firewall
    fail2ban: Fail2ban
    websites: tuple[Website, ...]
    metrics_port: int
    site: str


Typed = TypeVar("Typed")
_EMPTY: dict[Any, Any] = {str: "", int: 0, bool: False}


def typed(kind: type[Typed], node: Node) -> Typed:
    """The part of the declaration in the node, as one of the classes above."""
    return kind(**{name: _value(hint, node[name]) for name, hint in typing.get_type_hints(kind).items()})


def _value(hint: Any, node: Node) -> Any:
    if dataclasses.is_dataclass(hint):
        return typed(typing.cast(type[Any], hint), node)
    if typing.get_origin(hint) is types.UnionType and type(None) in typing.get_args(hint):
        return None if node.value is None else _value(typing.get_args(hint)[0], node)
    if typing.get_origin(hint) is tuple:
        return tuple(_value(typing.get_args(hint)[0], entry) for entry in node.value or ())
    return _EMPTY.get(hint, "") if node.value is None else node.value


# --- the site --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SiteCertificate:
    """A certificate that clients see; ``file`` is its file on the controller, empty where it comes from elsewhere."""

    name: str
    names: tuple[str, ...]
    file: str


@dataclass(frozen=True)
class Site:
    """A declaration, the gateways that it is for, and its servers.

    ``tree`` has the same declaration with the place of each value, for sentences. ``neighbours`` are the gateways with
    which no address may be shared, as far as that is so: the site's own and others; ``foreign_servers`` are the servers
    of other sites, as far as the same is true of them.
    """

    tree: Node
    inventory: Inventory
    gateways: tuple[Gateway, ...]
    neighbours: tuple[Gateway, ...]
    servers: tuple[Server, ...]
    older_servers: tuple[Server, ...]
    foreign_servers: tuple[Server, ...] = ()

    @functools.cached_property
    def declaration(self) -> Declaration:
        """What is declared."""
        return typed(Declaration, self.tree)

    @property
    def name(self) -> str:
        """The name, which a site needs that isn't alone in the inventory."""
        return self.declaration.site

    def gateway(self, name: str) -> Gateway:
        """The gateway of that name."""
        return next(gateway for gateway in self.gateways if gateway.name == name)

    @functools.cached_property
    def server_hosts(self) -> frozenset[str]:
        """The names in the inventory of all servers, older ones too."""
        groups = (self.declaration.exchange.group, self.declaration.exchange.legacy_group)
        return frozenset(host for group in groups for host in self.inventory.group(group))

    def is_older(self, host: str) -> bool:
        """Whether a server is one of the older ones, which only have to take the newer ones' mail."""
        return host in self.inventory.group(self.declaration.exchange.legacy_group)

    @functools.cached_property
    def listens_on_ipv6(self) -> bool:
        """Whether the gateway listens on IPv6: as declared, else wherever it can."""
        if self.declaration.ipv6 is not None:
            return self.declaration.ipv6
        addresses = self.declaration.service_addresses
        return not addresses or any(address.version == 6 for address in addresses)

    @functools.cached_property
    def families(self) -> frozenset[int]:
        """The IP versions that the gateway listens on."""
        found = frozenset(address.version for address in self.declaration.service_addresses) or frozenset({4, 6})
        return found if self.listens_on_ipv6 else found - {6}

    @functools.cached_property
    def certificate_names(self) -> tuple[str, ...]:
        """The names of Exchange's certificate, the hostname first, the others in order."""
        hostname, names = self.declaration.hostname, self.declaration.certificate.names
        found = set(names or ())
        if names is None:
            found = {f"autodiscover.{domain}" for domain in self.declaration.domains} | ({hostname} - {""})
        return tuple(sorted(found, key=lambda name: (name != hostname, name)))

    @functools.cached_property
    def exchange_hostnames(self) -> tuple[str, ...]:
        """The names under which Exchange's web services are published, the hostname first, the others in order."""
        hostname = self.declaration.hostname
        names = frozenset(self.certificate_names)
        wanted = {hostname, *(f"autodiscover.{domain}" for domain in self.declaration.domains)} - {""}
        found = {name for name in wanted if covered(name, names)} | {name for name in names if name[0] != "*"}
        return tuple(sorted(found, key=lambda name: (name != hostname, name)))

    @functools.cached_property
    def needs_servers(self) -> bool:
        """Whether anything is published that Exchange answers."""
        one = self.declaration
        return one.https.enabled or one.smtp.enabled or one.imap.enabled or one.pop.enabled

    @functools.cached_property
    def relay_networks(self) -> tuple[Network, ...]:
        """The networks whose SMTP connections go out from the relay address; none where SMTP is off."""
        return self.declaration.smtp.relay_clients if self.declaration.smtp.enabled else ()

    @functools.cached_property
    def relay_networks_in_order(self) -> list[str]:
        """The same as texts, put in order once for all gateways: there may be 50,000."""
        return in_order(self.relay_networks)

    @functools.cached_property
    def tcp_services(self) -> tuple[schema.TcpService, ...]:
        """The TCP services that are passed on to Exchange."""
        return tuple(
            service
            for service in schema.TCP_SERVICES
            if all(self.tree[part][key].value for part, key in service.declared)
        )

    @functools.cached_property
    def published_ports(self) -> dict[int, str]:
        """The ports that clients reach, each with what is there."""
        ports = {service.port: service.name for service in self.tcp_services}
        if self.declaration.https.enabled or self.declaration.websites:
            ports.update({80: "http", 443: "https"})
        return ports

    @functools.cached_property
    def ssh_networks(self) -> tuple[Network, ...]:
        """The networks from which SSH is reached."""
        declared = self.declaration.ssh.networks
        return self.declaration.admin_networks if declared is None else declared

    def ssh_ports(self, gateway: Gateway) -> list[int]:
        """The ports of sshd on a gateway: the declared ones, and the one by which Ansible comes."""
        declared = self.declaration.ssh.ports
        own = gateway.ssh_port or (None if declared else schema.SSH_PORT)
        return sorted({*declared, *([own] if own else [])})

    @functools.cached_property
    def websites(self) -> tuple[Website, ...]:
        """The web sites, by name."""
        return tuple(sorted(self.declaration.websites, key=lambda website: website.name))

    @functools.cached_property
    def certificates(self) -> tuple[SiteCertificate, ...]:
        """The certificates that clients see: Exchange's first, then those of the web sites."""
        own = SiteCertificate(EXCHANGE_CERTIFICATE, self.certificate_names, self.declaration.certificate.file)
        return (
            *((own,) if self.declaration.https.enabled else ()),
            *(SiteCertificate(one.name, tuple(sorted(one.hostnames)), one.certificate_file) for one in self.websites),
        )

    @functools.cached_property
    def issued_certificates(self) -> tuple[SiteCertificate, ...]:
        """The certificates that the declared authority issues: those that no file is given for."""
        if not self.declaration.certificate.authority:
            return ()
        return tuple(certificate for certificate in self.certificates if not certificate.file)

    def peers(self, gateway: Gateway) -> list[Gateway]:
        """The other gateways, which have the same issued certificates, as far as they have an address, by name."""
        if not self.issued_certificates:
            return []
        return [one for one in self.gateways if one.name != gateway.name and one.peer_address]


def covered(name: str, certificate: Iterable[str]) -> bool:
    """Whether a certificate with these names is good for the name; a wildcard stands for one label (RFC 6125)."""
    return name in certificate or f"*.{name.partition('.')[2]}" in certificate
