"""The action plugin: as few calls as promised, the same words in check mode, and a sentence for whatever goes wrong."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import pytest
from ansible.errors import AnsibleError
from organisation import Machine, relay_connector
from shell import Action, over_python

from ansible_collections.postern.mail_gateway.plugins.action import exchange_configuration
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.operations import Phase
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.refusals import Refused

RELAY = [relay_connector("10.0.0.25")]
ALL = {
    "receive_connectors": RELAY,
    "imap": {"enabled": True, "properties": {"EnableGSSAPIAndNTLMAuth": False}},
    "transport": {"properties": {"IntraOrgConnectorProtocolLoggingLevel": "Verbose"}},
    "edge_traversal_ports": [143],
}


@pytest.mark.parametrize("number", [1, 100])
def test_three_calls_change_and_one_finds_nothing_to_do(number: int) -> None:
    machine = Machine()
    desired = [relay_connector("10.0.0.25", name=f"R{n}") for n in range(number)]
    for n, connector in enumerate(desired):
        connector["properties"]["Bindings"] = [f"0.0.0.0:{3000 + n}"]
    action = Action(over_python(machine))
    assert action.configure(**{**ALL, "receive_connectors": desired})["changed"]
    assert len(action.calls) == 3
    again = Action(over_python(machine))
    result = again.configure(**{**ALL, "receive_connectors": desired})
    assert not result["changed"]
    assert "diff" not in result
    assert len(again.calls) == 1


def test_check_mode_says_what_a_run_does() -> None:
    machine = Machine()
    before = copy.deepcopy(machine.state)
    checking = Action(over_python(machine), check_mode=True)
    checked = checking.configure(**ALL)
    assert machine.state == before
    assert len(checking.calls) == 1
    assert checking._task.check_mode
    assert Action(over_python(machine)).configure(**ALL) == checked


def test_no_secret_place_is_in_the_result() -> None:
    result = Action(over_python(Machine())).configure(**ALL)
    assert not {"invocation", "stdin", "cmd", "stdout"} & set(result)


def test_an_answer_is_found_in_noise() -> None:
    noise = 'WARNING: hello\r\n{"a": 1}\r\n<<"end">>'
    assert Action(over_python(Machine(), noise)).configure(**ALL)["changed"]


@pytest.mark.parametrize(
    "done",
    [
        {"rc": 1, "stdout": "", "stderr": "The process was killed.\r\nat line 1"},
        {"rc": 1, "stdout": '<<"postern">>{"server": ', "stderr": "The process was killed."},
        {"failed": True, "msg": "The process was killed."},
        {"rc": 0, "stdout": '<<"postern">>nonsense<<"end">>', "stderr": "The process was killed"},
    ],
)
def test_a_powershell_that_dies_is_told(done: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        Action(lambda _: done).configure(**ALL)
    assert str(refused.value) == (
        "PowerShell gave no answer (The process was killed); nothing was changed. Look at the server and run again: a "
        "new run goes on from here."
    )


def test_a_powershell_that_dies_in_mid_change_is_told_and_the_next_run_goes_on() -> None:
    machine = Machine()
    call = over_python(machine)
    seen: list[str] = []

    def dying(arguments: dict[str, Any]) -> dict[str, Any]:
        done: dict[str, Any] = call(arguments)
        seen.append("call")
        return {"rc": -1, "stdout": "", "stderr": ""} if len(seen) == 2 else done

    with pytest.raises(Refused, match=r"\(it ended with -1\); what was applied before isn't known\."):
        Action(dying).configure(**ALL)
    assert not Action(call).configure(**ALL)["changed"]


def test_an_operation_that_fails_is_told_with_what_was_done_and_what_was_not() -> None:
    machine = Machine()
    machine.fail_at = 1
    with pytest.raises(Refused) as refused:
        Action(over_python(machine)).configure(**ALL)
    first, rest = refused.value.sentences
    assert first.startswith("EX1 refused Add-ADPermission (")
    assert first.endswith("on receive connector EX1\\Relay): The operation couldn't be performed.")
    assert rest.startswith("Done before that: receive connector EX1\\Relay is created; service MSExchangeIMAP4BE runs;")
    assert "Not done: receive connector EX1\\Relay is on; transport service of EX1 has its IntraOrgConn" in rest
    machine.fail_at = None
    Action(over_python(machine)).configure(**ALL)
    assert not Action(over_python(machine)).configure(**ALL)["changed"]


def test_what_still_differs_is_named_with_what_was_wanted_and_found() -> None:
    machine = Machine()
    run = machine.run

    def stubborn(command: str, parameters: dict[str, Any], connector: str = "") -> None:
        if command != "Set-ImapSettings":
            run(command, parameters, connector)

    machine.run = stubborn  # type: ignore[method-assign]
    with pytest.raises(Refused) as refused:
        Action(over_python(machine)).configure(imap={"properties": {"EnableGSSAPIAndNTLMAuth": False}})
    assert str(refused.value) == (
        "IMAP settings of EX1 isn't as it should be 0 seconds after the change: found EnableGSSAPIAndNTLMAuth: True, "
        "wanted EnableGSSAPIAndNTLMAuth: False; somebody else changes it too, or Exchange doesn't take the value as it "
        "is written."
    )


def test_bad_input_ends_before_the_server_is_asked() -> None:
    action = Action(over_python(Machine()))
    with pytest.raises(Refused):
        action.configure(receive_connectors=[{"name": "A", "properties": {"Nonsense": 1}}])
    assert action.calls == []


def test_a_controller_without_the_collection_is_told_what_to_install() -> None:
    def missing(_: dict[str, Any]) -> dict[str, Any]:
        raise AnsibleError("The module ansible.windows.win_shell was not found in configured module paths.")

    with pytest.raises(Refused, match=r"ansible-galaxy collection install ansible\.windows\."):
        Action(missing).configure(**ALL)


def test_a_large_declaration_is_sent_by_standard_input() -> None:
    action = Action(over_python(Machine()), check_mode=True)
    desired = [relay_connector("10.0.0.25", name=f"R{n}") for n in range(400)]
    for n, connector in enumerate(desired):
        connector["properties"] |= {"Bindings": [f"0.0.0.0:{3000 + n}"], "Comment": "x" * 500}
    assert action.configure(receive_connectors=desired)["changed"]
    assert all(len(call["_raw_params"]) < 2000 for call in action.calls)


def lagging(machine: Machine, looks: int) -> Any:
    """A host that shows a change only at a later look."""
    call = over_python(machine)
    before = copy.deepcopy(machine.state)
    left = [looks]

    def late(arguments: dict[str, Any]) -> dict[str, Any]:
        mode = json.loads(arguments["stdin"])["data"]["mode"]
        if machine.applied and mode == "read" and left[0]:
            left[0] -= 1
            now, machine.state = machine.state, before
            try:
                done: dict[str, Any] = call(arguments)
            finally:
                machine.state = now
            return done
        return call(arguments)

    return late


def test_a_change_that_shows_later_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_configuration, "PAUSE", 0)
    action = Action(lagging(Machine(), 3))
    assert action.configure(**ALL, confirm_timeout=60)["changed"]
    assert len(action.calls) == 6
    with pytest.raises(Refused, match="isn't as it should be 0 seconds after the change"):
        Action(lagging(Machine(), 3)).configure(**ALL, confirm_timeout=0)


def waits_for_proof(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on operations of this cmdlet come after the proof."""
    planned = exchange_configuration.make_plan

    def make_plan(desired: Any, server: Any) -> Any:
        plan = planned(desired, server)
        plan.operations = [
            dataclasses.replace(one, phase=Phase.AFTER_PROOF) if one.command == command else one
            for one in plan.operations
        ]
        return plan

    monkeypatch.setattr(exchange_configuration, "make_plan", make_plan)


def replacing() -> tuple[Machine, list[dict[str, Any]]]:
    """A server with a connector of ours, and another one that is to take its place."""
    machine = Machine()
    Action(over_python(machine)).configure(receive_connectors=[relay_connector("10.0.0.25", name="Old")])
    machine.applied.clear()
    return machine, [relay_connector("10.0.0.26", name="New")]


def test_what_waits_for_the_proof_is_done_when_the_rest_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    waits_for_proof("Remove-ReceiveConnector", monkeypatch)
    machine, desired = replacing()
    action = Action(over_python(machine))
    result = action.configure(receive_connectors=desired)
    assert result["operations"][-1] == "receive connector EX1\\Old is gone"
    assert [operation["command"] for operation in machine.applied] == [
        "New-ReceiveConnector",
        "Add-ADPermission",
        "Set-ReceiveConnector",
        "Remove-ReceiveConnector",
    ]
    modes = [json.loads(call["stdin"])["data"]["mode"] for call in action.calls]
    assert modes == ["read", "apply", "read", "apply", "read"]
    assert not Action(over_python(machine)).configure(receive_connectors=desired)["changed"]


def test_what_waits_for_the_proof_is_not_done_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    waits_for_proof("Remove-ReceiveConnector", monkeypatch)
    machine, desired = replacing()
    run = machine.run

    def stubborn(command: str, parameters: dict[str, Any], connector: str = "") -> None:
        if command != "Add-ADPermission":
            run(command, parameters, connector)

    machine.run = stubborn  # type: ignore[method-assign]
    with pytest.raises(Refused, match=r"receive connector EX1\\New isn't as it should be"):
        Action(over_python(machine)).configure(receive_connectors=desired)
    assert "Remove-ReceiveConnector" not in {operation["command"] for operation in machine.applied}


def test_one_domain_controller_is_asked_and_told_throughout() -> None:
    machine = Machine()
    Action(over_python(machine)).configure(**ALL)
    assert [question["controller"] for question in machine.questions] == ["", "dc1.example.com", "dc1.example.com"]


def test_another_servers_exchange_is_not_set_up_from_here() -> None:
    machine = Machine()
    machine.host = "EX9"
    with pytest.raises(Refused) as refused:
        Action(over_python(machine)).configure(**ALL, server="ex1.example.com")
    assert str(refused.value) == (
        "exchange_server leads to EX1, but this host is EX9: its Exchange would be set up, and this host's services "
        "and network; give the host's own name."
    )
    assert machine.applied == []
