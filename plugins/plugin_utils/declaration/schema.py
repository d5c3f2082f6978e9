# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema of the declaration, in one place.

Validation, defaults and the reference page (docs/declaration.md) are all made from the tables in this file.
It holds data only and imports nothing of the collection, so that the page's generator can load it by path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

GATEWAYS = "gateways"
"""The inventory group whose hosts are the gateways."""

LEGACY_GROUP = "exchange_legacy"

# What a value may be. The first four are YAML's own; the others are texts with a meaning.
DICTIONARY = "dictionary"
LIST = "list"
BOOLEAN = "boolean"
INTEGER = "integer"
CHOICE = "choice"  # one of the option's choices
GROUP = "group"  # the name of an inventory group
FQDN = "name"  # fully qualified, ASCII, no wildcard
CERTIFICATE_NAME = "certificate name"  # FQDN, or a wildcard for one label: *.example.com
ADDRESS = "address"  # one unicast IPv4 or IPv6 address
NETWORK = "network"  # CIDR, or an address alone for one host
HOST = "host"  # address or host name (resolved by the gateway)
FILE = "file"  # absolute path of a file on the controller
IDENTIFIER = "identifier"  # a-z, 0-9 and hyphens: becomes part of names in HAProxy's configuration
ACCOUNT = "account"  # the name of an account on the gateway
AUTHORITY = "certificate authority"  # letsencrypt, letsencrypt-staging, or the https:// address of an ACME directory
EMAIL = "e-mail address"
PUBLIC_KEY = "public key"  # one line as in sshd(8), "AUTHORIZED_KEYS FILE FORMAT"
COMMENT = "comment"  # a few words on one line
KEY_ID = "key identifier"  # RFC 8555 7.3.4
HMAC_KEY = "HMAC key"  # base64url, and never quoted
SERVER = "server"  # the name of a host in the inventory, or an address


@dataclass(frozen=True)
class Option:
    """One key of the declaration, or one host variable.

    ``default`` is what stands in when the key is missing. ``default_text`` says in words what the default is where
    it depends on other keys; the value is then computed (declaration.complete). ``minimum`` and ``maximum`` limit
    an integer. ``at_least`` is the smallest number of entries of a list. ``elements`` describes the
    entries of a list, ``options`` the keys of a dictionary.
    """

    name: str
    type: str
    description: str
    required: bool = False
    default: Any = None
    default_text: str = ""
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    at_least: int = 0
    elements: Option | None = None
    options: tuple[Option, ...] = ()
    optional_text: bool = False  # the empty string may be written, and means the default
    loopback: bool = False  # a host may be the gateway itself
    example: Any = None
    since: str = "0.1.0"


@dataclass(frozen=True)
class VirtualDirectory:
    """A virtual directory of Exchange: its name in the declaration, its path, and its health page.

    Source: Exchange's Managed Availability answers 200 at <path>/healthcheck.htm while the protocol is healthy.
    """

    name: str
    path: str

    @property
    def health_path(self) -> str:
        """The path of the health page."""
        return f"{self.path}/healthcheck.htm"


VIRTUAL_DIRECTORIES = (
    VirtualDirectory("owa", "/owa"),
    VirtualDirectory("ecp", "/ecp"),
    VirtualDirectory("ews", "/ews"),
    VirtualDirectory("mapi", "/mapi"),
    VirtualDirectory("rpc", "/rpc"),
    VirtualDirectory("oab", "/OAB"),
    VirtualDirectory("activesync", "/Microsoft-Server-ActiveSync"),
    VirtualDirectory("autodiscover", "/Autodiscover"),
    VirtualDirectory("powershell", "/PowerShell"),
    VirtualDirectory("rest", "/api"),
)
_DIRECTORY_NAMES = tuple(directory.name for directory in VIRTUAL_DIRECTORIES)

RESERVED_WEBSITE_NAMES = ("mail",)
"""Names of certificates that the derivation gives itself."""


@dataclass(frozen=True)
class TcpService:
    """A TCP service that is passed on to Exchange: HAProxy's name for it, its port, and what publishes it.

    ``declared`` are the keys of the declaration that must all be true, ``check`` is how the service's health is asked
    (``haproxy_checks`` in the role haproxy).
    """

    name: str
    port: int
    check: str
    declared: tuple[tuple[str, str], ...]


SMTP = TcpService("smtp", 25, "smtp", (("smtp", "enabled"),))
SUBMISSION = TcpService("submission", 587, "submission", (("smtp", "enabled"), ("smtp", "submission")))
IMAP = tuple(TcpService(name, port, name, (("imap", "enabled"),)) for name, port in (("imap", 143), ("imaps", 993)))
POP = tuple(TcpService(name, port, name, (("pop", "enabled"),)) for name, port in (("pop3", 110), ("pop3s", 995)))
TCP_SERVICES = (SMTP, SUBMISSION, *IMAP, *POP)
HTTP_PORTS = (80, 443)
ACME_PORT = 842
"""Where an ACME client listens on the gateway's loopback address while it is validated."""
SSH_PORT = 22

_ENABLED = "Whether the gateway publishes it."
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f anna"
_MANAGED = "Whether it is set up from here. Otherwise the gateway's own stays as it is."


def _port(description: str, **more: Any) -> Option:
    return Option("port", INTEGER, description, minimum=1, maximum=65535, **more)


def _networks(name: str, description: str, **more: Any) -> Option:
    return Option(name, LIST, description, elements=Option("network", NETWORK, "A network."), **more)


def _limit(name: str, default: int, description: str) -> Option:
    return Option(name, INTEGER, description, default=default, minimum=1, maximum=1_000_000, example=default)


DECLARATION = Option(
    "mail_gateway",
    DICTIONARY,
    "What the gateways of one site publish, for whom, and which servers are behind them.",
    required=True,
    options=(
        Option(
            "hostname",
            FQDN,
            "The name by which clients reach the gateway, and by which the gateway asks the servers (Host, TLS, EHLO). "
            "It is in the certificate.",
            required=True,
            example="mail.example.com",
        ),
        Option(
            "domains",
            LIST,
            "The mail domains. Each one has the name `autodiscover.<domain>` published besides the hostname.",
            required=True,
            at_least=1,
            elements=Option("domain", FQDN, "A mail domain."),
            example=["example.com", "example.org"],
        ),
        Option(
            "admin_networks",
            LIST,
            "Networks of the administrators. They reach what is closed to everybody else "
            "(`https.internal_only`) and the servers' health pages.",
            required=True,
            at_least=1,
            elements=Option("network", NETWORK, "A network."),
            example=["198.51.100.0/24", "2001:db8:a::/64"],
        ),
        Option(
            "monitoring_networks",
            LIST,
            "Networks that reach the statistics page and the Prometheus metrics. Empty: only the gateway itself does.",
            default=(),
            elements=Option("network", NETWORK, "A network."),
            example=["10.20.0.10", "10.20.0.11"],
        ),
        Option(
            "service_addresses",
            LIST,
            "The addresses of the gateway that clients reach. Empty: every address that the host has.",
            default=(),
            elements=Option("address", ADDRESS, "An address."),
            example=["203.0.113.10", "2001:db8:25::10"],
        ),
        Option(
            "ipv6",
            BOOLEAN,
            "Whether the gateway listens on IPv6.",
            default_text="true where `service_addresses` is empty or holds an IPv6 address",
            example=True,
        ),
        Option(
            "exchange",
            DICTIONARY,
            "The Exchange servers behind the gateway.",
            options=(
                Option(
                    "managed",
                    BOOLEAN,
                    "Whether they are set up from here, too. Otherwise they stay as they are.",
                    default=True,
                    example=True,
                ),
                Option(
                    "group",
                    GROUP,
                    "The inventory group of the servers.",
                    default="exchange",
                    example="exchange",
                ),
                Option(
                    "legacy_group",
                    GROUP,
                    "The inventory group of older servers that stay for a while. Their default receive connectors "
                    "name the servers of `group`, so that mail finds its way between them. It needn't exist.",
                    default=LEGACY_GROUP,
                    example="exchange_legacy",
                ),
                Option(
                    "protocol_logging",
                    BOOLEAN,
                    "Whether the servers log SMTP: on the receive connectors that are made from here, and on the "
                    "hidden connectors by which servers send to each other.",
                    default=True,
                    example=True,
                ),
                Option(
                    "edge_traversal",
                    BOOLEAN,
                    "Whether the Windows firewall lets IMAP and POP clients in through Teredo and the like (edge "
                    "traversal), on the client ports that are published.",
                    default=False,
                    example=False,
                ),
                Option(
                    "ca_file",
                    FILE,
                    "PEM file on the controller with the certificate of the authority that signed the servers' "
                    "certificate. Empty: the gateway's own trust store.",
                    default="",
                    optional_text=True,
                    example="{{ inventory_dir }}/files/company-ca.pem",
                ),
            ),
        ),
        Option(
            "https",
            DICTIONARY,
            "Exchange's web services: Outlook, Outlook on the web, ActiveSync and the rest.",
            options=(
                Option("enabled", BOOLEAN, _ENABLED, default=True, example=True),
                Option(
                    "virtual_directories",
                    LIST,
                    "The virtual directories that are published. A path that isn't on the list is refused.",
                    default=_DIRECTORY_NAMES,
                    at_least=1,
                    elements=Option("directory", CHOICE, "A virtual directory.", choices=_DIRECTORY_NAMES),
                    example=["owa", "ecp", "ews", "mapi", "oab", "activesync", "autodiscover"],
                ),
                Option(
                    "internal_only",
                    LIST,
                    "The published virtual directories that only the administrators' networks reach.",
                    default=("ecp", "powershell"),
                    elements=Option("directory", CHOICE, "A virtual directory.", choices=_DIRECTORY_NAMES),
                    example=["ecp"],
                ),
                Option(
                    "long_poll_timeout",
                    INTEGER,
                    "Seconds that a request may stay without an answer. ActiveSync's heartbeat lasts up to 3540.",
                    default=3900,
                    minimum=60,
                    maximum=86400,
                    example=3900,
                ),
                Option(
                    "limits",
                    DICTIONARY,
                    "What one client (one IPv4 address, one IPv6 /64) may do before it is slowed down. Many users "
                    "behind one address count as one client.",
                    options=(
                        _limit("connections", 500, "Connections at once."),
                        _limit("connection_rate", 300, "New connections in 10 seconds."),
                        _limit("request_rate", 2000, "Requests in 10 seconds."),
                        _limit(
                            "failed_logons", 10, "Failed logons in 10 minutes, less those that went well after one."
                        ),
                    ),
                ),
            ),
        ),
        Option(
            "smtp",
            DICTIONARY,
            "Mail from other servers, from clients, and from the hosts that may relay.",
            options=(
                Option("enabled", BOOLEAN, _ENABLED, default=True, example=True),
                Option(
                    "mode",
                    CHOICE,
                    "How connections reach Exchange. `proxy`: through HAProxy; Exchange sees the gateway's address.",
                    default="proxy",
                    choices=("proxy",),
                    example="proxy",
                ),
                Option("submission", BOOLEAN, "Whether port 587 is published too.", default=True, example=True),
                Option(
                    "relay_clients",
                    LIST,
                    "Hosts and networks that may relay through Exchange without a logon. Their connections reach "
                    "Exchange from `mail_gateway_relay_address`, those of everybody else from "
                    "`mail_gateway_egress_address`; Exchange's relay connector admits the former alone. Public "
                    "addresses are named one by one.",
                    default=(),
                    elements=Option("network", NETWORK, "A network."),
                    example=["10.30.0.25", "10.30.1.0/28"],
                ),
            ),
        ),
        Option(
            "imap",
            DICTIONARY,
            "IMAP on ports 143 and 993.",
            options=(
                Option("enabled", BOOLEAN, _ENABLED, default=True, example=True),
                Option(
                    "ntlm",
                    BOOLEAN,
                    "Whether the servers offer NTLM and GSSAPI to IMAP clients. A client behind a gateway can't "
                    "complete them, and then doesn't try a password.",
                    default=False,
                    example=False,
                ),
            ),
        ),
        Option(
            "pop",
            DICTIONARY,
            "POP3 on ports 110 and 995.",
            options=(Option("enabled", BOOLEAN, _ENABLED, default=True, example=False),),
        ),
        Option(
            "certificate",
            DICTIONARY,
            "The certificate that clients of Exchange see.",
            options=(
                Option(
                    "names",
                    LIST,
                    "The names in the certificate. A wildcard (`*.example.com`) covers one label. The gateway answers "
                    "for the hostname, for each `autodiscover.<domain>` that the names cover, and for the other names.",
                    default_text="the hostname and `autodiscover.<domain>` for each domain",
                    at_least=1,
                    elements=Option("name", CERTIFICATE_NAME, "A name."),
                    example=["mail.example.com", "autodiscover.example.com", "autodiscover.example.org"],
                ),
                Option(
                    "file",
                    FILE,
                    "PEM file on the controller with the private key, the certificate and its chain; the servers must "
                    "hold the same certificate. It may be encrypted with Ansible Vault. Empty: `authority` issues "
                    "it; where none is declared, a self-signed one is made on the gateway until there is another.",
                    default="",
                    optional_text=True,
                    example="{{ inventory_dir }}/files/mail.pem",
                ),
                Option(
                    "authority",
                    AUTHORITY,
                    "Who issues the certificates that no file is given for, those of `websites` too: `letsencrypt`, "
                    "`letsencrypt-staging` for trials, or the address of another ACME directory. They are renewed "
                    "without Ansible. Empty: nobody.",
                    default="",
                    optional_text=True,
                    example="letsencrypt",
                ),
                Option(
                    "authority_ca_file",
                    FILE,
                    "PEM file on the controller with the root that the ACME server's own certificate is verified "
                    "against, for an authority of your own. Empty: the gateway's own trust store.",
                    default="",
                    optional_text=True,
                    example="{{ inventory_dir }}/files/company-root.pem",
                ),
                Option(
                    "contact",
                    EMAIL,
                    "The e-mail address that the authority gets for its account. Empty: none.",
                    default="",
                    optional_text=True,
                    example="hostmaster@example.com",
                ),
                Option(
                    "external_account_key_id",
                    KEY_ID,
                    "For an authority that binds ACME accounts to accounts of its own (external account binding): the "
                    "key identifier that it gave. The key itself is a secret, and stands in "
                    "`mail_gateway_external_account_hmac_key`. Empty: none.",
                    default="",
                    optional_text=True,
                    example="Zk3vT9sQ",
                ),
            ),
        ),
        Option(
            "ssh",
            DICTIONARY,
            "How administrators log on to the gateways: by key, and by nothing else.",
            options=(
                Option("managed", BOOLEAN, _MANAGED, default=True, example=True),
                _networks(
                    "networks",
                    "The networks from which SSH is reached, where the firewall is managed. Ansible comes from one of "
                    "them.",
                    default_text="`admin_networks`",
                    at_least=1,
                    example=["198.51.100.0/24", "2001:db8:a::/64", "10.20.0.40"],
                ),
                Option(
                    "ports",
                    LIST,
                    "The ports that sshd listens on. Empty: those that it has. Where a port moves, name the old one "
                    "too until the inventory has the new one (`ansible_port`).",
                    default=(),
                    elements=_port("A port."),
                    example=[22],
                ),
                Option(
                    "root_logon",
                    CHOICE,
                    "Whether `root` logs on by key, or not at all.",
                    default="key",
                    choices=("key", "none"),
                    example="none",
                ),
                Option(
                    "older_clients",
                    BOOLEAN,
                    "Whether a key exchange is offered that OpenSSH before 8.5 and libraries like Paramiko know. A "
                    "quantum computer may open it one day.",
                    default=False,
                    example=False,
                ),
                Option(
                    "administrators",
                    LIST,
                    "Accounts that exist on the gateways, and the keys with which their owners log on.",
                    default=(),
                    elements=Option(
                        "administrator",
                        DICTIONARY,
                        "An account.",
                        options=(
                            Option("user", ACCOUNT, "Its name.", required=True, example="anna"),
                            Option(
                                "keys",
                                LIST,
                                "Its public keys, each the line of a `.pub` file.",
                                required=True,
                                at_least=1,
                                elements=Option("key", PUBLIC_KEY, "A key."),
                                example=[_KEY],
                            ),
                            Option(
                                "exclusive",
                                BOOLEAN,
                                "Whether keys in the account's own folder count no longer.",
                                default=False,
                                example=False,
                            ),
                        ),
                    ),
                ),
            ),
        ),
        Option(
            "firewall",
            DICTIONARY,
            "ufw on the gateways. Open are SSH for `ssh.networks`, what is published for everybody, and the metrics "
            "for `monitoring_networks`.",
            options=(
                Option("managed", BOOLEAN, _MANAGED, default=True, example=True),
                Option(
                    "exact",
                    BOOLEAN,
                    "Whether rules that others made are removed. Otherwise they stay.",
                    default=False,
                    example=False,
                ),
                Option(
                    "open",
                    LIST,
                    "What else is open, for programs of your own on the gateways.",
                    default=(),
                    elements=Option(
                        "opening",
                        DICTIONARY,
                        "Ports, and who reaches them.",
                        options=(
                            Option(
                                "ports",
                                LIST,
                                "The ports.",
                                required=True,
                                at_least=1,
                                elements=_port("A port."),
                                example=[9100],
                            ),
                            Option(
                                "protocol",
                                CHOICE,
                                "Their protocol.",
                                default="tcp",
                                choices=("tcp", "udp"),
                                example="tcp",
                            ),
                            _networks(
                                "networks",
                                "The networks that reach them. Empty: everybody does.",
                                default=(),
                                example=["10.20.0.10"],
                            ),
                            Option(
                                "comment",
                                COMMENT,
                                "What it is for; ufw shows it.",
                                required=True,
                                example="node exporter",
                            ),
                        ),
                    ),
                ),
            ),
        ),
        Option(
            "fail2ban",
            DICTIONARY,
            "Fail2Ban on the gateways: who fails at logons too often (SSH, and the web services where HTTPS is "
            "published) is shut out for a while. Administrators, the gateways and the servers never are.",
            options=(
                Option("managed", BOOLEAN, _MANAGED, default=True, example=True),
                Option(
                    "max_retry",
                    INTEGER,
                    "Failed logons of one client at SSH within `find_time` that lead to a ban. At the web services "
                    "those are banned whom HAProxy holds back (`https.limits.failed_logons`).",
                    default=6,
                    minimum=1,
                    maximum=1000,
                    example=6,
                ),
                Option("find_time", INTEGER, "Seconds.", default=600, minimum=1, maximum=86_400, example=600),
                Option(
                    "ban_time",
                    INTEGER,
                    "Seconds of a client's first ban. Each further one is twice as long.",
                    default=3600,
                    minimum=1,
                    maximum=31_536_000,
                    example=3600,
                ),
                Option(
                    "max_ban_time",
                    INTEGER,
                    "Seconds of the longest ban.",
                    default=604_800,
                    minimum=1,
                    maximum=31_536_000,
                    example=604_800,
                ),
                _networks(
                    "ignored_networks",
                    "Networks that are never banned, such as a branch office behind one address.",
                    default=(),
                    example=["203.0.113.128/28"],
                ),
            ),
        ),
        Option(
            "websites",
            LIST,
            "Other web sites behind the same gate: TLS ends at the gateway, plain HTTP goes on to the servers.",
            default=(),
            elements=Option(
                "website",
                DICTIONARY,
                "A web site.",
                options=(
                    Option(
                        "name",
                        IDENTIFIER,
                        "A short name for the site in HAProxy's configuration and log.",
                        required=True,
                        example="www",
                    ),
                    Option(
                        "hostnames",
                        LIST,
                        "The names by which clients reach the site.",
                        required=True,
                        at_least=1,
                        elements=Option("name", FQDN, "A name."),
                        example=["www.example.com", "example.com"],
                    ),
                    Option(
                        "servers",
                        LIST,
                        "The servers that hold the site.",
                        required=True,
                        at_least=1,
                        elements=Option(
                            "server",
                            DICTIONARY,
                            "A server.",
                            options=(
                                Option(
                                    "address",
                                    HOST,
                                    "Its address or host name.",
                                    required=True,
                                    loopback=True,
                                    example="10.40.0.10",
                                ),
                                Option(
                                    "port",
                                    INTEGER,
                                    "Its port for plain HTTP.",
                                    required=True,
                                    minimum=1,
                                    maximum=65535,
                                    example=8080,
                                ),
                            ),
                        ),
                    ),
                    Option("http2", BOOLEAN, "Whether HTTP/2 is offered to clients.", default=True, example=True),
                    Option(
                        "certificate_file",
                        FILE,
                        "PEM file on the controller with the private key, the certificate and its chain. It may be "
                        "encrypted with Ansible Vault. Empty: `certificate.authority` issues it; where none is "
                        "declared, a self-signed one is made on the gateway until there is another.",
                        default="",
                        optional_text=True,
                        example="{{ inventory_dir }}/files/www.pem",
                    ),
                ),
            ),
        ),
        Option(
            "metrics_port",
            INTEGER,
            "The port of the statistics page and the metrics.",
            default=8404,
            minimum=1,
            maximum=65535,
            example=8404,
        ),
        Option(
            "site",
            IDENTIFIER,
            "The site's name. Needed where an inventory has more than one declaration: each names its site, and hosts "
            "whose declarations name the same one are of that site.",
            default="",
            optional_text=True,
            example="munich",
        ),
    ),
)

EGRESS_ADDRESS = Option(
    "mail_gateway_egress_address",
    ADDRESS,
    "The gateway's address from which connections to Exchange come. Needed where `smtp.relay_clients` isn't empty; "
    "otherwise the kernel chooses when there is none.",
    optional_text=True,
    example="10.10.0.11",
)
RELAY_ADDRESS = Option(
    "mail_gateway_relay_address",
    ADDRESS,
    "A second address of the gateway, from which connections of `smtp.relay_clients` reach Exchange. Needed where "
    "that list isn't empty, of no use otherwise.",
    optional_text=True,
    example="10.10.0.111",
)
EXTERNAL_ACCOUNT_HMAC_KEY = Option(
    "mail_gateway_external_account_hmac_key",
    HMAC_KEY,
    "The key that the authority gave with `certificate.external_account_key_id`. It isn't part of the declaration, "
    "which may be shown; keep it in Ansible Vault, in the variables of the same group.",
    optional_text=True,
)
SERVER_ADDRESS = Option(
    "mail_gateway_server_address",
    HOST,
    "The address or host name by which the gateways reach the Exchange server.",
    default_text="`ansible_host`, else the name in the inventory",
    example="10.10.0.21",
)
SERVER_WEIGHT = Option(
    "mail_gateway_server_weight",
    INTEGER,
    "The Exchange server's share of new connections in proportion to the others; 0 sends it none.",
    default=100,
    minimum=0,
    maximum=256,
    example=100,
)
ANSIBLE_PORT = Option("ansible_port", INTEGER, "The port of sshd.", minimum=1, maximum=65535)
REMOVED = Option(
    "mail_gateway_removed",
    LIST,
    "What left the inventory for good: Exchange servers by name or address, gateways by the addresses that Exchange "
    "knows. It is said once, best on the command line (`-e mail_gateway_removed=ex2`). What is in service and isn't "
    "named stays in service, and the run ends.",
    default=(),
    elements=Option("host", SERVER, "A host."),
    example=["ex2", "10.10.0.12"],
)
GATEWAY_VARIABLES = (EGRESS_ADDRESS, RELAY_ADDRESS, EXTERNAL_ACCOUNT_HMAC_KEY)
SERVER_VARIABLES = (SERVER_ADDRESS, SERVER_WEIGHT)
HOST_VARIABLES = (
    *(option.name for option in (*GATEWAY_VARIABLES, *SERVER_VARIABLES)),
    "ansible_host",
    "ansible_port",
)
"""The host variables that are ever read, and no others: reading one may mean evaluating its template."""

PLAYBOOKS: dict[str, tuple[Option, ...]] = {
    "drain": (
        Option("drain_server", SERVER, "The server, by its name in the inventory.", example="ex1"),
        Option(
            "drain_state",
            CHOICE,
            "Whether it is taken out of rotation, or put back.",
            default="drained",
            choices=("drained", "ready"),
            example="ready",
        ),
        Option(
            "drain_wait",
            INTEGER,
            "Seconds that its last sessions may take.",
            default=0,
            minimum=0,
            maximum=86_400,
            example=600,
        ),
    ),
    "renew": (),
}
"""The playbooks that are for an operation, each with its parameters: extra variables."""
RUN_VARIABLES = (REMOVED, *(option for options in PLAYBOOKS.values() for option in options))

AWX_VARIABLES = tuple(
    f"{prefix}_{name}"
    for prefix in ("awx", "tower")
    for name in ("job_slice_count", "job_template_name", "workflow_job_name")
)
"""What AWX tells a job of itself, as far as it matters here."""
