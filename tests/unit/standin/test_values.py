from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standin import values as v


@pytest.mark.parametrize(
    ("shown", "octets"),
    [
        ("36 MB (37,748,736 bytes)", 37748736),
        ("256 KB (262,144 bytes)", 262144),
        ("36MB", 37748736),
        ("1.5 GB", 1610612736),
        ("0 B (0 bytes)", 0),
        ("512", 512),
        ("128 b", 128),
        (1048576, 1048576),
        # The rounded figure isn't the size; the one in brackets is.
        ("35.76 MB (37,500,000 bytes)", 37500000),
    ],
)
def test_sizes(shown: object, octets: int) -> None:
    assert v.size(shown) == octets


@pytest.mark.parametrize("shown", ["", "MB", "36 XB", "-1", -1, True, None, [], "36 MB (37748736)"])
def test_no_sizes(shown: object) -> None:
    with pytest.raises(ValueError, match="a size such as"):
        v.size(shown)


@given(st.integers(min_value=0, max_value=1 << 45))
def test_shown_size_is_read_back(octets: int) -> None:
    assert v.size(v.size_text(octets)) == octets


def test_shown_size_is_exchanges() -> None:
    assert v.size_text(37748736) == "36 MB (37,748,736 bytes)"
    assert v.size_text(262144) == "256 KB (262,144 bytes)"


@pytest.mark.parametrize(
    ("shown", "seconds"),
    [("00:05:00", 300), ("00:00:05", 5), ("1.00:00:00", 86400), ("00:00:00.5000000", 0.5), ("00:00:00", 0)],
)
def test_time_spans(shown: str, seconds: float) -> None:
    assert v.span(shown) == seconds


@pytest.mark.parametrize("shown", ["5", 5, "00:61:00", "00:00:61", "5s", None])
def test_no_time_spans(shown: object) -> None:
    with pytest.raises(ValueError, match="a time span"):
        v.span(shown)


def test_limits() -> None:
    assert v.limit("Unlimited") is None
    assert v.limit("unlimited") is None
    assert v.limit("20") == v.limit(20) == 20
    for wrong in ("many", -1, True, None, "2.5"):
        with pytest.raises(ValueError, match="Unlimited"):
            v.limit(wrong)


def test_flags() -> None:
    read = v.some_of("Tls", "BasicAuth", "Integrated")
    assert read("Tls, basicauth") == {"Tls", "BasicAuth"}
    assert read(["Integrated"]) == {"Integrated"}
    assert read("None") == read("") == read([]) == frozenset()
    for wrong in ("Tls, Ssl", ["Tls", 1], 1, None):
        with pytest.raises(ValueError, match="some of Tls, BasicAuth, Integrated"):
            read(wrong)


def test_bindings() -> None:
    assert v.binding("0.0.0.0:25") == v.Binding("0.0.0.0", 25)
    assert v.binding("[::]:25") == v.Binding("::", 25)
    assert v.binding("[FD77:0::1]:25") == v.Binding("fd77::1", 25)
    assert v.binding("[::]:25").is_any
    assert not v.binding("10.1.1.21:25").is_any
    assert str(v.binding("[::]:25")) == "[::]:25"
    assert str(v.binding("0.0.0.0:25")) == "0.0.0.0:25"
    for wrong in ("0.0.0.0", "::1:25", "0.0.0.0:0", "0.0.0.0:65536", "300.0.0.1:25", 25, "*:25"):
        with pytest.raises(ValueError, match=r"0\.0\.0\.0:25"):
            v.binding(wrong)


@pytest.mark.parametrize(
    ("spelled", "first", "last"),
    [
        ("10.1.1.25", "10.1.1.25", "10.1.1.25"),
        ("10.1.1.0/24", "10.1.1.0", "10.1.1.255"),
        ("10.1.1.7/24", "10.1.1.0", "10.1.1.255"),
        ("10.1.1.0(255.255.255.0)", "10.1.1.0", "10.1.1.255"),
        ("10.1.1.1-10.1.1.9", "10.1.1.1", "10.1.1.9"),
        ("10.1.1.1 - 10.1.1.9", "10.1.1.1", "10.1.1.9"),
        ("0.0.0.0-255.255.255.255", "0.0.0.0", "255.255.255.255"),
        ("fd77:10:1::21", "fd77:10:1::21", "fd77:10:1::21"),
        ("fd77:10:1::/64", "fd77:10:1::", "fd77:10:1:0:ffff:ffff:ffff:ffff"),
        ("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ],
)
def test_ranges(spelled: str, first: str, last: str) -> None:
    found = v.remote_range(spelled)
    assert (found.first, found.last) == (ipaddress.ip_address(first), ipaddress.ip_address(last))
    assert found.first in found
    assert found.last in found
    assert found.count == int(found.last) - int(found.first) + 1


@pytest.mark.parametrize("wrong", ["", "10.1.1", "10.1.1.9-10.1.1.1", "10.1.1.1-::1", "10.1.1.0/33", "any", 10, None])
def test_no_ranges(wrong: object) -> None:
    with pytest.raises(ValueError, match="an address range"):
        v.remote_range(wrong)
