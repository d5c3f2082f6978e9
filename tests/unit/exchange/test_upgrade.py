"""A server that 0.1.0 configured is taken over as it is: what it made is known, kept, and goes when it is to."""

from __future__ import annotations

from typing import Any

from organisation import ANONYMOUS, EVERYBODY, RELAY, Machine, connector, converged, fresh, planned
from test_derivation import OLDER, arguments, derived

GATEWAYS = ["10.10.0.11", "10.10.0.12"]
RELAYS = ["10.10.0.111", "10.10.0.112"]
MADE: dict[str, dict[str, Any]] = {
    "Mail gateway": {"Bindings": ["0.0.0.0:25"], "RemoteIPRanges": GATEWAYS, "PermissionGroups": "AnonymousUsers"},
    "Mail gateway submission": {
        "Bindings": ["0.0.0.0:587"],
        "RemoteIPRanges": GATEWAYS,
        "PermissionGroups": "ExchangeUsers",
        "AuthMechanism": "BasicAuth, BasicAuthRequireTLS, Integrated, Tls",
        "EnableAuthGSSAPI": True,
    },
    "Mail gateway relay": {"Bindings": ["0.0.0.0:25"], "RemoteIPRanges": RELAYS, "PermissionGroups": "AnonymousUsers"},
}
EVERY = {
    "AuthMechanism": "Tls",
    "Comment": "[postern.mail_gateway]",
    "Fqdn": "mail.example.com",
    "MaxInboundConnectionPerSource": "Unlimited",
    "MaxInboundConnectionPercentagePerSource": 100,
    "ProtocolLoggingLevel": "Verbose",
    "EnableAuthGSSAPI": False,
}


def left_by_the_release(language: str = "en") -> Machine:
    """What 0.1.0 made of a new server of its example, read from it."""
    machine = Machine(fresh(), language)
    state = machine.state
    for name, properties in MADE.items():
        state["exchange_receive_connectors"].append(connector("EX1", name, **{**EVERY, **properties}))
    relay = {"Of": "EX1\\Mail gateway relay", "User": ANONYMOUS, "ExtendedRights": [RELAY]}
    state["permissions"].append({**relay, "Deny": "False", "IsInherited": False})
    for kind, ports in (("exchange_imap", ("143:TLS", "993:SSL")), ("exchange_pop", ("110:TLS", "995:SSL"))):
        state[kind][0]["ExternalConnectionSettings"] = [f"mail.example.com:{port}" for port in ports]
    state["exchange_imap"][0]["EnableGSSAPIAndNTLMAuth"] = False
    for kind in ("exchange_transport", "exchange_frontend_transport"):
        state[kind][0]["IntraOrgConnectorProtocolLoggingLevel"] = "Verbose"
    for service in state["services"]:
        service |= {"Status": "Running", "StartType": "Automatic"}
    return machine


def test_what_the_release_made_is_left_as_it_is() -> None:
    for language in ("en", "de"):
        assert planned(left_by_the_release(language), **arguments(derived(OLDER))).operations == []


def test_what_the_release_made_goes_when_it_leaves_the_declaration() -> None:
    plan = converged(left_by_the_release(), **arguments(derived({**OLDER, "smtp.relay_clients": []})))
    assert [operation.parameters["Identity"] for operation in plan.operations] == ["EX1\\Mail gateway relay"]


def test_the_group_that_the_release_took_from_a_german_server_is_given_back() -> None:
    """Every second of its runs withdrew the rights of the group, by which Exchange shows that group no more."""
    machine = left_by_the_release("de")
    gateway = machine.found(machine.state["exchange_receive_connectors"], "EX1\\Mail gateway")
    gateway["PermissionGroups"] = "None"
    plan = converged(machine, **arguments(derived(OLDER)))
    (operation,) = plan.operations
    assert operation.parameters["PermissionGroups"] == "AnonymousUsers"
    assert gateway["PermissionGroups"] == "AnonymousUsers"


def test_what_the_release_added_to_an_older_server_is_remembered() -> None:
    machine = Machine(fresh("OLD1", "2013"))
    default = machine.found(machine.state["exchange_receive_connectors"], "OLD1\\Default Frontend OLD1")
    default["Comment"] = "[postern.mail_gateway added 10.10.0.21, 10.10.0.22]"
    default["RemoteIPRanges"] = [EVERYBODY[1], "10.10.0.21", "10.10.0.22", EVERYBODY[0]]
    desired = arguments(derived(OLDER, "old1"))
    assert [one for one in planned(machine, **desired).operations if "Receive" in one.command] == []
    # The servers are gone, which somebody named.
    converged(machine, removable_addresses=["10.10.0.21", "10.10.0.22"])
    assert set(default["RemoteIPRanges"]) == set(EVERYBODY)
    assert default["Comment"] == ""
