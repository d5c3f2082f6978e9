# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates on a gateway: installed, renewed, handed over and watched, without Ansible.

These files are both a part of the collection and the program ``postern-certificates`` that the role puts onto the host,
so they need nothing but Python's own library, openssl and certbot. Their sentences are for people; none holds a secret.

    postern-certificates install [NAME]   what certbot has issued goes live (certbot's deploy hook calls this)
    postern-certificates receive          what a peer has put into the folder for uploads goes live
    postern-certificates renew            what is due is renewed and handed to the peers (certbot's timer calls this)
    postern-certificates --check [--json] how the certificates are: status 0 is well, 1 a warning, 2 critical
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

from ..host.errors import HostError
from .health import health, show, write_metrics
from .renewal import Renewal
from .settings import PROGRAM, SETTINGS, load


def main(arguments: list[str] | None = None) -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog=PROGRAM.name, description="The certificates of this gateway.")
    parser.add_argument("action", nargs="?", choices=["install", "receive", "renew"], help="what to do")
    parser.add_argument("name", nargs="?", help="the certificate, for install; else certbot's RENEWED_LINEAGE says it")
    parser.add_argument("--check", action="store_true", help="say how the certificates are")
    parser.add_argument("--json", action="store_true", help="say it as JSON")
    parser.add_argument("--now", action="store_true", help="renew also what isn't due, here and now")
    parser.add_argument("--settings", type=Path, default=SETTINGS, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if bool(given.action) == given.check:
        parser.error("give one of install, receive, renew and --check")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    said: list[str] = []
    try:
        settings = load(given.settings)
        renewal = Renewal(settings)
        if given.check:
            found = health(settings)
            print(json.dumps(found, indent=1) if given.json else show(found))
            return max((one["status"] for one in found), default=0)
        if given.action == "install":
            name = given.name or Path(os.environ.get("RENEWED_LINEAGE", "")).name
            renewal.install(name)
        elif given.action == "receive":
            said = renewal.handover.receive()
        else:
            said = renewal.renew(now_all=given.now)
        with contextlib.suppress(OSError):
            write_metrics(settings)
    except HostError as refused:
        said = [str(refused)]
    for sentence in said:
        print(sentence, file=sys.stderr)
    if given.json:
        print(json.dumps({"errors": said}))
    return 1 if said else 0
