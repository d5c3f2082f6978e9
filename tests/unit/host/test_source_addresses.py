"""Additional addresses: what is planned, the unit that keeps them, and runs that are cut short."""

import ipaddress
import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.postern.mail_gateway.plugins.module_utils.host.errors import HostError
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.source_addresses import (
    Plan,
    plan,
    prefixed,
    unit,
    unit_addresses,
)
from ansible_collections.postern.mail_gateway.plugins.modules import source_addresses as module

# An address on a host: (address, interface, prefix length).
Entry = tuple[str, str, int]


def host_prefix(address: str) -> int:
    return ipaddress.ip_address(address).max_prefixlen


def links(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """What ``ip -json address`` says of a host with these addresses, and of its loopback."""
    loopback = {"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host", "label": "lo"}
    found: dict[str, list[dict[str, Any]]] = {"lo": [loopback]}
    for address, interface, prefix in entries:
        found.setdefault(interface, [{"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"}]).append(
            {
                "family": "inet6" if ":" in address else "inet",
                "local": address,
                "prefixlen": prefix,
                "scope": "global",
            }
        )
    return [
        {"ifindex": number, "ifname": name, "flags": ["UP"], "addr_info": addresses}
        for number, (name, addresses) in enumerate(found.items(), start=1)
    ]


HOST: list[Entry] = [
    ("10.0.0.11", "eth0", 24),
    ("2001:db8::11", "eth0", 64),
    ("10.0.1.11", "eth1", 16),
    ("172.16.0.1", "eth2", 32),
]


def test_links_look_like_those_of_ip() -> None:
    """The program's own output has what the tests' stand-in has."""
    said = json.loads(subprocess.run(["ip", "-json", "address"], check=True, capture_output=True, text=True).stdout)
    loopback = next(link for link in said if link["ifname"] == "lo")
    assert loopback.keys() >= links([])[0].keys()
    assert loopback["addr_info"][0].keys() >= links([])[0]["addr_info"][0].keys()
    assert plan([], said, {}) == Plan({})


@pytest.mark.parametrize(
    ("wanted", "managed", "present", "expected"),
    [
        pytest.param([], {}, HOST, Plan({}), id="nothing"),
        pytest.param(["10.0.0.11"], {}, HOST, Plan({}), id="the host's own"),
        pytest.param(
            ["10.0.0.111"], {}, HOST, Plan({"10.0.0.111": "eth0"}, {"10.0.0.111": "eth0"}), id="most specific network"
        ),
        pytest.param(["10.0.2.5"], {}, HOST, Plan({"10.0.2.5": "eth1"}, {"10.0.2.5": "eth1"}), id="wider network"),
        pytest.param(
            ["2001:DB8:0::111"], {}, HOST, Plan({"2001:db8::111": "eth0"}, {"2001:db8::111": "eth0"}), id="IPv6"
        ),
        pytest.param(
            ["10.0.0.111", "10.0.0.111"], {}, HOST, Plan({"10.0.0.111": "eth0"}, {"10.0.0.111": "eth0"}), id="twice"
        ),
        pytest.param(
            ["10.0.0.111"],
            {"10.0.0.111": "eth0"},
            [*HOST, ("10.0.0.111", "eth0", 32)],
            Plan({"10.0.0.111": "eth0"}),
            id="there already",
        ),
        pytest.param(
            ["10.0.0.111"],
            {"10.0.0.111": "eth0"},
            HOST,
            Plan({"10.0.0.111": "eth0"}, {"10.0.0.111": "eth0"}),
            id="ours, and lost",
        ),
        pytest.param(
            [],
            {"10.0.0.111": "eth0"},
            [*HOST, ("10.0.0.111", "eth0", 32)],
            Plan({}, {}, {"10.0.0.111": "eth0"}),
            id="wanted no more",
        ),
        pytest.param([], {"10.0.0.111": "eth0"}, HOST, Plan({}), id="wanted no more, and lost"),
        pytest.param(
            ["10.0.0.111"],
            {"10.0.0.111": "eth0"},
            [*HOST, ("10.0.0.111", "eth0", 24)],
            Plan({}),
            id="the host has taken it into its own configuration",
        ),
        pytest.param(
            ["10.0.0.111"],
            {"10.0.0.111": "eth0"},
            [*HOST, ("10.0.0.111", "eth0", 32), ("10.0.0.111", "eth0", 24)],
            Plan({}, {}, {"10.0.0.111": "eth0"}),
            id="both",
        ),
        pytest.param(
            ["10.0.0.111"],
            {"10.0.0.111": "eth0"},
            [("10.0.0.11", "ens18", 24)],
            Plan({"10.0.0.111": "ens18"}, {"10.0.0.111": "ens18"}),
            id="the interface has another name now",
        ),
        pytest.param(
            ["10.0.0.111"],
            {"10.0.0.111": "eth0"},
            [("10.0.0.11", "ens18", 24), ("10.0.0.111", "ens18", 32)],
            Plan({"10.0.0.111": "ens18"}),
            id="… and somebody has mended it by hand",
        ),
        pytest.param(
            ["10.0.0.111"],
            {"10.0.0.111": "eth0"},
            [("10.0.0.11", "eth1", 24), ("10.0.0.111", "eth0", 32)],
            Plan({"10.0.0.111": "eth1"}, {"10.0.0.111": "eth1"}, {"10.0.0.111": "eth0"}),
            id="the network has moved",
        ),
        pytest.param(
            ["10.0.0.111"],
            {"10.0.0.111": "eth1"},
            [("10.0.0.11", "eth0", 24), ("10.0.0.12", "eth1", 24), ("10.0.0.111", "eth1", 32)],
            Plan({"10.0.0.111": "eth1"}),
            id="it stays where it is, if that is as good",
        ),
        pytest.param(
            ["10.0.0.111"],
            {},
            [("10.0.0.11", "eth1", 24), ("10.0.0.12", "eth0", 24)],
            Plan({"10.0.0.111": "eth0"}, {"10.0.0.111": "eth0"}),
            id="one network on two interfaces",
        ),
    ],
)
def test_plan(wanted: list[str], managed: dict[str, str], present: list[Entry], expected: Plan) -> None:
    assert plan(wanted, links(present), managed) == expected


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("10.0.0.111/24", 'addresses is "10.0.0.111/24", but must be one address; write 10.0.0.111.'),
        ("gw1", 'addresses is "gw1", but must be an address such as'),
        (
            "192.168.7.1",
            "The address 192.168.7.1 is in none of this host's networks (10.0.0.0/16, 10.0.0.0/24, 172.16.0.1/32,",
        ),
        ("fe80::5", 'addresses is "fe80::5", but must not be link-local'),
        ("127.0.0.1", 'addresses is "127.0.0.1", but must not be loopback'),
        ("::", 'addresses is "::", but must be a real address'),
    ],
)
def test_error_is_a_sentence(address: str, sentence: str) -> None:
    with pytest.raises(HostError) as raised:
        plan([address], links(HOST), {})
    assert str(raised.value).startswith(sentence)
    assert str(raised.value).endswith(".")
    assert "\n" not in str(raised.value)


def test_host_without_a_network_is_said() -> None:
    with pytest.raises(HostError, match=r"none of this host's networks \(it has none\)"):
        plan(["10.0.0.1"], links([]), {})


def test_what_is_ours_makes_no_network() -> None:
    """An address of ours lies in its own /32 and would otherwise hold itself on an interface for ever."""
    with pytest.raises(HostError, match=r"\(172\.16\.0\.0/24\)"):
        plan(["10.0.0.111"], links([("172.16.0.1", "eth0", 24), ("10.0.0.111", "eth0", 32)]), {"10.0.0.111": "eth0"})


# --- any host ---------------------------------------------------------------------------------------------------------

INTERFACES = st.sampled_from(["eth0", "eth1", "ens18"])
NAMES = [*(f"10.0.{net}.{host}" for net in (0, 1) for host in (11, 12, 111)), "2001:db8::11", "2001:db8::111"]
ENTRIES = st.builds(
    lambda address, interface, wide: (
        address,
        interface,
        {"wide": 56 if ":" in address else 16, "usual": 64 if ":" in address else 24}.get(wide, host_prefix(address)),
    ),
    st.sampled_from(NAMES),
    INTERFACES,
    st.sampled_from(["wide", "usual", "usual", "single"]),
)
# A host takes the same address with the same prefix length once on each interface.
HOSTS = st.sets(ENTRIES, min_size=1, max_size=6)
WANTED = st.lists(st.sampled_from(NAMES), max_size=3)


def applied(present: set[Entry], what: Plan) -> set[Entry]:
    """The host afterwards; ``ip`` itself would complain about an address to remove that isn't there."""
    gone = {(address, interface, host_prefix(address)) for address, interface in what.remove.items()}
    assert gone <= present
    return (present - gone) | {(address, interface, host_prefix(address)) for address, interface in what.add.items()}


@given(own=HOSTS, later=HOSTS, first=WANTED, second=WANTED)
@settings(max_examples=70, deadline=None)
def test_any_plan(own: set[Entry], later: set[Entry], first: list[str], second: list[str]) -> None:
    """Two plans, while the host's own configuration may change in between."""
    managed: dict[str, str] = {}
    ours: set[Entry] = set()
    for present, wanted in ((own, first), (later, second)):
        before = present | ours
        try:
            what = plan(wanted, links(sorted(before)), managed)
        except HostError as error:
            assert str(error).count(". ") == 0  # noqa: PT017 (whether it is raised depends on the example)
            return
        after = applied(before, what)
        # Every wanted address is there, once as far as it is ours, and by us only where the host hadn't it.
        assert {address for address, _, _ in after} >= set(wanted)
        assert what.managed.keys() <= set(wanted)
        assert what.add.items() <= what.managed.items()
        # Only what is managed is removed.
        assert what.remove.items() <= managed.items()
        assert before - after <= ours
        # Nothing of ours is left over.
        assert {(a, i) for a, i, p in (ours & after) - present if p == host_prefix(a)} <= what.managed.items()
        again = plan(wanted, links(sorted(after)), what.managed)
        assert again == Plan(what.managed)
        managed = dict(what.managed)
        ours = {(address, interface, host_prefix(address)) for address, interface in managed.items()} & after


# --- the unit ---------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from([str(ipaddress.ip_address(name)) for name in NAMES]), INTERFACES))
def test_unit_tells_what_it_puts_there(addresses: dict[str, str]) -> None:
    assert unit_addresses(unit("Addresses", "haproxy.service", addresses)) == addresses


def test_unit_is_one_for_systemd(tmp_path: Path) -> None:
    text = unit("Additional source addresses of haproxy", "haproxy.service", {"10.0.0.5": "eth0", "2001:db8::5": "e1"})
    assert "Before=haproxy.service\n" in text
    # A restart of systemd-networkd (257) takes away what it doesn't know; so does one of ifupdown's service.
    for line in ("PartOf=", "After="):
        (services,) = (found for found in text.splitlines() if found.startswith(line))
        assert {"systemd-networkd.service", "networking.service", "NetworkManager.service"} <= set(
            services.removeprefix(line).split()
        )
    assert "ExecStart=ip address replace 10.0.0.5/32 dev eth0\n" in text
    # Duplicate address detection would keep the address from being used for a second after the start.
    assert "ExecStart=ip address replace 2001:db8::5/128 dev e1 nodad\n" in text
    path = tmp_path / "haproxy-addresses.service"
    path.write_text(text)
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", str(path)], check=False, capture_output=True, text=True
    )
    assert (verified.returncode, verified.stderr) == (0, "")


# --- the module -------------------------------------------------------------------------------------------------------


class Left(BaseException):
    """The module has come to its end."""


class Killed(BaseException):
    """The module was killed."""


@dataclass
class Host:
    """A host as far as the module sees it: addresses, one folder of units, and the commands it runs."""

    folder: Path
    addresses: set[Entry] = field(default_factory=lambda: set(HOST))
    enabled: set[str] = field(default_factory=set)
    # What systemd has read of the units at the last daemon-reload.
    loaded: dict[str, str] = field(default_factory=dict)
    commands: list[list[str]] = field(default_factory=list)
    kill_at: int = 0

    @property
    def unit(self) -> Path:
        return self.folder / "haproxy-addresses.service"

    def boot(self) -> None:
        """Start again: what isn't in the host's own configuration is gone, then the enabled units run."""
        self.addresses = set(HOST)
        self.reload()
        for name in self.enabled & self.loaded.keys():
            self.start(name)

    def reload(self) -> None:
        self.loaded = {path.name: path.read_text() for path in self.folder.glob("*.service")}

    def start(self, name: str) -> None:
        for address, interface in unit_addresses(self.loaded[name]).items():
            self.addresses.add((address, interface, host_prefix(address)))

    def run(self, arguments: list[str]) -> tuple[int, str, str]:
        if arguments == ["ip", "-json", "address"]:
            return 0, json.dumps(links(sorted(self.addresses))), ""
        if arguments[:2] == ["systemctl", "is-enabled"]:
            return int(arguments[2] not in self.enabled), "", ""
        self.commands.append(arguments)
        if len(self.commands) == self.kill_at:
            raise Killed
        match arguments:
            case ["systemctl", "daemon-reload"]:
                self.reload()
            case ["systemctl", "enable", "--quiet", name]:
                self.enabled.add(name)
            case ["systemctl", "disable", "--quiet", "--now", name]:
                if not (self.folder / name).exists():
                    return 1, "", f"Failed to disable unit: Unit file {name} does not exist."
                self.enabled.discard(name)
            case ["systemctl", "restart", name]:
                self.start(name)
            case ["ip", "address", "delete", address, "dev", interface]:
                name, _, prefix = address.partition("/")
                if (name, interface, int(prefix)) not in self.addresses:
                    return 2, "", "RTNETLINK answers: Cannot assign requested address"
                self.addresses.discard((name, interface, int(prefix)))
            case _:
                raise AssertionError(arguments)
        return 0, "", ""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def run(host: Host, addresses: list[str], *, prune: bool = False, check_mode: bool = False) -> dict[str, Any]:
    """Run the module on the stand-in of a host and return its result."""
    result: dict[str, Any] = {}

    class Module:
        params: Mapping[str, Any] = {"addresses": addresses, "service": "haproxy", "prune": prune}

        def __init__(self, **_: Any) -> None:
            self.check_mode = check_mode

        def exit_json(self, **values: Any) -> None:
            result.update(values)
            raise Left

        def fail_json(self, **values: Any) -> None:
            result.update(values, failed=True)
            raise Left

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AnsibleModule", Module)
        patch.setattr(module, "UNITS", host.folder)
        patch.setattr(module, "run", lambda *said: subprocess.CompletedProcess(said, *host.run(list(said))))
        with pytest.raises(Left):
            module.main()
    return result


def role(host: Host, addresses: list[str]) -> list[dict[str, Any]]:
    """What the role does: add, reload HAProxy, and then remove what is withdrawn."""
    results = [run(host, addresses)]
    if results[0].get("withdrawn"):
        results.append(run(host, addresses, prune=True))
    return results


def additional(host: Host) -> set[Entry]:
    return host.addresses - set(HOST)


def test_addresses_come_stay_and_go(host: Host) -> None:
    first = run(host, ["10.0.0.11", "10.0.0.111", ""])
    assert first["changed"] is True
    assert first["managed"] == {"10.0.0.111": "eth0"}
    assert additional(host) == {("10.0.0.111", "eth0", 32)}
    host.boot()
    assert additional(host) == {("10.0.0.111", "eth0", 32)}
    commands = len(host.commands)
    assert run(host, ["10.0.0.11", "10.0.0.111"])["changed"] is False
    assert len(host.commands) == commands
    # Withdrawn ones stay until they are pruned, so that HAProxy can be reloaded in between.
    second = run(host, ["10.0.0.112"])
    assert second["withdrawn"] == ["10.0.0.111"]
    assert additional(host) == {("10.0.0.111", "eth0", 32), ("10.0.0.112", "eth0", 32)}
    assert run(host, ["10.0.0.112"])["changed"] is False
    third = run(host, ["10.0.0.112"], prune=True)
    assert (third["changed"], third["withdrawn"]) == (True, [])
    assert additional(host) == {("10.0.0.112", "eth0", 32)}
    assert len(role(host, [])) == 2
    assert additional(host) == set()
    assert not host.unit.exists()
    assert host.enabled == set()
    assert host.addresses == set(HOST)


def test_check_mode_says_it_all_and_does_nothing(host: Host) -> None:
    result = run(host, ["10.0.0.111", "2001:db8::111"], check_mode=True)
    assert result["changed"] is True
    assert result["diff"]["before"] == ""
    assert result["diff"]["after"] == "10.0.0.111/32 on eth0\n2001:db8::111/128 on eth0\n"
    assert host.commands == []
    assert list(host.folder.iterdir()) == []


def test_error_changes_nothing(host: Host) -> None:
    result = run(host, ["192.168.7.1"])
    assert result["failed"]
    assert result["msg"].startswith("The address 192.168.7.1 is in none of this host's networks")
    assert host.commands == []


def test_unit_that_was_disabled_is_enabled_again(host: Host) -> None:
    role(host, ["10.0.0.111"])
    host.enabled.clear()
    assert [result["changed"] for result in role(host, ["10.0.0.111"])] == [True]
    host.boot()
    assert additional(host) == {("10.0.0.111", "eth0", 32)}


def test_network_that_moves_takes_the_address_along(host: Host) -> None:
    role(host, ["10.0.0.111"])
    host.addresses = {("10.0.0.11", "eth1", 24), ("10.0.0.111", "eth0", 32)}
    role(host, ["10.0.0.111"])
    assert host.addresses == {("10.0.0.11", "eth1", 24), ("10.0.0.111", "eth1", 32)}
    assert [result["changed"] for result in role(host, ["10.0.0.111"])] == [False]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([], ["10.0.0.111"]),
        (["10.0.0.111"], ["10.0.0.112"]),
        (["10.0.0.111"], ["10.0.0.111", "10.0.0.112"]),
        (["10.0.0.111"], []),
    ],
    ids=str,
)
@pytest.mark.parametrize("third", [["10.0.0.111"], ["10.0.0.112"], []], ids=str)
def test_killed_at_every_command(tmp_path: Path, first: list[str], second: list[str], third: list[str]) -> None:
    """Whatever was cut short on the way from the first to the second, the third is reached, and for good."""
    wanted = {(address, "eth0", 32) for address in third}
    for number in range(1, 50):
        folder = tmp_path / str(number)
        folder.mkdir()
        host = Host(folder)
        role(host, first)
        host.commands.clear()
        host.kill_at = number
        try:
            role(host, second)
        except Killed:
            where = f"killed at {host.commands[-1]}"
        else:
            break
        host.kill_at = 0
        role(host, third)
        assert additional(host) == wanted, where
        assert [result["changed"] for result in role(host, third)] == [False], where
        host.boot()
        assert additional(host) == wanted, where
    assert number > 3


def test_prefixes() -> None:
    assert [prefixed(address) for address in ("10.0.0.5", "2001:db8::5")] == ["10.0.0.5/32", "2001:db8::5/128"]
