"""What a converged run of exchange_configuration costs with 100 receive connectors against one, and with all kinds.

    python tests/benchmarks/exchange.py

`controller` is reading the variables, making the question, reading the answer and planning. `in all` is the same with
the scripts under a real PowerShell, its start among it, with the session of the unit tests; a real Exchange takes its
own time for each cmdlet. All figures are CPU time.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "unit" / "exchange"), str(ROOT / "tests"), str(ROOT / ".cache" / "collections")]

# They are found by the path that was just set, so they can't stand above (E402).
from organisation import Machine, converged, relay_connector  # noqa: E402
from shell import Action, Windows, over_powershell, over_python  # noqa: E402

from powershell import find_or_skip  # noqa: E402

ROUNDS = 15
WHOLE_ROUNDS = 3
BINDING = 3000
MANY = 100
MANY_KINDS_WITH = 8  # the five of setup, and the gateways' three


def spent_time() -> float:
    """CPU time of this process and those that it waited for: the load of the machine is none of it."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def wanted(number: int) -> list[dict[str, Any]]:
    """So many connectors."""
    desired = [relay_connector("10.0.0.25", name=f"R{n}") for n in range(number)]
    for n, connector in enumerate(desired):
        connector["properties"]["Bindings"] = [f"0.0.0.0:{BINDING + n}"]
    return desired


# Everything that a server is asked for beside its connectors.
OTHERS: dict[str, Any] = {
    "imap": {"enabled": True, "properties": {"EnableGSSAPIAndNTLMAuth": False, "LoginType": "SecureLogin"}},
    "pop": {"enabled": True, "properties": {"LoginType": "SecureLogin"}},
    "transport": {"properties": {"IntraOrgConnectorProtocolLoggingLevel": "Verbose"}},
    "frontend_transport": {"properties": {"IntraOrgConnectorProtocolLoggingLevel": "Verbose"}},
    "client_access_service": {
        "properties": {"AutoDiscoverServiceInternalUri": "https://ex1.example.com/Autodiscover/Autodiscover.xml"}
    },
    "organization_config": {"properties": {"MapiHttpEnabled": True}},
    "transport_config": {"properties": {"MaxReceiveSize": "50MB"}},
    "outlook_providers": [{"name": "EXPR", "properties": {"CertPrincipalName": None}}],
    "edge_traversal_ports": [143, 993],
}
# The cmdlets by which the tests' session shows it, and what the tests' server calls it.
SHOWN = {
    "Get-ImapSettings": "exchange_imap",
    "Get-PopSettings": "exchange_pop",
    "Get-TransportService": "exchange_transport",
    "Get-FrontendTransportService": "exchange_frontend_transport",
    "Get-ServerComponentState": "components",
    "Get-OrganizationConfig": "exchange_organization_config",
    "Get-TransportConfig": "exchange_transport_config",
    "Get-OutlookProvider": "exchange_outlook_providers",
}


class Everything(Windows):
    """A host whose session has the cmdlets of all kinds."""

    modules = os.pathsep.join((Windows.modules, str(Path(__file__).parent / "session")))


def controller(number: int, **others: Any) -> float:
    """The best of several rounds of the plugin's own part."""
    machine = Machine()
    desired = wanted(number)
    converged(machine, receive_connectors=desired, **others)
    answering = over_python(machine)
    rounds = []
    for _ in range(ROUNDS):
        spent = 0.0

        def timed(arguments: dict[str, object]) -> object:
            nonlocal spent
            begin = spent_time()
            answer = answering(arguments)
            spent += spent_time() - begin
            return answer

        begin = spent_time()
        result = Action(timed).configure(receive_connectors=desired, **others)
        rounds.append(spent_time() - begin - spent)
        assert not result["changed"]
    return min(rounds)


def in_all(number: int, **others: Any) -> float:
    """The best of a few whole runs with PowerShell."""
    machine = Machine()
    desired = wanted(number)
    converged(machine, receive_connectors=desired, **others)
    permissions = [
        {**entry, "Identity": found["DistinguishedName"]}
        for entry in machine.state["permissions"]
        for found in machine.state["exchange_receive_connectors"]
        if found["Identity"] == entry["Of"]
    ]
    with TemporaryDirectory() as folder:
        state: dict[str, Any] = {name: machine.state[name] for name in ("services", "firewall")}
        state |= {"connectors": machine.state["exchange_receive_connectors"], "permissions": permissions}
        state["settings"] = {cmdlet: machine.state[name] for cmdlet, name in SHOWN.items()}
        windows = Everything(Path(folder), **state)
        rounds = []
        for _ in range(WHOLE_ROUNDS):
            begin = spent_time()
            result = Action(over_powershell(windows)).configure(receive_connectors=desired, **others)
            rounds.append(spent_time() - begin)
            assert not result["changed"]
    return min(rounds)


def own_start() -> float:
    """The best of a few starts of PowerShell that do nothing."""
    rounds = []
    for _ in range(WHOLE_ROUNDS):
        begin = spent_time()
        subprocess.run([str(find_or_skip()), "-NoProfile", "-Command", "1"], check=True, capture_output=True)
        rounds.append(spent_time() - begin)
    return min(rounds)


def main() -> None:
    """Print a line for each number of connectors, and what many are to one."""
    start, whole = own_start(), {}
    for number in (1, MANY):
        whole[number] = in_all(number)
        print(f"{number:4} connectors: controller {controller(number) * 1000:6.1f} ms, in all {whole[number]:5.2f} s")
    without = (whole[MANY] - start) / (whole[1] - start)
    every = in_all(MANY_KINDS_WITH, **OTHERS)
    alone = in_all(MANY_KINDS_WITH)
    print(f"all kinds : {MANY_KINDS_WITH} connectors alone = {every:.2f} s : {alone:.2f} s = {every / alone:.2f}")
    spent = controller(MANY_KINDS_WITH, **OTHERS), controller(MANY_KINDS_WITH)
    print(f"  on the controller {spent[0] * 1000:.1f} ms : {spent[1] * 1000:.1f} ms")
    print(f"{MANY} : 1 = {whole[MANY] / whole[1]:.2f} in all, {without:.2f} without PowerShell's start ({start:.2f} s)")


if __name__ == "__main__":
    main()
