#!/usr/bin/python
# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: letsencrypt_certificates
short_description: Certificates from an ACME authority, on one gateway or several
version_added: 0.1.0
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Puts the program C(postern-certificates) onto a host and has it issue certificates by certbot, install them into
    HAProxy without a dropped connection, renew them by certbot's own timer, and hand them to the other gateways.
  - One gateway has a certificate issued, the first in O(gateways) that takes part in the run; the others get it from
    it over SFTP. No private key comes to the controller.
  - Certificates that are no longer listed are removed, and without any all that was made goes.
  - The authority is asked only where something is to be issued.
extends_documentation_fragment: [postern.mail_gateway.letsencrypt]
options:
  state:
    description:
      - Gone since 0.2.0, and ends in a sentence. What it did is done by this module without it (V(configured),
        V(issued)), and by M(postern.mail_gateway.letsencrypt_identity) (V(identity)),
        M(postern.mail_gateway.letsencrypt_authority_info) (V(checked)),
        M(postern.mail_gateway.letsencrypt_certificates_info) (V(served)) and
        M(postern.mail_gateway.letsencrypt_renewal) (V(renewed)).
    type: str
    choices: [identity, checked, configured, issued, served, renewed]
  wait:
    description: Gone since 0.2.0 as well; M(postern.mail_gateway.letsencrypt_certificates_info) has it.
    type: int
attributes:
  check_mode:
    description: Says exactly what would change and what would be issued, and asks the authority nothing.
    support: full
  diff_mode:
    description: A part for each file and each certificate; secrets are named only.
    support: full
"""

EXAMPLES = r"""
- name: Certificates are issued and renew themselves
  postern.mail_gateway.letsencrypt_certificates:
    host: "{{ inventory_hostname }}"
    certificates:
      - {name: mail, names: [mail.example.com, autodiscover.example.com]}
    contact: hostmaster@example.com
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
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.certificates.arguments import CERTIFICATES
from ..module_utils.certificates.certbot import refuse_foreign
from ..module_utils.certificates.configuration import settings
from ..module_utils.certificates.identity import with_known_hosts
from ..module_utils.certificates.issuing import Issuing
from ..module_utils.certificates.provision import Provision
from ..module_utils.host.errors import HostError
from ..module_utils.host.modules import sentences
from ..module_utils.host.units import is_active

OTHER_RENEWALS = ("snap.certbot.renew.timer", "acme.sh.timer", "dehydrated.timer", "uacme.timer")
"""Programs that renew beside certbot's package; the role's own timer is certbot.timer."""

GONE = {
    "identity": "call letsencrypt_identity",
    "checked": "call letsencrypt_authority_info",
    "configured": "leave it out",
    "issued": "leave it out",
    "served": "call letsencrypt_certificates_info",
    "renewed": "call letsencrypt_renewal",
}


def work(module: AnsibleModule) -> dict[str, Any]:
    """Compare, and change where that is asked for; return the module's result."""
    if state := module.params["state"]:
        raise HostError(
            f"state is '{state}', but letsencrypt_certificates has no states since 0.2.0; {GONE[state]} instead."
        )
    if module.params["wait"] is not None:
        raise HostError(
            f"wait is {module.params['wait']}, but letsencrypt_certificates waits for nothing since 0.2.0; "
            "call letsencrypt_certificates_info with it instead."
        )
    variables = with_known_hosts(module.params)
    wanted = settings(variables)
    refuse_foreign(wanted)
    for unit in (one for one in OTHER_RENEWALS if is_active(one)):
        module.warn(
            f"{unit} renews certificates on this host as well; have it leave out those of letsencrypt_certificates, or "
            f"run 'systemctl disable --now {unit}'."
        )
    provision, issuing = Provision(wanted, variables), Issuing(wanted, module.params["play_hosts"])
    reasons = issuing.plan()
    result: dict[str, Any] = {
        "changed": provision.changed or bool(reasons),
        "diff": [*provision.diff(), *issuing.diff],
        "reasons": reasons,
    }
    if not module.check_mode:
        if provision.changed:
            provision.apply()
        result["changed"] = issuing.issue() or result["changed"]
        for sentence in issuing.warnings:
            module.warn(sentence)
    return {**result, "certificates": issuing.health()}


def main() -> None:
    module = AnsibleModule(
        argument_spec={**CERTIFICATES, "state": {"type": "str", "choices": list(GONE)}, "wait": {"type": "int"}},
        supports_check_mode=True,
    )
    result: dict[str, Any] = {}
    with sentences(module):
        result = work(module)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
