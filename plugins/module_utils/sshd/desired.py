# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""sshd as it should be: files, host keys, people's keys, accounts for SFTP; and what can't be on this host."""

from __future__ import annotations

import ipaddress
import json
import os
import pwd
import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from ..host.arguments import parsed
from ..host.commands import last
from ..host.errors import HostError
from ..host.files import HostFile, read
from ..values.addresses import read_any_address
from ..values.keys import read_public_key
from ..values.texts import read_account
from .accounts import keys_in
from .configuration import Wanted, drop_in, openssh_version, service_drop_in, socket_drop_in, strong_moduli
from .host import MARK as HEADER
from .host import SshdHost, is_marked, known

MARK = "SFTP only (postern.mail_gateway)"
SHORTEST_RSA = 3072


class Desired:
    """What the role's variables come to on one host.

    :param host_key_types: kinds of host keys to offer, the first one first.
    :param warn: takes sentences that fail nothing.
    """

    def __init__(
        self, host: SshdHost, wanted: Wanted, host_key_types: Sequence[str], warn: Callable[[str], None]
    ) -> None:
        self.host = host
        self.wanted = wanted
        self.host_key_types = host_key_types
        self.warn = warn

    def host_keys(self) -> tuple[list[Path], list[HostFile]]:
        """Return the host keys to offer, and the files of those that are still to be made."""
        offered, made = [], []
        for kind in self.host_key_types:
            path = self.host.folder / f"ssh_host_{kind}_key"
            if path.exists():
                described = self.host.run("ssh-keygen", "-l", "-f", str(path)).stdout.split()
                if kind == "rsa" and described and int(described[0]) < SHORTEST_RSA:
                    self.warn(f"{path} has {described[0]} bits, so it isn't offered any more.")
                    continue
            else:
                fresh = self.host.scratch / path.name
                done = self.host.run(
                    "ssh-keygen", "-q", "-t", kind, "-b", str(SHORTEST_RSA), "-N", "", "-f", str(fresh)
                )
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
        given = [("sshd_authorized_keys", "user", *one) for one in enumerate(self.wanted.authorized_keys)]
        given += [("sshd_sftp_accounts", "name", *one) for one in enumerate(self.wanted.sftp_accounts)]
        for variable, key, place, entry in given:
            where = f"{variable}[{place}]"
            name = parsed(f"{where}.{key}", entry[key], read_account)
            if variable == "sshd_authorized_keys" and not known(name):
                raise HostError(f"{variable}: there is no account '{name}' on this host; make it first.")
            if self.host.keys / name in files:
                raise HostError(f"{variable}: the account '{name}' is listed twice; put all its keys into one entry.")
            lines = [
                parsed(f"{where}.keys[{number}]", line.strip(), read_public_key)
                for number, line in enumerate(entry["keys"])
                if line.strip()
            ]
            for number, line in enumerate(lines):
                if self.host.run("ssh-keygen", "-l", "-f", "-", data=line + "\n").returncode:
                    raise HostError(f"{where}.keys: ssh-keygen takes key {number + 1} for none; give another one.")
            if name == self.host.account and entry.get("exclusive") and not lines:
                raise HostError(
                    f"{variable}: '{name}' is the account that Ansible uses, and it would have no key left; give one."
                )
            path = self.host.keys / name
            self.check_owner(path, variable, lines)
            files[path] = HostFile(path, "".join(f"{line}\n" for line in (HEADER, *lines)).encode())
        for path in sorted(self.host.keys.glob("*")) if self.host.keys.is_dir() else ():
            if path in files or path.name.startswith("."):
                continue
            if is_marked(path):
                files[path] = HostFile(path, None)
            elif self.host.before_marks:
                self.warn(
                    f"{path} lets '{path.name}' log on and isn't marked as this role's; remove it if it is from an "
                    "earlier release of the role and the keys in it should no longer count."
                )
        return list(files.values())

    def check_owner(self, path: Path, variable: str, lines: Sequence[str]) -> None:
        """Refuse to write over a file of somebody else's with keys that would be lost."""
        if self.host.is_own_key_file(path):
            return
        if lost := keys_in(read(path)) - keys_in("\n".join(lines).encode()):
            raise HostError(
                f"{variable}: {path} isn't this role's, and {len(lost)} of its keys would be lost; put them into "
                f"'{path.name}'s keys, or remove the file."
            )

    def configuration(self, passwords: bool, host_keys: list[Path]) -> str:
        """Return the text of our own file."""
        return drop_in(
            self.wanted,
            [str(path) for path in host_keys],
            lambda name: self.host.run("ssh", "-Q", name).stdout.split(),
            openssh_version(self.host.run("/usr/sbin/sshd", "-V").stderr),
            passwords,
        )

    def withdrawn(self) -> list[str]:
        """Return the self.host.sftp accounts that we made and that are wanted no more."""
        names = {account["name"] for account in self.wanted.sftp_accounts}
        return sorted(
            entry.pw_name for entry in pwd.getpwall() if entry.pw_gecos == MARK and entry.pw_name not in names
        )

    def accounts_to_make(self) -> list[str]:
        """Return the names of self.host.sftp accounts that aren't (wholly) there."""
        found = []
        for account in self.wanted.sftp_accounts:
            name = account["name"]
            entry = known(name)
            if entry is not None and entry.pw_gecos != MARK:
                raise HostError(f"sshd_sftp_accounts: there is an account '{name}' already; choose another name.")
            root, files = self.host.sftp / name, self.host.sftp / name / "files"
            own = entry is not None and files.is_dir() and files.stat().st_uid == entry.pw_uid
            # sshd refuses a root that others can write to.
            if not own or root.stat().st_uid or root.stat().st_mode & 0o022:
                found.append(name)
        return found

    def check_addresses(self) -> None:
        """Refuse addresses that the host hasn't and ports that somebody else has."""
        if not all(0 < port < 65536 for port in self.wanted.ports):
            raise HostError("sshd_ports must hold ports from 1 to 65535.")
        links = json.loads(self.host.run("ip", "-json", "address").stdout or "[]")
        present = {ipaddress.ip_address(info["local"]) for link in links for info in link.get("addr_info", ())}
        for number, text in enumerate(self.wanted.listen_addresses):
            address = parsed(f"sshd_listen_addresses[{number}]", text, read_any_address)
            if not address.is_unspecified and address not in present:
                raise HostError(f"sshd_listen_addresses: {text} is not an address of this host; nothing was changed.")
        if self.host.by_socket and self.wanted.listen_addresses and not self.wanted.ports:
            raise HostError(
                "sshd_listen_addresses needs sshd_ports on this host, since ssh.socket wants both at once; give both."
            )
        for line in self.host.run("ss", "-Hltnp").stdout.splitlines():
            port = int(line.split()[3].rpartition(":")[2])
            holder = re.search(r'users:\(\("([^"]+)"', line)
            if port in self.wanted.ports and holder and holder[1] not in ("sshd", "systemd"):
                raise HostError(f"sshd_ports: port {port} is taken by {holder[1]} on this host; nothing was changed.")

    def files(self, passwords: bool) -> tuple[list[HostFile], str]:
        """Return every file as it should be, and the text of the drop-in."""
        offered, made = self.host_keys()
        text = self.configuration(passwords, offered)
        files = [HostFile(self.host.drop_in, text.encode()), *self.key_files(), *made]
        listens = self.host.by_socket and self.wanted.ports
        files.append(HostFile(self.host.socket_drop_in, socket_drop_in(self.wanted).encode() if listens else None))
        some = self.wanted.listen_addresses and not self.host.by_socket
        files.append(HostFile(self.host.service_drop_in, service_drop_in().encode() if some else None))
        if self.host.moduli.exists():
            before = self.host.moduli.read_text(encoding="ascii", errors="replace")
            files.append(HostFile(self.host.moduli, strong_moduli(before).encode()))
        return files, text

    def closed_folders(self) -> list[Path]:
        """Return our folders that sshd can't read for people, as an umask of old may have left them."""
        if not self.host.keys.is_dir():
            return []
        status = self.host.keys.stat()
        as_should_be = stat.S_IMODE(status.st_mode) == 0o755 and status.st_uid == os.geteuid()
        return [] if as_should_be else [self.host.keys]
