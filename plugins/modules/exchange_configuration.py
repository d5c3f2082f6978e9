# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of exchange_configuration. It runs on the controller: see the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: exchange_configuration
version_added: 0.1.0
short_description: Brings an Exchange server's settings to what is declared
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Reads an Exchange server, compares what it has with the options, applies what differs, and reads it again. That is
    one call of C(ansible.windows.win_shell) where nothing differs and three where something does, whatever the number
    of objects.
  - Only what is named is touched. Values are compared as Exchange means them, in whatever spelling they are written.
  - Receive connectors that were made from here and are no longer named are removed. They are known by
    C([postern.mail_gateway]) in their comment.
  - Before anything is applied, the resulting set of receive connectors is judged. What would be an open relay, would
    let senders from outside pass as trusted, or would cut the mail between Exchange servers is refused.
options:
  server:
    description:
      - The host's own name or full name, where it doesn't know it itself. Empty asks the host.
      - Another server's name is refused.
    type: str
    default: ""
  session:
    description:
      - How Exchange's cmdlets are reached. V(remote) is a remote PowerShell session to the server itself,
        V(management_shell) is what the Exchange Management Shell does. Both need a logon that can be handed on.
      - V(present) is for an endpoint where the cmdlets are there already.
    type: str
    choices: [remote, management_shell, present]
    default: remote
  organization_settings:
    description:
      - Whether O(organization_config), O(transport_config) and O(outlook_providers) are looked at from this server. The
        whole organization has them once, so that one of its servers is enough.
    type: bool
    default: true
  confirm_timeout:
    description:
      - How many seconds a change may take until the server shows it, before that is a failure. All is read from and
        written to one domain controller, so that it shows at once as a rule.
    type: int
    default: 120
  record:
    description:
      - A folder on the controller for recordings. What is read from the server, and what was asked for, is kept in a
        file there, with names, addresses and all else that is private replaced. In check mode as well.
    type: str
    default: ""
  receive_connectors:
    description: Receive connectors.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name. C({server}) in it stands for the server's short name.
        type: str
        default: ""
      default:
        description: In place of a name, the connector of setup by which other Exchange servers reach this one.
        type: bool
        default: false
      state:
        description: Whether it is there.
        type: str
        choices: [present, absent]
        default: present
      properties:
        description:
          - Parameters of C(Set-ReceiveConnector) by their own names. A new connector needs C(Bindings) and
            C(RemoteIPRanges).
          - A property with several items takes a list, which it has afterwards and nothing else, or a dictionary with
            C(add) and C(remove).
        type: dict
        default: {}
      extended_rights:
        description:
          - Who has which extended rights on it, beyond those of its permission groups. Rights that aren't named are
            withdrawn. Where this isn't given, rights stay as they are.
        type: list
        elements: dict
        suboptions:
          user:
            description: The account by its name, such as C(NT AUTHORITY\\ANONYMOUS LOGON), or its SID.
            type: str
            required: true
          rights:
            description: Its rights, such as C(ms-Exch-SMTP-Accept-Any-Recipient).
            type: list
            elements: str
            required: true
  transport:
    description: The transport service.
    type: dict
    suboptions:
      properties:
        description: Parameters of C(Set-TransportService).
        type: dict
        default: {}
  frontend_transport:
    description: The front end transport service.
    type: dict
    suboptions:
      properties:
        description: Parameters of C(Set-FrontendTransportService).
        type: dict
        default: {}
  client_access_service:
    description:
      - The client access service. C(AutoDiscoverServiceInternalUri) is where computers of the domain ask for
        Autodiscover.
    type: dict
    suboptions:
      properties:
        description: Parameters of C(Set-ClientAccessService), which is C(Set-ClientAccessServer) before Exchange 2016.
        type: dict
        default: {}
  organization_config:
    description: The organization's own settings.
    type: dict
    suboptions:
      properties:
        description: Parameters of C(Set-OrganizationConfig).
        type: dict
        default: {}
  transport_config:
    description: The organization's limits and settings of transport.
    type: dict
    suboptions:
      properties:
        description: Parameters of C(Set-TransportConfig).
        type: dict
        default: {}
  outlook_providers:
    description: What Autodiscover tells Outlook by protocol. None is created or removed.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name, V(EXCH), V(EXPR) or V(WEB) as a rule.
        type: str
        required: true
      properties:
        description: Parameters of C(Set-OutlookProvider).
        type: dict
        default: {}
  imap:
    description: IMAP.
    type: dict
    suboptions: &access
      properties:
        description: Parameters of C(Set-ImapSettings), or C(Set-PopSettings).
        type: dict
        default: {}
      enabled:
        description:
          - Whether both services start by themselves and run, and the component is active. Where this isn't given,
            services that run are restarted when the settings change.
        type: bool
  pop:
    description: POP3.
    type: dict
    suboptions: *access
  edge_traversal_ports:
    description:
      - Ports of IMAP and POP clients (110, 143, 993, 995) whose firewall rules allow edge traversal. The rules are
        found by port and program.
    type: list
    elements: int
    default: []
  direct_return:
    description:
      - Direct server return. A loopback adapter has the service addresses, is bound to nothing but IPv4, has the metric
        254, no NetBIOS, and isn't registered in DNS; Windows takes packets for them from the network, and answers from
        them (weak host). Where this isn't given, no adapter is looked at.
      - The adapter is installed where there is none of this name. One of this name that is a loopback adapter is taken.
        It has these addresses afterwards and no others.
    type: dict
    suboptions:
      addresses:
        description: The service addresses (IPv4), each with the length of its prefix; without one it is 32.
        type: list
        elements: str
        default: []
      adapter:
        description: The loopback adapter's name.
        type: str
        default: Direct server return
      interfaces:
        description:
          - Names of the network adapters by which mail comes, for which weak host receive is on. Empty is the adapter
            that has one of O(server_addresses), or the only one that there is.
        type: list
        elements: str
        default: []
      state:
        description:
          - V(absent) switches weak host receive off for O(direct_return.interfaces), removes the addresses and the
            adapter. An adapter that wasn't made from here is disabled instead.
        type: str
        choices: [present, absent]
        default: present
  server_addresses:
    description: Addresses of all Exchange servers of the organisation.
    type: list
    elements: str
    default: []
  gateway_addresses:
    description: Addresses from which anybody's mail comes. No relay range may hold one of them.
    type: list
    elements: str
    default: []
  relay_addresses:
    description: Addresses from which only relay clients come.
    type: list
    elements: str
    default: []
  acknowledged_relay_networks:
    description: Networks of public addresses that may relay without a logon on purpose, together at most
      as many as a /8 of IPv4 and a /16 of IPv6.
    type: list
    elements: str
    default: []
  removable_addresses:
    description: Addresses that may leave connectors which were made from here. C(*) is any. The run ends where another
      one would leave, and nothing is changed.
    type: list
    elements: str
    default: ["*"]
requirements:
  - The collection C(ansible.windows) on the controller.
attributes:
  action:
    description: It runs on the controller, and the server is reached by C(ansible.windows.win_shell).
    support: full
  check_mode:
    description: It reads and plans, and says exactly what it would do.
    support: full
  diff_mode:
    description: The properties that change, an item a line.
    support: full
notes:
  - PowerShell on the server is Windows PowerShell 5.1. The script that is sent is fixed; all data goes by standard
    input, and no value becomes a part of a script.
  - An operation that fails ends the run; the message says what was done before. A new run goes on from there.
"""

EXAMPLES = r"""
- name: Mail of relay clients is accepted, and IMAP offers no NTLM
  postern.mail_gateway.exchange_configuration:
    receive_connectors:
      - name: Relay
        properties:
          Bindings: ["0.0.0.0:25"]
          RemoteIPRanges: [10.10.0.111]
          PermissionGroups: [AnonymousUsers]
        extended_rights:
          - user: NT AUTHORITY\ANONYMOUS LOGON
            rights: [ms-Exch-SMTP-Accept-Any-Recipient]
    imap:
      enabled: true
      properties:
        EnableGSSAPIAndNTLMAuth: false
    gateway_addresses: [10.10.0.11]
    relay_addresses: [10.10.0.111]
    server_addresses: [10.10.0.21, 10.10.0.22]

- name: An older server's default connector names the new servers
  postern.mail_gateway.exchange_configuration:
    receive_connectors:
      - default: true
        properties:
          RemoteIPRanges:
            add: [10.10.0.21, 10.10.0.22]

- name: Computers of the domain ask the gateway's name for Autodiscover, and messages may have 50 MB everywhere
  postern.mail_gateway.exchange_configuration:
    client_access_service:
      properties:
        AutoDiscoverServiceInternalUri: https://autodiscover.example.com/Autodiscover/Autodiscover.xml
    transport_config:
      properties:
        MaxReceiveSize: 50MB
        MaxSendSize: 50MB

- name: The server answers clients that a director sends to it
  postern.mail_gateway.exchange_configuration:
    direct_return:
      addresses: [203.0.113.10]
      interfaces: [Ethernet]
"""

RETURN = r"""
operations:
  description: What is done, or would be in check mode, in order.
  type: list
  elements: str
  returned: success
  sample: ["receive connector EX1\\Relay is created"]
connections:
  description: For each server, gateway and relay address, and for the internet, the connector that takes it on port 25.
  type: list
  elements: dict
  returned: success
  contains:
    who:
      description: C(server), C(gateway), C(relay clients) or C(internet).
      type: str
    address:
      description: The address.
      type: str
    connector:
      description: The connector's name; empty where none takes it.
      type: str
    anonymous:
      description: Whether mail is taken without a logon.
      type: bool
    relay:
      description: Whether mail for anybody is taken without a logon.
      type: bool
server:
  description: The server.
  type: dict
  returned: success
  contains:
    name:
      description: Its short name.
      type: str
    version:
      description: C(2010), C(2013), C(2016), C(2019) or C(SE).
      type: str
    build:
      description: What the server says.
      type: str
back_pressure:
  description: The transport service's word for its load, such as C(Low); empty where it can't be read.
  type: str
  returned: success
"""
