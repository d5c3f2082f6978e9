# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is desired and what is there to a list of operations, which is the diff as well."""

from __future__ import annotations

from dataclasses import replace

from .actual import Server
from .connections import connections, undecided
from .desired import Desired, check_version
from .direct_return import plan_direct_return
from .firewall import plan_edge_traversal
from .judged import listener, listener_of, new_connector, read_judged
from .kinds import KINDS
from .kinds.receive_connectors import RECEIVE_CONNECTOR
from .listeners import Listener
from .objects import Outcome, name_of, plan_objects
from .operations import Plan
from .refusals import Refused
from .removals import leaving
from .safety import judge


def make_plan(desired: Desired, server: Server) -> Plan:
    """What is to be done on the server.

    :raises Refused: with a sentence for everything that can't or mustn't be done.
    """
    problems = check_version(desired, server.version)
    if problems:
        raise Refused(problems)
    plan = Plan()
    server = _with_service_addresses(server, desired)
    outcomes = {kind.variable: plan_objects(kind, desired.of(kind), server, plan, problems) for kind in KINDS}
    plan_edge_traversal(desired, server, plan, problems)
    resulting = [_listener(outcome, server) for outcome in outcomes[RECEIVE_CONNECTOR.variable]]
    if desired.direct_return is not None:
        plan_direct_return(desired.direct_return, server, desired.neighbourhood, resulting, plan, problems)
    refusals, cautions = judge(
        before=[listener_of(connector) for connector in server.connectors],
        after=resulting,
        neighbourhood=desired.neighbourhood,
        server=(server.name, server.fqdn),
        declared={name_of(one, server).lower(): one.path for one in desired.of(RECEIVE_CONNECTOR)},
    )
    problems += [*refusals, *leaving(server, resulting, desired.neighbourhood.removable)]
    if problems:
        raise Refused(dict.fromkeys(problems))
    plan.warnings += cautions
    _tell(plan, server, resulting, desired)
    return plan


def _with_service_addresses(server: Server, desired: Desired) -> Server:
    """The server with the addresses that come to it in the same run."""
    if server.addresses is None or desired.direct_return is None or not desired.direct_return.present:
        return server
    coming = {(4, int(address)) for address in desired.direct_return.addresses}
    return replace(server, addresses=server.addresses | coming)


def _listener(outcome: Outcome, server: Server) -> Listener:
    """The connector that results, as safety looks at it."""
    before = read_judged(outcome.existing.raw) if outcome.existing else new_connector(server)
    return listener(outcome.name, before.changed(outcome.changes), outcome.rights, outcome.existing)


def _tell(plan: Plan, server: Server, resulting: list[Listener], desired: Desired) -> None:
    """Who will reach which connector, and what else people should know."""
    plan.warnings += [f"{phrase}." for phrase in undecided(resulting, desired.neighbourhood)]
    plan.connections = connections(resulting, desired.neighbourhood)
    plan.warnings += [
        f"{row['address']}, which only relay clients use, is taken by the receive connector "
        f"{server.name}\\{row['connector']}, which doesn't relay; give the relay connector this very address."
        for row in plan.connections
        if row["who"] == "relay clients" and row["connector"] and not row["relay"]
    ]
    if server.pressure and server.pressure.lower() not in ("low", "normal"):
        plan.warnings.append(
            f"{server.name} is under back pressure ({server.pressure}): it may refuse mail until its resources recover."
        )
