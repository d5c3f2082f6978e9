# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a single run is told, beside the declaration: parameters of playbooks, what may leave, and slices of a job."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from ...module_utils.values.sentences import listed, show
from . import schema
from .site import Site
from .tree import Problems, read

_KNOWN = {option.name: option for options in schema.PLAYBOOKS.values() for option in options}
NAMES = (*_KNOWN, schema.REMOVED.name, *schema.AWX_VARIABLES)
"""The variables that are read here."""


def read_parameters(given: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """Every parameter of every playbook, its default where it is null, empty, or not given."""
    found = {}
    for name, option in _KNOWN.items():
        value = given.get(name)
        empty = value is None or (isinstance(value, str) and not value.strip())
        found[name] = option.default if empty else read(option, name, value, problems).value
    return found


def unknown_parameters(extra: Iterable[str], playbooks: Iterable[str]) -> list[str]:
    """Sentences about extra variables that are nearly a parameter, or look like one of a playbook that is run.

    ``playbooks`` are as they stand on the command line: paths, or names in a collection.
    """
    running = {PurePath(one).stem.rpartition(".")[2] if "/" in one else _last(one) for one in playbooks}
    sentences = []
    for name in sorted(set(extra) - set(NAMES)):
        close = difflib.get_close_matches(name, _KNOWN, 1, cutoff=0.85)
        playbook = next((one for one in schema.PLAYBOOKS if one in running and name.startswith(f"{one}_")), None)
        if playbook is not None:
            names = [option.name for option in schema.PLAYBOOKS[playbook]]
            close = close or difflib.get_close_matches(name, names, 1)
            its = f"its parameters are {listed(names)}" if names else "it has none"
            advice = f"did you mean {close[0]}?" if close else f"{its}."
            sentences.append(f"{name} isn't a parameter of the playbook {playbook}; {advice}")
        elif close:
            sentences.append(f"{name} isn't known; did you mean {close[0]}?")
    return sentences


def _last(playbook: str) -> str:
    """The name of a playbook of a collection, or of a file in this folder, without its extension."""
    return re.sub(r"\.ya?ml$", "", playbook).rpartition(".")[2]


def read_removed(given: Iterable[Any], problems: Problems) -> tuple[str, ...]:
    """The names and addresses that may leave, as all hosts have them. One text may hold several."""
    found: dict[str, None] = {}
    for value in given:
        if value is None:
            continue
        words = [word for word in re.split(r"[,;\s]+", value) if word] if isinstance(value, str) else value
        node = read(schema.REMOVED, schema.REMOVED.name, words, problems)
        found |= dict.fromkeys(node.values)
    return tuple(found)


def removed_are_gone(removed: Sequence[str], sites: Iterable[Site], hosts: Iterable[str]) -> list[str]:
    """Sentences about what is said to be removed and is still there: it would let the host go another time, unseen."""
    there = {host: host for host in hosts}
    for site in sites:
        for server in (*site.servers, *site.older_servers):
            there.setdefault(str(server.address), server.name)
        for gateway in site.gateways:
            for address in (gateway.egress, gateway.relay):
                there.setdefault(str(address), gateway.name)
    sentences = []
    for one in removed:
        if one in there:
            whose = "is in the inventory" if there[one] == one else f"{there[one]} has"
            sentences.append(f"{schema.REMOVED.name} has {show(one)}, which {whose}; take it out of one of the two.")
    return sentences


def is_slice(variables: Mapping[str, Any]) -> str:
    """The sentence for a run that is a slice of an AWX job; empty for any other run.

    AWX runs slices as a workflow that has the job template's own name, and hands both names to each of them.
    """
    counts = [str(variables.get(f"{prefix}_job_slice_count") or "1") for prefix in ("awx", "tower")]
    names = [
        (variables.get(f"{prefix}_workflow_job_name"), variables.get(f"{prefix}_job_template_name"))
        for prefix in ("awx", "tower")
    ]
    if any(count != "1" for count in counts) or any(workflow and workflow == job for workflow, job in names):
        return (
            "This run is a slice of an AWX job, which sees a part of the hosts, and the others would be taken for "
            "removed; set the template's job slicing to 1, and give a workflow another name than its job template."
        )
    return ""
