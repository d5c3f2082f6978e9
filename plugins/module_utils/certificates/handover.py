# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates on their way between gateways: handed to the peers over SFTP, and taken from the folder for uploads."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..host.commands import last, run
from ..host.errors import HostError
from ..host.files import read, write, write_new
from .haproxy_swap import PATIENCE, Installer, presented
from .settings import Peer, Settings, read_state, write_state
from .x509 import Bundle, bundle_from, missing_names

HANDED = "# postern.mail_gateway "  # begins the line that a handed-over PEM starts with
LARGEST = 256 * 1024  # bytes that an upload may have
STALE = 3600  # seconds after which an upload that was never finished is removed


class Handover:
    """What this gateway gives to its peers, and what it gets from them.

    Attributes:
        sent: The peers that got a certificate from here.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.sent: list[str] = []

    def _installer(self, name: str) -> Installer:
        return Installer(self.settings, self.settings.wanted(name))

    def hand_over(self, name: str) -> list[str]:
        """Give a certificate that this host had issued to each peer that doesn't have it yet; return what failed."""
        state = read_state(self.settings, name)
        current = self._installer(name).installed()
        if current is None or state.origin != "issued" or not self.settings.peers:
            return []
        said = []
        for peer in self.settings.peers:
            shown = presented(peer.address, self.settings.port, self.settings.wanted(name).names[0], 3)
            # What it presents counts, where it can be asked: it may have been made anew since.
            if shown == current.leaf.fingerprint or (
                not shown and state.handed.get(peer.name) == current.leaf.fingerprint
            ):
                state.handed[peer.name] = current.leaf.fingerprint
                state.hand_over_errors.pop(peer.name, None)
                continue
            reason = self._send(peer, name, current, state.authority) or self._unused(peer, name, current, shown)
            if reason:
                said.append(f"'{name}' was not handed to {peer.name} ({peer.address}): {reason}.")
                state.hand_over_errors[peer.name] = reason
            else:
                self.sent.append(peer.name)
                state.handed[peer.name] = current.leaf.fingerprint
                state.hand_over_errors.pop(peer.name, None)
        known = {peer.name for peer in self.settings.peers}
        state.handed = {peer: value for peer, value in state.handed.items() if peer in known}
        state.hand_over_errors = {peer: value for peer, value in state.hand_over_errors.items() if peer in known}
        write_state(self.settings, state)
        return said

    def _send(self, peer: Peer, name: str, bundle: Bundle, authority: str) -> str:
        """Upload under a name that nobody looks at, and rename it when it is whole."""
        settings = self.settings
        part = f".{name}.{secrets.token_hex(8)}.part"
        with tempfile.TemporaryDirectory(prefix="postern-", dir=settings.locks) as scratch:
            local = Path(scratch, "pem")
            write_new(local, handed(bundle.pem, settings.host, authority), 0o600)
            done = run(
                "sftp", "-q", "-b", "-", "-F", "/dev/null", "-P", str(peer.port),
                "-o", f"IdentityFile={settings.state}/id_ed25519", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
                "-o", f"UserKnownHostsFile={settings.state}/known_hosts", "-o", "GlobalKnownHostsFile=/dev/null",
                "-o", "StrictHostKeyChecking=yes", "-o", f"HostKeyAlias={peer.name}", "-o", "ConnectTimeout=10",
                f"{settings.account}@{f'[{peer.address}]' if ':' in peer.address else peer.address}",
                data=f"put {local} /files/{part}\nrename /files/{part} /files/{name}.pem\n".encode(), seconds=90,
            )  # fmt: skip
        return last(done) if done.returncode else ""

    def _unused(self, peer: Peer, name: str, bundle: Bundle, before: str) -> str:
        """Wait until a peer presents what it was given; return that it doesn't, where it can be asked at all."""
        deadline = time.monotonic() + PATIENCE
        while before and time.monotonic() < deadline:
            shown = presented(peer.address, self.settings.port, self.settings.wanted(name).names[0], 3)
            if shown == bundle.leaf.fingerprint:
                return ""
            time.sleep(0.3)
        return f"it was sent, and isn't presented after {PATIENCE} seconds" if before else ""

    def receive(self) -> list[str]:
        """Take what peers have put into the upload folder; return what was refused."""
        said = []
        for name, content in take(Path(self.settings.drop)) if self.settings.drop else ():
            try:
                self.settings.wanted(name)
                said += [f"'{name}' from a peer was refused: {content}."] if isinstance(content, str) else []
                if isinstance(content, bytes):
                    whole(content)
                    # Kept until it fits: a peer may know of new names before this host does.
                    write(self._parked(name), content, 0o600)
                    self.install_handed(name)
            except HostError as refused:
                said.append(f"'{name}' from a peer is not in use: {refused}")
            except OSError as error:
                said.append(f"'{name}' from a peer can't be kept: {error.strerror}.")
        return said

    def _parked(self, name: str) -> Path:
        return Path(self.settings.state, "handed", f"{name}.pem")

    def install_handed(self, name: str) -> bool:
        """Put the last certificate that a peer handed over in use; tell whether something changed."""
        content = read(self._parked(name))
        if content is None:
            return False
        pem, source = whole(content)
        leaf, current = bundle_from(pem).leaf, self._installer(name).installed()
        newer = current is not None and not current.leaf.self_signed and current.leaf.not_before > leaf.not_before
        if leaf.left() <= 0 or (
            newer and current and not missing_names(current.leaf, self.settings.wanted(name).names)
        ):
            self._parked(name).unlink(missing_ok=True)
            if leaf.left() <= 0:
                return False
        changed = self._installer(name).install(pem, "handed over", str(source.get("authority", "")))
        self._parked(name).unlink(missing_ok=True)
        return changed


def handed(pem: bytes, host: str, authority: str) -> bytes:
    """Return a PEM as it is handed to a peer: with its source and its digest in a line before it."""
    line = json.dumps({"from": host, "authority": authority, "sha256": hashlib.sha256(pem).hexdigest()})
    return f"{HANDED}{line}\n".encode() + pem


def whole(content: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return the PEM that a peer handed over and what it said of it; HostError where it isn't whole."""
    first, _unused, pem = content.partition(b"\n")
    try:
        said = json.loads(first.removeprefix(HANDED.encode())) if first.startswith(HANDED.encode()) else None
    except ValueError:
        said = None
    if not isinstance(said, dict) or said.get("sha256") != hashlib.sha256(pem).hexdigest():
        raise HostError("The upload isn't whole, or doesn't come from a gateway.")
    return pem, said


def take(folder: Path) -> Iterator[tuple[str, bytes | str]]:
    """Take the uploads out of the upload folder: name and content, or name and why it isn't taken.

    The folder belongs to an account that others log on to, so nothing in it is believed: no link is followed, only
    plain files of a sensible size are read, and whatever is taken is gone afterwards.
    """
    try:
        base = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        for entry in sorted(os.listdir(base)):  # noqa: PTH208 (pathlib knows no descriptors)
            if entry.endswith(".part"):
                with contextlib.suppress(OSError):
                    if os.stat(entry, dir_fd=base, follow_symlinks=False).st_mtime < time.time() - STALE:
                        os.unlink(entry, dir_fd=base)
                continue
            if entry.startswith(".") or not entry.endswith(".pem"):
                continue
            content = _take_one(base, entry)
            # Gone in any case, or the path unit would call for ever.
            try:
                os.unlink(entry, dir_fd=base)
            except OSError:
                # Through the descriptor; rmtree itself takes one from Python 3.11 on.
                shutil.rmtree(f"/proc/self/fd/{base}/{entry}", ignore_errors=True)
            yield re.sub(r"[^\w.*-]", "?", entry.removesuffix(".pem"))[:100], content
    finally:
        os.close(base)


def _take_one(base: int, entry: str) -> bytes | str:
    try:
        descriptor = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=base)
    except OSError:
        return "it is a link or can't be opened"
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            return "it is not a plain file"
        if status.st_size > LARGEST:
            return f"it has {status.st_size} bytes"
        with os.fdopen(os.dup(descriptor), "rb") as stream:
            return stream.read(LARGEST)
    finally:
        os.close(descriptor)
