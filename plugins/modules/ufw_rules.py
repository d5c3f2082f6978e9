#!/usr/bin/python
# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ufw_rules
short_description: ufw's whole rule set, compared and applied in one step
version_added: 0.1.0
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Takes every rule that the host should have, compares them with those that ufw has, writes ufw's files once and
    loads them once. The cost doesn't grow with the number of rules.
  - The new files are first tried by ufw's own start-up script in a network namespace of their own, as at the next
    boot. What the kernel holds there is compared with the B(running) firewall, so that a run that was cut short, or a
    chain that somebody emptied, is healed by the next run.
  - The running firewall is changed in one step a family, which the kernel takes as a whole or not at all. There is
    no moment without a firewall, and connections that are open live on.
  - Each rule carries O(marker) in its comment. What carries it and is no longer in O(rules) is removed; rules of
    others stay and keep their order, unless O(exact) is set. Bans of Fail2Ban (its action C(ufw)) always stay.
  - Rules that would shut out the SSH connection that the play comes by are refused before anything is changed. In
    case that something else shuts it out, the change is confirmed over a new connection, or the host goes back to
    what it was by itself.
  - IPv6 is always filtered too where the kernel has it.
  - ufw starts with the host from then on; rules that a restart takes away aren't in force.
options:
  rules:
    description:
      - The rules, in the order in which they should stand; the first one that fits decides.
      - Those that are there already stay in their place as far as their order is right. A new one comes behind the one
        that precedes it here, and behind all others where none does.
      - A rule of somebody else that is the same serves for one of these, and stays when this one goes. One that fits
        the same and says another thing is an error.
    type: list
    elements: dict
    required: true
    suboptions:
      action:
        description: What happens. V(limit) allows five new connections from an address within 30 seconds.
        type: str
        choices: [allow, deny, reject, limit]
        default: allow
      direction:
        description: Which packets. V(routed) are those that the host passes on.
        type: str
        choices: [in, out, routed]
        default: in
      protocol:
        description:
          - V(any), V(tcp), V(udp), V(vrrp), V(esp), V(ah), V(gre), V(igmp) or V(ipv6), or the number of one of them.
          - V(any) with a port means TCP and UDP.
        type: str
        default: any
      ports:
        description: Destination ports, each a number, a range V(6000:6007), or a name of C(/etc/services). None is any.
        type: list
        elements: str
        default: []
      source_ports:
        description: As O(rules[].ports), for where packets come from.
        type: list
        elements: str
        default: []
      sources:
        description:
          - Addresses and networks (CIDR) where packets come from. None, or V(any), is everywhere, of both families;
            V(0.0.0.0/0) is IPv4 alone, V(::/0) IPv6 alone.
          - A network with bits behind its prefix (V(10.0.0.5/8)) is refused. Any other spelling is made ufw's own.
          - Several make a rule each.
        type: list
        elements: str
        default: []
      destinations:
        description: As O(rules[].sources), for where packets go.
        type: list
        elements: str
        default: []
      application:
        description: Name of a profile in C(/etc/ufw/applications.d), which brings destination ports and protocols.
        type: str
        default: ''
      source_application:
        description: As O(rules[].application), for source ports.
        type: str
        default: ''
      interface:
        description: Interface where packets arrive, or which they leave by where the direction is V(out).
        type: str
        default: ''
      outgoing_interface:
        description: Interface which packets leave by, where the direction is V(routed).
        type: str
        default: ''
      log:
        description: Whether the first packet of a connection is logged (V(new)), or each (V(all)).
        type: str
        choices: [none, new, all]
        default: none
      comment:
        description: What the rule is for.
        type: str
        default: ''
  default_incoming:
    description: What happens to what comes in and no rule fits.
    type: str
    choices: [allow, deny, reject]
    default: deny
  default_outgoing:
    description: What happens to what goes out and no rule fits.
    type: str
    choices: [allow, deny, reject]
    default: allow
  default_routed:
    description: What happens to what is passed on and no rule fits.
    type: str
    choices: [allow, deny, reject]
    default: deny
  logging:
    description: ufw's level of logging.
    type: str
    choices: ['off', low, medium, high, full]
    default: low
  marker:
    description: What the comment of each rule of this module begins with. It tells them from those of others.
    type: str
    default: postern
  exact:
    description: Whether rules of others are removed too (Fail2Ban's bans aside).
    type: bool
    default: false
  confirmation_seconds:
    description: Seconds after which the host goes back to the old rules unless a new connection got through, from 5
      to 86400.
    type: int
    default: 60
attributes:
  check_mode:
    description: Says exactly what would change, and tries the new files where ufw is installed.
    support: full
  diff_mode:
    description: Shows the rules as the commands by which ufw would make them.
    support: full
"""

EXAMPLES = r"""
- name: SSH is open for the administrators, the web for everybody
  postern.mail_gateway.ufw_rules:
    rules:
      - {ports: [22], protocol: tcp, sources: [198.51.100.0/24, "2001:db8:a::/64"], comment: ssh}
      - {ports: [80, 443], protocol: tcp, comment: web}
"""

RETURN = r"""
rules:
  description: The rules of this module on the host afterwards, as ufw's commands.
  returned: always
  type: list
  elements: str
  sample: ["ufw allow 80,443/tcp comment 'postern: web'"]
other_rules:
  description: The rules of others, as ufw's commands.
  returned: always
  type: list
  elements: str
  sample: ["ufw allow 9100/tcp"]
reloaded:
  description: Whether files or the running firewall were changed.
  returned: always
  type: bool
rolled_back:
  description: What became of the last change if it was rolled back because nobody confirmed it; empty otherwise.
  returned: always
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.firewall.change import Firewall
from ..module_utils.firewall.rules import ACTIONS, DIRECTIONS, LOGS
from ..module_utils.firewall.ufw import LEVELS, Ufw
from ..module_utils.host.modules import sentences
from ..module_utils.host.ssh_client import origin
from ..module_utils.rollback.guard import RollbackGuard

POLICIES = ["allow", "deny", "reject"]

RULE = {
    "action": {"type": "str", "choices": list(ACTIONS), "default": "allow"},
    "direction": {"type": "str", "choices": list(DIRECTIONS), "default": "in"},
    "protocol": {"type": "str", "default": "any"},
    "ports": {"type": "list", "elements": "str", "default": []},
    "source_ports": {"type": "list", "elements": "str", "default": []},
    "sources": {"type": "list", "elements": "str", "default": []},
    "destinations": {"type": "list", "elements": "str", "default": []},
    "application": {"type": "str", "default": ""},
    "source_application": {"type": "str", "default": ""},
    "interface": {"type": "str", "default": ""},
    "outgoing_interface": {"type": "str", "default": ""},
    "log": {"type": "str", "choices": list(LOGS), "default": "none"},
    "comment": {"type": "str", "default": ""},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "rules": {"type": "list", "elements": "dict", "required": True, "options": RULE},
            "default_incoming": {"type": "str", "choices": POLICIES, "default": "deny"},
            "default_outgoing": {"type": "str", "choices": POLICIES, "default": "allow"},
            "default_routed": {"type": "str", "choices": POLICIES, "default": "deny"},
            "logging": {"type": "str", "choices": list(LEVELS), "default": "low"},
            "marker": {"type": "str", "default": "postern"},
            "exact": {"type": "bool", "default": False},
            "confirmation_seconds": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    result: dict[str, Any] = {}
    with sentences(module):
        guard = RollbackGuard("firewall", module.params["confirmation_seconds"])
        result = Firewall(Ufw(), guard, module.params, origin(), module.warn, check_mode=module.check_mode).run()
    # As Ansible returns them, but for the rules: what came of them is in the result, and hundreds of them take time.
    given = {name: value for name, value in module.params.items() if name != "rules"}
    module.exit_json(**result, invocation={"module_args": given})


if __name__ == "__main__":
    main()
