# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the certificates are: for people, for a monitoring check, and for Prometheus."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..host.files import write
from .haproxy_swap import Installer
from .settings import Settings, Wanted, moment, read_state
from .turns import CRITICAL, WARNING
from .x509 import missing_names

METRICS = (
    ("not_before_seconds", "When the certificate in use becomes valid, in seconds since 1970."),
    ("not_after_seconds", "When the certificate in use ends, in seconds since 1970."),
    ("presented", "Whether HAProxy presents the certificate that is on the disk."),
    ("self_signed", "Whether it is the self-signed one that clients refuse."),
    ("last_success_seconds", "When a certificate was last put in use, in seconds since 1970."),
    ("last_attempt_failed", "Whether the last attempt to renew failed."),
    ("status", "What the check says: 0 well, 1 warning, 2 critical."),
)


def health(settings: Settings) -> list[dict[str, Any]]:
    """Return how each certificate is: what is in use, what is presented, and problems with their severity."""
    return [_health(settings, wanted) for wanted in settings.certificates]


def _health(settings: Settings, wanted: Wanted) -> dict[str, Any]:
    installer, state = Installer(settings, wanted), read_state(settings, wanted.name)
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


def write_metrics(settings: Settings) -> None:
    """Write the node exporter's text file."""
    if settings.metrics and settings.certificates:
        write(Path(settings.metrics), metrics(health(settings)).encode())


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
