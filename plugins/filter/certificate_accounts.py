# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter certificate_accounts: what gateways know of each other in, accounts for the role sshd out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..module_utils.certificates.identity import known_identities

DOCUMENTATION = r"""
name: certificate_accounts
version_added: 0.1.0
short_description: The account by which other gateways bring certificates
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Turns what the gateways report of themselves into C(sshd_sftp_accounts) for the role
    P(postern.mail_gateway.sshd#role) - one account for SFTP alone, with the keys of the other gateways.
  - There is none where there are no other gateways.
positional: inventory_hostname
options:
  _input:
    description:
      - What C(letsencrypt_identities) holds after the tasks C(identity) of the role
        P(postern.mail_gateway.letsencrypt#role), a loop's result. Skipped tasks, and a gateway that has no key yet,
        count for nothing. Of one that couldn't be asked the key counts that is known from an earlier run.
    type: dict
    required: true
  inventory_hostname:
    description: The name in the inventory of the gateway that gets the account.
    type: str
    required: true
seealso:
  - module: postern.mail_gateway.preflight
"""

EXAMPLES = r"""
- name: The other gateways may bring certificates
  ansible.builtin.import_role:
    name: postern.mail_gateway.sshd
  vars:
    sshd_sftp_accounts: "{{ letsencrypt_identities | postern.mail_gateway.certificate_accounts(inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: The accounts, each with C(name) and C(keys).
  type: list
  elements: dict
"""

ACCOUNT = "certificates"


def certificate_accounts(identities: Mapping[str, Any], inventory_hostname: str) -> list[dict[str, Any]]:
    """The accounts for SFTP alone on one gateway."""
    known = known_identities(identities.get("results", ()), inventory_hostname)
    others = [str(one["public_key"]) for name, one in sorted(known.items()) if name != inventory_hostname]
    others = [key for key in others if key]
    return [{"name": ACCOUNT, "keys": others}] if others else []


class FilterModule:
    """Ansible's entry to the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"certificate_accounts": certificate_accounts}
