"""The command `tests/lab/lab`."""

import argparse
import os
import signal
import subprocess
import sys
import time

from lab import images
from lab.errors import LabError
from lab.lab import ROOT, Lab
from lab.podman import check_machine
from lab.topology import HOSTS


def _say(text: str) -> None:
    print(f"    {text}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description="The container lab of this checkout.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="bring it up; what works already is left alone")
    up.add_argument("hosts", nargs="*", metavar="HOST")
    commands.add_parser("down", help="remove its containers, networks and state")
    reset = commands.add_parser("reset", help="make hosts anew, bare")
    reset.add_argument("hosts", nargs="+", metavar="HOST")
    commands.add_parser("renew-exchange", help="make the Exchange servers' configuration anew")
    commands.add_parser("status", help="say how each host is, and its addresses")
    run = commands.add_parser("exec", help="run a command in a host: lab exec HOST -- COMMAND…")
    run.add_argument("host", metavar="HOST")
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND")
    shell = commands.add_parser("shell", help="open a shell in a host")
    shell.add_argument("host", metavar="HOST")
    commands.add_parser("inventory", help="print the Ansible inventory")
    commands.add_parser("images", help="make the images that are missing")
    return parser


def _status(lab: Lab) -> int:
    bad = 0
    for name, state in lab.status():
        addresses = " ".join(lab.address(name, network) for network in HOSTS[name].numbers)
        print(f"{name:8}{state:24}{HOSTS[name].image:18}{addresses}")
        bad += state != "running"
    return 1 if bad else 0


def _execute(lab: Lab, host: str, argv: list[str]) -> int:
    argv = argv[1:] if argv[:1] == ["--"] else argv
    if not argv:
        raise LabError(f"No command to run: tests/lab/lab exec {host} -- COMMAND…")
    return subprocess.run(lab.command(host, argv), check=False).returncode


def _run(arguments: argparse.Namespace) -> int:
    start = time.monotonic()
    match arguments.command:
        case "up":
            lab = Lab.up(arguments.hosts, _say)
            print(f"The lab is up, at 10.{lab.slot}.0.0/16 ({time.monotonic() - start:.1f} s)")
        case "down":
            Lab.down()
            print(f"The lab is gone ({time.monotonic() - start:.1f} s)")
        case "reset":
            Lab.load(_say).reset(arguments.hosts)
        case "renew-exchange":
            Lab.load(_say).renew_exchange()
        case "images":
            check_machine()
            images.make_images(_say)
        case "status":
            return _status(Lab.load())
        case "exec":
            return _execute(Lab.load(), arguments.host, arguments.argv)
        case "shell":
            return Lab.load().shell(arguments.host)
        case "inventory":
            Lab.load()
            return subprocess.run([ROOT / "inventory" / "lab" / "hosts.py", "--list"], check=False).returncode
    return 0


def main() -> int:
    """Run the command line; return the exit status."""
    # At once: what is half made is made anew by the next run, and threads that wait for podman would be waited for.
    signal.signal(signal.SIGINT, lambda *_: os._exit(128 + signal.SIGINT))
    try:
        return _run(_parser().parse_args())
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
