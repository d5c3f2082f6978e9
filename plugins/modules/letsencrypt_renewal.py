#!/usr/bin/python
# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: letsencrypt_renewal
short_description: All certificates of a gateway issued anew at once
version_added: 0.1.0
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Has every certificate issued anew, due or not, and hands it to the other gateways. The first gateway that takes part
    in the run acts, by the settings that it has.
  - Renewals by age need nobody; certbot's timer does them.
options:
  play_hosts:
    description: The hosts that take part in this run, with which gateways take turns. Empty is all of them.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Says what would be issued, and asks the authority nothing.
    support: full
  diff_mode:
    description: A part for each certificate.
    support: full
"""

EXAMPLES = r"""
- name: Certificates are issued anew and handed to the other gateways
  postern.mail_gateway.letsencrypt_renewal:
    play_hosts: "{{ ansible_play_hosts }}"
"""

RETURN = r"""
certificates:
  description: How each certificate is, as C(postern-certificates --check --json) says it.
  returned: success
  type: list
  elements: dict
  sample: [{name: mail, status: 0, problems: [], not_after: '2026-05-01T12:00:00+00:00'}]
reasons:
  description: What was or would be issued, and why.
  returned: success
  type: dict
  sample: {mail: there is only a self-signed one}
summary:
  description: What is issued and why, a line each.
  returned: success
  type: list
  elements: str
  sample: ['mail: it is asked for, the one in use ends at 2026-05-01T12:00:00+00:00']
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.certificates.issuing import Issuing
from ..module_utils.certificates.settings import load
from ..module_utils.host.modules import sentences


def work(module: AnsibleModule) -> dict[str, Any]:
    """Renew where that is asked for; return the module's result."""
    issuing = Issuing(load(), module.params["play_hosts"])
    reasons = issuing.plan_renewal()
    if reasons and not module.check_mode:
        issuing.renew(list(reasons))
        for sentence in issuing.warnings:
            module.warn(sentence)
    return {
        "changed": bool(reasons),
        "diff": issuing.diff,
        "reasons": reasons,
        "summary": [f"{name}: {reason}" for name, reason in reasons.items()],
        "certificates": issuing.health(),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={"play_hosts": {"type": "list", "elements": "str", "default": []}}, supports_check_mode=True
    )
    result: dict[str, Any] = {}
    with sentences(module):
        result = work(module)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
