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

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressError(ValueError):
    """One sentence about an address that can't be put on the host."""


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


def present_addresses(links: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, int]]:
    """Return address → (interface, prefix length) from ``ip -json address`` (ip-address(8))."""
    return {
        info["local"]: (link["ifname"], info["prefixlen"])
        for link in links
        for info in link.get("addr_info", [])
        if info.get("scope") == "global" and "local" in info
    }


def plan(wanted: Iterable[str], links: Sequence[Mapping[str, Any]], managed: Mapping[str, str]) -> Plan:
    """Return what to add and remove so that every wanted address is on the host.

    An address that the host has by other means stays with these. Any other one goes to the interface whose network
    holds it, so that no interface has to be named.

    :param wanted: the addresses, without prefix length.
    :param links: the output of ``ip -json address``, parsed.
    :param managed: what an earlier plan put there, address → interface.
    :raises AddressError: an address that isn't one, or that lies in none of the host's networks.
    """
    present = present_addresses(links)
    result: dict[str, str] = {}
    for text in dict.fromkeys(wanted):
        try:
            address = ipaddress.ip_address(text)
        except ValueError as error:
            raise AddressError(f"'{text}' is not an IP address; give one without prefix length.") from error
        name = str(address)
        if name in present and name not in managed:
            continue
        holders = sorted(
            (-prefix, interface)
            for own, (interface, prefix) in present.items()
            if own not in managed
            and ipaddress.ip_address(own).version == address.version
            and address in ipaddress.ip_network(f"{own}/{prefix}", strict=False)
        )
        if not holders:
            networks = sorted(
                {str(ipaddress.ip_network(f"{own}/{prefix}", strict=False)) for own, (_, prefix) in present.items()}
            )
            raise AddressError(
                f"The address {name} is in none of this host's networks ({', '.join(networks) or 'it has none'}); "
                "choose one that is, or configure it on the host."
            )
        result[name] = holders[0][1]
    add = {address: interface for address, interface in result.items() if present.get(address, ("", 0))[0] != interface}
    remove = {address: interface for address, interface in managed.items() if result.get(address) != interface}
    return Plan(result, add, {address: interface for address, interface in remove.items() if address in present})


def unit(description: str, before: str, addresses: Mapping[str, str]) -> str:
    """Return the systemd unit that puts the addresses on the host at each start, before the service that needs them."""
    lines = [
        "# Written by Ansible (postern.mail_gateway.source_addresses); changes here are overwritten.",
        "[Unit]",
        f"Description={description}",
        "Wants=network-online.target",
        "After=network-online.target",
        f"Before={before}",
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
