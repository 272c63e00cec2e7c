"""Numbers about what happens on the platform: events are tracked, counted and asked about."""

from __future__ import annotations

import abc
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

import attrs

from orion_core.contract import Contract, raises, repeatable
from orion_core.errors import Invalid, NotFound, TooMany
from orion_core.json_value import Json
from orion_core.validators import between, is_plain, length, matches, max_len
from orion_core.values import value

MAX_EVENTS = 1000
"""How many events one batch may hold."""

Interval = Literal["hour", "day", "week", "month"]
Measure = Literal["events", "people"]
Status = Literal["accepted", "duplicate", "refused"]

_is_name: list[Any] = [length(1, 200), is_plain]
_is_message_id: list[Any] = [length(1, 100), is_plain]
_is_source = matches(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}", "must be a word of letters, digits and . _ -, at most 50")


@value
class Track:
    """One event. `name` says what happened, `message_id` is the sender's own id of it: an event whose id is known
    already is counted once, however often it is sent.

    The person is the caller if that is somebody signed in, else `anonymous_id`; only the platform itself may track for
    another `user_id`. `timestamp` is the sender's time, now if left out. `properties` and `context` are
    JSON objects; what looks like a secret, an email or an IP address in them is redacted. `type` is ``track`` unless it
    is another of the usual kinds, such as ``page``.
    """

    name: str = attrs.field(validator=_is_name)
    message_id: str = attrs.field(validator=_is_message_id)
    anonymous_id: str = attrs.field(default="", validator=[max_len(200), is_plain])
    user_id: UUID | None = None
    timestamp: datetime | None = None
    properties: Json = attrs.field(default=Json("{}"), repr=False)
    context: Json = attrs.field(default=Json("{}"), repr=False)
    type: str = attrs.field(default="track", validator=[length(1, 20), is_plain])


@value
class TrackBatch:
    """Events as JSON objects with the fields of `Track`, each checked by itself: a bad one loses no good one.

    `sent_at` corrects a clock that is wrong, `source` names the sender, `opted_out` says that the person objects.
    """

    events: tuple[Json, ...] = attrs.field(validator=length(1, MAX_EVENTS))
    sent_at: datetime | None = None
    source: str = attrs.field(default="api", validator=_is_source)
    opted_out: bool = False


@value
class Outcome:
    """What became of one event of a batch, by its place from 0, and why it was refused or what is odd about it."""

    index: int
    status: Status
    code: str = ""
    detail: str = ""


@value
class Receipt:
    """What became of a batch. `outcomes` names the events that are not simply accepted."""

    accepted: int
    duplicate: int
    refused: int
    outcomes: tuple[Outcome, ...] = ()


@value
class DayCount:
    """How often it happened on one day (UTC)."""

    day: date
    count: int


@value
class MetricReport:
    """Counts of one metric per day, oldest first, days without any left out."""

    name: str
    total: int
    days: tuple[DayCount, ...]


@value
class TrendQuestion:
    """How often the event `name` happened from `start` to before `end`, or how many people did it.

    Without an end it is now, without a start the 30 days before the end, in whole days of the zone. Hours, days, weeks
    (from Monday) and months are those of the time zone `zone`. With `by` the answer is broken down by the values of
    that property: the `limit` largest ones.
    """

    name: str = attrs.field(validator=_is_name)
    start: datetime | None = None
    end: datetime | None = None
    interval: Interval = "day"
    zone: str = attrs.field(default="UTC", validator=[length(1, 64), is_plain])
    measure: Measure = "events"
    by: str = attrs.field(default="", validator=[max_len(100), is_plain])
    limit: int = attrs.field(default=10, validator=between(1, 100))


@value
class Series:
    """One line of a chart: a number for each bucket of the trend. `value` is that of the property, empty without one.

    `total` is the sum of the points for events. For people it is how many different ones there were in all, which is
    no sum.
    """

    value: str
    total: int
    points: tuple[int, ...]


@value
class Trend:
    """The answer to a `TrendQuestion`: the beginnings of buckets in its zone, oldest first, and series, largest first.

    `total` is that of all values, also of those left out; `values` says how many there are.
    """

    name: str
    start: datetime
    end: datetime
    interval: Interval
    zone: str
    measure: Measure
    by: str
    buckets: tuple[datetime, ...]
    series: tuple[Series, ...]
    total: int
    values: int


@value
class TopQuestion:
    """The most frequent values of the property `by` of the event `name`; without both, the most frequent events."""

    start: datetime | None = None
    end: datetime | None = None
    name: str = attrs.field(default="", validator=[max_len(200), is_plain])
    by: str = attrs.field(default="", validator=[max_len(100), is_plain])
    measure: Measure = "events"
    limit: int = attrs.field(default=10, validator=between(1, 1000))


@value
class TopItem:
    """One value and how often it occurred, or how many people had it."""

    value: str
    count: int


@value
class TopList:
    """The largest first; equal counts in the order of their values. `total` and `values` are those of all."""

    items: tuple[TopItem, ...]
    total: int
    values: int


@value
class PerformanceQuestion:
    """How the requests went from `start` to before `end`, in whole quarters of an hour, those of both ends included; of
    all services, or of one, and of one route. Everything else is as in a `TrendQuestion`."""

    start: datetime | None = None
    end: datetime | None = None
    interval: Interval = "day"
    zone: str = attrs.field(default="UTC", validator=[length(1, 64), is_plain])
    service: str = attrs.field(default="", validator=[max_len(50), is_plain])
    route: str = attrs.field(default="", validator=[max_len(500), is_plain])
    limit: int = attrs.field(default=50, validator=between(1, 200))


@value
class Latency:
    """Requests, the part of them (0 to 1) that answered 5xx, and durations; percentiles are estimated from buckets."""

    count: int
    errors: int
    error_share: float
    mean_ms: float
    p50_ms: float
    p75_ms: float
    p95_ms: float
    p99_ms: float


@value
class RoutePerformance:
    """One route of one service: all of it, and bucket by bucket."""

    service: str
    route: str
    method: str
    total: Latency
    points: tuple[Latency, ...]


@value
class Performance:
    """The answer to a `PerformanceQuestion`: the busiest of `routes_known` routes; `total` without proxied ones."""

    start: datetime
    end: datetime
    interval: Interval
    zone: str
    buckets: tuple[datetime, ...]
    total: Latency
    routes: tuple[RoutePerformance, ...]
    routes_known: int


@value
class ExportQuestion:
    """Which raw events: those from `start` to before `end`, where these are given, all or only of one name."""

    start: datetime | None = None
    end: datetime | None = None
    name: str = attrs.field(default="", validator=[max_len(200), is_plain])


@value
class RawEvent:
    """One event as it is kept, its `timestamp` corrected. One that is not `counted` lies in the future."""

    id: UUID
    name: str
    type: str
    message_id: str
    user_id: UUID | None
    anonymous_id: str
    timestamp: datetime
    received_at: datetime
    source: str
    counted: bool
    properties: Json
    context: Json


@value
class RawPage:
    """Raw events, oldest first; `next_cursor` is None on the last page."""

    items: tuple[RawEvent, ...]
    next_cursor: str | None


@value
class Rebuild:
    """Roll-ups made anew: `done` of `hours` are ready; all are put in place at once when `state` becomes ``done``."""

    id: UUID
    start: datetime
    end: datetime
    state: str
    hours: int
    done: int
    requested_at: datetime


@value
class Source:
    """What one sender has sent so far, by outcome and reason. The reason of what was simply accepted is empty."""

    source: str
    status: Status
    code: str
    count: int
    last_at: datetime


class NoSuchMetric(NotFound):
    """Nothing of this name is counted."""

    code = "analytics.no_such_metric"


class NoSuchRebuild(NotFound):
    """There is no rebuild with this id."""

    code = "analytics.no_such_rebuild"


class EventRefused(Invalid):
    """A single event that cannot be taken in; the errors name its fields."""

    code = "analytics.event_refused"


class TooManyBuckets(Invalid):
    """The answer would have more points than a chart can show: shorten the range, or take a larger interval."""

    code = "analytics.too_many_buckets"


class RawGone(Invalid):
    """The question needs raw events that are kept no more: old times are known in whole hours (UTC) only."""

    code = "analytics.raw_gone"


class IntakeBusy(TooMany):
    """More batches wait than the queue holds; the events are not taken in."""

    code = "analytics.busy"


class Analytics(Contract, name="analytics"):
    """Numbers about what happens on the platform.

    Events are kept raw and as roll-ups, which agree at every moment. Facts of the platform, such as
    ``user.registered``, are tracked by themselves. Reading numbers needs `analytics:read`, raw events
    `analytics:export`, rebuilding `analytics:manage`.
    """

    @raises(EventRefused, IntakeBusy)
    @abc.abstractmethod
    async def track(self, event: Track) -> Receipt:
        """Take in one event, durably; raises `EventRefused` for one that cannot be.

        Anybody signed in may track, and everybody where the setting `public` says so.
        """

    @raises(IntakeBusy)
    @abc.abstractmethod
    async def track_batch(self, batch: TrackBatch) -> Receipt:
        """Take in many events, durably and all at once; the receipt names those that were refused or known already."""

    @raises(NoSuchMetric)
    @repeatable
    @abc.abstractmethod
    async def metric(self, name: str) -> MetricReport:
        """The counts of the metric `name`, such as ``user.registered``; needs `analytics:read`."""

    @raises(TooManyBuckets, RawGone)
    @repeatable
    @abc.abstractmethod
    async def trend(self, question: TrendQuestion) -> Trend:
        """How one event developed over time. People are counted exactly."""

    @raises(RawGone)
    @repeatable
    @abc.abstractmethod
    async def top(self, question: TopQuestion) -> TopList:
        """The most frequent values of a property, or the most frequent events."""

    @raises(TooManyBuckets)
    @repeatable
    @abc.abstractmethod
    async def performance(self, question: PerformanceQuestion) -> Performance:
        """Requests, errors and durations of the platform's routes."""

    @repeatable
    @abc.abstractmethod
    async def raw(self, question: ExportQuestion, cursor: str, limit: int) -> RawPage:
        """Raw events, oldest first: `limit` (1 to 1,000) of them after `cursor`, which is empty at first.

        Raises `Malformed` for a cursor that is not from such a page.
        """

    @raises(RawGone)
    @abc.abstractmethod
    async def rebuild(self, start: datetime, end: datetime) -> Rebuild:
        """Make the roll-ups of the hours from `start` to `end` anew from raw events, in the background.

        Questions and intake go on meanwhile. Raises `RawGone` for hours whose raw events are not all kept any more.
        """

    @raises(NoSuchRebuild)
    @repeatable
    @abc.abstractmethod
    async def rebuilding(self, rebuild_id: UUID) -> Rebuild:
        """How far a rebuild is."""

    @repeatable
    @abc.abstractmethod
    async def sources(self) -> tuple[Source, ...]:
        """Who sent what, and what was refused and why."""
