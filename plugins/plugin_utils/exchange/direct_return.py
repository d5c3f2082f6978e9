# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Direct server return: a loopback adapter has the service addresses, and the server answers from them.

The director hands a client's packet on as it is, addressed to the service. So the server must have that address, must
say so to nobody on the network, must take packets for it that come in by another adapter, and send answers from it by
another one (Windows' weak host model, RFC 1122, section 3.3.4.2).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...module_utils.values.sentences import listed, show
from .actual import Interface, Server
from .kinds.windows import (
    ADD_ADDRESS,
    BIND,
    DIRECT_RETURN,
    DISABLE,
    INSTALL,
    REMOVE_ADDRESS,
    SET_DNS,
    SET_INTERFACE,
    SET_NETBIOS,
    SET_WEAK_HOST,
    UNINSTALL,
)
from .listeners import SERVER_PORTS, Listener
from .neighbourhood import Neighbourhood
from .operations import Difference, Operation, Phase, Plan, step
from .ranges import one_address
from .service_addresses import DesiredDirectReturn

DEVICE = r"ROOT\POSTERN\0000"
"""The id of the device that is made from here. There can be one device of an id, so that there is never a second
adapter; and by it the adapter is known, whatever it is called."""

_PATH = DIRECT_RETURN.variable
_DRIVER = "Microsoft KM-TEST Loopback Adapter"
_IPV4 = "ms_tcpip"
_METRIC = 254
_NETBIOS = {0: "as DHCP says", 1: "on", 2: "off"}
_NETBIOS_OFF = 2


@dataclass(frozen=True)
class _Setting:
    """Something about an adapter, as people read it; where the two differ, the operation makes it so."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    operation: Operation


def plan_direct_return(
    desired: DesiredDirectReturn,
    server: Server,
    neighbourhood: Neighbourhood,
    listeners: Iterable[Listener],
    plan: Plan,
    problems: list[str],
) -> None:
    """Add what is to be done to the plan, or to the problems why it can't be."""
    found = _loopback(desired, server, problems)
    if len(found) > 1:
        names = listed(show(entry.name) for entry in found)
        problems.append(
            f"{server.name} has two loopback adapters that {_PATH} may mean, {names}; rename or remove one."
        )
        return
    adapter = found[0] if found else None
    if desired.present:
        _check_addresses(desired, server, adapter, problems)
        lan = _lan(desired, server, neighbourhood, problems)
        _bring(desired, adapter, lan, plan)
        _warn(desired, server, lan, listeners, plan)
    # One that isn't ours is kept, switched off: what is off is done with.
    elif adapter is not None and (_is_ours(adapter) or not adapter.disabled):
        _withdraw(adapter, _lan(desired, server, neighbourhood, problems), server, plan)


# --- what is there ---------------------------------------------------------------------------------------------------


def _is_ours(adapter: Interface) -> bool:
    return adapter.device.upper() == DEVICE


def _loopback(desired: DesiredDirectReturn, server: Server, problems: list[str]) -> list[Interface]:
    """The loopback adapters that have the name or were made from here."""
    found = []
    for entry in server.interfaces:
        named = entry.name.lower() == desired.adapter.lower()
        if entry.loopback and (named or _is_ours(entry)):
            found.append(entry)
        elif named and desired.present:
            problems.append(
                f"{_PATH}.adapter is {show(desired.adapter)}, which is an adapter of {server.name} that is no "
                "loopback adapter; give another name."
            )
    return found


def _check_addresses(
    desired: DesiredDirectReturn, server: Server, adapter: Interface | None, problems: list[str]
) -> None:
    problems += [
        f"{_PATH}.addresses[{index}] is {address}, which the network adapter {show(entry.name)} of "
        f"{server.name} has already; take it off there, or out here."
        for index, address in enumerate(desired.addresses)
        for entry in server.interfaces
        if entry is not adapter and address in entry.addresses
    ]


def _lan(
    desired: DesiredDirectReturn, server: Server, neighbourhood: Neighbourhood, problems: list[str]
) -> list[Interface]:
    """The adapters by which mail comes.

    They are the named ones; or that which has an address of exchange_server_addresses; or the only one that there is.
    """
    others = [entry for entry in server.interfaces if not entry.loopback and entry.addresses]
    by_name = {entry.name.lower(): entry for entry in others}
    if desired.interfaces:
        if desired.present:
            problems += [
                f"{_PATH}.interfaces[{index}] is {show(name)}, but {server.name} has no such network adapter "
                f"with an IPv4 address; {_which(others)}."
                for index, name in enumerate(desired.interfaces)
                if name.lower() not in by_name
            ]
        return [by_name[name.lower()] for name in desired.interfaces if name.lower() in by_name]
    known = [entry for entry in others if any(one_address(a) in neighbourhood.servers for a in entry.addresses)]
    if known or len(others) == 1:
        return known or others
    problems.append(
        f"{_PATH}.interfaces doesn't say by which network adapter of {server.name} mail comes, and none has an "
        f"address of exchange_server_addresses; {_which(others)}."
    )
    return []


def _which(others: Sequence[Interface]) -> str:
    if not others:
        return "it has none; give it an address first"
    return f"name one of {listed(show(entry.name) for entry in others)}"


# --- what is to be ---------------------------------------------------------------------------------------------------


def _bring(desired: DesiredDirectReturn, adapter: Interface | None, lan: Iterable[Interface], plan: Plan) -> None:
    changes = [setting for setting in _settings(desired, adapter) if setting.before != setting.after]
    operations = [setting.operation for setting in changes]
    before = tuple(line for setting in changes for line in setting.before)
    after = tuple(line for setting in changes for line in setting.after)
    if changes:
        plan.differences.append(Difference(_title(desired.adapter), None if adapter is None else before, after))
    plan.add(operations + _set_weak_receive((entry for entry in lan if not entry.weak_receive), True, plan))


def _settings(desired: DesiredDirectReturn, now: Interface | None) -> Iterator[_Setting]:
    """All settings of the loopback adapter, in the order in which they are made.

    The addresses come when nothing is left that would tell the network about them; NetBIOS can be switched off only on
    an adapter that has an address.
    """
    name, title = desired.adapter, _title(desired.adapter)
    yield _presence(desired, now)
    yield _Setting(
        tuple(f"bound: {component}" for component in sorted(now.bindings)) if now else (),
        (f"bound: {_IPV4}",),
        step(BIND, name, {"ComponentID": _IPV4}, f"{title} is bound to IPv4 alone"),
    )
    yield _Setting(
        (f"metric: {'automatic' if now.automatic_metric else now.metric or 'none'}", f"DHCP: {_on(now.dhcp)}")
        if now
        else (),
        (f"metric: {_METRIC}", "DHCP: off"),
        step(
            SET_INTERFACE,
            name,
            {"AutomaticMetric": "Disabled", "InterfaceMetric": _METRIC, "Dhcp": "Disabled"},
            f"{title} has the metric {_METRIC} and no DHCP",
        ),
    )
    yield _Setting(
        (f"registration in DNS: {_on(now.registers)}",) if now else (),
        ("registration in DNS: off",),
        step(
            SET_DNS,
            name,
            {"RegisterThisConnectionsAddress": False, "UseSuffixWhenRegistering": False},
            f"{title} isn't registered in DNS",
        ),
    )
    yield _Setting(
        (f"weak host send: {_on(now.weak_send)}", f"weak host receive: {_on(now.weak_receive)}") if now else (),
        ("weak host send: on", "weak host receive: on"),
        step(
            SET_WEAK_HOST,
            name,
            {"WeakHostSend": "Enabled", "WeakHostReceive": "Enabled"},
            f"weak host send and receive are on for {title}",
        ),
    )
    yield from _addresses(desired, now)
    yield _Setting(
        (f"NetBIOS: {_netbios(now.netbios)}",) if now else (),
        (f"NetBIOS: {_netbios(_NETBIOS_OFF)}",),
        step(SET_NETBIOS, name, {"Option": _NETBIOS_OFF}, f"NetBIOS is off for {title}"),
    )


def _presence(desired: DesiredDirectReturn, now: Interface | None) -> _Setting:
    """There is an adapter, by its name, and at work."""
    before, after, words = [], [], []
    if now is None:
        after.append(f"driver: {_DRIVER}")
        words.append("is installed")
    elif now.name.lower() != desired.adapter.lower():
        before.append(f"name: {now.name}")
        after.append(f"name: {desired.adapter}")
        words.append(f"has its name (it was {now.name})")
    if now is not None and now.disabled:
        before.append("state: disabled")
        after.append("state: enabled")
        words.append("is enabled")
    what = f"{_title(desired.adapter)} {' and '.join(words)}"
    return _Setting(tuple(before), tuple(after), step(INSTALL, desired.adapter, {"DeviceID": DEVICE}, what))


def _addresses(desired: DesiredDirectReturn, now: Interface | None) -> Iterator[_Setting]:
    title = _title(desired.adapter)
    if now is not None:
        for address in sorted(set(now.addresses) - set(desired.addresses)):
            yield _Setting((_address_line(now, address),), (), _removal(desired.adapter, address))
    for address, prefix in sorted(desired.addresses.items()):
        yield _Setting(
            (_address_line(now, address),) if now is not None and address in now.addresses else (),
            (f"address: {address}/{prefix}, skipped as source",),
            step(
                ADD_ADDRESS,
                desired.adapter,
                {"IPAddress": str(address), "PrefixLength": prefix},
                f"{title} has the address {address}/{prefix}",
            ),
        )


def _address_line(now: Interface, address: ipaddress.IPv4Address) -> str:
    end = "" if address in now.sources else ", skipped as source"
    return f"address: {address}/{now.addresses[address]}{end}"


def _removal(adapter: str, address: ipaddress.IPv4Address, phase: Phase = Phase.MAKE) -> Operation:
    what = f"{_title(adapter)} hasn't the address {address} any more"
    return step(REMOVE_ADDRESS, adapter, {"IPAddress": str(address)}, what, phase)


def _set_weak_receive(entries: Iterable[Interface], on: bool, plan: Plan) -> list[Operation]:
    """First when it goes and last when it comes: from then on packets come in."""
    operations = []
    for entry in entries:
        title = _title(entry.name)
        state, phase = ("Enabled", Phase.GRANT) if on else ("Disabled", Phase.WITHDRAW)
        what = f"weak host receive is {_on(on)} for {title}"
        operations.append(step(SET_WEAK_HOST, entry.name, {"WeakHostReceive": state}, what, phase))
        plan.differences.append(
            Difference(title, (f"weak host receive: {_on(not on)}",), (f"weak host receive: {_on(on)}",))
        )
    return operations


def _title(adapter: str) -> str:
    return f"network adapter {adapter}"


def _on(value: bool) -> str:
    return "on" if value else "off"


def _netbios(option: int | None) -> str:
    return "unknown" if option is None else _NETBIOS.get(option, str(option))


def _warn(
    desired: DesiredDirectReturn, server: Server, lan: Sequence[Interface], listeners: Iterable[Listener], plan: Plan
) -> None:
    """What works against it and isn't ours to change."""
    port = SERVER_PORTS[0]
    local = {
        binding.address
        for listener in listeners
        if listener.enabled
        for binding in listener.bindings
        if binding.version == 4 and binding.port == port
    }
    plan.warnings += [
        f"No receive connector of {server.name} takes connections to {address}:{port}, an address of {_PATH}; "
        f"let one listen on 0.0.0.0:{port}."
        for address in desired.addresses
        if not local & {0, int(address)}
    ]
    # It may have been on the list before, or belong to somebody else; so it is told once, when the list acts.
    if any(not entry.weak_receive for entry in lan):
        plan.warnings += [
            f"Weak host receive is on for the network adapter {show(entry.name)} of {server.name} too, which isn't "
            f"one of {_PATH}.interfaces; switch it off there if nothing else needs it."
            for entry in server.interfaces
            if entry.weak_receive and not entry.loopback and entry not in lan
        ]


# --- withdrawal ------------------------------------------------------------------------------------------------------


def _withdraw(adapter: Interface, lan: Sequence[Interface], server: Server, plan: Plan) -> None:
    """Switch off and remove. The adapter is last, since by it the next run finds what one that was cut short left."""
    title = _title(adapter.name)
    weak = [entry for entry in lan if entry.weak_receive]
    operations = []
    others = [entry.name for entry in server.interfaces if entry.loopback and entry is not adapter and entry.addresses]
    if weak and others:
        plan.warnings.append(
            f"Weak host receive stays on for {listed(show(entry.name) for entry in weak)} of {server.name}, since the "
            f"loopback adapter {listed(map(show, others))} has addresses too; switch it off if they don't need it."
        )
    else:
        operations = _set_weak_receive(weak, False, plan)
    addresses = sorted(adapter.addresses)
    operations += [_removal(adapter.name, address, Phase.REMOVE) for address in addresses]
    lines = tuple(_address_line(adapter, address) for address in addresses)
    if _is_ours(adapter):
        operations.append(step(UNINSTALL, DEVICE, {}, f"{title} is gone", Phase.REMOVE))
        plan.differences.append(Difference(title, (f"driver: {_DRIVER}", *lines), None))
    else:
        what = f"{title} is disabled (it wasn't made from here, so that it isn't removed)"
        operations.append(step(DISABLE, adapter.name, {}, what, Phase.REMOVE))
        plan.differences.append(Difference(title, (*lines, "state: enabled"), ("state: disabled",)))
    plan.add(operations)
