# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: serve, fresh, set, get, events, forget."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import journal, state
from .fresh import fresh


class CommandError(Exception):
    """What went wrong, in one sentence."""


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One editor at a time."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "state.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(directory: Path) -> state.Document:
    path = directory / "state.json"
    try:
        document: state.Document = json.loads(path.read_text())
    except FileNotFoundError:
        raise CommandError(f"{path} isn't there; make it with `python3 -m standin fresh`.") from None
    except (OSError, ValueError) as problem:
        raise CommandError(f"{path} can't be read: {problem}.") from None
    return document


def _write(directory: Path, text: str) -> None:
    """Replace the file in one step; it holds passwords, so it is root's alone."""
    beside = directory / "state.json.new"
    beside.touch(mode=0o600)
    beside.write_text(text)
    os.replace(beside, directory / "state.json")


def _bring_into_force(directory: Path) -> str:
    """Ask the running server to take the file, and wait until it has: '' or its complaint.

    Without a server the file is all there is to change.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
        control.settimeout(60)
        try:
            control.connect(str(directory / "control.sock"))
        except (FileNotFoundError, ConnectionRefusedError):
            return ""
        try:
            control.sendall(b"apply\n")
            answer = control.makefile().readline()
        except OSError as problem:
            raise CommandError(f"The server doesn't say whether the state is in force: {problem}.") from None
    return str(json.loads(answer)["error"]) if answer else "The server ended meanwhile."


def _replace(directory: Path, document: state.Document) -> None:
    state.load(document)
    path = directory / "state.json"
    former = path.read_text() if path.exists() else None
    _write(directory, json.dumps(document, indent=1) + "\n")
    complaint = _bring_into_force(directory)
    if complaint:
        if former is not None:
            _write(directory, former)
            _bring_into_force(directory)
        raise CommandError(f"{complaint} Nothing was changed.")


def _value(text: str) -> Any:
    try:
        return json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError:
        raise CommandError(f"{text} is no JSON value; a text needs its double quotes.") from None


def _set(options: argparse.Namespace) -> None:
    if len(options.pairs) % 2:
        raise CommandError("set wants pairs of a path and a JSON value.")
    with _locked(options.directory):
        document = _read(options.directory)
        for path, text in zip(options.pairs[::2], options.pairs[1::2], strict=True):
            state.put(document, path, _value(text))
        _replace(options.directory, document)


def _get(options: argparse.Namespace) -> None:
    found = state.get(_read(options.directory), options.path)
    print(json.dumps(found, indent=1))


def _fresh(options: argparse.Namespace) -> None:
    mailboxes: dict[str, str] = {}
    if options.mailboxes:
        text = sys.stdin.read() if options.mailboxes == "-" else Path(options.mailboxes).read_text()
        mailboxes = json.loads(text)
        if not isinstance(mailboxes, dict):
            raise CommandError("The mailboxes have to be a JSON object of address and password.")
    with _locked(options.directory):
        _replace(options.directory, fresh(options.name, options.fqdn, options.domain, mailboxes))


def _events(options: argparse.Namespace) -> None:
    for event in journal.read(options.directory / "journal.jsonl", options.kind, options.since):
        print(json.dumps(event))


def _forget(options: argparse.Namespace) -> None:
    journal.forget(options.directory / "journal.jsonl")


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

    command = commands.add_parser("serve", help="serve what the state says")
    command.add_argument("--tls", type=Path, default=Path("/etc/standin/tls.pem"), help="key and certificate chain")
    command.add_argument("--run", type=Path, default=Path("/run/standin"), help="where Dovecot's files go")
    command.set_defaults(action=_serve)

    command = commands.add_parser("fresh", help="write a new server's state")
    command.add_argument("--name", required=True, help="short name, such as EX1")
    command.add_argument("--fqdn", required=True)
    command.add_argument("--domain", required=True, action="append", help="accepted domain; may be repeated")
    command.add_argument("--mailboxes", help="file with a JSON object, address to password; - is standard input")
    command.set_defaults(action=_fresh)

    command = commands.add_parser("set", help="change the state, and wait until it is in force")
    command.add_argument("pairs", nargs="+", metavar="PATH JSON", help="JSON may be - for standard input")
    command.set_defaults(action=_set)

    command = commands.add_parser("get", help="show the state, or a part of it")
    command.add_argument("path", nargs="?", default="")
    command.set_defaults(action=_get)

    command = commands.add_parser("events", help="show what was seen, one JSON object a line")
    command.add_argument("--kind", default="")
    command.add_argument("--since", type=int, default=0, help="only events with a greater number")
    command.set_defaults(action=_events)

    commands.add_parser("forget", help="empty the journal").set_defaults(action=_forget)
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        options.action(options)
    except (CommandError, state.StateError) as problem:
        print(problem, file=sys.stderr)
        return 1
    except (OSError, ValueError) as problem:
        print(f"That failed: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
