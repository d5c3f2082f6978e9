"""How IIS reads a request target: what a gateway overlooks here opens a closed path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standin.httpd import BadTarget, canonical


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("/ecp", "/ecp"),
        ("/ecp/", "/ecp/"),
        ("/ECP/", "/ECP/"),
        ("/%65cp", "/ecp"),
        ("/%65%63%70/", "/ecp/"),
        ("/%45cp", "/Ecp"),
        ("//ecp", "/ecp"),
        ("///ecp//x", "/ecp/x"),
        ("/./ecp", "/ecp"),
        ("/owa/../ecp", "/ecp"),
        ("/owa/%2e%2e/ecp", "/ecp"),
        ("/owa/..%2fecp", "/ecp"),
        ("/owa%2f..%2fecp", "/ecp"),
        ("/owa/..%5cecp", "/ecp"),
        ("/owa\\..\\ecp", "/ecp"),
        ("\\ecp", None),
        ("/\\ecp", "/ecp"),
        ("/owa/x/../../ecp/", "/ecp/"),
        ("/../../ecp", "/ecp"),
        ("/ecp/..", "/"),
        ("/ecp/x/..", "/ecp/"),
        ("/ecp/.", "/ecp/"),
        ("/ecp/..x", "/ecp/..x"),
        ("/owa/%C3%BC", "/owa/ü"),
        ("http://mail.example.test/ecp", "/ecp"),
        ("HTTPS://mail.example.test:443/ecp/x", "/ecp/x"),
        ("https://mail.example.test", "/"),
        ("https://mail.example.test?x", "/"),
        ("/owa?/../ecp", "/owa"),
        ("/%2565cp", None),
        ("/owa/%252e%252e/ecp", None),
        ("/ecp%", None),
        ("/ecp%zz", None),
        ("/%u0065cp", None),
        ("/%c0%afecp", None),
        ("/ecp%00", None),
        ("/ecp%0d%0aX", None),
        ("/owa#/ecp", None),
        ("ecp", None),
        ("*", None),
        ("mail.example.test:443", None),
    ],
)
def test_canonical(target: str, path: str | None) -> None:
    if path is None:
        with pytest.raises(BadTarget):
            canonical(target)
    else:
        assert canonical(target)[0] == path


def test_query_is_kept_as_it_is() -> None:
    assert canonical("/owa/?a=%2e%2e/../b&c#d") == ("/owa/", "a=%2e%2e/../b&c#d")


@given(st.text(alphabet="/\\.%25efECPecpowa", max_size=30))
def test_nothing_is_left_to_resolve(rest: str) -> None:
    try:
        path = canonical("/" + rest)[0]
    except BadTarget:
        return
    assert path.startswith("/")
    assert "\\" not in path
    assert "//" not in path
    assert not {".", ".."} & set(path.split("/"))
    # What came out is what IIS would make of it again, but for a percent sign that stands for itself.
    if "%" not in path:
        assert canonical(path)[0] == path
