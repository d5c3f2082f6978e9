"""Whose turn it is in a run: of all gateways, or of those that take part."""

from __future__ import annotations

import pytest
from test_configuration import variables

from ansible_collections.postern.mail_gateway.plugins.module_utils.certificates.configuration import settings
from ansible_collections.postern.mail_gateway.plugins.module_utils.certificates.issuing import Issuing


@pytest.mark.parametrize(
    ("play_hosts", "first"),
    [
        ([], "gw1"),
        (["gw1", "gw2"], "gw1"),
        (["gw2", "gw1"], "gw1"),
        (["gw1", "ex1"], "gw1"),
        (["gw2"], "gw2"),  # gw1 is down, or left out by --limit
        (["elsewhere"], "gw1"),
    ],
)
def test_the_first_that_takes_part_in_a_run_acts(play_hosts: list[str], first: str) -> None:
    peer = {"gw1": "gw2", "gw2": "gw1"}
    for host in ("gw1", "gw2"):
        peers = [
            {
                "name": peer[host],
                "address": "10.0.0.2",
                "port": 22,
                "host_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"],
            }
        ]
        here = Issuing(settings(variables(host=host, peers=peers)), play_hosts)
        assert (here.taking_turns.rank == 0) == (host == first) or host not in play_hosts
        # The gateway itself knows the whole order, for its timer.
        assert here.settings.gateways == ("gw1", "gw2")
