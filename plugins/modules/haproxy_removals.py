#!/usr/bin/python
# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_removals
short_description: Refuses to take Exchange servers out of service that nobody named
version_added: 0.1.0
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Asks HAProxy which Exchange servers it has, and fails where one of them isn't among those that it is to have. An
    inventory that is read in part only, or from which a host was switched off, isn't a decision to remove it.
  - Nothing is changed.
options:
  servers:
    description: The servers that HAProxy is to have, each with its C(name) and C(address).
    type: list
    elements: dict
    required: true
  removable:
    description: Names or addresses of the servers that may leave.
    type: list
    elements: str
    default: []
  variable:
    description: The variable that the sentence names.
    type: str
    default: mail_gateway_removed
  socket:
    description: HAProxy's C(stats socket).
    type: path
    default: /run/haproxy/admin.sock
  configuration:
    description: HAProxy's configuration, which is looked at too, for what HAProxy would start with.
    type: path
    default: /etc/haproxy/haproxy.cfg
attributes:
  check_mode:
    description: It changes nothing at all.
    support: full
  diff_mode:
    description: There is no change to show.
    support: none
"""

EXAMPLES = r"""
- name: No server is taken out of service unseen
  postern.mail_gateway.haproxy_removals:
    servers:
      - {name: ex1, address: 10.10.0.21}
    removable: [ex2]
"""

RETURN = r"""
servers:
  description: The Exchange servers that HAProxy has, each with its address or host name.
  returned: success
  type: dict
  sample: {"ex1": "10.10.0.21", "ex2": "10.10.0.22"}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.haproxy.removals import in_service, leaving
from ..module_utils.host.arguments import arguments
from ..module_utils.host.modules import sentences
from ..module_utils.values.names import read_host, read_inventory_name
from ..module_utils.values.sentences import Unfit
from ..module_utils.values.texts import read_host_path, read_variable


def read_server(value: Any) -> dict[str, str]:
    """Return a server that may be in service: its name, and its address or the name that stands for it."""
    if not isinstance(value, Mapping) or not {"name", "address"} <= set(value):
        raise Unfit("but must have a name and an address")
    return {"name": read_inventory_name(value["name"]), "address": str(read_host(value["address"], loopback=True))}


PARSERS = {
    "servers": read_server,
    "variable": read_variable,
    "socket": read_host_path,
    "configuration": read_host_path,
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "servers": {"type": "list", "elements": "dict", "required": True},
            "removable": {"type": "list", "elements": "str", "default": []},
            "variable": {"type": "str", "default": "mail_gateway_removed"},
            "socket": {"type": "path", "default": "/run/haproxy/admin.sock"},
            "configuration": {"type": "path", "default": "/etc/haproxy/haproxy.cfg"},
        },
        supports_check_mode=True,
    )
    asked = module.params
    with sentences(module):
        asked = arguments(asked, PARSERS)
    try:
        present = in_service(asked["socket"], Path(asked["configuration"]))
    except ValueError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{asked['configuration']} can't be read ({error.strerror}); run this as root.")
    gone = leaving(present, asked["servers"], asked["removable"])
    if gone:
        servers, them = ", ".join(f"{name} ({present[name]})" for name in gone), "it" if len(gone) == 1 else "them"
        module.fail_json(
            msg=(
                f"HAProxy has {servers} in service, and the inventory doesn't; put {them} back or, where that is "
                f"meant, name {them} once: -e {asked['variable']}={','.join(gone)}"
            )
        )
    module.exit_json(changed=False, servers=present)


if __name__ == "__main__":
    main()
