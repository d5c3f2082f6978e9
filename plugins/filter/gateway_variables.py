# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter gateway_variables: the declaration in, the variables of a gateway's roles out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..plugin_utils.declaration.native import exchange_group, fellow_gateways, plain, read_inventory, reason
from ..plugin_utils.declaration.validation import check, validate
from ..plugin_utils.derivation.gateway import derive_gateway

DOCUMENTATION = r"""
name: gateway_variables
version_added: 0.1.0
short_description: The variables of a gateway's roles, derived from the declaration
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Turns the declaration C(mail_gateway) and the few host variables that belong to it into the variables of the
    roles P(postern.mail_gateway.firewall#role), P(postern.mail_gateway.sshd#role),
    P(postern.mail_gateway.haproxy#role), P(postern.mail_gateway.fail2ban#role) and
    P(postern.mail_gateway.letsencrypt#role) for one gateway.
  - The order of entries in the declaration and of hosts in the inventory makes no difference to the result.
  - Of the other hosts only the servers in the declaration's group are looked at, and where an authority for
    certificates is declared, the other gateways with the same declaration. What concerns several gateways, such
    as one address used twice, is the business of M(postern.mail_gateway.preflight).
positional: inventory_hostname, groups, hostvars
options:
  _input:
    description: The declaration, as described in C(docs/declaration.md).
    type: dict
    required: true
  inventory_hostname:
    description: The gateway's name in the inventory.
    type: str
    required: true
  groups:
    description: The magic variable C(groups).
    type: dict
    required: true
  hostvars:
    description:
      - The magic variable C(hostvars). Read are C(mail_gateway_egress_address), C(mail_gateway_relay_address),
        C(mail_gateway_external_account_hmac_key), C(ansible_host) and C(ansible_port) of the gateway, and
        C(mail_gateway_server_address), C(mail_gateway_server_weight) and C(ansible_host) of the servers.
    type: dict
    required: true
seealso:
  - module: postern.mail_gateway.preflight
notes:
  - When the declaration isn't sound, the filter fails with one sentence for each problem.
"""

EXAMPLES = r"""
- name: HAProxy serves what the declaration says
  hosts: gateways
  tasks:
    - name: The gateway's variables are known
      ansible.builtin.set_fact:
        gateway: "{{ mail_gateway | postern.mail_gateway.gateway_variables(inventory_hostname, groups, hostvars) }}"

    - name: The first server is shown
      ansible.builtin.debug:
        msg: "{{ gateway.haproxy_servers[0].address }}"
"""

RETURN = r"""
_value:
  description: The variables of the roles, by name.
  type: dict
  contains:
    mail_gateway_managed:
      description: For each role that the declaration can leave out, C(firewall), C(sshd) and C(fail2ban), whether it
        runs.
      type: dict
    firewall_rules:
      description: What is open, each rule with C(ports), C(protocol), C(sources), C(destinations) and C(comment).
      type: list
      elements: dict
    firewall_exact:
      description: Whether rules of others are removed.
      type: bool
    letsencrypt_certificates:
      description: The certificates that the authority issues, each with C(name) and C(names).
      type: list
      elements: dict
    letsencrypt_authority:
      description: A known authority's name, or the address of an ACME directory.
      type: str
    letsencrypt_authority_ca_file:
      description: Path on the controller of the root of the authority's own server; empty for the host's trust store.
      type: str
    letsencrypt_contact:
      description: E-mail address of the account at the authority.
      type: str
    letsencrypt_external_account_key_id:
      description: Key identifier of the account that the authority binds it to; empty where it binds it to none.
      type: str
    letsencrypt_gateways:
      description: The gateways with the same certificates, in the order in which they renew.
      type: list
      elements: str
    letsencrypt_peers:
      description: The others of them, each with C(name), C(address) and C(port).
      type: list
      elements: dict
    letsencrypt_tls_address:
      description: Where the gateway asks itself which certificate it presents.
      type: str
    haproxy_acme_port:
      description: Port on which the ACME client listens while it is validated; 0 where there is none.
      type: int
    haproxy_acme_peers:
      description: Addresses of the other gateways, which may know a challenge.
      type: list
      elements: str
    fail2ban_jails:
      description: Who is banned, and from what, each with C(name), C(ports), C(max_retry) and the times in seconds.
      type: list
      elements: dict
    fail2ban_ignored_networks:
      description: Networks that are never banned, in CIDR notation.
      type: list
      elements: str
    sshd_ports:
      description: The ports that sshd listens on; empty for those that it has.
      type: list
      elements: int
    sshd_root_logon:
      description: C(key) or C(none).
      type: str
    sshd_older_clients:
      description: Whether a key exchange is offered that older clients know.
      type: bool
    sshd_authorized_keys:
      description: Administrators' accounts, each with C(user), C(keys) and C(exclusive).
      type: list
      elements: dict
    haproxy_listen_addresses:
      description: Addresses to listen on; C(0.0.0.0) is every IPv4 address, C(::) every IPv6 address and none of IPv4.
      type: list
      elements: str
    haproxy_hostname:
      description: The name used in EHLO, and as Host and SNI towards the servers.
      type: str
    haproxy_servers:
      description: The Exchange servers, each with C(name), C(address) and C(weight).
      type: list
      elements: dict
    haproxy_egress_address:
      description: The address from which connections to the servers come; empty for the kernel's choice.
      type: str
    haproxy_relay_address:
      description: The address from which connections of relay clients come; empty where there are none.
      type: str
    haproxy_relay_networks:
      description: The relay clients, in CIDR notation.
      type: list
      elements: str
    haproxy_admin_networks:
      description: Networks that reach closed paths and health pages, in CIDR notation.
      type: list
      elements: str
    haproxy_monitoring_networks:
      description: Networks that reach statistics and metrics, in CIDR notation.
      type: list
      elements: str
    haproxy_metrics_port:
      description: The port of statistics and metrics.
      type: int
    haproxy_exchange_hostnames:
      description: The names under which Exchange's web services are published; empty where none are.
      type: list
      elements: str
    haproxy_exchange_certificate:
      description: The name of their entry in C(haproxy_certificates); empty where none are published.
      type: str
    haproxy_exchange_ca_file:
      description: Path on the controller of the authority's certificate; empty for the host's own trust store.
      type: str
    haproxy_virtual_directories:
      description: The published virtual directories, each with C(name), C(path), C(health_path) and C(closed).
      type: list
      elements: dict
    haproxy_long_poll_timeout:
      description: Seconds that a request may stay unanswered.
      type: int
    haproxy_limits:
      description: The limits of one client, C(connections), C(connection_rate), C(request_rate), C(failed_logons).
      type: dict
    haproxy_tcp_services:
      description: The published TCP services, each with C(name), C(port), C(check) and C(relay).
      type: list
      elements: dict
    haproxy_websites:
      description: Other web sites, each with C(name), C(hostnames), C(certificate), C(http2) and C(servers).
      type: list
      elements: dict
    haproxy_certificates:
      description: The certificates, each with C(name), C(names) and C(file).
      type: list
      elements: dict
"""


def gateway_variables(
    declaration: Any, inventory_hostname: str, groups: Mapping[str, Any], hostvars: Mapping[str, Any]
) -> dict[str, Any]:
    """The variables for one gateway; AnsibleFilterError with a sentence for each problem."""
    try:
        host = str(inventory_hostname)
        declaration = plain(declaration)
        fellows = fellow_gateways(declaration, host, groups, hostvars)
        inventory = read_inventory(groups, hostvars, [host, *fellows], exchange_group(declaration))
    except Exception as error:  # noqa: BLE001 (a template in the declaration or in a host variable)
        raise AnsibleFilterError(f"The declaration can't be evaluated: {reason(error)}.") from None
    problems = validate(declaration, inventory, [host])
    if problems:
        raise AnsibleFilterError("\n".join(str(problem) for problem in problems))
    site = check(declaration, inventory, [host, *fellows]).site
    return derive_gateway(site, site.gateway(host))


class FilterModule:
    """Ansible's entry to the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"gateway_variables": gateway_variables}
