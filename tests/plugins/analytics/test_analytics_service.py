"""The service `analytics` built by hand on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from orion_core.adapters.choose import open_database
from orion_core.context import ANONYMOUS, Actor, acting
from orion_core.contracts.analytics import DayCount, MetricReport, NoSuchMetric
from orion_core.contracts.auth import SessionStarted, UserRegistered
from orion_core.errors import Forbidden, Unauthenticated
from orion_core.ids import new_id
from orion_core.migrate import CORE, MigrationApp, up
from orion_core.migrate_new import drift
from orion_core.settings import Settings
from orion_plugins.analytics.metrics import METRICS, Counted, day, metric
from orion_plugins.analytics.plugin import orion_plugin
from orion_plugins.analytics.service import AnalyticsService
from orion_plugins.analytics.tables import AnalyticsCount

MIGRATIONS = "orion_plugins.analytics.migrations"


@asynccontextmanager
async def analytics(url: str) -> AsyncIterator[AnalyticsService]:
    db = await open_database(Settings(database_url=url, synchronous="NORMAL"), "analytics")
    try:
        await up(db, [CORE, MigrationApp("analytics", MIGRATIONS)])
        AnalyticsCount._meta.db = db.engine
        yield AnalyticsService(db=db)
    finally:
        await db.aclose()


def registered(at: datetime) -> UserRegistered:
    return UserRegistered(user_id=new_id(), email="ada@x.org", name="", registered_at=at)


async def hear(service: AnalyticsService, event: Counted) -> None:
    async with service.db.transaction():
        await service.count(event)


async def test_facts_are_counted_on_their_day_oldest_first(database_url: str) -> None:
    """Y3, Y14, Y18: late news count on the day of the fact."""
    async with analytics(database_url) as service:
        noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
        for at in (noon, noon + timedelta(days=2), noon, noon - timedelta(days=40)):
            await hear(service, registered(at))

        assert await service.metric("user.registered") == MetricReport(
            name="user.registered",
            total=4,
            days=(DayCount(date(2026, 1, 21), 1), DayCount(date(2026, 3, 2), 2), DayCount(date(2026, 3, 4), 1)),
        )


async def test_counting_at_once_loses_nothing(database_url: str) -> None:
    """Y3."""
    async with analytics(database_url) as service:
        noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
        await asyncio.gather(*(hear(service, registered(noon)) for _ in range(50)))

        assert (await service.metric("user.registered")).days == (DayCount(date(2026, 3, 2), 50),)


async def test_metrics_are_counted_apart_and_begin_with_nothing(database_url: str) -> None:
    """Y15."""
    async with analytics(database_url) as service:
        noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
        await hear(service, SessionStarted(session_id=new_id(), user_id=new_id(), method="password", started_at=noon))

        assert await service.metric("user.registered") == MetricReport("user.registered", 0, ())
        assert (await service.metric("auth.session_started")).total == 1


async def test_a_count_that_is_rolled_back_did_not_happen(database_url: str) -> None:
    """Y5: the listener's row of the inbox and its count are one transaction."""
    async with analytics(database_url) as service:
        with contextlib.suppress(OSError):
            async with service.db.transaction():
                await service.count(registered(datetime.now(UTC)))
                raise OSError("gone")

        assert (await service.metric("user.registered")).total == 0


async def test_reading_needs_the_permission_and_a_metric(database_url: str) -> None:
    """Y33."""
    async with analytics(database_url) as service:
        for actor, refusal in (
            (ANONYMOUS, Unauthenticated),
            (Actor("user", str(new_id())), Forbidden),
            (Actor("user", str(new_id()), permissions=("analytics:write",)), Forbidden),
        ):
            for name in ("user.registered", "user.unheard_of"):
                with acting(actor), pytest.raises(refusal):
                    await service.metric(name)
        with acting(Actor("user", str(new_id()), permissions=("analytics:read",))):
            assert (await service.metric("user.registered")).total == 0
            with pytest.raises(NoSuchMetric, match=r"auth\.session_started, user\.registered"):
                await service.metric("user.unheard_of")


def test_a_day_is_that_of_utc() -> None:
    """Y18."""
    east = timezone(timedelta(hours=9))

    assert day(registered(datetime(2026, 3, 2, 8, 59, tzinfo=east))) == date(2026, 3, 1)
    assert day(registered(datetime(2026, 3, 2, 9, 0, tzinfo=east))) == date(2026, 3, 2)


def test_every_event_that_is_heard_is_a_metric() -> None:
    """Y3."""
    assert set(orion_plugin().listeners[0].names) == METRICS
    assert metric(registered(datetime.now(UTC))) == "user.registered"
    assert orion_plugin().port == 3005


async def test_tables_and_migrations_agree() -> None:
    """What the next migration would do is nothing."""
    assert await drift("analytics", [AnalyticsCount], MIGRATIONS) == []
