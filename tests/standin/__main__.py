# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: serve, fresh, set, get, events, forget."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from . import journal, state, store
from .fresh import adapter, fresh, remove_adapter


def _value(text: str) -> Any:
    try:
        return json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError:
        raise store.StoreError(f"{text} is no JSON value; a text needs its double quotes.") from None


def _set(options: argparse.Namespace) -> None:
    if len(options.pairs) % 2:
        raise store.StoreError("set wants pairs of a path and a JSON value.")
    with store.locked(options.directory):
        document = store.read(options.directory)
        for path, text in zip(options.pairs[::2], options.pairs[1::2], strict=True):
            state.put(document, path, _value(text))
            # Whoever edits the file wants its settings to act now, not at the next start of a service.
            changed = re.split(r"[.\[]", path)[0]
            transport = changed in ("ReceiveConnector", "ADPermission")
            document.get("SettingsInForce", {}).pop("Transport" if transport else changed, None)
        store.replace(options.directory, document)


def _replace(options: argparse.Namespace) -> None:
    with store.locked(options.directory):
        store.replace(options.directory, _value("-"))


def _get(options: argparse.Namespace) -> None:
    found = state.get(store.read(options.directory), options.path)
    print(json.dumps(found, indent=1))


def _fresh(options: argparse.Namespace) -> None:
    mailboxes: dict[str, str] = {}
    if options.mailboxes:
        text = sys.stdin.read() if options.mailboxes == "-" else Path(options.mailboxes).read_text()
        mailboxes = json.loads(text)
        if not isinstance(mailboxes, dict):
            raise store.StoreError("The mailboxes have to be a JSON object of address and password.")
    with store.locked(options.directory):
        store.replace(options.directory, _document(options, mailboxes))


def _document(options: argparse.Namespace, mailboxes: dict[str, str]) -> state.Document:
    return fresh(
        options.name, options.fqdn, options.domain, mailboxes, options.version, options.address, options.culture
    )


def _events(options: argparse.Namespace) -> None:
    name = "management.jsonl" if options.management else "journal.jsonl"
    for event in journal.read(options.directory / name, options.kind, options.since):
        print(json.dumps(event))


def _forget(options: argparse.Namespace) -> None:
    journal.forget(options.directory / "journal.jsonl")
    journal.forget(options.directory / "management.jsonl")


def _adapter(options: argparse.Namespace) -> None:
    with store.locked(options.directory):
        document = store.read(options.directory)
        adapters = document.get("NetAdapter", [])
        device = str(options.device).upper()
        found = [item["InterfaceIndex"] for item in adapters if item["PnPDeviceID"].upper() == device]
        if options.find or options.remove:
            if not found:
                raise store.StoreError(f"There is no device {options.device}.")
            if options.remove:
                remove_adapter(document, found[0])
                store.replace(options.directory, document)
            return
        names = [item["Name"] for item in adapters]
        number = next(n for n in range(2, 100) if f"Ethernet {n}" not in names)
        index = max((item["InterfaceIndex"] for item in adapters), default=1) + 5
        adapter(document, f"Ethernet {number}", index, loopback=True, device=options.device)
        store.replace(options.directory, document)


def _manage(options: argparse.Namespace) -> None:
    from . import organization, windows  # noqa: F401 (their cmdlets are known from here on)
    from .management import Management

    Management(options.directory, options.organisation).serve(sys.stdin, sys.stdout)


def _serve(options: argparse.Namespace) -> None:
    from .serve import serve

    options.directory.mkdir(parents=True, exist_ok=True)
    asyncio.run(serve(options.directory, options.tls, options.run))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m standin", description="A stand-in for an Exchange server.")
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(os.environ.get("STANDIN_DIRECTORY", "/var/lib/standin")),
        help="holds state.json and journal.jsonl (%(default)s)",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("adapter", help="add a loopback adapter, as Windows' device installation does")
    command.add_argument("--device", help="its device's id; one is made up where none is given")
    ways = command.add_mutually_exclusive_group()
    ways.add_argument("--find", action="store_true", help="say by the exit status whether there is such a device")
    ways.add_argument("--remove", action="store_true", help="remove it instead")
    command.set_defaults(action=_adapter)

    command = commands.add_parser("manage", help="be the far end of PowerShell's management sessions")
    command.add_argument(
        "--organisation",
        type=Path,
        default=Path(os.environ.get("STANDIN_ORGANISATION", "/var/lib/standin-organisation")),
        help="holds a folder with the state of each server of the organisation",
    )
    command.set_defaults(action=_manage)

    command = commands.add_parser("serve", help="serve what the state says")
    command.add_argument("--tls", type=Path, default=Path("/etc/standin/tls.pem"), help="key and certificate chain")
    command.add_argument("--run", type=Path, default=Path("/run/standin"), help="where Dovecot's files go")
    command.set_defaults(action=_serve)

    command = commands.add_parser("fresh", help="write a new server's state")
    command.add_argument("--name", required=True, help="short name, such as EX1")
    command.add_argument("--fqdn", required=True)
    command.add_argument("--domain", required=True, action="append", help="accepted domain; may be repeated")
    command.add_argument("--version", choices=("2013", "2016", "2019", "SE"), default="2019")
    command.add_argument(
        "--address", action="append", default=[], help="address/prefix of its adapter; may be repeated"
    )
    command.add_argument("--culture", default="en-US", help="of its Windows, such as de-DE (%(default)s)")
    command.add_argument("--mailboxes", help="file with a JSON object, address to password; - is standard input")
    command.set_defaults(action=_fresh)

    command = commands.add_parser("set", help="change the state, and wait until it is in force")
    command.add_argument("pairs", nargs="+", metavar="PATH JSON", help="JSON may be - for standard input")
    command.set_defaults(action=_set)

    command = commands.add_parser("replace", help="replace the state by that on standard input, and wait as well")
    command.set_defaults(action=_replace)

    command = commands.add_parser("get", help="show the state, or a part of it")
    command.add_argument("path", nargs="?", default="")
    command.set_defaults(action=_get)

    command = commands.add_parser("events", help="show what was seen, one JSON object a line")
    command.add_argument("--kind", default="")
    command.add_argument("--since", type=int, default=0, help="only events with a greater number")
    command.add_argument("--management", action="store_true", help="what PowerShell's cmdlets did, instead")
    command.set_defaults(action=_events)

    commands.add_parser("forget", help="empty the journal").set_defaults(action=_forget)
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        options.action(options)
    except (store.StoreError, state.StateError) as problem:
        print(problem, file=sys.stderr)
        return 1
    except (OSError, ValueError) as problem:
        print(f"That failed: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
