"""How requests went: quarters of an hour are added up, percentiles estimated from buckets of durations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import attrs

from orion_core.contracts.analytics import Latency, Performance, PerformanceQuestion, RoutePerformance
from orion_core.contracts.platform import BOUNDS_MS, PROXIED, RequestsMeasured, RouteMeasure
from orion_core.ports.database import Database
from orion_plugins.analytics.intake import milliseconds
from orion_plugins.analytics.periods import Bucket, starts
from orion_plugins.analytics.rollups import numbers

QUARTER_MS = 900_000
_BUCKETS = tuple(f"b{number}" for number in range(len(BOUNDS_MS) + 1))
_SUMS = ("requests", "errors", "total_ms", *_BUCKETS)
_KEY = ("service", "route", "method", "quarter_ms")
_ADD = (
    f"INSERT INTO analytics_requests ({', '.join((*_KEY, *_SUMS))}) "
    f"VALUES ({numbers(len(_KEY) + len(_SUMS))}) ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET "
    + ", ".join(f"{column} = analytics_requests.{column} + EXCLUDED.{column}" for column in _SUMS)
)


@attrs.define
class Sums:
    """Measures added up."""

    count: int = 0
    errors: int = 0
    total_ms: float = 0.0
    buckets: list[int] = attrs.field(factory=lambda: [0] * len(_BUCKETS))

    def add(self, row: dict[str, Any]) -> None:
        """Add the sums of one row."""
        self.count += int(row["requests"])
        self.errors += int(row["errors"])
        self.total_ms += float(row["total_ms"])
        for number, column in enumerate(_BUCKETS):
            self.buckets[number] += int(row[column])

    def latency(self) -> Latency:
        """The sums as an answer."""
        share = self.errors / self.count if self.count else 0.0
        mean = self.total_ms / self.count if self.count else 0.0
        p50, p75, p95, p99 = (round(percentile(self.buckets, part), 3) for part in (0.5, 0.75, 0.95, 0.99))
        return Latency(self.count, self.errors, round(share, 6), round(mean, 3), p50, p75, p95, p99)


def percentile(buckets: Sequence[int], part: float) -> float:
    """The duration that `part` of the requests did not exceed, in milliseconds; within its bucket by proportion.

    Those above all bounds count as the highest one.
    """
    total = sum(buckets)
    if not total:
        return 0.0
    rank, below, lower = part * total, 0, 0.0
    for count, bound in zip(buckets, BOUNDS_MS, strict=False):
        if count and below + count >= rank:
            return lower + (bound - lower) * (rank - below) / count
        below, lower = below + count, bound
    return BOUNDS_MS[-1]


async def add(db: Database, event: RequestsMeasured) -> None:
    """Add what one process measured in one minute, in the running transaction."""
    minute = milliseconds(event.minute)
    for measure in sorted(event.routes, key=lambda each: (each.route, each.method)):
        await db.fetch(
            _ADD,
            event.service[:50],
            measure.route[:500],
            measure.method[:10],
            minute - minute % QUARTER_MS,
            measure.count,
            measure.errors,
            float(measure.total_ms),
            *_fitting(measure),
        )


def _fitting(measure: RouteMeasure) -> tuple[int, ...]:
    """The buckets of `measure`, as many as there are columns, whatever another release counted in."""
    given = measure.buckets[: len(_BUCKETS)]
    return (*given, *([0] * (len(_BUCKETS) - len(given))))


async def ask(
    db: Database, question: PerformanceQuestion, span: tuple[datetime, datetime], found: Sequence[Bucket]
) -> Performance:
    """Answer `question` for the time `span`, over the buckets `found`."""
    # Boundaries between buckets are on the quarter in every zone, so only the two ends move.
    spans = [(number, _down(bucket.lo), -_down(-bucket.hi)) for number, bucket in enumerate(found)]
    values = ", ".join(f"({number}, {lo}, {hi})" for number, lo, hi in spans)
    rows = await db.fetch(
        "SELECT s.bucket AS bucket, r.service AS service, r.route AS route, r.method AS method, "
        "CAST(SUM(r.requests) AS BIGINT) AS requests, CAST(SUM(r.errors) AS BIGINT) AS errors, "
        "SUM(r.total_ms) AS total_ms, "
        + ", ".join(f"CAST(SUM(r.{column}) AS BIGINT) AS {column}" for column in _BUCKETS)
        + f" FROM (SELECT column1 AS bucket, column2 AS lo, column3 AS hi FROM (VALUES {values}) AS v) AS s "
        "JOIN analytics_requests AS r ON r.quarter_ms >= s.lo AND r.quarter_ms < s.hi "
        "WHERE (r.service = $1 OR $1 = '') AND (r.route = $2 OR $2 = '') "
        "GROUP BY s.bucket, r.service, r.route, r.method",
        question.service,
        question.route,
    )
    routes: dict[tuple[str, str, str], dict[int, Sums]] = {}
    for row in rows:
        points = routes.setdefault((row["service"], row["route"], row["method"]), {})
        points.setdefault(row["bucket"], Sums()).add(row)
    sums = {key: _together(points.values()) for key, points in routes.items()}
    busiest = sorted(sums, key=lambda key: (-sums[key].count, key))[: question.limit]
    nothing = Sums()
    return Performance(
        start=span[0],
        end=span[1],
        interval=question.interval,
        zone=question.zone,
        buckets=starts(found),
        # What was proxied is counted by who answered it.
        total=_together([each for key, each in sums.items() if key[1] != PROXIED]).latency(),
        routes=tuple(
            RoutePerformance(
                service=key[0],
                route=key[1],
                method=key[2],
                total=sums[key].latency(),
                points=tuple(routes[key].get(number, nothing).latency() for number in range(len(found))),
            )
            for key in busiest
        ),
        routes_known=len(routes),
    )


def _together(given: Iterable[Sums]) -> Sums:
    total = Sums()
    for each in given:
        total.count += each.count
        total.errors += each.errors
        total.total_ms += each.total_ms
        total.buckets = [mine + theirs for mine, theirs in zip(total.buckets, each.buckets, strict=True)]
    return total


def _down(at_ms: int) -> int:
    return at_ms - at_ms % QUARTER_MS
