"""A JSON body means one thing or is refused."""

from __future__ import annotations

import pytest
from small_app import browser, shop

from orion_core.errors import Malformed
from orion_core.json_body import DEPTH, refuse_ambiguous

ORDERS = "/api/v1/shop/orders"
GOOD = b'{"email": "ada@example.org", "lines": []}'


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (b'{"a": 1, "a": 1}', "a"),
        (b'{"a": 1, "b": 2, "a": null}', "a"),
        (b'{"a": 1, "\\u0061": 2}', "a"),
        (b'[{"b": {"c": 1, "c": 2}}]', "c"),
        (b'{"a": ' + b"9" * 5000 + b', "a": 1}', "a"),
        (b'{"": 1, "": 2}', ""),
        (b'{"\\ud800": 1, "\\ud800": 2}', "\\ud800"),
    ],
)
def test_a_member_that_is_given_twice_is_named_g5(text: bytes, field: str) -> None:
    with pytest.raises(Malformed, match="is given twice") as caught:
        refuse_ambiguous(text)

    assert [(each.field, each.code) for each in caught.value.errors] == [(field, "duplicate")]


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": {"a": 1}, "b": {"a": 1}}',
        b'[{"a": 1}, {"a": 1}]',
        b'{"a": "{\\"a\\": 1, \\"a\\": 2}"}',
        b"[" * DEPTH + b"]" * DEPTH,
        b'{"a":' * DEPTH + b"1" + b"}" * DEPTH,
        b"[" + b"[]," * 1000 + b"[]]",
        b'"' + b"[" * 1000 + b'"',
        b'["\\"' + b"{" * 1000 + b'"]',
        b'{"a": 1, "a"',
        b"nonsense {",
        b"\xff{",
        b"",
    ],
)
def test_one_meaning_and_what_is_no_json_at_all_pass_g5_g40(text: bytes) -> None:
    refuse_ambiguous(text)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1),
        b'{"a":' * (DEPTH + 1) + b"1" + b"}" * (DEPTH + 1),
        b'[{"a":' * 33 + b"1" + b"}]" * 33,
        b"[" * 500_000,
        b'["]]]]]]]",' * 65,
    ],
)
def test_what_is_nested_deeper_than_64_levels_is_refused_g40(text: bytes) -> None:
    with pytest.raises(Malformed, match="deeper than 64"):
        refuse_ambiguous(text)


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "text/plain", ""])
@pytest.mark.parametrize(
    "body", [GOOD[:-1] + b', "email": "eve@example.org"}', GOOD[:-3] + b"[" * 65 + b"]" * 65 + b"]}"]
)
async def test_a_route_never_sees_an_ambiguous_body(kind: str, body: bytes) -> None:
    """G5 and G40: whatever it is called."""
    async with browser(shop()) as client:
        answer = await client.post(ORDERS, content=body, headers={"content-type": kind})

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


async def test_a_large_body_is_looked_through_as_well() -> None:
    """G5."""
    lines = b",".join([b'{"article": "book", "count": 1}'] * 200)
    body = b'{"email": "ada@example.org", "lines": [' + lines + b'], "email": "eve@example.org"}'
    async with browser(shop()) as client:
        answer = await client.post(ORDERS, content=body)

    assert answer.json()["errors"] == [
        {"field": "email", "code": "duplicate", "detail": "is given twice: leave one out"}
    ]
