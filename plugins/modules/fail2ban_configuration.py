#!/usr/bin/python
# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fail2ban_configuration
short_description: Fail2Ban's jails, replaced in one transaction
version_added: 0.1.0
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Takes every jail that the host should have, writes the files for them below C(/etc/fail2ban), and makes the running
    Fail2Ban use them, or leaves everything as it was.
  - The files are tried first, in a copy of the whole folder, with C(fail2ban-client -t) and with Fail2Ban's own
    server, which carries out each command of the reload without starting anything. A jail, a filter or a regular
    expression that Fail2Ban doesn't take is named.
  - Then they replace the old ones, Fail2Ban is reloaded (started, where it doesn't run), and the B(running server) is
    asked for each jail. Each must be active and read the journal as it should, or the old files return.
  - A run that was cut short at any point is found out by the next one, since the running server is compared and not
    only the files.
  - Fail2Ban starts with the host from then on; a jail that a restart takes away isn't active.
  - Bans live in tables of nftables, one for each jail, that are asked before the rules of ufw and others. They survive
    reloads and restarts of Fail2Ban.
  - Files that an earlier run made and that are no longer needed are removed; other files, and jails of others, are
    never touched.
options:
  jails:
    description: The jails. Each reads the journal.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the jail, in small letters, digits and hyphens.
        type: str
        required: true
      filter:
        description: Name of the filter, one of O(filters) or one that Fail2Ban brings. Empty is the jail's name.
        type: str
        default: ''
      filter_mode:
        description: The filter's C(mode), where it has some. Fail2Ban's C(sshd) has V(normal), V(ddos), V(extra) and
          V(aggressive).
        type: str
        default: ''
      journal_matches:
        description:
          - Which lines of the journal are read, each as C(FIELD=VALUE), several with blanks between them where all must
            fit. A line is read if one of the list fits. Empty leaves that to the filter.
          - Units are named as the journal does (C(ssh.service), not its other name C(sshd.service)).
        type: list
        elements: str
        default: []
      ports:
        description: TCP ports that a banned address is shut out from, each a number or a range (V(6000-6007)). Empty is
          everything, ports of other protocols included.
        type: list
        elements: str
        default: []
      max_retry:
        description: Failures of one address within O(jails[].find_time) that lead to a ban.
        type: int
        default: 5
      find_time:
        description: Seconds.
        type: int
        default: 600
      ban_time:
        description: Seconds of the first ban. V(-1) is for ever.
        type: int
        default: 3600
      max_ban_time:
        description: Seconds. Each further ban of an address is twice as long as the one before, up to this.
        type: int
        default: 604800
  filters:
    description: Filters of one's own. Those that no jail uses are left out.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the filter.
        type: str
        required: true
      identifier:
        description: What the journal calls the program (C(SYSLOG_IDENTIFIER)).
        type: str
        required: true
      fail_regexes:
        description: Regular expressions for messages that count, from a message's beginning. V(<ADDR>) stands where the
          address does.
        type: list
        elements: str
        required: true
      ignore_regexes:
        description: Regular expressions for messages that don't count although one of O(filters[].fail_regexes) fits.
        type: list
        elements: str
        default: []
      journal_matches:
        description: As O(jails[].journal_matches).
        type: list
        elements: str
        required: true
  ignored_networks:
    description:
      - Addresses and networks (CIDR) that are never banned.
      - The host's own addresses and the controller's, as the host sees it, never are either.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds to wait for the running server to have the new jails.
    type: int
    default: 30
attributes:
  check_mode:
    description: Says exactly what would change; tries the new files too where Fail2Ban is installed.
    support: full
  diff_mode:
    description: One diff for each file, or of the running server where only that differs; and one where Fail2Ban didn't
      start with the host.
    support: full
"""

EXAMPLES = r"""
- name: Whoever fails at SSH is banned
  postern.mail_gateway.fail2ban_configuration:
    jails:
      - name: sshd
        ports: [22]
        journal_matches: [_SYSTEMD_UNIT=ssh.service _UID=0]
    ignored_networks: [198.51.100.0/24]
"""

RETURN = r"""
reloaded:
  description: Whether Fail2Ban was reloaded or started.
  returned: always
  type: bool
changed_files:
  description: The files that were written or removed, relative to C(/etc/fail2ban).
  returned: always
  type: list
  elements: str
  sample: [action.d/postern-ban.conf, jail.d/postern-sshd.local]
ignored_networks:
  description: The networks that are never banned, the controller's address included.
  returned: always
  type: list
  elements: str
  sample: [127.0.0.0/8, 198.51.100.0/24, "::1/128"]
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.fail2ban.activation import Activation
from ..module_utils.fail2ban.configuration import (
    ALWAYS_IGNORED,
    files,
    filters,
    jails,
)
from ..module_utils.fail2ban.host import SERVICE, Fail2BanHost
from ..module_utils.fail2ban.trial import Trial
from ..module_utils.host.errors import HostError
from ..module_utils.host.files import diff_part
from ..module_utils.host.locks import lock_path, locked
from ..module_utils.host.modules import sentences
from ..module_utils.host.networks import networks
from ..module_utils.host.owners import other_owners
from ..module_utils.host.ssh_client import controller_address
from ..module_utils.host.transaction import Change, FileTransaction
from ..module_utils.host.units import start_with_host, starting_diff, starts_with_host

LOCK = lock_path("fail2ban")
BUSY = "Another run is changing Fail2Ban's configuration on this host; wait for it to end and run again."


def work(module: AnsibleModule, host: Fail2BanHost) -> dict[str, Any]:
    """Compare, and change where that is asked for; return the module's result."""
    params = module.params
    desired, ignored = jails(params["jails"]), networks(params["ignored_networks"], "fail2ban_ignored_networks")
    controller = controller_address()
    more = [*map(str, ignored), *ALWAYS_IGNORED, *([controller] if controller else [])]
    ignored = networks(more, "ignored_networks")
    transaction = FileTransaction(host.folder, files(desired, filters(params["filters"]), ignored))
    changes = transaction.changes()
    trial = Trial(host, params["jails"], desired, transaction, module.warn, check_mode=module.check_mode)
    activation = Activation(host, desired, transaction, params["timeout"])
    drift: tuple[list[str], list[str]] = ([], [])
    wanted: dict[str, Any] = {}
    starts = True
    if host.installed:
        wanted, running = trial.tried(bool(changes))
        drift = activation.drift(wanted, running)
        activation.look(running or {})
        starts = starts_with_host(SERVICE, host.run)
        for owner in other_owners(host.run):
            module.warn(owner)
    elif not module.check_mode:
        raise HostError("fail2ban is not installed on this host; install the package first.")
    due = bool(changes) or transaction.interrupted() or drift != ([], [])
    result: dict[str, Any] = {
        "changed": due or not starts,
        "reloaded": False,
        "changed_files": [change.path for change in changes],
        "ignored_networks": [str(network) for network in ignored],
    }
    if result["changed"]:
        parts = diff(host.folder, changes, drift) if due else []
        result["diff"] = [*parts, *([] if starts else [starting_diff(SERVICE)])]
    if module.check_mode:
        return result
    if due:
        activation.apply(wanted, changes)
        result["reloaded"] = True
    elif not transaction.committed():
        transaction.commit()
    if not starts:
        start_with_host(SERVICE, runner=host.run)
    return result


def diff(folder: Path, changes: list[Change], drift: tuple[list[str], list[str]]) -> list[dict[str, str]]:
    """Return Ansible's diff: a part for each file, and one for the running server if only that differs."""
    parts = [
        diff_part(
            str(folder / change.path),
            *((content or b"").decode("utf-8", "replace") for content in (change.before, change.after)),
        )
        for change in changes
    ]
    if not parts:
        before, after = drift if drift != ([], []) else (["files of a run that was cut short"], ["files in use"])
        texts = ("".join(f"{line}\n" for line in lines) for lines in (before, after))
        parts.append(diff_part("running Fail2Ban", *texts))
    return parts


def main() -> None:
    texts = {"type": "list", "elements": "str"}
    module = AnsibleModule(
        argument_spec={
            "jails": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "filter": {"type": "str", "default": ""},
                    "filter_mode": {"type": "str", "default": ""},
                    "journal_matches": {**texts, "default": []},
                    "ports": {**texts, "default": []},
                    "max_retry": {"type": "int", "default": 5},
                    "find_time": {"type": "int", "default": 600},
                    "ban_time": {"type": "int", "default": 3600},
                    "max_ban_time": {"type": "int", "default": 604800},
                },
            },
            "filters": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "identifier": {"type": "str", "required": True},
                    "fail_regexes": {**texts, "required": True},
                    "ignore_regexes": {**texts, "default": []},
                    "journal_matches": {**texts, "required": True},
                },
            },
            "ignored_networks": {**texts, "default": []},
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    result: dict[str, Any] = {}
    with sentences(module), locked(LOCK, BUSY, 0):
        result = work(module, Fail2BanHost())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
