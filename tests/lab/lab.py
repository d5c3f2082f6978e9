"""The lab as an object: bring it up, reset hosts, run commands in them, take it down."""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import powershell
from lab import authority, hosts, images, topology
from lab.errors import LabError
from lab.podman import (
    ENVIRONMENT,
    check_machine,
    containers,
    first_process,
    inside,
    last_line,
    make_room,
    networks,
    podman,
    remove_containers,
    run,
    start_time,
)
from lab.topology import HOSTS, NETWORKS
from progress import alive

ROOT = Path(__file__).resolve().parents[2]
#: A checkout can have more labs: with POSTERN_LAB=2 everything here is about the second one.
NUMBER = os.environ.get("POSTERN_LAB", "")
FOLDER = ROOT / ".cache" / f"lab{NUMBER}"
OWNER = f"{ROOT}:{NUMBER}" if NUMBER else str(ROOT)
#: Where the test of a new machine has its clone; it is known by this, also to the run after one that was killed.
FRESH = Path("/mnt") / f"postern-fresh-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}"
CHECKOUT_LABEL = "postern.checkout"
MINE = f"{CHECKOUT_LABEL}={OWNER}"
SLOT_LABEL = "postern.lab"
SPEC_LABEL = "postern.spec"
RUN = ["--systemd=always", "--cap-add=NET_ADMIN,NET_RAW,SYS_ADMIN,AUDIT_WRITE", "--memory=2g", "--detach"]
START_LIMIT = 240  # seconds that systemd in a container may take, on a machine with much else to do
MOST_SLOTS = 5  # that are avoided because podman has addresses there that it thinks are taken


def _quiet(_text: str) -> None:
    """Say nothing."""


def _used_subnets() -> list[topology.Network]:
    """Return every subnet that is in use on this machine: of podman's networks, and of the routes."""
    used = [item["subnet"] for network in networks() for item in network.get("subnets") or []]
    for family in ("-4", "-6"):
        listed = subprocess.run(["ip", "-json", family, "route"], capture_output=True, text=True, check=False).stdout
        used += [route["dst"] for route in json.loads(listed or "[]")]
    return [network for network in map(topology.parse_network, used) if network]


class Lab:
    """The lab of this checkout.

    Attributes:
        slot: The number in its addresses and names.
        folder: `.cache/lab`, where keys, certificates, secrets and the hosts' shared state are.
    """

    def __init__(self, slot: int, folder: Path = FOLDER, say: Callable[[str], None] = _quiet) -> None:
        self.slot = slot
        self.folder = folder
        self.say = say
        #: Host → the number of its first process, and when that was started.
        self._processes: dict[str, tuple[int, str]] = {}

    @classmethod
    def load(cls, say: Callable[[str], None] = _quiet) -> "Lab":
        """Return the lab that is up.

        Raises:
            LabError: It isn't.
        """
        remembered = cls._remembered()
        if remembered is None:
            raise LabError("The lab isn't up: run 'make lab'.")
        return cls(remembered, say=say)

    @staticmethod
    def _remembered() -> int | None:
        """Return the slot in lab.json, unless the file is missing, broken, or was copied from another checkout."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            document = json.loads((FOLDER / "lab.json").read_text())
            if document["checkout"] == OWNER and document["slot"] in topology.SLOTS:
                return int(document["slot"])
        return None

    @staticmethod
    @contextlib.contextmanager
    def _locked(path: Path = FOLDER / "lock") -> Iterator[None]:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    # What a test asks.

    def container(self, host: str) -> str:
        """Return the name of the host's container."""
        if host not in HOSTS:
            raise LabError(f"There is no host '{host}' in the lab: it has {', '.join(HOSTS)}.")
        return f"postern-{self.slot}-{host}"

    def address(self, host: str, network: str, family: int = 4) -> str:
        """Return the address of a host on one of its networks (family 4 or 6).

        Raises:
            LabError: The host isn't on that network.
        """
        self.container(host)
        numbers = HOSTS[host].numbers
        if network not in numbers:
            raise LabError(f"The host '{host}' isn't on the network '{network}', but on {', '.join(numbers)}.")
        return topology.address(self.slot, network, numbers[network], family)

    def relay_address(self, gateway: str) -> str:
        """Return the second inside address of a gateway, which mail of relay clients comes from."""
        return topology.address(self.slot, "inside", topology.RELAY_NUMBERS[gateway])

    def state_path(self, server: str) -> Path:
        """Return the path, on this machine, of the state that an Exchange stand-in acts on."""
        return self.folder / "state" / server / "state.json"

    def journal_path(self, server: str) -> Path:
        """Return the path, on this machine, of what an Exchange stand-in has seen: a JSON object a line."""
        return self.state_path(server).with_name("journal.jsonl")

    def secrets(self) -> dict[str, str]:
        """Return the passwords: `mailbox` is that of anna@ and berta@."""
        document: dict[str, str] = json.loads((self.folder / "secrets.json").read_text())
        return document

    def exec(
        self,
        host: str,
        argv: Sequence[str],
        input: str | None = None,  # noqa: A002
        check: bool = True,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root in a host.

        Args:
            host: Its name.
            argv: The command, run without a shell.
            input: Text for its standard input; none otherwise.
            check: Raise when the exit status isn't 0.
            timeout: Seconds.

        Raises:
            LabError: It failed, or the host isn't up.
        """
        return self._exec(host, argv, {}, input, check=check, timeout=timeout)

    def exchange(self, server: str, *arguments: str, data: str | None = None) -> str:
        """Run the stand-in's command line on an Exchange server: ``lab.exchange("ex1", "set", PATH, JSON)``."""
        argv = ["env", "PYTHONPATH=/opt", "PYTHONDONTWRITEBYTECODE=1", "python3", "-m", "standin", *arguments]
        return self.exec(server, argv, input=data).stdout

    def _exec(
        self,
        host: str,
        argv: Sequence[str],
        environment: dict[str, str],
        data: str | None,
        *,
        check: bool,
        timeout: float,
    ) -> subprocess.CompletedProcess[str]:
        what = f"'{' '.join(argv[:4])}' on {host}"
        done = run(self.command(host, argv, environment), what, data, timeout)
        if check and done.returncode:
            said = last_line(done.stderr or done.stdout)
            raise LabError(f"{what} ended with status {done.returncode}: {said}")
        return done

    def command(self, host: str, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> list[str]:
        """Return the command that, run on this machine, runs another one as root in a host.

        Raises:
            LabError: The host isn't up.
        """
        number, started = self._processes.get(host, (0, ""))
        if not started or start_time(number) != started:
            number = first_process(self.container(host))
            if not number:
                raise LabError(f"The host '{host}' isn't up: run 'make lab'.")
            self._processes[host] = number, start_time(number)
        return inside(number, argv, environment or {})

    @property
    def powershell(self) -> bool:
        """Whether the Exchange servers have a PowerShell."""
        return hosts.powershell() is not None

    def status(self) -> list[tuple[str, str]]:
        """Return each host with `running`, `degraded (failed units)`, or what else keeps it from its work."""

        def ask(host: str) -> tuple[str, str]:
            try:
                done = self.exec(host, ["systemctl", "is-system-running"], check=False, timeout=30)
            except LabError:
                return host, "down"
            state = done.stdout.strip()
            if state == "degraded":
                failed = self.exec(host, ["systemctl", "list-units", "--failed", "--plain", "--no-legend"]).stdout
                state += f" ({', '.join(line.split()[0] for line in failed.splitlines())})"
            return host, state or "down"

        with ThreadPoolExecutor() as pool:
            return list(pool.map(ask, HOSTS))

    # What changes it.

    @classmethod
    def up(cls, names: Sequence[str] = (), say: Callable[[str], None] = _quiet, *, anew: bool = False) -> "Lab":
        """Bring the lab up, or only the hosts named.

        Args:
            names: Hosts; all by default.
            say: Takes lines that tell what is being done.
            anew: Make the hosts anew, bare. Otherwise those that are at work as they should be are left alone.

        Raises:
            LabError: A prerequisite is missing, a mirror or podman failed, or a host didn't start.
        """
        check_machine()
        for name in names:
            if name not in HOSTS:
                raise LabError(f"There is no host '{name}' in the lab: it has {', '.join(HOSTS)}.")
        with cls._locked():
            images.make_images(say)
            make_room()
            cls._bury()
            lab = cls(cls._settle(), say=say)
            avoided: list[int] = []
            while True:
                try:
                    lab._fill(names if not avoided else (), anew=anew and not avoided)
                except LabError as error:
                    # podman remembers the addresses of containers that were killed while it made them, even when their
                    # network is gone.
                    if "already allocated" not in str(error) or len(avoided) == MOST_SLOTS:
                        raise
                else:
                    return lab
                avoided.append(lab.slot)
                cls._remove_all()
                lab = cls(cls._settle(avoided), say=say)

    @classmethod
    def down(cls) -> None:
        """Remove what the lab of this checkout has: containers, networks, state. Certificates and keys stay."""
        check_machine()
        with cls._locked():
            cls._remove_all()
            if not NUMBER and FRESH.exists():
                cls._remove_all(str(FRESH))
                with contextlib.suppress(OSError):
                    FRESH.rmdir()
            slot = cls._remembered()
            if slot is not None:
                shutil.rmtree(cls(slot).control_path.parent, ignore_errors=True)
            (FOLDER / "lab.json").unlink(missing_ok=True)
            shutil.rmtree(FOLDER / "state", ignore_errors=True)

    def reset(self, names: Sequence[str]) -> None:
        """Make hosts anew, as bare as they were, and pin the gateways' new SSH host keys.

        Raises:
            LabError: A name is wrong, or a host didn't start.
        """
        self.up(names, self.say, anew=True)

    def renew_exchange(self) -> None:
        """Make the Exchange servers' configuration anew, as their administrator had it before the gateways came."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda host: hosts.configure(host, self), topology.EXCHANGE))

    # How.

    def _fill(self, names: Sequence[str], *, anew: bool) -> None:
        """Make what the hosts need, and those hosts that aren't there or don't work."""
        self._prepare()
        existing = {entry["Labels"]["postern.host"]: entry for entry in containers(MINE)}

        def is_good(name: str) -> bool:
            return not anew and self._is_good(name, existing.get(name))

        wanted = list(names) or list(HOSTS)
        with ThreadPoolExecutor() as pool:
            good = dict(zip(wanted, pool.map(is_good, wanted), strict=True))
        missing = [name for name in wanted if not good[name]]
        if "acme" in missing:
            # The authority has forgotten what it issued, and its root: gateways with its certificates are of no use.
            missing += [name for name in topology.GATEWAYS if name not in missing]
        self._create(missing)

    @classmethod
    def _bury(cls) -> None:
        """Remove a lab that is dead as a whole, as after a restart of the machine.

        What podman remembers of it then, leases of addresses for one, is as stale as the containers. It may remember
        addresses of containers that it has no more.
        """
        found = containers(MINE)
        lives = any(Path(f"/proc/{entry['Pid']}/ns").exists() for entry in found if entry["Pid"])
        if not lives and (found or cls._own_networks()):
            cls._remove_all()

    @classmethod
    def _settle(cls, avoid: Sequence[int] = ()) -> int:
        """Find the slot of this checkout, none of those of ``avoid``, and make its networks if they aren't there.

        One checkout at a time.
        """
        with cls._locked(Path("/run/lock/postern-lab-slots.lock")):
            own = cls._own_networks()
            slots = {int(entry["labels"][SLOT_LABEL]) for entry in own}
            if len(own) == len(NETWORKS) and len(slots) == 1:
                return slots.pop()
            if own:
                cls._remove_all()
            used = _used_subnets()
            used += [subnet for number in avoid for name in NETWORKS for subnet in topology.subnets(number, name)]
            slot = topology.choose_slot(OWNER, used, cls._remembered())
            for network in NETWORKS:
                v4, v6 = topology.subnets(slot, network)
                podman(
                    "network", "create", "--internal", "--disable-dns", "--ipv6", f"--subnet={v4}", f"--subnet={v6}",
                    f"--label={MINE}", f"--label={SLOT_LABEL}={slot}",
                    f"postern-{slot}-{network}",
                )  # fmt: skip
            return slot

    @staticmethod
    def _own_networks(owner: str = OWNER) -> list[dict[str, Any]]:
        return [entry for entry in networks() if (entry.get("labels") or {}).get(CHECKOUT_LABEL) == owner]

    @classmethod
    def _remove_all(cls, owner: str = OWNER) -> None:
        """Remove every container and network with a checkout's label, this one's if no other is named."""
        remove_containers([entry["Id"] for entry in containers(f"{CHECKOUT_LABEL}={owner}")])
        for entry in cls._own_networks(owner):
            podman("network", "rm", "--force", entry["name"])
            # podman leaves a bridge behind when the processes of its containers were killed.
            subprocess.run(["ip", "link", "delete", entry["network_interface"]], capture_output=True, check=False)

    def _prepare(self) -> None:
        """Make keys, certificates, passwords and the files that hosts read."""
        self.control_path.parent.mkdir(mode=0o700, exist_ok=True)
        ssh = self.folder / "ssh"
        ssh.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (ssh / "id_ed25519").is_file():
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(ssh / "id_ed25519")],
                check=True, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        authority.make_certificates(self.folder / "ca")
        if not (self.folder / "secrets.json").is_file():
            path = self.folder / "secrets.json"
            path.touch(mode=0o600)
            path.write_text(json.dumps({"mailbox": secrets.token_urlsafe(18)}) + "\n")
        hosts.write_files(self.slot, self.folder)

    def _join_networks(self) -> None:
        """Give this machine its address (.1 and ::1) on each bridge; podman gives none on an internal network."""
        for entry in self._own_networks():
            for subnet in (ip_network(item["subnet"]) for item in entry["subnets"]):
                address = f"{subnet[1]}/{subnet.prefixlen}"
                command = ["ip", "address", "replace", address, "dev", entry["network_interface"]]
                if subnet.version == 6:
                    command.append("nodad")
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise LabError(f"This machine can't have the address {address}: {last_line(done.stderr)}")

    def _spec(self, name: str) -> tuple[list[str], str]:
        """Return the arguments of `podman run` for a host, and a digest of all that it is made from."""
        host = HOSTS[name]
        arguments = [*RUN, f"--hostname={name}"]
        for network in host.numbers:
            v4, v6 = self.address(name, network), self.address(name, network, 6)
            mac = topology.hardware_address(self.slot, network, host.numbers[network])
            options = f"ip={v4},ip6={v6},mac={mac},interface_name={network}"
            arguments.append(f"--network=postern-{self.slot}-{network}:{options}")
        if name in topology.EXCHANGE:
            # An address on the loopback is for packets that come for it, and nobody is told that it is here.
            arguments += ["--sysctl=net.ipv4.conf.all.arp_ignore=1", "--sysctl=net.ipv4.conf.all.arp_announce=2"]
        name_server = self.address("dns", next(iter(host.numbers)))
        arguments += [f"--dns={name_server}", f"--dns-search={topology.DOMAIN}"]
        arguments += [f"--volume={source}:{target}" for source, target in hosts.mounts(name, ROOT, self.folder)]
        image = images.reference(host.image)
        material = [*arguments, image, hosts.setup_script(name), *hosts.contents(name, ROOT, self.folder)]
        if name in topology.REACHED:
            material.append(self._public_key())
        return [*arguments, image], hashlib.sha256("\0".join(material).encode()).hexdigest()[:16]

    def _public_key(self) -> str:
        return (self.folder / "ssh" / "id_ed25519.pub").read_text().strip()

    def _is_good(self, name: str, entry: dict[str, Any] | None) -> bool:
        """Tell whether the host's container is up to date and really works: podman may list one that is dead."""
        if entry is None or entry["State"] != "running" or entry["Labels"].get(SPEC_LABEL) != self._spec(name)[1]:
            return False
        try:
            return self.exec(name, ["test", "-e", "/run/lab-ready"], check=False, timeout=30).returncode == 0
        except LabError:
            return False

    def _create(self, names: list[str]) -> None:
        """Make hosts anew, all at once, then let this machine and the inventory know them."""
        if names:
            started = time.monotonic()
            self.say(f"Starting {', '.join(names)}")
            self.forget_connections(names)
            remove_containers([self.container(name) for name in names])
            with alive(lambda: "the hosts start"), ThreadPoolExecutor() as pool:
                list(pool.map(self._create_one, names))
            self.say(f"Started in {time.monotonic() - started:.1f} s")
        self._join_networks()
        self.describe()
        if set(names) & set(topology.EXCHANGE) and not self.powershell:
            self.say(f"{powershell.absence()} The Exchange servers do without.")

    def _create_one(self, name: str) -> None:
        hosts.empty_state(name, self.folder)
        arguments, spec = self._spec(name)
        labels = {CHECKOUT_LABEL: OWNER, SLOT_LABEL: self.slot, "postern.host": name, SPEC_LABEL: spec}
        podman(
            "run",
            f"--name={self.container(name)}",
            *(f"--label={key}={value}" for key, value in labels.items()),
            *arguments,
        )
        environment = {
            "LAB_KEY": self._public_key(),
            "LAB_HOST": name,
            "LAB_LIMIT": str(START_LIMIT),
        }
        self._exec(name, ["sh", "-s"], environment, hosts.setup_script(name), check=True, timeout=START_LIMIT + 30)
        hosts.configure(name, self)

    def forget_connections(self, names: Sequence[str]) -> None:
        """Stop OpenSSH from reusing connections to hosts that are about to go."""
        for name in set(names) & set(topology.REACHED):
            for socket in self.control_path.parent.glob(f"{self.address(name, topology.REACHED[name])}-*"):
                subprocess.run(
                    ["ssh", "-O", "stop", "-o", f"ControlPath={socket}", name],
                    capture_output=True,
                    check=False,
                    timeout=10,
                )
                socket.unlink(missing_ok=True)

    @property
    def control_path(self) -> Path:
        """Where OpenSSH keeps shared connections: a short path, because a socket's may have 107 characters."""
        return Path(f"/run/postern-lab-{self.slot}/%h-%p-%r")

    def describe(self) -> None:
        """Write down known_hosts, and lab.json for the inventory and for `load`."""
        up = {entry["Labels"].get("postern.host") for entry in containers(MINE)}
        known = []
        for name in [name for name in topology.REACHED if name in up]:
            keys = self.exec(name, ["sh", "-c", "cat /etc/ssh/ssh_host_*_key.pub"]).stdout
            addresses = ",".join(self.address(name, topology.REACHED[name], family) for family in (4, 6))
            known += [f"{addresses} {' '.join(line.split()[:2])}" for line in keys.splitlines()]
        self._replace("ssh/known_hosts", "\n".join(known) + "\n")
        description = {
            "checkout": OWNER,
            "slot": self.slot,
            "networks": {name: [str(subnet) for subnet in topology.subnets(self.slot, name)] for name in NETWORKS},
            "hosts": {
                name: {
                    network: [self.address(name, network), self.address(name, network, 6)] for network in host.numbers
                }
                for name, host in HOSTS.items()
            },
            "powershell": self.powershell,
            "relay_addresses": {gateway: self.relay_address(gateway) for gateway in topology.GATEWAYS},
            "ssh": {
                "user": "operator",
                "key": str(self.folder / "ssh" / "id_ed25519"),
                "known_hosts": str(self.folder / "ssh" / "known_hosts"),
                "control_path": str(self.control_path),
            },
        }
        self._replace("lab.json", json.dumps(description, indent=2) + "\n")

    def _replace(self, name: str, text: str) -> None:
        path = self.folder / name
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_text(text)
        fresh.replace(path)

    def shell(self, host: str) -> int:
        """Open a shell in a host, on this terminal; return its exit status."""
        command = ["podman", "exec", "--interactive", "--tty", self.container(host), "/bin/bash", "--login"]
        return subprocess.run(command, env=ENVIRONMENT, check=False).returncode
