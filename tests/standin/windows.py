# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Windows' own cmdlets do to a server's state: services, firewall, network."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from typing import Any

from . import published, quantities, state
from .clixml import Item, Scalar, Thing
from .management import MAIL_SERVICES, Call, Refusal, Server, cmdlet, unbound

# Services that can't run without another, as in a server's own configuration.
_NEEDS = {"MSExchangeTransport": ["FMS"], "W3SVC": ["WAS"], "MSExchangeIS": ["MSExchangeADTopology"]}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _texts(value: Any, name: str) -> list[str]:
    """A parameter's texts; objects from the pipeline count by their property of that name."""
    found = []
    for item in _listed(value):
        if isinstance(item, Thing):
            found.append(str(item.properties.get(name, item.text)))
        else:
            found.append(str(item))
    return found


def _matches(text: Any, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(str(text).lower(), pattern.lower()) for pattern in patterns)


# Services ----------------------------------------------------------------------------------------


def _show_service(raw: dict[str, Any]) -> Item:
    running = raw["Status"] == "Running"
    return Item(
        "System.ServiceProcess.ServiceController",
        {
            "CanPauseAndContinue": False,
            "CanShutdown": False,
            "CanStop": running,
            "DisplayName": raw.get("DisplayName", raw["Name"]),
            "DependentServices": [name for name, needs in _NEEDS.items() if raw["Name"] in needs],
            "MachineName": ".",
            "ServiceName": raw["Name"],
            "ServicesDependedOn": list(
                _NEEDS.get(raw["Name"], ["MSExchangeADTopology"] if raw["Name"].startswith("MSE") else [])
            ),
            "StartType": raw.get("StartType", "Manual"),
            "Status": raw["Status"],
            "ServiceType": "Win32OwnProcess",
            "Name": raw["Name"],
        },
        raw["Name"],
    )


def _class(name: str) -> str:
    verb, _, noun = name.partition("-")
    return f"Microsoft.PowerShell.Commands.{verb}{noun}Command"


def _services(call: Call, server: Server) -> list[dict[str, Any]]:
    """The services that a call names. Raises Refusal for a plain name that isn't there."""
    every = server.items("Service")
    if call.has("DisplayName") and call.name != "Set-Service":
        patterns = _texts(call.get("DisplayName"), "DisplayName")
        found = [raw for raw in every if _matches(raw.get("DisplayName", ""), patterns)]
        missing = [p for p in patterns if not any(_matches(raw.get("DisplayName", ""), [p]) for raw in every)]
        what = "display name"
    else:
        patterns = _texts(call.get("InputObject"), "Name") or _texts(call.get("Name"), "Name") or ["*"]
        found = [raw for raw in every if _matches(raw["Name"], patterns)]
        missing = [p for p in patterns if not any(_matches(raw["Name"], [p]) for raw in every)]
        what = "service name"
    for pattern in missing:
        if not set(pattern) & set("*?["):
            raise Refusal(
                f"Cannot find any service with {what} '{pattern}'.",
                "ServiceCommandException",
                "ObjectNotFound",
                f"NoServiceFoundForGivenName,{_class(call.name)}",
            )
    excluded = _texts(call.get("Exclude"), "Name")
    included = _texts(call.get("Include"), "Name")
    return [r for r in found if not _matches(r["Name"], excluded) and (not included or _matches(r["Name"], included))]


@cmdlet("Get-Service")
def get_service(call: Call) -> list[Any]:
    found = sorted(_services(call, call.home), key=lambda raw: str(raw["Name"]).lower())
    return [_show_service(raw) for raw in found]


def _cannot(call: Call, verb: str, raw: dict[str, Any], why: str, code: str) -> Refusal:
    return Refusal(
        f"{verb} '{raw.get('DisplayName', raw['Name'])} ({raw['Name']})' {why}",
        "ServiceCommandException",
        "OpenError" if code.startswith("Could") else "InvalidOperation",
        f"{code},{_class(call.name)}",
    )


def start(call: Call, server: Server, raw: dict[str, Any]) -> None:
    if raw["Status"] == "Running":
        return
    if raw.get("StartType") == "Disabled":
        raise _cannot(
            call,
            "Service",
            raw,
            f"cannot be started due to the following error: Cannot start service {raw['Name']} on computer '.'.",
            "CouldNotStartService",
        )
    for needed in _NEEDS.get(raw["Name"], []):
        for other in server.items("Service"):
            if other["Name"] == needed:
                start(call, server, other)
    component = {"msexchangeimap4": "ImapProxy", "msexchangepop3": "PopProxy"}.get(raw["Name"].lower())
    ends = server.document.get("Standin", {}).get("ServicesEndWithComponent")
    if component and ends and not state.load(server.document).active(component):
        return  # it ends as soon as it sees
    raw["Status"] = "Running"
    _take_settings(server, raw["Name"])
    call.changed = True


def stop(call: Call, server: Server, raw: dict[str, Any]) -> None:
    if raw["Status"] == "Stopped":
        return
    dependent = [
        other
        for other in server.items("Service")
        if raw["Name"] in _NEEDS.get(other["Name"], []) and other["Status"] == "Running"
    ]
    if dependent and not call.get("Force"):
        raise _cannot(
            call,
            "Cannot stop service",
            raw,
            "because it has dependent services. It can only be stopped if the Force flag is set.",
            "ServiceHasDependentServices",
        )
    for other in dependent:
        stop(call, server, other)
    raw["Status"] = "Stopped"
    call.changed = True


def _take_settings(server: Server, name: str) -> None:
    """A mail service that starts reads its settings: once all have, the changed ones are in force."""
    kept = server.document.get("SettingsInForce", {})
    for kind, services in MAIL_SERVICES.items():
        if kind in kept and name.lower() in (service.lower() for service in services):
            kept[kind]["Until"] = [service for service in kept[kind]["Until"] if service.lower() != name.lower()]
            if not kept[kind]["Until"]:
                del kept[kind]


def _named(call: Call, server: Server, names: list[str]) -> list[dict[str, Any]]:
    return [raw for raw in server.items("Service") if raw["Name"] in names]


def _passed(call: Call, names: list[str]) -> list[Any]:
    return [_show_service(raw) for raw in _named(call, call.management.home(), names)] if call.get("PassThru") else []


@cmdlet("Start-Service", "Stop-Service", "Restart-Service")
def turn_service(call: Call) -> list[Any]:
    names = [raw["Name"] for raw in _services(call, call.home)]
    if call.get("WhatIf"):
        return []
    again: list[str] = []
    if call.name != "Start-Service":
        with call.management.editing(call.home) as server:
            before = {raw["Name"] for raw in server.items("Service") if raw["Status"] == "Running"}
            for raw in _named(call, server, names):
                stop(call, server, raw)
            again = [r["Name"] for r in server.items("Service") if r["Name"] in before and r["Status"] == "Stopped"]
    if call.name != "Stop-Service":
        # What a restart took along comes back with it.
        with call.management.editing(call.home) as server:
            for raw in _named(call, server, [*names, *(again if call.name == "Restart-Service" else [])]):
                start(call, server, raw)
    return _passed(call, names)


_START_TYPES = {
    "automatic": "Automatic",
    "manual": "Manual",
    "disabled": "Disabled",
    "boot": "Boot",
    "system": "System",
}


@cmdlet("Set-Service")
def set_service(call: Call) -> list[Any]:
    names = [raw["Name"] for raw in _services(call, call.home)]
    kind = None
    if call.has("StartupType"):
        kind = _START_TYPES.get(str(call.get("StartupType")).lower())
        if kind is None:
            raise Refusal(
                f"Cannot bind parameter 'StartupType'. Cannot convert value \"{call.get('StartupType')}\" to type "
                f'"System.ServiceProcess.ServiceStartMode". Error: "Unable to match the identifier name '
                f"{call.get('StartupType')} to a valid enumerator name. Specify one of the following enumerator names "
                f'and try again: Boot, System, Automatic, Manual, Disabled"',
                "ParameterBindingException",
                "InvalidArgument",
                f"CannotConvertArgumentNoMessage,{_class(call.name)}",
            )
    if call.get("WhatIf"):
        return []
    with call.management.editing(call.home) as server:
        for raw in _named(call, server, names):
            if kind and raw.get("StartType") != kind:
                raw["StartType"] = kind
                call.changed = True
            for each in ("DisplayName", "Description"):
                if call.has(each):
                    raw[each] = str(call.get(each))
                    call.changed = True
            status = str(call.get("Status") or "").lower()
            if status == "running":
                start(call, server, raw)
            elif status == "stopped":
                stop(call, server, raw)
    return _passed(call, names)


# Network -----------------------------------------------------------------------------------------

_CIM = "Microsoft.Management.Infrastructure.CimInstance#ROOT/StandardCimv2/"
_GENERATED = "Microsoft.PowerShell.Cmdletization.GeneratedTypes."
# What a call may filter by, and what it may set, by the class of its objects.
_CLASSES = {
    "NetAdapter": "MSFT_NetAdapter",
    "NetAdapterBinding": "MSFT_NetAdapterBindingSettingData",
    "NetIPInterface": "MSFT_NetIPInterface",
    "NetIPAddress": "MSFT_NetIPAddress",
    "DnsClient": "MSFT_DNSClient",
    "NetFirewallRule": "MSFT_NetFirewallRule",
}


def u32(value: Any) -> Scalar:
    return Scalar("U32", str(value))


def _enumerated(call: Call, name: str, value: Any) -> Any:
    """A value of a parameter with published values, as they are spelled. Raises Refusal."""
    fact = published.cmdlets()[call.name]["parameters"][name]
    if "values" not in fact:
        return value
    text = str(value)
    for known in fact["values"]:
        if known.lower() == text.lower():
            return known
    kind = fact["type"].removesuffix("[]")
    raise unbound(
        name,
        text,
        f"{_GENERATED}{call.name.partition('-')[2]}.{kind}",
        f"Unable to match the identifier name {text} to a valid enumerator name. Specify one of the following "
        f"enumerator names and try again: {', '.join(fact['values'])}",
    )


def _integer(call: Call, name: str, value: Any, most: int) -> int:
    try:
        number = quantities.number(value) if not isinstance(value, int) else value
    except quantities.Unfit as problem:
        raise unbound(name, value, "System.UInt32" if most > 255 else "System.Byte", problem) from None
    if not 0 <= number <= most:
        kind = "System.UInt32" if most > 255 else "System.Byte"
        raise unbound(name, value, kind, "Value was either too large or too small.")
    return number


def _failed(call: Call, code: int, message: str, category: str = "NotSpecified") -> Refusal:
    return Refusal(message, "CimException", category, f"Windows System Error {code},{call.name}")


def _nothing(call: Call, name: str, value: Any) -> Refusal:
    kind = _CLASSES[call.name.partition("-")[2]]
    return Refusal(
        f"No {kind} objects found with property '{name}' equal to '{value}'.  Verify the value of the property and "
        f"retry.",
        "CimJobException",
        "ObjectNotFound",
        f"CmdletizationQuery_NotFound_{name},{call.name}",
    )


def _select(call: Call, items: list[dict[str, Any]], filters: tuple[str, ...]) -> list[dict[str, Any]]:
    """The objects that a call means: those from the pipeline, or those that match all its filters."""
    given = [item for item in _listed(call.get("InputObject")) if isinstance(item, Thing)]
    if given:
        keys = ("InterfaceIndex", "AddressFamily", "IPAddress", "ComponentID", "Name")
        return [
            raw
            for raw in items
            if any(
                all(str(raw[k]).lower() == str(item.properties.get(k)).lower() for k in keys if k in raw)
                for item in given
            )
        ]
    found = items
    for name in filters:
        if not call.has(name):
            continue
        wanted = [str(_enumerated(call, name, item)) for item in _listed(call.get(name))]
        for text in wanted:
            if not any(_matches(raw.get(name, ""), [text]) for raw in found) and not set(text) & set("*?["):
                raise _nothing(call, name, text)
        found = [raw for raw in found if _matches(raw.get(name, ""), wanted)]
    return found


def _alias(server: Server, index: int) -> str:
    return next((i["InterfaceAlias"] for i in server.items("NetIPInterface") if i["InterfaceIndex"] == index), "")


def _description(server: Server, name: str) -> str:
    return next((a["InterfaceDescription"] for a in server.items("NetAdapter") if a["Name"] == name), "")


def _show_adapter(raw: dict[str, Any]) -> Item:
    loopback = raw.get("ComponentID", "").lower() == "*msloop"
    up = raw["Status"] == "Up"
    return Item(
        _CIM + "MSFT_NetAdapter",
        {
            "Name": raw["Name"],
            "InterfaceAlias": raw["Name"],
            "InterfaceDescription": raw["InterfaceDescription"],
            "ifIndex": u32(raw["InterfaceIndex"]),
            "InterfaceIndex": u32(raw["InterfaceIndex"]),
            "ifDesc": raw["InterfaceDescription"],
            "ifName": f"ethernet_{raw['InterfaceIndex']}",
            "InterfaceGuid": raw["InterfaceGuid"],
            "Status": raw["Status"],
            "AdminStatus": "Up" if up else "Down",
            "MediaConnectionState": "Connected" if up else "Disconnected",
            "MacAddress": raw["MacAddress"],
            "LinkSpeed": raw["LinkSpeed"],
            "ComponentID": raw["ComponentID"],
            "PnPDeviceID": raw["PnPDeviceID"],
            "DeviceID": raw["InterfaceGuid"],
            "DriverDescription": raw["InterfaceDescription"],
            "DriverFileName": raw["DriverFileName"],
            "DriverProvider": "Microsoft",
            "Virtual": loopback,
            "HardwareInterface": not loopback,
            "ConnectorPresent": not loopback,
        },
    )


@cmdlet("Get-NetAdapter")
def get_net_adapter(call: Call) -> list[Any]:
    found = _select(call, call.home.items("NetAdapter"), ("Name", "InterfaceDescription", "InterfaceIndex"))
    if call.get("Physical"):
        found = [raw for raw in found if raw["ComponentID"].lower() != "*msloop"]
    return [_show_adapter(raw) for raw in found]


@cmdlet("Rename-NetAdapter")
def rename_net_adapter(call: Call) -> list[Any]:
    chosen = _select(call, call.home.items("NetAdapter"), ("Name", "InterfaceDescription"))
    new = str(call.get("NewName") or "")
    if not new or set(new) & set('\\/:*?"<>|'):
        raise _failed(call, 87, "The parameter is incorrect.", "InvalidArgument")
    with call.management.editing(call.home) as server:
        for raw in server.items("NetAdapter"):
            if raw["Name"] not in [each["Name"] for each in chosen] or raw["Name"] == new:
                continue
            if any(other["Name"].lower() == new.lower() for other in server.items("NetAdapter") if other is not raw):
                raise _failed(call, 183, "Cannot create a file when that file already exists.", "ResourceExists")
            for kind, key in (
                ("NetAdapterBinding", "Name"),
                ("NetIPInterface", "InterfaceAlias"),
                ("DnsClient", "InterfaceAlias"),
            ):
                for item in server.items(kind):
                    if item[key] == raw["Name"]:
                        item[key] = new
            raw["Name"] = new
            call.changed = True
        shown = [_show_adapter(raw) for raw in server.items("NetAdapter") if raw["Name"] == new]
    return shown if call.get("PassThru") else []


@cmdlet("Enable-NetAdapter", "Disable-NetAdapter")
def turn_net_adapter(call: Call) -> list[Any]:
    chosen = _select(call, call.home.items("NetAdapter"), ("Name", "InterfaceDescription"))
    status = "Up" if call.name.startswith("Enable") else "Disabled"
    with call.management.editing(call.home) as server:
        for raw in server.items("NetAdapter"):
            if raw["Name"] in [each["Name"] for each in chosen] and raw["Status"] != status:
                raw["Status"] = status
                call.changed = True
    return []


def _show_binding(server: Server, raw: dict[str, Any]) -> Item:
    return Item(
        _CIM + "MSFT_NetAdapterBindingSettingData",
        {
            "Name": raw["Name"],
            "ifAlias": raw["Name"],
            "InterfaceAlias": raw["Name"],
            "InterfaceDescription": _description(server, raw["Name"]),
            "ifDesc": _description(server, raw["Name"]),
            "DisplayName": raw["DisplayName"],
            "ComponentID": raw["ComponentID"],
            "Enabled": raw["Enabled"],
        },
    )


@cmdlet("Get-NetAdapterBinding")
def get_net_adapter_binding(call: Call) -> list[Any]:
    found = _select(call, call.home.items("NetAdapterBinding"), ("Name", "ComponentID", "DisplayName"))
    return [_show_binding(call.home, raw) for raw in found]


@cmdlet("Enable-NetAdapterBinding", "Disable-NetAdapterBinding")
def turn_net_adapter_binding(call: Call) -> list[Any]:
    enabled = call.name.startswith("Enable")
    with call.management.editing(call.home) as server:
        chosen = _select(call, server.items("NetAdapterBinding"), ("Name", "ComponentID", "DisplayName"))
        for raw in chosen:
            if raw["Enabled"] != enabled and not call.get("WhatIf"):
                raw["Enabled"] = enabled
                call.changed = True
        shown = [_show_binding(server, raw) for raw in chosen]
    return shown if call.get("PassThru") else []


def _show_interface(raw: dict[str, Any]) -> Item:
    numbers = {"InterfaceIndex", "NlMtu", "InterfaceMetric"}
    shown = {name: u32(value) if name in numbers else value for name, value in raw.items()}
    shown |= {"ifIndex": u32(raw["InterfaceIndex"]), "ifAlias": raw["InterfaceAlias"], "NlMtuBytes": u32(raw["NlMtu"])}
    shown |= {"CompartmentId": u32(1), "Store": "ActiveStore", "PolicyStore": "ActiveStore"}
    return Item(_CIM + "MSFT_NetIPInterface", shown)


_INTERFACE_FILTERS = ("InterfaceIndex", "InterfaceAlias", "AddressFamily")


@cmdlet("Get-NetIPInterface")
def get_net_ip_interface(call: Call) -> list[Any]:
    filters = (*_INTERFACE_FILTERS, "WeakHostSend", "WeakHostReceive", "AutomaticMetric", "Dhcp", "ConnectionState")
    items = call.home.items("NetIPInterface")
    adapter = call.get("AssociatedAdapter")
    if isinstance(adapter, Thing):
        items = [raw for raw in items if str(raw["InterfaceIndex"]) == str(adapter.properties.get("InterfaceIndex"))]
    return [_show_interface(raw) for raw in _select(call, items, filters)]


@cmdlet("Set-NetIPInterface")
def set_net_ip_interface(call: Call) -> list[Any]:
    with call.management.editing(call.home) as server:
        chosen = _select(call, server.items("NetIPInterface"), _INTERFACE_FILTERS)
        wanted: dict[str, Any] = {}
        for name in ("WeakHostSend", "WeakHostReceive", "AutomaticMetric", "Dhcp", "Forwarding", "Advertising"):
            if call.has(name):
                wanted[name] = _enumerated(call, name, call.get(name))
        if call.has("InterfaceMetric"):
            wanted["InterfaceMetric"] = _integer(call, "InterfaceMetric", call.get("InterfaceMetric"), 2**32 - 1)
            wanted.setdefault("AutomaticMetric", "Disabled")
        if call.has("NlMtuBytes"):
            wanted["NlMtu"] = _integer(call, "NlMtuBytes", call.get("NlMtuBytes"), 2**32 - 1)
        for raw in chosen if not call.get("WhatIf") else []:
            if any(raw.get(name) != value for name, value in wanted.items()):
                raw.update(wanted)
                call.changed = True
        shown = [_show_interface(raw) for raw in chosen]
    return shown if call.get("PassThru") else []


def _family(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return f"IPv{address.version}"


def _show_address(server: Server, raw: dict[str, Any], store: str = "ActiveStore") -> Item:
    return Item(
        _CIM + "MSFT_NetIPAddress",
        {
            "IPAddress": raw["IPAddress"],
            "InterfaceIndex": u32(raw["InterfaceIndex"]),
            "ifIndex": u32(raw["InterfaceIndex"]),
            "InterfaceAlias": _alias(server, raw["InterfaceIndex"]),
            "AddressFamily": "IPv6" if ":" in raw["IPAddress"] else "IPv4",
            "PrefixLength": Scalar("By", str(raw["PrefixLength"])),
            "Type": "Unicast",
            "PrefixOrigin": "Manual",
            "SuffixOrigin": "Manual",
            "AddressState": "Preferred",
            "ValidLifetime": Scalar("TS", "P10675199DT2H48M5.4775807S"),
            "PreferredLifetime": Scalar("TS", "P10675199DT2H48M5.4775807S"),
            "SkipAsSource": bool(raw.get("SkipAsSource")),
            "PolicyStore": store,
            "Store": store,
        },
        raw["IPAddress"],
    )


def _addresses(call: Call, server: Server) -> list[dict[str, Any]]:
    """The addresses with what a filter may ask for; the same objects as in the state."""
    filters = ("IPAddress", "InterfaceIndex", "InterfaceAlias", "AddressFamily", "PrefixLength", "SkipAsSource")
    views = [
        raw
        | {
            "InterfaceAlias": _alias(server, raw["InterfaceIndex"]),
            "AddressFamily": "IPv6" if ":" in raw["IPAddress"] else "IPv4",
        }
        for raw in server.items("NetIPAddress")
    ]
    chosen = [(view["IPAddress"], view["InterfaceIndex"]) for view in _select(call, views, filters)]
    return [raw for raw in server.items("NetIPAddress") if (raw["IPAddress"], raw["InterfaceIndex"]) in chosen]


@cmdlet("Get-NetIPAddress")
def get_net_ip_address(call: Call) -> list[Any]:
    return [_show_address(call.home, raw) for raw in _addresses(call, call.home)]


@cmdlet("New-NetIPAddress")
def new_net_ip_address(call: Call) -> list[Any]:
    try:
        address = ipaddress.ip_address(str(call.get("IPAddress")))
    except ValueError:
        raise _failed(call, 87, "Invalid parameter IPAddress ", "InvalidArgument") from None
    length = _integer(call, "PrefixLength", call.get("PrefixLength", address.max_prefixlen), 255)
    if length > address.max_prefixlen:
        raise _failed(call, 87, "Invalid parameter PrefixLength ", "InvalidArgument")
    with call.management.editing(call.home) as server:
        index = next(
            (
                raw["InterfaceIndex"]
                for raw in server.items("NetIPInterface")
                if (call.has("InterfaceIndex") and str(raw["InterfaceIndex"]) == str(call.get("InterfaceIndex")))
                or (
                    call.has("InterfaceAlias")
                    and raw["InterfaceAlias"].lower() == str(call.get("InterfaceAlias")).lower()
                )
            ),
            None,
        )
        if index is None:
            raise _failed(call, 1168, "Element not found. ", "ObjectNotFound")
        if any(raw["IPAddress"] == str(address) for raw in server.items("NetIPAddress")):
            raise _failed(call, 5010, "Instance MSFT_NetIPAddress already exists ", "ResourceExists")
        raw = {
            "IPAddress": str(address),
            "PrefixLength": length,
            "InterfaceIndex": index,
            "SkipAsSource": bool(call.get("SkipAsSource", False)),
        }
        if not call.get("WhatIf"):
            server.items("NetIPAddress").append(raw)
            for interface in server.items("NetIPInterface"):
                if interface["InterfaceIndex"] == index and interface["AddressFamily"] == _family(address):
                    interface["Dhcp"] = "Disabled"
            call.changed = True
    return [_show_address(call.home, raw, store) for store in ("ActiveStore", "PersistentStore")]


@cmdlet("Set-NetIPAddress")
def set_net_ip_address(call: Call) -> list[Any]:
    with call.management.editing(call.home) as server:
        # PrefixLength and SkipAsSource are what is set here, and no filters.
        target = Call(
            call.management,
            call.name,
            {k: v for k, v in call.parameters.items() if k not in ("PrefixLength", "SkipAsSource")},
            server,
            None,
        )
        for raw in _addresses(target, server) if not call.get("WhatIf") else []:
            wanted: dict[str, Any] = {}
            if call.has("SkipAsSource"):
                wanted["SkipAsSource"] = bool(call.get("SkipAsSource"))
            if call.has("PrefixLength"):
                wanted["PrefixLength"] = _integer(call, "PrefixLength", call.get("PrefixLength"), 128)
            raw.update(wanted)
            call.changed = True
    return []


@cmdlet("Remove-NetIPAddress")
def remove_net_ip_address(call: Call) -> list[Any]:
    with call.management.editing(call.home) as server:
        gone = _addresses(call, server)
        if not call.get("WhatIf"):
            server.document["NetIPAddress"] = [raw for raw in server.items("NetIPAddress") if raw not in gone]
            call.changed = bool(gone)
    return []


def _show_dns_client(raw: dict[str, Any]) -> Item:
    return Item(_CIM + "MSFT_DNSClient", {**raw, "InterfaceIndex": u32(raw["InterfaceIndex"])})


@cmdlet("Get-DnsClient")
def get_dns_client(call: Call) -> list[Any]:
    return [
        _show_dns_client(r) for r in _select(call, call.home.items("DnsClient"), ("InterfaceIndex", "InterfaceAlias"))
    ]


@cmdlet("Set-DnsClient")
def set_dns_client(call: Call) -> list[Any]:
    names = ("RegisterThisConnectionsAddress", "UseSuffixWhenRegistering")
    with call.management.editing(call.home) as server:
        for raw in _select(call, server.items("DnsClient"), ("InterfaceIndex", "InterfaceAlias")):
            wanted = {name: bool(call.get(name)) for name in names if call.has(name)}
            if call.has("ConnectionSpecificSuffix"):
                wanted["ConnectionSpecificSuffix"] = str(call.get("ConnectionSpecificSuffix") or "")  # type: ignore[assignment]
            if any(raw.get(name) != value for name, value in wanted.items()) and not call.get("WhatIf"):
                raw.update(wanted)
                call.changed = True
    return []


@cmdlet("Get-NetIPConfiguration")
def get_net_ip_configuration(call: Call) -> list[Any]:
    server = call.home
    found = _select(
        call,
        [raw | {"InterfaceAlias": raw["Name"]} for raw in server.items("NetAdapter")],
        ("InterfaceIndex", "InterfaceAlias"),
    )
    return [
        Item(
            "NetIPConfiguration",
            {
                "InterfaceAlias": raw["Name"],
                "InterfaceIndex": raw["InterfaceIndex"],
                "InterfaceDescription": raw["InterfaceDescription"],
                "IPv4Address": [
                    _show_address(server, each)
                    for each in server.items("NetIPAddress")
                    if each["InterfaceIndex"] == raw["InterfaceIndex"] and ":" not in each["IPAddress"]
                ],
                "ComputerName": server.name,
            },
        )
        for raw in found
    ]


# Firewall ----------------------------------------------------------------------------------------


def _show_rule(raw: dict[str, Any]) -> Item:
    source = raw.get("PolicyStoreSourceType", "Local")
    return Item(
        _CIM + "MSFT_NetFirewallRule",
        {
            "Name": raw["Name"],
            "ID": raw["Name"],
            "DisplayName": raw["DisplayName"],
            "Group": raw.get("Group", ""),
            "DisplayGroup": raw.get("DisplayGroup", raw.get("Group", "")),
            "Enabled": raw["Enabled"],
            "Profile": raw["Profile"],
            "Direction": raw["Direction"],
            "Action": raw["Action"],
            "EdgeTraversalPolicy": raw["EdgeTraversalPolicy"],
            "Description": raw.get("Description"),
            "Owner": None,
            "LooseSourceMapping": False,
            "LocalOnlyMapping": False,
            "PrimaryStatus": "OK",
            "Status": "The rule was parsed successfully from the store. (65536)",
            "PolicyStoreSource": raw.get("PolicyStoreSource", "PersistentStore"),
            "PolicyStoreSourceType": source,
            "InstanceID": raw["Name"],
        },
        raw["Name"],
    )


def _of_store(call: Call, server: Server) -> list[dict[str, Any]]:
    """The rules of the store that is asked for: the computer's own; the active one has group policy's as well."""
    every = server.items("NetFirewallRule")
    if str(call.get("PolicyStore") or "").lower() in ("activestore", "rsop"):
        return every
    return [raw for raw in every if raw.get("PolicyStoreSourceType", "Local") == "Local"]


_RULE_FILTERS = (
    "Name",
    "DisplayName",
    "Group",
    "DisplayGroup",
    "Enabled",
    "Direction",
    "Action",
    "EdgeTraversalPolicy",
)


def _rules_of(call: Call, server: Server) -> list[dict[str, Any]]:
    for name in ("AssociatedNetFirewallPortFilter", "AssociatedNetFirewallApplicationFilter"):
        if isinstance(call.get(name), Thing):
            wanted = str(call.get(name).properties.get("InstanceID"))
            return [raw for raw in server.items("NetFirewallRule") if raw["Name"] == wanted]
    given = [item for item in _listed(call.get("InputObject")) if isinstance(item, Thing)]
    if given:
        names = [str(item.properties.get("Name")) for item in given]
        return [raw for raw in server.items("NetFirewallRule") if raw["Name"] in names]
    filters = _RULE_FILTERS if call.name.startswith("Get-") else ("Name", "DisplayName", "Group", "DisplayGroup")
    views = [raw | {"DisplayGroup": raw.get("DisplayGroup", raw.get("Group", ""))} for raw in _of_store(call, server)]
    names = [view["Name"] for view in _select(call, views, filters)]
    return [raw for raw in _of_store(call, server) if raw["Name"] in names]


@cmdlet("Get-NetFirewallRule")
def get_net_firewall_rule(call: Call) -> list[Any]:
    return [_show_rule(raw) for raw in _rules_of(call, call.home)]


@cmdlet("Set-NetFirewallRule")
def set_net_firewall_rule(call: Call) -> list[Any]:
    wanted: dict[str, Any] = {}
    for name in ("EdgeTraversalPolicy", "Enabled", "Action", "Profile", "Direction"):
        if call.has(name):
            wanted[name] = _enumerated(call, name, call.get(name))
    if call.has("LocalPort"):
        wanted["LocalPort"] = [str(port) for port in _listed(call.get("LocalPort"))]
    for name in ("Program", "Protocol", "Description"):
        if call.has(name):
            wanted[name] = str(call.get(name))
    if call.has("NewDisplayName"):
        wanted["DisplayName"] = str(call.get("NewDisplayName"))
    with call.management.editing(call.home) as server:
        chosen = _rules_of(call, server)
        for raw in chosen:
            if raw.get("PolicyStoreSourceType", "Local") != "Local":
                raise _failed(call, 5, "Access is denied. ", "PermissionDenied")
            after = raw | wanted
            if after["EdgeTraversalPolicy"] != "Block" and (
                after["Direction"] != "Inbound" or after["Action"] != "Allow"
            ):
                raise _failed(
                    call, 87, "The EdgeTraversalPolicy is valid only for inbound allow rules. ", "InvalidArgument"
                )
            if after != raw and not call.get("WhatIf"):
                raw.update(wanted)
                call.changed = True
        shown = [_show_rule(raw) for raw in chosen]
    return shown if call.get("PassThru") else []


def _filtered(call: Call) -> list[dict[str, Any]]:
    rule = call.get("AssociatedNetFirewallRule")
    if rule is not None:
        names = [str(item.properties.get("Name")) for item in _listed(rule) if isinstance(item, Thing)]
        return [raw for raw in call.home.items("NetFirewallRule") if raw["Name"] in names]
    return _of_store(call, call.home)


@cmdlet("Get-NetFirewallPortFilter")
def get_net_firewall_port_filter(call: Call) -> list[Any]:
    found = []
    for raw in _filtered(call):
        ports = raw.get("LocalPort", ["Any"])
        if call.has("Protocol") and not _matches(raw.get("Protocol", "Any"), _texts(call.get("Protocol"), "")):
            continue
        found.append(
            Item(
                _CIM + "MSFT_NetProtocolPortFilter",
                {
                    "Protocol": raw.get("Protocol", "Any"),
                    # One port is a text, several are a list of texts.
                    "LocalPort": ports if len(ports) > 1 else ports[0],
                    "RemotePort": "Any",
                    "IcmpType": "Any",
                    "DynamicTarget": "Any",
                    "InstanceID": raw["Name"],
                    "CreationClassName": f"MSFT|FW|FirewallRule|{raw['Name']}",
                },
            )
        )
    return found


@cmdlet("Get-NetFirewallApplicationFilter")
def get_net_firewall_application_filter(call: Call) -> list[Any]:
    return [
        Item(
            _CIM + "MSFT_NetApplicationFilter",
            {
                "Program": raw.get("Program", "Any"),
                "AppPath": raw.get("Program", "Any"),
                "Package": None,
                "InstanceID": raw["Name"],
                "CreationClassName": f"MSFT|FW|FirewallRule|{raw['Name']}",
            },
        )
        for raw in _filtered(call)
        if not call.has("Program") or _matches(raw.get("Program", "Any"), _texts(call.get("Program"), ""))
    ]


# WMI ---------------------------------------------------------------------------------------------

_WMI = "Microsoft.Management.Infrastructure.CimInstance#root/cimv2/"


def _adapter_configuration(server: Server, raw: dict[str, Any]) -> dict[str, Any]:
    index = raw["InterfaceIndex"]
    addresses = [each["IPAddress"] for each in server.items("NetIPAddress") if each["InterfaceIndex"] == index]
    client = next((each for each in server.items("DnsClient") if each["InterfaceIndex"] == index), {})
    return {
        "Index": u32(index - 1),
        "InterfaceIndex": u32(index),
        "Description": raw["InterfaceDescription"],
        "Caption": f"[{index - 1:08}] {raw['InterfaceDescription']}",
        "SettingID": raw["InterfaceGuid"],
        "IPEnabled": bool(addresses),
        "IPAddress": addresses or None,
        "MACAddress": raw["MacAddress"].replace("-", ":"),
        "DHCPEnabled": False,
        "TcpipNetbiosOptions": u32(raw.get("TcpipNetbiosOptions", 0)),
        "FullDNSRegistrationEnabled": bool(client.get("RegisterThisConnectionsAddress", True)),
        "DomainDNSRegistrationEnabled": bool(client.get("UseSuffixWhenRegistering", False)),
    }


def _wmi(server: Server, name: str) -> list[dict[str, Any]] | None:
    if name == "win32_networkadapterconfiguration":
        return [_adapter_configuration(server, raw) for raw in server.items("NetAdapter")]
    if name == "win32_service":
        modes = {"Automatic": "Auto"}
        return [
            {
                "Name": raw["Name"],
                "DisplayName": raw.get("DisplayName", raw["Name"]),
                "State": raw["Status"],
                "StartMode": modes.get(raw.get("StartType", "Manual"), raw.get("StartType", "Manual")),
                "Started": raw["Status"] == "Running",
            }
            for raw in server.items("Service")
        ]
    if name == "win32_operatingsystem":
        return [{"Caption": "Microsoft Windows Server 2019 Standard", "Version": "10.0.17763", "CSName": server.name}]
    if name == "win32_computersystem":
        return [{"Name": server.name, "Domain": server.domain, "PartOfDomain": True}]
    return None


def _plain(value: Any) -> str:
    text = value.text if isinstance(value, Scalar) else str(value)
    return text.lower()


def _where(call: Call, items: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """The items that a filter of comparisons, joined by `and`, lets through."""
    for part in re.split(r"(?i)\s+and\s+", text.strip()) if text.strip() else []:
        found = re.fullmatch(r"\s*(\w+)\s*(=|<>|!=|like)\s*['\"]?(.*?)['\"]?\s*", part, re.IGNORECASE)
        if not found:
            raise Refusal(
                "Invalid query ", "CimException", "InvalidArgument", f"HRESULT 0x80041017,{_class(call.name)}"
            )
        name, operator, wanted = found[1].lower(), found[2].lower(), found[3].lower()
        pattern = wanted.replace("%", "*").replace("_", "?") if operator == "like" else wanted

        def fits(item: dict[str, Any], name: str = name, operator: str = operator, pattern: str = pattern) -> bool:
            value = next((_plain(item[key]) for key in item if key.lower() == name), "")
            same = fnmatch.fnmatchcase(value, pattern) if operator == "like" else value == pattern
            return same != (operator in ("<>", "!="))

        items = [item for item in items if fits(item)]
    return items


@cmdlet("Get-CimInstance")
def get_cim_instance(call: Call) -> list[Any]:
    name, text = str(call.get("ClassName") or ""), str(call.get("Filter") or "")
    if call.has("Query"):
        found = re.fullmatch(r"(?is)\s*select\s+.+?\s+from\s+(\w+)(?:\s+where\s+(.+))?", str(call.get("Query")))
        if not found:
            raise Refusal(
                "Invalid query ", "CimException", "InvalidArgument", f"HRESULT 0x80041017,{_class(call.name)}"
            )
        name, text = found[1], found[2] or ""
    items = _wmi(call.home, name.lower())
    if items is None:
        raise Refusal("Invalid class ", "CimException", "MetadataError", f"HRESULT 0x80041010,{_class(call.name)}")
    spelled = {
        "win32_networkadapterconfiguration": "Win32_NetworkAdapterConfiguration",
        "win32_service": "Win32_Service",
    }
    return [Item(_WMI + spelled.get(name.lower(), name), item) for item in _where(call, items, text)]


def _done(status: int) -> Item:
    return Item("Microsoft.Management.Infrastructure.CimMethodResult", {"ReturnValue": u32(status)})


@cmdlet("Invoke-CimMethod")
def invoke_cim_method(call: Call) -> list[Any]:
    """What a network adapter's configuration can be told: NetBIOS, and registration in DNS."""
    method = str(call.get("MethodName") or "").lower()
    raw_arguments = call.get("Arguments") or {}
    arguments = {key.lower(): value for key, value in raw_arguments.items()} if isinstance(raw_arguments, dict) else {}
    chosen = [
        item.properties.get("InterfaceIndex") for item in _listed(call.get("InputObject")) if isinstance(item, Thing)
    ]
    if call.has("Query"):
        found = get_cim_instance(Call(call.management, call.name, {"Query": call.get("Query")}, call.home, None))
        chosen = [int(item.properties["InterfaceIndex"].text) for item in found]
    results = []
    with call.management.editing(call.home) as server:
        for raw in server.items("NetAdapter"):
            if raw["InterfaceIndex"] not in chosen:
                continue
            if method == "settcpipnetbios":
                if not any(each["InterfaceIndex"] == raw["InterfaceIndex"] for each in server.items("NetIPAddress")):
                    results.append(_done(84))  # "IP not enabled on adapter"
                    continue
                option = _integer(call, "Arguments", arguments.get("tcpipnetbiosoptions", 0), 2)
                call.changed = raw.get("TcpipNetbiosOptions", 0) != option
                raw["TcpipNetbiosOptions"] = option
            elif method == "setdynamicdnsregistration":
                for client in server.items("DnsClient"):
                    if client["InterfaceIndex"] == raw["InterfaceIndex"]:
                        client["RegisterThisConnectionsAddress"] = bool(arguments.get("fulldnsregistrationenabled"))
                        client["UseSuffixWhenRegistering"] = bool(arguments.get("domaindnsregistrationenabled"))
                        call.changed = True
            else:
                raise Refusal(
                    "Invalid method ", "CimException", "MetadataError", f"HRESULT 0x8004102E,{_class(call.name)}"
                )
            results.append(_done(0))
    return results
