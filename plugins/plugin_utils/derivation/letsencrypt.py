# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the declaration to the variables of the role letsencrypt, and what other roles do for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..addresses import Address, in_order
from ..declaration.rules import Site, ssh_ports
from ..declaration.tree import Gateway
from .haproxy import haproxy_certificates

HTTP_PORT = 8402


def derive_letsencrypt(site: Site) -> dict[str, Any]:
    """The role's variables for the site's first gateway; all others keep their defaults.

    Where no authority is declared there are no certificates for the role, and what an earlier declaration made goes.
    """
    certificate = site.tree["certificate"]
    peers = peers_of(site)
    names = sorted({site.gateways[0].name, *(peer.name for peer in peers)})
    return {
        "letsencrypt_certificates": issued_certificates(site),
        "letsencrypt_authority": certificate["authority"].value or "letsencrypt",
        "letsencrypt_authority_ca_file": certificate["authority_ca_file"].value,
        "letsencrypt_contact": certificate["contact"].value,
        "letsencrypt_external_account_key_id": certificate["external_account_key_id"].value,
        "letsencrypt_gateways": names,
        "letsencrypt_peers": [
            {"name": peer.name, "address": str(_address(peer)), "port": ssh_ports(site.tree, peer)[0]} for peer in peers
        ],
        "letsencrypt_tls_address": _tls_address(site),
    }


def issued_certificates(site: Site) -> list[dict[str, Any]]:
    """The certificates that the declared authority issues: those that no file is given for."""
    if not site.tree["certificate"]["authority"].value:
        return []
    found = [entry for entry in haproxy_certificates(site.tree) if not entry["file"]]
    return [{"name": entry["name"], "names": entry["names"]} for entry in found]


def peers_of(site: Site) -> list[Gateway]:
    """The other gateways that have the same certificates, as far as their addresses are known, by name."""
    if not issued_certificates(site):
        return []
    here = site.gateways[0].name
    return sorted((one for one in site.neighbours if one.name != here and _address(one)), key=lambda one: one.name)


def challenge_variables(site: Site) -> dict[str, Any]:
    """What the role haproxy does for it: challenges are passed on to the client that asked for them."""
    return {
        "haproxy_acme_port": HTTP_PORT if issued_certificates(site) else 0,
        "haproxy_acme_peers": in_order(_addresses(peers_of(site))),
    }


def peer_rules(site: Site) -> list[dict[str, Any]]:
    """What the role firewall opens for it: the other gateways bring certificates and challenges."""
    sources = in_order(_addresses(peers_of(site)))
    if not sources:
        return []
    here = site.gateways[0]

    def rule(comment: str, ports: list[int], destinations: list[str]) -> dict[str, Any]:
        return {
            "ports": ports, "protocol": "tcp", "sources": sources, "destinations": destinations, "comment": comment,
        }  # fmt: skip

    rules = [rule("certificates from the other gateways", ssh_ports(site.tree, here), [])]
    if site.tree["service_addresses"].values and here.egress:
        rules.append(rule("ACME challenges from the other gateways", [80], [str(here.egress)]))
    return rules


def _addresses(gateways: Iterable[Gateway]) -> list[Address]:
    return [address for address in map(_address, gateways) if address]


def _address(gateway: Gateway) -> Address | None:
    """Where the others reach a gateway: the address that it speaks from itself, so that firewalls see the same one."""
    return gateway.egress or gateway.reached_at


def _tls_address(site: Site) -> str:
    addresses = in_order(site.tree["service_addresses"].values)
    return addresses[0] if addresses else "127.0.0.1"
