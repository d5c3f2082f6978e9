#!/usr/bin/python
# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sshd_configuration
short_description: Logons to a host by key alone, changed without locking anybody out
version_added: 0.1.0
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Makes sshd's configuration (C(/etc/ssh/sshd_config.d/00-postern.conf)), administrators' keys, accounts that can only
    exchange files, strong moduli, and, where systemd listens for sshd, the addresses of C(ssh.socket).
  - Before anything changes, B(sshd itself) is asked what the whole configuration comes to for the account, the address
    and the port that Ansible uses. Where another file wins over a setting, the module fails and names file and line.
  - Every change is guarded. The host goes back by itself unless Ansible gets through over a new connection (see
    M(postern.mail_gateway.rollback_guard)). Where passwords are on, they go off only over a connection that a key
    opened.
  - sshd is reloaded, and sessions go on.
options:
  ports:
    description: The ports that sshd listens on. Empty leaves them as they are.
    type: list
    elements: int
    default: []
  listen_addresses:
    description: The host's addresses that sshd listens on. Empty is all of them.
    type: list
    elements: str
    default: []
  root_logon:
    description: Whether root can log on by key or not at all.
    type: str
    choices: [key, none]
    default: key
  host_key_types:
    description: Kinds of host keys, the preferred first. A key that isn't there is made; an RSA key below 3072 bits
      isn't offered.
    type: list
    elements: str
    choices: [ed25519, rsa]
    default: [ed25519, rsa]
  authorized_keys:
    description: Keys of accounts that exist. They are kept in C(/etc/ssh/authorized_keys.d/ACCOUNT), beside those in
      the account's own folder.
    type: list
    elements: dict
    default: []
    suboptions:
      user:
        description: The account.
        type: str
        required: true
      keys:
        description: Public keys, a line of C(authorized_keys) each.
        type: list
        elements: str
        required: true
      exclusive:
        description: Whether keys in the account's own folder no longer count.
        type: bool
        default: false
  sftp_accounts:
    description: Accounts that can exchange files by SFTP and do nothing else. Their folder is C(/srv/sftp/NAME/files).
      An account that an earlier run made and that is no longer listed is removed; its files stay.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The account; it is made.
        type: str
        required: true
      keys:
        description: Public keys.
        type: list
        elements: str
        required: true
  settings:
    description: Further settings of sshd, which win over the module's algorithms.
    type: dict
    default: {}
  matches:
    description: C(Match) blocks.
    type: list
    elements: dict
    default: []
    suboptions:
      match:
        description: The criteria, as in C(User anna Address 10.0.0.0/8).
        type: str
        required: true
      settings:
        description: The settings in the block.
        type: dict
        required: true
  older_clients:
    description:
      - Whether clients without a key exchange that withstands quantum computers can log on (OpenSSH before 8.9, PuTTY
        before 0.78, libraries like Paramiko). The key exchange C(curve25519-sha256) is offered last then.
    type: bool
    default: false
  penalty_exempt_networks:
    description:
      - Addresses and networks (CIDR) that sshd never holds off. From version 9.8 on, OpenSSH refuses all connections of
        an address from which logons have just failed (C(PerSourcePenalties)), those with the right key too.
      - An older OpenSSH knows no such penalties, and nothing is written for it.
    type: list
    elements: str
    default: []
  locked_out_accounts:
    description:
      - Accounts whose key or second factor may stop working. Of everybody else who can log on, sshd is asked before a
        change what it takes now and what it would take then, and who would lose a key logon is a refusal.
      - Who loses a password is named in a warning. Accounts of a directory that can't be listed aren't known.
    type: list
    elements: str
    default: []
  rollback_seconds:
    description: Time for the confirmation; after that the host goes back. From 5 to 86400.
    type: int
    default: 60
  key_logon:
    description: What the action plugin knows of logons by key. V(unknown) changes nothing while passwords are on,
      V(proven) turns them off, and V(awaited) changes everything but passwords.
    type: str
    choices: [unknown, proven, awaited]
    default: unknown
attributes:
  check_mode:
    description: Says exactly what would change, and refuses what a run would refuse before it changes anything.
    support: full
  diff_mode:
    description: A part for each file; private keys are named only.
    support: full
"""

EXAMPLES = r"""
- name: Logons are by key alone
  postern.mail_gateway.sshd_configuration:
    authorized_keys:
      - user: anna
        keys: ["{{ lookup('ansible.builtin.file', 'keys/anna.pub') }}"]
"""

RETURN = r"""
changed_files:
  description: The files that were written or removed.
  returned: always
  type: list
  elements: str
  sample: [/etc/ssh/sshd_config.d/00-postern.conf]
moved_to_port:
  description: The port over which the host is reached from now on, where the one that Ansible uses went; else 0.
  returned: always
  type: int
  sample: 2222
withdrawn_accounts:
  description: SFTP accounts of an earlier run that are removed after the confirmation.
  returned: always
  type: list
  elements: str
  sample: []
rolled_back:
  description: The rollback of an earlier change that nobody has seen yet (name, when, why, files). Null where there is
    none.
  returned: always
  type: dict
  sample: null
"""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.host.errors import HostError
from ..module_utils.host.files import HostFile, diff_part, make_folder, open_folder
from ..module_utils.host.modules import sentences
from ..module_utils.host.ssh_client import origin
from ..module_utils.rollback.guard import RollbackGuard, sentence
from ..module_utils.sshd.activation import Activation
from ..module_utils.sshd.boot import Boot
from ..module_utils.sshd.configuration import Wanted, older_clients_lose
from ..module_utils.sshd.desired import Desired
from ..module_utils.sshd.effect import Effect
from ..module_utils.sshd.host import HERE, SshdHost

#: Said once, by the run that takes them away: the confirmation proves Ansible's own client, not those of people.
OLDER_CLIENTS = (
    "From now on clients need a key exchange that withstands quantum computers: OpenSSH 8.9, PuTTY 0.78 or newer. "
    "Where people have older ones, set sshd_older_clients to true."
)


def diff(
    moduli: Path, changes: list[HostFile], folders: list[Path], accounts: list[str], withdrawn: list[str]
) -> list[dict[str, str]]:
    """Return Ansible's diff: a part for each file, and one for accounts."""

    def part(file: HostFile) -> dict[str, str]:
        if file.path != moduli:
            return file.part("a private host key\n" if file.secret else "")
        texts = ((content or b"").decode("ascii", "replace") for content in (file.before(), file.content))
        counts = [sum(1 for line in text.splitlines() if line and not line.startswith("#")) for text in texts]
        return diff_part(str(moduli), *(f"{count} moduli\n" for count in counts))

    parts = [part(file) for file in changes]
    parts += [diff_part(str(path), "mode closed to others\n", "mode 0755\n") for path in folders]
    if accounts or withdrawn:
        lists = ("".join(f"{name}\n" for name in names) for names in (withdrawn, accounts))
        parts.append(diff_part("accounts for SFTP alone", *lists))
    return parts


def work(module: AnsibleModule, host: SshdHost) -> dict[str, Any]:
    """Compare, and change where that is asked for; return the module's result."""
    wanted = Wanted(**{field.name: module.params[field.name] for field in dataclasses.fields(Wanted)})
    desired, effect = Desired(host, wanted, module.params["host_key_types"], module.warn), Effect(host)
    guard = RollbackGuard("sshd", module.params["rollback_seconds"])
    # A check changes nothing, so it may look on while a change waits for its confirmation.
    report = guard.last_report() if module.check_mode else guard.rolled_back()
    if report:
        module.warn(sentence(report))
    awaited = module.params["key_logon"] == "awaited"
    desired.check_addresses()
    files, text = desired.files(passwords=awaited)
    changes = [file for file in files if file.differs()]
    folders = desired.closed_folders()
    accounts, withdrawn = desired.accounts_to_make(), desired.withdrawn()
    effect.check(text, passwords=awaited)
    moved = wanted.ports and host.origin.port and host.origin.local_port not in wanted.ports
    result: dict[str, Any] = {
        "changed": bool(changes or folders or accounts or withdrawn),
        "changed_files": sorted(str(path) for path in (*(file.path for file in changes), *folders)),
        "moved_to_port": wanted.ports[0] if moved else 0,
        "withdrawn_accounts": withdrawn,
        "rolled_back": report,
    }
    if result["changed"]:
        result["diff"] = diff(host.moduli, changes, folders, accounts, withdrawn)
        effect.check_everybody(wanted, changes, module.params["locked_out_accounts"], module.warn)
        Boot(host).refuse(host.scratch / "sshd_config", wanted)
        if older_clients_lose(effect.now(), effect.ask(host.scratch / "sshd_config")):
            module.warn(OLDER_CLIENTS)
    if module.check_mode:
        return result
    if not result["changed"]:
        guard.forget_report()
        return result
    if module.params["key_logon"] == "unknown" and effect.passwords_on():
        return {**result, "changed": False, "needs_key_logon": True}
    activation = Activation(host, wanted.ports)
    activation.make_accounts(accounts)
    for folder in folders:
        open_folder(folder)
    if changes:
        activation.apply(changes, guard)
        result["guard"] = guard.as_result()
        if moved:
            result["guard_port"] = wanted.ports[0]
    return result


def main() -> None:
    keys = {"type": "list", "elements": "str", "required": True, "no_log": False}
    module = AnsibleModule(
        argument_spec={
            "ports": {"type": "list", "elements": "int", "default": []},
            "listen_addresses": {"type": "list", "elements": "str", "default": []},
            "root_logon": {"type": "str", "choices": ["key", "none"], "default": "key"},
            "host_key_types": {
                "type": "list",
                "elements": "str",
                "choices": ["ed25519", "rsa"],
                "default": ["ed25519", "rsa"],
                "no_log": False,
            },
            "authorized_keys": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "no_log": False,
                "options": {
                    "user": {"type": "str", "required": True},
                    "keys": keys,
                    "exclusive": {"type": "bool", "default": False},
                },
            },
            "sftp_accounts": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"name": {"type": "str", "required": True}, "keys": keys},
            },
            "settings": {"type": "dict", "default": {}},
            "matches": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "match": {"type": "str", "required": True},
                    "settings": {"type": "dict", "required": True},
                },
            },
            "older_clients": {"type": "bool", "default": False},
            "penalty_exempt_networks": {"type": "list", "elements": "str", "default": []},
            "locked_out_accounts": {"type": "list", "elements": "str", "default": []},
            "rollback_seconds": {"type": "int", "default": 60},
            "key_logon": {
                "type": "str",
                "choices": ["unknown", "proven", "awaited"],
                "default": "unknown",
                "no_log": False,
            },
        },
        supports_check_mode=True,
    )
    result: dict[str, Any] = {}
    with sentences(module), tempfile.TemporaryDirectory(prefix="postern-") as scratch:
        host = SshdHost(Path(scratch), origin() or HERE)
        if not host.main.exists():
            raise HostError(f"{host.main} isn't there; install the package openssh-server first.")
        # sshd wants it even for a test, and under ssh.socket nobody may have made it yet.
        make_folder(Path("/run/sshd"))
        result = work(module, host)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
