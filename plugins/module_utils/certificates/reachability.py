# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the authority can be reached from here, and whether the names lead here, before the authority is asked."""

from __future__ import annotations

import http.client
import http.server
import json
import secrets
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable
from typing import Any

from ..host.errors import HostError
from .settings import Settings

HTTP = 80
"""Where authorities ask (RFC 8555 8.3)."""
LARGEST = 256 * 1024
"""Bytes that a directory may have."""


def directory(settings: Settings) -> dict[str, Any]:
    """Ask the authority for its directory (RFC 8555 7.1.1); HostError where it isn't one."""
    where = f"The authority {settings.authority}"
    try:
        context = ssl.create_default_context(cafile=settings.bundle or None)
        with urllib.request.urlopen(settings.authority, timeout=20, context=context) as answer:  # noqa: S310 (https)
            content = json.loads(answer.read(LARGEST))
    except urllib.error.HTTPError as error:
        raise HostError(f"{where} answers {error.code}; correct letsencrypt_authority.") from None
    except urllib.error.URLError as error:
        reason = getattr(error.reason, "verify_message", "") or getattr(error.reason, "strerror", "") or error.reason
        raise HostError(
            f"{where} can't be reached ({str(reason).rstrip('.')}); nothing was changed, run again when it answers."
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise HostError(
            f"{where} can't be reached ({error}); nothing was changed, run again when it answers."
        ) from None
    except ValueError:
        content = None
    if not isinstance(content, dict) or not {"newNonce", "newAccount", "newOrder"} <= content.keys():
        raise HostError(f"{where} doesn't answer with an ACME directory; correct letsencrypt_authority.")
    return content


def wants_account(settings: Settings, offered: dict[str, Any]) -> None:
    """Refuse an authority that wants accounts bound to one of its own (RFC 8555 7.3.4), where no key is given."""
    meta = offered.get("meta")
    if isinstance(meta, dict) and meta.get("externalAccountRequired") and not settings.certbot_options:
        raise HostError(
            f"The authority {settings.authority} wants accounts that are bound to one of its own; give its key in "
            "letsencrypt_external_account_key_id and letsencrypt_external_account_hmac_key."
        )


class _Answer(http.server.BaseHTTPRequestHandler):
    """Answers one path of the self-test, like certbot's own listener."""

    expected = ("", "")

    def do_GET(self) -> None:
        """Answer the path that is asked for by the test."""
        path, text = self.expected
        found = self.path == path
        self.send_response(200 if found else 404)
        self.end_headers()
        if found:
            self.wfile.write(text.encode())

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def self_test(settings: Settings, names: Iterable[str]) -> None:
    """Refuse names that don't lead to this gateway, before an authority counts them as failed validations.

    A name's addresses are asked as the authority will: one of them must answer, and none may answer wrongly. One that
    doesn't answer at all may be a gateway that is down, or a firewall that keeps a host from its own public address.
    """
    token = secrets.token_hex(16)
    path, text = f"/.well-known/acme-challenge/postern-{token}", secrets.token_hex(16)
    handler = type("Handler", (_Answer,), {"expected": (path, text)})
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", settings.http_port), handler)
    except OSError as error:
        raise HostError(
            f"Port {settings.http_port} of 127.0.0.1 can't be had ({error.strerror}); choose another one in "
            "letsencrypt_http_port and haproxy_acme_port."
        ) from None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        for name in names:
            _test_name(name, path, text)
    finally:
        server.shutdown()
        server.server_close()


def _test_name(name: str, path: str, text: str) -> None:
    try:
        found = socket.getaddrinfo(name, HTTP, type=socket.SOCK_STREAM)
    except OSError as error:
        raise HostError(
            f"{name} doesn't resolve on this host ({error.strerror}); no certificate was asked for. Publish the name "
            "with the gateways' addresses and run again."
        ) from None
    for address in dict.fromkeys(str(entry[4][0]) for entry in found):
        try:
            connection = http.client.HTTPConnection(address, HTTP, timeout=5)
            connection.request("GET", path, headers={"Host": name})
            answer = connection.getresponse()
            came = answer.read(4096).decode("utf-8", "replace")
            connection.close()
        except (OSError, http.client.HTTPException):
            continue
        if came.strip() != text:
            raise HostError(
                f"{name} leads to {address}, which isn't one of the gateways or doesn't pass the challenge on (it "
                f"answers {answer.status}); no certificate was asked for. Correct the name's addresses, or "
                "letsencrypt_self_test where they are only wrong as seen from here."
            )
