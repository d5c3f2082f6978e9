# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The next boot, tried now: does anything listen while an address of the host isn't there yet?

A new connection proves that sshd listens now. At a boot addresses come later than sshd does (DHCP, VRRP), or never.
So the start is tried in a network namespace that has none of them, or all but one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ..host.commands import last
from ..host.errors import HostError
from .configuration import Wanted, socket_streams
from .host import SshdHost

TRIAL = "postern-sshd-trial"

# Starts sshd where it runs, with the addresses given, and prints what listens then.
_PROGRAM = r"""
import json, subprocess, sys, time

asked = json.load(sys.stdin)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
for address in asked["present"]:
    length, more = ("128", ["nodad"]) if ":" in address else ("32", [])
    subprocess.run(["ip", "address", "replace", address + "/" + length, "dev", "lo", *more], check=True)
sshd = subprocess.Popen(
    ["/usr/sbin/sshd", "-D", "-e", "-f", asked["main"], "-o", "PidFile=none"], stderr=subprocess.PIPE, text=True
)
deadline, heard = time.monotonic() + 10, set()
while sshd.poll() is None and time.monotonic() < deadline and not heard.issuperset(asked["present"]):
    time.sleep(0.05)
    listed = subprocess.run(["ss", "-Hltn"], check=True, capture_output=True, text=True).stdout
    heard = {line.split()[3].rpartition(":")[0].strip("[]") for line in listed.splitlines()}
ended = sshd.poll()
sshd.kill()
said = sshd.communicate()[1].strip().splitlines()
json.dump({"heard": sorted(heard), "ended": ended, "said": said[-1:]}, sys.stdout)
"""


class Boot:
    """The next start of sshd on one host."""

    def __init__(self, host: SshdHost) -> None:
        self.host = host

    def refuse(self, main: Path, wanted: Wanted) -> None:
        """Raise HostError where nothing would listen while an address is missing.

        :param main: the staged configuration.
        """
        if not wanted.listen_addresses:
            return  # all there are, at any time
        if self.host.by_socket:
            self._try_socket(wanted)
            return
        for missing in wanted.listen_addresses if len(wanted.listen_addresses) > 1 else ():
            self._try_service(main, [one for one in wanted.listen_addresses if one != missing], missing)

    def _try_socket(self, wanted: Wanted) -> None:
        """Have systemd listen as it will, where the host's addresses don't exist."""
        properties = [*socket_streams(wanted), "PrivateNetwork=yes"]
        done = self.host.run(
            "systemd-run", "--quiet", "--collect", f"--unit={TRIAL}",
            *(f"--socket-property={one}" for one in properties), "/bin/true",
        )  # fmt: skip
        state = self.host.run("systemctl", "is-active", f"{TRIAL}.socket").stdout.strip()
        self.host.run("systemctl", "stop", f"{TRIAL}.socket")
        if done.returncode or state != "active":
            reason = last(done) if done.returncode else state
            raise HostError(
                "sshd_listen_addresses: at a boot at which one of the addresses comes late systemd would not listen "
                f"for sshd at all ({reason}); nothing was changed, leave that address out."
            )

    def _try_service(self, main: Path, present: list[str], missing: str) -> None:
        """Start sshd where one address is missing."""
        question = json.dumps({"main": str(main), "present": present})
        done = self.host.run("unshare", "--net", sys.executable, "-IB", "-c", _PROGRAM, data=question)
        if done.returncode:
            raise HostError(f"sshd_listen_addresses: the next boot can't be tried ({last(done)}); nothing was changed.")
        told = json.loads(done.stdout)
        if told["ended"] is not None or not set(told["heard"]).issuperset(present):
            reason = (told["said"] or [f"it listens on {', '.join(told['heard']) or 'nothing'}"])[0].rstrip(".")
            raise HostError(
                f"sshd_listen_addresses: at a boot at which {missing} comes late sshd would not listen on the others "
                f"({reason}); nothing was changed, leave that address out."
            )
