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

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.fail2ban.configuration import (
    ALWAYS_IGNORED,
    SETS,
    Jail,
    culprit,
    differences,
    files,
    filters,
    jails,
    overruled,
    units,
)
from ..module_utils.fail2ban.server import ask, refusal
from ..module_utils.host.commands import run
from ..module_utils.host.errors import HostError
from ..module_utils.host.files import diff_part
from ..module_utils.host.locks import lock_path, locked
from ..module_utils.host.modules import sentences
from ..module_utils.host.networks import networks
from ..module_utils.host.ssh_client import controller_address
from ..module_utils.host.transaction import Change, FileTransaction
from ..module_utils.host.units import is_active, start_with_host, starting_diff, starts_with_host

FOLDER = Path("/etc/fail2ban")
LOG = Path("/var/log/fail2ban.log")
LOCK = lock_path("fail2ban")
BUSY = "Another run is changing Fail2Ban's configuration on this host; wait for it to end and run again."
SERVICE = "fail2ban.service"
GOES_ON = "Nothing was changed and Fail2Ban goes on as before"


class Fail2Ban:
    """The wanted jails, and the way from what is there to them."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.installed = Path("/usr/bin/fail2ban-server").exists()
        self.jails = jails(module.params["jails"])
        self.names = [jail.name for jail in self.jails]
        self.ignored = networks(module.params["ignored_networks"], "fail2ban_ignored_networks")
        controller = controller_address()
        more = [*map(str, self.ignored), *ALWAYS_IGNORED, *([controller] if controller else [])]
        self.ignored = networks(more, "ignored_networks")
        known = filters(module.params["filters"])
        # Running jails whose bans the kernel has lost.
        self.lost: set[str] = set()
        self.transaction = FileTransaction(FOLDER, files(self.jails, known, self.ignored))

    def run(self) -> dict[str, Any]:
        """Do it, and return the module's result."""
        changes = self.transaction.changes()
        drift: tuple[list[str], list[str]] = ([], [])
        wanted: dict[str, Any] = {}
        starts = True
        if self.installed:
            wanted, running = self.tried(bool(changes))
            drift = self.drift(wanted, running)
            self.lost = {jail.name for jail in self.jails if jail.name in (running or {}) and not self.bans(jail)}
            starts = starts_with_host(SERVICE)
        elif not self.module.check_mode:
            raise HostError("fail2ban is not installed on this host; install the package first.")
        due = bool(changes) or self.transaction.interrupted() or drift != ([], [])
        result: dict[str, Any] = {
            "changed": due or not starts,
            "reloaded": False,
            "changed_files": [change.path for change in changes],
            "ignored_networks": [str(network) for network in self.ignored],
        }
        if result["changed"]:
            result["diff"] = [*(diff(changes, drift) if due else []), *([] if starts else [starting_diff(SERVICE)])]
        if self.module.check_mode:
            return result
        if due:
            self.apply(wanted, changes)
            result["reloaded"] = True
        elif not self.transaction.settled():
            self.transaction.commit()
        if not starts:
            start_with_host(SERVICE)
        return result

    # --- before anything changes -----------------------------------------------------------------------------------

    def tried(self, changed: bool) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Try the files as they should be, and return our jails as Fail2Ban understands them, and the running ones."""
        with self.whole(changed) as folder:
            answer = ask(str(folder), self.names)
            reason = refusal(answer["tried"], str(folder))
            if reason:
                raise HostError(f"Fail2Ban doesn't take the new configuration: {self.named(reason)}. {GOES_ON}.")
            found: dict[str, Any] = answer["tried"]["jails"]
            for jail in self.jails:
                self.refuse_overruled(jail, found.get(jail.name), folder)
            if changed:
                self.test(folder)
        self.check_units(found)
        return {name: found[name] for name in self.names}, running_jails(answer)

    @contextlib.contextmanager
    def whole(self, changed: bool) -> Iterator[Path]:
        """The whole folder as it would be: the one in use, or a copy with the new files."""
        if not changed:
            yield FOLDER
            return
        with tempfile.TemporaryDirectory(prefix="postern-fail2ban-", dir="/run") as scratch:
            copy = Path(scratch, "fail2ban")
            shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns(".postern-*"), ignore_dangling_symlinks=True)
            for path in self.transaction.previous():
                (copy / path).unlink(missing_ok=True)
            for path in self.transaction.files:
                (copy / path).unlink(missing_ok=True)
            self.transaction.stage(copy)
            yield copy

    def test(self, folder: Path) -> None:
        """Have ``fail2ban-client -t`` read the files."""
        done = run("fail2ban-client", "-c", str(folder), "-t")
        if done.returncode:
            said = [line.partition("ERROR")[2].strip() for line in (done.stderr + done.stdout).splitlines()]
            reason = "; ".join(dict.fromkeys(text.replace(f"{folder}/", "").rstrip(".") for text in said if text))
            raise HostError(
                f"Fail2Ban doesn't take the new configuration: {self.named(reason or 'it gives no reason')}. {GOES_ON}."
            )

    def named(self, reason: str) -> str:
        """Put the variable's name behind a reason that names a jail of ours."""
        for number, item in enumerate(self.module.params["jails"]):
            if f"'{item['name']}'" in reason or f" {item['name']} jail" in reason:
                return f"{reason} (fail2ban_jails[{number}])"
        return reason

    def refuse_overruled(self, jail: Jail, found: dict[str, Any] | None, folder: Path) -> None:
        """Refuse a jail that other files make something else of."""
        said = overruled(jail, found)
        if said:
            setting, would, should = said
            paths = [
                *sorted(folder.glob("jail.d/*.conf")),
                folder / "jail.local",
                *sorted(folder.glob("jail.d/*.local")),
            ]
            texts = [
                (str(FOLDER / path.relative_to(folder)), path.read_text(encoding="utf-8", errors="replace"))
                for path in paths
                if path.is_file()
            ]
            name = culprit(texts, jail.name, setting, str(FOLDER / jail.file)) or f"Another file below {FOLDER}"
            raise HostError(
                f"{name} wins over this role for the jail '{jail.name}': {setting} would be {would} instead of "
                f"{should}. {GOES_ON}; remove the setting there."
            )

    def check_units(self, found: dict[str, Any]) -> None:
        """Refuse jails that wait for lines of a unit that isn't there: they would be active and read nothing."""
        for number, item in enumerate(self.module.params["jails"]):
            name = item["name"]
            where = f"fail2ban_jails[{number}] '{name}'"
            named = units(found[name]["journalmatch"])
            states = [self.unit(unit) for unit in named]
            if not named or any(not reason for reason in states):
                continue
            text = f"{where} would read nothing, since {states[0]}"
            if self.module.check_mode:
                # What brings the unit may be about to be installed.
                self.module.warn(f"{text}.")
            else:
                raise HostError(f"{text}. {GOES_ON}; name the unit in journal_matches as the journal does.")

    def unit(self, name: str) -> str:
        """Return why no line of the journal comes from a unit; empty if some may."""
        shown = run("systemctl", "show", "--property=Id,LoadState", "--", name).stdout
        state = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        if state.get("LoadState") in (None, "not-found"):
            return f"there is no unit {name} on this host"
        return "" if state["Id"] == name else f"{name} is another name of {state['Id']}"

    # --- making it so ----------------------------------------------------------------------------------------------

    def drift(self, wanted: dict[str, Any], running: dict[str, Any] | None) -> tuple[list[str], list[str]]:
        """Return lines for what the host has and should have; in nftables too, since somebody may have flushed it."""
        before, after = differences(wanted, running)
        for jail in self.jails:
            if not self.bans(jail):
                before.append(f"{jail.name}: no table {jail.table} in nftables that bans")
                after.append(f"{jail.name}: table {jail.table} in nftables")
        return before, after

    def bans(self, jail: Jail) -> bool:
        """Tell whether the kernel asks a jail's sets."""
        chain = run("nft", "list", "chain", "inet", jail.table, "input").stdout
        return "hook input" in chain and all(f"@{name} goto banned" in chain for name in SETS)

    def apply(self, wanted: dict[str, Any], changes: list[Change]) -> None:
        """Put the files in place and have Fail2Ban use them; undo that where it doesn't."""
        if changes:
            self.transaction.stage()
        active = self.active()
        self.transaction.swap()
        try:
            reason = self.activate(wanted)
        except HostError as error:  # something didn't end in time
            reason = str(error).rstrip(".")
        if reason:
            self.transaction.restore()
            state = "Fail2Ban doesn't run, as before"
            if active:
                again = self.reload()
                state = (
                    f"Fail2Ban could not be reloaded with the old files either ({again})"
                    if again
                    else "Fail2Ban goes on with the old files"
                )
            else:
                run("systemctl", "stop", SERVICE)
            raise HostError(
                f"Fail2Ban can't run with the new configuration: {reason}. The old files are in place again and "
                f"{state}; remove the cause and run again."
            )
        self.transaction.commit()

    def active(self) -> bool:
        """Tell whether Fail2Ban runs."""
        return is_active(SERVICE)

    def reload(self, *options: str) -> str:
        """Reload Fail2Ban, or start it; return an empty text, or why that didn't work."""
        if self.active():
            done = run("fail2ban-client", "reload", *options)
        else:
            # On Debian 12 it failed when the package was installed (see the file for Debian's jail).
            run("systemctl", "reset-failed", SERVICE)
            done = run("systemctl", "start", SERVICE)
        if done.returncode == 0:
            return ""
        said = (done.stderr + done.stdout).strip().splitlines() or ["it gave no reason"]
        return said[-1].partition("ERROR")[2].strip().rstrip(".") or said[-1].rstrip(".")

    def activate(self, wanted: dict[str, Any]) -> str:
        """Have Fail2Ban use what is in place, and wait until it has every jail as it should be; else return why not."""
        reloads, said_before = self.active(), self.said()
        reason = self.reload()
        deadline = time.monotonic() + self.module.params["timeout"]
        restarted: set[str] = set()
        while not reason:
            running = running_jails(ask(str(FOLDER), self.names, trial=False))
            drift = self.drift(wanted, running)
            if drift == ([], []) and self.lost <= restarted:
                return ""
            late: set[str] = set()
            if running is not None and (reloads or running.keys() >= wanted.keys()):
                late = {name for name in self.names if self.drift_of(name, wanted, running)}
                if late & restarted:
                    deadline = 0
                # A reload gives a jail no other action than it had, and makes its table again without those who are
                # banned. A start does, and bans whom the database holds.
                late |= self.lost
                reason = "; ".join(filter(None, (self.reload("--restart", name) for name in sorted(late - restarted))))
                restarted |= late
            if time.monotonic() > deadline or not self.active():
                said = [text for text in self.said() if text not in said_before]
                return f"{(drift[0] or ['it ended'])[0]}{f' ({said[-1]})' if said else ''}"
            time.sleep(0.2)
        return reason

    def drift_of(self, name: str, wanted: dict[str, Any], running: dict[str, Any]) -> bool:
        """Tell whether one jail isn't as it should be."""
        jail = next(jail for jail in self.jails if jail.name == name)
        return differences({name: wanted[name]}, running) != ([], []) or not self.bans(jail)

    def said(self) -> list[str]:
        """Return Fail2Ban's complaints: in its log, and where it didn't come as far as that, in the journal."""
        journal = run("journalctl", "--unit", SERVICE, "--lines", "50", "--output", "cat", "--no-pager").stdout
        log = run("tail", "--lines", "200", str(LOG)).stdout
        lines = [line.partition("ERROR") for line in (journal + log).splitlines()]
        return [" ".join(text.split()).rstrip(".") for _unused, error, text in lines if error]


def running_jails(answer: dict[str, Any]) -> dict[str, Any] | None:
    """Return the running server's jails; None where it doesn't run or doesn't answer."""
    running = answer["running"]
    return None if running is None or "error" in running else running["jails"]


def diff(changes: list[Change], drift: tuple[list[str], list[str]]) -> list[dict[str, str]]:
    """Return Ansible's diff: a part for each file, and one for the running server if only that differs."""
    parts = [
        diff_part(
            str(FOLDER / change.path),
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
        result = Fail2Ban(module).run()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
