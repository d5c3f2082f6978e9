#!/usr/bin/python
# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: letsencrypt_identity
short_description: Who a gateway is to the others
version_added: 0.1.0
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Makes the key by which a gateway logs on to its peers, where it isn't there yet, and returns its public half, the
    SSH host keys, and what the gateway knows of its peers from earlier runs.
  - Where O(host) isn't the host of the play and can't be asked, that is a warning.
options:
  host:
    description: The host's name among the gateways.
    type: str
    required: true
  account:
    description: The account for SFTP on each gateway.
    type: str
    default: certificates
attributes:
  check_mode:
    description: Makes no key.
    support: full
  diff_mode:
    description: Names the key that is made.
    support: full
"""

EXAMPLES = r"""
- name: The gateways know each other's keys
  postern.mail_gateway.letsencrypt_identity:
    host: "{{ item }}"
  delegate_to: "{{ item }}"
  loop: "{{ groups.gateways }}"
  register: letsencrypt_identities
"""

RETURN = r"""
identity:
  description: The public key by which this host logs on to its peers, its own SSH host keys, and both of each peer as
    it knows them from earlier runs. Empty where it couldn't be asked.
  returned: success
  type: dict
  sample: {public_key: ssh-ed25519 AAAA certificates@gw1, host_keys: [ssh-ed25519 AAAA], peers: {}}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.certificates.identity import Identity
from ..module_utils.host.modules import sentences


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "account": {"type": "str", "default": "certificates"},
        },
        supports_check_mode=True,
    )
    result: dict[str, Any] = {}
    with sentences(module):
        result = Identity(module.params["host"], module.params["account"]).ensure(check_mode=module.check_mode)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
