# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a site to the variables of the role letsencrypt, and what other roles do for it."""

from __future__ import annotations

from ..addresses import in_order
from ..declaration.site import Site
from ..declaration.tree import Gateway
from .role import Derived, Opening, texts


def derive_letsencrypt(site: Site, gateway: Gateway) -> Derived:
    """The role's variables; all others keep their defaults. The other gateways bring certificates and challenges.

    Where no authority is declared there are no certificates for the role, and what an earlier declaration made goes.
    """
    certificate = site.declaration.certificate
    peers = site.peers(gateway)
    services = in_order(site.declaration.service_addresses)
    variables = {
        "letsencrypt_certificates": [{"name": one.name, "names": list(one.names)} for one in site.issued_certificates],
        "letsencrypt_authority": certificate.authority or "letsencrypt",
        "letsencrypt_authority_ca_file": certificate.authority_ca_file,
        "letsencrypt_contact": certificate.contact,
        "letsencrypt_external_account_key_id": certificate.external_account_key_id,
        "letsencrypt_gateways": sorted({gateway.name, *(peer.name for peer in peers)}),
        "letsencrypt_peers": [
            {"name": peer.name, "address": str(peer.peer_address), "port": site.ssh_ports(peer)[0]} for peer in peers
        ],
        "letsencrypt_tls_address": services[0] if services else "127.0.0.1",
    }
    return Derived(variables, _openings(site, gateway))


def _openings(site: Site, gateway: Gateway) -> tuple[Opening, ...]:
    sources = texts(peer.peer_address for peer in site.peers(gateway) if peer.peer_address)
    if not sources:
        return ()
    ports = tuple(site.ssh_ports(gateway))
    found = [Opening("certificates from the other gateways", ports, sources=sources)]
    if site.declaration.service_addresses and gateway.egress:
        own = (str(gateway.egress),)
        found.append(Opening("ACME challenges from the other gateways", (80,), sources=sources, destinations=own))
    return tuple(found)
