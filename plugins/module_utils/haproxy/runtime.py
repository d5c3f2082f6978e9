# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What HAProxy says of itself: its messages, and which configuration the running process holds.

The role's configuration carries its own digest in ``global``'s ``description``, which the runtime API's
``show info`` returns (HAProxy management guide, section 9.3). So the question "has the running process loaded
these files?" is put to the process itself, and a run that was cut short between writing and reloading is found out.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..host.files import write
from .admin_socket import ask

DIGEST_PLACE = "@DIGEST@"
DIGEST_PREFIX = "postern.mail_gateway "

# "[ALERT]    (812) : config : parsing [/etc/haproxy/haproxy.cfg:12] : unknown keyword …" (2.6 and 3.0 alike)
_MESSAGE = re.compile(r"^\[(?P<level>ALERT|WARNING|NOTICE)\]\s*\(\d+\)\s*:\s*(?P<text>.*)$")
# A message of 3.0 may go on in lines that are indented; those with a bar are advice.
_CONTINUED = re.compile(r"\s*\n[ \t]+(?=[^\s|])")
# "parsing [FILE:12] :", "Parsing [FILE:12]:", "Binding [FILE:12] for"; an address like "[127.0.0.1:80]" is no place.
_PLACE = re.compile(r"(?:(?:[Pp]arsing|Binding) )?\[(?P<file>[^\]]*\.cfg):(?P<line>\d+)\](?: for)?\s*:?\s*")
# What HAProxy adds after the real reason, and what a process says that is well itself.
_SUMMARY = re.compile(
    r"^(?:config : )?(?:Error\(s\) found in configuration|Fatal errors found in configuration|Failed to initialize)"
    r"|^\[.*haproxy\.main\(\)\] Some protocols failed|^haproxy version is|^path to executable|^Loading failure!"
    r"|^(?:backend|proxy) .* has no server available|^New worker .* forked|^Loading success"
    r"|^Current worker .* exited|^exit-on-failure|^All workers exited|^Exiting Master"
)


@dataclass(frozen=True)
class Running:
    """A process that answers: its number, and the digest of its configuration (None where it is none of ours)."""

    pid: int
    digest: str | None


def digest(files: Mapping[str, bytes]) -> str:
    """Return 16 hexadecimal digits that stand for these files (path and content), independent of their order."""
    hashed = hashlib.sha256()
    for path in sorted(files):
        hashed.update(f"{path}\0{len(files[path])}\0".encode())
        hashed.update(files[path])
    return hashed.hexdigest()[:16]


def messages(output: str, level: str = "ALERT", strip: Iterable[str] = ()) -> list[str]:
    """Return what HAProxy complained about, each once, without prefixes and process numbers.

    :param output: standard error of ``haproxy -c``, or lines of the journal.
    :param level: ``ALERT`` or ``WARNING``.
    :param strip: folders to take off the file names (the staging folder).
    """
    found: list[str] = []
    for line in _CONTINUED.sub(" ", output).splitlines():
        match = _MESSAGE.match(line.strip())
        if not match or match["level"] != level:
            continue
        text = match["text"].strip()
        for folder in strip:
            text = text.replace(f"{folder}/", "")
        if _SUMMARY.match(text):
            continue
        text = text.removeprefix("config : ")
        text = _PLACE.sub(lambda place: f"{place['file'].rsplit('/', 1)[-1]} line {place['line']}: ", text)
        text = text.rstrip(" .")
        if text not in found:
            found.append(text)
    return found


def with_source_lines(texts: Iterable[str], configuration: str) -> list[str]:
    """Return the messages with the configuration's own words behind each ``haproxy.cfg line N``.

    >>> with_source_lines(["haproxy.cfg line 2: unknown keyword 'fo'"], "global\\n  fo 1\\n")
    ["haproxy.cfg line 2 ('fo 1'): unknown keyword 'fo'"]
    """
    lines = configuration.splitlines()

    def quoted(match: re.Match[str]) -> str:
        number = int(match["line"])
        source = lines[number - 1].strip() if 0 < number <= len(lines) else ""
        return f"haproxy.cfg line {number} ('{source}')" if source else match[0]

    return [re.sub(r"haproxy\.cfg line (?P<line>\d+)", quoted, text) for text in texts]


def running(path: str, seconds: float = 5.0) -> Running | None:
    """Return the process that answers at the ``stats socket``; None where there is none."""
    try:
        answer = ask(path, "show info", seconds)
    except OSError:
        return None
    said = dict(line.partition(": ")[::2] for line in answer.splitlines())
    if not said.get("Pid", "").isdecimal():
        return None
    described = said.get("description", "")
    ours = described.startswith(DIGEST_PREFIX)
    return Running(int(said["Pid"]), described.removeprefix(DIGEST_PREFIX).strip() if ours else None)


@dataclass(frozen=True)
class ServerState:
    """One server of one backend.

    Attributes:
        address, port: Where it is.
        drained: It was taken out by hand: it gets nothing new, and keeps what it has.
        line: What ``show servers state`` says of it, which HAProxy reads again at its start.
    """

    backend: str
    server: str
    address: str
    port: str
    drained: bool
    line: str


# HAProxy management guide, "show servers state": srv_admin_state is a bit field; 0x08 is a drain that was asked for.
_FORCED_DRAIN = 0x08


def server_states(answer: str) -> list[ServerState]:
    """Return the servers from an answer to ``show servers state`` (version 1 of its format).

    :raises ValueError: the answer is none.
    """
    lines = answer.strip().splitlines()
    if len(lines) < 2 or lines[0].strip() != "1" or not lines[1].startswith("# "):
        raise ValueError(
            f"HAProxy's server states begin with '{lines[0] if lines else ''}' instead of their version 1."
        )
    names = lines[1].removeprefix("# ").split()
    found = []
    for line in lines[2:]:
        values = dict(zip(names, line.split(), strict=False))
        drained = bool(int(values["srv_admin_state"]) & _FORCED_DRAIN)
        place = values["srv_addr"], values["srv_port"]
        found.append(ServerState(values["be_name"], values["srv_name"], *place, drained, line))
    return found


_SECTION = re.compile(r"(?P<kind>[a-z-]+)(?: +(?P<name>\S+))?")
_SERVER = re.compile(r"\s+server\s+(?P<name>\S+)\s+(?P<address>\S+):(?P<port>\d+)(?:\s|$)")


def configured_servers(configuration: str) -> dict[tuple[str, str], tuple[str, str]]:
    """Return (backend, server) → (address or name, port) of the servers in a configuration.

    >>> configured_servers("backend owa\\n  server ex1 [2001:db8::1]:443 weight 100\\n")
    {('owa', 'ex1'): ('2001:db8::1', '443')}
    """
    found, backend = {}, ""
    for line in configuration.splitlines():
        if section := _SECTION.match(line):
            backend = section["name"] or "" if section["kind"] in ("backend", "listen") else ""
        elif backend and (server := _SERVER.match(line)):
            found[backend, server["name"]] = server["address"].strip("[]"), server["port"]
    return found


def _moved(state: ServerState, configured: tuple[str, str] | None) -> bool:
    """Tell whether a server is somewhere else from now on; a name may stand for any address."""
    if configured is None or configured[1] != state.port:
        return configured is not None
    try:
        return ipaddress.ip_address(configured[0]) != ipaddress.ip_address(state.address)
    except ValueError:
        return False


def states_for(answer: str, configuration: str) -> str:
    """Return a server state file for a process that starts with a configuration.

    A server that is at another address from now on is another server: nothing is known of it, but that somebody drained
    what has its name.

    :param answer: of ``show servers state``.
    """
    configured = configured_servers(configuration)
    return _state_file(
        answer, lambda state: state.drained or not _moved(state, configured.get((state.backend, state.server)))
    )


_EXCHANGE = "exchange_"


def renamed(answer: str, configuration: str) -> str:
    """Return an answer to ``show servers state`` with the names that its backends have in a configuration.

    Until 0.1.0 the backends of services that are passed through were called after them alone (``smtp``).
    """
    configured = configured_servers(configuration)
    lines = []
    for line in answer.splitlines():
        words = line.split(" ", 4)
        if len(words) == 5 and (words[1], words[3]) not in configured:
            name = f"{_EXCHANGE}{words[1]}"
            words[1] = name if (name, words[3]) in configured else words[1]
        lines.append(" ".join(words))
    return "\n".join(lines) + "\n"


def _state_file(answer: str, holds: Callable[[ServerState], bool]) -> str:
    """Return a server state file that holds some of the servers of an answer to ``show servers state``."""
    lines = [state.line for state in server_states(answer) if holds(state)]
    return "\n".join([*answer.strip().splitlines()[:2], *lines]) + "\n"


def drained_file(answer: str) -> str:
    """Return a server state file that holds the drained servers alone, so that every other one starts as it is found.

    :param answer: of ``show servers state``.
    """
    return _state_file(answer, lambda state: state.drained)


def write_states(path: Path, text: str) -> None:
    """Write a server state file (``server-state-file`` in HAProxy's configuration) in one step."""
    write(path, text.encode())


def _rename_drained(state_file: Path, configuration: str) -> None:
    """Give the drained servers in the file the names of a configuration, where no HAProxy runs that could be asked."""
    if state_file.exists():
        before = state_file.read_text(encoding="utf-8", errors="replace")
        after = renamed(before, configuration)
        if after != before:
            write_states(state_file, after)


@contextmanager
def handed_over(socket_path: str, state_file: Path, configuration: str) -> Iterator[None]:
    """While this lasts, a process that starts with this configuration knows of its servers what the running one knows.

    It would take each for healthy until its second failed check otherwise, and send people to a sick one meanwhile.
    Afterwards the file holds the drained servers alone again: what is known of the others gets old.
    """
    try:
        answer = renamed(ask(socket_path, "show servers state"), configuration)
        meanwhile, afterwards = states_for(answer, configuration), drained_file(answer)
        known = state_file.exists()
    except (OSError, ValueError):
        known = False
        _rename_drained(state_file, configuration)
    if known:
        write_states(state_file, meanwhile)
    try:
        yield
    finally:
        if known:
            write_states(state_file, afterwards)


def running_digest(path: str) -> str | None:
    """Return the digest of the configuration that the running HAProxy has loaded; None where it is none of ours."""
    found = running(path)
    return found.digest if found else None
