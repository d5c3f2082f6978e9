# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A receive connector, there or to be, as safety looks at it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...module_utils.values.sentences import listed, show
from .actual import Object, Server
from .changes import Change, Unread, actual_value
from .kinds.receive_connectors import JUDGED_BY, RECEIVE_CONNECTOR
from .listeners import Listener
from .marks import is_unseen
from .values import Name, read_name


def new_connector(server: Server) -> Judged:
    """What New-ReceiveConnector -Usage Custom gives a connector that nobody said otherwise about, in exact form."""
    values = {
        "Enabled": True,
        "TransportRole": None if server.version == "2010" else "FrontendTransport",
        "AuthMechanism": frozenset(("Tls",)),
        "PermissionGroups": frozenset(),
        "Fqdn": read_name(server.fqdn),
        "Banner": None,
    }
    return Judged(values, {})


@dataclass(frozen=True)
class Judged:
    """The properties by which safety is judged, as far as they are understood, and what of each isn't."""

    values: Mapping[str, Any]
    unread: Mapping[str, str]

    @property
    def groups(self) -> frozenset[str]:
        """The permission groups."""
        return flag_set(self.values["PermissionGroups"])

    def changed(self, changes: Iterable[Change]) -> Judged:
        """With the values that these properties get."""
        after = {change.property.name: change.after for change in changes}
        return Judged({**self.values, **after}, {name: text for name, text in self.unread.items() if name not in after})


def read_judged(raw: Mapping[str, Any]) -> Judged:
    """A connector's: each item by itself: one that isn't understood hides no other."""
    values: dict[str, Any] = {}
    unread: dict[str, str] = {}
    for name in JUDGED_BY:
        entry = RECEIVE_CONNECTOR.entry(name)
        if not entry.type.many:
            value = actual_value(entry, raw.get(name))
            values[name] = None if isinstance(value, Unread) else value
            continue
        values[name], strange = entry.type.read_known(raw.get(name))
        if not entry.type.items(raw.get(name)):
            # Exchange has a word for each of these, "None" among them.
            unread[name] = f"its {name} isn't shown"
        elif strange:
            unread[name] = f"its {name} holds {listed(map(show, strange))}, which isn't understood"
    return Judged(values, unread)


def listener_of(connector: Object) -> Listener:
    """A connector that is there, as safety looks at it."""
    return listener(connector.name, read_judged(connector.raw), connector.rights, connector)


def listener(
    name: str, judged: Judged, rights: Mapping[Name, frozenset[Name]], existing: Object | None = None
) -> Listener:
    """A connector as it will be, as safety looks at it."""
    exact = judged.values
    fqdn, banner = exact["Fqdn"], exact["Banner"]
    given = {user.key: frozenset(right.key for right in names) for user, names in rights.items()}
    for user, keys in (existing.standing if existing else {}).items():
        given[user] = given.get(user, frozenset()) | keys
    return Listener(
        name=name,
        # Whatever isn't plainly off is taken to be on.
        enabled=exact["Enabled"] is not False,
        role=exact["TransportRole"] or "",
        bindings=flag_set(exact["Bindings"]),
        ranges=flag_set(exact["RemoteIPRanges"]),
        mechanisms=flag_set(exact["AuthMechanism"]),
        groups=flag_set(exact["PermissionGroups"]),
        fqdn=fqdn.spelling if isinstance(fqdn, Name) else "",
        banner=banner if isinstance(banner, str) else "",
        rights=given,
        doubts=(*judged.unread.values(), *(existing.doubts if existing else ())),
        unbounded="RemoteIPRanges" in judged.unread,
        standing=existing.standing if existing else {},
        unseen=existing is not None and is_unseen(RECEIVE_CONNECTOR.mark, existing.raw),
    )


def flag_set(value: Any) -> frozenset[Any]:
    """Several items, or none where they can't be read."""
    return value if isinstance(value, frozenset) else frozenset()
