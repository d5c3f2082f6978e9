"""What makes the hosts differ: the files that they see, and what is set up once they run."""

import hashlib
import json
import shutil
import typing
from pathlib import Path
from typing import Any

from lab import zones
from lab.errors import LabError
from lab.topology import CULTURES, DOMAIN, EXCHANGE, GATEWAYS, subnets
from powershell import PowerShellError, find

if typing.TYPE_CHECKING:
    from lab.lab import Lab

HERE = Path(__file__).parent
#: The setup script of each host, below setup/, after `common.sh`.
SETUP = dict.fromkeys(GATEWAYS, "gateway.sh") | dict.fromkeys(EXCHANGE, "exchange.sh")
SETUP |= {"dns": "dns.sh", "relay": "relay.sh", "client": "client.sh", "admin": "client.sh", "acme": "acme.sh"}


def powershell() -> Path | None:
    """Return the folder of the PowerShell that Exchange servers get; None if there is none.

    Raises:
        LabError: POSTERN_POWERSHELL names one that isn't there, or the project's own isn't unpacked.
    """
    try:
        program = find()
    except PowerShellError as error:
        raise LabError(str(error)) from error
    return program and program.parent


def setup_script(host: str) -> str:
    """Return the shell script that sets the host up once systemd runs."""
    parts = [HERE / "setup" / "common.sh", HERE / "setup" / SETUP[host]]
    return "\n".join(part.read_text() for part in parts) + "\ntouch /run/lab-ready\n"


def mounts(host: str, root: Path, folder: Path) -> list[tuple[Path, str]]:
    """Return what the host sees of this machine: path here, path there with podman's options."""
    if host in GATEWAYS:
        return []
    found = [(folder / "ca" / "ca.pem", "/etc/ssl/certs/lab-ca.pem:ro"), (folder / "files", "/opt/lab:ro")]
    if host in EXCHANGE:
        found += [
            (root / "tests" / "standin", "/opt/standin:ro"),
            (folder / "ca" / "mail.pem", "/etc/standin/tls.pem:ro"),
            (folder / "state" / host, "/var/lib/standin"),
            # What Active Directory is to real servers: each sees the others' configuration.
            (folder / "state", "/var/lib/standin-organisation"),
        ]
        shell = powershell()
        if shell is not None:
            found.append((shell, "/opt/powershell:ro"))
    if host == "acme":
        found.append((folder / "ca" / "acme.pem", "/etc/pebble/tls.pem:ro"))
    if host == "dns":
        found.append((folder / "dns", "/etc/bind/lab:ro"))
    return found


def _files(path: Path) -> list[Path]:
    if path == powershell():
        # 100 MB that change all at once. The project's own lies in a folder by content; another one's engine tells.
        return sorted(path.glob("System.Management.Automation.dll"))
    if path.is_file():
        return [path]
    return sorted(item for item in path.rglob("*") if item.is_file() and item.suffix != ".pyc")


def contents(host: str, root: Path, folder: Path) -> list[str]:
    """Return digests of what the host reads, so that it is made anew when that has changed."""
    readable = [source for source, target in mounts(host, root, folder) if target.endswith(":ro")]
    return [hashlib.sha256(file.read_bytes()).hexdigest() for source in readable for file in _files(source)]


def write_files(slot: int, folder: Path) -> None:
    """Write what hosts mount: the name server's zones, and empty folders for the Exchange servers' state.

    Programs that run without rights read `files`, whatever mode the clone gives them.
    """
    for source in (HERE / "files").rglob("*"):
        path = folder / "files" / source.relative_to(HERE / "files")
        if source.is_file() and not (path.is_file() and path.read_bytes() == source.read_bytes()):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.read_bytes())
    for path in [folder / "files", *(folder / "files").rglob("*")]:
        path.chmod(0o755)
    for name, text in zones.name_server_files(slot).items():
        path = folder / "dns" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for host in EXCHANGE:
        (folder / "state" / host).mkdir(parents=True, exist_ok=True)


def empty_state(host: str, folder: Path) -> None:
    """Forget what a host keeps on this machine. The folder itself stays: a container may have it mounted."""
    state = folder / "state" / host
    for item in state.iterdir() if state.is_dir() else ():
        shutil.rmtree(item) if item.is_dir() else item.unlink()


def configure(host: str, lab: "Lab") -> None:
    """Do what is done on the host before the gateways come: an Exchange server is set up and administered.

    What was there before is gone, and the server is as it should be when this returns.
    """
    if host not in EXCHANGE:
        return
    state = fresh_state(host, lab)
    administer(state, lab.secrets()["mailbox"])
    lab.exchange(host, "replace", data=json.dumps(state))
    lab.exec(host, ["systemctl", "enable", "--quiet", "--now", "standin.service"])


def fresh_state(host: str, lab: "Lab", version: str = "2019") -> dict[str, Any]:
    """Return the state of an Exchange server of this version, as Exchange's setup leaves it."""
    aside = ("--directory", "/run/standin-fresh")
    about = ("--name", host.upper(), "--fqdn", f"{host}.{DOMAIN}", "--domain", DOMAIN, "--version", version)
    about = (*about, "--culture", CULTURES[host])
    address = f"{lab.address(host, 'inside')}/{subnets(lab.slot, 'inside')[0].prefixlen}"
    lab.exec(host, ["mkdir", "-p", aside[1]])
    lab.exchange(host, *aside, "fresh", *about, "--address", address)
    state: dict[str, Any] = json.loads(lab.exchange(host, *aside, "get"))
    return state


def administer(state: dict[str, Any], password: str) -> None:
    """Change a fresh Exchange server's state the way that its administrator has.

    The limits for each source don't throttle the gateways, which are one source for everybody; IMAP and POP run; two
    mailboxes exist. Nobody relays.
    """
    for connector in state["ReceiveConnector"]:
        connector |= {"MaxInboundConnectionPerSource": "Unlimited", "MaxInboundConnectionPercentagePerSource": 100}
    for service in state["Service"]:
        if service["Name"].lower().startswith(("msexchangeimap4", "msexchangepop3")):
            service |= {"Status": "Running", "StartType": "Automatic"}
    state["Mailbox"] = [
        {
            "Name": mailbox,
            "SamAccountName": mailbox,
            "PrimarySmtpAddress": f"{mailbox}@{DOMAIN}",
            "EmailAddresses": [f"SMTP:{mailbox}@{DOMAIN}"],
            "Password": password,
        }
        for mailbox in ("anna", "berta")
    ]
