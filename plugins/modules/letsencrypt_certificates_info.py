#!/usr/bin/python
# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: letsencrypt_certificates_info
short_description: How the certificates of a gateway are
version_added: 0.1.0
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Changes nothing. It asks HAProxy over TLS which certificates it presents, and goes by the settings that the host
    has.
  - Where HAProxy doesn't present a good one, it fails, unless O(required) is false.
options:
  play_hosts:
    description: The hosts that take part in this run, with which gateways take turns. Empty is all of them.
    type: list
    elements: str
    default: []
  wait:
    description: Seconds to wait for a certificate that comes from another gateway.
    type: int
    default: 30
  required:
    description: Whether every certificate has to be a good one. In check mode that isn't asked for.
    type: bool
    default: true
attributes:
  check_mode:
    description: Nothing is changed in any case.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: HAProxy presents a good certificate for every name
  postern.mail_gateway.letsencrypt_certificates_info: {}
  register: certificates

- name: The certificates are shown
  ansible.builtin.debug:
    msg: "{{ certificates.summary }}"
"""

RETURN = r"""
certificates:
  description: How each certificate is, as C(postern-certificates --check --json) says it.
  returned: success
  type: list
  elements: dict
  sample: [{name: mail, status: 0, problems: [], not_after: '2026-05-01T12:00:00+00:00'}]
summary:
  description: The same in words, a line each.
  returned: success
  type: list
  elements: str
  sample: ['mail: OK, mail.example.com until 2026-05-01T12:00:00+00:00 (82% of its lifetime left)']
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.certificates.issuing import Issuing, summary
from ..module_utils.certificates.provision import settings_of_host
from ..module_utils.host.modules import sentences


def work(module: AnsibleModule) -> dict[str, Any]:
    """Return the module's result."""
    settings = settings_of_host()
    if settings is None:
        return {"changed": False, "certificates": [], "summary": []}
    issuing = Issuing(settings, module.params["play_hosts"])
    required = module.params["required"] and not module.check_mode
    found = issuing.served(module.params["wait"]) if required else issuing.health()
    for sentence in issuing.warnings:
        module.warn(sentence)
    return {"changed": False, "certificates": found, "summary": summary(found)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "play_hosts": {"type": "list", "elements": "str", "default": []},
            "wait": {"type": "int", "default": 30},
            "required": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    result: dict[str, Any] = {}
    with sentences(module):
        result = work(module)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
