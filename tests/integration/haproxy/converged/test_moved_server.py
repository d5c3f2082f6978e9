"""A server gets another address: it is judged by what is found there."""

from __future__ import annotations

from lab import Lab
from lab.topology import GATEWAYS
from plays import play
from probes.checks import down, wait_for

CONVERGE = "molecule/haproxy/converge.yml"


def test_a_server_that_moves_isnt_taken_for_what_it_was(lab: Lab) -> None:
    """Where ex1 should be there is no Exchange; as soon as it is declared where it really is, it gets requests."""
    places = {"ex1": lab.address("dns", "inside"), "ex2": lab.address("ex2", "inside")}
    elsewhere = {"haproxy_servers": [{"name": name, "address": address} for name, address in places.items()]}
    assert play(CONVERGE, variables=elsewhere).status == 0
    for gateway in GATEWAYS:
        assert wait_for(lambda gateway=gateway: "exchange_imaps/ex1" in down(lab, gateway))
    assert play(CONVERGE).status == 0
    assert [down(lab, gateway) for gateway in GATEWAYS] == [[]] * len(GATEWAYS)
