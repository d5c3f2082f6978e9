from __future__ import annotations

import ipaddress
import random
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from standin import connectors as c
from standin.values import Address, Binding, Range, binding, remote_range

ANYWHERE = ["0.0.0.0-255.255.255.255", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]
HERE = ipaddress.ip_address("10.1.1.21")


def connector(name: str, bindings: list[str], ranges: list[str], **properties: Any) -> SimpleNamespace:
    given_properties = {"Enabled": True, "AuthMechanism": frozenset(), "PermissionGroups": frozenset()} | properties
    return SimpleNamespace(
        Name=name,
        Bindings=tuple(binding(b) for b in bindings),
        RemoteIPRanges=tuple(remote_range(r) for r in ranges),
        **given_properties,
    )


def chosen(connectors: list[SimpleNamespace], remote: str, port: int = 25, local: Address = HERE) -> str | None:
    found = c.choose(connectors, local, port, c.address_of(remote))
    return found.Name if found else None


def test_smallest_range_wins() -> None:
    every = [
        connector("Default", ["0.0.0.0:25", "[::]:25"], ANYWHERE),
        connector("Net", ["0.0.0.0:25"], ["10.1.1.0/24"]),
        connector("Few", ["0.0.0.0:25"], ["10.1.1.100-10.1.1.120"]),
        connector("Relay", ["0.0.0.0:25"], ["10.1.1.111"]),
    ]
    assert chosen(every, "10.1.1.111") == "Relay"
    assert chosen(every, "10.1.1.112") == "Few"
    assert chosen(every, "10.1.1.11") == "Net"
    assert chosen(every, "192.0.2.1") == "Default"
    assert chosen(every, "fd77::1", local=ipaddress.ip_address("fd77::21")) == "Default"


def test_ipv4_over_ipv6_is_ipv4() -> None:
    assert chosen([connector("Net", ["0.0.0.0:25"], ["10.1.1.0/24"])], "::ffff:10.1.1.7") == "Net"
    assert c.address_of("fe80::1%eth0") == ipaddress.ip_address("fe80::1")


def test_own_address_goes_before_all_addresses() -> None:
    every = [
        connector("Everywhere", ["0.0.0.0:25"], ["10.1.1.7"]),
        connector("Here", ["10.1.1.21:25"], ANYWHERE),
    ]
    assert chosen(every, "10.1.1.7") == "Here"
    assert chosen(every, "10.1.1.7", local=ipaddress.ip_address("10.1.1.22")) == "Everywhere"


def test_connector_of_an_address_that_has_no_range_leaves_the_connection_to_the_others() -> None:
    every = [
        connector("Everywhere", ["0.0.0.0:25"], ANYWHERE),
        connector("Here", ["10.1.1.21:25"], ["10.1.1.7"]),
    ]
    assert chosen(every, "10.1.1.8") == "Everywhere"


def test_port_and_family_of_the_binding_count() -> None:
    every = [connector("Four", ["0.0.0.0:587"], ANYWHERE)]
    assert chosen(every, "10.1.1.7", port=25) is None
    assert chosen(every, "10.1.1.7", port=587) == "Four"
    assert chosen(every, "fd77::7", port=587, local=ipaddress.ip_address("fd77::21")) is None


def test_disabled_connector_takes_nothing() -> None:
    every = [
        connector("Default", ["0.0.0.0:25"], ANYWHERE),
        connector("Relay", ["0.0.0.0:25"], ["10.1.1.111"], Enabled=False),
    ]
    assert chosen(every, "10.1.1.111") == "Default"
    assert c.bindings(every[1:]) == {}


addresses4 = st.integers(0, (1 << 32) - 1).map(ipaddress.IPv4Address)
# Few addresses, so that ranges nest, overlap and hold the client.
near4 = st.integers(0, 64).map(lambda n: ipaddress.IPv4Address((10 << 24) + n))
near6 = st.integers(0, 64).map(lambda n: ipaddress.IPv6Address((0xFD77 << 112) + n))


def _ranges(addresses: st.SearchStrategy[Any]) -> st.SearchStrategy[Range]:
    return st.tuples(addresses, addresses).map(lambda pair: Range(min(pair), max(pair)))


@st.composite
def many_connectors(draw: st.DrawFn) -> list[SimpleNamespace]:
    """Connectors as Exchange allows them: no pair of binding and range twice."""
    bindings = [binding("0.0.0.0:25"), binding("[::]:25"), binding("10.1.1.21:25"), binding("0.0.0.0:587")]
    taken: set[tuple[Binding, Range]] = set()
    every = []
    for number in range(draw(st.integers(1, 6))):
        own = tuple(draw(st.sets(st.sampled_from(bindings), min_size=1)))
        wanted = draw(st.lists(st.one_of(_ranges(near4), _ranges(near6), _ranges(addresses4)), min_size=1, max_size=4))
        ranges = tuple(r for r in wanted if not any((b, r) in taken for b in own))
        taken.update((b, r) for b in own for r in ranges)
        every.append(
            SimpleNamespace(Name=f"C{number}", Enabled=draw(st.booleans()), Bindings=own, RemoteIPRanges=ranges)
        )
    return every


@given(many_connectors(), st.one_of(near4, near6, addresses4), st.sampled_from([25, 587]), st.randoms())
def test_choice(every: list[SimpleNamespace], remote: Address, port: int, chance: random.Random) -> None:
    local = HERE if remote.version == 4 else ipaddress.ip_address("fd77::21")
    winner = c.choose(every, local, port, remote)

    # The order doesn't matter.
    shuffled = every[:]
    chance.shuffle(shuffled)
    assert c.choose(shuffled, local, port, remote) is winner

    # Whoever could take the connection, counted apart from the code above: (own address or not, size of the range).
    anywhere = "0.0.0.0" if remote.version == 4 else "::"
    able = [
        (0 if b.address == str(local) else 1, int(r.last) - int(r.first), each.Name)
        for each in every
        if each.Enabled
        for b in each.Bindings
        if b.port == port and b.address in (str(local), anywhere)
        for r in each.RemoteIPRanges
        if r.first.version == remote.version and r.first <= remote <= r.last
    ]
    if winner is None:
        assert not able
    else:
        best = min(able)[:2]
        assert winner.Name in {name for *rank, name in able if tuple(rank) == best}


@given(many_connectors(), near4)
def test_a_connector_for_one_address_takes_it_from_all_others(every: list[SimpleNamespace], remote: Address) -> None:
    every = [each for each in every if Range(remote, remote) not in each.RemoteIPRanges]
    mine = connector("Mine", ["0.0.0.0:25", "10.1.1.21:25"], [str(remote)])
    assert c.choose([*every, mine], HERE, 25, remote) is mine


def _rights(own: SimpleNamespace, *permissions: SimpleNamespace, authenticated: bool = False) -> frozenset[str]:
    return c.rights(own, permissions, "EX1", authenticated=authenticated)


def _permission(user: str, right: str, identity: str = "EX1\\Relay", deny: bool = False) -> SimpleNamespace:
    return SimpleNamespace(Identity=identity, User=user, ExtendedRights=(right,), Deny=deny)


def _relay(**properties: Any) -> SimpleNamespace:
    return connector("Relay", ["0.0.0.0:25"], ["10.1.1.111"], **properties)


RELAY_RIGHT = "Ms-Exch-SMTP-Accept-Any-Recipient"
ANYBODY = "NT AUTHORITY\\ANONYMOUS LOGON"


def test_anonymous_users_submit_and_do_not_relay() -> None:
    granted = _rights(_relay(PermissionGroups={"AnonymousUsers"}))
    assert c.may_submit(granted)
    assert c.may_send_as_anyone(granted)
    assert not c.may_relay(granted)


def test_nobody_submits_without_a_group() -> None:
    assert not c.may_submit(_rights(_relay()))
    assert not c.may_submit(_rights(_relay(PermissionGroups={"ExchangeUsers", "ExchangeServers"})))
    assert not c.may_submit(_rights(_relay(PermissionGroups={"AnonymousUsers"}), authenticated=True))


def test_relay_right_of_anonymous_users() -> None:
    own = _relay(PermissionGroups={"AnonymousUsers"})
    assert c.may_relay(_rights(own, _permission(ANYBODY, RELAY_RIGHT)))
    assert c.may_relay(_rights(own, _permission(ANYBODY.lower(), RELAY_RIGHT.upper(), "relay")))
    assert not c.may_relay(_rights(own, _permission(ANYBODY, RELAY_RIGHT, "EX1\\Default Frontend EX1")))
    assert not c.may_relay(_rights(own, _permission(ANYBODY, RELAY_RIGHT, "EX2\\Relay")))
    assert not c.may_relay(_rights(own, _permission("NT AUTHORITY\\Authenticated Users", RELAY_RIGHT)))


def test_a_denied_right_is_gone() -> None:
    own = _relay(PermissionGroups={"AnonymousUsers"})
    granted = _rights(own, _permission(ANYBODY, RELAY_RIGHT), _permission(ANYBODY, RELAY_RIGHT, deny=True))
    assert not c.may_relay(granted)
    sender = "ms-exch-smtp-accept-authoritative-domain-sender"
    assert not c.may_send_as_own_domain(_rights(own, _permission(ANYBODY, sender, deny=True)))


def test_externally_secured_clients_are_like_servers() -> None:
    own = _relay(AuthMechanism={"Tls", "ExternalAuthoritative"}, PermissionGroups={"ExchangeServers"})
    assert c.may_relay(_rights(own))
    # The group without the mechanism gives a stranger nothing, nor the mechanism without the group.
    assert not c.may_relay(_rights(_relay(PermissionGroups={"ExchangeServers"})))
    assert not c.may_submit(
        _rights(_relay(AuthMechanism={"ExternalAuthoritative"}, PermissionGroups={"AnonymousUsers"}))
    )


def test_users_relay_after_logon() -> None:
    own = _relay(PermissionGroups={"ExchangeUsers"})
    granted = _rights(own, authenticated=True)
    assert c.may_relay(granted)
    assert not c.may_send_as_anyone(granted)
