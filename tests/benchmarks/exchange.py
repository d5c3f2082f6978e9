"""What a converged run of exchange_configuration costs with 100 receive connectors against one.

    python tests/benchmarks/exchange.py

`controller` is reading the variables, making the question, reading the answer and planning. `in all` is the same with
the scripts under a real PowerShell, its start among it, with the session of the unit tests; a real Exchange takes its
own time for each cmdlet.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "unit" / "exchange"), str(ROOT / ".cache" / "collections")]

# They are found by the path that was just set, so they can't stand above (E402).
from organisation import Machine, converged, relay_connector  # noqa: E402
from shell import Action, Windows, over_powershell, over_python, powershell  # noqa: E402

ROUNDS = 15
WHOLE_ROUNDS = 3
BINDING = 3000
MANY = 100


def wanted(number: int) -> list[dict[str, Any]]:
    """So many connectors."""
    desired = [relay_connector("10.0.0.25", name=f"R{n}") for n in range(number)]
    for n, connector in enumerate(desired):
        connector["properties"]["Bindings"] = [f"0.0.0.0:{BINDING + n}"]
    return desired


def controller(number: int) -> float:
    """The best of several rounds of the plugin's own part."""
    machine = Machine()
    desired = wanted(number)
    converged(machine, receive_connectors=desired)
    answering = over_python(machine)
    rounds = []
    for _ in range(ROUNDS):
        spent = 0.0

        def timed(arguments: dict[str, object]) -> object:
            nonlocal spent
            begin = time.perf_counter()
            answer = answering(arguments)
            spent += time.perf_counter() - begin
            return answer

        begin = time.perf_counter()
        result = Action(timed).configure(receive_connectors=desired)
        rounds.append(time.perf_counter() - begin - spent)
        assert not result["changed"]
    return min(rounds)


def in_all(number: int) -> float:
    """The best of a few whole runs with PowerShell."""
    machine = Machine()
    desired = wanted(number)
    converged(machine, receive_connectors=desired)
    permissions = [
        {**entry, "Identity": found["DistinguishedName"]}
        for entry in machine.state["permissions"]
        for found in machine.state["exchange_receive_connectors"]
        if found["Identity"] == entry["Of"]
    ]
    with TemporaryDirectory() as folder:
        state = {"connectors": machine.state["exchange_receive_connectors"], "permissions": permissions}
        windows = Windows(Path(folder), **state)
        rounds = []
        for _ in range(WHOLE_ROUNDS):
            begin = time.perf_counter()
            result = Action(over_powershell(windows)).configure(receive_connectors=desired)
            rounds.append(time.perf_counter() - begin)
            assert not result["changed"]
    return min(rounds)


def own_start() -> float:
    """The best of a few starts of PowerShell that do nothing."""
    rounds = []
    for _ in range(WHOLE_ROUNDS):
        begin = time.perf_counter()
        subprocess.run([powershell(), "-NoProfile", "-Command", "1"], check=True, capture_output=True)
        rounds.append(time.perf_counter() - begin)
    return min(rounds)


def main() -> None:
    """Print a line for each number of connectors, and what many are to one."""
    start, whole = own_start(), {}
    for number in (1, MANY):
        whole[number] = in_all(number)
        print(f"{number:4} connectors: controller {controller(number) * 1000:6.1f} ms, in all {whole[number]:5.2f} s")
    without = (whole[MANY] - start) / (whole[1] - start)
    print(f"{MANY} : 1 = {whole[MANY] / whole[1]:.2f} in all, {without:.2f} without PowerShell's start ({start:.2f} s)")


if __name__ == "__main__":
    main()
