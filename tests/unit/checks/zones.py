"""Name servers for the tests of the checks: zones in a dictionary, and a real server on loopback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.checks.dns import NO_NAME, Answer, Kind, is_name

#: What stands in place of a record where the question fails.
SERVFAIL, REFUSED, NXDOMAIN = "SERVFAIL", "REFUSED", "NXDOMAIN"


class Zones:
    """Answers from `name → type → records`; what isn't in it doesn't exist. ``asked`` has every question."""

    def __init__(self, names: Mapping[str, Mapping[str, Sequence[str] | str]]) -> None:
        self.names = {
            name.lower(): {kind: _listed(records) for kind, records in found.items()} for name, found in names.items()
        }
        self.asked: list[tuple[str, str]] = []

    def __call__(self, name: str, kind: str) -> Answer:
        self.asked.append((name, kind))
        if not is_name(name):
            return NO_NAME
        at = name.lower().removesuffix(".")
        for _ in range(10):
            found = self.names.get(at)
            if found is None:
                return Answer(Kind.NOTHING, reason="no such name", exists=False)
            canonical = "" if at == name.lower().removesuffix(".") else at
            records = found.get(kind) or found.get("*")
            if records == (SERVFAIL,):
                return Answer(Kind.FAILED, reason=f"the name server says {SERVFAIL}")
            if records == (REFUSED,):
                return Answer(Kind.REFUSED, reason="the name server refuses to answer")
            if records:
                return Answer(Kind.ANSWER, records, canonical=canonical)
            if "CNAME" not in found:
                return Answer(Kind.NOTHING, reason=f"no {kind} record", canonical=canonical)
            at = found["CNAME"][0]
        return Answer(Kind.FAILED, reason="CNAMEs in a circle")


def _listed(records: Sequence[str] | str) -> tuple[str, ...]:
    return (records,) if isinstance(records, str) else tuple(records)
