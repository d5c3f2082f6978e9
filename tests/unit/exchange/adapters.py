"""A host's network adapters in Python, as the scripts show them, and what the scripts' commands do to them."""

from __future__ import annotations

import ipaddress
from typing import Any

COMMANDS = {
    "Install-LoopbackAdapter",
    "Uninstall-LoopbackAdapter",
    "Disable-NetAdapter",
    "Set-AdapterBinding",
    "Set-NetIPInterface",
    "Set-DnsClient",
    "Set-NetbiosOption",
    "Set-WeakHost",
    "Set-LoopbackAddress",
    "Remove-NetIPAddress",
}


def adapter(name: str, *addresses: str, **more: Any) -> dict[str, Any]:
    """A network adapter with addresses such as 10.0.0.21/24, as Windows has it."""
    return {
        "Name": name,
        "ComponentID": "VMBUS\\{f8615163}",
        "PnPDeviceID": "VMBUS\\{F8615163}",
        "Disabled": False,
        "Bindings": ["ms_lldp", "ms_server", "ms_tcpip", "ms_tcpip6"],
        "InterfaceMetric": 15,
        "AutomaticMetric": "Enabled",
        "Dhcp": "Disabled",
        "WeakHostSend": "Disabled",
        "WeakHostReceive": "Disabled",
        "Addresses": list(addresses),
        "Sources": [text.partition("/")[0] for text in addresses],
        "DnsRegistration": True,
        "NetbiosOption": 0,
        **more,
    }


def loopback(name: str, *addresses: str, device: str = "ROOT\\NET\\0000", **more: Any) -> dict[str, Any]:
    """A loopback adapter as it comes."""
    kind = {"ComponentID": "*msloop", "PnPDeviceID": device, "Dhcp": "Enabled"}
    return adapter(name, *addresses, **{**kind, **more})


def pseudo() -> dict[str, Any]:
    """What every Windows has: an interface without an adapter."""
    nothing: dict[str, Any] = {"ComponentID": None, "PnPDeviceID": None, "Bindings": [], "DnsRegistration": None}
    return adapter("Loopback Pseudo-Interface 1", "127.0.0.1/8", **{**nothing, "NetbiosOption": None})


def act(entries: list[dict[str, Any]], command: str, parameters: dict[str, Any]) -> None:
    """Do what a command does."""
    if command == "Install-LoopbackAdapter":
        return install(entries, parameters["Name"], parameters["DeviceID"])
    if command == "Uninstall-LoopbackAdapter":
        entries[:] = [
            entry for entry in entries if (entry["PnPDeviceID"] or "").lower() != parameters["DeviceID"].lower()
        ]
        return None
    name = parameters.pop("InterfaceAlias", None) or parameters.pop("Name")
    (entry,) = [entry for entry in entries if entry["Name"].lower() == name.lower()]
    if command == "Disable-NetAdapter":
        entry["Disabled"] = True
    elif command == "Set-AdapterBinding":
        entry["Bindings"] = [parameters["ComponentID"]]
    elif command == "Set-DnsClient":
        entry["DnsRegistration"] = parameters["RegisterThisConnectionsAddress"]
    elif command == "Set-NetbiosOption":
        assert entry["Addresses"], "WMI refuses that on an adapter without an address."
        entry["NetbiosOption"] = parameters["Option"]
    elif command in ("Set-LoopbackAddress", "Remove-NetIPAddress"):
        address = parameters["IPAddress"]
        kept = [text for text in entry["Addresses"] if text.partition("/")[0] != address]
        if command == "Set-LoopbackAddress":
            kept.append(f"{ipaddress.IPv4Address(address)}/{parameters['PrefixLength']}")
        entry["Addresses"] = sorted(kept)
        entry["Sources"] = [text for text in entry["Sources"] if text != address]
    else:
        parameters.pop("AddressFamily", None)
        assert set(parameters) <= set(entry)
        entry.update(parameters)
    return None


def install(entries: list[dict[str, Any]], name: str, device: str) -> None:
    """The adapter of this name, or of this device; a new one where there is none."""
    loops = [entry for entry in entries if entry["ComponentID"] == "*msloop"]
    found = [entry for entry in loops if entry["Name"].lower() == name.lower()]
    found = found or [entry for entry in loops if entry["PnPDeviceID"].lower() == device.lower()]
    if not found:
        found = [loopback(name, "169.254.3.4/16", device=device)]
        entries += found
    found[0].update(Name=name, Disabled=False)
