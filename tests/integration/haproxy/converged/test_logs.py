"""What HAProxy writes into the journal, and what nobody may write there."""

from __future__ import annotations

import time
from typing import Any

from gateways import dropped_lines, fields, log

from forgeries import HEADS
from lab import Lab
from probes import ask
from probes.checks import MAIL, smtp, wait_for, web
from strangers import Strangers

WEB = [
    "client", "client_port", "frontend", "backend", "server", "source", "status", "logon", "state", "time_ms", "bytes",
    "tls", "method", "host", "path",
]  # fmt: skip
MAILS = ["client", "client_port", "frontend", "backend", "server", "source", "state", "time_ms", "bytes"]


def asked_from(lab: Lab, gateway: str, source: str, source6: str) -> list[dict[str, Any]]:
    """Ask for one of each kind; return the lines that HAProxy wrote, waiting for those that it didn't drop."""
    began, dropped = time.time(), dropped_lines(lab, gateway)
    ask(
        lab,
        "client",
        web(lab, gateway, "/owa/?secret=1", source=source),
        web(lab, gateway, "/nothing", source=source, headers={"Host": "No.Such:80"}),
        web(lab, gateway, "/%41?secret=2", source=source, scheme="http"),
        {**smtp(lab, gateway, "outside", "anna@example.test"), "source": source},
        {**web(lab, gateway, "/owa/"), "connect": lab.address(gateway, "outside", 6), "source": source6},
    )

    def lines() -> list[dict[str, Any]]:
        found = [fields(line) for line in log(lab, gateway, began)]
        return [line for line in found if line and line["client"] in (source, source6)]

    assert wait_for(lambda: len(lines()) >= 5 - (dropped_lines(lab, gateway) - dropped)), lines()
    return lines()


def test_each_request_and_connection_is_one_line_of_the_documented_form(
    lab: Lab, gateway: str, strangers: Strangers
) -> None:
    source, address, v6_address = strangers.address(), lab.address(gateway, "outside"), f"{strangers.network()}1"
    for _ in range(5):
        lines = asked_from(lab, gateway, source, v6_address)
        if len(lines) == 5:
            break
    # A mail's line is written when both sides have closed, which may be after the next request.
    (mail,) = (line for line in lines if line["frontend"] == "smtp")
    owa, nothing, http, v6 = (line for line in lines if line is not mail)
    assert [list(line) for line in (owa, nothing, http, mail, v6)] == [WEB, WEB, WEB, MAILS, WEB]
    said = {"frontend": "https", "backend": "exchange_owa", "source": lab.address(gateway, "inside"), "status": "302"}
    said |= {"logon": "none", "state": "--", "method": "GET", "host": MAIL, "path": "/owa/"}
    assert {name: owa[name] for name in said} == said
    assert owa["server"] in ("ex1", "ex2")
    assert owa["tls"].startswith("TLSv1.")
    assert [nothing[name] for name in ("backend", "server", "status", "host", "path")] == [
        "nothing", "<NOSRV>", "404", "no.such", "/nothing",
    ]  # fmt: skip
    assert [http[name] for name in ("frontend", "status", "logon", "tls", "host", "path")] == [
        "http", "301", "none", "-", MAIL, "/%41",
    ]  # fmt: skip
    assert [mail[name] for name in ("frontend", "backend", "source", "state")] == [
        "smtp",
        "exchange_smtp",
        said["source"],
        "--",
    ]
    assert v6["client"] == v6_address
    assert address not in str(owa)


def test_nobody_forges_a_line_of_the_log(lab: Lab, gateway: str, strangers: Strangers) -> None:
    began, source, address = time.time(), strangers.address(), lab.address(gateway, "outside")
    dropped = dropped_lines(lab, gateway)
    probe = {"kind": "dialogue", "connect": address, "server_name": MAIL, "source": source}
    probes = [
        {**probe, "port": port, "tls": tls, "steps": [{"send": f"{head}\r\nConnection: close\r\n\r\n"}, {"closed": 20}]}
        for head in HEADS
        for port, tls in ((443, "implicit"), (80, "none"))
    ]
    assert [answer for answer in ask(lab, "client", *probes, parallel=4) if "closed" not in answer] == []

    def lines() -> list[str]:
        return [line for line in log(lab, gateway, began) if source in line or "198.18.77.7" in line]

    def expected() -> int:
        return len(probes) - (dropped_lines(lab, gateway) - dropped)

    assert wait_for(lambda: len(lines()) >= expected()), lines()
    assert len(lines()) == expected()
    for line in lines():
        # A long line is cut, in what the client chose.
        found = fields(line if line.endswith('"') else f'{line}"')
        assert found, line
        assert list(found) == WEB[: len(found)], line
        assert len(found) == len(WEB) or len(line) > 1000, line
        assert found["client"] == source, line
        assert found["logon"] in ("none", "-"), line
        assert found["status"] in ("301", "302", "400", "403", "404"), line
        assert line.isprintable(), line


def test_no_log_holds_a_private_key(lab: Lab, gateway: str) -> None:
    # Ansible writes a module's options into the log of the host that it runs on.
    journal = lab.exec(gateway, ["journalctl", "--no-pager", "--output=short"]).stdout
    assert "haproxy_configuration" in journal
    assert "PRIVATE KEY" not in journal
