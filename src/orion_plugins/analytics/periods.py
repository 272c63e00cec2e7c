"""Time on the axis of a chart: hours, days, weeks and months of a time zone, as pure functions.

A bucket is a stretch of time between two boundaries of the local calendar; days of 23 and 25 hours come out right.
"""

from __future__ import annotations

import itertools
import zoneinfo
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo

import attrs

from orion_core.contracts.analytics import Interval, TooManyBuckets
from orion_core.errors import FieldError, Malformed
from orion_core.values import invalid
from orion_plugins.analytics.intake import OLDEST, milliseconds

MAX_BUCKETS = 1500
LATEST = datetime(9000, 1, 1, tzinfo=UTC)
_QUARTER = timedelta(minutes=15)


@attrs.frozen
class Bucket:
    """One stretch of time, from `lo` to before `hi` in Unix milliseconds; `start` is where it begins in the zone."""

    start: datetime
    lo: int
    hi: int


def zone_of(name: str) -> tzinfo:
    """The time zone called `name`, such as ``Europe/Vienna``; raises `Invalid` for one that there is not."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise invalid("zone", "unknown", "must be the name of a time zone like Europe/Vienna") from None


def check_range(start: datetime, end: datetime) -> None:
    """Raise `Invalid` unless `start` is before `end` and both are times that events may have."""
    check_time("start", start)
    check_time("end", end)
    if milliseconds(start) >= milliseconds(end):
        raise invalid("end", "out_of_range", "must be after the start")


def check_time(name: str, at: datetime) -> None:
    """Raise `Invalid` unless `at`, which is called `name`, is a time that events may have."""
    if not OLDEST <= at <= LATEST:
        raise invalid(name, "out_of_range", f"must be from {OLDEST.year} to {LATEST.year}")


def whole(start: datetime, end: datetime) -> Bucket:
    """The whole time from `start` to `end` as one bucket."""
    check_range(start, end)
    return Bucket(start, milliseconds(start), milliseconds(end))


def buckets(start: datetime, end: datetime, interval: Interval, zone: tzinfo) -> list[Bucket]:
    """The buckets of the zone from `start` to `end`, the first and the last one cut by these.

    Raises `Invalid` for a range that is none, and `TooManyBuckets`.
    """
    check_range(start, end)
    at = _floor(start.astimezone(UTC), interval, zone)
    last = end.astimezone(UTC)
    boundaries = [at]
    while at < last:
        at = _next(at, interval, zone)
        boundaries.append(at)
        if len(boundaries) > MAX_BUCKETS + 1:
            detail = f"would have more than {MAX_BUCKETS} points: shorten the range or take a larger interval"
            raise TooManyBuckets(f"the answer {detail}", errors=[FieldError("interval", "too_many", detail)])
    lo, hi = milliseconds(start), milliseconds(end)
    found = []
    for begin, finish in itertools.pairwise(boundaries):
        bucket = Bucket(begin.astimezone(zone), max(lo, milliseconds(begin)), min(hi, milliseconds(finish)))
        # A day that a zone left out, at the date line, has no time in it.
        if bucket.lo < bucket.hi:
            found.append(bucket)
    return found


def read_moment(name: str, given: str, zone: tzinfo) -> datetime:
    """The moment in `given`: a time (RFC 3339), or a date, which begins in `zone`. Raises `Malformed`."""
    try:
        if len(given) == 10:
            return _begin(date.fromisoformat(given), zone)
        # In a query an unescaped plus is a blank.
        found = datetime.fromisoformat(given.replace(" ", "+"))
    except (ValueError, OverflowError):
        found = None
    if found is None or found.tzinfo is None:
        detail = "must be a date, or a time with a time zone (RFC 3339)"
        raise Malformed(f"{name}: {detail}", errors=[FieldError(name, "type", detail)])
    return found


def last_days(now: datetime, days: int, zone: tzinfo) -> datetime:
    """The beginning of the day in `zone` that lies `days` days before that of `now`."""
    return _begin(now.astimezone(zone).date() - timedelta(days=days), zone)


def _floor(at: datetime, interval: Interval, zone: tzinfo) -> datetime:
    local = at.astimezone(zone)
    if interval == "hour":
        quarter = at - timedelta(minutes=at.minute % 15, seconds=at.second, microseconds=at.microsecond)
        while not _begins_hour(quarter, zone):
            quarter -= _QUARTER
        return quarter
    day = local.date()
    if interval == "week":
        day -= timedelta(days=day.weekday())
    elif interval == "month":
        day = day.replace(day=1)
    return _begin(day, zone)


def _next(at: datetime, interval: Interval, zone: tzinfo) -> datetime:
    if interval == "hour":
        at += _QUARTER
        while not _begins_hour(at, zone):
            at += _QUARTER
        return at
    # The day that begins at `at`, also where midnight is left out.
    day = at.astimezone(zone).date()
    if interval == "day":
        following = day + timedelta(days=1)
    elif interval == "week":
        following = day + timedelta(days=7 - day.weekday())
    else:
        following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    begin = _begin(following, zone)
    return begin if begin > at else _begin(following + timedelta(days=1), zone)


def _begins_hour(at: datetime, zone: tzinfo) -> bool:
    """Whether an hour of the local clock begins at `at`: on the hour, or where the clock is set to another hour."""
    local, before = at.astimezone(zone), (at - _QUARTER).astimezone(zone)
    return local.minute == 0 or (local.date(), local.hour) != (before.date(), before.hour)


def _begin(day: date, zone: tzinfo) -> datetime:
    """The first moment of `day` in `zone`, in UTC: midnight, or where that is left out, the moment the clock jumps."""
    # Of two midnights the first one; a midnight that does not exist is the moment of the jump.
    return datetime.combine(day, time(0), zone).replace(fold=0).astimezone(UTC)


def starts(found: Sequence[Bucket]) -> tuple[datetime, ...]:
    """The beginnings of buckets, as contracts have them."""
    return tuple(bucket.start for bucket in found)
