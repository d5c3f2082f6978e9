"""Values in every spelling: read into one form, written back, and refused with the end of a sentence."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.postern.mail_gateway.plugins.module_utils.values.sentences import Unfit
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.kinds import KINDS
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.kinds.receive_connectors import (
    AUTH_MECHANISM,
)
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.ranges import Range
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.exchange.values import (
    BINDINGS,
    BOOLEAN,
    COUNT_OR_UNLIMITED,
    NAME,
    NAMES,
    PATH,
    RANGES,
    SIZE,
    SIZE_OR_UNLIMITED,
    SPAN,
    TEXT,
    ValueType,
    read_wanted,
)

few = settings(max_examples=60, deadline=None)


@pytest.mark.parametrize(
    ("value_type", "one", "other"),
    [
        (RANGES, ["10.0.0.0/24"], ["10.0.0.0-10.0.0.255"]),
        (RANGES, ["10.0.0.0/24"], ["10.0.0.0(255.255.255.0)"]),
        (RANGES, ["10.0.0.0/24"], ["10.0.0.7/255.255.255.0"]),
        (RANGES, ["10.0.0.1"], ["10.0.0.1-10.0.0.1"]),
        (RANGES, ["10.0.0.1/32", "fd00::1"], ["FD00:0:0::1/128", "10.0.0.1"]),
        (RANGES, ["0.0.0.0/0", "::/0"], ["::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "0.0.0.0-255.255.255.255"]),
        (BINDINGS, ["0.0.0.0:25", "[::]:25"], ["[0:0::0]:25", "0.0.0.0:25"]),
        (SIZE, "36 MB (37,748,736 bytes)", "36MB"),
        (SIZE, "36 MB (37.748.736 Bytes)", 37748736),
        (SIZE, "1 KB", "1024"),
        (SIZE_OR_UNLIMITED, "unlimited", "Unlimited"),
        (SPAN, "00:05:00", "0:5"),
        (SPAN, "30.00:00:00", "30.0:0:0.0"),
        (COUNT_OR_UNLIMITED, "20", 20),
        (COUNT_OR_UNLIMITED, "UNLIMITED", "Unlimited"),
        (AUTH_MECHANISM, "Tls, BasicAuth", ["basicauth", "TLS"]),
        (AUTH_MECHANISM, "None", []),
        (NAME, "EX1.example.com", "ex1.EXAMPLE.com"),
        (NAMES, ["mail:993:SSL", "mail:143:TLS"], ["MAIL:143:tls", "mail:993:SSL"]),
        (PATH, "C:\\Logs\\", "c:\\logs"),
        (BOOLEAN, True, "True"),
        (TEXT, None, ""),
    ],
)
def test_spellings_of_one_thing(value_type: ValueType, one: Any, other: Any) -> None:
    assert value_type.read(one) == value_type.read(other)


@pytest.mark.parametrize(
    ("value_type", "one", "other"),
    [
        (RANGES, ["10.0.0.0/24"], ["10.0.0.0/25"]),
        (RANGES, ["0.0.0.0/0"], ["0.0.0.0/0", "::/0"]),
        (BINDINGS, ["0.0.0.0:25"], ["[::]:25"]),
        (SIZE, "36MB", "36KB"),
        (SPAN, "00:05:00", "05:00:00"),
        (TEXT, "220 a", "220 A"),
        (COUNT_OR_UNLIMITED, "Unlimited", 0),
    ],
)
def test_different_things(value_type: ValueType, one: Any, other: Any) -> None:
    assert value_type.read(one) != value_type.read(other)


@pytest.mark.parametrize(
    ("value_type", "value", "end"),
    [
        (RANGES, ["10.0.0.9-10.0.0.1"], "but must be an address, a network"),
        (RANGES, ["10.0.0.1-fd00::1"], "but must be an address, a network"),
        (RANGES, ["ex1.example.com"], "but must be an address, a network"),
        (RANGES, [25], "but must be an address, a network"),
        (BINDINGS, ["0.0.0.0"], "but must be an address with a port"),
        (BINDINGS, ["0.0.0.0:70000"], "but must be an address with a port"),
        (BINDINGS, ["::1:25"], "but must be an address with a port"),
        (SIZE, "25 apples", "but must be a size"),
        (SIZE, True, "but must be a size"),
        (SIZE_OR_UNLIMITED, "much", "but must be a size such as 25MB, or Unlimited"),
        (SPAN, "5", "but must be a time span"),
        (SPAN, 300, "in quotes"),
        (SPAN, "25:00:00", "but must be a time span"),
        (BOOLEAN, "yes", "but must be true or false"),
        (BOOLEAN, 1, "but must be true or false"),
        (AUTH_MECHANISM, ["Ntlm"], "but must be Tls, Integrated"),
        (PATH, "\\\\server\\share", "but must be a local path"),
        (TEXT, ["a"], "but must be a text"),
    ],
)
def test_what_is_no_such_value_is_refused(value_type: ValueType, value: Any, end: str) -> None:
    with pytest.raises(Unfit) as refused:
        value_type.read(value)
    assert end in refused.value.text


@few
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_range_survives_being_written(one: int, other: int) -> None:
    entry = Range(4, min(one, other), max(one, other))
    assert RANGES.read(RANGES.write(frozenset((entry,)))) == frozenset((entry,))


@few
@given(st.integers(0, 2**128 - 1), st.integers(0, 128))
def test_a_network_is_the_range_from_its_first_to_its_last_address(number: int, prefix: int) -> None:
    network = ipaddress.ip_network((number, prefix), strict=False)
    if network.version == 6:
        both = f"{network.network_address}-{network.broadcast_address}"
        assert RANGES.read([str(network)]) == RANGES.read([both])


@few
@given(st.integers(0, 2**50))
def test_a_size_survives_being_written(size: int) -> None:
    assert SIZE.read(SIZE.write(size)) == size
    assert SIZE.read(f"1.2 GB ({size:,} bytes)") == size


@few
@given(st.integers(0, 10**16))
def test_a_time_span_survives_being_written(ticks: int) -> None:
    assert SPAN.read(SPAN.write(ticks)) == ticks


@few
@given(st.sampled_from([kind_property for kind in KINDS for kind_property in kind.properties]), st.data())
def test_whatever_stands_there_is_read_or_refused(entry: Any, data: Any) -> None:
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=12),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=4,
    )
    value = data.draw(anything)
    try:
        exact = entry.type.read(value)
    except Unfit:
        return
    assert entry.type.read(entry.type.write(exact)) == exact


items = st.frozensets(st.sampled_from(["10.0.0.1", "10.0.0.2", "10.1.0.0/16", "fd00::/64"]))


@few
@given(items, items, items)
def test_add_and_remove_touch_nothing_else(actual: frozenset[str], add: frozenset[str], remove: frozenset[str]) -> None:
    remove -= add
    wanted = read_wanted(RANGES, {"add": list(add), "remove": list(remove)})
    result = wanted.resulting(RANGES.read(list(actual)))
    assert result == RANGES.read(list((actual - remove) | add))
    assert wanted.resulting(result) == result


@pytest.mark.parametrize(
    ("value", "end"),
    [
        ({"set": ["10.0.0.1"], "add": ["10.0.0.2"]}, "set alone"),
        ({}, "set alone"),
        ({"append": ["10.0.0.1"]}, "set alone"),
        ({"add": ["10.0.0.1"], "remove": ["10.0.0.1-10.0.0.1"]}, "can't both add and remove 10.0.0.1"),
    ],
)
def test_a_wrong_dictionary_is_refused(value: Any, end: str) -> None:
    with pytest.raises(Unfit) as refused:
        read_wanted(RANGES, value)
    assert end in refused.value.text


def test_a_dictionary_for_one_value_is_refused() -> None:
    with pytest.raises(Unfit, match="one value"):
        read_wanted(SIZE, {"set": ["25MB"]})
