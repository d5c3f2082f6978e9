# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of role_variables. It runs on the controller: see the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: role_variables
version_added: 0.1.0
short_description: Reads a role's variables before anything is touched
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Reads every variable of a role of this collection by the parsers that read the declaration, and holds those against
    each other that must fit.
  - Every problem is said at once, each as one sentence with the variable's path, its value and what is expected.
  - What it returns is all that the role puts into files; a value that isn't returned reaches none.
options:
  role:
    description: The role.
    type: str
    choices: [haproxy]
    required: true
attributes:
  action:
    description: It runs on the controller, whichever host it is run for.
    support: full
  connection:
    description: No connection to the host is made.
    support: none
  check_mode:
    description: It changes nothing at all, so that check mode makes no difference.
    support: full
  diff_mode:
    description: There is no change to show.
    support: none
notes:
  - It is the first task of its role, whose defaults it needs; there is nothing to use it for elsewhere.
seealso:
  - module: postern.mail_gateway.preflight
"""

EXAMPLES = r"""
- name: What is asked for is sound
  postern.mail_gateway.role_variables:
    role: haproxy
  register: haproxy_read
"""

RETURN = r"""
variables:
  description: The role's variables by name, in their exact form.
  returned: success
  type: dict
  sample: {haproxy_relay_networks: [10.20.0.25/32], haproxy_metrics_port: 8404}
"""
