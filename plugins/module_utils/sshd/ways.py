# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways to log on, as sshd's effective settings allow them (sshd_config(5), ``AuthenticationMethods``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..host.errors import HostError

Settings = Mapping[str, Sequence[str]]
Way = tuple[str, ...]


class NoWay(HostError):
    """None of the ways that ``AuthenticationMethods`` asks for is on: sshd doesn't let anybody in so."""


NO_WAY = "AuthenticationMethods cannot be satisfied"
"""How sshd says it."""

KEY = "publickey"
PASSWORDS = frozenset(("password", "keyboard-interactive"))
_SWITCHES = {
    KEY: "pubkeyauthentication",
    "password": "passwordauthentication",
    "keyboard-interactive": "kbdinteractiveauthentication",
    "gssapi-with-mic": "gssapiauthentication",
    "hostbased": "hostbasedauthentication",
}
#: How much root may do. ``sshd -T`` prints the older name of the third.
_ROOT = {"no": 0, "forced-commands-only": 1, "prohibit-password": 2, "without-password": 2}
_ROOT_ALL = 3


def value(settings: Settings, keyword: str, default: str = "none") -> str:
    """Return the one value of a setting."""
    return " ".join(settings.get(keyword, ())) or default


def root_rank(settings: Settings) -> int:
    """Return how much root may do; 0 is nothing, and what isn't known is most."""
    return _ROOT.get(value(settings, "permitrootlogin", "yes"), _ROOT_ALL)


def ways(settings: Settings, *, root: bool = False) -> set[Way]:
    """Return each sequence of methods that lets somebody in; what isn't known counts as a method that is on.

    :param root: whether it is about root, who has a switch of its own.
    """
    rank = root_rank(settings) if root else _ROOT_ALL
    on = {name for name, keyword in _SWITCHES.items() if value(settings, keyword, "yes") == "yes"}
    if rank == 0:
        on = set()
    elif rank < _ROOT_ALL:
        on -= PASSWORDS
    lists = value(settings, "authenticationmethods", "any")
    if lists == "any":
        return {(name,) for name in on}
    # A device may stand behind a method, as in keyboard-interactive:pam.
    found = [tuple(method.partition(":")[0] for method in methods.split(",")) for methods in lists.split()]
    return {way for way in found if on.issuperset(way)}


def by_key(found: set[Way]) -> set[Way]:
    """Return the ways that take a key, whatever they take besides."""
    return {way for way in found if KEY in way}


def by_password(found: set[Way]) -> set[Way]:
    """Return the ways that take a password or the like, and no key."""
    return {way for way in found if PASSWORDS & set(way) and KEY not in way}
