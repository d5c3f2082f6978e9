"""The report in its four forms, each read by what reads that form."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from world import DOMAIN, World, put

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks.outcomes import Level, Outcome, Row, bad
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks.render.html import as_html
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks.render.junit import as_junit
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks.render.report import (
    PreviousProblem,
    Report,
    as_json,
    build,
    clean,
    in_short,
    last_report,
)
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks.render.text import as_text

SCHEMA = json.loads((Path(__file__).resolve().parents[3] / "docs" / "verify.schema.json").read_text())
HOSTILE = "<script>alert(1)</script>\"'&\x00\x07\x1b[31m\u202egnp.\u2028\ud800\ufffe{{ 7*7 }}"
FIRST, SECOND = "2026-11-30T10:00:00Z", "2026-12-01T10:00:00Z"


def row(check: str, outcome: Outcome, subject: str = DOMAIN, level: Level = Level.MUST, **more: Any) -> Row:
    remedy = "Do that." if outcome in (Outcome.FAIL, Outcome.WARN) else ""
    fields = {"asked": "what", "came": "this", "wanted": "that", "remedy": remedy, **more}
    return Row(check, subject, "controller", level, outcome, **fields)


def report(*rows: Row, before: Report | None = None, fail_on: str = "must") -> Report:
    last = last_report(as_json(before), "before.json") if before else None
    began = SECOND if before else FIRST
    places = {"controller": "where this runs"}
    return build(rows, site="example", began=began, seconds=1.5, places=places, fail_on=fail_on, last=last)


def of_each_outcome() -> Report:
    rows = [row(f"dns.{outcome}", outcome) for outcome in Outcome]
    hostile = row("dns.spf", Outcome.FAIL, came=HOSTILE, evidence=(HOSTILE,))
    return report(*rows, row("bl.note", Outcome.WARN, level=Level.NOTE), hostile)


def test_json_is_as_its_schema_says_and_in_order() -> None:
    content = json.loads(as_json(of_each_outcome()))
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(content, SCHEMA)
    keys = [(one["id"], one["subject"], one["place"]) for one in content["checks"]]
    assert keys == sorted(keys)
    assert content["summary"]["counts"] == {"pass": 1, "warn": 2, "fail": 2, "unknown": 1, "not_tested": 1}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**content, "strange": 1}, SCHEMA)


def test_since_is_carried_over_as_long_as_the_outcome_stays() -> None:
    before = report(row("a.same", Outcome.FAIL), row("a.worse", Outcome.PASS), row("a.better", Outcome.FAIL),
                    row("a.gone", Outcome.FAIL), row("a.shut", Outcome.NOT_TESTED))  # fmt: skip
    assert (before.first, before.worsened, before.mended) == (True, (), ())
    now = report(row("a.same", Outcome.FAIL), row("a.worse", Outcome.UNKNOWN), row("a.better", Outcome.PASS),
                 row("a.new", Outcome.FAIL), row("a.shut", Outcome.PASS), before=before)  # fmt: skip
    since = {key[0]: value for key, value in now.since.items()}
    assert since == {"a.same": FIRST, "a.worse": SECOND, "a.better": SECOND, "a.new": SECOND, "a.shut": SECOND}
    assert [one.id for one in now.worsened] == ["a.new", "a.worse"]
    assert [one.id for one in now.mended] == ["a.better"]
    again = report(*now.rows, before=now)
    assert (again.since, again.worsened, again.mended) == (now.since, (), ())


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"schema": "other"}', '{"schema": "postern.mail_gateway/verify/1"}']
)
def test_what_is_no_report_is_said_in_a_sentence(text: str) -> None:
    with pytest.raises(PreviousProblem, match=r"^last\.json isn't a report of verify: move it away, and the next"):
        last_report(text, "last.json")


def test_two_rows_about_one_thing_are_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"two rows for dns\.spf"):
        report(row("dns.spf", Outcome.PASS), row("dns.spf", Outcome.FAIL))


@pytest.mark.parametrize(
    ("outcome", "level", "fails"),
    [
        (Outcome.PASS, Level.MUST, []),
        (Outcome.WARN, Level.MUST, []),
        (Outcome.NOT_TESTED, Level.MUST, []),
        (Outcome.FAIL, Level.MUST, ["must", "should"]),
        (Outcome.UNKNOWN, Level.MUST, ["must", "should"]),
        (Outcome.FAIL, Level.SHOULD, ["should"]),
        (Outcome.UNKNOWN, Level.SHOULD, ["should"]),
        (Outcome.UNKNOWN, Level.NOTE, []),
    ],
)
def test_for_what_a_run_fails(outcome: Outcome, level: Level, fails: list[str]) -> None:
    assert [on for on in ("must", "should", "never") if bad([row("a.b", outcome, level=level)], on)] == fails


def test_verdicts() -> None:
    assert report().verdict() == "Nothing was checked for example."
    assert report(row("a.b", Outcome.PASS)).verdict() == "example is as it must be."
    warned = report(row("a.b", Outcome.PASS), row("a.c", Outcome.WARN))
    assert warned.verdict() == "example is as it must be; 1 of 2 answers deserve a look."
    failed = report(row("a.b", Outcome.FAIL), row("a.c", Outcome.UNKNOWN))
    assert failed.verdict() == "example isn't as it must be: 1 of 2 answers are wrong and 1 can't be told."
    assert in_short(failed) == {
        "verdict": failed.verdict(), "counts": failed.counts, "failing": ["a.b", "a.c"],
    }  # fmt: skip


def test_hostile_text_shows_what_it_is() -> None:
    shown = clean(HOSTILE)
    assert not re.search("[\x00-\x1f\u202e\u2028\ud800\ufffe]", shown)
    assert len(clean("x" * 10_000)) <= 600


def test_junit_is_as_jenkins_and_gitlab_read_it() -> None:
    text = as_junit(of_each_outcome())
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", text)
    suites = ET.fromstring(text.encode())  # noqa: S314 (ours)
    # Jenkins knows these attributes and no others; `skipped` isn't one of `testsuites`.
    assert set(suites.attrib) <= {"name", "time", "tests", "failures", "disabled", "errors"}
    for suite in suites:
        assert set(suite.attrib) <= {"name", "tests", "failures", "errors", "time", "disabled", "skipped", "timestamp"}
        assert {case.get("classname") for case in suite} == {f"verify.{suite.get('name')}"}
    cases = {str(case.get("name")).split()[0]: case for case in suites.iter("testcase")}
    assert {name: [child.tag for child in case] for name, case in cases.items()} == {
        "bl.note": ["system-out"],
        "dns.fail": ["failure"],
        "dns.not_tested": ["skipped"],
        "dns.pass": [],
        "dns.spf": ["failure"],
        "dns.unknown": ["error"],
        "dns.warn": ["system-out"],
    }
    assert cases["dns.fail"][0].get("message") == "Do that."
    dns = next(suite for suite in suites if suite.get("name") == "dns")
    assert [dns.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["6", "2", "1", "1"]
    assert [suites.get(name) for name in ("tests", "failures", "errors")] == ["7", "2", "1"]


def test_text_has_what_deserves_a_look_and_what_to_do() -> None:
    text = as_text(of_each_outcome())
    assert text.index("FAIL  must    dns.fail  example.test  (from controller)") < text.index(
        "????  must    dns.unknown"
    )
    assert "dns.pass" not in text
    assert "Do that." in text
    assert text.endswith("2 of 7 answers are wrong and 1 can't be told.\n")
    assert "\x1b" not in text


class Page(HTMLParser):
    """What of a page matters to those who can't see it, and to those who don't trust it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[int] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))


@pytest.fixture(scope="module")
def page() -> str:
    return as_html(of_each_outcome(), [DOMAIN])


def test_html_needs_no_script_and_no_network(page: str) -> None:
    found = Page(page)
    assert {tag for tag, _ in found.tags} & {"script", "link", "img", "iframe", "object", "form", "base"} == set()
    for _, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset", "style")]
        assert str(attributes.get("href") or "#").startswith("#")
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_html_escapes_hostile_text(page: str) -> None:
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "{{ 7*7 }}" in page
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e\u2028]", page)
    hostile = replace(row("dns.spf", Outcome.FAIL), subject=f'{DOMAIN}"><b id=x>', remedy="<b>")
    assert "<b" not in re.sub("<body", "", as_html(report(hostile), [hostile.subject]))


def test_html_can_be_found_ones_way_through(page: str) -> None:
    found = Page(page)
    assert ("html", {"lang": "en"}) in found.tags
    assert found.headings.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in zip(found.headings, found.headings[1:], strict=False))
    tables = [tag for tag, _ in found.tags if tag in ("table", "caption")]
    assert tables.count("table") == tables.count("caption") > 0
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in found.tags if tag == "th")
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    linked = {str(attributes["href"])[1:] for tag, attributes in found.tags if tag == "a"}
    assert linked <= set(ids)


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_html_can_be_read_in_light_dark_and_print(page: str) -> None:
    schemes = re.findall(r":root \{(.*?)\}", page, re.DOTALL)
    assert len(schemes) == 3
    assert "font: 16px/1.5" in page
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        for name in ("ink", *Outcome):
            for ground in ("paper", "soft"):
                light, dark = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, f"{name} on {ground}"


def test_html_of_75_domains_is_small_and_says_each_outcome_in_words() -> None:
    world = World()
    put(f"_dmarc.{DOMAIN}")(world)
    rows = world.rows()
    about_one = [one for one in rows if one.subject.startswith(DOMAIN)]
    many = [
        replace(one, subject=one.subject.replace(DOMAIN, f"customer-{number}.{DOMAIN}"))
        for number in range(74)
        for one in about_one
    ]
    domains = [DOMAIN, *(f"customer-{number}.{DOMAIN}" for number in range(74))]
    text = as_html(report(*rows, *many), domains)
    assert len(text.encode()) < 300_000
    assert len(re.findall(r'<th scope="row">[a-z]', text)) == 75
    assert len(re.findall('<td class="fail">✗ failed</td>', text)) == 75
