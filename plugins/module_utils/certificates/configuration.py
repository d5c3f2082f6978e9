# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role letsencrypt puts onto a host, worked out from its variables."""

from __future__ import annotations

import inspect
import ipaddress
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import program
from .authorities import AUTHORITIES, HMAC_KEY_FORM, KEY_ID_FORM

# Let's Encrypt's and most others' limit: https://letsencrypt.org/docs/rate-limits/
MOST_NAMES = 100
STATE = Path("/var/lib/postern/certificates")
BUNDLE = Path("/etc/postern/authority.pem")
OPTIONS = Path("/etc/letsencrypt/postern.ini")
UNITS = Path("/etc/systemd/system")
DROP_IN = UNITS / "certbot.service.d" / "postern.conf"
PATH_UNIT = UNITS / "postern-certificates.path"
RECEIVER = UNITS / "postern-certificates.service"
MARK = "# Written by Ansible (role postern.mail_gateway.letsencrypt); changes here are overwritten."

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)$")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}$")


class BadVariables(ValueError):
    """One sentence about the role's variables."""


def authority_url(authority: str) -> str:
    """Return the address of an authority's ACME directory from its name or address."""
    url = AUTHORITIES.get(authority, authority)
    if not re.match(r"https://[^/\s]+(/\S*)?$", url):
        raise BadVariables(
            f"letsencrypt_authority '{authority}' is neither {' nor '.join(AUTHORITIES)} nor an https:// address of an "
            "ACME directory."
        )
    return url


def _check_name(path: str, name: str) -> None:
    if "*" in name:
        raise BadVariables(
            f"{path} '{name}' is a wildcard, and HTTP-01 can't prove that somebody has all names of a domain (RFC 8555 "
            "7.1.3); list the names one by one."
        )
    try:
        ipaddress.ip_address(name)
    except ValueError:
        pass
    else:
        raise BadVariables(f"{path} '{name}' is an address; a certificate is for DNS names here.")
    labels = name.lower().split(".")
    if len(labels) < 2 or len(name) > 253 or not all(_LABEL.match(label) for label in labels):
        raise BadVariables(f"{path} '{name}' is not a full DNS name in ASCII, as in mail.example.com.")


def check_variables(variables: Mapping[str, Any]) -> None:
    """Raise BadVariables for the first thing that can't be right."""
    authority_url(variables["authority"])
    seen: set[str] = set()
    for number, certificate in enumerate(variables["certificates"]):
        path = f"letsencrypt_certificates[{number}]"
        name, names = str(certificate["name"]), certificate["names"]
        if not _NAME.match(name):
            raise BadVariables(f"{path}.name '{name}' must be lower case letters, digits and hyphens.")
        if name in seen:
            raise BadVariables(f"{path}.name '{name}' is there twice; give each certificate a name of its own.")
        seen.add(name)
        if not names:
            raise BadVariables(f"{path}.names is empty; list the DNS names of '{name}'.")
        if len(names) > MOST_NAMES:
            raise BadVariables(
                f"{path}.names has {len(names)} names, and authorities take {MOST_NAMES} at most; make two "
                "certificates of it."
            )
        for position, one in enumerate(names):
            _check_name(f"{path}.names[{position}]", str(one))
        if len({one.lower() for one in names}) < len(names):
            raise BadVariables(f"{path}.names has a name twice; list each once.")
    contact = variables["contact"]
    if contact and not re.match(r"[^@\s,]+@[^@\s,]+\.[^@\s,]+$", contact):
        raise BadVariables(f"letsencrypt_contact '{contact}' is not an e-mail address.")
    _check_gateways(variables)
    if variables.get("authority_ca") and not _certificates_in(variables["authority_ca"]):
        raise BadVariables("letsencrypt_authority_ca_file holds no PEM certificate; give the authority's root.")
    _check_external_account(variables["external_account_key_id"], variables["external_account_hmac_key"])


def _check_external_account(key_id: str, hmac_key: str) -> None:
    where = "letsencrypt_external_account"
    if bool(key_id) != bool(hmac_key):
        there, missing = ("key_id", "hmac_key") if key_id else ("hmac_key", "key_id")
        raise BadVariables(f"{where}_{missing} is missing beside {where}_{there}; the authority gave both, give both.")
    if key_id and not re.fullmatch(KEY_ID_FORM, key_id):
        raise BadVariables(f"{where}_key_id '{key_id}' is not a key identifier, one word that the authority gave.")
    if hmac_key and not re.fullmatch(HMAC_KEY_FORM, hmac_key):
        raise BadVariables(
            f"{where}_hmac_key is not shown, but must be base64url (letters, digits, - and _) as the authority gave "
            "it; copy it once more."
        )


def _check_gateways(variables: Mapping[str, Any]) -> None:
    host, gateways = variables["host"], variables["gateways"]
    if gateways and host not in gateways:
        raise BadVariables(f"letsencrypt_gateways ({', '.join(gateways)}) lacks this host, {host}.")
    for number, peer in enumerate(variables["peers"]):
        path = f"letsencrypt_peers[{number}]"
        if peer["name"] == host:
            raise BadVariables(f"{path} is this host itself; list the other gateways.")
        if not peer["host_keys"]:
            raise BadVariables(
                f"{path}.host_keys is empty; without {peer['name']}'s host keys nobody can tell it apart."
            )


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
    """Return each gateway's ``public_key`` and ``host_keys``, as it has told them in this run.

    Of one that couldn't be asked it is what this host remembers, or else another one; empty where nobody does.

    :param identities: what the state ``identity`` returned, as a loop registers it.
    """
    told: dict[str, Mapping[str, Any]] = {str(one.get("item")): one.get("identity") or {} for one in identities}
    peers = [told[name].get("peers") or {} for name in sorted(told, key=lambda name: (name != host, name))]

    def known(name: str, key: str) -> Any:
        sources = [told[name]] if told[name] else [one[name] for one in peers if name in one]
        return next((source[key] for source in sources if source.get(key)), None)

    return {
        name: {"public_key": known(name, "public_key") or "", "host_keys": known(name, "host_keys") or []}
        for name in told
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


def _certificates_in(text: str) -> list[str]:
    found = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL)
    try:
        for one in found:
            ssl.PEM_cert_to_DER_cert(one)
    except ValueError:
        return []
    return found


def settings(variables: Mapping[str, Any]) -> program.Settings:
    """Return the program's settings for one host.

    :raises BadVariables: something can't be right.
    """
    check_variables(variables)
    peers = tuple(
        program.Peer(peer["name"], peer["address"], int(peer.get("port") or 22)) for peer in variables["peers"]
    )
    return program.Settings(
        host=variables["host"],
        certificates=tuple(
            program.Wanted(one["name"], tuple(name.lower() for name in one["names"]))
            for one in variables["certificates"]
        ),
        authority=authority_url(variables["authority"]),
        gateways=tuple(variables["gateways"] or [variables["host"]]),
        peers=peers,
        contact=variables["contact"],
        key_type=variables["key_type"],
        key_size=variables["key_size"],
        bundle=str(BUNDLE) if variables.get("authority_ca") else "",
        certbot_options=str(OPTIONS) if variables["external_account_key_id"] else "",
        http_port=variables["http_port"],
        self_test=variables["self_test"],
        account=variables["account"],
        drop=f"/srv/sftp/{variables['account']}/files" if peers else "",
        metrics=variables["metrics_file"],
        address=variables["tls_address"],
        port=variables["tls_port"],
        state=str(STATE),
    )


@dataclass(frozen=True)
class HostFile:
    """A file that should be there with this content, or not at all (None)."""

    path: Path
    content: bytes | None
    mode: int = 0o644
    secret: bool = False


def _text(*lines: str) -> bytes:
    return "\n".join((MARK, *lines, "")).encode()


def host_files(given: program.Settings, variables: Mapping[str, Any]) -> list[HostFile]:
    """Return every file that the role may have on a host, with its content where it should be there."""
    here = bool(given.certificates)
    peers: Sequence[Mapping[str, Any]] = variables["peers"] if here else ()
    key_id, hmac_key = variables["external_account_key_id"], variables["external_account_hmac_key"]
    known = [f"{peer['name']} {' '.join(key.split()[:2])}" for peer in peers for key in peer["host_keys"]]
    source = f"#!/usr/bin/python3 -I\n{inspect.getsource(program)}".encode()

    def wanted(condition: object, content: bytes) -> bytes | None:
        return content if here and condition else None

    return [
        HostFile(program.PROGRAM, wanted(True, source), 0o755),
        HostFile(program.SETTINGS, wanted(True, program.settings_text(given).encode())),
        HostFile(BUNDLE, wanted(given.bundle, str(variables.get("authority_ca") or "").strip().encode() + b"\n")),
        HostFile(
            OPTIONS,
            wanted(key_id, _text(f"eab-kid = {key_id}", f"eab-hmac-key = {hmac_key}")),
            0o600,
            secret=True,
        ),
        HostFile(
            DROP_IN,
            wanted(True, _text("[Service]", "ExecStart=", f"ExecStart={program.PROGRAM} renew")),
        ),
        HostFile(
            PATH_UNIT,
            wanted(
                peers,
                _text(
                    "[Unit]", "Description=Certificates from other gateways", "", "[Path]",
                    f"PathExistsGlob={given.drop}/*.pem", "", "[Install]", "WantedBy=paths.target",
                ),
            ),
        ),
        HostFile(
            RECEIVER,
            wanted(
                peers,
                _text(
                    "[Unit]", "Description=Install certificates from other gateways", "After=haproxy.service",
                    # It takes each upload away, so it is never called for nothing.
                    "StartLimitIntervalSec=0", "",
                    "[Service]", "Type=oneshot", f"ExecStart={program.PROGRAM} receive",
                ),
            ),
        ),
        HostFile(STATE / "known_hosts", wanted(peers, "".join(f"{line}\n" for line in known).encode())),
    ]  # fmt: skip


def withdrawn(before: program.Settings | None, given: program.Settings) -> list[str]:
    """Return the certificates that an earlier run made and that are wanted no more."""
    names = {certificate.name for certificate in given.certificates}
    return [one.name for one in before.certificates if one.name not in names] if before else []
