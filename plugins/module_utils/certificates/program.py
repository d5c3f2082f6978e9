# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates on a gateway: installed, renewed, handed over and watched, without Ansible.

This file is both a part of the collection and the program ``postern-certificates`` that the role copies onto the host,
so it needs nothing but Python's own library, openssl and certbot. Its sentences are for people; none holds a secret.

    postern-certificates install [NAME]   what certbot has issued goes live (certbot's deploy hook calls this)
    postern-certificates receive          what a peer has put into the drop folder goes live
    postern-certificates renew            what is due is renewed and handed to the peers (certbot's timer calls this)
    postern-certificates --check [--json] how the certificates are: status 0 is well, 1 a warning, 2 critical

A new PEM is written beside the old one, which stays as a hard link until HAProxy has been asked over TLS and presents
the new one. A run that is killed anywhere leaves a whole pair in the file and another whole pair (or the same) in the
running process; the next run begins by making both the same.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import datetime as dt
import fcntl
import hashlib
import http.client
import http.server
import itertools
import json
import os
import re
import secrets
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from functools import cache, partial
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/postern/certificates.json")
PROGRAM = Path("/usr/local/sbin/postern-certificates")
HANDED = "# postern.mail_gateway "  # begins the line that a handed-over PEM starts with
LARGEST = 256 * 1024  # bytes that a file in the drop folder may have
HTTP = 80  # where authorities ask (RFC 8555 8.3)
PATIENCE = 20  # seconds that a reload may take until the new process answers
STALE = 3600  # seconds after which an upload that was never finished is removed

# Fractions of a certificate's lifetime that are left. Nothing counts days: lifetimes get shorter (CA/Browser Forum
# ballot SC-081v3 ends at 47 days), and a test authority's are minutes.
DUE = 1 / 3
TAKEOVER_STEP = 1 / 15  # for each gateway that should have renewed before this one
LAST_TAKEOVER = 0.15
WARNING = 0.2
CRITICAL = 0.1
BOOTSTRAP_PATIENCE = 6 * 3600  # seconds that a self-signed certificate may be there before the next gateway issues


class Refused(Exception):
    """One sentence for a person: what is wrong, where, and what to do."""


class Held(Refused):
    """The authority asked to be left alone for a while."""


# --- settings and state ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Peer:
    """Another gateway: its name, and the address and port of its sshd."""

    name: str
    address: str
    port: int = 22


@dataclass(frozen=True)
class Wanted:
    """A certificate that should be there: HAProxy's name for it, and its DNS names."""

    name: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """What the role knows, as it stands in ``certificates.json``. It holds no secret.

    Attributes:
        host: This gateway's name.
        gateways: All gateways in the order in which they renew; the first that is there does.
        bundle: PEM file with the authorities that the ACME server's own certificate is verified against, or "".
        certbot_options: File with further options of certbot, readable by root alone, or "".
        address: Where HAProxy is asked which certificate it presents.
        drop: The folder that peers put certificates into, or "".
        metrics: The file for Prometheus' node exporter, or "".
    """

    host: str
    certificates: tuple[Wanted, ...]
    authority: str
    gateways: tuple[str, ...] = ()
    peers: tuple[Peer, ...] = ()
    contact: str = ""
    key_type: str = "rsa"
    key_size: int = 2048
    bundle: str = ""
    certbot_options: str = ""
    http_port: int = 8402
    self_test: bool = True
    account: str = "certificates"
    drop: str = ""
    metrics: str = ""
    address: str = "127.0.0.1"
    port: int = 443
    folder: str = "/etc/haproxy"
    service: str = "haproxy"
    socket: str = "/run/haproxy/admin.sock"
    state: str = "/var/lib/postern/certificates"
    lineages: str = "/etc/letsencrypt"
    locks: str = "/run"

    @property
    def rank(self) -> int:
        """This gateway's place in the order of renewal; 0 renews."""
        return self.gateways.index(self.host) if self.host in self.gateways else 0

    def wanted(self, name: str) -> Wanted:
        """Return the certificate of this name; Refused where it isn't declared."""
        for certificate in self.certificates:
            if certificate.name == name:
                return certificate
        known = ", ".join(certificate.name for certificate in self.certificates)
        raise Refused(f"'{name}' is not among this host's certificates ({known or 'none'}).")


def settings_from(content: dict[str, Any]) -> Settings:
    """Return the settings that a JSON object holds; unknown keys are an error (TypeError)."""
    values = dict(content)
    values["certificates"] = tuple(Wanted(one["name"], tuple(one["names"])) for one in values["certificates"])
    values["peers"] = tuple(Peer(**one) for one in values.get("peers", ()))
    values["gateways"] = tuple(values.get("gateways", ()))
    return Settings(**values)


def settings_text(settings: Settings) -> str:
    """Return the settings as the file holds them."""
    return json.dumps(asdict(settings), indent=1, sort_keys=True) + "\n"


def load(path: Path = SETTINGS) -> Settings:
    """Read the settings of this host."""
    try:
        return settings_from(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise Refused(f"{path} isn't there; run the role letsencrypt for this host.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"{path} can't be read ({error}); run the role letsencrypt for this host.") from None


@dataclass
class State:
    """What is remembered of one certificate between two runs. ``held_until`` is a time in seconds since 1970."""

    name: str
    names: list[str] = field(default_factory=list)
    serial: str = ""
    fingerprint: str = ""
    issuer: str = ""
    not_before: str = ""
    not_after: str = ""
    authority: str = ""
    origin: str = ""
    last_attempt: str = ""
    last_success: str = ""
    last_error: str = ""
    held_until: float = 0.0
    handed: dict[str, str] = field(default_factory=dict)
    hand_over_errors: dict[str, str] = field(default_factory=dict)


def state_path(settings: Settings, name: str) -> Path:
    """Return where a certificate's state is kept."""
    return Path(settings.state, f"{name}.json")


def read_state(settings: Settings, name: str) -> State:
    """Return a certificate's state; an empty one where there is none that is whole."""
    known = {one.name for one in fields(State)}
    try:
        content = json.loads(state_path(settings, name).read_text(encoding="utf-8"))
        return State(**{key: value for key, value in content.items() if key in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return State(name)


def write_state(settings: Settings, state: State) -> None:
    """Remember. A full disk is no reason to fail: what was done, was done."""
    with contextlib.suppress(OSError):
        put(state_path(settings, state.name), (json.dumps(asdict(state), indent=1) + "\n").encode(), 0o644)


def now() -> str:
    """Return the time in UTC, as in ``2026-01-31T12:00:00+00:00``."""
    return moment(time.time())


def moment(seconds: float) -> str:
    """Return seconds since 1970 as a time in UTC."""
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).isoformat(timespec="seconds")


# --- files ----------------------------------------------------------------------------------------------------------


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that isn't there yet, onto the disk, with its final mode whatever the umask is."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def put(path: Path, content: bytes, mode: int) -> None:
    """Write a file so that it is either the old or the new one whatever happens."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.postern-new")
    write_new(fresh, content, mode)
    os.replace(fresh, path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Put a folder's entries onto the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def content_of(path: Path) -> bytes | None:
    """Return what a file holds; None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def locked(path: Path, seconds: float = 60) -> Iterator[None]:
    """Hold a lock, which goes with the process; Refused where somebody else keeps it for so long."""
    deadline = time.monotonic() + seconds
    with path.open("w", encoding="utf-8") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise Refused(
                        f"Another run has held {path} for {seconds:.0f} seconds; wait for it to end and run again."
                    ) from None
                time.sleep(0.1)
        yield


def run(
    *arguments: str, data: bytes | None = None, seconds: float = 60, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command and return what came; never raise because of its exit status."""
    try:
        done = subprocess.run(
            arguments, check=False, capture_output=True, input=b"" if data is None else data, timeout=seconds,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})},
        )  # fmt: skip
    except FileNotFoundError:
        raise Refused(f"The program {arguments[0]} is not installed on this host.") from None
    except subprocess.TimeoutExpired:
        raise Refused(f"'{arguments[0]}' did not end within {seconds:.0f} seconds.") from None
    text = [stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr)]
    return subprocess.CompletedProcess(done.args, done.returncode, *text)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last thing that a command said, for a sentence."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "no reason was given"


# --- certificates ---------------------------------------------------------------------------------------------------

_BLOCK = re.compile(rb"-----BEGIN (?P<kind>[A-Z0-9 ]+)-----\s.*?-----END (?P=kind)-----", re.DOTALL)


@dataclass(frozen=True)
class Certificate:
    """What is to be known of one certificate. Times are seconds since 1970."""

    names: tuple[str, ...]
    serial: str
    issuer: str
    self_signed: bool
    not_before: float
    not_after: float
    key_type: str
    key_bits: int
    fingerprint: str
    public_key: str

    def left(self, at: float | None = None) -> float:
        """Return the fraction of the lifetime that is left; negative after the end."""
        lifetime = max(self.not_after - self.not_before, 1.0)
        return (self.not_after - (time.time() if at is None else at)) / lifetime


@dataclass(frozen=True)
class Bundle:
    """A private key with its certificate and chain, as PEM, and what is to be known of the certificate."""

    key: bytes
    chain: tuple[bytes, ...]
    leaf: Certificate

    @property
    def pem(self) -> bytes:
        """What HAProxy reads: key, certificate, chain. No empty line, which would end a payload on its socket."""
        return b"".join(block + b"\n" for block in (self.key, *self.chain))


def fingerprint(certificate: bytes) -> str:
    """Return the SHA-256 of a PEM certificate's DER form."""
    body = b"".join(line for line in certificate.splitlines() if not line.startswith(b"-----"))
    return hashlib.sha256(base64.b64decode(body)).hexdigest()


@cache
def describe(certificate: bytes) -> Certificate:
    """Read one PEM certificate with openssl, once in a run; Refused where it is none."""
    done = run(
        "openssl", "x509", "-noout", "-serial", "-subject", "-issuer", "-dates", "-ext", "subjectAltName", "-pubkey",
        data=certificate,
    )  # fmt: skip
    said = dict(re.findall(r"^(serial|subject|issuer|notBefore|notAfter)=(.*)$", done.stdout, re.MULTILINE))
    public = re.search(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", done.stdout, re.DOTALL)
    if done.returncode or len(said) < 5 or not public:
        raise Refused(f"The certificate can't be read ({last_line(done)}).")
    shown = run("openssl", "pkey", "-pubin", "-noout", "-text_pub", data=public[0].encode()).stdout
    bits = re.search(r"\((\d+) bit", shown)
    return Certificate(
        names=tuple(name.lower() for name in re.findall(r"DNS:([^,\s]+)", done.stdout)),
        serial=said["serial"].lower(),
        issuer=said["issuer"].strip(),
        self_signed=said["issuer"] == said["subject"],
        not_before=float(ssl.cert_time_to_seconds(said["notBefore"])),
        not_after=float(ssl.cert_time_to_seconds(said["notAfter"])),
        key_type="rsa" if "Modulus" in shown else "ecdsa" if "ASN1 OID" in shown else "other",
        key_bits=int(bits[1]) if bits else 0,
        fingerprint=fingerprint(certificate),
        public_key="".join(public[0].split()),
    )


def bundle_from(pem: bytes) -> Bundle:
    """Read key, certificate and chain out of PEM text; Refused where something is missing or isn't whole."""
    blocks = [
        (match["kind"].decode(), b"\n".join(line.strip() for line in match[0].splitlines() if line.strip()))
        for match in _BLOCK.finditer(pem)
    ]
    keys = [text for kind, text in blocks if kind.endswith("PRIVATE KEY")]
    chain = tuple(text for kind, text in blocks if kind == "CERTIFICATE")
    if len(keys) != 1 or not chain or pem.count(b"-----BEGIN ") != pem.count(b"-----END "):
        raise Refused(
            f"The PEM holds {len(keys)} whole private keys and {len(chain)} whole certificates, where it needs one key "
            "and its certificate with the chain."
        )
    return Bundle(keys[0], chain, describe(chain[0]))


def covers(pattern: str, name: str) -> bool:
    """Tell whether a name of a certificate stands for a host's name (RFC 6125: a wildcard is one label)."""
    return pattern == name or (pattern.startswith("*.") and name.partition(".")[2] == pattern[2:] and "*" not in name)


def missing_names(leaf: Certificate, names: Iterable[str]) -> list[str]:
    """Return the names that a certificate doesn't stand for."""
    return [name for name in names if not any(covers(pattern, name.lower()) for pattern in leaf.names)]


def judge(bundle: Bundle, wanted: Wanted, settings: Settings, at: float | None = None) -> None:
    """Refuse what HAProxy shouldn't present, with the reason."""
    leaf, at = bundle.leaf, time.time() if at is None else at
    public = run("openssl", "pkey", "-pubout", "-passin", "pass:", data=bundle.key)
    if public.returncode:
        raise Refused("The private key can't be read; it must be whole and not encrypted.")
    if "".join(public.stdout.split()) != leaf.public_key:
        raise Refused("The private key doesn't belong to the certificate.")
    if missing := missing_names(leaf, wanted.names):
        raise Refused(f"The certificate is for {', '.join(leaf.names) or 'no name'} and lacks {', '.join(missing)}.")
    if at < leaf.not_before:
        raise Refused(f"The certificate is valid from {moment(leaf.not_before)} on; this host's clock is before that.")
    if at >= leaf.not_after:
        raise Refused(f"The certificate expired at {moment(leaf.not_after)}.")
    if leaf.key_type != settings.key_type:
        raise Refused(f"The certificate's key is {leaf.key_type}, where {settings.key_type} is asked for.")
    if leaf.key_type == "rsa" and leaf.key_bits < 2048:
        raise Refused(f"The certificate's RSA key has {leaf.key_bits} bits; 2048 are the least.")
    judge_chain(bundle, settings)


def judge_chain(bundle: Bundle, settings: Settings) -> None:
    """Refuse a chain that isn't in order, isn't valid, or isn't there."""
    subjects = [hashes(block) for block in bundle.chain]
    for number, ((_unused, issuer), (subject, _unused)) in enumerate(itertools.pairwise(subjects), 1):
        if issuer != subject:
            raise Refused(
                f"Certificate {number + 1} of the chain didn't sign certificate {number}; the order is wrong."
            )
    with tempfile.TemporaryDirectory(prefix="postern-") as scratch:
        leaf, rest, top = (Path(scratch, name) for name in ("leaf", "rest", "top"))
        leaf.write_bytes(bundle.chain[0] + b"\n")
        rest.write_bytes(b"".join(block + b"\n" for block in bundle.chain[1:-1]))
        arguments = ["-partial_chain", "-purpose", "sslserver"]
        if len(bundle.chain) > 1:
            # The roots are the clients' business: a staging authority's is in nobody's store.
            top.write_bytes(bundle.chain[-1] + b"\n")
            arguments += ["-no-CApath", "-no-CAfile", "-no-CAstore", "-trusted", str(top)]
            arguments += ["-untrusted", str(rest)] if len(bundle.chain) > 2 else []
        elif settings.bundle:
            arguments += ["-CAfile", settings.bundle]
        done = run("openssl", "verify", *arguments, str(leaf))
    if done.returncode:
        said = re.findall(r"error \d+ at \d+ depth lookup: *(.*)", done.stdout + done.stderr)
        reason = said[0].strip() if said else last_line(done)
        raise Refused(f"The certificate's chain is not sound: {reason}.")


def hashes(certificate: bytes) -> tuple[str, str]:
    """Return the hashes of a certificate's subject and issuer."""
    done = run("openssl", "x509", "-noout", "-subject_hash", "-issuer_hash", data=certificate)
    found = done.stdout.split()
    if len(found) != 2:
        raise Refused(f"A certificate of the chain can't be read ({last_line(done)}).")
    return found[0], found[1]


# --- HAProxy --------------------------------------------------------------------------------------------------------


def ask(path: str, command: str, seconds: float = 10) -> str:
    """Return HAProxy's answer to one command of the runtime API; OSError where nobody answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(seconds)
        client.connect(path)
        client.sendall(f"{command}\n".encode())
        received = bytearray()
        while block := client.recv(65536):
            received += block
    return received.decode("utf-8", "replace")


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
        content = content_of(self.target)
        if content is None:
            return None
        try:
            return bundle_from(content)
        except Refused:
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
            with (
                locked(Path(self.settings.locks, "postern-certificates.lock")),
                # The role haproxy replaces files below the same folder.
                locked(Path(self.settings.locks, "postern-haproxy.lock")),
            ):
                self.settle()
                changed = self._install(bundle, origin)
        except Refused as refused:
            state.last_error = str(refused)
            write_state(self.settings, state)
            raise
        except OSError as error:
            sentence = f"{error.filename or self.target}: {error.strerror}; the old certificate stays in use."
            state.last_error = sentence
            write_state(self.settings, state)
            raise Refused(sentence) from error
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

    def settle(self) -> None:
        """Undo what a killed run left, so that the file is again what HAProxy presents."""
        self.new.unlink(missing_ok=True)
        if not os.path.lexists(self.old):
            return
        before, shown = content_of(self.old), self.presented()
        held = _fingerprint_of(before)
        if held in shown and _fingerprint_of(content_of(self.target)) not in shown:
            os.replace(self.old, self.target)
        else:
            self.old.unlink(missing_ok=True)
        sync(self.target.parent)

    def _install(self, bundle: Bundle, origin: str) -> bool:
        leaf, current = bundle.leaf, content_of(self.target)
        if current == bundle.pem and leaf.fingerprint in self.presented():
            return False
        if origin == "handed over":
            self._refuse_older(leaf)
        known = self._known_as()
        if known == "":
            raise Refused(
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
            raise Refused(f"HAProxy doesn't present the new certificate ({reason}); the old one is in use again.")
        self.old.unlink(missing_ok=True)
        return True

    def _refuse_older(self, leaf: Certificate) -> None:
        current = self.installed()
        if current is None or current.leaf.self_signed or current.leaf.left() <= 0:
            return
        if missing_names(current.leaf, self.wanted.names):
            return
        if leaf.not_before < current.leaf.not_before:
            raise Refused(
                f"The certificate is from {moment(leaf.not_before)}, and the one in use is newer "
                f"({moment(current.leaf.not_before)})."
            )

    def _write(self, pem: bytes) -> None:
        try:
            self.target.parent.mkdir(mode=0o700, exist_ok=True)
            write_new(self.new, pem, 0o600)
        except OSError as error:
            raise Refused(
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
            raise Refused(f"The new certificate can't be tried ({error}); the old one stays in use.") from error
        if done.returncode:
            self.new.unlink(missing_ok=True)
            alerts = re.findall(r"^\[ALERT\]\s*\(\d+\)\s*:\s*(?:config : )?(.*)$", said, re.MULTILINE)
            reason = (alerts[0] if alerts else last_line(done)).strip().rstrip(".")
            raise Refused(f"HAProxy refuses its configuration with the new certificate ({reason}); the old one stays.")

    def _swap(self) -> None:
        """Rename the new file over the old one, which stays as a link; this takes no space on the disk."""
        self.old.unlink(missing_ok=True)
        if os.path.lexists(self.target):
            os.link(self.target, self.old, follow_symlinks=False)
        os.replace(self.new, self.target)
        sync(self.target.parent)

    def _go_back(self, known: str, before: bytes | None) -> None:
        if os.path.lexists(self.old):
            os.replace(self.old, self.target)
            sync(self.target.parent)
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
            return f"{reason or 'a hot swap had no effect'}; a reload failed: {last_line(done)}"
        if self._waits_for(wanted, PATIENCE):
            return ""
        return f"{reason or 'the process took it over'}, but other certificates come for {', '.join(self.wanted.names)}"

    def _hot_swap(self, known: str, pem: bytes) -> str:
        """Management guide, "set ssl cert": the new certificate is held back until it is committed."""
        try:
            said = ask(self.settings.socket, f"set ssl cert {known} <<\n{pem.decode()}")
            if not said.startswith("Transaction"):
                return f"'set ssl cert' was refused: {_flat(said)}"
            said = ask(self.settings.socket, f"commit ssl cert {known}")
            if "Success!" not in said:
                ask(self.settings.socket, f"abort ssl cert {known}")
                return f"'commit ssl cert' was refused: {_flat(said)}"
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


def _fingerprint_of(pem: bytes | None) -> str:
    """Return the fingerprint of the first certificate in a file, which may be broken."""
    for match in _BLOCK.finditer(pem or b""):
        if match["kind"] == b"CERTIFICATE":
            with contextlib.suppress(ValueError):
                return fingerprint(match[0])
    return ""


def _flat(text: str) -> str:
    return " ".join(text.split())[:200].rstrip(".") or "without a word"


# --- certbot's lineages ---------------------------------------------------------------------------------------------


def lineage(settings: Settings, name: str) -> bytes | None:
    """Return key, certificate and chain of a lineage of certbot; None where there is none that is whole."""
    live = Path(settings.lineages, "live", name)
    key, chain = content_of(live / "privkey.pem"), content_of(live / "fullchain.pem")
    return key + b"\n" + chain if key and chain else None


def lineage_server(settings: Settings, name: str) -> str:
    """Return the URL of the authority that a lineage is from; "" where it isn't known."""
    path = Path(settings.lineages, "renewal", f"{name}.conf")
    with contextlib.suppress(OSError):
        found = re.search(r"^server\s*=\s*(\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        return found[1] if found else ""
    return ""


def settle_lineage(settings: Settings, name: str, leaf: Certificate, *, renews: bool) -> None:
    """Tell certbot when to renew a lineage (ours to decide, as certbot before 4 counts thirty days), and whether.

    Other settings of the lineage, and the comments in its file, stay.
    """
    path = Path(settings.lineages, "renewal", f"{name}.conf")
    try:
        before = path.read_text(encoding="utf-8")
    except OSError:
        return
    minutes = max(1, int((leaf.not_after - leaf.not_before) * DUE / 60))
    lines = [line for line in before.splitlines() if not re.match(r"(renew_before_expiry|autorenew)\s*=", line)]
    lines.insert(0, f"renew_before_expiry = {minutes} minutes")
    if not renews:
        place = lines.index("[renewalparams]") + 1 if "[renewalparams]" in lines else len(lines)
        lines[place:place] = ["autorenew = False"] if place < len(lines) else []
    after = "\n".join(lines) + "\n"
    if after != before:
        put(path, after.encode(), stat.S_IMODE(path.stat().st_mode))


# --- issuing --------------------------------------------------------------------------------------------------------


def reason_to_issue(
    settings: Settings, wanted: Wanted, current: Bundle | None, state: State, at: float | None = None
) -> str:
    """Return why this gateway should have a certificate issued now, other than by age; "" where it shouldn't."""
    if settings.rank:
        return ""
    if current is None:
        return "there is none"
    leaf = current.leaf
    if leaf.self_signed:
        return "there is only a self-signed one"
    if set(leaf.names) != {name.lower() for name in wanted.names}:
        return f"it is for {', '.join(sorted(leaf.names))}"
    if state.authority and state.authority != settings.authority:
        return f"it is from {state.authority}"
    if leaf.key_type != settings.key_type:
        return f"its key is {leaf.key_type}"
    if leaf.key_type == "rsa" and leaf.key_bits != settings.key_size:
        return f"its key has {leaf.key_bits} bits"
    if leaf.left(at) < WARNING:
        return f"it ends at {moment(leaf.not_after)}"
    return ""


def reason_to_take_over(settings: Settings, current: Bundle | None, at: float | None = None) -> str:
    """Return why this gateway should renew in the place of one that should have; "" where it shouldn't yet.

    The gateway of rank 0 renews when a third of the lifetime is left. Each further one waits for a fifteenth of the
    lifetime more, so that one that is there comes first, and all are early enough.
    """
    at = time.time() if at is None else at
    if current is None:
        return "" if settings.rank else "there is none"
    leaf, rank = current.leaf, settings.rank
    if leaf.self_signed:
        waited = at - leaf.not_before
        return "there is still only a self-signed one" if waited > rank * BOOTSTRAP_PATIENCE else ""
    threshold = DUE if rank == 0 else max(DUE - rank * TAKEOVER_STEP, LAST_TAKEOVER)
    if leaf.left(at) < threshold:
        return f"{leaf.left(at):.0%} of its lifetime is left"
    return ""


def certbot_command(settings: Settings, wanted: Wanted) -> list[str]:
    """Return the command that has one certificate issued. No secret is on it."""
    command = [
        "certbot", "certonly", "--non-interactive", "--agree-tos", "--no-eff-email", "--cert-name", wanted.name,
        "--server", settings.authority, "--config-dir", settings.lineages,
        "--authenticator", "standalone", "--preferred-challenges", "http-01",
        "--http-01-address", "127.0.0.1", "--http-01-port", str(settings.http_port),
        "--key-type", settings.key_type, "--force-renewal", "--renew-with-new-domains",
        "--deploy-hook", f"{PROGRAM} install",
    ]  # fmt: skip
    if settings.key_type == "rsa":
        command += ["--rsa-key-size", str(settings.key_size)]
    command += ["--email", settings.contact] if settings.contact else ["--register-unsafely-without-email"]
    if settings.certbot_options:
        command += ["--config", settings.certbot_options]
    for name in wanted.names:
        command += ["--domain", name]
    return command


def forget_account(settings: Settings) -> bool:
    """Put the account aside that an authority no longer knows, so that certbot makes another; tell whether it was."""
    host, _unused, path = settings.authority.removeprefix("https://").partition("/")
    folder = Path(settings.lineages, "accounts", host, path)
    if not path or not folder.is_dir():
        return False
    folder.rename(folder.with_name(f"{folder.name}.lost-{int(time.time())}"))
    return True


def certbot_environment(settings: Settings) -> dict[str, str]:
    """Return what certbot needs to trust a company's own ACME server."""
    return {"REQUESTS_CA_BUNDLE": settings.bundle} if settings.bundle else {}


def certbot_failure(output: str, settings: Settings) -> Refused:
    """Return certbot's output as one sentence."""
    flat = " ".join(output.split())
    if "rateLimited" in output or re.search(
        r"too many (certificates|failed|new|requests|currently)", flat, re.IGNORECASE
    ):
        until = re.search(r"retry after (\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)", flat, re.IGNORECASE)
        text = f"{until[1]} {until[2]} UTC" if until else "an hour has passed"
        return Held(f"{settings.authority} limits how often it is asked; nothing is asked again before {text}.")
    details = re.findall(r"Domain:\s*(\S+)\s+Type:\s*(\S+)\s+Detail:\s*(.+?)(?=\s+Domain:|\s+Hint:|$)", flat)
    if details:
        told = "; ".join(f"{name} ({kind}): {_flat(detail)}" for name, kind, detail in details[:3])
        return Refused(f"{settings.authority} could not validate {told}.")
    if re.search(r"ConnectionError|Max retries|Connection refused|timed out|NewConnectionError", flat):
        return Refused(f"{settings.authority} can't be reached; the next run of certbot's timer tries again.")
    if not settings.contact and re.search(
        r"invalidContact|(contact|email)[^.]*(required|missing)", flat, re.IGNORECASE
    ):
        return Refused(f"{settings.authority} wants a contact for its account; give letsencrypt_contact.")
    problem = re.search(r"urn:ietf:params:acme:error:(\w+)(?: :: (.+?))?(?: Ask for help|$)", flat)
    if problem:
        return Refused(f"{settings.authority} answers '{problem[1]}': {_flat((problem[2] or '').lstrip(': '))}.")
    returned = re.search(r"Error returned by the ACME server: (.+?)(?: Ask for help|$)", flat)
    if returned:
        return Refused(f"{settings.authority} answers: {_flat(returned[1])}.")
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("Ask for help", "Saving debug log", "See the logfile"))]
    return Refused(f"certbot failed: {_flat(lines[-1] if lines else '')}; see {LOG}.")


LOG = "/var/log/letsencrypt/letsencrypt.log"


def hold_seconds(sentence: str, at: float) -> float:
    """Return until when the authority wants to be left alone."""
    found = re.search(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) UTC", sentence)
    if not found:
        return at + 3600
    until = dt.datetime.fromisoformat(f"{found[1]}T{found[2]}+00:00").timestamp()
    return min(max(until, at + 60), at + 8 * 86400)


def directory(settings: Settings) -> dict[str, Any]:
    """Ask the authority for its directory (RFC 8555 7.1.1); Refused where it isn't one."""
    where = f"The authority {settings.authority}"
    try:
        context = ssl.create_default_context(cafile=settings.bundle or None)
        with urllib.request.urlopen(settings.authority, timeout=20, context=context) as answer:  # noqa: S310 (https)
            content = json.loads(answer.read(LARGEST))
    except urllib.error.HTTPError as error:
        raise Refused(f"{where} answers {error.code}; correct letsencrypt_authority.") from None
    except urllib.error.URLError as error:
        reason = getattr(error.reason, "verify_message", "") or getattr(error.reason, "strerror", "") or error.reason
        raise Refused(
            f"{where} can't be reached ({str(reason).rstrip('.')}); nothing was changed, run again when it answers."
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise Refused(f"{where} can't be reached ({error}); nothing was changed, run again when it answers.") from None
    except ValueError:
        content = None
    if not isinstance(content, dict) or not {"newNonce", "newAccount", "newOrder"} <= content.keys():
        raise Refused(f"{where} doesn't answer with an ACME directory; correct letsencrypt_authority.")
    return content


def wants_account(settings: Settings, offered: dict[str, Any]) -> None:
    """Refuse an authority that wants accounts bound to one of its own (RFC 8555 7.3.4), where no key is given."""
    meta = offered.get("meta")
    if isinstance(meta, dict) and meta.get("externalAccountRequired") and not settings.certbot_options:
        raise Refused(
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
        raise Refused(
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
        raise Refused(
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
            raise Refused(
                f"{name} leads to {address}, which isn't one of the gateways or doesn't pass the challenge on (it "
                f"answers {answer.status}); no certificate was asked for. Correct the name's addresses, or "
                "letsencrypt_self_test where they are only wrong as seen from here."
            )


class Manager:
    """All certificates of this host."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.sent: list[str] = []

    def installer(self, name: str) -> Installer:
        """Return the installer of one certificate."""
        return Installer(self.settings, self.settings.wanted(name))

    # Issue

    def issue(self, name: str) -> None:
        """Have a certificate issued and put it in use; Refused with the reason where that fails."""
        wanted, state = self.settings.wanted(name), read_state(self.settings, name)
        if state.held_until > time.time():
            raise Held(
                f"{self.settings.authority} limits how often it is asked; nothing is asked for '{name}' before "
                f"{moment(state.held_until)}."
            )
        state.last_attempt = now()
        try:
            with locked(Path(self.settings.locks, "postern-certificates-issue.lock"), 600):
                self._issue(wanted)
        except Refused as refused:
            state = read_state(self.settings, name)
            state.last_attempt, state.last_error = now(), str(refused)
            if isinstance(refused, Held):
                state.held_until = hold_seconds(str(refused), time.time())
            write_state(self.settings, state)
            raise

    def _issue(self, wanted: Wanted) -> None:
        settings = self.settings
        wants_account(settings, directory(settings))
        if settings.self_test:
            self_test(settings, wanted.names)
        command, environment = certbot_command(settings, wanted), certbot_environment(settings)
        done = run(*command, seconds=600, environment=environment)
        if done.returncode and "accountDoesNotExist" in done.stdout + done.stderr and forget_account(settings):
            done = run(*command, seconds=600, environment=environment)
        if done.returncode:
            raise certbot_failure(done.stdout + "\n" + done.stderr, settings)
        # The deploy hook has done it already, or failed; then this says why.
        self.install(wanted.name)

    def install(self, name: str) -> bool:
        """Put what certbot has issued in use; tell whether something changed."""
        pem = lineage(self.settings, name)
        if pem is None:
            raise Refused(f"certbot has no certificate '{name}' below {self.settings.lineages}.")
        changed = self.installer(name).install(pem, "issued", lineage_server(self.settings, name))
        leaf = bundle_from(pem).leaf
        settle_lineage(self.settings, name, leaf, renews=self.settings.rank == 0)
        return changed

    # Peers

    def hand_over(self, name: str) -> list[str]:
        """Give a certificate that this host had issued to each peer that doesn't have it yet; return what failed."""
        state = read_state(self.settings, name)
        current = self.installer(name).installed()
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
        return last_line(done) if done.returncode else ""

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
        """Take what peers have put into the drop folder; return what was refused."""
        said = []
        for name, content in take(Path(self.settings.drop)) if self.settings.drop else ():
            try:
                self.settings.wanted(name)
                said += [f"'{name}' from a peer was refused: {content}."] if isinstance(content, str) else []
                if isinstance(content, bytes):
                    whole(content)
                    # Kept until it fits: a peer may know of new names before this host does.
                    put(self._parked(name), content, 0o600)
                    self.install_handed(name)
            except Refused as refused:
                said.append(f"'{name}' from a peer is not in use: {refused}")
            except OSError as error:
                said.append(f"'{name}' from a peer can't be kept: {error.strerror}.")
        return said

    def _parked(self, name: str) -> Path:
        return Path(self.settings.state, "handed", f"{name}.pem")

    def install_handed(self, name: str) -> bool:
        """Put the last certificate that a peer handed over in use; tell whether something changed."""
        content = content_of(self._parked(name))
        if content is None:
            return False
        pem, source = whole(content)
        leaf, current = bundle_from(pem).leaf, self.installer(name).installed()
        newer = current is not None and not current.leaf.self_signed and current.leaf.not_before > leaf.not_before
        if leaf.left() <= 0 or (
            newer and current and not missing_names(current.leaf, self.settings.wanted(name).names)
        ):
            self._parked(name).unlink(missing_ok=True)
            if leaf.left() <= 0:
                return False
        changed = self.installer(name).install(pem, "handed over", str(source.get("authority", "")))
        self._parked(name).unlink(missing_ok=True)
        return changed

    # Renewal

    def renew(self, *, now_all: bool = False) -> list[str]:
        """Do what is due; return what failed, a sentence each.

        :param now_all: Renew everything, due or not, whoever's turn it is.
        """
        said: list[str] = []
        for wanted in self.settings.certificates:
            self._settle(wanted, said)
        if not now_all:
            said += self._certbot_renew()
        for wanted in self.settings.certificates:
            current = self.installer(wanted.name).installed()
            reason = reason_to_issue(self.settings, wanted, current, read_state(self.settings, wanted.name))
            reason = reason or reason_to_take_over(self.settings, current)
            if reason or now_all:
                self._try(said, partial(self.issue, wanted.name))
            said += self.hand_over(wanted.name)
        return list(dict.fromkeys(said))

    def heal(self, name: str) -> bool:
        """Put in use what an earlier run got and didn't; tell whether something changed. Asks the authority nothing."""
        changed = self.install_handed(name)
        self._forgive(name)
        pem, current = lineage(self.settings, name), self.installer(name).installed()
        if pem is None:
            return changed
        leaf = bundle_from(pem).leaf
        if missing_names(leaf, self.settings.wanted(name).names) or leaf.left() <= 0:
            return changed
        if current is None or current.leaf.self_signed or leaf.not_before > current.leaf.not_before:
            return self.install(name) or changed
        return changed

    def _forgive(self, name: str) -> None:
        """Forget a failure that nothing follows from any more: what is in use is what is wanted, and isn't due."""
        state, current = read_state(self.settings, name), self.installer(name).installed()
        if not state.last_error or current is None or current.leaf.self_signed or current.leaf.left() < DUE:
            return
        wanted = self.settings.wanted(name)
        if not missing_names(current.leaf, wanted.names) and not reason_to_issue(self.settings, wanted, current, state):
            state.last_error = ""
            write_state(self.settings, state)

    def _settle(self, wanted: Wanted, said: list[str]) -> None:
        """Heal what an earlier run left, and tell certbot whose turn it is."""
        name = wanted.name
        self._try(said, partial(self.heal, name))
        pem, current = lineage(self.settings, name), self.installer(name).installed()
        if pem is None:
            return
        with contextlib.suppress(Refused):
            leaf = bundle_from(pem).leaf
            in_use = current is not None and current.leaf.fingerprint == leaf.fingerprint
            held = read_state(self.settings, name).held_until > time.time()
            # Where a peer's certificate is in use, certbot's own is out of date and nobody's business.
            settle_lineage(self.settings, name, leaf, renews=in_use and self.settings.rank == 0 and not held)

    def _certbot_renew(self) -> list[str]:
        """Let certbot renew what it finds due, by our fraction of the lifetime or by the authority's word (ARI)."""
        if not list(Path(self.settings.lineages, "renewal").glob("*.conf")):
            return []
        before = {wanted.name: lineage(self.settings, wanted.name) for wanted in self.settings.certificates}
        done = run(
            "certbot", "renew", "--quiet", "--no-random-sleep-on-renew", "--config-dir", self.settings.lineages,
            *(["--config", self.settings.certbot_options] if self.settings.certbot_options else []),
            seconds=1800, environment=certbot_environment(self.settings),
        )  # fmt: skip
        said: list[str] = []
        if done.returncode:
            output = done.stdout + "\n" + done.stderr
            failure = certbot_failure(output, self.settings)
            failed = re.findall(r"Failed to renew certificate (\S+) with error", output)
            said.append(f"certbot renewed nothing of {', '.join(failed) or 'what is due'}: {failure}")
            for name in failed:
                if name in before:
                    state = read_state(self.settings, name)
                    state.last_attempt, state.last_error = now(), str(failure)
                    if isinstance(failure, Held):
                        state.held_until = hold_seconds(str(failure), time.time())
                    write_state(self.settings, state)
        for name, pem in before.items():
            if lineage(self.settings, name) != pem:
                self._try(said, partial(self.install, name))
        return said

    @staticmethod
    def _try(said: list[str], action: Callable[[], object]) -> None:
        try:
            action()
        except Refused as refused:
            said.append(str(refused))

    # What is seen

    def health(self) -> list[dict[str, Any]]:
        """Return how each certificate is: what is in use, what is presented, and problems with their severity."""
        return [self._health(wanted) for wanted in self.settings.certificates]

    def _health(self, wanted: Wanted) -> dict[str, Any]:
        installer, state = self.installer(wanted.name), read_state(self.settings, wanted.name)
        current, shown = installer.installed(), installer.presented()
        critical: list[str] = []
        warnings: list[str] = []
        found: dict[str, Any] = {"name": wanted.name, "wanted_names": list(wanted.names)}
        if current is None:
            critical.append(f"{installer.target} holds no certificate")
        else:
            leaf = current.leaf
            left = leaf.left()
            found |= {
                "names": list(leaf.names), "serial": leaf.serial, "issuer": leaf.issuer,
                "not_before": moment(leaf.not_before), "not_after": moment(leaf.not_after),
                "fingerprint": leaf.fingerprint, "self_signed": leaf.self_signed, "left": round(left, 4),
            }  # fmt: skip
            if leaf.self_signed:
                critical.append("it is self-signed, so clients refuse it")
            if missing := missing_names(leaf, wanted.names):
                critical.append(f"it lacks {', '.join(missing)}")
            if left <= 0:
                critical.append(f"it expired at {moment(leaf.not_after)}")
            elif left < WARNING and not leaf.self_signed:
                text = f"it wasn't renewed and ends at {moment(leaf.not_after)}"
                (critical if left < CRITICAL else warnings).append(text)
            if leaf.fingerprint not in shown:
                critical.append("HAProxy presents another one" if shown else "HAProxy presents none")
        if state.last_error:
            warnings.append(f"the last attempt at {state.last_attempt} failed: {state.last_error.rstrip('.')}")
        warnings += [f"{peer} doesn't have it: {reason}" for peer, reason in sorted(state.hand_over_errors.items())]
        found |= {
            "presented": bool(current and current.leaf.fingerprint in shown),
            "last_attempt": state.last_attempt, "last_success": state.last_success, "last_error": state.last_error,
            "origin": state.origin, "authority": state.authority, "handed": state.handed,
            "status": 2 if critical else 1 if warnings else 0, "problems": critical + warnings,
        }  # fmt: skip
        return found

    def write_metrics(self) -> None:
        """Write the node exporter's text file."""
        if self.settings.metrics and self.settings.certificates:
            put(Path(self.settings.metrics), metrics(self.health()).encode(), 0o644)


def handed(pem: bytes, host: str, authority: str) -> bytes:
    """Return a PEM as it is handed to a peer: with its source and its digest in a line before it."""
    line = json.dumps({"from": host, "authority": authority, "sha256": hashlib.sha256(pem).hexdigest()})
    return f"{HANDED}{line}\n".encode() + pem


def whole(content: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return the PEM that a peer handed over and what it said of it; Refused where it isn't whole."""
    first, _unused, pem = content.partition(b"\n")
    try:
        said = json.loads(first.removeprefix(HANDED.encode())) if first.startswith(HANDED.encode()) else None
    except ValueError:
        said = None
    if not isinstance(said, dict) or said.get("sha256") != hashlib.sha256(pem).hexdigest():
        raise Refused("The upload isn't whole, or doesn't come from a gateway.")
    return pem, said


def take(folder: Path) -> Iterator[tuple[str, bytes | str]]:
    """Take the uploads out of the drop folder: name and content, or name and why it isn't taken.

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


METRICS = (
    ("not_before_seconds", "When the certificate in use becomes valid, in seconds since 1970."),
    ("not_after_seconds", "When the certificate in use ends, in seconds since 1970."),
    ("presented", "Whether HAProxy presents the certificate that is on the disk."),
    ("self_signed", "Whether it is the self-signed one that clients refuse."),
    ("last_success_seconds", "When a certificate was last put in use, in seconds since 1970."),
    ("last_attempt_failed", "Whether the last attempt to renew failed."),
    ("status", "What the check says: 0 well, 1 warning, 2 critical."),
)


def metrics(found: Iterable[dict[str, Any]]) -> str:
    """Return what the node exporter's textfile collector reads."""
    values: dict[str, list[tuple[str, float]]] = {name: [] for name, _unused in METRICS}

    def seconds(text: str) -> float:
        return dt.datetime.fromisoformat(text).timestamp() if text else 0.0

    for one in found:
        label = f'{{name="{one["name"]}"}}'
        values["not_before_seconds"].append((label, seconds(one.get("not_before", ""))))
        values["not_after_seconds"].append((label, seconds(one.get("not_after", ""))))
        values["presented"].append((label, float(one["presented"])))
        values["self_signed"].append((label, float(one.get("self_signed", False))))
        values["last_success_seconds"].append((label, seconds(one["last_success"])))
        values["last_attempt_failed"].append((label, float(bool(one["last_error"]))))
        values["status"].append((label, float(one["status"])))
    lines = []
    for name, text in METRICS:
        lines += [f"# HELP postern_certificate_{name} {text}", f"# TYPE postern_certificate_{name} gauge"]
        lines += [f"postern_certificate_{name}{label} {value:.0f}" for label, value in values[name]]
    return "\n".join(lines) + "\n"


# --- the command ----------------------------------------------------------------------------------------------------


def show(found: list[dict[str, Any]]) -> str:
    """Return the health as lines for a person."""
    lines = []
    for one in found:
        word = ("OK", "WARNING", "CRITICAL")[one["status"]]
        text = f"{one['name']}: {word}"
        if "not_after" in one:
            text += f", {', '.join(one['names'])} until {one['not_after']} ({one['left']:.0%} of its lifetime left)"
        lines.append(text + "".join(f"; {problem}" for problem in one["problems"]))
    return "\n".join(lines) or "No certificates are declared."


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
        manager = Manager(load(given.settings))
        if given.check:
            found = manager.health()
            print(json.dumps(found, indent=1) if given.json else show(found))
            return max((one["status"] for one in found), default=0)
        if given.action == "install":
            name = given.name or Path(os.environ.get("RENEWED_LINEAGE", "")).name
            manager.install(name)
        elif given.action == "receive":
            said = manager.receive()
        else:
            said = manager.renew(now_all=given.now)
        with contextlib.suppress(OSError):
            manager.write_metrics()
    except Refused as refused:
        said = [str(refused)]
    for sentence in said:
        print(sentence, file=sys.stderr)
    if given.json:
        print(json.dumps({"errors": said}))
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
