#!/usr/bin/python
# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_server
short_description: Takes a server out of HAProxy's rotation, and back in
version_added: 0.1.0
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Drains a server in every backend that has it. It gets no new connection and no new request, and keeps the
    connections that it has, so that nothing is cut.
  - A drained server stays drained over reloads and restarts of HAProxy, until it is made ready again.
options:
  server:
    description: Name of the server, as in the role's C(haproxy_servers).
    type: str
    required: true
  state:
    description: V(drained) takes it out of rotation, V(ready) puts it back.
    type: str
    choices: [drained, ready]
    required: true
  wait:
    description: Seconds to wait, at most, for a drained server's last session to end. It isn't an error when some
      are left.
    type: int
    default: 0
  socket:
    description: HAProxy's C(stats socket).
    type: path
    default: /run/haproxy/admin.sock
  state_file:
    description: The C(server-state-file) of HAProxy's configuration.
    type: path
    default: /etc/haproxy/drained-servers
attributes:
  check_mode:
    description: Says exactly what would change.
    support: full
  diff_mode:
    description: Shows the backends in which the server is drained.
    support: full
"""

EXAMPLES = r"""
- name: The server ex1 gets nothing new
  postern.mail_gateway.haproxy_server:
    server: ex1
    state: drained
    wait: 60
"""

RETURN = r"""
backends:
  description: The backends that have the server, with its status and the sessions that it has there.
  returned: success
  type: dict
  sample: {"exchange_owa": {"status": "DRAIN", "sessions": 2}}
sessions:
  description: The server's sessions over all backends.
  returned: success
  type: int
  sample: 2
"""

import csv
import io
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.haproxy.admin_socket import ask
from ..module_utils.haproxy.runtime import drained_file, server_states, write_states
from ..module_utils.host.arguments import arguments
from ..module_utils.host.modules import sentences
from ..module_utils.values.names import read_inventory_name
from ..module_utils.values.texts import read_host_path

STATES = {"drained": "drain", "ready": "ready"}


def backends(socket: str, server: str) -> dict[str, dict[str, Any]]:
    """Return backend → status and sessions of a server (HAProxy management guide, "show stat")."""
    table = csv.DictReader(io.StringIO(ask(socket, "show stat").removeprefix("# ")))
    return {
        line["pxname"]: {"status": line["status"], "sessions": int(line["scur"] or 0)}
        for line in table
        if line["svname"] == server
    }


def change(module: AnsibleModule) -> dict[str, Any]:
    """Make the server's state what is asked for; return the module's result."""
    server, socket, path = module.params["server"], module.params["socket"], Path(module.params["state_file"])
    drain = module.params["state"] == "drained"
    answer = ask(socket, "show servers state")
    states = server_states(answer)
    mine = [state for state in states if state.server == server]
    if not mine:
        known = ", ".join(sorted({state.server for state in states})) or "none"
        raise ValueError(f"HAProxy has no server '{server}' (it has {known}); give one of these names.")
    other = [state for state in mine if state.drained != drain]
    # A run that was cut short may have left a file that doesn't say what HAProxy does.
    stale = not path.exists() or path.read_text(encoding="utf-8") != drained_file(answer)
    if not module.check_mode:
        for state in other:
            said = ask(socket, f"set server {state.backend}/{server} state {STATES[module.params['state']]}").strip()
            if said:
                raise ValueError(f"HAProxy leaves {state.backend}/{server} as it is: {said.splitlines()[0]}")
        if other or stale:
            write_states(path, drained_file(ask(socket, "show servers state")))
    found = backends(socket, server)
    deadline = time.monotonic() + module.params["wait"]
    while drain and any(one["sessions"] for one in found.values()) and time.monotonic() < deadline:
        time.sleep(0.5)
        found = backends(socket, server)
    return {
        "changed": bool(other),
        "backends": found,
        "sessions": sum(one["sessions"] for one in found.values()),
        "diff": {
            "before_header": "HAProxy",
            "after_header": "HAProxy",
            "before": "".join(f"{server} drained in {state.backend}\n" for state in mine if state.drained),
            "after": "".join(f"{server} drained in {state.backend}\n" for state in mine if drain),
        },
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "server": {"type": "str", "required": True},
            "state": {"type": "str", "choices": list(STATES), "required": True},
            "wait": {"type": "int", "default": 0},
            "socket": {"type": "path", "default": "/run/haproxy/admin.sock"},
            "state_file": {"type": "path", "default": "/etc/haproxy/drained-servers"},
        },
        supports_check_mode=True,
    )
    parsers = {"server": read_inventory_name, "socket": read_host_path, "state_file": read_host_path}
    with sentences(module):
        module.params.update(arguments(module.params, parsers))
    try:
        result = change(module)
    except ValueError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        place = module.params["socket"]
        module.fail_json(msg=f"HAProxy can't be asked at {place} ({error.strerror}); see that it runs with our role.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
