# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the program for certificates is told by the role, and what it remembers between two runs."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..host.errors import HostError
from ..host.files import write
from ..host.locks import lock_path, locked

SETTINGS = Path("/etc/postern/certificates.json")
PROGRAM = Path("/usr/local/sbin/postern-certificates")


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
    http_port: int = 842
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
        """Return the certificate of this name; HostError where it isn't declared."""
        for certificate in self.certificates:
            if certificate.name == name:
                return certificate
        known = ", ".join(certificate.name for certificate in self.certificates)
        raise HostError(f"'{name}' is not among this host's certificates ({known or 'none'}).")


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
        raise HostError(f"{path} isn't there; run the role letsencrypt for this host.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HostError(f"{path} can't be read ({error}); run the role letsencrypt for this host.") from None


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
        write(state_path(settings, state.name), (json.dumps(asdict(state), indent=1) + "\n").encode(), 0o644)


def now() -> str:
    """Return the time in UTC, as in ``2026-01-31T12:00:00+00:00``."""
    return moment(time.time())


def moment(seconds: float) -> str:
    """Return seconds since 1970 as a time in UTC."""
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).isoformat(timespec="seconds")


@contextlib.contextmanager
def hold(settings: Settings, name: str, seconds: float = 60) -> Iterator[None]:
    """Hold one of this host's locks; HostError where somebody else keeps it for so long."""
    path = lock_path(name, Path(settings.locks))
    with locked(
        path, f"Another run has held {path} for {seconds:.0f} seconds; wait for it to end and run again.", seconds
    ):
        yield
