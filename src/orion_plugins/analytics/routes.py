"""`/api/v1/analytics`: events in, numbers out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response import Stream
from litestar.status_codes import HTTP_202_ACCEPTED

from orion_core.contracts.analytics import (
    Analytics,
    EventRefused,
    ExportQuestion,
    Interval,
    Measure,
    MetricReport,
    Performance,
    PerformanceQuestion,
    RawPage,
    Rebuild,
    Receipt,
    Source,
    TopList,
    TopQuestion,
    Trend,
    TrendQuestion,
)
from orion_core.errors import FieldError, UnsupportedMedia
from orion_core.values import value
from orion_core.web import needs, public, streaming
from orion_plugins.analytics import bodies, exports
from orion_plugins.analytics.periods import read_moment, zone_of

Name = Annotated[str, QueryParameter(description="name of the event", max_length=200)]
From = Annotated[
    str, QueryParameter(name="from", description="a date in the zone, or a time (RFC 3339); 30 days if left out")
]
To = Annotated[str, QueryParameter(name="to", description="where it ends, itself not included; now if left out")]
Every = Annotated[Interval, QueryParameter(description="length of a bucket")]
Zone = Annotated[str, QueryParameter(description="time zone of the buckets, such as Europe/Vienna")]
Of = Annotated[Measure, QueryParameter(description="what is counted: events, or different people")]
By = Annotated[str, QueryParameter(description="property to break down by")]
MostSeries = Annotated[int, QueryParameter(ge=1, le=100, description="how many values at most")]
Most = Annotated[int, QueryParameter(ge=1, le=1000, description="how many values at most")]
MostRoutes = Annotated[int, QueryParameter(ge=1, le=200, description="how many routes at most")]
What = Annotated[
    Literal["events", "trend", "top", "performance"], QueryParameter(description="raw events, or one of the answers")
]
Form = Annotated[Literal["csv", "ndjson"], QueryParameter(name="format", description="csv or ndjson")]
_PAGE = 500
_budget = bodies.Budget(bodies.ALL_AT_ONCE)
_EVENT: dict[str, Any] = {
    "name": "plan.chosen",
    "message_id": "0190f5a0-7d3c-7000-8000-000000000001",
    "timestamp": "2026-03-02T12:00:00Z",
    "properties": {"plan": "team", "seats": 5},
}


@value
class RebuildRange:
    """The hours whose roll-ups are made anew."""

    start: datetime
    end: datetime


@dataclass
class TrackOperation(Operation):
    """Describes the body, which the handler reads by itself: each event is checked on its own."""

    def __post_init__(self) -> None:
        schema = Schema(
            type=[OpenAPIType.OBJECT, OpenAPIType.ARRAY],
            description="One event; or a list of up to 1,000; or an object with `events`, `sent_at` and `source`.",
            examples=[_EVENT, {"events": [_EVENT], "sent_at": "2026-03-02T12:00:01Z", "source": "web"}],
        )
        self.request_body = RequestBody(content={"application/json": OpenAPIMediaType(schema=schema)}, required=True)


class AnalyticsRoutes(Controller):
    """Events and numbers."""

    path = "/api/v1/analytics"
    tags = ("analytics",)

    @post(
        "/events",
        opt=public(),
        status_code=HTTP_202_ACCEPTED,
        operation_id="analytics_track",
        summary="Track events",
        operation_class=TrackOperation,
    )
    async def track(self, request: Request[Any, Any, Any], analytics: NamedDependency[Analytics]) -> Receipt:
        """202 once they are stored: the receipt names by index what was refused or known already, and why.

        Up to 1,000 events or 1 MiB, with `Content-Encoding: gzip` up to 10 MiB unpacked. A single event that is refused
        answers 422. An event with a `message_id` that is known is not counted again, so any request may be repeated.
        Needs an access token unless the setting `ORION_ANALYTICS_PUBLIC` is on.
        """
        if request.content_type[0] not in ("application/json", "text/plain"):
            raise UnsupportedMedia("send events as application/json")
        text = await bodies.unpacked(await request.body(), request.headers.get("content-encoding", ""))
        with _budget.spend(await bodies.memory(text)):
            opted_out = "1" in (request.headers.get("dnt"), request.headers.get("sec-gpc"))
            batch, single = await bodies.read(text, opted_out)
            receipt = await analytics.track_batch(batch)
        refused = receipt.outcomes[0] if single and receipt.refused else None
        if refused is not None and refused.code not in ("opted_out", "erased"):
            field = refused.detail.partition(":")[0]
            error = FieldError(field if " " not in field else "", refused.code, refused.detail)
            raise EventRefused(refused.detail, errors=[error])
        return receipt

    @get(
        "/metrics/{name:str}",
        opt=needs("analytics:read"),
        operation_id="analytics_metric",
        summary="Read one metric",
    )
    async def metric(self, analytics: NamedDependency[Analytics], name: FromPath[str]) -> MetricReport:
        """Counts per day (UTC), oldest first, such as of ``user.registered``; days without any are left out."""
        return await analytics.metric(name)

    @get("/trends", opt=needs("analytics:read"), operation_id="analytics_trend", summary="Read a trend")
    async def trends(
        self,
        analytics: NamedDependency[Analytics],
        name: Name,
        since: From = "",
        until: To = "",
        interval: Every = "day",
        zone: Zone = "UTC",
        measure: Of = "events",
        by: By = "",
        limit: MostSeries = 10,
    ) -> Trend:
        """How often an event happened, or how many people did it, in each hour, day, week or month of a time zone.

        With `by` there is a series for each of the most frequent values of that property. People are counted exactly:
        the total is that of different people in the whole time, and no sum of the points.
        """
        return await analytics.trend(_trend(name, since, until, interval, zone, measure, by, limit))

    @get("/top", opt=needs("analytics:read"), operation_id="analytics_top", summary="Read a top list")
    async def top(
        self,
        analytics: NamedDependency[Analytics],
        name: Name = "",
        since: From = "",
        until: To = "",
        measure: Of = "events",
        by: By = "",
        limit: Most = 10,
        zone: Zone = "UTC",
    ) -> TopList:
        """The most frequent values of the property `by` of the event `name`; without both, the most frequent events."""
        return await analytics.top(_top(name, since, until, measure, by, limit, zone))

    @get(
        "/performance",
        opt=needs("analytics:read"),
        operation_id="analytics_performance",
        summary="Read how requests went",
    )
    async def performance(
        self,
        analytics: NamedDependency[Analytics],
        since: From = "",
        until: To = "",
        interval: Every = "day",
        zone: Zone = "UTC",
        service: Annotated[str, QueryParameter(description="one service only")] = "",
        route: Annotated[str, QueryParameter(description="one route template only")] = "",
        limit: MostRoutes = 50,
    ) -> Performance:
        """Requests, the share of those that answered 5xx, and durations of each route, on the axis of trends."""
        return await analytics.performance(_performance(since, until, interval, zone, service, route, limit))

    @get(
        "/export",
        opt=needs("analytics:read") | streaming(),
        operation_id="analytics_export",
        summary="Export events or answers",
        media_type="text/csv",
    )
    async def export(
        self,
        analytics: NamedDependency[Analytics],
        of: What = "events",
        form: Form = "csv",
        name: Name = "",
        since: From = "",
        until: To = "",
        interval: Every = "day",
        zone: Zone = "UTC",
        measure: Of = "events",
        by: By = "",
        service: Annotated[str, QueryParameter(description="one service only")] = "",
        route: Annotated[str, QueryParameter(description="one route template only")] = "",
        limit: Most = 10,
    ) -> Response[Any]:
        """Raw events (which needs `analytics:export` as well) or an answer, as CSV or as NDJSON, as a stream.

        Without `from` and `to` it is all raw events, those ahead of time included; an answer is that of the last 30
        days.
        Cells of CSV that a spreadsheet would take for a formula have an apostrophe in front.
        """
        if of == "events":
            question = _raw(name, since, until, zone)
            # The first page before the answer begins, so that a refusal is a problem and no broken file.
            first = await analytics.raw(question, "", _PAGE)
            return _file(of, form, _pages(analytics, question, first, form))
        if of == "trend":
            trend = await analytics.trend(_trend(name, since, until, interval, zone, measure, by, limit))
            return _whole(of, form, exports.TREND_COLUMNS, exports.trend_rows(trend))
        if of == "top":
            found = await analytics.top(_top(name, since, until, measure, by, limit, zone))
            return _whole(of, form, exports.TOP_COLUMNS, exports.top_rows(found))
        went = await analytics.performance(_performance(since, until, interval, zone, service, route, limit))
        return _whole(of, form, exports.PERFORMANCE_COLUMNS, exports.performance_rows(went))

    @post(
        "/admin/rebuilds",
        opt=needs("analytics:manage"),
        status_code=HTTP_202_ACCEPTED,
        operation_id="analytics_rebuild",
        summary="Rebuild roll-ups",
    )
    async def rebuild(self, analytics: NamedDependency[Analytics], data: JSONBody[RebuildRange]) -> Rebuild:
        """Make the roll-ups of these hours anew from raw events, in the background; questions go on meanwhile."""
        return await analytics.rebuild(data.start, data.end)

    @get(
        "/admin/rebuilds/{rebuild_id:uuid}",
        opt=needs("analytics:manage"),
        operation_id="analytics_rebuilding",
        summary="Read how far a rebuild is",
    )
    async def rebuilding(self, analytics: NamedDependency[Analytics], rebuild_id: FromPath[UUID]) -> Rebuild:
        """`state` is waiting, running or done."""
        return await analytics.rebuilding(rebuild_id)

    @get(
        "/admin/sources",
        opt=needs("analytics:read"),
        operation_id="analytics_sources",
        summary="Read who sent what",
    )
    async def sources(self, analytics: NamedDependency[Analytics]) -> tuple[Source, ...]:
        """How many events of each source were accepted, repeated or refused, and why."""
        return await analytics.sources()


def _moments(since: str, until: str, zone: str) -> dict[str, datetime | None]:
    local = zone_of(zone)
    return {
        "start": read_moment("from", since, local) if since else None,
        "end": read_moment("to", until, local) if until else None,
    }


def _trend(
    name: str, since: str, until: str, interval: Interval, zone: str, measure: Measure, by: str, limit: int
) -> TrendQuestion:
    return TrendQuestion(
        name=name, **_moments(since, until, zone), interval=interval, zone=zone, measure=measure, by=by, limit=limit
    )


def _top(name: str, since: str, until: str, measure: Measure, by: str, limit: int, zone: str) -> TopQuestion:
    return TopQuestion(**_moments(since, until, zone), name=name, by=by, measure=measure, limit=limit)


def _performance(
    since: str, until: str, interval: Interval, zone: str, service: str, route: str, limit: int
) -> PerformanceQuestion:
    return PerformanceQuestion(
        **_moments(since, until, zone), interval=interval, zone=zone, service=service, route=route, limit=limit
    )


def _raw(name: str, since: str, until: str, zone: str) -> ExportQuestion:
    return ExportQuestion(**_moments(since, until, zone), name=name)


async def _pages(analytics: Analytics, question: ExportQuestion, page: RawPage, form: str) -> AsyncIterator[str]:
    yield exports.header(form, exports.RAW_COLUMNS)
    while True:
        yield exports.lines(form, exports.RAW_COLUMNS, map(exports.raw_row, page.items))
        if page.next_cursor is None:
            return
        page = await analytics.raw(question, page.next_cursor, _PAGE)


def _whole(of: str, form: str, columns: tuple[str, ...], rows: Iterable[Mapping[str, Any]]) -> Response[Any]:
    async def once() -> AsyncIterator[str]:
        yield exports.header(form, columns) + exports.lines(form, columns, rows)

    return _file(of, form, once())


def _file(of: str, form: str, parts: AsyncIterator[str]) -> Response[Any]:
    return Stream(
        parts,
        media_type=exports.MEDIA_TYPES[form],
        headers={"Content-Disposition": f'attachment; filename="analytics-{of}.{form}"', "Cache-Control": "no-store"},
    )
