#!/usr/bin/python
# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: probes
short_description: Asks services what a client would see
version_added: 0.1.0
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Asks web, mail and mailbox services in their own protocols, from the host that it runs on, and returns what came.
  - It changes nothing. Any Linux host with Python 3.9 or later will do, and no privileges are needed.
  - Whatever goes wrong is in the answer's C(error); the module itself doesn't fail for it.
options:
  probes:
    description:
      - The questions. Each has a C(kind), which is C(http), C(session), C(smtp), C(imap), C(pop3), C(tcp), C(tls),
        C(tls_versions) or C(dialogue), and the keys that it takes; C(module_utils/probes/clients.py) describes them.
      - C(password_of) in place of C(password) names an entry of O(secrets).
    type: list
    elements: dict
    required: true
  secrets:
    description: Passwords of test mailboxes, by any name.
    type: dict
    default: {}
  parallel:
    description: How many probes are under way at the same time.
    type: int
    default: 16
  at_once:
    description: How many of them go to one address at the same time, since services limit what one client may have.
    type: int
    default: 4
attributes:
  check_mode:
    description: It changes nothing, so that it does the same in check mode.
    support: full
  diff_mode:
    description: There is no change to show.
    support: none
"""

EXAMPLES = r"""
- name: What a client sees of port 25 is known
  postern.mail_gateway.probes:
    probes:
      - {kind: tls, connect: mail.example.com, family: 6, port: 25, starttls: smtp, server_name: mail.example.com}
      - {kind: http, url: "https://mail.example.com/owa/", connect: 192.0.2.10}
"""

RETURN = r"""
answers:
  description: What came to each probe, in the order of O(probes).
  returned: always
  type: list
  elements: dict
  sample:
    - {error: "ConnectionRefusedError: [Errno 111] Connection refused"}
    - {status: 302, headers: {location: /owa/auth/logon.aspx}, peer: 192.0.2.10}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.probes.clients import AT_ONCE, KINDS, ask_all
from ..module_utils.values.sentences import show


def problem(probes: list[dict[str, Any]], secrets: dict[str, Any]) -> str:
    """Return what is wrong with the probes, in one sentence; empty where nothing is."""
    for number, probe in enumerate(probes):
        kind = probe.get("kind")
        if kind not in KINDS:
            return f"probes[{number}].kind is {show(kind)}, but must be one of {', '.join(sorted(KINDS))}."
        if "password_of" in probe and probe["password_of"] not in secrets:
            return f"probes[{number}].password_of is {show(probe['password_of'])}, which isn't in secrets."
    return ""


def main() -> None:
    """Ask."""
    module = AnsibleModule(
        argument_spec={
            "probes": {"type": "list", "elements": "dict", "required": True},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "parallel": {"type": "int", "default": 16},
            "at_once": {"type": "int", "default": AT_ONCE},
        },
        supports_check_mode=True,
    )
    probes, secrets = module.params["probes"], module.params["secrets"]
    if sentence := problem(probes, secrets):
        module.fail_json(msg=sentence)
    known = [{**one, "password": secrets[one["password_of"]]} if "password_of" in one else one for one in probes]
    answers = ask_all(known, module.params["parallel"], module.params["at_once"])
    module.exit_json(changed=False, answers=answers)


if __name__ == "__main__":
    main()
