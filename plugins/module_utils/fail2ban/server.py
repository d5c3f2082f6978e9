# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fail2Ban on a host: what it makes of a folder of files, and what the running server has.

Both are asked of Fail2Ban's own code, which belongs to the distribution's Python. ``fail2ban-client -t`` reads files
and stops there: a regular expression that doesn't compile shows only when the server is half reloaded, and takes the
jails behind it with it. So every command that a reload would send is carried out here on a server object that starts
nothing; its properties are then what the running server must have as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..host.commands import Runner, run
from ..host.errors import HostError

PYTHON = "/usr/bin/python3"

# Reads {"folder": …, "jails": […]} and prints {"tried": …, "running": …}.
_PROGRAM = r"""
import configparser, json, logging, os, sys

from fail2ban.client.configurator import Configurator
from fail2ban.client.csocket import CSocket
from fail2ban.server.server import Server
from fail2ban.server.transmitter import Transmitter

PLAIN = (
    "maxretry", "findtime", "bantime", "bantime.increment", "bantime.factor", "bantime.maxtime", "bantime.formula",
    "bantime.multipliers", "bantime.rndtime", "bantime.overalljails", "ignoreself", "ignorecommand", "ignorecache",
    "usedns", "prefregex", "maxlines",
)
said = []


class Kept(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage())


logger = logging.getLogger("fail2ban")
logger.handlers = [Kept(logging.ERROR)]
logger.propagate = False


def properties(get, jail):
    found = {name: str(get(jail, name)) for name in PLAIN}
    for name in ("failregex", "ignoreregex"):
        found[name] = [str(item) for item in get(jail, name) or []]
    found["ignoreip"] = sorted(str(item) for item in get(jail, "ignoreip") or [])
    found["journalmatch"] = [list(map(str, match)) for match in get(jail, "journalmatch") or []]
    found["actions"] = [str(item) for item in get(jail, "actions")]
    for action in found["actions"]:
        names = [name for name in get(jail, "actionproperties", action) if name != "banEpoch"]
        found["action " + action] = {name: str(get(jail, "action", action, name)) for name in names}
    return found


def tried(reader):
    try:
        good = reader.getOptions(None, ignoreWrong=False)
        reader.convertToProtocol(allow_no_files=False)
        stream = reader.getConfigStream()
    except (ValueError, configparser.Error) as error:
        return {"error": str(error)}
    for command in stream:
        if command[0] == "config-error":
            return {"error": command[1]}
    if not good:
        return {"error": "; ".join(said) or "it gives no reason"}
    names = [command[1] for command in stream if command[0] == "add"]
    if "dbfile" in [command[1] for command in stream if command[0] == "set" and command[2:] == ["None"]]:
        return {"error": "dbfile is None, so no ban would survive a restart"}
    transmitter = Transmitter(Server())
    for command in stream:
        # Nothing starts, and what isn't a jail's (log, database) stays untouched.
        if command[0] == "start" or (command[0] in ("set", "multi-set") and command[1] not in names):
            continue
        status, answer = transmitter.proceed(command)
        if status:
            return {"error": "%s" % (answer,), "jail": command[1], "command": [str(part) for part in command[2:]]}

    def get(*what):
        status, answer = transmitter.proceed(["get", *what])
        return None if status else answer

    return {"jails": {name: properties(get, name) for name in names}}


def running(socket, wanted):
    try:
        client = CSocket(socket, timeout=10)
    except OSError:
        return None

    def ask(*what):
        status, answer = client.send(list(what))
        return None if status else answer

    try:
        names = [name.strip() for name in dict(ask("status"))["Jail list"].split(",") if name.strip()]
        found = {name: properties(lambda *what: ask("get", *what), name) for name in names if name in wanted}
        for name in names:
            found.setdefault(name, {})
        return {"jails": found, "banned": {name: len(ask("get", name, "banip") or []) for name in names}}
    except OSError as error:
        return {"error": "%s" % (error,)}
    finally:
        client.close()


asked = json.load(sys.stdin)
reader = Configurator()
reader.setBaseDir(asked["folder"])
try:
    reader.readAll()
    socket, unreadable = reader.getEarlyOptions()["socket"], ""
except configparser.Error as error:
    socket, unreadable = "/var/run/fail2ban/fail2ban.sock", str(error)
answer = {"running": running(socket, asked["jails"])}
if asked["try"]:
    answer["tried"] = {"error": unreadable} if unreadable else tried(reader)
sys.stdout.write(json.dumps(answer))
sys.stdout.flush()
os._exit(0)  # a jail's journal would be closed by a thread that was never started
"""


def ask(folder: str, jails: Sequence[str], trial: bool = True, runner: Runner = run) -> dict[str, Any]:
    """Return what Fail2Ban makes of a folder (``tried``) and what the running server has (``running``).

    :param jails: names of the jails whose properties are asked for.
    :param trial: whether the folder is tried.
    :raises HostError: Fail2Ban's own code can't be run.
    """
    question = json.dumps({"folder": folder, "jails": list(jails), "try": trial})
    done = runner(PYTHON, "-c", _PROGRAM, data=question)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise HostError(
            f"Fail2Ban's own code can't be run with {PYTHON} ({last}); reinstall the packages fail2ban and "
            "python3-systemd and run again."
        )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def refusal(tried: Mapping[str, Any], folder: str) -> str:
    """Return the reason why Fail2Ban doesn't take a folder's files, without the folder's name; empty if it does."""
    if "error" not in tried:
        return ""
    reason = " ".join(str(tried["error"]).replace(f"{folder}/", "").split()).rstrip(".")
    if "jail" not in tried:
        return reason
    return f"jail '{tried['jail']}': {reason}"
