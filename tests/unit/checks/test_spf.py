"""SPF by the published cases of RFC 7208, and what a record costs whoever the sender is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from zones import SERVFAIL, Zones

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks import spf

CASES = Path(__file__).resolve().parents[3] / ".cache" / "published" / "rfc7208-tests.yml"


def zones(data: dict[str, Any]) -> Zones:
    """The zones of a scenario. A record of the type SPF stands for a TXT record, unless there are such."""
    names: dict[str, dict[str, list[str]]] = {}
    for name, records in data.items():
        found: dict[str, list[str]] = {}
        for record in records:
            if record == "TIMEOUT":
                found["*"] = [SERVFAIL]
                continue
            ((kind, value),) = record.items()
            if kind == "MX":
                text = f"{value[0]} {value[1] or '.'}"
            else:
                text = "".join(value) if isinstance(value, list) else value
            found.setdefault(kind, []).append(text)
        found["TXT"] = [text for text in found.get("TXT") or found.get("SPF", []) if text != "NONE"]
        names[name] = found
    return Zones(names)


def published() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Name, case and zones, of each published case."""
    for scenario in yaml.safe_load_all(CASES.read_text(encoding="utf-8")):
        for name, case in scenario["tests"].items():
            yield name, case, scenario["zonedata"]


def test_published_results() -> None:
    wrong, number = [], 0
    for name, case, data in published():
        sender = case["mailfrom"] or f"postmaster@{case['helo']}"
        domain = sender.rpartition("@")[2]
        found = spf.check_host(zones(data), case["host"], domain, sender, case["helo"])
        right = case["result"] if isinstance(case["result"], list) else [case["result"]]
        number += 1
        if found.result not in right:
            wrong.append(f"{name}: {found.result} ({found.reason}), but should be {' or '.join(right)}")
    assert not wrong, "\n".join(wrong)
    assert number == 203


def test_cost_is_that_of_all_terms_whoever_sends() -> None:
    ask = Zones(
        {
            "example.test": {"TXT": "v=spf1 ip4:192.0.2.1 a mx include:one.test include:two.test -all"},
            "one.test": {"TXT": "v=spf1 exists:gone.test redirect=three.test"},
            "two.test": {"TXT": "v=spf1 ip4:192.0.2.0/24 -all a:never.test"},
            "three.test": {"TXT": "v=spf1 a -all", "A": "192.0.2.3"},
        }
    )
    found = spf.cost(ask, "example.test")
    assert found.asked == [
        "a",
        "mx",
        "include:one.test",
        "exists:gone.test",
        "redirect=three.test",
        "a",
        "include:two.test",
    ]
    assert (found.lookups, found.void, found.result) == (7, 3, "neutral")
    assert spf.check_host(ask, "192.0.2.1", "example.test").lookups == 0


def test_records_that_include_each_other_end() -> None:
    ask = Zones({"a.test": {"TXT": "v=spf1 include:b.test -all"}, "b.test": {"TXT": "v=spf1 include:a.test -all"}})
    assert spf.cost(ask, "a.test").lookups > spf.LOOKUPS
    assert spf.check_host(ask, "192.0.2.1", "a.test").result == "permerror"


def test_an_ipv4_address_in_ipv6_is_the_ipv4_address() -> None:
    ask = Zones({"a.test": {"TXT": "v=spf1 ip4:192.0.2.1 -all"}})
    assert spf.check_host(ask, "::ffff:192.0.2.1", "a.test").result == "pass"


@pytest.mark.parametrize(
    ("record", "end"),
    [
        ("v=spf1 -all", ("-all", False)),
        ("v=spf1 ptr ~all", ("~all", True)),
        ("v=spf1 all", ("+all", False)),
        ("v=spf1 a", ("", False)),
        ("v=spf1 redirect=b.test", ("?all", True)),
        ("v=spf1 redirect=a.test", ("", False)),
    ],
)
def test_end_of_a_record_is_found_through_redirects(record: str, end: tuple[str, bool]) -> None:
    ask = Zones({"a.test": {"TXT": record}, "b.test": {"TXT": "v=spf1 ptr:c.test ?all"}})
    assert spf.ends(ask, "a.test") == end
