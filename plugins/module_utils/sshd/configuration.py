# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""sshd's configuration as text: what ours says, what others' say, and whether it comes to the same (sshd_config(5))."""

from __future__ import annotations

import fnmatch
import glob
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..host.errors import HostError
from ..host.networks import networks
from ..values.sentences import show
from .host import KEYS_ARE_MARKED, MARK

FOLDER = Path("/etc/ssh")
DROP_IN = FOLDER / "sshd_config.d" / "00-postern.conf"
KEYS = FOLDER / "authorized_keys.d"
SFTP = Path("/srv/sftp")

#: The best first. Key exchanges withstand a later quantum computer: what is recorded today can't be read then.
#: GCM and CTR with encrypt-then-MAC are what the Terrapin attack (CVE-2023-48795) can't touch, whoever connects.
ALGORITHMS = {
    "KexAlgorithms": (
        "kex",
        # OpenSSH 9.9, 9.9 and 8.5 (in its clients' offer since 8.9), see https://www.openssh.com/pq.html
        ["mlkem768x25519-sha256", "sntrup761x25519-sha512", "sntrup761x25519-sha512@openssh.com"],
    ),
    "Ciphers": (
        "cipher",
        ["aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr", "aes192-ctr", "aes128-ctr"],
    ),
    "MACs": (
        "mac",
        ["hmac-sha2-512-etm@openssh.com", "hmac-sha2-256-etm@openssh.com", "umac-128-etm@openssh.com"],
    ),
    "HostKeyAlgorithms": (
        "HostKeyAlgorithms",
        [
            *("ssh-ed25519-cert-v01@openssh.com", "rsa-sha2-512-cert-v01@openssh.com"),
            *("rsa-sha2-256-cert-v01@openssh.com", "ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"),
        ],
    ),
}
#: For clients that know none of these; ssh-audit warns of it.
OLDER_KEY_EXCHANGES = ["curve25519-sha256", "curve25519-sha256@libssh.org"]
#: The first OpenSSH that holds a client off whose logons have failed (PerSourcePenalties).
PENALTIES_SINCE = (9, 8)
#: What the role has variables or a promise for, so that it can't stand in free settings.
OWN = {
    "port": "sshd_ports",
    "listenaddress": "sshd_listen_addresses",
    "addressfamily": "sshd_listen_addresses",
    "hostkey": "sshd_host_key_types",
    "permitrootlogin": "sshd_root_logon",
    "authorizedkeysfile": "sshd_authorized_keys",
    "persourcepenaltyexemptlist": "sshd_penalty_exempt_networks",
    "passwordauthentication": "",
    "kbdinteractiveauthentication": "",
    "challengeresponseauthentication": "",
    "skeyauthentication": "",
    "permitemptypasswords": "",
    "pubkeyauthentication": "",
    "include": "",
    "match": "sshd_matches",
}
SYNONYMS = {
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "skeyauthentication": "kbdinteractiveauthentication",
}
# Every occurrence of these counts, not the first alone.
CUMULATIVE = {"port", "listenaddress", "hostkey", "allowusers", "denyusers", "allowgroups", "denygroups", "acceptenv"}
# Shortest moduli that stay (RFC 8270 wants 2048; the column in moduli(5) is one less than the length).
MODULI_BITS = 3071


@dataclass(frozen=True)
class Entry:
    """One setting of a configuration file. ``match`` is the criteria of the block it stands in, or empty."""

    file: str
    line: int
    keyword: str
    value: str
    match: str

    def __str__(self) -> str:
        inside = f", in the block 'Match {self.match}'" if self.match else ""
        return f"{self.file} line {self.line} ('{self.keyword} {self.value}'{inside})"


def value_text(keyword: str, value: Any) -> str:
    """Return a setting's value as sshd writes it; lists with commas for algorithms, else with spaces.

    >>> value_text("AllowUsers", ["anna", "ben"]), value_text("UseDNS", False)
    ('anna ben', 'no')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        comma = keyword.lower() in ("kexalgorithms", "ciphers", "macs") or keyword.lower().endswith("algorithms")
        return ("," if comma else " ").join(str(item) for item in value)
    return str(value)


def checked_settings(settings: Mapping[str, Any], where: str) -> list[tuple[str, str]]:
    """Return free settings as pairs.

    :param where: the variable, for the sentence.
    :raises HostError: something that isn't a setting, or one that is the role's own.
    """
    pairs = []
    for keyword, value in settings.items():
        text = value_text(keyword, value)
        if not re.fullmatch(r"[A-Za-z0-9]+", keyword) or not text.strip() or not text.isprintable():
            raise HostError(
                f"{where}: {show({keyword: text})} is not a setting of sshd; give a name and a value of one line."
            )
        if keyword.lower() in OWN and not (keyword.lower() == "pubkeyauthentication" and ".settings" in where):
            instead = OWN[keyword.lower()]
            advice = f"use {instead}" if instead else "this role sees to it that logons are by key alone; remove it"
            raise HostError(f"{where}.{keyword} can't be set here: {advice}.")
        pairs.append((keyword, text))
    return pairs


def available(wanted: Sequence[str], known: Iterable[str]) -> list[str]:
    """Return those of the wanted algorithms that this OpenSSH knows, in their order."""
    names = set(known)
    return [name for name in wanted if name in names]


@dataclass(frozen=True)
class Wanted:
    """What the variables ask for; see the role's argument specification."""

    ports: list[int]
    listen_addresses: list[str]
    root_logon: str
    authorized_keys: list[dict[str, Any]]
    sftp_accounts: list[dict[str, Any]]
    settings: dict[str, Any]
    matches: list[dict[str, Any]]
    older_clients: bool = False
    penalty_exempt_networks: Sequence[str] = ()


def openssh_version(text: str) -> tuple[int, int]:
    """Return the version that ``sshd -V`` printed, in whatever words; (0, 0) where there is none in it.

    >>> openssh_version("OpenSSH_9.2p1 Debian-2+deb12u7, OpenSSL 3.0.17 1 Jul 2025")
    (9, 2)
    """
    found = re.search(r"OpenSSH_(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def drop_in(
    wanted: Wanted,
    host_keys: Sequence[str],
    query: Callable[[str], Iterable[str]],
    version: tuple[int, int],
    passwords: bool,
) -> str:
    """Return the configuration file.

    :param host_keys: paths of the private host keys, the preferred first.
    :param query: what ``ssh -Q NAME`` answers.
    :param version: OpenSSH's.
    :param passwords: leave passwords as they are on the host; for the moment before a key logon has worked.
    :raises HostError: a setting that can't be there.
    :raises HostError: what isn't a network.
    """
    lines = [MARK, "# It sorts first, and sshd takes the first value that it sees.", KEYS_ARE_MARKED, ""]
    lines += [f"Port {port}" for port in wanted.ports]
    lines += [f"ListenAddress {address}" for address in wanted.listen_addresses]
    lines += ["", "# Keys alone."]
    if not passwords:
        lines += ["PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitEmptyPasswords no"]
    lines += [
        "PubkeyAuthentication yes",
        f"PermitRootLogin {'prohibit-password' if wanted.root_logon == 'key' else 'no'}",
        f"AuthorizedKeysFile .ssh/authorized_keys .ssh/authorized_keys2 {KEYS}/%u",
        "",
    ]
    exempt = networks(wanted.penalty_exempt_networks, "sshd_penalty_exempt_networks")
    if exempt and version >= PENALTIES_SINCE:
        # On a socket for both families (ssh.socket's) sshd looks for an IPv4 client as ::ffff:192.0.2.1.
        mapped = [f"::ffff:{one.network_address}/{96 + one.prefixlen}" for one in exempt if one.version == 4]
        lines += [f"PerSourcePenaltyExemptList {','.join([*map(str, exempt), *mapped])}", ""]
    free = checked_settings(wanted.settings, "sshd_settings")
    given = {keyword.lower() for keyword, _unused in free}
    lines += [f"HostKey {path}" for path in host_keys]
    for keyword, (name, names) in ALGORITHMS.items():
        older = OLDER_KEY_EXCHANGES if keyword == "KexAlgorithms" and wanted.older_clients else []
        found = available([*names, *older], query(name))
        if found and keyword.lower() not in given:
            lines.append(f"{keyword} {','.join(found)}")
    lines += [f"{keyword} {text}" for keyword, text in free]
    lines += _match_blocks(wanted)
    return "\n".join(lines) + "\n"


def _match_blocks(wanted: Wanted) -> list[str]:
    lines: list[str] = []
    if wanted.sftp_accounts:
        lines += [
            "",
            "# Files in and out, and nothing else.",
            f"Match User {','.join(account['name'] for account in wanted.sftp_accounts)}",
            f"    ChrootDirectory {SFTP}/%u",
            "    ForceCommand internal-sftp -d /files",
            f"    AuthorizedKeysFile {KEYS}/%u",
            "    AuthenticationMethods publickey",
            "    DisableForwarding yes",
            "    PermitTTY no",
            "    PermitUserRC no",
        ]
    if exclusive := [entry["user"] for entry in wanted.authorized_keys if entry["exclusive"]]:
        lines += ["", f"Match User {','.join(exclusive)}", f"    AuthorizedKeysFile {KEYS}/%u"]
    for number, block in enumerate(wanted.matches):
        where = f"sshd_matches[{number}]"
        if not block["match"].strip() or not block["match"].isprintable():
            raise HostError(f"{where}.match must be the criteria of a Match block on one line, as in 'User anna'.")
        lines += ["", f"Match {block['match'].strip()}"]
        lines += [f"    {key} {text}" for key, text in checked_settings(block["settings"], f"{where}.settings")]
    return [*lines, "", "Match all"] if lines else []


def socket_streams(wanted: Wanted) -> list[str]:
    """Return what ssh.socket listens on, as lines of a unit. An address that comes later is no reason not to."""
    hosts = [f"[{address}]:" if ":" in address else f"{address}:" for address in wanted.listen_addresses] or [""]
    streams = [f"ListenStream={host}{port}" for port in wanted.ports for host in hosts]
    return [*streams, *(["FreeBind=yes"] if wanted.listen_addresses else [])]


def socket_drop_in(wanted: Wanted) -> str:
    """Return the drop-in for ssh.socket, which decides about ports and addresses where systemd listens for sshd."""
    return "\n".join([MARK, "[Socket]", "ListenStream=", *socket_streams(wanted), ""])


def service_drop_in() -> str:
    """Return the drop-in for ssh.service where sshd listens on some addresses alone.

    It ends with 255 where none of them is there, and Debian's unit never starts it again then.
    """
    return f"""{MARK}
# Addresses may come later than sshd, at a boot.
[Unit]
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
RestartPreventExitStatus=
Restart=on-failure
RestartSec=5s
"""


def strong_moduli(text: str) -> str:
    """Return moduli(5) without the weak ones; unchanged where no strong one would be left."""
    lines = text.splitlines(keepends=True)
    strong = [line for line in lines if line.startswith("#") or _bits(line) >= MODULI_BITS]
    return "".join(strong) if any(not line.startswith("#") for line in strong) else text


def _bits(line: str) -> int:
    fields = line.split()
    return int(fields[4]) if len(fields) > 4 and fields[4].isdecimal() else MODULI_BITS


def entries(main: Path, folder: Path = FOLDER, *, depth: int = 0, match: str = "") -> list[Entry]:
    """Return the settings of a configuration file and of those it includes, in sshd's reading order.

    :param folder: what relative names in ``Include`` belong to.
    """
    found: list[Entry] = []
    for number, line in enumerate(main.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        parts = re.match(r"\s*([A-Za-z0-9]+)(?:\s*=\s*|\s+)(.*?)\s*$", line)
        if not parts:
            continue
        keyword, value = parts[1], re.sub(r'^"([^"]*)"$', r"\1", parts[2])
        if keyword.lower() == "match":
            match = "" if value.lower() == "all" else value
        elif keyword.lower() == "include":
            for pattern in value.split():
                for path in sorted(glob.glob(str(folder / pattern.strip('"')))) if depth < 16 else []:  # noqa: PTH207
                    found += entries(Path(path), folder, depth=depth + 1, match=match)
        else:
            found.append(Entry(str(main), number, keyword, value, match))
    return found


def effective(text: str) -> dict[str, list[str]]:
    """Return what ``sshd -T`` printed: keyword in lower case → its values."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        keyword, _unused, value = line.partition(" ")
        found.setdefault(keyword.lower(), []).append(value)
    return found


def keywords(text: str) -> list[str]:
    """Return the keywords that a configuration text sets, in lower case, each once."""
    names = re.findall(r"^\s*([A-Za-z0-9]+)\s", text, re.MULTILINE)
    return [name for name in dict.fromkeys(name.lower() for name in names) if name not in ("match", "include")]


def spoiled(keyword: str, found: Sequence[Entry], in_match: bool) -> Entry | None:
    """Return the entry of another file that makes a setting of ours not count.

    :param found: all entries in reading order.
    :param in_match: whether the setting is right until ``Match`` blocks are looked at.
    """
    same = [entry for entry in found if SYNONYMS.get(entry.keyword.lower(), entry.keyword.lower()) == keyword]
    others = [entry for entry in same if entry.file != str(DROP_IN)]
    if keyword in CUMULATIVE and not in_match:
        return others[0] if others else None
    return next((entry for entry in others if bool(entry.match) == in_match), others[0] if others else None)


def older_clients_lose(before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]) -> bool:
    """Return whether a change of the effective settings takes the key exchange away that older clients have."""

    def offered(settings: Mapping[str, Sequence[str]]) -> set[str]:
        return {name for value in settings.get("kexalgorithms", ()) for name in value.split(",")}

    return bool(set(OLDER_KEY_EXCHANGES) & offered(before)) and not set(OLDER_KEY_EXCHANGES) & offered(after)


def shut_out(account: str, groups: Sequence[str], settings: Mapping[str, Sequence[str]]) -> str:
    """Return why sshd's lists of accounts and groups keep an account out, or an empty text.

    :param settings: the effective ones.
    """

    def hit(keyword: str, names: Sequence[str], *, denied: bool) -> bool:
        patterns = [word for value in settings.get(keyword, ()) for word in value.split()]
        if denied:
            patterns = [word for word in patterns if "@" not in word]
        return any(fnmatch.fnmatchcase(name, word.partition("@")[0]) for name in names for word in patterns)

    for keyword, shown, names in (("allowusers", "AllowUsers", [account]), ("allowgroups", "AllowGroups", groups)):
        if settings.get(keyword) and not hit(keyword, names, denied=False):
            return f"{shown} ({' '.join(settings[keyword])}) leaves it out"
    for keyword, shown, names in (("denyusers", "DenyUsers", [account]), ("denygroups", "DenyGroups", groups)):
        if hit(keyword, names, denied=True):
            return f"{shown} ({' '.join(settings[keyword])}) names it"
    return ""
