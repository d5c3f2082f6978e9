"""The lab's zones: what the name server answers, which depends on the network that is asked from.

Every host sees names resolve to addresses that it can reach, as with the internal and external zones of a company.
"""

from ipaddress import ip_address

from lab.topology import DOMAIN, GATEWAYS, HOSTS, NETWORKS, RELAY_NUMBERS, address, subnets

#: Names that the gateways answer for, on every network.
PUBLISHED = ("mail", "autodiscover", "www", "webmail")
HEAD = """\
$TTL 60
@ SOA dns.{domain}. hostmaster.{domain}. 1 3600 600 86400 60
@ NS dns.{domain}.
"""


def _both(slot: int, network: str, number: int) -> list[tuple[str, str]]:
    return [("A", address(slot, network, number)), ("AAAA", address(slot, network, number, 6))]


def _host_records(slot: int, view: str) -> list[tuple[str, str, str]]:
    """Name, type and address of each host; of those that aren't on this network, with the network that they are on."""
    records = []
    for host in HOSTS.values():
        network = view if view in host.numbers else next(iter(host.numbers))
        records += [(host.name, kind, value) for kind, value in _both(slot, network, host.numbers[network])]
    return records


def forward_zone(slot: int, view: str) -> str:
    """Return the zone example.test as hosts of the network ``view`` see it."""
    lines = [HEAD.format(domain=DOMAIN)]
    senders = [value for name in GATEWAYS for value in _both(slot, "outside", HOSTS[name].numbers["outside"])]
    spf = " ".join(f"{'ip4' if kind == 'A' else 'ip6'}:{value}" for kind, value in senders)
    lines += [f"@ MX 10 mail.{DOMAIN}.", f'@ TXT "v=spf1 {spf} -all"', '_dmarc TXT "v=DMARC1; p=reject"']
    records = _host_records(slot, view)
    for name in PUBLISHED:
        for gateway in GATEWAYS:
            lines += [f"{name} {kind} {value}" for kind, value in _both(slot, view, HOSTS[gateway].numbers[view])]
    for gateway, number in RELAY_NUMBERS.items():
        lines.append(f"{gateway}-relay A {address(slot, 'inside', number)}")
    lines += [f"{name} {kind} {value}" for name, kind, value in records]
    return "\n".join(lines) + "\n"


def reverse_name(network: str, slot: int, family: int) -> str:
    """Return the name of the zone that holds a network's pointers."""
    subnet = subnets(slot, network)[0 if family == 4 else 1]
    labels = ip_address(subnet.network_address).reverse_pointer.split(".")
    # The host part: one octet, or sixteen half-octets.
    return ".".join(labels[1:] if family == 4 else labels[16:])


def reverse_zone(slot: int, network: str, family: int) -> str:
    """Return the zone with the pointers of all hosts of a network."""
    lines = [HEAD.format(domain=DOMAIN)]
    pointers = [(host.numbers[network], host.name) for host in HOSTS.values() if network in host.numbers]
    if network == "inside" and family == 4:
        pointers += [(number, f"{gateway}-relay") for gateway, number in RELAY_NUMBERS.items()]
    for number, name in sorted(pointers):
        pointer = ip_address(address(slot, network, number, family)).reverse_pointer
        lines.append(f"{pointer}. PTR {name}.{DOMAIN}.")
    return "\n".join(lines) + "\n"


def name_server_files(slot: int) -> dict[str, str]:
    """Return the name server's whole configuration: file name below /etc/bind/lab and content."""
    files = {}
    configuration = ['options { directory "/var/cache/bind"; recursion no; notify no; allow-transfer { none; }; };']
    reverse = {}
    for network in NETWORKS:
        for family in (4, 6):
            zone = reverse_name(network, slot, family)
            reverse[zone] = f"{network}.{family}"
            files[reverse[zone]] = reverse_zone(slot, network, family)
    for view in NETWORKS:
        files[f"{view}.{DOMAIN}"] = forward_zone(slot, view)
        clients = " ".join(f"{subnet};" for subnet in subnets(slot, view))
        if view == "inside":
            clients += " localhost;"
        zones = {DOMAIN: f"{view}.{DOMAIN}", **reverse}
        body = [f'zone "{zone}" {{ type primary; file "/etc/bind/lab/{file}"; }};' for zone, file in zones.items()]
        configuration.append(f'view "{view}" {{ match-clients {{ {clients} }}; {" ".join(body)} }};')
    files["named.conf"] = "\n".join(configuration) + "\n"
    return files
