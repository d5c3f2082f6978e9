# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role letsencrypt puts onto a host, worked out from its variables."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..host.arguments import parsed
from ..host.errors import HostError
from ..host.files import HostFile, mark
from ..host.ports import check_root_port
from ..host.programs import Program
from ..host.units import UNITS
from ..values.addresses import read_any_address
from ..values.keys import read_public_key
from ..values.names import (
    read_authority,
    read_email,
    read_hmac_key,
    read_host,
    read_inventory_name,
    read_key_id,
    read_name,
)
from ..values.sentences import show
from ..values.texts import read_account, read_integer, read_label, read_line
from . import cli
from .authorities import AUTHORITIES
from .settings import SETTINGS, Peer, Settings, Wanted, settings_text

# Let's Encrypt's and most others' limit: https://letsencrypt.org/docs/rate-limits/
MOST_NAMES = 100
OWNER = "role postern.mail_gateway.letsencrypt"
PROGRAM = Program("postern-certificates", OWNER, cli)
STATE = Path("/var/lib/postern/certificates")
BUNDLE = Path("/etc/postern/authority.pem")
OPTIONS = Path("/etc/letsencrypt/postern.ini")
DROP_IN = UNITS / "certbot.service.d" / "postern.conf"
PATH_UNIT = UNITS / "postern-certificates.path"
RECEIVER = UNITS / "postern-certificates.service"


def authority_url(authority: str) -> str:
    """Return the address of an authority's ACME directory from its name or address."""
    known = parsed("letsencrypt_authority", authority, read_authority)
    return AUTHORITIES.get(known, known)


def _check_name(path: str, name: str) -> None:
    if "*" in name:
        raise HostError(
            f"{path} is {show(name)}, a wildcard, and HTTP-01 can't prove that somebody has all names of a domain (RFC "
            "8555 7.1.3); list the names one by one."
        )
    parsed(path, name, read_name)


def check_variables(variables: Mapping[str, Any]) -> None:
    """Raise HostError for the first thing that can't be right."""
    authority_url(variables["authority"])
    check_root_port("letsencrypt_http_port", int(variables["http_port"]))
    seen: set[str] = set()
    for number, certificate in enumerate(variables["certificates"]):
        path = f"letsencrypt_certificates[{number}]"
        name, names = parsed(f"{path}.name", certificate["name"], read_label), certificate["names"]
        if name in seen:
            raise HostError(f"{path}.name is {show(name)}, which is there twice; give each a name of its own.")
        seen.add(name)
        if not names:
            raise HostError(f"{path}.names is empty; list the DNS names of '{name}'.")
        if len(names) > MOST_NAMES:
            raise HostError(
                f"{path}.names has {len(names)} names, and authorities take {MOST_NAMES} at most; make two "
                "certificates of it."
            )
        for position, one in enumerate(names):
            _check_name(f"{path}.names[{position}]", str(one))
        if len({one.lower() for one in names}) < len(names):
            raise HostError(f"{path}.names has a name twice; list each once.")
    if variables["contact"]:
        parsed("letsencrypt_contact", variables["contact"], read_email)
    parsed("letsencrypt_account", variables["account"], read_account)
    parsed("letsencrypt_tls_address", variables["tls_address"], read_any_address)
    parsed("tls_port", variables["tls_port"], lambda value: read_integer(value, 1, 65535))
    if variables["metrics_file"]:
        parsed("letsencrypt_metrics_file", variables["metrics_file"], lambda value: read_line(value, "a file's path"))
    _check_gateways(variables)
    if variables.get("authority_ca") and not _certificates_in(variables["authority_ca"]):
        raise HostError("letsencrypt_authority_ca_file holds no PEM certificate; give the authority's root.")
    _check_external_account(variables["external_account_key_id"], variables["external_account_hmac_key"])


def _check_external_account(key_id: str, hmac_key: str) -> None:
    where = "letsencrypt_external_account"
    if bool(key_id) != bool(hmac_key):
        there, missing = ("key_id", "hmac_key") if key_id else ("hmac_key", "key_id")
        raise HostError(f"{where}_{missing} is missing beside {where}_{there}; the authority gave both, give both.")
    if key_id:
        parsed(f"{where}_key_id", key_id, read_key_id)
        parsed(f"{where}_hmac_key", hmac_key, read_hmac_key)


def _check_gateways(variables: Mapping[str, Any]) -> None:
    host, gateways = variables["host"], variables["gateways"]
    for number, name in enumerate(gateways):
        parsed(f"letsencrypt_gateways[{number}]", name, read_inventory_name)
    if host:
        parsed("host", host, read_inventory_name)
    if gateways and host not in gateways:
        raise HostError(f"letsencrypt_gateways ({', '.join(gateways)}) lacks this host, {host}.")
    for number, peer in enumerate(variables["peers"]):
        path = f"letsencrypt_peers[{number}]"
        parsed(f"{path}.name", peer["name"], read_inventory_name)
        parsed(f"{path}.address", peer["address"], lambda value: read_host(value, loopback=True))
        parsed(f"{path}.port", int(peer.get("port") or 22), lambda value: read_integer(value, 1, 65535))
        if peer["name"] == host:
            raise HostError(f"{path} is this host itself; list the other gateways.")
        if not peer["host_keys"]:
            raise HostError(f"{path}.host_keys is empty; without {peer['name']}'s host keys nobody can tell it apart.")
        for place, key in enumerate(peer["host_keys"]):
            parsed(f"{path}.host_keys[{place}]", key, lambda value: read_public_key(value, options=False))


def _certificates_in(text: str) -> list[str]:
    found = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL)
    try:
        for one in found:
            ssl.PEM_cert_to_DER_cert(one)
    except ValueError:
        return []
    return found


def settings(variables: Mapping[str, Any]) -> Settings:
    """Return the program's settings for one host.

    :raises HostError: something can't be right.
    """
    check_variables(variables)
    peers = tuple(Peer(peer["name"], peer["address"], int(peer.get("port") or 22)) for peer in variables["peers"])
    return Settings(
        host=variables["host"],
        certificates=tuple(
            Wanted(one["name"], tuple(name.lower() for name in one["names"])) for one in variables["certificates"]
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


def _text(*lines: str) -> bytes:
    return "\n".join((mark(OWNER), *lines, "")).encode()


def host_files(given: Settings, variables: Mapping[str, Any]) -> list[HostFile]:
    """Return every file that the role may have on a host, with its content where it should be there."""
    here = bool(given.certificates)
    peers: Sequence[Mapping[str, Any]] = variables["peers"] if here else ()
    key_id, hmac_key = variables["external_account_key_id"], variables["external_account_hmac_key"]
    known = [f"{peer['name']} {' '.join(key.split()[:2])}" for peer in peers for key in peer["host_keys"]]

    def wanted(condition: object, content: bytes) -> bytes | None:
        return content if here and condition else None

    return [
        HostFile(SETTINGS, wanted(True, settings_text(given).encode())),
        HostFile(BUNDLE, wanted(given.bundle, str(variables.get("authority_ca") or "").strip().encode() + b"\n")),
        HostFile(
            OPTIONS,
            wanted(key_id, _text(f"eab-kid = {key_id}", f"eab-hmac-key = {hmac_key}")),
            0o600,
            secret=True,
        ),
        HostFile(
            DROP_IN,
            wanted(True, _text("[Service]", "ExecStart=", f"ExecStart={PROGRAM.command} renew")),
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
                    "[Service]", "Type=oneshot", f"ExecStart={PROGRAM.command} receive",
                ),
            ),
        ),
        HostFile(STATE / "known_hosts", wanted(peers, "".join(f"{line}\n" for line in known).encode())),
    ]  # fmt: skip


def withdrawn(before: Settings | None, given: Settings) -> list[str]:
    """Return the certificates that an earlier run made and that are wanted no more."""
    names = {certificate.name for certificate in given.certificates}
    return [one.name for one in before.certificates if one.name not in names] if before else []
