"""Statistics and metrics: for the monitoring network, to be read and nothing else."""

from __future__ import annotations

from urllib.parse import urlencode

from gateways import runtime

from lab import Lab
from probes import ask
from probes.checks import servers, wait_for
from strangers import Strangers

PORT = 8404


def test_only_the_monitoring_network_reaches_them(lab: Lab, gateway: str, strangers: Strangers) -> None:
    urls = [f"http://gateway:{PORT}{path}" for path in ("/metrics", "/", "/;csv", "/?stats;csv")]
    from_outside = [
        {"kind": "http", "url": url, "connect": address, **more}
        for url in urls
        for address, more in (
            (lab.address(gateway, "outside"), {"source": strangers.address()}),
            (lab.address(gateway, "outside", 6), {}),
            (lab.address(gateway, "outside"), {"headers": {"X-Forwarded-For": lab.address("admin", "admin")}}),
        )
    ]
    assert all("error" in answer for answer in ask(lab, "client", *from_outside, parallel=4))
    from_relay = {"kind": "http", "url": urls[0], "connect": lab.address(gateway, "inside")}
    assert "error" in ask(lab, "relay", from_relay)[0]
    inside = [
        {"kind": "http", "url": url, "connect": lab.address(gateway, "admin", family), "keep": 10**6}
        for family in (4, 6)
        for url in urls[:3]
    ]
    answers = ask(lab, "admin", *inside)
    assert [answer.get("status") for answer in answers] == [200] * 6
    for metrics, page, table in (answers[:3], answers[3:]):
        assert 'haproxy_server_status{proxy="exchange_owa",server="ex1",state="UP"}' in metrics["body"]
        assert "Statistics Report" in page["body"]
        assert table["body"].startswith("# pxname,svname,")
    # The host itself may always look.
    argv = ["python3", "-c", f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{PORT}/metrics').status)"]
    assert lab.exec(gateway, argv).stdout.strip() == "200"


def test_nothing_can_be_changed_there(lab: Lab, gateway: str) -> None:
    page = {"kind": "http", "url": f"http://gateway:{PORT}/", "connect": lab.address(gateway, "admin"), "keep": 10**6}
    heads = {"Content-Type": "application/x-www-form-urlencoded"}
    changes = [
        {**page, "method": "POST", "headers": heads, "body": urlencode({"s": "ex1", "action": action, "b": backend})}
        for action in ("drain", "maint", "stop", "shutdown", "dhlth")
        for backend in ("exchange_owa", *(f"#{number}" for number in range(1, 10)))
    ]
    *answers, page = ask(lab, "admin", *changes, page, parallel=4)
    assert not [answer for answer in answers if "DONE" in answer.get("headers", {}).get("location", "")]
    assert 'method="post"' not in page["body"].lower()
    # The administrative state of each server is as it was: none.
    lines = runtime(lab, gateway, "show servers state exchange_owa").splitlines()[2:]
    assert {(state[3], state[6]) for state in map(str.split, lines) if state} == {("ex1", "0"), ("ex2", "0")}
    assert wait_for(lambda: set(servers(lab, gateway)["exchange_owa"].values()) == {"UP"})
