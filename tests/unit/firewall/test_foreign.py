"""Lines in user.rules that ufw doesn't know stay where they are, whatever becomes of the rules around them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.postern.mail_gateway.plugins.module_utils.firewall.foreign import (
    foreign_lines,
    with_foreign_lines,
)

SSH = ["### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in", "-A ufw-user-input -p tcp --dport 22 -j ACCEPT", ""]
WEB = ["### tuple ### allow tcp 443 0.0.0.0/0 any 0.0.0.0/0 in", "-A ufw-user-input -p tcp --dport 443 -j ACCEPT", ""]
BY_HAND = "-A ufw-user-input -s 198.51.100.66 -j DROP"
NAT = ["*nat", ":POSTROUTING ACCEPT [0:0]", "-A POSTROUTING -s 10.8.0.0/24 -j MASQUERADE", "COMMIT"]


def written(*rules: list[str]) -> str:
    """What ufw writes for these rules."""
    lines = ["*filter", ":ufw-user-input - [0:0]", "### RULES ###", ""]
    for rule in rules:
        lines += rule
    return "\n".join([*lines, "### END RULES ###", "", "### LOGGING ###", "-A ufw-logging", "COMMIT", ""])


def test_a_line_behind_a_rule_stays_behind_it() -> None:
    current = written([*SSH[:2], BY_HAND, ""], WEB)
    found = foreign_lines(current, written(SSH, WEB))
    assert found == [(BY_HAND, SSH[1])]
    new = with_foreign_lines(written(WEB, SSH), found).splitlines()
    assert new[new.index(BY_HAND) - 1] == SSH[1]


def test_a_line_whose_rule_goes_is_the_last_one() -> None:
    found = foreign_lines(written([*SSH[:2], BY_HAND, ""], WEB), written(SSH, WEB))
    new = with_foreign_lines(written(WEB), found).splitlines()
    assert new[new.index("### END RULES ###") - 1] == BY_HAND


def test_another_table_behind_the_first_stays_as_it_is() -> None:
    current = written(SSH) + "\n".join([*NAT, ""])
    found = foreign_lines(current, written(SSH))
    new = with_foreign_lines(written(SSH, WEB), found)
    assert new == written(SSH, WEB) + "\n".join([*NAT, ""])


def test_what_ufw_itself_writes_is_nobody_elses() -> None:
    assert foreign_lines(written(SSH, WEB), written(SSH, WEB)) == []
    # An older ufw's preamble, or another level of logging.
    assert foreign_lines(written(SSH).replace("-A ufw-logging", "-A ufw-logging -x"), written(SSH)) == []


@given(
    places=st.lists(st.integers(0, 6), max_size=6),
    before=st.permutations([SSH, WEB]),
    after=st.lists(st.sampled_from([SSH, WEB]), unique_by=str),
)
def test_nothing_is_lost_doubled_or_put_in_another_order(
    places: list[int], before: list[list[str]], after: list[list[str]]
) -> None:
    lines = [line for rule in before for line in rule]
    given_lines = [f"-A ufw-user-input -s 192.0.2.{number} -j DROP" for number in range(len(places))]
    for place, line in sorted(zip(places, given_lines, strict=True), reverse=True):
        lines.insert(place, line)
    current = written(lines)
    found = foreign_lines(current, written(*before))
    assert sorted(line for line, _anchor in found) == sorted(given_lines)
    new = with_foreign_lines(written(*after), found)
    assert sorted(new.splitlines()) == sorted([*written(*after).splitlines(), *given_lines])
    # A second change finds the same, and puts them back to where they are.
    again = with_foreign_lines(written(*after), foreign_lines(new, written(*after)))
    assert [line for line in again.splitlines() if line] == [line for line in new.splitlines() if line]
