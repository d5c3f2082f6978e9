# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows around Exchange: the firewall's rules for clients, and the adapters of direct server return."""

from __future__ import annotations

from ..concepts import Call, WindowsKind

ALLOW_EDGE_TRAVERSAL = Call("Set-NetFirewallRule", by="Name", always=(("EdgeTraversalPolicy", "Allow"),))

EDGE_TRAVERSAL = WindowsKind(
    variable="exchange_edge_traversal_ports",
    get=Call("Get-LocalPortFirewallRule"),
    steps=(ALLOW_EDGE_TRAVERSAL,),
    options={"type": "list", "elements": "int", "default": []},
)

INSTALL = Call("Install-LoopbackAdapter", by="Name")
UNINSTALL = Call("Uninstall-LoopbackAdapter", by="DeviceID")
DISABLE = Call("Disable-NetAdapter", by="Name", always=(("Confirm", False),))
BIND = Call("Set-AdapterBinding", by="Name")
SET_INTERFACE = Call("Set-NetIPInterface", by="InterfaceAlias", always=(("AddressFamily", "IPv4"),))
SET_DNS = Call("Set-DnsClient", by="InterfaceAlias")
SET_NETBIOS = Call("Set-NetbiosOption", by="InterfaceAlias")
SET_WEAK_HOST = Call("Set-WeakHost", by="InterfaceAlias")
ADD_ADDRESS = Call("Set-LoopbackAddress", by="InterfaceAlias")
REMOVE_ADDRESS = Call("Remove-NetIPAddress", by="InterfaceAlias", always=(("Confirm", False),))

DEFAULT_ADAPTER = "Direct server return"
"""The loopback adapter's name where nobody gives another one."""

DIRECT_RETURN = WindowsKind(
    variable="exchange_direct_return",
    get=Call("Get-HostInterface"),
    steps=(
        *(INSTALL, BIND, SET_INTERFACE, SET_DNS, SET_WEAK_HOST, ADD_ADDRESS, SET_NETBIOS),
        *(REMOVE_ADDRESS, UNINSTALL, DISABLE),
    ),
    options={
        "type": "dict",
        "options": {
            "addresses": {"type": "list", "elements": "str", "default": []},
            "adapter": {"type": "str", "default": DEFAULT_ADAPTER},
            "interfaces": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
    },
)
