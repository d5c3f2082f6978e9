# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter exchange_variables: the declaration in, the variables of a server's role out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..plugin_utils.declaration import schema
from ..plugin_utils.declaration.native import exchange_group, plain, read_inventory, reason
from ..plugin_utils.declaration.validation import check
from ..plugin_utils.derivation.exchange import derive_exchange

DOCUMENTATION = r"""
name: exchange_variables
version_added: 0.1.0
short_description: The variables of the role exchange, derived from the declaration
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Turns the declaration C(mail_gateway) and the few host variables that belong to it into the variables of the role
    P(postern.mail_gateway.exchange#role) for one server.
  - Of several sites in one inventory, a gateway is the server's if its declaration names the same group of servers.
positional: inventory_hostname, groups, hostvars
options:
  _input:
    description: The declaration, as described in C(docs/declaration.md).
    type: dict
    required: true
  inventory_hostname:
    description: The server's name in the inventory.
    type: str
    required: true
  groups:
    description: The magic variable C(groups).
    type: dict
    required: true
  hostvars:
    description: The magic variable C(hostvars).
    type: dict
    required: true
seealso:
  - plugin: postern.mail_gateway.gateway_variables
    plugin_type: filter
notes:
  - When the declaration isn't sound, the filter fails with one sentence for each problem.
"""

EXAMPLES = r"""
- name: Exchange is as the declaration says
  hosts: exchange
  gather_facts: false
  tasks:
    - name: The server's variables are known
      ansible.builtin.set_fact:
        server: "{{ mail_gateway | postern.mail_gateway.exchange_variables(inventory_hostname, groups, hostvars) }}"
"""

RETURN = r"""
_value:
  description: The variables of the role, by name.
  type: dict
  contains:
    exchange_receive_connectors:
      description: The receive connectors.
      type: list
      elements: dict
    exchange_transport:
      description: The transport service.
      type: dict
    exchange_frontend_transport:
      description: The front end transport service.
      type: dict
    exchange_imap:
      description: IMAP; empty where it isn't published.
      type: dict
    exchange_pop:
      description: POP3; empty where it isn't published.
      type: dict
    exchange_edge_traversal_ports:
      description: The ports of clients whose firewall rules allow edge traversal.
      type: list
      elements: int
    exchange_server_addresses:
      description: The addresses of all servers.
      type: list
      elements: str
    exchange_gateway_addresses:
      description: The addresses from which anybody's mail comes.
      type: list
      elements: str
    exchange_relay_addresses:
      description: The addresses from which relay clients come.
      type: list
      elements: str
"""


def exchange_variables(
    declaration: Any, inventory_hostname: str, groups: Mapping[str, Any], hostvars: Mapping[str, Any]
) -> dict[str, Any]:
    """The variables for one server; AnsibleFilterError with a sentence for each problem."""
    try:
        declaration = plain(declaration)
        group = exchange_group(declaration)
        gateways = [
            str(name)
            for name in groups.get(schema.GATEWAYS, ())
            if exchange_group(plain(hostvars[name].get(schema.DECLARATION.name))) == group
        ]
        # The older servers are read like gateways are: for their addresses.
        older = groups.get(exchange_group(declaration, legacy=True), ())
        inventory = read_inventory(groups, hostvars, [*gateways, *older], group)
    except Exception as error:  # noqa: BLE001 (a template in the declaration or in a host variable)
        raise AnsibleFilterError(f"The declaration can't be evaluated: {reason(error)}.") from None
    checked = check(declaration, inventory, gateways)
    if checked.problems:
        raise AnsibleFilterError("\n".join(map(str, checked.problems)))
    return derive_exchange(checked.site, str(inventory_hostname))


class FilterModule:
    """Ansible's entry to the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"exchange_variables": exchange_variables}
