# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IMAP and POP by Dovecot: one instance for each protocol, so that one can stop without the other."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from . import mailstore
from .state import State
from .values import Binding

_GSSAPI = Path("/usr/lib/dovecot/modules/auth/libmech_gssapi.so")


class DovecotError(Exception):
    """Dovecot didn't do what the state asks for; its text is one sentence."""


@dataclass(frozen=True)
class Protocol:
    name: str  # as Dovecot calls it
    tls_name: str
    services: tuple[str, str]
    component: str
    greeting: bytes


PROTOCOLS = (
    Protocol("imap", "imaps", ("MSExchangeImap4", "MSExchangeIMAP4BE"), "ImapProxy", b"* OK"),
    Protocol("pop3", "pop3s", ("MSExchangePop3", "MSExchangePOP3BE"), "PopProxy", b"+OK"),
)


def wanted(protocol: Protocol, state: State) -> bool:
    """Whether the protocol is served: both services run and the component is active."""
    return all(state.running(service) for service in protocol.services) and state.active(protocol.component)


def settings_of(protocol: Protocol, state: State) -> SimpleNamespace:
    return state.imap if protocol.name == "imap" else state.pop


def _listeners(service: str, bindings: Iterable[Binding], tls: bool) -> str:
    lines = [f"  inet_listener {service} {{\n    port = 0\n  }}"]
    for number, binding in enumerate(bindings):
        tail = "    ssl = yes\n" if tls else ""
        lines.append(
            f"  inet_listener {service}_{number} {{\n"
            f"    address = {binding.address}\n    port = {binding.port}\n{tail}  }}"
        )
    return "\n".join(lines)


def configuration(protocol: Protocol, state: State, base: Path, mail: Path, tls: Path) -> str:
    """The instance's dovecot.conf.

    LoginType decides what a client may do before TLS: SecureLogin nothing but STARTTLS, PlainTextAuthentication
    a logon that doesn't send the password (NTLM), PlainTextLogin any.
    """
    settings = settings_of(protocol, state)
    ntlm = settings.EnableGSSAPIAndNTLMAuth
    mechanisms = "plain login" + (" ntlm" if ntlm else "") + (" gssapi" if ntlm and _GSSAPI.exists() else "")
    # A comment starts with " #"; a leading "<" would name a file. Neither is Exchange's.
    tls_is_on = not state.certificate_name_decides or _is_named(settings.X509CertificateName, state, tls)
    encrypted = {"SecureLogin": "required"}.get(settings.LoginType, "yes") if tls_is_on else "no"
    banner = settings.Banner.replace("#", "").lstrip("<")
    return f"""\
# Made from the stand-in's state; changes here are lost.
base_dir = {base}/run
state_dir = {base}/state
instance_name = standin-{protocol.name}
protocols = {protocol.name}
log_path = /dev/stderr
first_valid_uid = {mailstore.OWNER}
shutdown_clients = no

login_greeting = {banner}
login_trusted_networks =
auth_mechanisms = {mechanisms}
auth_use_winbind = {"yes" if ntlm else "no"}
# Also a backslash, as in DOMAIN and account.
auth_username_chars =
auth_failure_delay = 0
disable_plaintext_auth = {"no" if settings.LoginType == "PlainTextLogin" else "yes"}
ssl = {encrypted}
ssl_cert = <{tls}
ssl_key = <{tls}
ssl_min_protocol = TLSv1.2
mail_max_userip_connections = {settings.MaxConnectionsPerUser}

passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%Lu {base}/users
}}
userdb {{
  driver = static
  args = uid={mailstore.OWNER} gid={mailstore.OWNER} home={mail}/%{{user}}
}}
mail_location = maildir:~/Maildir
namespace inbox {{
  inbox = yes
  separator = /
}}

service {protocol.name}-login {{
{_listeners(protocol.name, settings.UnencryptedOrTLSBindings, False)}
{_listeners(protocol.tls_name, settings.SSLBindings if tls_is_on else [], True)}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
"""


def _is_named(name: str, state: State, tls: Path) -> bool:
    """Whether there is a certificate for this name: the one that is served, or that of setup, for the server itself."""
    told = subprocess.run(
        ["openssl", "x509", "-in", tls, "-noout", "-subject", "-ext", "subjectAltName", "-nameopt", "multiline"],
        check=False,
        capture_output=True,
        text=True,
    ).stdout.lower()
    names = set(re.findall(r"(?:dns:|commonname\s*= )([^,\s]+)", told))
    wanted = name.lower()
    wild = f"*.{wanted.partition('.')[2]}"
    return wanted in names | {state.server.Name.lower(), state.server.Fqdn.lower()} or wild in names


def users(state: State) -> str:
    """The passwd-file: each name a user may log on with, mapped to the mailbox's primary address."""
    lines = []
    for mailbox in state.mailboxes:
        primary = mailbox.PrimarySmtpAddress.lower()
        account = (mailbox.SamAccountName or primary.partition("@")[0]).lower()
        domain = primary.partition("@")[2].partition(".")[0]
        names = {primary, account, f"{domain}\\{account}"}
        names |= {name.partition(":")[2].lower() for name in mailbox.EmailAddresses if ":" in name}
        # Base64, since a colon ends the field and nothing escapes it.
        password = base64.b64encode(mailbox.Password.encode()).decode()
        # Dovecot looks for a name with its backslashes doubled.
        keys = sorted(name.replace("\\", "\\\\") for name in names)
        lines += [f"{key}:{{PLAIN.b64}}{password}::::::user={primary}" for key in keys]
    return "\n".join(lines) + "\n"


class Instance:
    """One Dovecot, started, reloaded and stopped as the state wants it."""

    def __init__(self, protocol: Protocol, base: Path, mail: Path, tls: Path) -> None:
        self.protocol = protocol
        self.base = base / protocol.name
        self.mail = mail
        self.tls = tls
        self._process: asyncio.subprocess.Process | None = None
        self._in_force: tuple[str, str] | None = None

    async def apply(self, state: State) -> None:
        """Raises DovecotError."""
        if not wanted(self.protocol, state):
            await self.stop()
            return
        if shutil.which("dovecot") is None:
            raise DovecotError(
                f"The state wants {self.protocol.name.upper()}, and Dovecot isn't installed; "
                f"install dovecot-imapd and dovecot-pop3d."
            )
        wish = (configuration(self.protocol, state, self.base, self.mail, self.tls), users(state))
        running = self._process is not None and self._process.returncode is None
        if running and wish == self._in_force:
            return
        former, self._in_force = self._in_force, wish
        for mailbox in state.mailboxes:
            mailstore.prepare(self.mail, mailbox.PrimarySmtpAddress)
        for folder in (self.base, self.base / "run", self.base / "state"):
            folder.mkdir(parents=True, exist_ok=True)
        _write(self.base / "dovecot.conf", wish[0], 0o644)
        # auth reads the file as an unprivileged user of its own; nothing else in the container may.
        _write(self.base / "users", wish[1], 0o640, "dovecot")
        if not running:
            await self._start()
        elif former is not None and former[0] != wish[0]:
            await self._run("doveadm", "-c", str(self.base / "dovecot.conf"), "reload")
        else:
            # Only the users changed: Dovecot looks into their file again, but once in a second at most.
            await asyncio.sleep(1.1)
            return
        settings = settings_of(self.protocol, state)
        pairs = [(b, False) for b in settings.UnencryptedOrTLSBindings] + [(b, True) for b in settings.SSLBindings]
        await asyncio.gather(*(self._wait_for_greeting(binding, tls, settings.Banner) for binding, tls in pairs))

    async def _start(self) -> None:
        # What a killed predecessor left: its process id may be somebody else's by now, and Dovecot would not start.
        shutil.rmtree(self.base / "run", ignore_errors=True)
        (self.base / "run").mkdir()
        await self._run("doveconf", "-c", str(self.base / "dovecot.conf"), "-n")
        self._process = await asyncio.create_subprocess_exec(
            "dovecot", "-F", "-c", str(self.base / "dovecot.conf"), stdin=asyncio.subprocess.DEVNULL
        )

    async def stop(self) -> None:
        process, self._process, self._in_force = self._process, None, None
        if process is not None and process.returncode is None:
            process.terminate()
            await process.wait()

    async def _run(self, *command: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        if process.returncode:
            last = output.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no word"]
            raise DovecotError(f"`{' '.join(command)}` failed: {last[0]}")

    async def _wait_for_greeting(self, binding: Binding, tls: bool, banner: str) -> None:
        """Wait until the listener greets as it should. Dovecot accepts before it can answer, and says so at first."""
        for _ in range(100):
            if self._process is None or self._process.returncode is not None:
                raise DovecotError(f"Dovecot for {self.protocol.name.upper()} ended right away; see its log.")
            line = await _greeting(binding, tls)
            if line.startswith(self.protocol.greeting) and banner.encode() in line:
                return
            await asyncio.sleep(0.1)
        raise DovecotError(f"Dovecot doesn't answer as {self.protocol.name.upper()} at {binding}.")


async def _greeting(binding: Binding, tls: bool) -> bytes:
    """The first line that the listener sends; empty if there is none. IPv6 that the host hasn't got counts as well."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(binding.address, binding.address)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(host, binding.port, ssl=context if tls else None)
            try:
                return await reader.readline()
            finally:
                writer.close()
    except (OSError, ssl.SSLError, TimeoutError):
        return b""


def _write(path: Path, content: str, mode: int, group: str = "") -> None:
    beside = path.with_name(path.name + ".new")
    beside.touch(mode=0o600)
    beside.write_text(content)
    if group:
        shutil.chown(beside, "root", group)
    # Dovecot knows a changed file by its size and its time in whole seconds, and two changes may fall into one.
    if path.exists():
        later = max(path.stat().st_mtime + 1, beside.stat().st_mtime)
        os.utime(beside, (later, later))
    beside.chmod(mode)
    beside.rename(path)
