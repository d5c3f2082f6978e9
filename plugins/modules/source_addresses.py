#!/usr/bin/python
# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: source_addresses
short_description: Additional addresses that a service sends from
version_added: 0.1.0
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Sees to it that a host has the addresses that a service uses as source of its connections.
  - An address that the host has already (from its own network configuration) is left to that. Any other one is put
    on the interface whose network holds it, at once and at each start, by a systemd unit of its own. The host's
    network configuration isn't touched.
  - An address that an earlier run put there and that is wanted no more is removed only with O(prune), so that the
    service can be reloaded in between and nothing in flight is cut.
options:
  addresses:
    description: The IPv4 and IPv6 addresses, without prefix length. Empty entries are passed over.
    type: list
    elements: str
    required: true
  service:
    description: Name of the systemd service that needs them; the unit is called C(SERVICE-addresses.service) and
      starts before it.
    type: str
    required: true
  prune:
    description: Remove the addresses that an earlier run put there and that are wanted no more.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says exactly what would change.
    support: full
  diff_mode:
    description: Shows the addresses before and after.
    support: full
"""

EXAMPLES = r"""
- name: HAProxy's source addresses are on the host
  postern.mail_gateway.source_addresses:
    addresses: [10.0.0.11, 10.0.0.111]
    service: haproxy
"""

RETURN = r"""
managed:
  description: The addresses that the unit puts on the host, with their interfaces.
  returned: always
  type: dict
  sample: {"10.0.0.111": "eth0"}
withdrawn:
  description: Addresses of an earlier run that are wanted no more and still there.
  returned: always
  type: list
  elements: str
  sample: ["10.0.0.112"]
"""

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.host import files
from ..module_utils.host.arguments import parsed
from ..module_utils.host.commands import last, run
from ..module_utils.host.errors import HostError
from ..module_utils.host.files import diff_part, write
from ..module_utils.host.modules import sentences
from ..module_utils.host.source_addresses import plan, prefixed, unit, unit_addresses
from ..module_utils.host.units import UNITS, starts_with_host
from ..module_utils.values.texts import read_label


def must(*arguments: str) -> str:
    """Run a command that has to work, and return its output."""
    done = run(*arguments)
    if done.returncode:
        raise HostError(f"'{' '.join(arguments)}' failed: {last(done)}.")
    return done.stdout


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "addresses": {"type": "list", "elements": "str", "required": True},
            "service": {"type": "str", "required": True},
            "prune": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    result: dict[str, Any] = {}
    with sentences(module):
        result = work(module)
    module.exit_json(**result)


def work(module: AnsibleModule) -> dict[str, Any]:
    """Compare, and change where that is asked for; return the module's result."""
    service: str = parsed("service", module.params["service"], read_label)
    name = f"{service}-addresses.service"
    path = UNITS / name
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    managed = unit_addresses(before)
    links = json.loads(must("ip", "-json", "address"))
    wanted = plan([address for address in module.params["addresses"] if address], links, managed)

    # An address that only changes its interface leaves the old one at once.
    stays = {
        address: interface
        for address, interface in wanted.remove.items()
        if address not in wanted.managed and not module.params["prune"]
    }
    remove = {address: interface for address, interface in wanted.remove.items() if address not in stays}
    held = {**stays, **wanted.managed}
    after = unit(f"Additional source addresses of {service}", f"{service}.service", held) if held else ""
    enabled = not after or starts_with_host(name, run)
    changed = before != after or not enabled or bool(wanted.add) or bool(remove)
    diff = diff_part(
        str(path),
        "".join(
            f"{prefixed(address)} on {interface}\n"
            for address, interface in sorted(managed.items())
            if address not in wanted.add
        ),
        "".join(f"{prefixed(address)} on {interface}\n" for address, interface in sorted(held.items())),
    )
    if changed and not module.check_mode:
        # The unit is our only memory: it names an address before that is added, and until that is removed. Nothing
        # here counts on an earlier run having come to its end.
        for address, interface in remove.items():
            must("ip", "address", "delete", prefixed(address), "dev", interface)
        if after:
            write(path, after.encode())
            must("systemctl", "daemon-reload")
            must("systemctl", "enable", "--quiet", name)
        else:
            must("systemctl", "disable", "--quiet", "--now", name)
            files.remove(path)
            must("systemctl", "daemon-reload")
        if wanted.add:
            must("systemctl", "restart", name)
    return {"changed": changed, "managed": held, "withdrawn": sorted(stays), "diff": diff}


if __name__ == "__main__":
    main()
