# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Additional addresses of a host, kept by a systemd unit of their own.

Debian hosts configure their network with ifupdown, systemd-networkd, NetworkManager, netplan or cloud-init; a unit
with ``ip address`` works beside each of them and touches none of their files.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..values.addresses import read_address
from .arguments import parsed
from .errors import HostError
from .files import mark

# Services that may take away addresses which they don't know when they are restarted, by an update for example
# (systemd-networkd 257 does, 252 doesn't): the unit is started again with them.
MANAGERS = ("networking.service", "systemd-networkd.service", "NetworkManager.service")

# An address on a host: (address, interface, prefix length).
Present = tuple[str, str, int]


@dataclass(frozen=True)
class Plan:
    """What should be: ``managed`` maps address to interface; ``add`` and ``remove`` are the differences to now."""

    managed: dict[str, str]
    add: dict[str, str] = field(default_factory=dict)
    remove: dict[str, str] = field(default_factory=dict)


def prefixed(address: str) -> str:
    """Return the address with its host prefix: a second address in a network needs no route of its own.

    >>> prefixed("10.0.0.5"), prefixed("2001:db8::5")
    ('10.0.0.5/32', '2001:db8::5/128')
    """
    return f"{address}/{ipaddress.ip_address(address).max_prefixlen}"


def present_addresses(links: Sequence[Mapping[str, Any]]) -> set[Present]:
    """Return the addresses of a host from ``ip -json address`` (ip-address(8)), those of links and loopback apart."""
    return {
        (str(ipaddress.ip_address(info["local"])), link["ifname"], info["prefixlen"])
        for link in links
        for info in link.get("addr_info", [])
        if info.get("scope") == "global" and "local" in info
    }


def plan(wanted: Iterable[str], links: Sequence[Mapping[str, Any]], managed: Mapping[str, str]) -> Plan:
    """Return what to add and remove so that every wanted address is on the host.

    An address that the host has by other means stays with these. Any other one goes to the interface whose network
    holds it, so that no interface has to be named: to the one with the smallest network, and among equals to the one
    where it is already. What is ours has the host prefix; the same address with another one is the host's own.

    :param wanted: the addresses, without prefix length.
    :param links: the output of ``ip -json address``, parsed.
    :param managed: what an earlier plan put there, address → interface.
    :raises HostError: an address that isn't one, or that lies in none of the host's networks.
    """
    present = present_addresses(links)
    own = [entry for entry in present if entry[0] not in managed or entry != _ours(entry[0], entry[1])]
    result: dict[str, str] = {}
    for text in dict.fromkeys(wanted):
        address = parsed("addresses", text, read_address)
        name = str(address)
        if any(name == entry[0] for entry in own):
            continue
        holders = [
            (-prefix, _ours(name, interface) not in present, interface)
            for holder, interface, prefix in own
            if address in ipaddress.ip_network(f"{holder}/{prefix}", strict=False)
        ]
        if not holders:
            networks = sorted({str(ipaddress.ip_network(f"{entry[0]}/{entry[2]}", strict=False)) for entry in own})
            raise HostError(
                f"The address {name} is in none of this host's networks ({', '.join(networks) or 'it has none'}); "
                "choose one that is, or configure it on the host."
            )
        result[name] = min(holders)[2]
    return Plan(
        result,
        add={address: interface for address, interface in result.items() if _ours(address, interface) not in present},
        remove={
            address: interface
            for address, interface in managed.items()
            if result.get(address) != interface and _ours(address, interface) in present
        },
    )


def _ours(address: str, interface: str) -> Present:
    return address, interface, ipaddress.ip_address(address).max_prefixlen


def unit(description: str, before: str, addresses: Mapping[str, str]) -> str:
    """Return the systemd unit that puts the addresses on the host at each start, before the service that needs them."""
    lines = [
        mark("postern.mail_gateway.source_addresses"),
        "[Unit]",
        f"Description={description}",
        "Wants=network-online.target",
        f"After=network-online.target {' '.join(MANAGERS)}",
        f"Before={before}",
        f"PartOf={' '.join(MANAGERS)}",
        "",
        "[Service]",
        "Type=oneshot",
        "RemainAfterExit=yes",
    ]
    for address, interface in sorted(addresses.items()):
        nodad = " nodad" if ":" in address else ""
        lines.append(f"ExecStart=ip address replace {prefixed(address)} dev {interface}{nodad}")
    lines += ["", "[Install]", "WantedBy=multi-user.target", ""]
    return "\n".join(lines)


def unit_addresses(text: str) -> dict[str, str]:
    """Return address → interface from a unit that ``unit`` made."""
    return dict(re.findall(r"^ExecStart=ip address replace (\S+)/\d+ dev (\S+)", text, re.MULTILINE))
