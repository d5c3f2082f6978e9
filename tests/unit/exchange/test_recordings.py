"""Every recording is replayed: what is desired, the plan, the judgement, and once more after that was carried out."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Any

import pytest
from organisation import converged, planned, server_of
from recorded import RECORDINGS, Recorded, load
from serialized import published, windows_of
from shell import Action, over_powershell, over_python

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.concepts import Property
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.desired import read_desired
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.judged import listener_of
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.kinds.receive_connectors import (
    JUDGED_BY,
    RECEIVE_CONNECTOR,
)
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.refusals import Refused
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.values import Unfit

ALL = sorted(RECORDINGS.glob("*.json"))


@pytest.fixture(params=ALL, ids=lambda path: path.name)
def recording(request: pytest.FixtureRequest) -> dict[str, Any]:
    return load(request.param)


def test_there_are_recordings() -> None:
    assert {"published-2019.json", "standin-2019-de.json", "standin-2019-en.json"} <= {path.name for path in ALL}


def test_a_recording_leads_to_a_plan_that_leaves_nothing_to_do(recording: dict[str, Any]) -> None:
    machine = Recorded(recording)
    before = copy.deepcopy(machine.state)
    try:
        planned(machine, **recording["arguments"])
    except Refused:
        assert machine.state == before
    else:
        assert converged(machine, **recording["arguments"]).operations


def is_read(entry: Property, raw: Any) -> bool:
    """Whether a value is understood; then it is something."""
    try:
        assert entry.type.read_shown(raw) is not None, (entry.name, raw)
    except Unfit:
        return False
    return True


def test_no_unknown_is_taken_for_nothing(recording: dict[str, Any]) -> None:
    machine = Recorded(recording)
    server = server_of(machine, read_desired(recording["arguments"]))
    for found in server.connectors:
        doubted = bool(listener_of(found).doubts)
        for entry in RECEIVE_CONNECTOR.properties:
            raw = found.raw.get(entry.name)
            if raw not in (None, "", [], "None"):
                understood = entry.type.read_known(raw)[1] == [] if entry.type.many else is_read(entry, raw)
                assert understood or entry.name not in JUDGED_BY or doubted, (entry.name, raw)
    # Each entry of an access control list counts, unless it certainly denies or gives other access.
    given = [
        entry for entry in machine.state["permissions"] if entry["ExtendedRights"] and str(entry["Deny"]) != "True"
    ]
    counted = {
        (user, right)
        for found in server.connectors
        for rights in ({name.key: {one.key for one in them} for name, them in found.rights.items()}, found.standing)
        for user, them in rights.items()
        for right in them
    }
    for entry in given:
        account = server.accounts.find(entry["User"])
        assert {(account.key, right.lower()) for right in entry["ExtendedRights"]} <= counted, entry


def test_a_recording_holds_what_it_takes_to_record_it_again(recording: dict[str, Any], tmp_path: Path) -> None:
    """What is scrubbed once has nothing private left; doing it once more neither fails nor finds anything."""
    machine = Recorded(recording)
    arguments = {**recording["arguments"], "record": str(tmp_path)}
    with contextlib.suppress(Refused):
        Action(over_python(machine), check_mode=True).configure(**arguments)
    assert len(list(tmp_path.iterdir())) == 1


# --- real objects through the engine ---------------------------------------------------------------------------------


def test_published_objects_go_through_the_engine_as_they_are(tmp_path: Path) -> None:
    windows = windows_of(tmp_path, "2019")
    action = Action(over_powershell(windows), check_mode=True)
    seen: dict[str, Any] = {}

    def keep(question: Any, applying: bool = False) -> Any:
        answer = Action._ask(action, question, applying)
        seen.update(answer.document)
        return answer

    action._ask = keep
    names = [entry["Name"][1] for entry in published("2019")["Get-ReceiveConnector"]]
    # A text that is as it should be asks for the property, and changes nothing.
    texts = [entry.name for entry in RECEIVE_CONNECTOR.properties if entry.type.name in ("text", "name")]
    properties = {name: "" for name in texts if name in published("2019")["Get-ReceiveConnector"][1]}
    result = action.configure(
        server=windows.name,
        receive_connectors=[{"name": names[1], "properties": {**properties, "Comment": ""}}],
        imap={"enabled": True},
    )
    assert result["server"] == {"name": "SOLO-E19A", "version": "2019", "build": "Version 15.2 (Build 986.5)"}
    assert result["back_pressure"] == "Low"
    shown = {entry["Name"]: entry for entry in seen["read"]["exchange_receive_connectors"]["objects"]}
    assert list(shown) == names
    for entry in published("2019")["Get-ReceiveConnector"]:
        there = shown[entry["Name"][1]]
        for name in set(there) & set(entry):
            assert there[name] == entry[name][1], name
    states = {entry["Name"].lower(): entry["StartType"] for entry in seen["read"]["services"]["objects"]}
    assert states == {"msexchangeimap4": "Manual", "msexchangeimap4be": "Manual"}
