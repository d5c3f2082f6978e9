# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of preflight. It runs on the controller: see the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
version_added: 0.1.0
short_description: Validates the declaration before anything is touched
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Validates the declaration C(mail_gateway) of every host in the inventory group C(gateways), the host variables that
    belong to it, the group of Exchange servers and the certificate files on the controller.
  - Every problem is said at once, each as one sentence with the variable's path, its value and what is expected. What
    is sound and may not be meant is a warning.
  - Where the Exchange servers are set up from here, the receive connectors that will result are computed too, as if
    each server were as Exchange's setup leaves it. What the role C(exchange) would refuse is a problem here already.
  - The whole inventory is looked at, whatever C(--limit) says, because the addresses of two gateways can clash.
  - Sites may share an inventory, each with a declaration of its own that names it. A server need not have a
    declaration; where it has one, it must be that of its site.
  - The variables of all roles are derived for every host at once. Nothing else may set them - a variable of the
    inventory or of the command line that is derived is a problem.
attributes:
  action:
    description: It runs on the controller, whichever host it is run for.
    support: full
  connection:
    description: No connection to any host is made.
    support: none
  check_mode:
    description: It changes nothing at all, so that check mode makes no difference.
    support: full
  diff_mode:
    description: There is no change to show.
    support: none
notes:
  - The declaration is read from the inventory and from extra variables. Variables of a play are not looked at.
  - The declaration is described in C(docs/declaration.md).
seealso:
  - plugin: postern.mail_gateway.certificate_accounts
    plugin_type: filter
"""

EXAMPLES = r"""
- name: The declaration is sound
  hosts: localhost:all
  gather_facts: false
  tasks:
    - name: Every gateway's declaration is validated
      postern.mail_gateway.preflight: {}
      run_once: true
"""

RETURN = r"""
msg:
  description: One sentence when all is well; else the number of problems, and then the problems one a line.
  type: str
  returned: always
  sample: "1 problem in the declaration:\nmail_gateway.hostname is \"mail\", but must be a full name such as
    mail.example.com, with a domain."
derived:
  description: For each gateway and each server that is set up from here, the C(variables) of its roles, and the
    C(groups) of the run that it is in. The playbook C(preflight) hands them on.
  type: dict
  returned: when the declaration is sound
connections:
  description: For each Exchange server, which receive connector will take the connections of each server, gateway and
    relay address and of the Internet, and whether it takes mail without a logon and relays it.
  type: dict
  returned: when the declaration is sound
  sample:
    ex1.example.com:
      - {who: relay clients, address: 10.10.0.111, connector: Mail gateway relay, anonymous: true, relay: true}
      - {who: internet, address: any, connector: Default Frontend EX1, anonymous: true, relay: false}
"""
