# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that HAProxy reads, and the running process: both are swapped, or none.

A new PEM is written beside the old one, which stays as a hard link until HAProxy has been asked over TLS and presents
the new one. A run that is killed anywhere leaves a whole pair in the file and another whole pair (or the same) in the
running process; the next run begins by making both the same.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import ssl
import tempfile
import time
from pathlib import Path

from ..haproxy.admin_socket import ask
from ..host.commands import last, run
from ..host.errors import HostError
from ..host.files import make_folder, read, replace, write_new
from .settings import Settings, Wanted, hold, moment, now, read_state, write_state
from .x509 import Bundle, Certificate, bundle_from, fingerprint_in, judge, missing_names

PATIENCE = 20
"""Seconds that a reload may take until the new process answers."""


def presented(address: str, port: int, name: str, seconds: float = 5) -> str:
    """Return the fingerprint of the certificate that a TLS server presents for a name; "" where it doesn't."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # which certificate it is, is the question
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address, port), seconds) as plain,
            context.wrap_socket(plain, server_hostname=name) as connection,
        ):
            der = connection.getpeercert(binary_form=True)
    except (OSError, ValueError):
        return ""
    return hashlib.sha256(der).hexdigest() if der else ""


class Installer:
    """One certificate of this host: the file that HAProxy reads, and the running process.

    Args:
        settings: Of this host.
        wanted: The certificate.
    """

    def __init__(self, settings: Settings, wanted: Wanted) -> None:
        self.settings = settings
        self.wanted = wanted
        self.target = Path(settings.folder, "certificates", f"{wanted.name}.pem")
        self.new = self.target.with_name(f".{self.target.name}.postern-new")
        self.old = self.target.with_name(f".{self.target.name}.postern-old")

    def installed(self) -> Bundle | None:
        """Return what the file holds; None where it holds nothing that is whole."""
        content = read(self.target)
        if content is None:
            return None
        try:
            return bundle_from(content)
        except HostError:
            return None

    def presented(self) -> set[str]:
        """Return the fingerprints that HAProxy presents for the certificate's names, asked over TLS."""
        found = {
            presented(self.settings.address, self.settings.port, name.replace("*.", "wildcard.", 1))
            for name in self.wanted.names
        }
        return found - {""}

    def install(self, pem: bytes, origin: str, authority: str = "") -> bool:
        """Make HAProxy present this certificate, or leave everything as it was.

        :param origin: "issued" or "handed over".
        :returns: whether something changed.
        """
        state = read_state(self.settings, self.wanted.name)
        state.last_attempt = now()
        try:
            bundle = bundle_from(pem)
            judge(bundle, self.wanted, self.settings)
            # The role haproxy replaces files below the same folder.
            with hold(self.settings, "certificates"), hold(self.settings, "haproxy"):
                self.recover()
                changed = self._install(bundle, origin)
        except HostError as refused:
            state.last_error = str(refused)
            write_state(self.settings, state)
            raise
        except OSError as error:
            sentence = f"{error.filename or self.target}: {error.strerror}; the old certificate stays in use."
            state.last_error = sentence
            write_state(self.settings, state)
            raise HostError(sentence) from error
        leaf = bundle.leaf
        if changed or state.fingerprint != leaf.fingerprint:
            state.last_success = now()
            state.origin = origin
            state.authority = authority or state.authority
        state.names, state.serial, state.fingerprint = list(leaf.names), leaf.serial, leaf.fingerprint
        state.issuer, state.not_before, state.not_after = leaf.issuer, moment(leaf.not_before), moment(leaf.not_after)
        state.last_error, state.held_until = "", 0.0
        write_state(self.settings, state)
        return changed

    def used(self) -> bool:
        """Tell whether the running HAProxy has loaded the file."""
        return bool(self._known_as())

    def recover(self) -> None:
        """Undo what a killed run left, so that the file is again what HAProxy presents."""
        self.new.unlink(missing_ok=True)
        if not os.path.lexists(self.old):
            return
        before, shown = read(self.old), self.presented()
        held = fingerprint_in(before)
        if held in shown and fingerprint_in(read(self.target)) not in shown:
            replace(self.old, self.target)
        else:
            self.old.unlink(missing_ok=True)

    def _install(self, bundle: Bundle, origin: str) -> bool:
        leaf, current = bundle.leaf, read(self.target)
        if current == bundle.pem and leaf.fingerprint in self.presented():
            return False
        if origin == "handed over":
            self._refuse_older(leaf)
        known = self._known_as()
        if known == "":
            raise HostError(
                f"HAProxy's configuration doesn't use {self.target}; list '{self.wanted.name}' in haproxy_certificates."
            )
        self._write(bundle.pem)
        self._validate()
        self._swap()
        if known is None:
            # Not running: what is on the disk is sound, and is what it will start with.
            self.old.unlink(missing_ok=True)
            return True
        reason = self._go_live(known, bundle.pem, leaf.fingerprint)
        if reason:
            self._go_back(known, current)
            raise HostError(f"HAProxy doesn't present the new certificate ({reason}); the old one is in use again.")
        self.old.unlink(missing_ok=True)
        return True

    def _refuse_older(self, leaf: Certificate) -> None:
        current = self.installed()
        if current is None or current.leaf.self_signed or current.leaf.left() <= 0:
            return
        if missing_names(current.leaf, self.wanted.names):
            return
        if leaf.not_before < current.leaf.not_before:
            raise HostError(
                f"The certificate is from {moment(leaf.not_before)}, and the one in use is newer "
                f"({moment(current.leaf.not_before)})."
            )

    def _write(self, pem: bytes) -> None:
        try:
            make_folder(self.target.parent, 0o700)
            write_new(self.new, pem, 0o600)
        except OSError as error:
            raise HostError(
                f"The new certificate can't be written into {self.target.parent} ({error.strerror}); the old one stays "
                "in use."
            ) from error

    def _validate(self) -> None:
        """Ask HAProxy itself, with its whole configuration and the new file in the place of the old one."""
        folder = Path(self.settings.folder)
        try:
            with tempfile.TemporaryDirectory(prefix="postern-", dir=self.settings.locks) as name:
                copy = Path(name)
                for entry in folder.iterdir():
                    if entry.name != "certificates":
                        (copy / entry.name).symlink_to(entry)
                (copy / "certificates").mkdir()
                for entry in self.target.parent.iterdir():
                    (copy / "certificates" / entry.name).symlink_to(entry)
                (copy / "certificates" / self.target.name).unlink(missing_ok=True)
                (copy / "certificates" / self.target.name).symlink_to(self.new)
                done = run("haproxy", "-c", "-f", str(copy / "haproxy.cfg"))
                said = (done.stderr + done.stdout).replace(f"{copy}/", "")
        except OSError as error:
            self.new.unlink(missing_ok=True)
            raise HostError(f"The new certificate can't be tried ({error}); the old one stays in use.") from error
        if done.returncode:
            self.new.unlink(missing_ok=True)
            alerts = re.findall(r"^\[ALERT\]\s*\(\d+\)\s*:\s*(?:config : )?(.*)$", said, re.MULTILINE)
            reason = (alerts[0] if alerts else last(done)).strip().rstrip(".")
            raise HostError(
                f"HAProxy refuses its configuration with the new certificate ({reason}); the old one stays."
            )

    def _swap(self) -> None:
        """Rename the new file over the old one, which stays as a link; this takes no space on the disk."""
        self.old.unlink(missing_ok=True)
        if os.path.lexists(self.target):
            os.link(self.target, self.old, follow_symlinks=False)
        replace(self.new, self.target)

    def _go_back(self, known: str, before: bytes | None) -> None:
        if os.path.lexists(self.old):
            replace(self.old, self.target)
        if before is not None and self._hot_swap(known, before):
            run("systemctl", "reload", self.settings.service)

    def _known_as(self) -> str | None:
        """Return the running HAProxy's own name for the file; "" where it has none, None where nobody runs."""
        try:
            listed = ask(self.settings.socket, "show ssl cert")
        except OSError:
            return None
        for line in listed.splitlines():
            # A relative name, as it stands in the configuration, or the whole path.
            if not line.startswith(("#", "*")) and line and Path(self.settings.folder, line.strip()) == self.target:
                return line.strip()
        return ""

    def _go_live(self, known: str, pem: bytes, wanted: str) -> str:
        """Have the running HAProxy use a certificate; return why it doesn't, or an empty text."""
        reason = self._hot_swap(known, pem)
        if not reason and self._waits_for(wanted, min(3, PATIENCE)):
            return ""
        done = run("systemctl", "reload", self.settings.service)
        if done.returncode:
            return f"{reason or 'a hot swap had no effect'}; a reload failed: {last(done)}"
        if self._waits_for(wanted, PATIENCE):
            return ""
        return f"{reason or 'the process took it over'}, but other certificates come for {', '.join(self.wanted.names)}"

    def _hot_swap(self, known: str, pem: bytes) -> str:
        """Management guide, "set ssl cert": the new certificate is held back until it is committed."""
        try:
            said = ask(self.settings.socket, f"set ssl cert {known} <<\n{pem.decode()}")
            if not said.startswith("Transaction"):
                return f"'set ssl cert' was refused: {flat(said)}"
            said = ask(self.settings.socket, f"commit ssl cert {known}")
            if "Success!" not in said:
                ask(self.settings.socket, f"abort ssl cert {known}")
                return f"'commit ssl cert' was refused: {flat(said)}"
        except OSError as error:
            return f"its socket {self.settings.socket} doesn't answer: {error.strerror or error}"
        return ""

    def _waits_for(self, wanted: str, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while True:
            if wanted in self.presented():
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)


def flat(text: str) -> str:
    """Return what a program said as a part of a sentence."""
    return " ".join(text.split())[:200].rstrip(".") or "without a word"
