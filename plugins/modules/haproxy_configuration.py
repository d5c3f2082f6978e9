#!/usr/bin/python
# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_configuration
short_description: HAProxy's whole configuration, replaced in one transaction
version_added: 0.1.0
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Takes every file that HAProxy needs (configuration, lists, maps, certificates) and makes the running HAProxy use
    them, or leaves everything as it was.
  - The files are written into a staging folder and validated there with C(haproxy -c), as a whole and with their
    lists and certificates. Only then they replace the old ones, HAProxy is reloaded (started, where it doesn't run),
    and the B(running process) is asked on its runtime socket which configuration it holds. If it isn't this one, for
    example since a port is taken, the old files return, HAProxy is reloaded with them, and the module fails with
    HAProxy's own reason.
  - A run that was cut short at any point is found out by the next one, since the running process is compared and not
    only the files. HAProxy is also reloaded where only a file was changed by hand, since nobody knows whether it was
    in use.
  - Files that an earlier run made and that are no longer listed are removed; other files are never touched.
  - Connections that are open survive, as with any reload of HAProxy.
options:
  files:
    description:
      - The files to have. One of them must be V(haproxy.cfg), which must hold C(default-path config) and
        C(description @DIGEST@) in its C(global) section. The module puts the digest of all the files in that place.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Name of the file, relative to O(folder).
        type: str
        required: true
      content:
        description: The exact content.
        type: str
        required: true
      once:
        description: Write the file only where it isn't there yet, and leave it alone from then on.
        type: bool
        default: false
  certificates:
    description:
      - The certificates that the configuration names, each a file C(certificates/NAME.pem) with mode 0600.
      - One that isn't in O(pems) is brought by somebody else (an ACME client, say). A file that is there is left alone
        then, and a self-signed one (RSA 2048, one year) is made where none is.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the file without its folder and ending.
        type: str
        required: true
      names:
        description: DNS names for the self-signed certificate that is made where no file is there yet.
        type: list
        elements: str
        required: true
      file:
        description:
          - PEM file on the controller with private key, certificate and chain; it may be encrypted with Ansible Vault.
            Its content is put into O(pems).
        type: str
        default: ''
  pems:
    description:
      - Private key, certificate and chain of certificates by their name. Ansible writes a module's options into the
        host's log and can only be trusted to leave out whole ones, so they don't stand in O(certificates).
    type: dict
    default: {}
  trusted_ports:
    description:
      - Ports of the loopback to which the configuration hands requests and whose answers it passes on, as an ACME
        client's. Each must be one that only root can listen on; the module fails otherwise. 0 is none.
    type: list
    elements: int
    default: []
  folder:
    description: HAProxy's configuration folder.
    type: path
    default: /etc/haproxy
  service:
    description: Name of the systemd service.
    type: str
    default: haproxy
  socket:
    description: The C(stats socket) that the configuration declares.
    type: path
    default: /run/haproxy/admin.sock
  timeout:
    description: Seconds to wait for the running process to hold the new configuration.
    type: int
    default: 20
attributes:
  check_mode:
    description: Says exactly what would change; validates too where HAProxy is installed.
    support: full
  diff_mode:
    description: One diff for each file; certificates are shown by their fingerprint only.
    support: full
"""

EXAMPLES = r"""
- name: HAProxy serves a page
  postern.mail_gateway.haproxy_configuration:
    files:
      - path: haproxy.cfg
        content: |
          global
              default-path config
              description @DIGEST@
              stats socket /run/haproxy/admin.sock mode 660 level admin expose-fd listeners
          defaults
              mode http
              timeout client 10s
              timeout server 10s
              timeout connect 5s
          frontend page
              bind :8080
              http-request return status 200 content-type text/plain string "here"
"""

RETURN = r"""
digest:
  description: The digest that the running HAProxy carries afterwards.
  returned: always
  type: str
  sample: 3f1c0de4a8b2c917
reloaded:
  description: Whether HAProxy was reloaded or started.
  returned: always
  type: bool
changed_files:
  description: The files that were written or removed, relative to the folder.
  returned: always
  type: list
  elements: str
  sample: [haproxy.cfg, lists/relay_networks.list]
"""

import base64
import hashlib
import re
import tempfile
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.haproxy.resolution import for_this_host
from ..module_utils.haproxy.runtime import (
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
from ..module_utils.host.arguments import parsed
from ..module_utils.host.commands import run
from ..module_utils.host.errors import HostError
from ..module_utils.host.files import make_folder
from ..module_utils.host.locks import lock_path, locked
from ..module_utils.host.modules import sentences
from ..module_utils.host.ports import check_root_port
from ..module_utils.host.transaction import Change, FileTransaction, ManagedFile
from ..module_utils.host.units import is_active
from ..module_utils.values.names import read_name
from ..module_utils.values.texts import read_label

MAIN = "haproxy.cfg"
STATES = "drained-servers"  # relative to the folder; the role's configuration reads it
LOCK = lock_path("haproxy")
LOCK_SECONDS = 5  # a certificate that is just being installed is there in a moment
BUSY = "Another run is changing HAProxy's configuration on this host; wait for it to end and run again."


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
    """The wanted files, and the way from what is there to them."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.folder = Path(module.params["folder"])
        self.service: str = module.params["service"]
        self.socket: str = module.params["socket"]
        self.installed = module.get_bin_path("haproxy", opt_dirs=["/usr/sbin", "/usr/local/sbin"])
        self.made: list[str] = []
        self.transaction, self.digest, self.text = self._wanted()

    def run(self) -> dict[str, Any]:
        """Do it, and return the module's result."""
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
        if self.module.check_mode:
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
        given = self.module.params["files"]
        contents = {file["path"]: file["content"].encode() for file in given if not file["once"]}
        first = {file["path"]: file["content"].encode() for file in given if file["once"]}
        if MAIN not in contents or DIGEST_PLACE.encode() not in contents[MAIN]:
            raise HostError(f"files must hold {MAIN} with 'description {DIGEST_PLACE}' in its global section.")
        contents[MAIN] = for_this_host(contents[MAIN])
        secrets: dict[str, bytes] = {}
        kept = [path for path in first if (self.folder / path).exists()]
        generated: dict[str, bytes] = {}
        for number, certificate in enumerate(self.module.params["certificates"]):
            where = f"haproxy_certificates[{number}]"
            path = f"certificates/{parsed(f'{where}.name', certificate['name'], read_label)}.pem"
            for place, name in enumerate(certificate["names"]):
                parsed(f"{where}.names[{place}]", name, lambda value: read_name(value, wildcard=True))
            if pem := self.module.params["pems"].get(certificate["name"]):
                secrets[path] = pem.strip().encode() + b"\n"
            elif (self.folder / path).exists():
                kept.append(path)
            else:
                self.made.append(path)
                can_make = self.module.get_bin_path("openssl") is not None
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
                self.module.warn(
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
                self.module.warn(f"HAProxy: {text}")

    def active(self) -> bool:
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
        deadline = time.monotonic() + self.module.params["timeout"]
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


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "str", "required": True},
                    "content": {"type": "str", "required": True},
                    "once": {"type": "bool", "default": False},
                },
            },
            "certificates": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "names": {"type": "list", "elements": "str", "required": True},
                    "file": {"type": "str", "default": ""},
                },
            },
            "pems": {"type": "dict", "default": {}, "no_log": True},
            "trusted_ports": {"type": "list", "elements": "int", "default": []},
            "folder": {"type": "path", "default": "/etc/haproxy"},
            "service": {"type": "str", "default": "haproxy"},
            "socket": {"type": "path", "default": "/run/haproxy/admin.sock"},
            "timeout": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    with sentences(module), locked(LOCK, BUSY, LOCK_SECONDS):
        for port in module.params["trusted_ports"]:
            check_root_port("haproxy_acme_port", port)
        result = Configuration(module).run()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
