"""Ranges and conditions, each against RFC 9110 and against a small model."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orion_core.adapters.memory_blobs import MemoryBlobs
from orion_core.contracts.storage import Condition, ConditionFailed
from orion_core.errors import Malformed
from orion_core.testing.clock import MovableClock
from orion_plugins.storage import ranges
from orion_plugins.storage.answers import Representation, answer
from orion_plugins.storage.conditions import for_write, http_date, parse_date
from orion_plugins.storage.ranges import Range

WRITTEN = datetime(2026, 3, 4, 5, 6, 7, 890000, tzinfo=UTC)
TAG = "a" * 64


def status(method: str, headers: dict[str, str], size: int = 10) -> int:
    found = Representation("key", size, TAG, "text/plain", WRITTEN, {"Cache-Control": "private", "Vary": "x"})
    try:
        made = answer(method, headers, found, MemoryBlobs(MovableClock()), WRITTEN, "inline")
    except ConditionFailed:
        return 412
    return 416 if made.status_code is None else made.status_code


@pytest.mark.parametrize(
    ("header", "size", "wanted"),
    [
        ("bytes=0-9", 100, [(0, 10)]),
        ("bytes=5-", 10, [(5, 10)]),
        ("bytes=-5", 10, [(5, 10)]),
        ("bytes=-50", 10, [(0, 10)]),
        ("bytes=0-999", 10, [(0, 10)]),
        ("BYTES=0-0", 10, [(0, 1)]),
        ("bytes= 0-1 , 4-5 ", 10, [(0, 2), (4, 6)]),
        ("bytes=,0-1,,", 10, [(0, 2)]),
        ("bytes=4-5,0-1", 10, [(4, 6), (0, 2)]),
        ("bytes=0-1,10-", 10, [(0, 2)]),
        ("bytes=10-", 10, []),
        ("bytes=10-11,99-", 10, []),
        ("bytes=-0", 10, []),
        ("bytes=0-", 0, []),
        ("bytes=-5", 0, []),
        ("bytes=5-4", 10, None),
        ("bytes=0-1,5-4", 10, None),
        ("bytes=a-b", 10, None),
        ("bytes=", 10, None),
        ("bytes=-", 10, None),
        ("bytes=0", 10, None),
        ("bytes=1--2", 10, None),
        ("bytes=٣-٤", 10, None),
        ("bytes=" + " " * 60_000 + "x", 10, None),
        ("lines=0-1", 10, None),
        ("0-1", 10, None),
        ("bytes=0-4,3-6", 10, None),
        ("bytes=" + ",".join(f"{2 * each}-{2 * each}" for each in range(17)), 100, None),
        ("bytes=" + "9" * 5000 + "-", 10, []),
    ],
)
def test_ranges(header: str, size: int, wanted: list[tuple[int, int]] | None) -> None:
    """T32."""
    found = ranges.parse(header, size)
    assert found == (None if wanted is None else tuple(Range(*pair) for pair in wanted))


@given(st.text("bytes=0123456789-, "), st.integers(0, 50))
def test_no_header_breaks_the_parser(text: str, size: int) -> None:
    """T32: whatever comes, the ranges lie within the object and do not overlap."""
    found = ranges.parse(f"bytes={text}", size)
    taken = [place for each in found or () for place in range(each.start, each.stop)]
    assert len(taken) == len(set(taken))
    assert all(0 <= place < size for place in taken)


AT, BEFORE, AFTER = (http_date(WRITTEN + timedelta(seconds=each)) for each in (0, -1, 1))
TAGS = (None, f'"{TAG}"', '"other"', "*", f'W/"{TAG}"', f'"other", "{TAG}"')
DATES = (None, AT, BEFORE, AFTER, "yesterday", "Wednesday, 04-Mar-26 05:06:08 GMT", "Wed Mar  4 05:06:06 2026")
RANGES = (None, "bytes=0-1", "bytes=10-", "bytes=x", "bytes=0-1,4-5")
IF_RANGES = (None, f'"{TAG}"', '"other"', f'W/"{TAG}"', AT, AFTER)


def test_every_combination_is_answered_as_the_model_says() -> None:
    """T34: If-Match, If-Unmodified-Since, If-None-Match, If-Modified-Since, Range."""
    names = ("if-match", "if-unmodified-since", "if-none-match", "if-modified-since", "range", "if-range")
    count = 0
    for method in ("GET", "HEAD"):
        for values in itertools.product(TAGS, DATES, TAGS, DATES, RANGES, IF_RANGES):
            headers = {name: text for name, text in zip(names, values, strict=True) if text is not None}
            assert status(method, headers) == model(method, *values), (method, headers)
            count += 1
    assert count == 2 * 6 * 7 * 6 * 7 * 5 * 6


def model(
    method: str, if_match: Any, unmodified: Any, none_match: Any, modified: Any, asked: Any, if_range: Any
) -> int:
    """Written from the text of sections 13.2.2 and 14.2, in other words than the code."""
    strong = (f'"{TAG}"', "*", f'"other", "{TAG}"')
    if if_match is not None and if_match not in strong:
        return 412
    if if_match is None and unmodified in (DATES[2], DATES[6]):
        return 412
    if none_match is not None and none_match != '"other"':
        return 304
    if none_match is None and modified in (DATES[1], DATES[3], DATES[5]):
        return 304
    if method == "HEAD" or if_range not in (None, f'"{TAG}"', AT):
        return 200
    return {None: 200, "bytes=0-1": 206, "bytes=10-": 416, "bytes=x": 200, "bytes=0-1,4-5": 206}[asked]


def test_a_304_carries_what_a_cache_needs() -> None:
    """T35."""
    found = Representation("key", 3, TAG, "text/plain", WRITTEN, {"Cache-Control": "public", "Vary": "x"})
    later = WRITTEN + timedelta(seconds=1)
    made = answer("GET", {"if-none-match": "*"}, found, MemoryBlobs(MovableClock()), later, "inline")
    assert {"ETag", "Cache-Control", "Vary", "Last-Modified"} <= set(made.headers)
    assert not {"Content-Length", "Content-Type", "Content-Disposition"} & set(made.headers)


def test_a_version_has_no_date_before_its_second_is_over() -> None:
    """T33: an exact date names one version. One that is deleted and made anew in the same second has the same date: so
    nobody is told of it while that second lasts."""
    found = Representation("key", 3, TAG, "text/plain", WRITTEN, {})
    for after, told in ((-1, False), (0, False), (0.1, False), (0.11, True), (60, True)):
        now = WRITTEN + timedelta(seconds=after)
        made = answer("GET", {}, found, MemoryBlobs(MovableClock()), now, "inline")
        assert ("Last-Modified" in made.headers) == told, after


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 31 Feb 2020 08:49:37 GMT",
        "Sun, 06 Nop 1994 08:49:37 GMT",
        "Sun, 06 anF 1994 08:49:37 GMT",
        "Sun, 06 nFe 1994 08:49:37 GMT",
        "Sun, \u0660\u0666 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "6 Nov 1994 08:49:37 GMT",
    ],
)
def test_what_is_no_date_is_none(text: str) -> None:
    assert parse_date(text) is None


@pytest.mark.parametrize(
    "text", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_the_three_spellings_of_a_date_are_one(text: str) -> None:
    """T34: RFC 9110, section 5.6.7."""
    assert parse_date(text) == datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


@given(st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001 - naive bounds
def test_a_date_comes_back(time: datetime) -> None:
    assert parse_date(http_date(time)) == time.replace(microsecond=0)


def test_conditions_of_a_write_are_read_or_refused() -> None:
    """T4: ignoring a condition could destroy what it protects."""
    assert for_write({}) == Condition()
    assert for_write({"if-match": "*"}) == Condition(if_match=("*",))
    assert for_write({"if-match": '"a", W/"b","c"'}) == Condition(if_match=("a", "c"))
    assert for_write({"if-none-match": 'W/"b"'}) == Condition(if_none_match=("b",))
    assert for_write({"if-match": '"*", "a"', "if-none-match": '"*"'}) == Condition(("a",), ())
    for headers in ({"if-match": "abc"}, {"if-match": ""}, {"if-none-match": '"a'}, {"if-unmodified-since": "x"}):
        with pytest.raises(Malformed):
            for_write(headers)
