"""A world in which everything is right, and what the judges say of it, a row for each check."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from zones import Zones

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks.judge import block_lists, receivers, senders
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks.mta_sts import Fetched
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks.outcomes import Row

HOST, DOMAIN = "mail.example.test", "example.test"
SERVICE, OUTGOING = ["192.0.2.10", "2001:db8::10"], ["192.0.2.20"]
LIST = "bl.example.test"
POLICY = "version: STSv1\nmode: enforce\nmx: mail.example.test\nmax_age: 604800\n"


@cache
def rsa_key(bits: int, encoding: str = "spki") -> str:
    """A public key as a DKIM record holds it."""
    formats = {"spki": PublicFormat.SubjectPublicKeyInfo, "pkcs1": PublicFormat.PKCS1}
    if bits < 1024:  # nobody makes such keys any more, but they are still published
        key = rsa.RSAPublicNumbers(65537, 2**bits - 1).public_key()
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=bits).public_key()
    return base64.b64encode(key.public_bytes(Encoding.DER, formats[encoding])).decode()


@cache
def ed25519_key() -> str:
    """A public key of Ed25519: 32 bytes."""
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def right() -> dict[str, dict[str, Any]]:
    """Zones in which nothing is wrong."""
    return {
        DOMAIN: {
            "MX": ["10 mail.example.test"],
            "TXT": ["v=spf1 ip4:192.0.2.20 mx -all", "another record"],
            "CAA": ["0 issue letsencrypt.org"],
        },
        HOST: {"A": ["192.0.2.10"], "AAAA": ["2001:db8::10"]},
        "out.example.test": {"A": ["192.0.2.20"]},
        "20.2.0.192.in-addr.arpa": {"PTR": ["out.example.test"]},
        f"_dmarc.{DOMAIN}": {"TXT": ["v=DMARC1; p=reject; rua=mailto:reports@reports.test"]},
        f"{DOMAIN}._report._dmarc.reports.test": {"TXT": ["v=DMARC1"]},
        f"s1._domainkey.{DOMAIN}": {"CNAME": ["s1.provider.test"]},
        "s1.provider.test": {"TXT": [f"v=DKIM1; k=rsa; p={rsa_key(2048)}"]},
        f"s2._domainkey.{DOMAIN}": {"TXT": [f"v=DKIM1; k=ed25519; p={ed25519_key()}"]},
        f"_mta-sts.{DOMAIN}": {"TXT": ["v=STSv1; id=20260101"]},
        f"_smtp._tls.{DOMAIN}": {"TXT": ["v=TLSRPTv1; rua=mailto:tls@example.test"]},
        f"autodiscover.{DOMAIN}": {"A": ["192.0.2.10"]},
        f"2.0.0.127.{LIST}": {"A": ["127.0.0.2"]},
    }


class World:
    """Zones, and what else a judge is given. A test changes it, and looks at the rows."""

    def __init__(self) -> None:
        self.zones = right()
        self.here: dict[str, dict[str, Any]] | None = None
        self.servers: dict[str, dict[str, dict[str, Any]]] | None = None
        self.fetched: Fetched | None = Fetched(200, "text/plain; charset=utf-8", POLICY)
        self.list = LIST
        self.pair = False
        self.authority = "letsencrypt.org"
        self.service = list(SERVICE)
        self.outgoing = list(OUTGOING)

    def rows(self) -> list[Row]:
        """What the judges say, in order."""
        return sorted(self._rows())

    def _rows(self) -> Iterator[Row]:
        ask = Zones(self.zones)
        yield from senders.spf(ask, DOMAIN, "controller", self.outgoing)
        yield from senders.dmarc(ask, DOMAIN, "controller")
        yield from senders.dkim(ask, DOMAIN, "controller", ["s1", "s2"], pair=self.pair)
        yield senders.ptr(ask, self.outgoing[0], "controller", "out.example.test")
        yield from receivers.mx(ask, DOMAIN, "controller", HOST, self.service)
        yield receivers.name(ask, HOST, "controller", self.service)
        yield receivers.mta_sts(ask, DOMAIN, "controller", self.fetched)
        yield receivers.tls_rpt(ask, DOMAIN, "controller")
        yield receivers.autodiscover(ask, DOMAIN, "controller", self.service, [HOST])
        yield receivers.caa(ask, HOST, "controller", self.authority)
        servers = self.servers or {"ns1.test": self.zones, "ns2.test": self.zones}
        yield receivers.delegation({name: Zones(zones) for name, zones in servers.items()}, DOMAIN, "controller")
        yield receivers.split_view(ask, Zones(self.here or self.zones), DOMAIN, "controller")
        yield from block_lists.block_list(ask, self.list, "controller", self.service, self.outgoing)


Change = Callable[[World], None]


def put(name: str, **records: Any) -> Change:
    """Give a name other records; without any, it doesn't exist."""

    def change(world: World) -> None:
        if records:
            world.zones[name] = copy.deepcopy(records)
        else:
            del world.zones[name]

    return change


def put_in(name: str, **records: Any) -> Change:
    """Change some records of a name."""
    return lambda world: world.zones.setdefault(name, {}).update(records)


def give(**values: Any) -> Change:
    """Give the judges something else."""

    def change(world: World) -> None:
        for name, value in values.items():
            setattr(world, name, value)

    return change
