"""What is assumed of Exchange, turned the other way in the stand-in; and the page that lists it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from organisation import Machine, certificate, converged, fresh, planned, relay_connector
from standin_host import StandinHost

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.kinds.mail_access import IMAP, POP
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.kinds.transport import (
    FRONTEND_TRANSPORT,
    TRANSPORT,
)
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.refusals import Refused
from standin import dovecot, state
from standin import fresh as standin_fresh

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "exchange-assumptions.md"
RELAYING = relay_connector("10.1.1.12")


@pytest.fixture
def host(tmp_path: Path) -> StandinHost:
    return StandinHost(tmp_path)


def test_a_change_that_transport_serves_only_later_is_confirmed_by_what_the_cmdlets_show(host: StandinHost) -> None:
    host.set("Standin.InForce", {"Delay": 300})
    assert host.configure(receive_connectors=[RELAYING])["changed"]
    served = state.load(host.state)
    assert "Relay" not in {connector.Name for connector in served.connectors}
    assert not [entry for entry in served.permissions if entry.Identity == "EX1\\Relay"]
    host.set("Standin.InForce", {})
    assert "Relay" in {connector.Name for connector in state.load(host.state).connectors}


def test_one_controller_is_asked_throughout_where_another_one_lags(host: StandinHost) -> None:
    """Each session has another one where none is named; what one was told the other would know minutes later."""
    host.set("Standin.Replication", {"Lag": 300})
    assert host.configure(receive_connectors=[RELAYING])["changed"]
    calls = [call for name in ("New-ReceiveConnector", "Get-ADPermission") for call in host.cmdlets(name)]
    assert {call["parameters"].get("DomainController") for call in calls} == {"dc1.example.test"}


@pytest.mark.parametrize("whole", [False, True])
def test_certificates_are_read_the_same_whatever_a_session_brings(host: StandinHost, whole: bool) -> None:
    held = {"RawData": certificate("mail.example.test"), "Services": "IIS", "Status": "Valid", "Subject": "CN=a"}
    host.set("ExchangeCertificate", [held], "Standin.WholeCertificates", whole)
    imap = {"properties": {"X509CertificateName": "mail.example.test"}}
    assert host.configure(check_mode=True, imap=imap)["changed"]
    with pytest.raises(Refused, match="but EX1 has no certificate for that name"):
        host.configure(check_mode=True, imap={"properties": {"X509CertificateName": "gone.example.test"}})


def test_a_bound_that_is_not_the_published_one_is_told_in_exchanges_words(host: StandinHost) -> None:
    host.set("Standin.Bounds", {"Set-ReceiveConnector": {"MaxHopCount": [1, 30]}})
    desired = {"name": "Default Frontend EX1", "properties": {"MaxHopCount": 40}}
    with pytest.raises(Refused) as refused:
        host.configure(receive_connectors=[desired])
    assert "EX1 refused Set-ReceiveConnector" in str(refused.value)
    assert 'The property value "40" of MaxHopCount is out of its range from 1 to 30.' in str(refused.value)
    assert "Done before that: nothing." in str(refused.value)


@pytest.mark.parametrize(
    ("name", "on"), [("mail.example.test", True), ("MAIL.example.test", True), ("EX1", True), ("gone.example", False)]
)
def test_a_name_without_a_certificate_leaves_imap_without_tls_where_it_decides(
    tmp_path: Path, name: str, on: bool
) -> None:
    tls = tmp_path / "tls.pem"
    tls.write_text(pem(certificate("mail.example.test")))
    document = standin_fresh.fresh("EX1", "ex1.example.test", ["example.test"], {})
    for decides in (False, True):
        document["Standin"] = {"CertificateNameDecides": decides}
        document["ImapSettings"]["X509CertificateName"] = name
        text = dovecot.configuration(dovecot.PROTOCOLS[0], state.load(document), tmp_path, tmp_path, tls)
        there = on or not decides
        assert ("ssl = required" in text, "port = 993" in text) == (there, there)
        assert ("ssl = no" in text) != there


def pem(raw: str) -> str:
    lines = "\n".join(re.findall(".{1,64}", raw))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"


# --- defaults --------------------------------------------------------------------------------------------------------

SHOWN = {
    "local path": st.sampled_from(["C:\\Logs\\A", "D:\\B"]),
    "true or false": st.booleans(),
    "logging level": st.sampled_from(["None", "Verbose"]),
    "time": st.sampled_from(["Hourly", "Daily", "Weekly", "Monthly"]),
    "time span": st.sampled_from(["30.00:00:00", "00:00:00", "7.00:00:00"]),
    "size or Unlimited": st.sampled_from(["Unlimited", "10 MB (10,485,760 bytes)", "1 GB (1,073,741,824 bytes)"]),
}
LOGS = [
    (kind, entry)
    for kind in (TRANSPORT, FRONTEND_TRANSPORT, IMAP, POP)
    for entry in kind.properties
    if "Log" in entry.name and entry.bounds is None and entry.type.name in SHOWN
]


@given(st.data())
def test_no_default_of_a_log_setting_is_relied_on(data: st.DataObject) -> None:
    """Whatever a server has, what is wanted comes of it, and what is there already is left alone."""
    kind, entry = data.draw(st.sampled_from(LOGS))
    before, wanted = (data.draw(SHOWN[entry.type.name]) for _unused in range(2))
    machine = Machine(fresh())
    machine.state[kind.variable][0][entry.name] = before
    argument = {kind.argument: {"properties": {entry.name: wanted}}}
    same = entry.type.read(before) == entry.type.read(wanted)
    plan = planned(machine, **argument) if same else converged(machine, **argument)
    assert bool([found for found in plan.operations if found.command == kind.set.name]) != same


# --- the page --------------------------------------------------------------------------------------------------------


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_every_switch_that_there_is_stands_on_the_page_and_no_other() -> None:
    there = set(state.KINDS["Standin"].acted) - {"JournalRequests", "Faults"}
    named = {name for row in rows() for name in re.findall(r"`Standin\.(\w+)", row[2])}
    assert named == there
    for row in rows():
        for kind, properties in re.findall(r"`([A-Z]\w+)(?:\[…\])?\.(\w+)", row[2]):
            known = state.KINDS.get(kind)
            fits = kind in state.KEPT or (known is not None and (known.carried is None or properties in known.acted))
            assert fits or kind == "ADPermission", row[2]


def test_every_test_that_the_page_names_exists() -> None:
    written = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for row in rows():
        assert len(row) == 6, row
        assert row[4], row
        for name in re.findall(r"`(test_\w+)(\.py)?`", row[3]):
            assert f"def {name[0]}(" in written or list((ROOT / "tests").rglob(f"{name[0]}.py")), name
        assert "test_" in row[3], row


def test_the_stand_ins_own_page_has_the_same_switches() -> None:
    text = (ROOT / "tests" / "standin" / "README.md").read_text()
    for name in set(state.KINDS["Standin"].acted) - {"JournalRequests"}:
        assert f"Standin.{name}" in text, name
