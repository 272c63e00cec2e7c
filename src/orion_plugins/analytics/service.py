"""Numbers about what happens on the platform."""

from __future__ import annotations

import attrs

from orion_core.context import current
from orion_core.contracts.analytics import Analytics, DayCount, MetricReport, NoSuchMetric
from orion_core.contracts.auth import SessionStarted, UserRegistered
from orion_core.events import on
from orion_core.ids import new_id
from orion_core.ports.database import Database
from orion_plugins.analytics.metrics import METRICS, Counted, day, metric
from orion_plugins.analytics.tables import AnalyticsCount

# One atomic statement on both databases. As raw SQL because Piccolo writes `count + 1` without the table's name, which
# PostgreSQL refuses as ambiguous here.
_COUNT = (
    "INSERT INTO analytics_counts (id, metric, day, count) VALUES ({}, {}, {}, 1) "
    "ON CONFLICT (metric, day) DO UPDATE SET count = analytics_counts.count + 1"
)


@attrs.frozen
class AnalyticsService(Analytics):
    """Keeps `Analytics` on the table `analytics_counts`."""

    db: Database

    async def metric(self, name: str) -> MetricReport:
        current().actor.require("analytics:read")
        if name not in METRICS:
            raise NoSuchMetric(f"no metric is called {name!r}; there are {', '.join(sorted(METRICS))}")
        rows = await AnalyticsCount.objects().where(AnalyticsCount.metric == name).order_by(AnalyticsCount.day)
        days = tuple(DayCount(day=row.day, count=row.total) for row in rows)
        return MetricReport(name=name, total=sum(each.count for each in days), days=days)

    @on(UserRegistered, SessionStarted)
    async def count(self, event: Counted) -> None:
        """Count the fact on the day it happened."""
        await AnalyticsCount.raw(_COUNT, new_id(), metric(event), day(event))
