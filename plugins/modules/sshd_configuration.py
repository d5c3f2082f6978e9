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

import contextlib
import dataclasses
import grp
import ipaddress
import json
import os
import pwd
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.host.commands import last, run
from ..module_utils.host.errors import HostError, os_sentence
from ..module_utils.host.files import HostFile, beside, diff_part, make_folder
from ..module_utils.host.ssh_client import Origin, origin
from ..module_utils.host.units import is_active
from ..module_utils.rollback.guard import RollbackGuard, sentence
from ..module_utils.rollback.program import remove
from ..module_utils.sshd.configuration import (
    DROP_IN,
    FOLDER,
    KEYS,
    SFTP,
    Wanted,
    drop_in,
    effective,
    entries,
    keywords,
    older_clients_lose,
    openssh_version,
    password_door,
    shut_out,
    socket_drop_in,
    spoiled,
    strong_moduli,
)

MAIN = FOLDER / "sshd_config"
MODULI = FOLDER / "moduli"
SOCKET_DROP_IN = Path("/etc/systemd/system/ssh.socket.d/00-postern.conf")
MARK = "SFTP only (postern.mail_gateway)"
SHORTEST_RSA = 3072
#: Said once, by the run that takes them away: the confirmation proves Ansible's own client, not those of people.
OLDER_CLIENTS = (
    "From now on clients need a key exchange that withstands quantum computers: OpenSSH 8.9, PuTTY 0.78 or newer. "
    "Where people have older ones, set sshd_older_clients to true."
)


class Sshd:
    """The wanted state of one host, and the way there."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.wanted = Wanted(**{field.name: module.params[field.name] for field in dataclasses.fields(Wanted)})
        self.origin = origin() or Origin("127.0.0.1", 0, "127.0.0.1", 22, "root")
        self.account = self.origin.account or "root"
        self.by_socket = is_active("ssh.socket")
        if not MAIN.exists():
            raise HostError(f"{MAIN} isn't there; install the package openssh-server first.")
        # sshd wants it even for a test, and under ssh.socket nobody may have made it yet.
        make_folder(Path("/run/sshd"))
        self.scratch = Path(tempfile.mkdtemp(prefix="postern-"))

    # --- what should be ------------------------------------------------------------------------------------------

    def host_keys(self) -> tuple[list[Path], list[HostFile]]:
        """Return the host keys to offer, and the files of those that are still to be made."""
        offered, made = [], []
        for kind in self.module.params["host_key_types"]:
            path = FOLDER / f"ssh_host_{kind}_key"
            if path.exists():
                described = run("ssh-keygen", "-l", "-f", str(path)).stdout.split()
                if kind == "rsa" and described and int(described[0]) < SHORTEST_RSA:
                    self.module.warn(f"{path} has {described[0]} bits, so it isn't offered any more.")
                    continue
            else:
                fresh = self.scratch / path.name
                done = run("ssh-keygen", "-q", "-t", kind, "-b", str(SHORTEST_RSA), "-N", "", "-f", str(fresh))
                if done.returncode:
                    raise HostError(f"ssh-keygen made no {kind} host key: {last(done)}.")
                made.append(HostFile(path, fresh.read_bytes(), 0o600, secret=True))
                public = fresh.with_suffix(".pub")
                made.append(HostFile(path.with_suffix(".pub"), public.read_bytes()))
            offered.append(path)
        if not offered:
            raise HostError("sshd_host_key_types leaves no host key to offer; add ed25519.")
        return offered, made

    def key_files(self) -> list[HostFile]:
        """Return the files with people's keys, and those that have to go."""
        files = {}
        given = [("sshd_authorized_keys", entry["user"], entry) for entry in self.wanted.authorized_keys]
        given += [("sshd_sftp_accounts", entry["name"], entry) for entry in self.wanted.sftp_accounts]
        for variable, name, entry in given:
            if not re.fullmatch(r"[a-z_][a-z0-9_.-]{0,31}", name):
                raise HostError(f"{variable}: '{name}' is not the name of an account.")
            if variable == "sshd_authorized_keys" and not known(name):
                raise HostError(f"{variable}: there is no account '{name}' on this host; make it first.")
            if KEYS / name in files:
                raise HostError(f"{variable}: the account '{name}' is listed twice; put all its keys into one entry.")
            lines = [line.strip() for line in entry["keys"] if line.strip()]
            for number, line in enumerate(lines):
                if "\n" in line or run("ssh-keygen", "-l", "-f", "-", data=line + "\n").returncode:
                    raise HostError(
                        f"{variable}: key {number + 1} of '{name}' is not a public key; give it on one line."
                    )
            if name == self.account and entry.get("exclusive") and not lines:
                raise HostError(
                    f"{variable}: '{name}' is the account that Ansible uses, and it would have no key left; give one."
                )
            files[KEYS / name] = HostFile(KEYS / name, "".join(f"{line}\n" for line in lines).encode())
        for path in sorted(KEYS.glob("*")) if KEYS.is_dir() else ():
            if path not in files and not path.name.startswith("."):
                files[path] = HostFile(path, None)
        return list(files.values())

    def configuration(self, passwords: bool, host_keys: list[Path]) -> str:
        return drop_in(
            self.wanted,
            [str(path) for path in host_keys],
            lambda name: run("ssh", "-Q", name).stdout.split(),
            openssh_version(run("/usr/sbin/sshd", "-V").stderr),
            passwords,
        )

    def withdrawn(self) -> list[str]:
        """Return the SFTP accounts that we made and that are wanted no more."""
        names = {account["name"] for account in self.wanted.sftp_accounts}
        return sorted(
            entry.pw_name for entry in pwd.getpwall() if entry.pw_gecos == MARK and entry.pw_name not in names
        )

    def accounts_to_make(self) -> list[str]:
        """Return the names of SFTP accounts that aren't (wholly) there."""
        found = []
        for account in self.wanted.sftp_accounts:
            name = account["name"]
            entry = known(name)
            if entry is not None and entry.pw_gecos != MARK:
                raise HostError(f"sshd_sftp_accounts: there is an account '{name}' already; choose another name.")
            root, files = SFTP / name, SFTP / name / "files"
            own = entry is not None and files.is_dir() and files.stat().st_uid == entry.pw_uid
            # sshd refuses a root that others can write to.
            if not own or root.stat().st_uid or root.stat().st_mode & 0o022:
                found.append(name)
        return found

    # --- whether it may be ---------------------------------------------------------------------------------------

    def check_addresses(self) -> None:
        """Refuse addresses that the host hasn't and ports that somebody else has."""
        if not all(0 < port < 65536 for port in self.wanted.ports):
            raise HostError("sshd_ports must hold ports from 1 to 65535.")
        links = json.loads(run("ip", "-json", "address").stdout or "[]")
        present = {ipaddress.ip_address(info["local"]) for link in links for info in link.get("addr_info", ())}
        for text in self.wanted.listen_addresses:
            try:
                address = ipaddress.ip_address(text)
            except ValueError as error:
                raise HostError(f"sshd_listen_addresses: '{text}' is not an IP address.") from error
            if not address.is_unspecified and address not in present:
                raise HostError(f"sshd_listen_addresses: {text} is not an address of this host; nothing was changed.")
        if self.by_socket and self.wanted.listen_addresses and not self.wanted.ports:
            raise HostError(
                "sshd_listen_addresses needs sshd_ports on this host, since ssh.socket wants both at once; give both."
            )
        for line in run("ss", "-Hltnp").stdout.splitlines():
            port = int(line.split()[3].rpartition(":")[2])
            holder = re.search(r'users:\(\("([^"]+)"', line)
            if port in self.wanted.ports and holder and holder[1] not in ("sshd", "systemd"):
                raise HostError(f"sshd_ports: port {port} is taken by {holder[1]} on this host; nothing was changed.")

    def ask(self, main: Path, *, as_account: bool = True) -> dict[str, list[str]]:
        """Return what sshd makes of a configuration, for the account and the connection that Ansible uses."""
        where = self.origin
        connection = (
            f"user={self.account},host={where.address},addr={where.address},laddr={where.local_address},"
            f"lport={where.local_port}"
        )
        done = run("/usr/sbin/sshd", "-T", "-f", str(main), *(("-C", connection) if as_account else ()))
        if done.returncode:
            said = last(done).replace(str(self.scratch / "sshd_config.d"), str(DROP_IN.parent))
            said = said.replace(str(self.scratch), str(FOLDER))
            raise HostError(f"sshd refuses the new configuration: {said}; nothing was changed, correct the variables.")
        return effective(done.stdout)

    def staged_main(self, text: str) -> Path:
        """Copy the whole configuration with a new drop-in to where sshd can be asked about it."""
        folder = self.scratch / "sshd_config.d"
        make_folder(folder, 0o700)
        for path in DROP_IN.parent.glob("*.conf"):
            shutil.copy(path, folder / path.name)
        for path in self.scratch.glob("ssh_host_*_key"):
            text = text.replace(str(FOLDER / path.name), str(path))
        (folder / DROP_IN.name).write_text(text, encoding="utf-8")
        main = self.scratch / "sshd_config"
        included = re.compile(r"^(\s*Include\s.*)$", re.MULTILINE | re.IGNORECASE)
        main.write_text(
            included.sub(
                lambda line: re.sub(r"(?:/etc/ssh/)?sshd_config\.d/", f"{folder}/", line[0]),
                MAIN.read_text(encoding="utf-8", errors="replace"),
            ),
            encoding="utf-8",
        )
        return main

    def check_effect(self, text: str, passwords: bool) -> None:
        """Compare what our file means by itself with what it comes to among all others; refuse a difference."""
        main = self.staged_main(text)
        alone, whole = self.ask(main.parent / "sshd_config.d" / DROP_IN.name), self.ask(main)
        found = [
            dataclasses.replace(
                entry,
                file=entry.file.replace(f"{self.scratch}/sshd_config.d", str(DROP_IN.parent)).replace(
                    str(self.scratch), str(FOLDER)
                ),
            )
            for entry in entries(main)
        ]
        if not any(entry.file == str(DROP_IN) for entry in found):
            raise HostError(
                f"{MAIN} doesn't include {DROP_IN.parent}/*.conf, so nothing of this role would count; put "
                f"'Include {DROP_IN.parent}/*.conf' on its first line."
            )
        for keyword in keywords(text):
            if sorted(whole.get(keyword, ())) != sorted(alone.get(keyword, ())):
                in_match = self.ask(main, as_account=False).get(keyword) == alone.get(keyword)
                entry = spoiled(keyword, found, in_match)
                comes, should = (" ".join(values.get(keyword, ["nothing"])) for values in (whole, alone))
                raise HostError(
                    f"{entry or 'Another file'} wins over this role for the account '{self.account}': it would be "
                    f"'{comes}' instead of '{should}'. "
                    "Nothing was changed; remove that line."
                )
        if door := None if passwords else password_door(found):
            raise HostError(f"{door} lets somebody log on without a key; nothing was changed, remove that line.")
        self.check_account(whole)

    def check_account(self, whole: dict[str, list[str]]) -> None:
        """Refuse what would keep the account that Ansible uses out, as far as that can be known beforehand."""
        entry = known(self.account)
        groups = []
        for number in os.getgrouplist(self.account, entry.pw_gid) if entry else ():
            with contextlib.suppress(KeyError):  # a group without a name is in no list
                groups.append(grp.getgrgid(number).gr_name)
        reason = shut_out(self.account, groups, whole)
        if whole.get("pubkeyauthentication") != ["yes"]:
            reason = "PubkeyAuthentication is off for it in a Match block"
        if self.account == "root" and whole.get("permitrootlogin") == ["no"]:
            reason = "sshd_root_logon is none"
        if reason:
            raise HostError(
                f"The account '{self.account}', which Ansible uses, could not log on any more, since {reason}; "
                "nothing was changed, correct the variables."
            )

    # --- making it so --------------------------------------------------------------------------------------------

    def now(self) -> dict[str, list[str]]:
        """Return what sshd makes of the present files; nothing where it refuses them, since a run may heal that."""
        try:
            return self.ask(MAIN)
        except HostError:
            return {}

    def passwords_on(self) -> bool:
        now = self.now()
        return now.get("passwordauthentication") != ["no"] or now.get("kbdinteractiveauthentication") != ["no"]

    def files(self, passwords: bool) -> tuple[list[HostFile], str]:
        """Return every file as it should be, and the text of the drop-in."""
        offered, made = self.host_keys()
        text = self.configuration(passwords, offered)
        files = [HostFile(DROP_IN, text.encode()), *self.key_files(), *made]
        listens = self.by_socket and self.wanted.ports
        files.append(HostFile(SOCKET_DROP_IN, socket_drop_in(self.wanted).encode() if listens else None))
        if MODULI.exists():
            before = MODULI.read_text(encoding="ascii", errors="replace")
            files.append(HostFile(MODULI, strong_moduli(before).encode()))
        return files, text

    def way_back(self) -> list[list[str]]:
        """Return the commands that make sshd take the old files; sessions go on, as they do over a restart."""
        if self.by_socket:
            return [
                ["systemctl", "daemon-reload"],
                ["systemctl", "stop", "ssh.service"],
                ["systemctl", "restart", "ssh.socket"],
            ]
        return [["systemctl", "reset-failed", "ssh.service"], ["systemctl", "restart", "ssh.service"]]

    def make_accounts(self, names: list[str]) -> None:
        for name in names:
            if known(name) is None:
                done = run(
                    "useradd", "--system", "--user-group", "--no-create-home", "--home-dir", str(SFTP / name),
                    "--shell", "/usr/sbin/nologin", "--comment", MARK, name,
                )  # fmt: skip
                if done.returncode:
                    raise HostError(f"sshd_sftp_accounts: the account '{name}' can't be made: {last(done)}.")
            entry = pwd.getpwnam(name)
            make_folder(SFTP)
            for folder, owner, group in ((SFTP / name, 0, 0), (SFTP / name / "files", entry.pw_uid, entry.pw_gid)):
                make_folder(folder)
                os.chown(folder, owner, group, follow_symlinks=False)
                folder.chmod(0o755 if owner == 0 else 0o750)

    def apply(self, changes: list[HostFile], guard: RollbackGuard) -> None:
        """Stage everything, arm the guard, put it in place and have sshd use it."""
        new = [beside(file.path) for file in changes]
        new += sorted({path for file in changes for path in file.missing_folders()}, reverse=True)
        try:
            for file in changes:
                file.stage()
            guard.arm([file.path for file in changes], self.way_back(), remove=new)
        except (OSError, HostError) as error:
            for path in new:
                remove(path)
            if isinstance(error, HostError):
                raise
            raise HostError(
                f"{error.filename or 'A file'} can't be written ({error.strerror}); nothing was changed."
            ) from error
        try:
            for file in changes:
                file.put()
            reason = self.activate({file.path for file in changes})
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}"
        except HostError as error:  # something didn't end in time
            reason = str(error).rstrip(".")
        if reason:
            report = guard.roll_back_now(reason)
            errors = f", except for {'; '.join(report['errors'])}" if report and report["errors"] else ""
            raise HostError(f"sshd didn't take the new configuration ({reason}); the old one is back{errors}.")

    def activate(self, changed: set[Path]) -> str:
        """Have sshd use what is in place; return an empty text, or why it doesn't."""
        if self.by_socket:
            commands = [["systemctl", "try-restart", "ssh.service"]]
            if SOCKET_DROP_IN in changed:
                commands = self.way_back()
            for command in commands:
                done = run(*command)
                if done.returncode:
                    return last(done)
        else:
            pid = run("systemctl", "show", "--property=MainPID", "--value", "ssh.service").stdout.strip()
            if pid in ("", "0"):
                done = run("systemctl", "restart", "ssh.service")
                return last(done) if done.returncode else ""
            # Debian's unit reloads with procps' kill, which a minimal system lacks. After its SIGHUP sshd executes
            # itself anew, which shows in addresses that the kernel draws by lot.
            image = Path("/proc", pid, "auxv")
            before = image.read_bytes()
            if SOCKET_DROP_IN in changed:
                run("systemctl", "daemon-reload")
            done = run("systemctl", "kill", "--kill-who=main", "--signal=HUP", "ssh.service")
            if done.returncode:
                return last(done)
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline and image.exists() and image.read_bytes() == before:
                time.sleep(0.02)
        return self.wait_for_ports()

    def wait_for_ports(self) -> str:
        """Wait until sshd (or systemd for it) listens where it should."""
        unit = "ssh.socket" if self.by_socket else "ssh.service"
        deadline = time.monotonic() + 10
        missing = set(self.wanted.ports)
        while time.monotonic() < deadline:
            heard = {int(line.split()[3].rpartition(":")[2]) for line in run("ss", "-Hltn").stdout.splitlines()}
            missing = set(self.wanted.ports) - heard
            state = run("systemctl", "is-active", unit).stdout.strip()
            if not missing and state == "active":
                return ""
            if state == "failed":
                break
            time.sleep(0.1)
        return f"{unit} {f'has no port {min(missing)}' if missing else 'is not active'}"


def known(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def diff(changes: list[HostFile], accounts: list[str], withdrawn: list[str]) -> list[dict[str, str]]:
    """Return Ansible's diff: a part for each file, and one for accounts."""

    def part(file: HostFile) -> dict[str, str]:
        if file.path != MODULI:
            return file.part("a private host key\n" if file.secret else "")
        texts = ((content or b"").decode("ascii", "replace") for content in (file.before(), file.content))
        counts = [sum(1 for line in text.splitlines() if line and not line.startswith("#")) for text in texts]
        return diff_part(str(MODULI), *(f"{count} moduli\n" for count in counts))

    parts = [part(file) for file in changes]
    if accounts or withdrawn:
        lists = ("".join(f"{name}\n" for name in names) for names in (withdrawn, accounts))
        parts.append(diff_part("accounts for SFTP alone", *lists))
    return parts


def work(module: AnsibleModule, sshd: Sshd) -> dict[str, Any]:
    """Compare, and change where that is asked for; return the module's result."""
    guard = RollbackGuard("sshd", module.params["rollback_seconds"])
    # A check changes nothing, so it may look on while a change waits for its confirmation.
    report = guard.last_report() if module.check_mode else guard.rolled_back()
    if report:
        module.warn(sentence(report))
    awaited = module.params["key_logon"] == "awaited"
    sshd.check_addresses()
    files, text = sshd.files(passwords=awaited)
    changes = [file for file in files if file.differs()]
    accounts, withdrawn = sshd.accounts_to_make(), sshd.withdrawn()
    sshd.check_effect(text, passwords=awaited)
    moved = sshd.wanted.ports and sshd.origin.port and sshd.origin.local_port not in sshd.wanted.ports
    result: dict[str, Any] = {
        "changed": bool(changes or accounts or withdrawn),
        "changed_files": sorted(str(file.path) for file in changes),
        "moved_to_port": sshd.wanted.ports[0] if moved else 0,
        "withdrawn_accounts": withdrawn,
        "rolled_back": report,
    }
    if result["changed"]:
        result["diff"] = diff(changes, accounts, withdrawn)
        if older_clients_lose(sshd.now(), sshd.ask(sshd.scratch / "sshd_config")):
            module.warn(OLDER_CLIENTS)
    if module.check_mode:
        return result
    if not result["changed"]:
        guard.forget_report()
        return result
    if module.params["key_logon"] == "unknown" and sshd.passwords_on():
        return {**result, "changed": False, "needs_key_logon": True}
    sshd.make_accounts(accounts)
    if changes:
        sshd.apply(changes, guard)
        result["guard"] = guard.as_result()
        if moved:
            result["guard_port"] = sshd.wanted.ports[0]
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
    scratch: Path | None = None
    try:
        sshd = Sshd(module)
        scratch = sshd.scratch
        result = work(module, sshd)
    except HostError as error:
        result = {"failed": True, "msg": str(error)}
    except OSError as error:
        result = {"failed": True, "msg": os_sentence(error)}
    finally:
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
