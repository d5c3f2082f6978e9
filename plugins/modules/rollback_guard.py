#!/usr/bin/python
# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollback_guard
short_description: A change that undoes itself unless it is confirmed
version_added: 0.1.0
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Saves files and has the host put them back after a time, or at its next start, unless the change is confirmed.
  - The modules of this collection that could lock their administrator out use the guard by themselves. This module is
    for changes that other modules make, and for looking.
  - One guard can be armed on a host at a time.
options:
  state:
    description:
      - V(armed) saves O(files) and arms the rollback; it always changes.
      - V(disarmed) confirms the change that O(token) belongs to. Do that over a new connection (see the example),
        or it proves nothing.
      - V(rolled_back) goes back at once.
      - V(status) changes nothing.
    type: str
    choices: [armed, disarmed, rolled_back, status]
    default: status
  name:
    description: What is changed, as it is called in sentences. Needed for V(armed).
    type: str
  files:
    description: Absolute paths of all that the change writes or removes. Files that aren't there are removed again.
    type: list
    elements: path
    default: []
  commands:
    description: Commands that make the old files count again, each a list. They run after the files are back.
    type: list
    elements: list
    default: []
  seconds:
    description: Time until the host goes back, from 5 to 86400.
    type: int
    default: 60
  token:
    description: What V(armed) returned. Needed for V(disarmed) and V(rolled_back).
    type: str
attributes:
  check_mode:
    description: Arms and disarms nothing.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: The rollback is armed
  postern.mail_gateway.rollback_guard:
    state: armed
    name: the network
    files: [/etc/network/interfaces]
    commands: [[systemctl, restart, networking]]
  register: network_guard

- name: The network is as it should be
  ansible.builtin.copy: {src: interfaces, dest: /etc/network/interfaces, mode: "0644"}

- name: Ansible comes back over a new connection
  ansible.builtin.meta: reset_connection

- name: The change is confirmed
  postern.mail_gateway.rollback_guard:
    state: disarmed
    token: "{{ network_guard.guard.token }}"
"""

RETURN = r"""
guard:
  description: The guard that was armed, with the token that confirms it and the seconds that are left.
  returned: with state armed, except in check mode
  type: dict
  sample: {name: the network, token: 0123456789abcdef0123456789abcdef, seconds: 60}
armed:
  description: What waits for its confirmation (name, when, seconds, files), without the token. Null where nothing does.
  returned: with state status
  type: dict
  sample: null
rolled_back:
  description: The last rollback that nobody has seen yet (name, when, why, files, errors). Null where there is none.
  returned: with states armed, rolled_back and status
  type: dict
  sample: null
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.host.arguments import arguments
from ..module_utils.host.modules import sentences
from ..module_utils.rollback.guard import RollbackGuard, sentence
from ..module_utils.values.sentences import Unfit
from ..module_utils.values.texts import read_content, read_host_path, read_line


def read_name(value: Any) -> str:
    """Return what is changed, as sentences call it."""
    return read_line(value, "a few words for what is changed", 60)


def read_command(value: Any) -> list[str]:
    """Return a command, which has to be one when it is needed: nobody can correct it then."""
    if not isinstance(value, list) or not value:
        raise Unfit("but must be a program and its arguments")
    return [read_content(one) for one in value]


PARSERS = {"name": read_name, "files": read_host_path, "commands": read_command}


def status(guard: RollbackGuard) -> dict[str, Any]:
    """Return what waits and what was rolled back, and change nothing."""
    armed = guard.status()
    shown = {key: armed[key] for key in ("name", "when", "seconds", "files")} if armed else None
    return {"changed": False, "armed": shown, "rolled_back": guard.last_report()}


def change(module: AnsibleModule, guard: RollbackGuard) -> dict[str, Any]:
    """Arm, disarm or go back, and return what the module returns."""
    state = module.params["state"]
    if state == "armed":
        # A check changes nothing, so it may look on while a change waits.
        report = guard.last_report() if module.check_mode else guard.rolled_back()
        if report:
            module.warn(sentence(report))
        if module.check_mode:
            return {"rolled_back": report}
        guard.arm(module.params["files"], module.params["commands"])
        return {"rolled_back": report, "guard": guard.as_result()}
    if module.check_mode:
        return {}
    if state == "disarmed":
        guard.disarm(module.params["token"])
        return {}
    guard.token = module.params["token"]
    return {"rolled_back": guard.roll_back_now("it was asked for")}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {
                "type": "str",
                "choices": ["armed", "disarmed", "rolled_back", "status"],
                "default": "status",
            },
            "name": {"type": "str"},
            "files": {"type": "list", "elements": "path", "default": []},
            "commands": {"type": "list", "elements": "list", "default": []},
            "seconds": {"type": "int", "default": 60},
            # Not a secret: it is of no use after the run, and root alone can use it.
            "token": {"type": "str", "no_log": False},
        },
        required_if=[
            ("state", "armed", ["name", "files"]),
            ("state", "disarmed", ["token"]),
            ("state", "rolled_back", ["token"]),
        ],
        supports_check_mode=True,
    )
    result: dict[str, Any] = {}
    with sentences(module):
        module.params.update(arguments(module.params, PARSERS))
        guard = RollbackGuard(module.params["name"] or "", module.params["seconds"])
        if module.params["state"] == "status":
            result = status(guard)
        else:
            result = {**change(module, guard), "changed": module.params["state"] != "disarmed"}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
