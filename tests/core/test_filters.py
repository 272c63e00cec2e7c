"""The language of filters and of sorting."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orion_core.errors import Malformed
from orion_core.filters import MAX_DEPTH, MAX_TERMS, Comparison, Junction, Not, Order, fold, parse, sorting

FIELDS: dict[str, type] = {
    "name": str,
    "age": int,
    "size": float,
    "at": datetime,
    "day": date,
    "active": bool,
    "ref": UUID,
}
A, B, C = (Comparison("name", "eq", letter) for letter in "abc")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", None),
        (" \n", None),
        ('name eq "a"', A),
        ('name EQ "A"', A),
        ('name eq "\\u0041"', A),
        ("age gt 5", Comparison("age", "gt", 5)),
        ("size le -1.5e1", Comparison("size", "le", -15.0)),
        ("size eq 2", Comparison("size", "eq", 2.0)),
        ('at lt "2026-01-01T01:00:00+01:00"', Comparison("at", "lt", datetime(2026, 1, 1, tzinfo=UTC))),
        ('day ge "2026-01-01"', Comparison("day", "ge", date(2026, 1, 1))),
        ("active eq true", Comparison("active", "eq", True)),
        ('ref eq "00000000-0000-0000-0000-000000000007"', Comparison("ref", "eq", UUID(int=7))),
        ("name pr", Comparison("name", "pr")),
        ('name eq "a" and name eq "b" or name eq "c"', Junction("or", (Junction("and", (A, B)), C))),
        ('name eq "a" and (name eq "b" or name eq "c")', Junction("and", (A, Junction("or", (B, C))))),
        ('not name eq "a" and name eq "b"', Junction("and", (Not(A), B))),
        ('not (name eq "a" and name eq "b")', Not(Junction("and", (A, B)))),
    ],
)
def test_a_filter_is_read(text: str, found: Any) -> None:
    """U21, S19."""
    assert parse(text, FIELDS) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("other eq 1", "at character 1: other is no field"),
        ("name like 1", "at character 6: an operator is expected after name"),
        ("age co 1", "at character 5: age does not know co"),
        ("active gt true", "active does not know gt"),
        ("ref sw 1", "ref does not know sw"),
        ("name eq 1", "at character 9: name is compared with text"),
        ('age eq "1"', "age is compared with a whole number"),
        ("age eq 1.5", "age is compared with a whole number"),
        ("age eq true", "age is compared with a whole number"),
        ("age eq 99999999999999999999", "age is compared with a whole number"),
        ("age eq " + "9" * 5000, "no JSON value"),
        ("size eq 1e999", "size is compared with a number"),
        ("size eq NaN", "size is compared with a number"),
        ("active eq 1", "active is compared with true or false"),
        ('at eq "2026-01-01T00:00:00"', "at is compared with a time with a time zone"),
        ('at eq "0001-01-01T00:00:00+23:00"', "at is compared with a time"),
        ('day eq "x"', "day is compared with a date"),
        ('name eq "\\u0000"', "name is compared with text"),
        ('name eq "\ud800"', "name is compared with text"),
        ('name eq "a', "at character 9: a text without its closing quote"),
        ('name eq "\\x"', "no JSON value"),
        ("name eq", "at character 8"),
        ("name", "at character 5"),
        ('(name eq "a"', "at character 13: a closing parenthesis"),
        ('name eq "a")', "at character 12: and, or or the end is expected"),
        ('name eq "a" name eq "b"', "at character 13: and, or or the end"),
        ("and", "and is no field"),
        ("; drop", "at character 1: ; does not belong here"),
        ("(" * 11 + 'name eq "a"' + ")" * 11, f"at most {MAX_DEPTH} levels"),
        ("not " * 11 + 'name eq "a"', f"at most {MAX_DEPTH} levels"),
        (" or ".join(['name eq "a"'] * 51), f"at most {MAX_TERMS} comparisons"),
        ("x" * 9000, "at most 8192 characters"),
    ],
)
def test_what_is_no_filter_is_refused_by_field_and_position(text: str, said: str) -> None:
    """U21, S19: 400."""
    with pytest.raises(Malformed) as refused:
        parse(text, FIELDS)
    assert said in str(refused.value)
    assert [error.field for error in refused.value.errors] == ["filter"]


def test_as_much_as_is_allowed_is_read() -> None:
    """U21."""
    assert parse(" or ".join(['name eq "a"'] * 50), FIELDS) == Junction("or", (A,) * 50)
    assert parse("(" * 10 + 'name eq "a"' + ")" * 10, FIELDS) == A


@pytest.mark.parametrize(
    ("text", "found"),
    [("", ()), ("name", (Order("name", False),)), ("-at, name", (Order("at", True), Order("name", False)))],
)
def test_an_order_is_read(text: str, found: Any) -> None:
    """S19."""
    assert sorting(text, FIELDS) == found


@pytest.mark.parametrize(
    "text", ["other", "name,name", "name,-name", "--name", ",", "name,", "name desc", ",".join(FIELDS)]
)
def test_what_is_no_order_is_refused(text: str) -> None:
    """S19."""
    with pytest.raises(Malformed, match="sort at character"):
        sorting(text, FIELDS)


PIECES = [
    "name",
    "age",
    "at",
    "eq",
    "co",
    "pr",
    "and",
    "or",
    "not",
    "(",
    ")",
    '"a"',
    "1",
    "true",
    '"',
    "\\",
    "%",
    "\x00",
]


@given(text=st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=20).map(" ".join)))
def test_every_text_is_a_filter_or_malformed(text: str) -> None:
    """U22."""
    for read in (parse, sorting):
        try:
            read(text, FIELDS)
        except Malformed as error:
            said = str(error).encode().decode()
        else:
            said = "at character"
        assert "at character" in said


@given(text=st.text(max_size=20))
def test_text_is_folded_once_for_all(text: str) -> None:
    """U21."""
    assert fold(fold(text)) == fold(text)
    assert fold("ÄSS") == fold("äß") == fold("A\u0308ss")
