"""windows.ps1 under PowerShell: direct server return with Windows' own cmdlets, which the stand-in has.

Its setupapi.dll is compiled here.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from shell import Action

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange import scripts
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.direct_return import DEVICE
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.kinds.windows import (
    DEFAULT_ADAPTER as ADAPTER,
)
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.refusals import Refused
from powershell import find_or_skip
from probes.direct_return import KINDS
from standin.fresh import adapter, fresh

TESTS = Path(__file__).resolve().parents[2]
WINDOWS = TESTS / "standin" / "powershell" / "Windows"
VIP = "10.1.1.200"
DESIRED: dict[str, Any] = {"addresses": [VIP]}
GONE: dict[str, Any] = {"state": "absent"}


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the stand-in's setupapi.dll and newdev.dll, which are one file."""
    compiler = next(filter(None, map(shutil.which, ("tcc", "cc", "gcc"))), None)
    assert compiler, "These tests compile the stand-in's setupapi.dll, and this machine has no C compiler: install tcc."
    folder = tmp_path_factory.mktemp("libraries")
    library = folder / "setupapi.dll"
    subprocess.run([compiler, "-w", "-fPIC", "-shared", "-nostdlib", "-o", library, WINDOWS / "setupapi.c"], check=True)
    for name in ("setupapi.so", "newdev.dll", "newdev.so"):
        (folder / name).symlink_to(library)
    return folder


class Host:
    """A server whose win_shell is the stand-in's powershell.exe."""

    def __init__(self, folder: Path, libraries: Path | str = "/nowhere") -> None:
        self.directory = folder / "ex1"
        self.directory.mkdir()
        self.write(fresh("EX1", "ex1.example.test", ["example.test"], {}, "2019", ["10.1.1.21/24"]))
        self.environment = {
            **os.environ,
            "STANDIN_POWERSHELL": str(find_or_skip()),
            "COMPUTERNAME": "EX1",
            "STANDIN_DIRECTORY": str(self.directory),
            "STANDIN_ORGANISATION": str(folder),
            "STANDIN_PYTHON": sys.executable,
            "STANDIN_PATH": str(TESTS),
            "STANDIN_LIBRARIES": str(libraries),
        }

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / "state.json").read_text())
        return found

    def write(self, state: dict[str, Any]) -> None:
        (self.directory / "state.json").write_text(json.dumps(state))

    def network(self) -> dict[str, Any]:
        state = self.state
        return {kind: [{**item, "InterfaceGuid": ""} for item in state[kind]] for kind in KINDS}

    def loops(self) -> list[dict[str, Any]]:
        return [item for item in self.state["NetAdapter"] if item["ComponentID"] == "*msloop"]

    def powershell(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(WINDOWS.parent / "powershell"), "-NoProfile", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env=self.environment,
            timeout=120,
        )

    def __call__(self, arguments: dict[str, Any]) -> dict[str, Any]:
        done = self.powershell("-Command", arguments["_raw_params"], stdin=arguments["stdin"])
        return {"rc": done.returncode, "stdout": done.stdout, "stderr": done.stderr}

    def configure(self, check_mode: bool = False, **arguments: Any) -> tuple[dict[str, Any], int]:
        """The result, and the number of calls."""
        action = Action(self, check_mode)
        result = action.configure(server="ex1.example.test", session="remote", **arguments)
        return result, len(action.calls)


def test_the_class_for_root_devices_compiles(tmp_path: Path) -> None:
    script = scripts.read("windows.ps1") + (
        "\nInitialize-RootDevice\ntry { [Postern.RootDevice]::Remove('ROOT\\NOTHING\\0000') }"
        "\ncatch { $_.Exception.InnerException.GetType().Name }"
    )
    done = Host(tmp_path).powershell("-Command", script)
    assert done.stdout.strip() == "DllNotFoundException", done.stdout + done.stderr


def test_it_comes_is_left_alone_and_goes(tmp_path: Path, libraries: Path) -> None:
    host = Host(tmp_path, libraries)
    before = host.network()
    result, calls = host.configure(direct_return=DESIRED)
    assert (result["changed"], calls) == (True, 3)

    (loop,) = host.loops()
    assert (loop["Name"], loop["PnPDeviceID"], loop["TcpipNetbiosOptions"]) == (ADAPTER, DEVICE, 2)
    state, index = host.state, loop["InterfaceIndex"]

    def mine(kind: str) -> list[dict[str, Any]]:
        return [item for item in state[kind] if item["InterfaceIndex"] == index]

    assert [
        item["ComponentID"] for item in state["NetAdapterBinding"] if item["Name"] == ADAPTER and item["Enabled"]
    ] == ["ms_tcpip"]
    interface = next(item for item in mine("NetIPInterface") if item["AddressFamily"] == "IPv4")
    wanted = {"InterfaceMetric": 254, "AutomaticMetric": "Disabled", "Dhcp": "Disabled"}
    wanted |= {"WeakHostSend": "Enabled", "WeakHostReceive": "Enabled"}
    assert {name: interface[name] for name in wanted} == wanted
    assert [(item["IPAddress"], item["PrefixLength"], item["SkipAsSource"]) for item in mine("NetIPAddress")] == [
        (VIP, 32, True)
    ]
    (client,) = mine("DnsClient")
    assert client["RegisterThisConnectionsAddress"] is False
    flags = {
        item["InterfaceAlias"]: item["WeakHostReceive"]
        for item in state["NetIPInterface"]
        if item["AddressFamily"] == "IPv4"
    }
    assert flags == {"Loopback Pseudo-Interface 1": "Disabled", "Ethernet": "Enabled", ADAPTER: "Enabled"}

    converged = host.network()
    result, calls = host.configure(direct_return=DESIRED)
    assert (result["changed"], calls) == (False, 1)
    assert host.network() == converged

    result, calls = host.configure(direct_return=GONE)
    assert (result["changed"], calls) == (True, 3)
    assert host.network() == before


def with_loopback(host: Host, name: str, device: str | None = None, status: str = "Up") -> None:
    """An adapter as it comes, before anything is set for it."""
    state = host.state
    adapter(state, name, 12, loopback=True, device=device)
    state["NetAdapter"][-1]["Status"] = status
    host.write(state)


@pytest.mark.parametrize(("name", "device"), [("Ethernet 2", DEVICE), (ADAPTER.upper(), None)])
def test_an_adapter_that_is_there_is_taken_and_no_other_is_made(tmp_path: Path, name: str, device: str | None) -> None:
    host = Host(tmp_path)
    with_loopback(host, name, device=device)
    host.configure(direct_return=DESIRED)
    (loop,) = host.loops()
    assert (loop["Name"].lower(), loop["InterfaceIndex"]) == (ADAPTER.lower(), 12)


def test_what_somebody_changed_is_put_back(tmp_path: Path) -> None:
    host = Host(tmp_path)
    with_loopback(host, ADAPTER, status="Disabled")
    state = host.state
    state["NetIPAddress"] += [
        {"IPAddress": address, "PrefixLength": 24, "InterfaceIndex": 12, "SkipAsSource": False}
        for address in (VIP, "10.1.1.201")
    ]
    host.write(state)
    result, _ = host.configure(direct_return=DESIRED)
    assert [what.partition(f"{ADAPTER} ")[2] for what in result["operations"] if what.startswith("network")] == [
        "is enabled",
        "is bound to IPv4 alone",
        "has the metric 254 and no DHCP",
        "isn't registered in DNS",
        "hasn't the address 10.1.1.201 any more",
        f"has the address {VIP}/32",
    ]
    (address,) = [item for item in host.state["NetIPAddress"] if item["InterfaceIndex"] == 12]
    assert address == {"IPAddress": VIP, "PrefixLength": 32, "InterfaceIndex": 12, "SkipAsSource": True}
    assert host.loops()[0]["Status"] == "Up"


def test_an_installation_that_fails_leaves_nothing_and_is_told(tmp_path: Path) -> None:
    host = Host(tmp_path)
    before = host.network()
    with pytest.raises(Refused) as refused:
        host.configure(direct_return=DESIRED)
    first, rest = refused.value.sentences
    assert first.startswith(
        f"EX1 refused Install-LoopbackAdapter (network adapter {ADAPTER} is installed): Exception calling"
    )
    assert rest.startswith("Done before that: nothing. Not done: network adapter")
    assert host.network() == before


def test_netsh_is_believed_by_its_exit_status_alone(tmp_path: Path) -> None:
    """It speaks German here. What fails is told by number and words of our own."""
    host = Host(tmp_path)
    script = scripts.read("windows.ps1") + (
        "\n$ErrorActionPreference = 'Stop'\nfunction Get-IPv4InterfaceIndex { 99 }\n"
        "try { Set-WeakHost -InterfaceAlias Ethernet -WeakHostReceive Enabled } catch { [string]$_ }"
    )
    done = host.powershell("-Command", script)
    assert done.stdout.strip() == "netsh ended with 1 when it was to set weakhostreceive=enabled for interface 99."


def test_a_run_that_is_killed_is_healed(tmp_path: Path, libraries: Path) -> None:
    host = Host(tmp_path, libraries)
    state = host.state
    state["Standin"]["Faults"] = {"Cmdlets": [{"Cmdlet": "Disable-NetAdapterBinding", "Times": 1, "Die": True}]}
    host.write(state)
    with contextlib.suppress(Refused):
        host.configure(direct_return=DESIRED)
    (loop,) = host.loops()
    assert loop["PnPDeviceID"] == DEVICE
    host.write({**host.state, "Standin": {"JournalRequests": True}})
    host.configure(direct_return=DESIRED)
    assert host.loops() == [{**loop, "TcpipNetbiosOptions": 2, "Name": ADAPTER}]
