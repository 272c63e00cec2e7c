"""What of analytics does no I/O: the axis of time, redaction, bodies, exports, percentiles."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orion_core.contracts.analytics import IntakeBusy, TooManyBuckets
from orion_core.contracts.platform import BOUNDS_MS
from orion_core.errors import Invalid, Malformed, TooLarge, UnsupportedMedia
from orion_core.ids import new_id
from orion_plugins.analytics import bodies, exports, intake, periods, redaction
from orion_plugins.analytics.performance import percentile
from orion_plugins.analytics.questions import split

HOUR = 3_600_000


def hours_of(found: list[periods.Bucket]) -> list[float]:
    return [(bucket.hi - bucket.lo) / HOUR for bucket in found]


def of(zone: str, day: str, days: int, interval: Any = "day") -> list[periods.Bucket]:
    local = ZoneInfo(zone)
    start = datetime.fromisoformat(day).replace(tzinfo=local)
    return periods.buckets(start, start + timedelta(days=days), interval, local)


# Time


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Vienna", "2026-03-29", 23),
        ("Europe/Vienna", "2026-10-25", 25),
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("Asia/Kathmandu", "2026-03-29", 24),
        ("UTC", "2026-03-29", 24),
        ("Asia/Beirut", "2026-03-29", 23),
    ],
)
def test_days_on_which_clocks_change_are_as_long_as_they_are(zone: str, day: str, hours: float) -> None:
    """Y18: in Beirut midnight itself is left out."""
    assert hours_of(of(zone, day, 1)) == [hours]
    assert sum(hours_of(of(zone, day, 1, "hour"))) == hours


@pytest.mark.parametrize(
    ("zone", "day", "labels"),
    [
        ("Europe/Vienna", "2026-03-29", [0, 1, 3, 4]),
        ("Europe/Vienna", "2026-10-25", [0, 1, 2, 2, 3, 4]),
        ("Asia/Kolkata", "2026-03-29", [0, 1, 2, 3, 4]),
    ],
)
def test_hours_are_those_of_the_local_clock(zone: str, day: str, labels: list[int]) -> None:
    """Y18."""
    found = of(zone, day, 1, "hour")

    assert [bucket.start.hour for bucket in found][: len(labels)] == labels
    assert {bucket.start.minute for bucket in found} == {0}


def test_a_day_that_a_zone_left_out_is_no_bucket() -> None:
    """Y18: Samoa crossed the date line and had no 30 December 2011."""
    found = of("Pacific/Apia", "2011-12-28", 4)

    assert [bucket.start.day for bucket in found] == [28, 29, 31]
    assert hours_of(found) == [24, 24, 24]


def test_weeks_begin_on_monday_and_ends_are_cut() -> None:
    """Y18."""
    start, end = datetime(2026, 3, 4, 12, 30, tzinfo=UTC), datetime(2026, 3, 17, 1, tzinfo=UTC)
    weeks = periods.buckets(start, end, "week", UTC)
    months = periods.buckets(start, end, "month", UTC)

    assert [bucket.start.day for bucket in weeks] == [2, 9, 16]
    assert (weeks[0].lo, weeks[-1].hi) == (intake.milliseconds(start), intake.milliseconds(end))
    assert [(bucket.start.month, bucket.start.day) for bucket in months] == [(3, 1)]


@given(
    st.integers(0, 39 * 365 * 24 * 3600_000).map(lambda ms: datetime(2001, 1, 1, tzinfo=UTC) + timedelta(0, 0, 0, ms)),
    st.timedeltas(timedelta(milliseconds=1), timedelta(days=40)),
    st.sampled_from(["hour", "day", "week", "month"]),
    st.sampled_from(["UTC", "Europe/Vienna", "Asia/Kolkata", "America/St_Johns", "Pacific/Apia", "Africa/Casablanca"]),
)
def test_buckets_cover_the_range_once(at: datetime, length: timedelta, interval: Any, zone: str) -> None:
    """Y18."""
    start = at
    found = periods.buckets(start, start + length, interval, ZoneInfo(zone))

    assert found[0].lo == intake.milliseconds(start)
    assert found[-1].hi == intake.milliseconds(start + length)
    assert all(one.hi == other.lo and one.lo < one.hi for one, other in itertools.pairwise(found))
    hours, ends = split(found, whole_hours=True)
    covered = sorted((lo, hi) for _, lo, hi in [*hours, *ends])
    assert sum(hi - lo for lo, hi in covered) == found[-1].hi - found[0].lo
    assert all(lo % HOUR == 0 and hi % HOUR == 0 for _, lo, hi in hours)


def test_ranges_are_limited() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    with pytest.raises(TooManyBuckets):
        periods.buckets(now, now + timedelta(hours=1501), "hour", UTC)
    for start, end in ((now, now), (now, datetime(9999, 1, 1, tzinfo=UTC)), (datetime(1990, 1, 1, tzinfo=UTC), now)):
        with pytest.raises(Invalid):
            periods.buckets(start, end, "day", UTC)


def test_moments_are_dates_of_the_zone_or_times() -> None:
    vienna = ZoneInfo("Europe/Vienna")

    assert periods.read_moment("from", "2026-03-02", vienna) == datetime(2026, 3, 1, 23, tzinfo=UTC)
    assert periods.read_moment("from", "2026-03-02T12:00:00Z", vienna) == datetime(2026, 3, 2, 12, tzinfo=UTC)
    assert periods.read_moment("from", "2026-03-02T12:00:00 02:00", UTC) == datetime(2026, 3, 2, 10, tzinfo=UTC)
    for wrong in ("yesterday", "2026-03-02T12:00:00", "2026-13-01", ""):
        with pytest.raises(Malformed, match="from"):
            periods.read_moment("from", wrong, UTC)


# Redaction


@pytest.mark.parametrize(
    ("key", "given_", "kept"),
    [
        ("note", "write to ada@example.org, please", "write to [email], please"),
        ("url", "https://x.org/?q=ada%40example.org&page=2", "https://x.org/?q=[email]&page=2"),
        ("url", "https://x.org/reset?token=abc123&page=2", "https://x.org/reset?token=[redacted]&page=2"),
        ("email", "hidden", "[email]"),
        ("userEmail", "x", "[email]"),
        ("email_kind", "weekly", "weekly"),
        ("Password", "hunter2", "[redacted]"),
        ("api_key", ["a", "b"], "[redacted]"),
        ("tokens_used", 1200, 1200),
        ("password", 12345678, "[redacted]"),
        ("access_token", 123456, "[redacted]"),
        ("auth", "hunter2", "[redacted]"),
        ("password_length", 12, 12),
        ("password_changed", True, True),
        ("card_number", 4111111111111111, "[redacted]"),
        ("note", "my card 4111 1111 1111 1111 expires", "my card [redacted] expires"),
        ("order", "4111111111111112", "4111111111111112"),
        ("header", "Bearer abcdefghijklmnop", "[redacted]"),
        ("note", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "[redacted]"),
        ("note", "sk_live_abcdefghijklmnop", "[redacted]"),
        ("where", "192.168.1.17", "[redacted]"),
        ("where", "2001:db8::1", "[redacted]"),
        ("where", "[2001:db8::1]:443", "[redacted]"),
        ("where", "10.0.0.1:8080", "[redacted]"),
        ("note", "from 10.0.0.1, via 2001:db8::1.", "from [redacted], via [redacted]"),
        ("chain", "203.0.113.7,10.0.0.1", "[redacted],[redacted]"),
        ("agent", "Mozilla/5.0 Chrome/120.0.0.0", "Mozilla/5.0 Chrome/120.0.0.0"),
        ("app_version", "1.2.3.4", "1.2.3.4"),
        ("at", "2026-03-02T12:00:00", "2026-03-02T12:00:00"),
        ("name", "std::vector", "std::vector"),
        ("at", "12:30", "12:30"),
        ("text", "a\x00b\ud800c", "a\ufffdb\ufffdc"),
        ("plan", "team", "team"),
        ("secret", None, None),
        ("deep", {"list": [{"password": "x", "ip": "1.1.1.1"}]}, {"list": [{"password": "[redacted]"}]}),
    ],
)
def test_secrets_emails_and_addresses_are_taken_out(key: str, given_: Any, kept: Any) -> None:
    """Y31."""
    assert redaction.redacted({key: given_}) == {key: kept}


@pytest.mark.parametrize("key", ["ip", "$ip", "client_ip", "ip_address", "IPAddress", "x-forwarded-for", "remote_addr"])
def test_addresses_of_the_network_are_dropped(key: str) -> None:
    """Y31."""
    assert redaction.redacted({key: "anything", "shipping": "x", "tip": 3}) == {"shipping": "x", "tip": 3}


def test_long_texts_are_redacted_in_reasonable_time() -> None:
    """Y31: no pattern goes back and forth."""
    for text in (
        "a" * 30_000,
        "a." * 15_000,
        "a@" * 15_000,
        "1 " * 15_000,
        "?token=" * 4000,
        "eyJ" * 10_000,
        ":." * 15_000,
    ):
        redaction.text(text)


# Bodies


async def test_bodies_are_unpacked_and_bounded() -> None:
    """Y2: a small body may be large unpacked."""
    assert await bodies.unpacked(b"x", "") == b"x"
    assert await bodies.unpacked(gzip.compress(b"x" * 100), "GZIP") == b"x" * 100
    with pytest.raises(TooLarge):
        await bodies.unpacked(gzip.compress(b"0" * (bodies.MAX_UNPACKED + 1)), "gzip")
    with pytest.raises(TooLarge):
        await bodies.unpacked(b"0" * (bodies.MAX_PACKED + 1), "")
    with pytest.raises(UnsupportedMedia):
        await bodies.unpacked(b"x", "br")
    for wrong in (b"x", gzip.compress(b"x")[:-3], gzip.compress(b"x") + b"y", b""):
        with pytest.raises(Malformed):
            await bodies.unpacked(wrong, "gzip")


@pytest.mark.parametrize(
    ("body", "count", "single"),
    [
        ({"name": "a", "message_id": "1"}, 1, True),
        ([{"name": "a"}, 5, None], 3, False),
        ({"events": [{}], "sent_at": "2026-03-02T12:00:00Z", "source": "web"}, 1, False),
        ({"name": "a", "source": "ios"}, 1, True),
    ],
)
async def test_one_path_takes_one_event_and_many(body: Any, count: int, single: bool) -> None:
    """Y2."""
    batch, alone = await bodies.read(json.dumps(body).encode())

    assert (len(batch.events), alone) == (count, single)


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (b"", Malformed),
        (b"{", Malformed),
        (b"\xff", Malformed),
        (b"[" * 100_000, Malformed),
        (b"[]", Invalid),
        (b"5", Invalid),
        (b'{"events": 5}', Invalid),
        (b'{"events": [{}], "colour": 1}', Invalid),
        (b'{"events": [{}], "sent_at": "noon"}', Invalid),
        (b'{"events": [{}], "source": "orion/auth"}', Invalid),
        (b'{"events": [{}], "source": 5}', Invalid),
        (b'{"events": [{}], "source": []}', Invalid),
        (b"[" + b"{}," * 1000 + b"{}]", Invalid),
    ],
)
async def test_a_body_that_is_no_batch_is_refused(body: bytes, refusal: type[Exception]) -> None:
    """Y2."""
    with pytest.raises(refusal):
        await bodies.read(body)


async def test_numbers_beyond_all_bounds_spoil_their_event_only() -> None:
    """Y2."""
    digits = b"9" * 5000
    batch, _ = await bodies.read(
        b'[{"properties": {"x": 1e999}}, {"properties": {"x": %b}}, {"name": "a", "properties": {"x": 10}}]' % digits
    )

    assert [each.plain() for each in batch.events] == [None, None, {"name": "a", "properties": {"x": 10}}]


@pytest.mark.parametrize("key", ["\ud800", "a\x00b", "ada@example.org"])
async def test_a_field_that_is_unknown_is_named_as_an_answer_can_say_it(key: str) -> None:
    """Y2."""
    with pytest.raises(Invalid) as refused:
        await bodies.read(json.dumps({"events": [{}], key: 1}).encode())

    assert redaction.text(refused.value.detail) == refused.value.detail


async def test_a_body_is_weighed_as_what_it_is_read_into() -> None:
    """Y4: ten thousand bytes of gzip are ten million of JSON and hundreds of millions of memory."""
    full = json.dumps([{"name": "a", "properties": {str(key): 1 for key in range(255)}}] * 1000).encode()

    assert len(full) < await bodies.memory(full) < bodies.ALL_AT_ONCE
    assert await bodies.memory(b'{"name": "a"}') < 1000
    with pytest.raises(TooLarge):
        await bodies.memory(b"[" + b"[]," * 3_000_000 + b"[]]")


def test_all_bodies_together_are_bounded() -> None:
    """Y4."""
    budget = bodies.Budget(10)
    with budget.spend(6):
        with pytest.raises(IntakeBusy), budget.spend(5):
            pass
        with budget.spend(4):
            pass
    with budget.spend(10):
        pass


# Exports


@pytest.mark.parametrize(
    ("given_", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("  =1", "'  =1"),
        ("\t=1", "'\t=1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("a=1", "a=1"),
        (-5, "-5"),
        (None, ""),
        (True, "true"),
        ({"a": "=1"}, '{"a":"=1"}'),
    ],
)
def test_cells_are_no_formulas(given_: Any, cell: str) -> None:
    """Y28."""
    assert exports.safe(given_) == cell


def test_files_can_be_read_back() -> None:
    """Y28: whatever is in the values."""
    rows = [{"value": text, "count": 1} for text in ('a"b', "c,d", "e\nf", "ü", "")]
    text = exports.header("csv", exports.TOP_COLUMNS) + exports.lines("csv", exports.TOP_COLUMNS, rows)
    back = list(csv.DictReader(io.StringIO(text, newline="")))
    lines = exports.lines("ndjson", exports.TOP_COLUMNS, rows).splitlines()

    assert [row["value"] for row in back] == ['a"b', "c,d", "e\nf", "ü", ""]
    assert [json.loads(line) for line in lines] == rows


def test_cursors_come_back_and_others_do_not() -> None:
    event_id = new_id()

    assert exports.from_cursor(exports.to_cursor(1_772_452_800_000, event_id)) == (1_772_452_800_000, event_id)
    for wrong in ("x", "ü", "AAAA", "_" * 32):
        with pytest.raises(Malformed):
            exports.from_cursor(wrong)


# Percentiles


def test_percentiles_lie_in_their_bucket() -> None:
    """Y26."""
    buckets = [0] * 14
    assert percentile(buckets, 0.5) == 0.0
    buckets[4] = 100
    assert percentile(buckets, 0.5) == 15.0
    buckets[13] = 1
    assert percentile(buckets, 0.99) <= 20.0
    assert percentile([0] * 13 + [5], 0.5) == BOUNDS_MS[-1]
