"""Where the bearer token of a request comes from."""

from __future__ import annotations

import pytest

from orion_core.bearer import bearer_token
from orion_core.errors import Unauthenticated


def headers(*values: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x.org"), *((b"authorization", value) for value in values)]


@pytest.mark.parametrize("value", [b"Bearer a.b.c", b"bearer a.b.c", b"BEARER a.b.c", b" Bearer a.b.c "])
def test_the_scheme_is_bearer_in_any_letter_case(value: bytes) -> None:
    """A16."""
    assert bearer_token(headers(value)) == "a.b.c"


def test_without_the_header_there_is_no_token() -> None:
    """A16."""
    assert bearer_token(headers()) is None
    assert bearer_token([(b"x-authorization", b"Bearer a.b.c"), (b"cookie", b"authorization=Bearer a.b.c")]) is None


@pytest.mark.parametrize(
    "value",
    [b"", b"Bearer", b"Bearer ", b"a.b.c", b"Basic YTpi", b"Bearer a b", b"Bearer  a", b"Bearer a,b", b"Bearer \xff"],
)
def test_anything_else_than_one_bearer_token_is_refused(value: bytes) -> None:
    """A16."""
    with pytest.raises(Unauthenticated):
        bearer_token(headers(value))


def test_two_authorization_headers_are_refused_even_if_they_are_the_same() -> None:
    """A16."""
    with pytest.raises(Unauthenticated):
        bearer_token(headers(b"Bearer a.b.c", b"Bearer a.b.c"))
