from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from standin.fresh import fresh
from standin.state import Document, State, StateError, get, load, put

FRONTEND = "ReceiveConnector[Default Frontend EX1]"
RELAY = {"Name": "Relay", "Bindings": ["0.0.0.0:25"], "RemoteIPRanges": ["10.1.1.111"]}


@pytest.fixture
def document() -> Document:
    return fresh("EX1", "ex1.example.test", ["example.test"], {"anna@example.test": "secret"})


def changed(document: Document, path: str, value: Any) -> State:
    put(document, path, value)
    return load(document)


def test_fresh_state_is_a_2019_servers(document: Document) -> None:
    state = load(json.loads(json.dumps(document)))
    ports = {connector.Name: connector.Bindings[0].port for connector in state.connectors}
    assert ports == {
        "Default EX1": 2525,
        "Client Proxy EX1": 465,
        "Default Frontend EX1": 25,
        "Outbound Proxy Frontend EX1": 717,
        "Client Frontend EX1": 587,
    }
    roles = {connector.Name: connector.TransportRole for connector in state.connectors}
    assert [name for name, role in roles.items() if role == "HubTransport"] == ["Default EX1", "Client Proxy EX1"]
    unlimited = [connector.Name for connector in state.connectors if connector.MaxInboundConnectionPerSource is None]
    assert unlimited == ["Default EX1"]
    assert all(connector.Fqdn == "ex1.example.test" for connector in state.connectors)
    assert state.running("W3SVC")
    assert not state.running("MSExchangeIMAP4")
    assert not state.running("NoSuchService")
    assert state.active("OwaProxy")
    assert not state.active("ForwardSyncDaemon")
    assert state.pressure == "Low"


def test_new_connector_has_the_published_defaults(document: Document) -> None:
    state = changed(document, "ReceiveConnector[+]", RELAY)
    relay = state.connectors[-1]
    assert (relay.TransportRole, relay.Fqdn, relay.Banner) == ("FrontendTransport", "ex1.example.test", "")
    assert relay.PermissionGroups == frozenset()
    assert relay.AuthMechanism == {"Tls"}
    assert relay.MaxInboundConnectionPerSource == 20
    assert relay.TarpitInterval == 5


def test_server_wide_offline_takes_the_components_along(document: Document) -> None:
    state = changed(document, "ServerComponentState[ServerWideOffline].State", "Inactive")
    assert state.component("OwaProxy") == "Inactive"
    assert state.component("FrontendTransport") == "Inactive"
    assert state.component("Monitoring") == "Active"


@pytest.mark.parametrize(
    ("domain", "accepted"),
    [
        ("example.test", True),
        ("EXAMPLE.test", True),
        ("sub.example.test", False),
        ("below.wild.test", True),
        ("a.below.wild.test", True),
        ("wild.test", True),
        ("x.matching.test", True),
        ("notmatching.test", False),
        ("test", False),
        ("", False),
    ],
)
def test_accepted_domains(document: Document, domain: str, accepted: bool) -> None:
    put(document, "AcceptedDomain[+]", {"Name": "wild", "DomainName": "*.wild.test"})
    state = changed(
        document, "AcceptedDomain[+]", {"Name": "m", "DomainName": "matching.test", "MatchSubDomains": True}
    )
    assert state.accepts_domain(domain) is accepted


@pytest.mark.parametrize(
    "name", ["anna@example.test", "ANNA@example.test", "anna", "EXAMPLE\\anna", "a.b@example.test"]
)
def test_logon_names(document: Document, name: str) -> None:
    state = changed(
        document, "Mailbox[anna@example.test].EmailAddresses", ["SMTP:anna@example.test", "smtp:a.b@example.test"]
    )
    assert state.log_on(name, "secret") is state.mailboxes[0]
    assert state.log_on(name, "Secret") is None
    assert state.log_on(name, "") is None


# path, wrong value, what the sentence has to say
WRONG: list[tuple[str, Any, str]] = [
    ("ReceiveConector", [], "nearest one is ReceiveConnector"),
    ("Nonsense", [], "no Get- cmdlet"),
    ("ReceiveConnector", {}, "list of objects"),
    ("ReceiveConnector", None, "list of objects"),
    (FRONTEND, "x", "object with ReceiveConnector's properties"),
    ("ReceiveConnector[+]", {"Name": "Relay", "Bindings": ["0.0.0.0:25"]}, "no RemoteIPRanges"),
    ("ReceiveConnector[+]", {**RELAY, "Name": "default frontend ex1"}, "twice"),
    ("ReceiveConnector[+]", {**RELAY, "Name": ""}, "isn't empty"),
    ("ReceiveConnector[+]", {**RELAY, "TransportRole": "HubTransport"}, "can't share a port"),
    ("ReceiveConnector[+]", {**RELAY, "RemoteIPRanges": ["0.0.0.0-255.255.255.255"]}, "has to be unique"),
    ("ReceiveConnector[+]", {**RELAY, "RemoteIPRanges": ["0.0.0.0/0"]}, "has to be unique"),
    ("ReceiveConnector[+]", {**RELAY, "RemoteIPRanges": "10.1.1.111"}, "list of address ranges"),
    ("ReceiveConnector[+]", {**RELAY, "RemoteIPRanges": ["10.1.1"]}, "'10.1.1' is not"),
    (f"{FRONTEND}.Bindings", ["25"], "'25' is not"),
    (f"{FRONTEND}.MaxMessageSize", "36 XB", "a size such as"),
    (f"{FRONTEND}.MaxMesageSize", "36 MB", "nearest one is MaxMessageSize"),
    (f"{FRONTEND}.Tarpit", "00:00:01", "which ReceiveConnector doesn't have"),
    (f"{FRONTEND}.TarpitInterval", 5, "a time span such as"),
    (f"{FRONTEND}.Enabled", "True", "true or false"),
    (f"{FRONTEND}.AuthMechanism", "Tls, Basic", "some of Tls"),
    (f"{FRONTEND}.AuthMechanism", "ExternalAuthoritative, BasicAuth", "no other logon"),
    (f"{FRONTEND}.PermissionGroups", "Everyone", "AnonymousUsers"),
    (f"{FRONTEND}.MaxInboundConnectionPerSource", "many", "Unlimited"),
    (f"{FRONTEND}.MaxProtocolErrors", -1, "Unlimited"),
    (f"{FRONTEND}.Banner", "250 hello", "begin with `220 `"),
    (f"{FRONTEND}.Banner", "220 two\r\n220 lines", "begin with `220 `"),
    (f"{FRONTEND}.Banner", "220 grüß", "printable ASCII"),
    (f"{FRONTEND}.Banner", "220 " + "x" * 600, "begin with `220 `"),
    (f"{FRONTEND}.TransportRole", "Edge", "FrontendTransport, HubTransport"),
    (f"{FRONTEND}.SizeEnabled", True, "EnabledWithoutValue"),
    ("AcceptedDomain", [{"Name": "x"}], "no DomainName"),
    ("AcceptedDomain[example.test].DomainType", "Local", "Authoritative"),
    ("ADPermission", [{"Identity": "x", "User": "y"}], "no ExtendedRights"),
    ("ADPermission", [{"Identity": "x", "User": "y", "ExtendedRights": "z"}], "list of rights"),
    ("ADPermission", [{"Identity": "x", "User": "y", "ExtendedRights": [], "Denny": True}], "nearest one is Deny"),
    ("Service[W3SVC].Status", "Active", "Running, Stopped"),
    ("Service", [{"Name": "W3SVC"}], "no Status"),
    ("ServerComponentState[OwaProxy].State", "On", "Active, Inactive"),
    ("ServerComponentState[OwaProxy].Sate", "Active", "nearest one is State"),
    ("ImapSettings.LoginType", "Secure", "SecureLogin"),
    ("ImapSettings.EnableGSSAPIAndNTLMAuth", "no", "true or false"),
    ("ImapSettings.EnableNTLM", False, "which ImapSettings doesn't have"),
    ("PopSettings.SSLBindings", ["995"], "bindings"),
    ("WebBinding", [{"protocol": "https", "bindingInformation": "443"}], "address:port:host"),
    ("WebBinding", [{"protocol": "https", "bindingInformation": "*:99999:"}], "address:port:host"),
    ("WebBinding", [{"protocol": "ftp", "bindingInformation": "*:443:"}], "http, https"),
    ("OwaVirtualDirectory", [{"Name": "owa", "FormsAuthentication": 1}], "true or false"),
    ("OwaVirtualDirectory", [{"Name": "owa", "FormAuthentication": True}], "nearest one is FormsAuthentication"),
    ("ExchangeServer.Fqdn", "", "isn't empty"),
    ("ExchangeServer", [], "object with ExchangeServer's"),
    ("ExchangeDiagnosticInfo.ResourceThrottling.ResourceTracker.AggregateUse", "Full", "Low, Medium, High"),
    ("ExchangeDiagnosticInfo.ResourceThrottling", "High", "Low, Medium, High"),
    ("Mailbox[+]", {"PrimarySmtpAddress": "x@example.test"}, "no Password"),
    ("Mailbox[+]", {"PrimarySmtpAddress": "../../etc@example.test", "Password": "x"}, "isn't one"),
    ("Mailbox[+]", {"PrimarySmtpAddress": "anna@other.test", "Password": "x"}, "both have the name anna"),
    ("WebAppPoolState", [{"Name": "MSExchangeOWAAppPool", "Value": "Off"}], "Started, Stopped"),
    ("Standin.JournalRequest", True, "nearest one is JournalRequests"),
]


@pytest.mark.parametrize(("path", "value", "says"), WRONG, ids=[f"{p}={v!s:.40}" for p, v, _ in WRONG])
def test_wrong_state_is_one_sentence(document: Document, path: str, value: Any, says: str) -> None:
    with pytest.raises(StateError) as problem:
        changed(document, path, value)
    sentence = str(problem.value)
    assert says in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    # It says where: the kind, at least.
    assert re.split(r"[.\[]", path)[0] in sentence


@pytest.mark.parametrize(
    "kind", ["ExchangeServer", "ReceiveConnector", "AcceptedDomain", "Service", "ServerComponentState"]
)
def test_missing_kind(document: Document, kind: str) -> None:
    del document[kind]
    with pytest.raises(StateError, match=f"no {kind}"):
        load(document)


@pytest.mark.parametrize("nonsense", [None, [], "x", 1])
def test_no_object(nonsense: Any) -> None:
    with pytest.raises(StateError, match="isn't a JSON object"):
        load(nonsense)


def test_what_others_keep_is_left_alone(document: Document) -> None:
    kept = [{"Name": "Internet", "AddressSpaces": ["SMTP:*;1"]}]
    assert changed(document, "SendConnector", kept).document["SendConnector"] == kept


def _owa(document: Document) -> Any:
    return document["OwaVirtualDirectory"][0]


@pytest.mark.parametrize(
    ("path", "find"),
    [
        ("ExchangeServer.Name", lambda d: d["ExchangeServer"]["Name"]),
        ("exchangeserver.NAME", lambda d: d["ExchangeServer"]["Name"]),
        (f"{FRONTEND}.Bindings", lambda d: d["ReceiveConnector"][2]["Bindings"]),
        ("ReceiveConnector[EX1\\Default Frontend EX1].Bindings", lambda d: d["ReceiveConnector"][2]["Bindings"]),
        ("ReceiveConnector[default frontend ex1]", lambda d: d["ReceiveConnector"][2]),
        ("ReceiveConnector[2]", lambda d: d["ReceiveConnector"][2]),
        ("Service[msexchangeimap4].Status", lambda d: "Stopped"),
        ("ServerComponentState[OwaProxy].State", lambda d: "Active"),
        ("OwaVirtualDirectory[owa (Default Web Site)]", _owa),
        ("OwaVirtualDirectory[0].FormsAuthentication", lambda d: True),
        ("WebBinding[0].protocol", lambda d: "https"),
        ("", lambda d: d),
    ],
)
def test_get(document: Document, path: str, find: Callable[[Document], Any]) -> None:
    assert get(document, path) == find(document)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("ReceiveConnector[Relay]", "has no Relay"),
        ("ReceiveConnector[9]", "has no 9"),
        ("ReceiveConnector.Banner", "there is no Banner"),
        ("ExchangeServer[EX1]", "has no EX1"),
        ("Nothing", "there is no Nothing"),
        ("ExchangeServer.", "is no path"),
        ("Receive[[x", "is no path"),
        (".", "is no path"),
    ],
)
def test_get_what_is_not_there(document: Document, path: str, says: str) -> None:
    with pytest.raises(StateError, match=re.escape(says)):
        get(document, path)


def test_put_replaces_adds_and_removes(document: Document) -> None:
    put(document, "ReceiveConnector[Relay]", RELAY)
    assert document["ReceiveConnector"][-1] == RELAY
    put(document, "ReceiveConnector[relay]", {**RELAY, "Comment": "again"})
    assert [c["Name"] for c in document["ReceiveConnector"]].count("Relay") == 1
    put(document, "ReceiveConnector[Relay].banner", "220 x")
    put(document, "ReceiveConnector[Relay].Banner", "220 y")
    assert document["ReceiveConnector"][-1]["banner"] == "220 y"
    put(document, "ReceiveConnector[Relay]", None)
    assert len(document["ReceiveConnector"]) == 5
    put(document, "ADPermission[+]", {"Identity": "a"})
    put(document, "ADPermission[+]", {"Identity": "b"})
    put(document, "ADPermission[0]", None)
    assert document["ADPermission"] == [{"Identity": "b"}]
    put(document, "WebAppPoolState[+]", {"Name": "MSExchangeOWAAppPool", "Value": "Stopped"})
    assert load(document | {"ADPermission": []}).stopped_pools == {"msexchangeowaapppool"}


@pytest.mark.parametrize(
    ("path", "value"),
    [("ReceiveConnector[Relay]", None), ("ReceiveConnector[Relay].Banner", "220 x"), ("ExchangeServer[0]", {})],
)
def test_put_where_nothing_is(document: Document, path: str, value: Any) -> None:
    before = copy.deepcopy(document)
    with pytest.raises(StateError, match="isn't in the state"):
        put(document, path, value)
    assert document == before
