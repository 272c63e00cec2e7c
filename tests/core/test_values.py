"""Values: frozen, checked when made, immutable all the way down."""

from __future__ import annotations

import enum
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import attrs
import pytest

from orion_core.errors import FieldError, Invalid
from orion_core.validators import between, is_email, is_plain, length, matches, max_len, min_len, schema_of
from orion_core.values import describe, is_value, mutable_parts, type_check, value


class Colour(enum.Enum):
    """An enum."""

    RED = "red"


@value
class Line:
    """A small value."""

    article: str
    count: int = attrs.field(default=1, validator=between(1, 9))


@value
class Order:
    """A larger one."""

    id: UUID
    lines: tuple[Line, ...] = ()
    at: datetime | None = None


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (str, ["", "a"], [1, b"a", None]),
        (int, [0, -5], [True, 1.0, "1"]),
        (float, [1.5, 1], [True, "1"]),
        (bool, [True], [1, "true"]),
        (UUID, [uuid4()], [str(uuid4())]),
        (datetime, [datetime.now(UTC)], [datetime(2026, 1, 1), date(2026, 1, 1)]),  # noqa: DTZ001 - what is refused
        (date, [date(2026, 1, 1)], [datetime.now(UTC)]),
        (timedelta, [timedelta(1)], [1]),
        (Decimal, [Decimal(1)], [1.0]),
        (Colour, [Colour.RED], ["red"]),
        (Literal["a", "b"], ["a"], ["c", 1]),
        (tuple[str, ...], [(), ("a",)], [["a"], (1,), "a"]),
        (tuple[int, str], [(1, "a")], [(1,), ("a", 1), (1, "a", 2)]),
        (str | None, ["a", None], [1]),
        (Annotated[int, "x"], [1], ["1"]),
        (Line, [Line("a")], [{"article": "a"}]),
        (None, [None], [0]),
        (Any, [1, None, []], []),
    ],
)
def test_a_field_takes_what_its_annotation_says(hint: Any, good: list[Any], bad: list[Any]) -> None:
    check = type_check(hint)

    assert [given for given in good if not check(given)] == []
    assert [given for given in bad if check(given)] == []


@pytest.mark.parametrize("hint", [list[str], dict[str, int], set[int]])
def test_what_can_change_cannot_cross_a_contract(hint: Any) -> None:
    with pytest.raises(TypeError, match="cannot cross a contract"):
        type_check(hint)


def test_a_value_is_checked_when_it_is_made_and_stays_as_it_is() -> None:
    with pytest.raises(Invalid) as wrong:
        Line(article=5)  # type: ignore[arg-type]
    assert wrong.value.errors == (FieldError("article", "type", "must be text"),)
    with pytest.raises(Invalid, match="count: must be from 1 to 9"):
        Line("a", 10)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Line("a").count = 2  # type: ignore[misc]
    assert Line("a") == Line("a", 1)
    assert hash(Line("a")) == hash(Line("a", 1))


def test_what_may_change_is_found_at_any_depth() -> None:
    @value
    class Inner:
        names: list[str]

    @value
    class Outer:
        inner: Inner
        lines: tuple[Line, ...]

    # Local classes are resolved by hand: their names are unknown to the module.
    Outer.__annotations__["inner"], Inner.__annotations__["names"] = Inner, list[str]

    assert mutable_parts(Outer) == ["Outer.inner.names: list"]
    assert mutable_parts(Order) == []


def test_a_value_is_told_from_other_classes() -> None:
    assert [is_value(kind) for kind in (Line, Colour, str, 5, attrs.make_class("Open", []))] == [True, *[False] * 4]


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (str, "text"),
        (str | None, "text or null"),
        (tuple[int, ...], "a list of a whole number"),
        (Colour, "one of red"),
        (Literal["a", "b"], "one of a, b"),
        (Line, "Line"),
    ],
)
def test_a_type_is_said_in_words(hint: Any, words: str) -> None:
    assert describe(hint) == words


@pytest.mark.parametrize(
    ("validator", "good", "bad"),
    [
        (
            is_email,
            ["a@b", " ada@example.org ", "ü@ä.de", None],
            ["", "a", "a@", "@b", "a@b@c", "a b@c", "a@b\nc", "a" * 255],
        ),
        (is_plain, ["", "Ada Lovelace", "李", None], ["a\nb", "a\x00", "a\x7f", "a\u202eb", "a\u2066b"]),
        (min_len(2), ["ab", None], ["a", ""]),
        (max_len(2), ["ab", "", None], ["abc"]),
        (length(1, 2), ["a", "ab"], ["", "abc"]),
        (between(1, 2), [1, 1.5, 2, None], [0, 3, float("nan")]),
        (matches("[a-z]+", "must be letters"), ["a", None], ["", "a1", "a\n"]),
    ],
)
def test_a_validator_takes_what_it_says_and_nothing_else(validator: Any, good: list[Any], bad: list[Any]) -> None:
    field: Any = attrs.fields_dict(Line)["article"]  # type: ignore[arg-type]  # a value is an attrs class
    for given in good:
        validator(None, field, given)
    for given in bad:
        with pytest.raises(Invalid, match=r"^article: "):
            validator(None, field, given)


def test_validators_describe_themselves_as_json_schema() -> None:
    letter: Any = attrs.validators.optional(matches("[A-Z]", "must be a letter"))
    together: Any = attrs.validators.and_(length(1, 20), is_plain)
    fields = attrs.fields(
        attrs.make_class(
            "Form",
            {
                "email": attrs.field(validator=is_email),
                "name": attrs.field(validator=together),
                "code": attrs.field(validator=letter),
            },
        )
    )

    assert schema_of(fields.email) == {"format": "email", "maxLength": 254}
    assert schema_of(fields.name) == {"minLength": 1, "maxLength": 20}
    assert schema_of(fields.code) == {"pattern": "^[A-Z]$"}
