"""Recordings: what a run read from a server, with nothing private left and everything else as it was."""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from organisation import ANONYMOUS, RELAY, Machine, certificate, connector, relay_connector
from shell import Action, over_python

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.certificates import why_not
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.marks import MARK, UNSEEN
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.neighbourhood import is_public
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.ranges import one_address, read_shown_range
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.recording import record
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.recording.addresses import Addresses, Dense
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.recording.scrub import Scrubber, leftovers
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.refusals import Refused

VERSIONS = {"ansible_core": "2.19.0"}


def recorded(machine: Machine, folder: Path, check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
    """The recording of a run."""
    Action(over_python(machine), check_mode).configure(record=str(folder), **arguments)
    (path,) = folder.iterdir()
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def scrubbed(text: str, name: str = "Comment") -> str:
    document = {"answer": {name: text}}
    new = Scrubber(document).document(document)
    return str(new["answer"][name])


# --- the file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_run_leaves_a_file_for_its_owner_that_says_what_was_asked_and_read(tmp_path: Path, check_mode: bool) -> None:
    folder = tmp_path / "a" / "b"
    found = recorded(Machine(), folder, check_mode, receive_connectors=[relay_connector("10.0.0.25")])
    (path,) = folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert re.fullmatch(r"exchange-15\.2\.1748\.10-[0-9a-f]{8}\.json", path.name)
    assert set(found) == {"format", "versions", "arguments", "question", "answer"}
    assert found["answer"]["server"]["AdminDisplayVersion"] == "Version 15.2 (Build 1748.10)"
    assert found["question"]["queries"][0]["command"] == "Get-ReceiveConnector"
    assert not re.search(r"(?i)ex1|dc1|10\.0\.0\.25", path.read_text())


def test_what_a_refused_run_read_is_kept_as_well(tmp_path: Path) -> None:
    relay = relay_connector("0.0.0.0/0")
    with pytest.raises(Refused, match="would be an open relay"):
        recorded(Machine(), tmp_path / "kept", receive_connectors=[relay])
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Action(over_python(Machine())).configure(receive_connectors=[relay_connector("10.0.0.25")])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_a_sentence_and_nothing_changes(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    machine = Machine()
    with pytest.raises(Refused) as refused:
        recorded(machine, tmp_path / "file" / "below", receive_connectors=[relay_connector("10.0.0.25")])
    assert re.fullmatch(
        r'exchange_record is ".*/file/below", but exchange-[0-9a-f.-]+\.json can\'t be written there: .*\.',
        str(refused.value),
    )
    assert machine.applied == []


def test_a_second_look_refuses_what_the_first_one_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scrubber, "_word", lambda _self, word: word)
    with pytest.raises(Refused) as refused:
        recorded(Machine(), tmp_path, receive_connectors=[relay_connector("10.0.0.25")])
    assert "would be left in the recording, so none was written and nothing was changed" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_secret_is_in_no_recording() -> None:
    arguments = {"certificates": [{"name": "a", "password": "hunter2hunter2", "file_data": "MIIprivate"}]}
    text = json.dumps(record.recording_of(arguments, {"queries": []}, {"server": {}}, VERSIONS))
    assert "hunter2" not in text
    assert "MIIprivate" not in text
    assert "password" not in text


# --- one to one ------------------------------------------------------------------------------------------------------

KEPT = [
    ("AuthMechanism", "Tls, Integrated, Kerberos"),
    ("MaxMessageSize", "36 MB (37.748.736 bytes)"),
    ("TarpitInterval", "00:00:05"),
    ("AdminDisplayVersion", "Version 15.2 (Build 1748.10)"),
    ("ExtendedRights", "ms-Exch-SMTP-Accept-Something-New"),
    ("User", "MS Exchange\\Edge Transport Servers"),
    ("User", "S-1-5-7"),
    ("User", "S-1-5-32-554"),
    ("RemoteIPRanges", "0.0.0.0-255.255.255.255"),
    ("RemoteIPRanges", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("RemoteIPRanges", "0.0.0.0-9.255.255.255"),
    ("RemoteIPRanges", "10.0.0.0/8"),
    ("Bindings", "[::]:25"),
    ("Comment", MARK),
    ("Comment", UNSEEN),
    ("PnPDeviceID", "ROOT\\POSTERN\\0000"),
    (
        "Program",
        "C:\\Program Files\\Microsoft\\Exchange Server\\V15\\FrontEnd\\PopImap\\Microsoft.Exchange.Imap4Service.exe",
    ),
]


@pytest.mark.parametrize(("name", "text"), KEPT)
def test_what_is_exchanges_own_stays(name: str, text: str) -> None:
    assert scrubbed(text, name) == text


REPLACED = [
    ("Relay for Contoso, 4th floor", "Relay for N1, n2 n3"),
    ("EX01.corp.contoso.com; ex01", "N1.n2.n3.com; n1"),
    ("Z\u00fcrich", "N\u00c41"),
    ("8.8.8.8, 8.8.4.4", "192.0.2.2, 192.0.2.1"),
    ("8.8.4.0/24", "192.0.2.1-192.0.2.2"),
    ("10.20.30.40:25", "10.0.0.1:25"),
    ("10.20.30.40/24", "10.0.0.33/24"),
    ("10.7.0.0(255.255.0.0)", "10.0.0.0(255.255.0.0)"),
    ("fe80::39bd:88f7:6969:d223%11", "fe80::1%11"),
    ("[2a00:1450::8]:25", "[2001:db8::1]:25"),
    ("S-1-5-21-11111-22222-33333-501", "S-1-5-21-1000-1001-1002-501"),
    ("S-1-5-21-11111-22222-33333-4444", "S-1-5-21-1000-1001-1002-1003"),
    ("{75d6aeb5-cd4a-4c58-ab2c-76304ea198ab}", "{00000000-0000-4000-8000-000000001000}"),
    ("D:\\Contoso\\Logs", "D:\\N1\\Logs"),
]


@pytest.mark.parametrize(("text", "new"), REPLACED)
def test_what_is_private_becomes_another_of_its_kind(text: str, new: str) -> None:
    assert scrubbed(text) == new


def test_a_name_that_is_a_word_of_exchanges_somewhere_else_goes_there_as_well() -> None:
    document = {"answer": {"AuthMechanism": "Tls, Contoso", "Comment": "contoso"}}
    assert Scrubber(document).document(document)["answer"] == {"AuthMechanism": "Tls, N1", "Comment": "n1"}


def test_built_in_accounts_keep_the_names_of_their_language() -> None:
    local = "NT-AUTORIT\u00c4T\\ANONYMOUS-ANMELDUNG"
    accounts = {local: {"sid": "S-1-5-7", "name": local}, "CONTOSO\\svc": {"sid": "S-1-5-21-9-9-9-1107", "name": None}}
    new = Scrubber({"answer": {"accounts": accounts}}).document({"accounts": accounts})["accounts"]
    assert new == {local: accounts[local], "N1\\n2": {"sid": "S-1-5-21-1000-1000-1000-1001", "name": None}}


@pytest.mark.parametrize(("days", "said"), [(90, ""), (-3, "has none for that name that is valid today; the last one")])
def test_a_certificate_becomes_one_for_the_other_names_that_is_valid_as_long(days: int, said: str) -> None:
    raw = certificate("mail.contoso.com", "*.contoso.net", days=days)
    document = {
        "answer": {"X509CertificateName": "imap.contoso.net", "objects": [{"RawData": raw}, {"RawData": "bm9uZQ=="}]}
    }
    new = Scrubber(document).document(document)["answer"]
    made = [entry["RawData"] for entry in new["objects"]]
    assert not {raw, "bm9uZQ=="} & set(made)
    assert new["X509CertificateName"].endswith(".net")
    assert why_not(new["X509CertificateName"], made).startswith(said)
    assert bool(why_not(new["X509CertificateName"], made)) == bool(said)


# --- for whatever there may be ---------------------------------------------------------------------------------------

# Words that are in no other word, so that a search anywhere finds them.
words = st.text("abcdefg\u00e4\u00f1\u0436", min_size=1, max_size=8).map(lambda text: f"qx{text}zq")
addresses = st.one_of(
    st.ip_addresses(v=4),
    st.ip_addresses(v=6),
    st.ip_addresses(network="10.0.0.0/8"),
    st.ip_addresses(network="fe80::/10"),
)
sids = st.lists(st.integers(10**6, 10**9), min_size=4, max_size=4).map(lambda n: f"S-1-5-21-{'-'.join(map(str, n))}")
forms = st.sampled_from(
    [
        "{}",
        "Relay for {}",
        "{}.{}",
        "CN={},CN=SMTP Receive Connectors,DC={}",
        "D:\\{}\\Logs\\{}",
        "\u2605{}_{}-({})",
        "<b>{}",
    ]
)


@st.composite
def originals(draw: Any) -> tuple[dict[str, Any], set[str], set[str]]:
    """A document, and the words and numbers of it that nobody may see."""
    pool = draw(st.lists(words, min_size=1, max_size=6, unique_by=str.lower))
    numbers = [str(item) for item in draw(st.lists(addresses, max_size=6))] + draw(st.lists(sids, max_size=2))

    def text() -> str:
        form = draw(forms)
        chosen = [draw(st.sampled_from(pool)) for _ in range(form.count("{}"))]
        chosen = [draw(st.sampled_from([word, word.upper(), word.title()])) for word in chosen]
        return str(form.format(*chosen)) + "".join(
            f" {item};" for item in draw(st.lists(st.sampled_from(numbers or [""])))
        )

    objects = [
        {
            "Name": text(),
            "Comment": text(),
            "RemoteIPRanges": numbers,
            "AuthMechanism": draw(st.sampled_from(["Tls", pool[0]])),
        }
        for _ in range(draw(st.integers(1, 3)))
    ]
    document = {"answer": {"read": {"x": {"objects": objects}}, "accounts": {text(): {"sid": None, "name": text()}}}}
    # An enumeration's words are Exchange's own, as long as they are nobody's name.
    everything = re.sub(r'"AuthMechanism": "[^"]*"', "", json.dumps(document, ensure_ascii=False)).lower()
    return document, {word for word in pool if word in everything}, set(numbers)


@settings(max_examples=150, deadline=None)
@given(originals())
def test_nothing_private_is_left_and_each_thing_has_one_name(
    original: tuple[dict[str, Any], set[str], set[str]],
) -> None:
    document, private, numbers = original
    try:
        scrubber = Scrubber(document)
    except Dense:
        assume(False)
    new = scrubber.document(document)
    assert leftovers(document, scrubber, new) == []
    text = json.dumps(new, ensure_ascii=False).lower()
    assert [word for word in private if word in text] == []
    there = {found for found in re.split(r"[^0-9a-f:.s-]+", text) if found}
    fixed = {str(address) for address in scrubber.addresses._seen} - {str(a) for a in scrubber.addresses.private()}
    assert (numbers - fixed) & there == set()
    # One to one: as many different ones as there were, and as many of each.
    assert len(set(scrubber.words.values())) == len(scrubber.words)
    assert len(set(scrubber.numbers.values())) == len(scrubber.numbers)
    assert len(set(scrubber.addresses._new.values())) == len(scrubber.addresses._new)
    # The same document once more is the same recording.
    assert Scrubber(document).document(document) == new


NETWORKS = st.sampled_from(["10.0.0.0/8", "192.168.0.0/16", "fd00::/8", "8.0.0.0/8", "2a00::/16"])
near = NETWORKS.flatmap(lambda network: st.lists(st.ip_addresses(network=network), min_size=1, max_size=12))


@settings(max_examples=150, deadline=None)
@given(near, st.lists(st.integers(9, 32), max_size=4))
def test_order_networks_and_what_is_public_stay(found: list[Any], prefixes: list[int]) -> None:
    known = Addresses()
    for index, address in enumerate(found):
        known.see(address, prefixes[index] if index < len(prefixes) else None)
    try:
        known.choose()
    except Dense:
        assume(False)
    new = [known.new(address) for address in found]
    for one, one_new in zip(found, new, strict=True):
        assert one.version == one_new.version
        assert is_public(one_address(one)) == is_public(one_address(one_new))
        for other, other_new in zip(found, new, strict=True):
            assert (one < other, one == other) == (one_new < other_new, one_new == other_new)
    for address, prefix in zip(found, prefixes, strict=False):
        if not is_public(one_address(address)):
            mates = [network(address, prefix) == network(other, prefix) for other in found]
            assert mates == [network(known.new(address), prefix) == network(other, prefix) for other in new]


def network(address: Any, prefix: int) -> Any:
    return ipaddress.ip_network((address, prefix), strict=False)


@pytest.mark.parametrize(
    "text", ["10.1.0.0/16", "10.1.2.3", "10.1.2.0-10.1.2.9", "fe80::1:2%7", "8.8.0.0/16", "8.8.8.8"]
)
def test_a_range_stays_a_range(text: str) -> None:
    before, after = read_shown_range(text), read_shown_range(scrubbed(text))
    assert (before.size > 1, is_public(before), before.zone) == (after.size > 1, is_public(after), after.zone)


def test_rights_and_odd_things_of_others_come_through(tmp_path: Path) -> None:
    machine = Machine(language="de")
    odd = connector("EX1", "Contoso scanners", Bindings=["0.0.0.0:26"], RemoteIPRanges=["10.9.0.1", "somewhere"])
    machine.state["exchange_receive_connectors"].append(odd)
    machine.state["permissions"].append(
        {
            "Of": odd["Identity"],
            "User": ANONYMOUS,
            "ExtendedRights": [RELAY.lower()],
            "Deny": False,
            "IsInherited": True,
        }
    )
    with pytest.raises(Refused, match="can't be judged"):
        recorded(machine, tmp_path, receive_connectors=[relay_connector("10.0.0.25")])
    (path,) = tmp_path.iterdir()
    read = json.loads(path.read_text())["answer"]["read"]
    (entry,) = read["permissions"]["objects"]
    there = read["exchange_receive_connectors"]["objects"][-1]
    assert entry["Of"] == there["Identity"]
    assert entry["User"] == "NT-AUTORIT\u00c4T\\ANONYMOUS-ANMELDUNG"
    assert (entry["ExtendedRights"], entry["IsInherited"]) == ([RELAY.lower()], True)
    assert len(there["RemoteIPRanges"]) == 2
    assert "somewhere" not in path.read_text()
