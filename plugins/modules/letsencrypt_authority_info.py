#!/usr/bin/python
# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: letsencrypt_authority_info
short_description: Whether an ACME authority can issue what a gateway needs
version_added: 0.1.0
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Changes nothing, and fails where the variables or the authority can't be right. It is for the beginning of a run,
    before anything is installed.
  - The authority is asked only where something is to be issued.
extends_documentation_fragment: [postern.mail_gateway.letsencrypt]
attributes:
  check_mode:
    description: The authority isn't asked.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: What is asked for is sound
  postern.mail_gateway.letsencrypt_authority_info:
    host: "{{ inventory_hostname }}"
    certificates:
      - {name: mail, names: [mail.example.com, autodiscover.example.com]}
"""

RETURN = r"""
reasons:
  description: What is to be issued, and why.
  returned: success
  type: dict
  sample: {mail: there is only a self-signed one}
directory:
  description: The authority's ACME directory (RFC 8555, 7.1.1). Empty where it wasn't asked.
  returned: success
  type: dict
  sample: {newNonce: https://acme.example.com/nonce, newAccount: https://acme.example.com/account}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.certificates.arguments import CERTIFICATES
from ..module_utils.certificates.configuration import settings
from ..module_utils.certificates.identity import with_known_hosts
from ..module_utils.certificates.issuing import Issuing
from ..module_utils.host.modules import sentences


def main() -> None:
    module = AnsibleModule(argument_spec=CERTIFICATES, supports_check_mode=True)
    result: dict[str, Any] = {"changed": False, "directory": {}}
    with sentences(module):
        issuing = Issuing(settings(with_known_hosts(module.params)), module.params["play_hosts"])
        result["reasons"] = issuing.reasons()
        if result["reasons"] and not module.check_mode:
            result["directory"] = issuing.ask_authority(module.params["authority_ca"])
    module.exit_json(**result)


if __name__ == "__main__":
    main()
