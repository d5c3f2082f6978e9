# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a gateway is to its peers: the key by which it logs on to them, its SSH host keys, and what it knows of them."""

from __future__ import annotations

import pwd
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..host.arguments import parsed
from ..host.commands import last, run
from ..host.errors import HostError
from ..host.files import beside, diff_part, make_folder, read, replace
from ..host.locks import lock_path, locked
from ..values.keys import is_public_key
from ..values.names import read_inventory_name
from ..values.texts import read_account

STATE = Path("/var/lib/postern/certificates")
BUSY = "Another run makes this gateway's key; wait for it to end and run again."


def key_comment(host: str) -> str:
    """Return the comment of the key by which a gateway logs on to its peers."""
    return f"certificates@{host}"


def remembered(authorized_keys: str, known_hosts: str) -> dict[str, dict[str, Any]]:
    """Return what a host knows of its peers from earlier runs, by name: ``public_key`` and ``host_keys``.

    :param authorized_keys: the keys that log on to its account for SFTP.
    :param known_hosts: the host keys that it has pinned.
    """
    found: dict[str, dict[str, Any]] = {}

    def entry(name: str) -> dict[str, Any]:
        return found.setdefault(name, {"public_key": "", "host_keys": []})

    for line in authorized_keys.splitlines():
        head, mark, name = line.strip().rpartition(f" {key_comment('')}")
        if mark and name and not head.startswith("#"):
            entry(name)["public_key"] = line.strip()
    for line in known_hosts.splitlines():
        name, _unused, key = line.partition(" ")
        entry(name)["host_keys"].append(key)
    return found


def known_identities(identities: Sequence[Mapping[str, Any]], host: str) -> dict[str, dict[str, Any]]:
    """Return each gateway's ``public_key`` and ``host_keys``, as it reported them in this run.

    Of one that couldn't be asked it is what this host remembers, or else another one; empty where nobody does.

    :param identities: what the state ``identity`` returned, as a loop registers it.
    """
    reported: dict[str, Mapping[str, Any]] = {str(one.get("item")): one.get("identity") or {} for one in identities}
    peers = [reported[name].get("peers") or {} for name in sorted(reported, key=lambda name: (name != host, name))]

    def known(name: str, key: str) -> Any:
        sources = [reported[name]] if reported[name] else [one[name] for one in peers if name in one]
        return next((source[key] for source in sources if source.get(key)), None)

    return {
        name: {"public_key": known(name, "public_key") or "", "host_keys": known(name, "host_keys") or []}
        for name in reported
    }


def with_host_keys(
    peers: Sequence[Mapping[str, Any]], identities: Sequence[Mapping[str, Any]], known_hosts: str, host: str
) -> list[dict[str, Any]]:
    """Return the peers with their SSH host keys: as given, as just read, or as known from an earlier run.

    One that couldn't be asked and that nobody knows yet is left out: there is no way to tell it apart.
    """
    read, here = known_identities(identities, host), remembered("", known_hosts)
    silent = {str(one.get("item")) for one in identities if not one.get("identity")}

    def host_keys(peer: Mapping[str, Any]) -> list[str]:
        sources = (peer, read.get(peer["name"], {}), here.get(peer["name"], {}))
        return next((list(source["host_keys"]) for source in sources if source.get("host_keys")), [])

    found = [{**peer, "host_keys": host_keys(peer)} for peer in peers]
    return [peer for peer in found if peer["host_keys"] or peer["name"] not in silent]


def with_known_hosts(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the role's variables with the peers' SSH host keys, as far as anybody knows them."""
    peers, identities = variables["peers"], variables["identities"]
    return {**variables, "peers": with_host_keys(peers, identities, known_hosts(), variables["host"])}


class Identity:
    """This host's own identity.

    :param host: its name among the gateways.
    :param account: the account for SFTP.
    """

    def __init__(self, host: str, account: str, state: Path = STATE) -> None:
        self.host = parsed("host", host, read_inventory_name)
        self.account = parsed("account", account, read_account)
        self.key = state / "id_ed25519"
        self.public = state / "id_ed25519.pub"
        self.known_hosts = state / "known_hosts"

    def ensure(self, *, check_mode: bool) -> dict[str, Any]:
        """Make the key where it isn't there, and return the module's result."""
        if check_mode:
            return self._result(changed=not self.key.exists())
        # Several gateways may ask for it at the same time.
        with locked(lock_path("certificates"), BUSY):
            return self._result(changed=self._make())

    def _make(self) -> bool:
        if self.key.exists():
            return False
        make_folder(self.key.parent)
        fresh = beside(self.key)
        fresh.unlink(missing_ok=True)
        done = run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key_comment(self.host), "-f", str(fresh))
        if done.returncode:
            raise HostError(f"ssh-keygen made no key: {last(done)}.")
        fresh_public = fresh.with_name(f"{fresh.name}.pub")
        fresh_public.chmod(0o644)
        # The private half last: it is what says that the key is there.
        replace(fresh_public, self.public)
        replace(fresh, self.key)
        return True

    def _result(self, *, changed: bool) -> dict[str, Any]:
        keys = [path.read_text(encoding="utf-8") for path in sorted(Path("/etc/ssh").glob("ssh_host_*_key.pub"))]
        return {
            "changed": changed,
            "identity": {
                "public_key": (read(self.public) or b"").decode().strip(),
                "host_keys": [" ".join(key.split()[:2]) for key in keys if is_public_key(key.strip())],
                "peers": remembered(self._authorized_keys(), known_hosts(self.known_hosts)),
            },
            "diff": [diff_part(str(self.key), "", "a new key\n")] if changed else [],
        }

    def _authorized_keys(self) -> str:
        """Return the keys that log on to the account for SFTP, from where sshd looks for them."""
        account = self.account
        try:
            home = pwd.getpwnam(account).pw_dir
            done = run("/usr/sbin/sshd", "-T", "-C", f"user={account},host=localhost,addr=127.0.0.1")
        except (KeyError, HostError):  # no such account, no sshd
            return ""
        tokens = {"%%": "%", "%h": home, "%u": account}  # sshd_config(5), TOKENS
        lines = [line.split() for line in done.stdout.splitlines()]
        paths: list[str] = next((words[1:] for words in lines if words and words[0] == "authorizedkeysfile"), [])
        paths = [re.sub("%[%hu]", lambda found: tokens[found[0]], path) for path in paths]
        return "\n".join((read(Path(home, path)) or b"").decode("utf-8", "replace") for path in paths)


def known_hosts(path: Path = STATE / "known_hosts") -> str:
    """Return the peers' host keys that this host has pinned."""
    return (read(path) or b"").decode()
