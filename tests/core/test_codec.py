"""The codec: strict, complete, and every misfit is named by its path."""

from __future__ import annotations

import enum
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import attrs
import pytest

from orion_core import codec
from orion_core.errors import Invalid, Malformed
from orion_core.validators import between
from orion_core.values import value


class Colour(enum.Enum):
    """An enum."""

    RED = "red"


@value
class Line:
    """A small value."""

    article: str
    count: int = attrs.field(default=1, validator=between(1, 9))


@value
class Everything:
    """One field of each kind."""

    text: str
    whole: int
    number: float
    yes: bool
    raw: bytes
    id: UUID
    at: datetime
    day: date
    span: timedelta
    money: Decimal
    colour: Colour
    word: Literal["a", "b"]
    line: Line
    lines: tuple[Line, ...]
    pair: tuple[int, str]
    maybe: str | None = None


FULL = Everything(
    text="ä\ud800",
    whole=2**70,
    number=0.1,
    yes=True,
    raw=b"\x00\xff",
    id=UUID(int=7),
    at=datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
    day=date(2026, 1, 2),
    span=timedelta(days=3, microseconds=1),
    money=Decimal("1.10"),
    colour=Colour.RED,
    word="b",
    line=Line("pen", 2),
    lines=(Line("a"), Line("b")),
    pair=(1, "x"),
)


def test_every_kind_comes_back_as_it_was() -> None:
    assert codec.loads(codec.dumps(FULL), Everything) == FULL
    assert codec.loads(codec.dumps(FULL).encode("utf-8", "surrogatepass"), Everything) == FULL


@pytest.mark.parametrize("number", [Decimal("1E+3"), Decimal("-0.000")])
def test_decimals_keep_their_digits(number: Decimal) -> None:
    assert str(codec.loads(codec.dumps(number, Decimal), Decimal)) == str(number)


@pytest.mark.parametrize(
    ("field", "given", "detail"),
    [
        ("text", 5, "must be text"),
        ("text", None, "must be text"),
        ("whole", "5", "must be a whole number"),
        ("whole", 1.7, "must be a whole number"),
        ("whole", True, "must be a whole number"),
        ("number", "1", "must be a number"),
        ("yes", 1, "must be true or false"),
        ("id", "x", "must be a UUID"),
        ("id", 5, "must be a UUID"),
        ("at", "2026-01-02T03:04:05", "must be a time with a time zone, as RFC 3339"),
        ("at", 5, "must be a time with a time zone, as RFC 3339"),
        ("day", "2026-13-01", "must be a date"),
        ("day", 5, "must be a date"),
        ("span", "1", "must be a duration in seconds"),
        ("span", True, "must be a duration in seconds"),
        ("span", 1e30, "must be a duration in seconds"),
        ("money", 1.5, "must be a decimal number as text"),
        ("money", "x", "must be a decimal number as text"),
        ("colour", "blue", "must be one of red"),
        ("colour", [], "must be one of red"),
        ("word", "c", "must be one of a, b"),
        ("line", "abc", "must be an object"),
        ("line", ["article"], "must be an object"),
        ("lines", "ab", "must be a list"),
        ("lines", {"a": 1}, "must be a list"),
        ("pair", [1], "must be a list of 2"),
        ("maybe", 5, "must be text"),
    ],
)
def test_what_does_not_fit_is_named(field: str, given: Any, detail: str) -> None:
    plain = {**codec.to_plain(FULL), field: given}

    with pytest.raises(Invalid) as wrong:
        codec.from_plain(plain, Everything)

    assert [(item.field, item.code, item.detail) for item in wrong.value.errors] == [(field, "type", detail)]


def test_a_misfit_deep_inside_is_named_by_its_path() -> None:
    plain = {**codec.to_plain(FULL), "lines": [{"article": "a"}, {}, {"article": "b", "count": 10}, {"article": 5}]}

    with pytest.raises(Invalid) as wrong:
        codec.from_plain(plain, Everything)

    assert sorted((item.field, item.code) for item in wrong.value.errors) == [
        ("lines.1.article", "missing"),
        ("lines.2.count", "out_of_range"),
        ("lines.3.article", "type"),
    ]


@pytest.mark.parametrize(
    ("given", "kind"), [([], Line), ("x", Literal["a"]), (1e30, timedelta), ("ab", tuple[str, ...])]
)
def test_whatever_does_not_fit_is_invalid_and_nothing_else(given: Any, kind: Any) -> None:
    with pytest.raises(Invalid):
        codec.from_plain(given, kind)


def test_unknown_members_are_passed_over_so_that_a_contract_may_grow() -> None:
    assert codec.loads('{"article": "a", "colour": "red"}', Line) == Line("a")


@pytest.mark.parametrize("text", ["", "{", "nonsense", "[" * 100_000, "1" * 5000, b"\xff\xff"])
def test_what_is_no_json_is_malformed(text: str | bytes) -> None:
    with pytest.raises(Malformed):
        codec.loads(text, Line)


def test_json_is_short_and_readable() -> None:
    assert codec.dumps(Line("ä")) == '{"article":"ä","count":1}'
    assert json.loads(codec.dumps(FULL))["id"] == str(FULL.id)
