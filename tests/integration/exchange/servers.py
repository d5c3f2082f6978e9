"""The lab's Exchange servers, as the tests of their half run playbooks on them, ask them and spoil them."""

from __future__ import annotations

import json
from typing import Any

from lab import Lab
from plays import Run, play
from probes import ask
from probes.checks import ANNA, delivered, imap_logons, smtp

ELSEWHERE = "somebody@elsewhere.example"
RELAY = "ms-Exch-SMTP-Accept-Any-Recipient"
ANYBODY = "NT AUTHORITY\\ANONYMOUS LOGON"
# As each server's Windows calls it.
ANYBODY_ON = {"ex1": ANYBODY, "ex2": "NT-AUTORIT\u00c4T\\ANONYMOUS-ANMELDUNG"}
# One server is enough to see what a change does; preflight runs on localhost.
ONE = ("--limit", "ex1,localhost")


def configure(*arguments: str, **variables: Any) -> Run:
    """Run the playbook for the servers; keywords are extra variables."""
    return play("playbooks/exchange.yml", *arguments, variables=variables)


def state(lab: Lab, server: str) -> dict[str, Any]:
    """Everything that a server is configured to do."""
    found: dict[str, Any] = json.loads(lab.exchange(server, "get"))
    return found


def restore(lab: Lab, server: str, document: dict[str, Any]) -> None:
    lab.exchange(server, "replace", data=json.dumps(document))


def change(lab: Lab, server: str, path: str, value: Any) -> None:
    """Change one thing by hand."""
    lab.exchange(server, "set", path, json.dumps(value))


def fault(lab: Lab, server: str, **fault: Any) -> None:
    """From now on management fails as the stand-in's README says; without a fault, no more."""
    change(lab, server, "Standin.Faults", fault)


def sessions(lab: Lab, server: str, kind: str = "session_opened") -> int:
    """How many Exchange sessions were opened so far (or closed), each of which is one call of PowerShell."""
    return len(lab.exchange(server, "events", "--management", "--kind", kind).splitlines())


def cmdlets(lab: Lab, server: str) -> list[str]:
    """The names of all cmdlets that were called on a server, in order."""
    lines = lab.exchange(server, "events", "--management", "--kind", "cmdlet").splitlines()
    return [str(json.loads(line)["name"]) for line in lines]


def dialogue(lab: Lab, server: str, host: str, source: str = "", recipient: str = ELSEWHERE, **more: Any) -> Any:
    """Send one mail straight to a server's port 25; return the answers, and the connector where it was accepted."""
    probe = {**smtp(lab, "gw1", "inside", recipient), "connect": lab.address(server, "inside"), **more}
    (answer,) = ask(lab, host, probe | ({"source": source} if source else {}))
    event = delivered(lab, probe["subject"])
    return answer | ({"connector": event["connector"].partition("\\")[2]} if event else {})


def outcome(lab: Lab, server: str, host: str, source: str = "", recipient: str = ELSEWHERE, **more: Any) -> str:
    """The connector that accepted a mail, or the answer that refused it."""
    answer = dialogue(lab, server, host, source, recipient, **more)
    found = answer.get("connector") or answer.get(f"rcpt {recipient}") or answer.get("mail") or answer.get("banner")
    return str(found or answer)


def own_mail(lab: Lab, server: str, host: str, source: str = "") -> str:
    """The connector that took mail to one of the site's own mailboxes."""
    return outcome(lab, server, host, source, ANNA)


def imap_capabilities(lab: Lab, server: str) -> list[str]:
    """The ways to log on that IMAP offers on a server itself."""
    ways, error = imap_logons(lab, "relay", lab.address(server, "inside"))
    assert ways, error
    return ways
