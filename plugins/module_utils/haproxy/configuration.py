# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy's configuration as one transaction: staged, validated by HAProxy, swapped, reloaded, put back on failure."""

from __future__ import annotations

import base64
import hashlib
import re
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..host.arguments import parsed
from ..host.commands import run
from ..host.errors import HostError
from ..host.files import make_folder
from ..host.transaction import Change, FileTransaction, ManagedFile
from ..host.units import is_active
from ..values.names import read_name
from ..values.texts import read_content, read_label
from .resolution import for_this_host
from .runtime import (
    DIGEST_PLACE,
    DIGEST_PREFIX,
    Running,
    digest,
    handed_over,
    messages,
    running,
    running_digest,
    with_source_lines,
)

MAIN = "haproxy.cfg"
STATES = "drained-servers"  # relative to the folder; the role's configuration reads it


def self_signed(names: list[str]) -> bytes:
    """Return key and certificate for these names (RSA 2048, since Exchange's side wants it; openssl-req(1))."""
    if not names:
        raise HostError("A certificate without a file needs at least one name in names, for the self-signed one.")
    with tempfile.TemporaryDirectory(prefix="postern-") as folder:
        key, certificate = Path(folder, "key.pem"), Path(folder, "certificate.pem")
        made = run(
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", "365",
            "-subj", f"/CN={names[0]}"[:67], "-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names),
            "-keyout", str(key), "-out", str(certificate),
        )  # fmt: skip
        if made.returncode:
            raise HostError(
                f"openssl made no self-signed certificate for {', '.join(names)}: "
                f"{made.stderr.strip().splitlines()[-1]}."
            )
        return key.read_bytes() + certificate.read_bytes()


def described(content: bytes | None) -> str:
    """Return a certificate file as one line that holds no secret."""
    if content is None:
        return ""
    found = re.search(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", content, re.DOTALL)
    try:
        der = base64.b64decode(found[1]) if found else b""
    except ValueError:
        der = b""
    return f"certificate with SHA-256 fingerprint {hashlib.sha256(der).hexdigest()}\n" if der else "no certificate\n"


class Configuration:
    """The desired files, and the way from what is there to them.

    :param params: the module's arguments.
    :param find: finds a program on the host.
    :param warn: is called with what HAProxy and this class have to remark.
    """

    def __init__(
        self, params: Mapping[str, Any], find: Callable[[str], str | None], warn: Callable[[str], object]
    ) -> None:
        self.params, self.find, self.warn = params, find, warn
        self.folder = Path(params["folder"])
        self.service: str = params["service"]
        self.socket: str = params["socket"]
        self.installed = find("haproxy")
        self.made: list[str] = []
        self.transaction, self.digest, self.text = self._wanted()

    def run(self, *, check_mode: bool) -> dict[str, Any]:
        """Do it, or find out what would be done, and return the module's result."""
        changes = self.transaction.changes()
        self.name_foreign()
        loaded = running_digest(self.socket)
        result: dict[str, Any] = {
            "changed": bool(changes) or loaded != self.digest or self.transaction.interrupted(),
            "reloaded": False,
            "digest": self.digest,
            "changed_files": [change.path for change in changes],
        }
        if result["changed"]:
            result["diff"] = self.diff(changes, loaded)
        if check_mode:
            if result["changed"] and self.installed:
                with tempfile.TemporaryDirectory(prefix="postern-") as folder:
                    self.validate(self.transaction.stage(Path(folder, "check")))
        elif result["changed"]:
            if not self.installed:
                raise HostError("haproxy is not installed on this host; install the package first.")
            self.apply(loaded)
            result["reloaded"] = True
        elif not self.transaction.committed():
            self.transaction.commit()
        return result

    def _wanted(self) -> tuple[FileTransaction, str, str]:
        given = self.params["files"]
        contents: dict[str, bytes] = {}
        first: dict[str, bytes] = {}
        for number, file in enumerate(given):
            content = parsed(f"files[{number}].content", file["content"], read_content)
            (first if file["once"] else contents)[file["path"]] = content.encode()
        if MAIN not in contents or DIGEST_PLACE.encode() not in contents[MAIN]:
            raise HostError(f"files must hold {MAIN} with 'description {DIGEST_PLACE}' in its global section.")
        contents[MAIN] = for_this_host(contents[MAIN])
        secrets: dict[str, bytes] = {}
        kept = [path for path in first if (self.folder / path).exists()]
        generated: dict[str, bytes] = {}
        for number, certificate in enumerate(self.params["certificates"]):
            where = f"haproxy_certificates[{number}]"
            path = f"certificates/{parsed(f'{where}.name', certificate['name'], read_label)}.pem"
            for place, name in enumerate(certificate["names"]):
                parsed(f"{where}.names[{place}]", name, lambda value: read_name(value, wildcard=True))
            if pem := self.params["pems"].get(certificate["name"]):
                secrets[path] = parsed(f"{where}.file", pem, read_content).strip().encode() + b"\n"
            elif (self.folder / path).exists():
                kept.append(path)
            else:
                self.made.append(path)
                can_make = self.find("openssl") is not None
                generated[path] = self_signed(certificate["names"]) if can_make else b""
        # What somebody else changes from now on (renews, say) isn't part of the digest: that is no change of ours.
        wanted = digest({**contents, **secrets})
        contents[MAIN] = contents[MAIN].replace(DIGEST_PLACE.encode(), f"{DIGEST_PREFIX}{wanted}".encode())
        first = {path: content for path, content in first.items() if path not in kept}
        files = [ManagedFile(path, content) for path, content in {**contents, **first}.items()]
        files += [ManagedFile(path, content, 0o600) for path, content in {**secrets, **generated}.items()]
        return FileTransaction(self.folder, files, kept), wanted, contents[MAIN].decode()

    def name_foreign(self) -> None:
        """Say which files of somebody else's give way, and where they are kept."""
        for path, copy in self.transaction.foreign().items():
            if not self.packaged(path):
                self.warn(
                    f"{self.folder / path} isn't this role's; a copy of it is kept as {self.folder / copy}, and "
                    "nothing of it is in use any more."
                )

    def packaged(self, path: str) -> bool:
        """Tell whether a file is as the distribution's package brings it."""
        shown = run("dpkg-query", "--show", "--showformat=${Conffiles}", "haproxy").stdout
        content = (self.folder / path).read_bytes()
        # dpkg has nothing but MD5 of it (deb-conffiles(5)).
        told = f"{self.folder / path} {hashlib.md5(content, usedforsecurity=False).hexdigest()}"
        return told in [line.strip() for line in shown.splitlines()]

    def diff(self, changes: list[Change], loaded: str | None) -> list[dict[str, str]]:
        """Return Ansible's diff: a part for each file, and one for the running process if only that lags behind."""
        parts = []
        for change in changes:
            secret = change.path.startswith("certificates/")
            before, after = (
                (described(content) if secret else (content or b"").decode("utf-8", "replace"))
                for content in (change.before, change.after)
            )
            if change.path in self.made:
                after = "self-signed certificate, until another one is there\n"
            name = str(self.folder / change.path)
            mode = (
                f" mode {value:04o}" if value is not None else "" for value in (change.mode_before, change.mode_after)
            )
            headers = [f"{name}{text if change.mode_before != change.mode_after else ''}" for text in mode]
            parts.append({"before_header": headers[0], "after_header": headers[1], "before": before, "after": after})
        if not changes:
            cut_short = " and perhaps files of a run that was cut short" if loaded == self.digest else ""
            parts.append(
                {
                    "before_header": "running HAProxy",
                    "after_header": "running HAProxy",
                    "before": f"configuration {loaded or 'unknown'}{cut_short}\n",
                    "after": f"configuration {self.digest}\n",
                }
            )
        return parts

    def validate(self, staging: Path) -> None:
        """Ask HAProxy itself about the staged files, lists and certificates included."""
        checked = run(str(self.installed), "-c", "-f", str(staging / MAIN))
        if checked.returncode:
            reasons = with_source_lines(messages(checked.stderr, "ALERT", [str(staging)]), self.text)
            last = ((checked.stderr + checked.stdout).strip().splitlines() or ["it gave no reason"])[-1]
            raise HostError(
                f"HAProxy refuses the new configuration: {'; '.join(reasons) or last.rstrip(' .')}. "
                "Nothing was changed and the running HAProxy goes on; correct the variables of the role and run again."
            )
        # What HAProxy looks for in its final place is missing only until the files are there.
        coming = [str(self.folder / path) for path in self.transaction.files]
        # 2.6 says "ALERT" of some things that it accepts.
        said = [
            *messages(checked.stderr, "ALERT", [str(staging)]),
            *messages(checked.stderr, "WARNING", [str(staging)]),
        ]
        for text in with_source_lines(said, self.text):
            if not any(path in text for path in coming):
                self.warn(f"HAProxy: {text}")

    def active(self) -> bool:
        """Tell whether the service runs."""
        return is_active(self.service, run)

    def reload(self, wanted: str | None) -> str:
        """Reload or start the service and wait until a new process holds ``wanted`` (None: any).

        :returns: an empty text, or why that didn't happen.
        """
        since = f"@{time.time():.6f}"
        before = running(self.socket)
        main = self.folder / MAIN
        coming = main.read_text(encoding="utf-8", errors="replace") if main.exists() else ""
        with handed_over(self.socket, self.folder / STATES, coming):
            return self._reload(wanted, since, before)

    def _reload(self, wanted: str | None, since: str, before: Running | None) -> str:
        done = run("systemctl", "reload" if self.active() else "start", self.service)
        deadline = time.monotonic() + self.params["timeout"]
        tries = 0
        while done.returncode == 0 and time.monotonic() < deadline:
            now = running(self.socket)
            took_over = now is not None and now.digest == wanted and (before is None or now.pid != before.pid)
            if took_over or (wanted is None and self.active()):
                return ""
            time.sleep(0.1)
            tries += 1
            if tries % 10 == 0 and self._complaints(since):
                break
        # A failed start or a silent new process: the journal has the reason.
        fallback = done.stderr.strip().splitlines()
        return "; ".join(with_source_lines(self._complaints(since), self.text)) or (
            fallback[0].rstrip(" .") if fallback else "the new process didn't take over in time, and gave no reason"
        )

    def _complaints(self, since: str) -> list[str]:
        journal = run("journalctl", "--unit", self.service, "--since", since, "--output", "cat", "--no-pager")
        return messages(journal.stdout, "ALERT")

    def apply(self, loaded: str | None) -> None:
        """Make it so, and have HAProxy use it."""
        make_folder(self.folder)
        staging = self.transaction.stage()
        try:
            self.validate(staging)
        except HostError:
            self.transaction.discard()
            raise
        was_active = self.active()
        self.transaction.swap()
        try:
            reason = self.reload(self.digest)
        except HostError as error:  # something didn't end in time
            reason = str(error).rstrip(".")
        if reason:
            self.transaction.restore()
            state = "HAProxy was not running before and is not running now"
            if was_active:
                again = self.reload(loaded)
                state = (
                    f"HAProxy could not be reloaded with the old files either ({again})"
                    if again
                    else "HAProxy serves with the old files"
                )
            elif self.active():
                run("systemctl", "stop", self.service)
            raise HostError(
                f"HAProxy can't run with the new configuration: {reason}. "
                f"The old files are in place again and {state}; remove the cause and run again."
            )
        self.transaction.commit()
