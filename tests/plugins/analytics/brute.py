"""The service built by hand, and answers counted one raw event at a time, to compare its own with."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from orion_core.adapters.choose import open_database
from orion_core.context import Actor, acting
from orion_core.contracts.analytics import TopList, TopQuestion, TrackBatch, Trend, TrendQuestion
from orion_core.json_value import Json
from orion_core.migrate import CORE, MigrationApp, up
from orion_core.ports.clock import Clock
from orion_core.queue import JobQueue
from orion_core.settings import Settings
from orion_core.testing.clock import MovableClock
from orion_plugins.analytics.service import AnalyticsService
from orion_plugins.analytics.settings import AnalyticsSettings
from orion_plugins.analytics.tables import TABLES

MIGRATIONS = "orion_plugins.analytics.migrations"


class FixedClock:
    """Stands still at `at`, until a test moves it."""

    def __init__(self, at: datetime) -> None:
        self.at = at
        self.offset = timedelta(0)

    def now(self) -> datetime:
        return self.at


@asynccontextmanager
async def analytics(url: str, clock: Clock | None = None, **settings: Any) -> AsyncIterator[AnalyticsService]:
    db = await open_database(Settings(database_url=url, synchronous="NORMAL"), "analytics")
    try:
        await up(db, [CORE, MigrationApp("analytics", MIGRATIONS)])
        clock = clock or MovableClock()
        yield AnalyticsService(
            db=db, clock=clock, jobs=JobQueue("analytics", db, clock), settings=AnalyticsSettings(**settings)
        )
    finally:
        await db.aclose()


async def empty(service: AnalyticsService) -> None:
    """Forget everything."""
    async with service.db.transaction():
        for table in TABLES:
            await service.db.fetch(f"DELETE FROM {table._meta.tablename}")


def someone(number: int) -> Actor:
    return Actor("user", str(person(number)))


def person(number: int) -> UUID:
    return UUID(int=number + 1)


def event(number: int, at: datetime, name: str = "opened", **properties: Any) -> dict[str, Any]:
    return {"name": name, "message_id": f"m{number}", "timestamp": at.isoformat(), "properties": properties}


def batch(*events: Any) -> TrackBatch:
    return TrackBatch(tuple(Json.of(each) for each in events))


async def send(service: AnalyticsService, number: int, *events: Any) -> Any:
    """Track `events` as the person `number`."""
    with acting(someone(number)):
        return await service.track_batch(batch(*events))


async def raw(service: AnalyticsService) -> list[dict[str, Any]]:
    rows = await service.db.fetch("SELECT name, at_ms, person, properties FROM analytics_events WHERE counted")
    return [{**row, "properties": json.loads(row["properties"])} for row in rows]


def in_words(given: Any) -> str | None:
    if isinstance(given, str):
        return given[:100]
    return json.dumps(given) if isinstance(given, (bool, int, float)) else None


def beginning(at: datetime, interval: str, zone: ZoneInfo) -> Any:
    """What tells a bucket from others: its day, or the local hour with its offset."""
    local = at.astimezone(zone)
    day = local.date()
    if interval == "hour":
        # Where the clock is set back by half an hour, the hour goes on.
        return (day, local.hour, None if zone.key == "Australia/Lord_Howe" else local.utcoffset())
    if interval == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if interval == "month" else day


def brute_trend(rows: Iterable[dict[str, Any]], question: TrendQuestion, trend: Trend) -> None:
    """Compare `trend` with what `rows` say, one event at a time."""
    zone = ZoneInfo(question.zone)
    assert question.start is not None
    assert question.end is not None
    facts: dict[str, list[tuple[date, str, datetime]]] = defaultdict(list)
    for row in rows:
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=row["at_ms"])
        value = in_words(row["properties"].get(question.by)) if question.by else ""
        if row["name"] == question.name and question.start <= at < question.end and value is not None:
            facts[value].append((beginning(at, question.interval, zone), row["person"], at))

    def measured(given: Iterable[tuple[Any, str, datetime]]) -> int:
        found = list(given)
        return len(found) if question.measure == "events" else len({each[1] for each in found if each[1]})

    totals = {value: measured(found) for value, found in facts.items() if measured(found)}
    best = sorted(totals.items(), key=lambda pair: (-pair[1], pair[0]))[: question.limit]
    if not question.by:
        best = best or [("", 0)]
    assert [(series.value, series.total) for series in trend.series] == best
    assert trend.total == measured(each for found in facts.values() for each in found)
    assert trend.values == (len(totals) if question.by else 0)
    for series in trend.series:
        expected: dict[Any, list[tuple[Any, str, datetime]]] = defaultdict(list)
        for each in facts[series.value]:
            expected[each[0]].append(each)
        shown = {
            beginning(max(bucket, question.start), question.interval, zone): count
            for bucket, count in zip(trend.buckets, series.points, strict=True)
            if count
        }
        assert shown == {key: measured(found) for key, found in expected.items() if measured(found)}


def brute_top(rows: Iterable[dict[str, Any]], question: TopQuestion, found: TopList) -> None:
    """Compare `found` with what `rows` say."""
    assert question.start is not None
    assert question.end is not None
    counts: Counter[str] = Counter()
    people: dict[str, set[str]] = defaultdict(set)
    everybody: set[str] = set()
    for row in rows:
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=row["at_ms"])
        if not question.start <= at < question.end or (question.name and row["name"] != question.name):
            continue
        value = in_words(row["properties"].get(question.by)) if question.name else row["name"]
        if value is None:
            continue
        counts[value] += 1
        if row["person"]:
            people[value].add(row["person"])
            everybody.add(row["person"])
    wanted = counts if question.measure == "events" else {value: len(found) for value, found in people.items()}
    best = sorted(wanted.items(), key=lambda pair: (-pair[1], pair[0]))
    assert [(item.value, item.count) for item in found.items] == best[: question.limit]
    assert found.values == len(best)
    assert found.total == (sum(counts.values()) if question.measure == "events" else len(everybody))
