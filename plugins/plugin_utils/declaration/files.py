# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files on the controller that a declaration names: is it there, and of the right kind?"""

from __future__ import annotations

import ssl
from pathlib import Path

from ...module_utils.values.sentences import Unfit


def check_certificate_file(path: str) -> None:
    """The file must be a PEM with a private key and the certificate that belongs to it; else Unfit.

    What is encrypted with Ansible Vault isn't looked into: the password may not be at hand.
    """
    text = _read_pem(path)
    if text.startswith("$ANSIBLE_VAULT;"):
        return
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise Unfit(
            "which holds no certificate; it must be a PEM file with the private key, the certificate and its chain"
        )
    if "PRIVATE KEY-----" not in text:
        raise Unfit(
            "which holds no private key; it must be a PEM file with the private key, the certificate and its chain"
        )
    if "-----BEGIN ENCRYPTED PRIVATE KEY-----" in text or "Proc-Type: 4,ENCRYPTED" in text:
        raise Unfit("whose private key has a passphrase; HAProxy can't ask for it, so write the key without one")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, password=lambda: "")
    except (ssl.SSLError, OSError, ValueError) as error:
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            raise Unfit("whose private key belongs to another certificate; the server's own must come first") from None
        raise Unfit("which holds a damaged certificate or private key; export it again") from None


def check_authority_file(path: str) -> None:
    """The file must be a PEM with certificates only; else Unfit."""
    text = _read_pem(path)
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise Unfit("which holds no certificate; it must be the authority's certificate as a PEM file")
    if "PRIVATE KEY-----" in text:
        raise Unfit("which holds a private key; it is copied to the gateways, so it must hold certificates only")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError, ValueError):
        raise Unfit("which holds a damaged certificate; export it again") from None


def _read_pem(path: str) -> str:
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            return file.read(1_000_000)
    except FileNotFoundError:
        raise Unfit("but there is no such file on the controller") from None
    except IsADirectoryError:
        raise Unfit("but that is a folder, not a file") from None
    except (OSError, ValueError) as error:
        raise Unfit(f"but the file can't be read ({getattr(error, 'strerror', None) or 'bad path'})") from None
